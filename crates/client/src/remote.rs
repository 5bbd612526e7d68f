//! Nodes elsewhere, asked over HTTP.

mod health;
mod names;
mod nodes;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coordinator::Strategy;
use http::header::HeaderValue;

use self::nodes::{Node, Nodes, Question};
use crate::{Answer, Error, IntoKey, Key, Limit, Limits, Operation, Outcome, Rule};

/// How long a question may take altogether. Longer than the 2 s within which another node takes over a silent one's keys, so
/// that an answer given then still arrives.
const DEADLINE: Duration = Duration::from_secs(5);

/// Nodes elsewhere, asked over HTTP: any of them decides for any key. Clones share connections.
///
/// A question goes to one node, each in its turn. What surely was not counted is asked of the next at once, and a node that
/// fails is passed over for a while. What may have been counted, since its answer was lost on the way, is asked again for up
/// to 4 s, too: each hit has a name, by which the nodes know that they have counted it. Only where hits can have no names,
/// since the limit's strategy is not [`Strategy::Owner`], a lost answer is the end, and the error says that it is unknown
/// whether the hit was counted.
///
/// Nodes of a version that does not know these names count such a hit again: upgrade them before the program.
///
/// It asks within a tokio runtime.
#[derive(Clone)]
pub struct Remote {
    /// The same for all clones: whose turn it is, and who has failed.
    nodes: Arc<Nodes>,
    bearer: Option<HeaderValue>,
    deadline: Duration,
}

/// Whom the questions of a [`Remote`] are about.
#[derive(Clone, Debug)]
pub enum Target {
    /// A limit that the nodes know.
    Named(Arc<str>),
    /// A limit that goes with each question.
    Rule(Rule),
}

/// Why there can be no [`Remote`].
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nobody to ask.
    #[error("no node is named; accepted: one or more of http://HOST:PORT")]
    NoNode,
    /// Not the address of a node.
    #[error("{given:?} is no address of a node; accepted: http://HOST:PORT")]
    Url {
        /// The address.
        given: String,
    },
    /// A token that no header can hold.
    #[error("the token holds bytes that no header can; accepted: printable ASCII")]
    Token,
}

impl Remote {
    /// Asks the nodes at these addresses, such as `http://10.0.0.1:4000`.
    ///
    /// # Errors
    ///
    /// See [`RemoteError`]. Nobody is asked yet.
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, RemoteError> {
        let nodes = urls.into_iter().map(|url| Node::at(url.as_ref()));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(RemoteError::NoNode);
        }
        Ok(Self {
            nodes: Arc::new(Nodes::new(nodes)),
            bearer: None,
            deadline: DEADLINE,
        })
    }

    /// The same, proving itself with this token.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Token`]
    pub fn with_api_token(self, token: &str) -> Result<Self, RemoteError> {
        let bearer = format!("Bearer {}", token.trim());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| RemoteError::Token)?;
        bearer.set_sensitive(true);
        Ok(Self {
            bearer: Some(bearer),
            ..self
        })
    }

    /// The same, giving up after so long. Default 5 s: within 2 s another node takes over the keys of one that is gone.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// See [`Limits::limit`]. No node is asked whether there is one.
    ///
    /// # Errors
    ///
    /// None yet.
    pub fn limit(&self, name: &str) -> Result<Limit<Self>, Error> {
        Limits::limit(self, name)
    }

    /// See [`Limits::allow`].
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn allow<'k>(
        &self,
        key: impl IntoKey<'k> + Send,
        per: Duration,
    ) -> Result<Outcome, Error> {
        Limits::allow(self, key, per).await
    }

    /// See [`Limits::check_rate`].
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn check_rate<'k>(
        &self,
        key: impl IntoKey<'k> + Send,
        scale: Duration,
        limit: u32,
        increment: u32,
    ) -> Result<Outcome, Error> {
        Limits::check_rate(self, key, scale, limit, increment).await
    }
}

impl Limits for Remote {
    type Found = Target;

    fn find(&self, name: &str) -> Result<Target, Error> {
        Ok(Target::Named(name.into()))
    }

    fn rule(&self, rule: Rule) -> Result<Target, Error> {
        match rule.strategy {
            Strategy::Owner => Ok(Target::Rule(rule)),
            Strategy::Local | Strategy::Redis | Strategy::Raft => Err(Error::Unsupported {
                what: "over HTTP a rule is counted by its owner; name a limit that has another strategy",
            }),
        }
    }

    fn name<'f>(&self, found: &'f Target) -> &'f str {
        match found {
            Target::Named(name) => name,
            Target::Rule(_) => "rule",
        }
    }

    async fn ask(
        &self,
        found: &Target,
        key: &Key<'_>,
        operation: Operation,
    ) -> Result<Answer, Error> {
        let question = Question {
            request: wire::request(found, key, operation)?,
            limit: self.name(found),
            operation,
            bearer: self.bearer.as_ref(),
        };
        match self.nodes.ask(&question, self.deadline).await {
            // The problem may not say which.
            Err(Error::UnknownLimit { .. }) => Err(Error::UnknownLimit {
                name: self.name(found).to_owned(),
            }),
            told => told,
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes.urls()).finish()
    }
}

#[cfg(test)]
mod tests;
