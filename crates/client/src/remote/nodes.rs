//! Asking one node after the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::RemoteError;
use super::health::{Health, order};
use super::names::Names;
use super::wire::{self, HIT_ID, Told, may_repeat, silent};
use crate::{Answer, Counted, Error, Operation};

/// How long a node may take to accept a connection. Within a region that takes a millisecond; a lost packet is sent again
/// after a second.
const CONNECT: Duration = Duration::from_millis(1_200);

/// How long one node may take to answer what may be asked of another as well.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The same for a hit that has a name. Longer than the 2 s within which another node takes over a silent one's keys: the node
/// that was asked first has the answer then.
const PATIENCE_NAMED: Duration = Duration::from_millis(2_500);

/// How long a hit that may have been counted is asked again under its name. Nodes remember it for 8 s, and one that was asked
/// at the last moment may take 3.5 s to have it decided.
const REPEATED_FOR: Duration = Duration::from_secs(4);

/// Connections that wait for a question are closed before the 60 s after which a node closes them.
const IDLE: Duration = Duration::from_secs(30);

/// Connections that wait for questions, for each node: as many as are in flight at once in a busy program.
const IDLE_MAX: usize = 64;

/// Bytes of an answer. A decision has 160, a problem some more.
const ANSWER_MAX: usize = 64 * 1024;

/// The pause before all nodes are asked again, when none could be reached. Each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(400);

/// The nodes that a [`super::Remote`] and its clones ask: whose turn it is, who has failed, and the connections to them.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// Counts questions, so that nodes take turns.
    turn: AtomicUsize,
    names: Names,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// One of them.
pub(super) struct Node {
    /// `http://HOST:PORT`
    url: String,
    health: Mutex<Health>,
}

/// What they are asked.
pub(super) struct Question<'q> {
    pub(super) request: wire::Request,
    /// What the limit is called.
    pub(super) limit: &'q str,
    pub(super) operation: Operation,
    pub(super) bearer: Option<&'q HeaderValue>,
}

/// An answer that was lost on its way, or never given.
enum Lost {
    /// Surely not counted: the node was not reached.
    Unsent(String),
    /// It may have been counted.
    Unknown(String),
}

impl Nodes {
    /// `nodes`, of which there is at least one. Nobody is asked yet.
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self {
            nodes,
            turn: AtomicUsize::new(0),
            names: Names::new(),
            http,
        }
    }

    /// Where they are.
    pub(super) fn urls(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| &*node.url)
    }

    /// Asks one node after the other until one answers or `within` has passed. Nobody is asked who has no time to answer.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        within: Duration,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        let mut deadline = started + within;
        let mut name = match may_repeat(question.operation) {
            true => None,
            false => self.names.next(question.limit),
        };
        let mut pause = PAUSE_FIRST;
        let mut last = None;
        // Whether some node may have counted it: whatever others say, it is unknown then.
        let mut is_unknown = false;
        loop {
            let mut again = false;
            for place in self.order() {
                let node = &self.nodes[place];
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let patience = match may_repeat(question.operation) {
                    true => left.min(PATIENCE),
                    false if name.is_some() => left.min(PATIENCE_NAMED),
                    false => left,
                };
                let mut told = self.ask_one(node, question, name.as_ref(), patience).await;
                if let Ok(Told::Nameless(_)) = told
                    && name.take().is_some()
                {
                    self.names.on_nameless(question.limit);
                    if is_unknown {
                        // Under its name another node may have counted it.
                        let why = format!("{} takes no names of hits on this limit", node.url);
                        return Err(silent(why, Counted::Unknown));
                    }
                    let left = deadline.saturating_duration_since(Instant::now());
                    told = self.ask_one(node, question, None, left).await;
                }
                let may_be_asked_again = may_repeat(question.operation) || name.is_some();
                let unknown = match told {
                    Ok(Told::Final(Err(error)) | Told::Nameless(error)) => {
                        return Err(as_known(error, is_unknown));
                    }
                    Ok(Told::Final(answer)) => return answer,
                    Ok(Told::Elsewhere { error, wait }) => {
                        again |= wait || is_unknown;
                        last = Some(error);
                        continue;
                    }
                    Err(Lost::Unsent(why)) => {
                        again = true;
                        last = Some(silent(why, Counted::No));
                        continue;
                    }
                    Ok(Told::Unknown(error)) => error,
                    Ok(Told::Strange) => {
                        let why = format!("{} said something that no node says", node.url);
                        silent(why, Counted::Unknown)
                    }
                    Err(Lost::Unknown(why)) => silent(why, Counted::Unknown),
                };
                if !may_be_asked_again {
                    return Err(unknown);
                }
                again = true;
                if !may_repeat(question.operation) {
                    is_unknown = true;
                    deadline = deadline.min(started + REPEATED_FOR);
                }
                last = Some(unknown);
            }
            let is_late = deadline < Instant::now() + pause;
            if !again || is_late {
                let nobody = || silent(format!("{within:?} is no time to ask"), Counted::No);
                return Err(as_known(last.unwrap_or_else(nobody), is_unknown));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
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
        question: &Question<'_>,
        name: Option<&HeaderValue>,
        patience: Duration,
    ) -> Result<Told, Lost> {
        let exchange = timeout(patience, self.exchange(node, question, name)).await;
        let told = match exchange {
            Ok(Ok((status, headers, body))) => {
                Ok(wire::read(status, &headers, &body, question.operation))
            }
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
        question: &Question<'_>,
        name: Option<&HeaderValue>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Lost> {
        let request = &question.request;
        let mut sent = http::Request::builder()
            .method(request.method.clone())
            .uri(format!("{}{}", node.url, request.path))
            .header(CONTENT_TYPE, "application/json");
        if let Some(bearer) = question.bearer {
            sent = sent.header(AUTHORIZATION, bearer);
        }
        if let Some(name) = name {
            sent = sent.header(HIT_ID, name);
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
    /// The node at this address.
    pub(super) fn at(given: &str) -> Result<Self, RemoteError> {
        let url = given.trim_end_matches('/');
        let is_plain = url.parse::<Uri>().is_ok_and(|uri| {
            let authority = uri.authority();
            uri.scheme_str() == Some("http")
                && authority.is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.path_and_query().is_none_or(|path| path == "/")
        });
        match is_plain {
            true => Ok(Self {
                url: url.to_owned(),
                health: Mutex::default(),
            }),
            false => Err(RemoteError::Url {
                given: given.to_owned(),
            }),
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to tell of a hit of which `error` was said last. `is_unknown`: an earlier attempt may have been counted.
fn as_known(error: Error, is_unknown: bool) -> Error {
    let counted = match is_unknown {
        true => Counted::Unknown,
        false => Counted::No,
    };
    match error {
        Error::NoDecision {
            why, retry_after, ..
        } => Error::NoDecision {
            why,
            counted,
            retry_after,
        },
        error if is_unknown => silent(error.to_string(), counted),
        error => error,
    }
}

/// An error and everything it came from, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

#[cfg(test)]
impl Nodes {
    /// Whether each of them is passed over now.
    pub(super) fn ejected(&self) -> Vec<bool> {
        let now = Instant::now();
        let nodes = self.nodes.iter();
        nodes.map(|node| node.health().is_ejected(now)).collect()
    }
}
