//! The sessions of `ractor_cluster`, on streams that have been proven before.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use delta_crdt::ReplicaId;
use metrics::{Counter, counter};
use ractor::{Actor, ActorRef, ActorStatus, SpawnErr};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{NodeEventSubscription, NodeServer, NodeServerMessage};
use tokio::sync::{mpsc, watch};

use super::gateway::GatewayMessage;
use super::line::{Line, Piped};
use super::{BODY_MAX, lock};
use transport::ControlStream;
use transport::cookie::Cookie;
use transport::handshake::Hello;

/// From a proven stream to a session whose gateway is known: a few trips and no waiting.
const READY_DEADLINE: Duration = Duration::from_secs(2);

/// How long an older session is given to be gone. Its socket is shut down, so only actors have to notice.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// A session that is ready.
pub(super) struct Session {
    pub(super) peer: Hello,
    pub(super) gateway: ActorRef<GatewayMessage>,
    line: Arc<Line>,
}

impl Session {
    /// Reserves room for `bytes`; false when too many wait already.
    pub(super) fn may_write(&self, bytes: usize) -> bool {
        self.line.may_write(bytes)
    }
}

/// A session handed over to the node server. Dropping it cuts its line.
pub(super) struct Running {
    line: Arc<Line>,
    events: mpsc::UnboundedReceiver<SessionEvent>,
    /// `None`: the peer is a guest, which cannot be asked.
    gateway: Option<ActorRef<GatewayMessage>>,
}

impl Running {
    /// The session with `peer`, unless it has no gateway.
    pub(super) fn session(&self, peer: Hello) -> Option<Arc<Session>> {
        let gateway = self.gateway.clone()?;
        Some(Arc::new(Session {
            peer,
            gateway,
            line: self.line.clone(),
        }))
    }

    async fn wait_until_closed(&mut self) {
        while let Some(SessionEvent::Ready(_)) = self.events.recv().await {}
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.line.cut();
        self.line.has_closed();
    }
}

enum SessionEvent {
    Ready(Option<ActorRef<GatewayMessage>>),
    Closed,
}

/// By label of the stream. A session has three events in its life, so the channels stay short.
type Waiting = Arc<Mutex<HashMap<String, mpsc::UnboundedSender<SessionEvent>>>>;

/// A node server and the sessions on it.
pub(super) struct Sessions {
    server: ActorRef<NodeServerMessage>,
    node_name: String,
    waiting: Waiting,
    state: Mutex<State>,
    /// Changes whenever a session opens.
    opened: watch::Sender<()>,
    /// Messages for which a line had no room.
    full: Counter,
}

#[derive(Default)]
struct State {
    last_label: u64,
    /// One per member: the newest stream, whether ready or not.
    lines: HashMap<ReplicaId, Arc<Line>>,
    open: HashMap<ReplicaId, Arc<Session>>,
}

impl State {
    /// Whether `line` is the newest stream of the member.
    fn is_newest(&self, replica: ReplicaId, line: &Arc<Line>) -> bool {
        self.lines
            .get(&replica)
            .is_some_and(|newest| Arc::ptr_eq(newest, line))
    }
}

impl Sessions {
    /// Starts a node server that listens nowhere.
    pub(super) async fn start(cookie: &Cookie) -> Result<Self, SpawnErr> {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce)
            .map_err(|error| SpawnErr::StartupFailed(error.to_string().into()))?;
        // Random, so that the elections of `ractor_cluster`, which go by name, never have two candidates.
        let node_name = format!("weir-{}", hex(&nonce));
        let server = NodeServer::new(
            0,
            hex(&cookie.secret("control plane")),
            node_name.clone(),
            "weir".to_owned(),
            None,
            Some(NodeConnectionMode::Isolated),
        )
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_max_inbound_frame_size(2 * BODY_MAX as u64);
        let (server, _) = Actor::spawn(None, server, ()).await?;
        // It insists on a listener, and respawns one that ends. Unlinked, its end goes unnoticed.
        for listener in server.get_cell().get_children() {
            listener.unlink(server.get_cell());
            let _ = listener.kill_and_wait(Some(CLOSE_PATIENCE)).await;
        }
        let waiting = Waiting::default();
        let subscription = Box::new(Subscription(waiting.clone()));
        server
            .cast(NodeServerMessage::SubscribeToEvents {
                id: node_name.clone(),
                subscription,
            })
            .map_err(|error| SpawnErr::StartupFailed(error.to_string().into()))?;
        Ok(Self {
            server,
            node_name,
            waiting,
            state: Mutex::default(),
            opened: watch::Sender::new(()),
            full: counter!("weir_control_full_total"),
        })
    }

    /// The name under which this node's gateway is known to its peers.
    pub(super) fn gateway_name(&self) -> String {
        gateway_name(&self.node_name)
    }

    /// The session with the peer of that name, as soon as there is one; of several incarnations, the newest.
    pub(super) async fn with(&self, name: &str) -> Arc<Session> {
        let mut opened = self.opened.subscribe();
        loop {
            let newest = self
                .all()
                .into_iter()
                .filter(|session| session.peer.name == name)
                .max_by_key(|session| session.peer.incarnation);
            if let Some(session) = newest {
                return session;
            }
            // Never an error: the sender lives in `self`.
            let _ = opened.changed().await;
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        lock(&self.state).open.values().cloned().collect()
    }

    /// Runs the session with a member until it closes. An older one with the same member is closed first.
    pub(super) async fn keep(&self, stream: ControlStream, received: bool) {
        let peer = stream.peer.clone();
        let line = Arc::new(Line::of(&stream.stream, self.full.clone()));
        let older = lock(&self.state).lines.insert(peer.replica, line.clone());
        let _leaving = Leaving {
            sessions: self,
            replica: peer.replica,
            line: line.clone(),
        };
        if let Some(older) = older {
            older.cut();
            if tokio::time::timeout(CLOSE_PATIENCE, older.wait_until_closed())
                .await
                .is_err()
            {
                tracing::warn!(node = %peer.name, "an older control session does not end, going on beside it");
            }
        }
        let Some(mut running) = self.hand_over(stream, line.clone(), received).await else {
            return;
        };
        let Some(session) = running.session(peer.clone()) else {
            tracing::warn!(node = %peer.name, "a control session without a gateway, closing it");
            return;
        };
        {
            let mut state = lock(&self.state);
            if !state.is_newest(peer.replica, &line) {
                return;
            }
            state.open.insert(peer.replica, session);
        }
        tracing::debug!(node = %peer.name, received, "control session open");
        self.opened.send_replace(());
        running.wait_until_closed().await;
        tracing::debug!(node = %peer.name, "control session closed");
    }

    /// Runs the session with a guest until it leaves, or `stay` has passed.
    pub(super) async fn host(&self, stream: ControlStream, stay: Duration) {
        let line = Arc::new(Line::of(&stream.stream, self.full.clone()));
        if let Some(mut running) = self.hand_over(stream, line, true).await {
            let _ = tokio::time::timeout(stay, running.wait_until_closed()).await;
        }
    }

    /// Opens a session that belongs to the caller.
    pub(super) async fn open(&self, stream: ControlStream) -> Option<Running> {
        let line = Arc::new(Line::of(&stream.stream, self.full.clone()));
        self.hand_over(stream, line, false).await
    }

    /// Closes the session with a member.
    pub(super) fn close(&self, replica: ReplicaId) {
        if let Some(line) = lock(&self.state).lines.get(&replica) {
            line.cut();
        }
    }

    /// Whether the node server runs.
    pub(super) fn is_served(&self) -> bool {
        self.server.get_status() < ActorStatus::Stopping
    }

    /// Resolves when the node server has ended.
    pub(super) async fn ended(&self) {
        // Without a deadline it ends by nothing else.
        let _ended = self.server.wait(None).await;
    }

    /// Ends the node server and every session, whether or not it tells of their end.
    pub(super) fn stop(&self) {
        self.server.stop(None);
        for line in lock(&self.state).lines.values() {
            line.cut();
        }
        lock(&self.waiting).clear();
    }

    /// Gives the stream to the node server and waits until the session is ready. `None`: it did not get there.
    async fn hand_over(
        &self,
        stream: ControlStream,
        line: Arc<Line>,
        received: bool,
    ) -> Option<Running> {
        let label = {
            let mut state = lock(&self.state);
            state.last_label += 1;
            format!("{}#{}", stream.peer.name, state.last_label)
        };
        let (sender, events) = mpsc::unbounded_channel();
        lock(&self.waiting).insert(label.clone(), sender);
        let mut running = Running {
            line: line.clone(),
            events,
            gateway: None,
        };
        let stream = Box::new(Piped {
            stream: stream.stream,
            label: label.clone(),
            line,
        });
        let handed = self
            .server
            .cast(NodeServerMessage::ConnectionOpenedExternal {
                stream,
                is_server: received,
            });
        let ready = tokio::time::timeout(READY_DEADLINE, running.events.recv()).await;
        match (handed, ready) {
            (Ok(()), Ok(Some(SessionEvent::Ready(gateway)))) => {
                running.gateway = gateway;
                Some(running)
            }
            _ => {
                lock(&self.waiting).remove(&label);
                tracing::debug!(stream = %label, "a control session did not get ready");
                None
            }
        }
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes a member's session out of the tables, however its task ends.
struct Leaving<'a> {
    sessions: &'a Sessions,
    replica: ReplicaId,
    line: Arc<Line>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.line.cut();
        self.line.has_closed();
        let mut state = lock(&self.sessions.state);
        if state.is_newest(self.replica, &self.line) {
            state.lines.remove(&self.replica);
        }
        if state
            .open
            .get(&self.replica)
            .is_some_and(|open| Arc::ptr_eq(&open.line, &self.line))
        {
            state.open.remove(&self.replica);
        }
    }
}

struct Subscription(Waiting);

impl Subscription {
    fn tell(&self, session: &NodeServerSessionInformation, event: SessionEvent) {
        if let Some(waiting) = lock(&self.0).get(&session.peer_addr) {
            // An error means that whoever waited has given up.
            let _ = waiting.send(event);
        }
    }
}

impl NodeEventSubscription for Subscription {
    fn node_session_opened(&self, _: NodeServerSessionInformation) {}

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        // The remote actors of a session are its children, and were told before it was ready.
        let gateway = session.peer_name.as_ref().and_then(|peer| {
            let name = gateway_name(peer.name.split('@').next()?);
            let children = session.actor.get_cell().get_children();
            children
                .into_iter()
                .find(|child| child.get_name().as_deref() == Some(&name))
        });
        self.tell(&session, SessionEvent::Ready(gateway.map(ActorRef::from)));
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        self.tell(&session, SessionEvent::Closed);
        lock(&self.0).remove(&session.peer_addr);
    }
}

fn gateway_name(node_name: &str) -> String {
    format!("gateway of {node_name}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
