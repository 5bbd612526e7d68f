//! The control plane: questions and words between nodes, over `ractor_cluster`.
//!
//! Rare and small things travel here: introductions, configuration, status. One session per pair of nodes
//! follows their data connection; the node whose name sorts first dials it, over and over while the data
//! connection lasts. A newcomer, which has neither, asks with [`Control::introduce`].
//!
//! `ractor_cluster` gets a stream only after our own handshake, listens nowhere, dials nothing and
//! elects nothing: an older session with a peer is closed, and gone, before a newer one is handed over.
//! What it adds is remote actors: one gateway per node is visible to the others, and answers for it.

mod gateway;
mod line;
mod sessions;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use delta_crdt::ReplicaId;
use ractor::rpc::CallResult;
use ractor::{ActorCell, ActorStatus, SpawnErr};
use supervisor::Supervisor;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use transport::cookie::Cookie;
use transport::handshake::Hello;
use transport::{ControlStream, OpenError, Transport};

use gateway::{Answer, Gateway, GatewayMessage};
use sessions::{Session, Sessions};

/// The longest question, answer or word, in bytes. The largest is a full copy of the configuration.
pub const BODY_MAX: usize = 4 * 1024 * 1024;

/// Questions under way from this node. Control traffic is a few a second; more than this is a loop.
const ASKING_MAX: usize = 64;

/// Bytes handed to a session and not seen written. `ractor_cluster` queues without bound, so that the bound is here.
const UNWRITTEN_MAX: usize = 2 * BODY_MAX;

/// Guests at a time: newcomers that ask to be let in. A whole rack that starts at once is fewer.
const GUESTS_MAX: usize = 64;

/// How long a guest may stay. Being let in takes up to 500 ms per question, and some are repeated.
const GUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Pause before a session is dialled again. Its data connection is up, so the peer is near.
const REDIAL_PAUSE: Duration = Duration::from_millis(250);

/// What a node does with what others ask and tell it.
pub trait GatewayHandler: Send + Sync + 'static {
    /// Answers a question. A newcomer's `from` has incarnation 0. The asker has a deadline, and is gone after it.
    ///
    /// `from` is what the asker claims: a holder of the cookie is believed.
    fn asked(&self, from: Hello, question: Vec<u8>) -> impl Future<Output = Vec<u8>> + Send;

    /// Hears a word: it may have been lost, but is not repeated. Must not block.
    fn told(&self, from: Hello, word: Vec<u8>);
}

/// Why the control plane could not start.
#[derive(Debug, thiserror::Error)]
#[error("starting the control plane")]
pub struct ControlError(#[from] SpawnErr);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not asked: no session with the peer came about in time.
    #[error("no control session with {0}")]
    NotConnected(String),
    /// Not asked: the address could not be opened.
    #[error("not asked")]
    Open(#[from] OpenError),
    /// Not asked: this node has too much under way already, or the question is longer than [`BODY_MAX`].
    #[error("not asked, too much is under way or it is too long")]
    Full,
    /// Not acted on: the peer has too many questions to answer.
    #[error("the peer is too busy to answer")]
    Busy,
    /// Not acted on: the peer speaks another protocol.
    #[error("the peer does not understand the question")]
    NotUnderstood,
    /// The peer may or may not have acted on it: no answer in time, or the session closed.
    #[error("no answer")]
    NoAnswer,
}

/// A handle on the control plane of one node. Clones share it.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    /// Replaced when an actor of it has failed.
    actors: ArcSwap<Actors>,
    asking: Semaphore,
    is_stopped: AtomicBool,
}

/// The actors of a node in `ractor_cluster`. Neither goes on without the other, so that they start again together.
struct Actors {
    sessions: Sessions,
    gateway: ActorCell,
}

impl Actors {
    async fn start<H: GatewayHandler>(cookie: &Cookie, handler: Arc<H>) -> Result<Self, SpawnErr> {
        let sessions = Sessions::start(cookie).await?;
        let gateway = Gateway::spawn(sessions.gateway_name(), handler).await?;
        Ok(Self { sessions, gateway })
    }

    fn have_failed(&self) -> bool {
        ActorStatus::Stopping <= self.gateway.get_status() || !self.sessions.is_served()
    }

    /// Resolves when one of them has ended.
    async fn ended(&self) {
        tokio::select! {
            _ = self.gateway.wait(None) => {}
            () = self.sessions.ended() => {}
        }
    }

    fn stop(&self) {
        self.sessions.stop();
        self.gateway.stop(None);
    }
}

impl Control {
    /// Starts the control plane of the node that `transport` belongs to, with its tasks below `supervisor`, which ends them.
    ///
    /// Start it before the transport, so that the first peers find it.
    ///
    /// # Errors
    ///
    /// When the actors cannot be spawned: no loopback interface, for example.
    pub async fn start<H: GatewayHandler>(
        transport: &Transport,
        supervisor: &Supervisor,
        handler: Arc<H>,
    ) -> Result<Self, ControlError> {
        let actors = Actors::start(transport.cookie(), handler.clone()).await?;
        let inner = Arc::new(Inner {
            transport: transport.clone(),
            actors: ArcSwap::from_pointee(actors),
            asking: Semaphore::new(ASKING_MAX),
            is_stopped: AtomicBool::new(false),
        });
        let streams = Arc::new(tokio::sync::Mutex::new(transport.take_control_streams()));
        let (watches, receives, dials) = (inner.clone(), inner.clone(), inner.clone());
        supervisor.run("control-actors", move || {
            watch_actors(watches.clone(), handler.clone())
        });
        supervisor.run("control-receive", move || {
            receive_sessions(receives.clone(), streams.clone())
        });
        supervisor.run("control-dial", move || dial_sessions(dials.clone()));
        Ok(Self { inner })
    }

    /// Asks the peer of that name, waiting up to `timeout` for a session and the answer.
    ///
    /// # Errors
    ///
    /// See [`AskError`]: each variant says whether the question was acted on.
    pub async fn ask(
        &self,
        peer: &str,
        question: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, AskError> {
        let deadline = Instant::now() + timeout;
        let _asking = self.may_ask(question, deadline).await?;
        let actors = self.inner.actors.load_full();
        let session = timeout_at(deadline, actors.sessions.with(peer))
            .await
            .map_err(|_| AskError::NotConnected(peer.to_owned()))?;
        let me = self.inner.transport.me().ok_or(AskError::Full)?;
        ask_over(&session, &me, question, deadline).await
    }

    /// Asks the node at `address` as a newcomer, over a session of its own that is closed afterwards.
    ///
    /// Returns who answered, and what.
    ///
    /// # Errors
    ///
    /// See [`AskError`]: each variant says whether the question was acted on.
    pub async fn introduce(
        &self,
        address: &str,
        question: &[u8],
        timeout: Duration,
    ) -> Result<(Hello, Vec<u8>), AskError> {
        let deadline = Instant::now() + timeout;
        let _asking = self.may_ask(question, deadline).await?;
        let me = Hello {
            incarnation: 0,
            ..self.inner.transport.me().ok_or(AskError::Full)?
        };
        let asked = async {
            let stream = self.inner.transport.open_control(address, &me).await?;
            let peer = stream.peer.clone();
            // A node server of its own: its name has no other session that this one could be confused with.
            let sessions = Sessions::start(self.inner.transport.cookie())
                .await
                .map_err(|_| AskError::Full)?;
            let running = sessions.open(stream).await;
            let session = running
                .as_ref()
                .and_then(|running| running.session(peer.clone()));
            let session = session.ok_or_else(|| AskError::NotConnected(peer.name.clone()))?;
            let answer = ask_over(&session, &me, question, deadline).await?;
            Ok((peer, answer))
        };
        timeout_at(deadline, asked)
            .await
            .unwrap_or(Err(AskError::NoAnswer))
    }

    async fn may_ask(
        &self,
        question: &[u8],
        deadline: Instant,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, AskError> {
        if BODY_MAX < question.len() {
            return Err(AskError::Full);
        }
        let permit = timeout_at(deadline, self.inner.asking.acquire()).await;
        permit.ok().and_then(Result::ok).ok_or(AskError::Full)
    }

    /// Tells every peer that has a session, and returns to how many the word is under way.
    ///
    /// A peer that does not keep up is left out. A word longer than [`BODY_MAX`] is told to nobody.
    pub fn tell_all(&self, word: &[u8]) -> usize {
        let Some(me) = self.inner.transport.me() else {
            return 0;
        };
        if BODY_MAX < word.len() {
            return 0;
        }
        let envelope = gateway::envelope(&me, word);
        let told = |session: &Arc<Session>| {
            session.may_write(envelope.len())
                && session
                    .gateway
                    .cast(GatewayMessage::Tell(envelope.clone()))
                    .is_ok()
        };
        let actors = self.inner.actors.load();
        let sessions = actors.sessions.all();
        sessions.iter().filter(|session| told(session)).count()
    }

    /// The names of the peers that have a session now, in order.
    #[must_use]
    pub fn peers(&self) -> Vec<String> {
        let actors = self.inner.actors.load();
        let mut names: Vec<_> = actors
            .sessions
            .all()
            .iter()
            .map(|session| session.peer.name.clone())
            .collect();
        names.sort_unstable();
        names
    }

    /// Closes every session and takes no more. Stop the supervisor too, or sessions are dialled again.
    pub fn stop(&self) {
        self.inner.is_stopped.store(true, Ordering::Release);
        self.inner.transport.close_control();
        self.inner.actors.load().stop();
    }
}

async fn ask_over(
    session: &Session,
    me: &Hello,
    question: &[u8],
    deadline: Instant,
) -> Result<Vec<u8>, AskError> {
    let envelope = gateway::envelope(me, question);
    if !session.may_write(envelope.len()) {
        return Err(AskError::Full);
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let called = session
        .gateway
        .call(|reply| GatewayMessage::Ask(envelope, reply), Some(left))
        .await;
    // A timeout and a closed session cannot be told apart: the port is dropped in either case.
    let Ok(CallResult::Success(answer)) = called else {
        return Err(AskError::NoAnswer);
    };
    match Answer::from_wire(answer) {
        Some(Answer::Body(body)) => Ok(body),
        Some(Answer::Busy) => Err(AskError::Busy),
        Some(Answer::NotUnderstood) | None => Err(AskError::NotUnderstood),
    }
}

/// Starts the actors anew when this is started again, and fails with them, so that the supervisor says so and starts it.
async fn watch_actors<H: GatewayHandler>(inner: Arc<Inner>, handler: Arc<H>) {
    if inner.actors.load().have_failed() {
        let actors = Actors::start(inner.transport.cookie(), handler)
            .await
            .expect("they could be started before");
        // Its sessions are cut, and both ends make new ones.
        inner.actors.swap(Arc::new(actors)).stop();
    }
    let actors = inner.actors.load_full();
    actors.ended().await;
    let is_stopped = inner.is_stopped.load(Ordering::Acquire);
    assert!(is_stopped, "an actor of the control plane has failed");
}

/// Takes over the sessions that others dial.
async fn receive_sessions(
    inner: Arc<Inner>,
    streams: Arc<tokio::sync::Mutex<mpsc::Receiver<ControlStream>>>,
) {
    // Nobody else takes it: the task before has ended.
    let mut streams = streams.lock().await;
    let guests = Arc::new(Semaphore::new(GUESTS_MAX));
    let mut running = JoinSet::new();
    while let Some(stream) = streams.recv().await {
        while let Some(ended) = running.try_join_next() {
            pass_on_panic(ended);
        }
        let inner = inner.clone();
        if !stream.peer.is_newcomer() {
            running.spawn(async move {
                let actors = inner.actors.load_full();
                actors.sessions.keep(stream, true).await;
            });
        } else if let Ok(permit) = guests.clone().try_acquire_owned() {
            running.spawn(async move {
                let _permit = permit;
                let actors = inner.actors.load_full();
                actors.sessions.host(stream, GUEST_DEADLINE).await;
            });
        } else {
            tracing::warn!(node = %stream.peer.name, "too many newcomers at once, closing the connection to this one");
        }
    }
}

/// Keeps a session with every connected peer whose name sorts after this node's.
async fn dial_sessions(inner: Arc<Inner>) {
    let mut peers = inner.transport.watch_peers();
    // They end with this task, and their panics are its own: it starts again and keeps every session anew.
    let mut running = JoinSet::new();
    let mut dialling = HashMap::<ReplicaId, AbortHandle>::new();
    loop {
        let connected = peers.borrow_and_update().clone();
        dialling.retain(|replica, task| {
            let stays = connected.iter().any(|peer| peer.replica == *replica);
            if !stays {
                task.abort();
                inner.actors.load().sessions.close(*replica);
            }
            stays
        });
        for peer in connected {
            dialling
                .entry(peer.replica)
                .or_insert_with(|| running.spawn(keep_session(inner.clone(), peer)));
        }
        tokio::select! {
            changed = peers.changed() => if changed.is_err() {
                return;
            },
            Some(ended) = running.join_next() => pass_on_panic(ended),
        }
    }
}

fn pass_on_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn keep_session(inner: Arc<Inner>, peer: Hello) {
    loop {
        let Some(me) = inner.transport.me() else {
            return;
        };
        if peer.name < me.name {
            return;
        }
        match inner.transport.open_control(&peer.cluster, &me).await {
            Ok(stream) if stream.peer.replica == peer.replica => {
                let actors = inner.actors.load_full();
                actors.sessions.keep(stream, false).await;
            }
            Ok(stream) => {
                tracing::debug!(node = %stream.peer.name, "another node at that address, leaving it alone")
            }
            Err(error) => {
                tracing::debug!(node = %peer.name, error = crate::chain(&error), "no control session")
            }
        }
        tokio::time::sleep(REDIAL_PAUSE).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
