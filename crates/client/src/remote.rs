//! Nodes elsewhere, asked over HTTP.

mod health;
mod wire;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator::Strategy;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use self::health::{Health, order};
use self::wire::{Told, may_repeat, silent};
use crate::{Answer, Counted, Error, IntoKey, Key, Limit, Limits, Operation, Outcome, Rule};

/// How long a question may take altogether. Longer than the 2 s within which another node takes over a silent one's keys, so
/// that an answer given then still arrives.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a node may take to accept a connection. Within a region that takes a millisecond; a lost packet is sent again
/// after a second.
const CONNECT: Duration = Duration::from_millis(1_200);

/// How long one node may take to answer what may be asked of another as well.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Connections that wait for a question are closed before the 60 s after which a node closes them.
const IDLE: Duration = Duration::from_secs(30);

/// Connections that wait for questions, for each node: as many as are in flight at once in a busy program.
const IDLE_MAX: usize = 64;

/// Bytes of an answer. A decision has 160, a problem some more.
const ANSWER_MAX: usize = 64 * 1024;

/// The pause before all nodes are asked again, when none could be reached. Each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(400);

/// Nodes elsewhere, asked over HTTP: any of them decides for any key. Clones share connections.
///
/// A question goes to one node, each in its turn. What surely was not counted is asked of the next at once, and a node that
/// fails is passed over for a while. A hit whose answer is lost on the way is not asked again, since it may have been
/// counted: the error says so. Peeks and resets are.
///
/// It asks within a tokio runtime.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    nodes: Vec<Node>,
    /// Counts questions, so that nodes take turns.
    turn: AtomicUsize,
    http: Client<HttpConnector, Full<Bytes>>,
    bearer: Option<HeaderValue>,
    deadline: Duration,
}

struct Node {
    /// `http://HOST:PORT`
    url: String,
    health: Mutex<Health>,
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

/// An answer that was lost on its way, or never given.
enum Lost {
    /// Surely not counted: the node was not reached.
    Unsent(String),
    /// It may have been counted.
    Unknown(String),
}

impl Remote {
    /// Asks the nodes at these addresses, such as `http://10.0.0.1:4000`.
    ///
    /// # Errors
    ///
    /// See [`RemoteError`]. Nobody is asked yet.
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, RemoteError> {
        let nodes = urls.into_iter().map(|url| node(url.as_ref()));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(RemoteError::NoNode);
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self(Arc::new(Inner {
            nodes,
            turn: AtomicUsize::new(0),
            http,
            bearer: None,
            deadline: DEADLINE,
        })))
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
        Ok(self.with(|inner| inner.bearer = Some(bearer)))
    }

    /// The same, giving up after so long. Default 5 s: within 2 s another node takes over the keys of one that is gone.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        self.with(|inner| inner.deadline = deadline)
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

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        match Arc::get_mut(&mut self.0) {
            Some(inner) => change(inner),
            None => {
                let Inner {
                    nodes,
                    http,
                    bearer,
                    deadline,
                    ..
                } = &*self.0;
                let nodes = nodes.iter().map(|node| Node {
                    url: node.url.clone(),
                    health: Mutex::default(),
                });
                let mut inner = Inner {
                    nodes: nodes.collect(),
                    turn: AtomicUsize::new(0),
                    http: http.clone(),
                    bearer: bearer.clone(),
                    deadline: *deadline,
                };
                change(&mut inner);
                self.0 = Arc::new(inner);
            }
        }
        self
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
        let request = wire::request(found, key, operation)?;
        let told = self.0.ask(&request, operation).await;
        match told {
            // The problem may not say which.
            Err(Error::UnknownLimit { .. }) => Err(Error::UnknownLimit {
                name: self.name(found).to_owned(),
            }),
            told => told,
        }
    }
}

impl Inner {
    /// Asks one node after the other until one answers or the deadline has passed.
    async fn ask(&self, request: &wire::Request, operation: Operation) -> Result<Answer, Error> {
        let deadline = Instant::now() + self.deadline;
        let mut pause = PAUSE_FIRST;
        loop {
            let mut again = false;
            let mut last = None;
            for place in self.order() {
                let node = &self.nodes[place];
                let left = deadline.saturating_duration_since(Instant::now());
                let patience = match may_repeat(operation) {
                    true => left.min(PATIENCE),
                    false => left,
                };
                let told = self.ask_one(node, request, operation, patience).await;
                match told {
                    Ok(Told::Final(answer)) => return answer,
                    Ok(Told::Elsewhere { error, wait }) => {
                        again |= wait;
                        last = Some(error);
                    }
                    Ok(Told::Strange) => {
                        let why = format!("{} said something that no node says", node.url);
                        last = Some(self.lost(Lost::Unknown(why), operation)?);
                    }
                    Err(lost) => {
                        again = true;
                        last = Some(self.lost(lost, operation)?);
                    }
                }
            }
            let error = last.expect("there is a node");
            let is_late = deadline < Instant::now() + pause;
            if !again || is_late {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// What to tell if nobody else can be asked.
    ///
    /// # Errors
    ///
    /// If nobody else may be asked.
    fn lost(&self, lost: Lost, operation: Operation) -> Result<Error, Error> {
        match lost {
            Lost::Unsent(why) => Ok(silent(why, Counted::No)),
            Lost::Unknown(why) if may_repeat(operation) => Ok(silent(why, Counted::No)),
            Lost::Unknown(why) => Err(silent(why, Counted::Unknown)),
        }
    }

    fn order(&self) -> Vec<usize> {
        let nodes = self.nodes.iter().map(|node| *node.health());
        let nodes: Vec<Health> = nodes.collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        order(&nodes, turn, Instant::now())
    }

    async fn ask_one(
        &self,
        node: &Node,
        request: &wire::Request,
        operation: Operation,
        patience: Duration,
    ) -> Result<Told, Lost> {
        let exchange = timeout(patience, self.exchange(node, request)).await;
        let told = match exchange {
            Ok(Ok((status, headers, body))) => Ok(wire::read(status, &headers, &body, operation)),
            Ok(Err(lost)) => Err(lost),
            Err(_) => Err(Lost::Unknown(format!(
                "{} did not answer within {patience:?}",
                node.url
            ))),
        };
        match &told {
            Ok(Told::Strange) | Err(_) => {
                tracing::debug!(url = %node.url, "a node failed, asking others first");
                node.health().on_failure(Instant::now());
            }
            Ok(_) => node.health().on_answer(),
        }
        told
    }

    async fn exchange(
        &self,
        node: &Node,
        request: &wire::Request,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Lost> {
        let mut sent = http::Request::builder()
            .method(request.method.clone())
            .uri(format!("{}{}", node.url, request.path))
            .header(CONTENT_TYPE, "application/json");
        if let Some(bearer) = &self.bearer {
            sent = sent.header(AUTHORIZATION, bearer);
        }
        let body = Full::from(request.body.clone());
        let sent = sent.body(body).expect("addresses were checked");
        let response = self.http.request(sent).await.map_err(|error| {
            let why = format!("{}: {}", node.url, chain(&error));
            match error.is_connect() {
                true => Lost::Unsent(why),
                false => Lost::Unknown(why),
            }
        })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body =
            body.map_err(|error| Lost::Unknown(format!("{}: {}", node.url, chain(&*error))))?;
        Ok((parts.status, parts.headers, body.to_bytes()))
    }
}

impl Node {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.0.nodes.iter().map(|node| &node.url);
        f.debug_list().entries(urls).finish()
    }
}

fn node(given: &str) -> Result<Node, RemoteError> {
    let url = given.trim_end_matches('/');
    let is_plain = url.parse::<Uri>().is_ok_and(|uri| {
        let authority = uri.authority();
        uri.scheme_str() == Some("http")
            && authority.is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|path| path == "/")
    });
    match is_plain {
        true => Ok(Node {
            url: url.to_owned(),
            health: Mutex::default(),
        }),
        false => Err(RemoteError::Url {
            given: given.to_owned(),
        }),
    }
}

/// An error and everything it came from, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_nodes_are_taken() {
        for url in ["http://a:4000", "http://127.0.0.1:1/", "http://[::1]:4000"] {
            assert!(Remote::new([url]).is_ok(), "{url}");
        }
        for url in [
            "",
            "a:4000",
            "https://a",
            "http://a/v1",
            "http://u@a",
            "http://a b",
            "http://a?x",
        ] {
            let refused = Remote::new([url]);
            assert!(matches!(refused, Err(RemoteError::Url { .. })), "{url}");
        }
        let nobody = Remote::new::<&str>([]);
        assert!(matches!(nobody, Err(RemoteError::NoNode)));
    }
}
