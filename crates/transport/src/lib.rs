//! Links between the nodes of a cluster: the handshake, the data plane, and who is dialled again.
//!
//! Nodes of one cluster share a [`cookie::Cookie`]. Every connection between them starts with the [`handshake`] and
//! then belongs to one of two planes. A stream of the control plane is handed over to whoever takes it. The data plane
//! is one authenticated TCP stream per pair of nodes, carrying opaque frames both ways: what is in them, who is alive
//! and who owns what is not known here. Read [`Transport`] first.
//!
//! Frames of one lane arrive in the order they were sent, at most once. A frame that [`Transport::send`]
//! took is lost when the connection breaks before it is read; whoever needs more repeats it.
//!
//! A frame is a length (`u32`, big endian) and that many bytes. The empty frame says goodbye.

pub mod cookie;
pub mod handshake;

mod dialer;
mod link;
mod listener;
mod registry;
mod stream;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use bytes::Bytes;
use delta_crdt::ReplicaId;
use supervisor::Supervisor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::cookie::Cookie;
use crate::handshake::{HandshakeError, HandshakeKey, Hello, Plane, Refusal};

use dialer::Known;
pub use dialer::OpenError;
use link::Link;
use stream::Traffic;

/// The longest frame, in bytes, that is read or sent. What is longer, the sender splits.
///
/// A quarter of the bulk lane, so that one frame never fills it; a frame of this size holds the stream
/// for 130 ms at 1 Gbit/s, which a heartbeat behind it still survives.
pub const FRAME_MAX: usize = 16 * 1024 * 1024;

/// Bytes of bulk that wait for one peer before [`SendError::Full`].
///
/// Deltas and hits at 1 Gbit/s for half a second: longer than that a peer is not slow but silent, and
/// what waits for it is better sent afresh than kept.
pub const BULK_QUEUE_MAX: usize = 64 * 1024 * 1024;

/// Bytes of copies that wait for one peer before [`SendError::Full`].
///
/// Whoever makes copies keeps no more than a window of a quarter of a mebibyte under way; the longest frame fits beside.
pub const COPIES_QUEUE_MAX: usize = FRAME_MAX + 1024 * 1024;

/// Bytes of urgent frames that wait for one peer before [`SendError::Full`].
///
/// Heartbeats are some 50 bytes and a roster of a hundred nodes 20 KiB; a mebibyte of them is a peer
/// that reads nothing.
pub const URGENT_QUEUE_MAX: usize = 1024 * 1024;

/// Connection events that wait for the driver. Beyond, opening and closing connections waits for it, too.
const EVENTS_MAX: usize = 1024;

/// Control streams that wait to be taken over. A node that restarts brings one per peer at once.
const CONTROL_STREAMS_MAX: usize = 64;

/// What accepts connections, in logs and metrics.
const ACCEPT: &str = "accept";

/// What dials, in logs and metrics.
const DIAL: &str = "dial";

/// How long a shutdown waits for its goodbyes to be heard.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);

/// Where to listen and with which secret.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// What others dial, `ADDR:PORT`; port 0 means the port bound. `None`: the address bound.
    pub advertise: Option<String>,
    /// What all nodes of the cluster share.
    pub cookie: Cookie,
}

/// Which queue of a peer a frame joins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// Overtakes everything in [`Lane::Bulk`]: heartbeats and their answers, bounded by [`URGENT_QUEUE_MAX`].
    Urgent,
    /// What somebody waits for: hits, verdicts, deltas. Bounded by [`BULK_QUEUE_MAX`].
    Bulk,
    /// Leaves when nothing else waits: copies of what a peer is to have. One frame at a time is handed to the kernel, so
    /// that a hit waits behind one at most. Bounded by [`COPIES_QUEUE_MAX`].
    Copies,
}

/// What happens to connections. For one replica, `Connected` and `Disconnected` alternate.
#[derive(Debug)]
pub enum TransportEvent {
    /// Frames can be sent to this peer. Its own may arrive before the event is looked at.
    Connected {
        /// Who it is; it has proven the cookie.
        peer: Hello,
    },
    /// The last connection to the peer closed: a suspicion, and what was queued for it is gone.
    /// It is being redialled.
    Disconnected {
        /// Which incarnation it was.
        replica: ReplicaId,
        /// Whether it said goodbye: it stopped in good order.
        goodbye: bool,
    },
    /// The process of a peer lost before, or of one that was to be found at its address, is dead: its live host has
    /// refused three connections in a row, or another process answers there. Told with every attempt from then on.
    ///
    /// Refusals are evidence as good as the network between: a firewall that rejects instead of dropping says the same.
    /// A later `Connected` of the same replica disproves them.
    ProcessGone {
        /// Which incarnation it was.
        replica: ReplicaId,
    },
    /// A node that was dialled is none of this cluster, or does not want this node. Told on every attempt.
    HelloRefused {
        /// What was dialled.
        address: String,
        /// Why. [`Refusal::Fenced`] is proven: this node must stop.
        reason: HandshakeError,
    },
    /// A proven newer incarnation of this node's own name appeared: this node must stop.
    Superseded {
        /// The newer one. It has been told [`Refusal::NameTaken`], and tries again.
        by: Hello,
    },
}

/// Why a frame was not taken. Nothing of it was or will be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The peer's lane is full: it reads slower than this node writes, or not at all.
    #[error("the queue of the peer is full")]
    Full,
    /// There is no connection to the peer now.
    #[error("the peer is not connected")]
    NotConnected,
    /// Longer than [`FRAME_MAX`] (urgent: [`URGENT_QUEUE_MAX`]), or empty.
    #[error("the frame is empty or too long")]
    Unframeable,
}

/// Takes the frames of all peers, inline in the task that reads them: it must not block.
///
/// A frame shares its memory with its neighbours in the read buffer (up to 64 KiB): copy what is kept for long.
pub type OnFrame = Arc<dyn Fn(ReplicaId, Bytes) + Send + Sync>;

/// Says whether a peer that has proven the cookie may connect, beyond what the transport itself knows;
/// asked of those that dial and of those that are dialled. The place to fence incarnations that
/// membership has seen superseded, and to keep the forgotten away. Must not block.
pub type Admit = Arc<dyn Fn(&Hello) -> Result<(), Refusal> + Send + Sync>;

/// An authenticated stream of the control plane.
#[derive(Debug)]
pub struct ControlStream {
    /// What both ends talk over from now on.
    pub stream: TcpStream,
    /// The other end; it has proven the cookie.
    pub peer: Hello,
}

/// A handle on the data plane of one node. Clones share it.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    key: HandshakeKey,
    cookie: Cookie,
    address: SocketAddr,
    advertised: String,
    /// Above what accepts and dials.
    supervisor: Supervisor,
    /// `None` after the shutdown.
    listener: Mutex<Option<Arc<TcpListener>>>,
    /// Who this node is. `None` before the start.
    me: watch::Sender<Option<Hello>>,
    started: OnceLock<Started>,
    links: RwLock<HashMap<ReplicaId, Arc<Link>>>,
    /// Held while links change and the change is told, so that events are told in the order they happened.
    registry: tokio::sync::Mutex<()>,
    /// The peers connected, for the control plane to follow.
    peers: watch::Sender<Vec<Hello>>,
    control: Mutex<Option<mpsc::Sender<ControlStream>>>,
    dials: Mutex<HashMap<String, Known>>,
    dials_changed: watch::Sender<()>,
    attempts: AtomicU64,
    connections: AtomicU64,
    traffic: Traffic,
}

struct Started {
    events: mpsc::Sender<TransportEvent>,
    admit: Admit,
    on_frame: OnFrame,
}

impl Transport {
    /// Binds the address, so that it can be told before anything is answered on it. What accepts and dials from the
    /// start on runs below `supervisor`, and ends with the shutdown.
    ///
    /// Install the metrics recorder before: counters are looked up here, once.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub async fn bind(config: TransportConfig, supervisor: &Supervisor) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        Self::listening(listener, config.advertise, config.cookie, supervisor)
    }

    /// As [`Self::bind`], on a listener that its owner has bound. `advertise` is what others dial, port 0 standing for the
    /// one bound; `None`: the address bound.
    ///
    /// # Errors
    ///
    /// When the system does not tell the address of the listener.
    pub fn listening(
        listener: TcpListener,
        advertise: Option<String>,
        cookie: Cookie,
        supervisor: &Supervisor,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let advertised = match advertise {
            None => address.to_string(),
            Some(given) => match given.strip_suffix(":0") {
                Some(host) => format!("{host}:{}", address.port()),
                None => given,
            },
        };
        Ok(Self {
            inner: Arc::new(Inner {
                key: HandshakeKey::new(&cookie),
                cookie,
                address,
                advertised,
                supervisor: supervisor.clone(),
                listener: Mutex::new(Some(Arc::new(listener))),
                me: watch::Sender::new(None),
                started: OnceLock::new(),
                links: RwLock::default(),
                registry: tokio::sync::Mutex::default(),
                peers: watch::Sender::new(Vec::new()),
                control: Mutex::default(),
                dials: Mutex::default(),
                dials_changed: watch::Sender::new(()),
                attempts: AtomicU64::new(1),
                connections: AtomicU64::new(1),
                traffic: Traffic::new(),
            }),
        })
    }

    /// The address bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// What others dial, `ADDR:PORT`: the `cluster` of this node's [`Hello`].
    #[must_use]
    pub fn advertised(&self) -> &str {
        &self.inner.advertised
    }

    /// Starts to accept and to dial, and returns what happens to connections.
    ///
    /// As a newcomer (incarnation 0) a node takes part in the control plane only; the data plane waits for
    /// [`Self::introduce`].
    ///
    /// # Panics
    ///
    /// When called twice.
    pub fn start(
        &self,
        me: Hello,
        admit: Admit,
        on_frame: OnFrame,
    ) -> mpsc::Receiver<TransportEvent> {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let first = self
            .inner
            .started
            .set(Started {
                events,
                admit,
                on_frame,
            })
            .is_ok();
        assert!(first, "a transport starts once");
        self.inner.me.send_replace(Some(me));
        let (accepts, dials) = (self.inner.clone(), self.inner.clone());
        let supervisor = &self.inner.supervisor;
        supervisor.run(ACCEPT, move || listener::accept_all(accepts.clone()));
        supervisor.run(DIAL, move || dialer::dial_all(dials.clone()));
        receiver
    }

    /// Says who this node is from now on: a newcomer was given its incarnation. Opens the data plane.
    pub fn introduce(&self, me: Hello) {
        self.inner.me.send_replace(Some(me));
    }

    /// Who this node says it is. `None` before the start and after the shutdown.
    #[must_use]
    pub fn me(&self) -> Option<Hello> {
        self.inner.me()
    }

    /// Dials `address` (`ADDR:PORT`, or a host name instead of `ADDR`) and keeps redialling it whenever there is no
    /// connection to the node found there, until told to [`Self::forget`]. Peers that connect by themselves
    /// are redialled at the address they advertise.
    pub fn dial(&self, address: &str) {
        self.inner.dial(address, None);
    }

    /// Dials these addresses as [`Self::dial`] does, each with the node that is to be found there if it is known, and
    /// stops redialling every other.
    pub fn dial_only<'a>(&self, addresses: impl IntoIterator<Item = (&'a str, Option<ReplicaId>)>) {
        let mut wanted = HashSet::new();
        for (address, expected) in addresses {
            self.inner.dial(address, expected);
            wanted.insert(address);
        }
        lock(&self.inner.dials).retain(|address, _| wanted.contains(address.as_str()));
        self.inner.dials_changed.send_replace(());
    }

    /// Looks once whether a node is at `address`, and connects with it if so.
    pub fn look_at(&self, address: &str) {
        self.inner.look_at(address);
    }

    /// Addresses that are connected, or redialled until they are.
    #[must_use]
    pub fn dialled(&self) -> usize {
        lock(&self.inner.dials).len()
    }

    /// Stops redialling `address`. A connection that is open stays.
    pub fn forget(&self, address: &str) {
        lock(&self.inner.dials).remove(address);
        self.inner.dials_changed.send_replace(());
    }

    /// Closes the connections to `replica` at once and stops redialling the address it advertised. It may
    /// come back by itself: to keep it away, refuse it in [`Admit`].
    pub fn forget_replica(&self, replica: ReplicaId) {
        if let Some(link) = self.inner.link(replica) {
            self.forget(&link.peer.cluster);
            link.cut();
        }
    }

    /// Queues `frame` for `replica`, after what waits in the same lane.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. Nothing of the frame was sent.
    pub fn send(&self, replica: ReplicaId, lane: Lane, frame: Bytes) -> Result<(), SendError> {
        let link = self.inner.link(replica).ok_or(SendError::NotConnected)?;
        let sent = link.push(lane, frame);
        if sent == Err(SendError::Full) {
            self.inner.traffic.full.increment(1);
        }
        sent
    }

    /// The protocol version agreed on with `replica`. `None`: it is not connected.
    #[must_use]
    pub fn version(&self, replica: ReplicaId) -> Option<u16> {
        self.inner.link(replica).map(|link| link.version)
    }

    /// Bytes that wait to be written to `replica`, in all lanes. Zero when it is not connected.
    #[must_use]
    pub fn queue_bytes(&self, replica: ReplicaId) -> usize {
        self.inner
            .link(replica)
            .map_or(0, |link| link.queue_bytes())
    }

    /// The peers connected now.
    #[must_use]
    pub fn peers(&self) -> Vec<Hello> {
        self.inner.peers.borrow().clone()
    }

    /// Stops accepting and dialling, says goodbye to every peer after what waits for it, and returns when all
    /// connections are closed or a second has passed.
    pub async fn shutdown(&self) {
        lock(&self.inner.listener).take();
        lock(&self.inner.dials).clear();
        self.inner.dials_changed.send_replace(());
        self.inner.me.send_replace(None);
        let links: Vec<_> = self.inner.all_links();
        for link in &links {
            link.say_goodbye();
        }
        let mut peers = self.inner.peers.subscribe();
        let all_gone = peers.wait_for(Vec::is_empty);
        if tokio::time::timeout(GOODBYE_PATIENCE, all_gone)
            .await
            .is_err()
        {
            tracing::warn!(
                peers = self.peers().len(),
                "goodbye not heard in time, closing connections"
            );
        }
        for link in links {
            link.cut();
        }
    }

    /// The key material of this cluster, for other uses.
    #[must_use]
    pub fn cookie(&self) -> &Cookie {
        &self.inner.cookie
    }

    /// Takes over incoming control streams. The control plane is refused until this is called.
    #[must_use]
    pub fn take_control_streams(&self) -> mpsc::Receiver<ControlStream> {
        let (sender, receiver) = mpsc::channel(CONTROL_STREAMS_MAX);
        *lock(&self.inner.control) = Some(sender);
        receiver
    }

    /// Refuses the control plane from now on.
    pub fn close_control(&self) {
        lock(&self.inner.control).take();
    }

    /// Connects to `address` for the control plane and shakes hands as `me`.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. Nobody's state has changed.
    pub async fn open_control(
        &self,
        address: &str,
        me: &Hello,
    ) -> Result<ControlStream, OpenError> {
        let (stream, proven) = self.inner.open(address, me, Plane::Control).await?;
        Ok(ControlStream {
            stream,
            peer: proven.peer,
        })
    }

    /// The peers connected, to follow.
    #[must_use]
    pub fn watch_peers(&self) -> watch::Receiver<Vec<Hello>> {
        self.inner.peers.subscribe()
    }
}

impl Inner {
    fn me(&self) -> Option<Hello> {
        self.me.borrow().clone()
    }

    fn link(&self, replica: ReplicaId) -> Option<Arc<Link>> {
        self.links
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .get(&replica)
            .cloned()
    }

    fn all_links(&self) -> Vec<Arc<Link>> {
        self.links
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .values()
            .cloned()
            .collect()
    }

    async fn tell(&self, event: TransportEvent) {
        if let Some(started) = self.started.get() {
            // An error means that the driver is gone, and with it whoever would act on the event.
            let _ = started.events.send(event).await;
        }
    }
}

/// Locks a mutex whose holders never leave it half changed, so that a panic elsewhere does not spread.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// An error and everything it came from, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
