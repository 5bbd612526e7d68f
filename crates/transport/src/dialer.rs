//! The dialling end: every address in use is redialled whenever its node is not connected.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use delta_crdt::ReplicaId;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::{Inner, TransportEvent, lock, stream};
use crate::handshake::{self, HandshakeError, Hello, Plane, Proven, Refusal};

/// From the first packet to an open connection. In one data centre it takes a millisecond; a second
/// covers a lost first packet, which is repeated after one.
const CONNECT_DEADLINE: Duration = Duration::from_millis(1_500);

/// Pause after the first failed attempt, doubled by each further one.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause: a node that comes back is met within a second.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why an address could not be opened. Nobody's state has changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No TCP connection came about.
    #[error("connecting to {address}")]
    Connect {
        /// What was dialled.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// A connection, but no proven node of this cluster at the other end.
    #[error("shaking hands with {address}")]
    Handshake {
        /// What was dialled.
        address: String,
        /// Why not.
        source: HandshakeError,
    },
}

/// An address that is kept connected.
pub(super) struct Dial {
    task: AbortHandle,
    /// Whom the address led to last.
    known: Arc<Mutex<Option<ReplicaId>>>,
}

impl Drop for Dial {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    pub(super) fn dial(self: &Arc<Self>, address: &str) {
        self.dial_knowing(address, None);
    }

    /// Redials `peer`, now connected, when it is lost.
    pub(super) fn keep_dialling(self: &Arc<Self>, peer: &Hello) {
        self.dial_knowing(&peer.cluster, Some(peer.replica));
    }

    fn dial_knowing(self: &Arc<Self>, address: &str, known: Option<ReplicaId>) {
        if address == self.advertised {
            return;
        }
        let mut dials = lock(&self.dials);
        if let Some(dial) = dials.get(address) {
            if known.is_some() {
                *lock(&dial.known) = known;
            }
            return;
        }
        let known = Arc::new(Mutex::new(known));
        let task = tokio::spawn(keep_connected(
            self.clone(),
            address.to_owned(),
            known.clone(),
        ));
        dials.insert(
            address.to_owned(),
            Dial {
                task: task.abort_handle(),
                known,
            },
        );
    }

    /// Connects to `address`, shakes hands, and leaves the stream to the caller.
    pub(super) async fn open(
        &self,
        address: &str,
        me: &Hello,
        plane: Plane,
    ) -> Result<(TcpStream, Proven), OpenError> {
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream::prepare(&stream)?;
            Ok(stream)
        };
        let mut stream = tokio::time::timeout(CONNECT_DEADLINE, connect)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| OpenError::Connect {
                address: address.to_owned(),
                source,
            })?;
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let proven = handshake::greet(&mut stream, &self.key, me, plane, attempt)
            .await
            .map_err(|source| OpenError::Handshake {
                address: address.to_owned(),
                source,
            })?;
        Ok((stream, proven))
    }
}

/// Pauses that double up to a bound, each shortened by up to a half, so that nodes that lost each other at
/// one instant do not meet again in step.
struct Pauses {
    next: Duration,
}

impl Pauses {
    fn fresh() -> Self {
        Self { next: PAUSE_MIN }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        // Without randomness the pause is whole, and still right.
        let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        pause.mul_f64(0.5 + share / 2.0)
    }
}

async fn keep_connected(inner: Arc<Inner>, address: String, known: Arc<Mutex<Option<ReplicaId>>>) {
    let mut pauses = Pauses::fresh();
    let mut told_gone = None;
    let mut warned = "";
    loop {
        let lost = *lock(&known);
        if let Some(link) = lost.and_then(|replica| inner.link(replica)) {
            link.wait_until_down().await;
            pauses = Pauses::fresh();
            told_gone = None;
            continue;
        }
        let Some(me) = inner.when_introduced().await else {
            return;
        };
        match inner.open(&address, &me, Plane::Data).await {
            Ok((stream, proven)) => {
                *lock(&known) = Some(proven.peer.replica);
                warned = "";
                let since = Instant::now();
                // In a task of its own: forgetting the address must not close the connection.
                let carrying = tokio::spawn(stream::carry(inner.clone(), stream, proven, true));
                let carried = carrying.await.unwrap_or(false);
                if carried && PAUSE_MAX <= since.elapsed() {
                    pauses = Pauses::fresh();
                    told_gone = None;
                    continue;
                }
            }
            Err(OpenError::Connect { source, .. })
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                if let Some(replica) = lost
                    && told_gone != lost
                    && inner.link(replica).is_none()
                {
                    told_gone = lost;
                    tracing::info!(%replica, %address, "host alive, process gone");
                    inner.tell(TransportEvent::ProcessGone { replica }).await;
                }
            }
            Err(OpenError::Handshake {
                source: HandshakeError::RefusedBy(Refusal::Itself),
                ..
            }) => {
                tracing::debug!(%address, "that is this node, dialling it no more");
                return;
            }
            Err(OpenError::Handshake { source, .. }) if tells(&source) => {
                if warned != source.label() {
                    warned = source.label();
                    tracing::warn!(%address, reason = crate::chain(&source), "the node dialled does not take part with this one");
                }
                inner
                    .tell(TransportEvent::HelloRefused {
                        address: address.clone(),
                        reason: source,
                    })
                    .await;
            }
            Err(error) => {
                tracing::debug!(%address, error = crate::chain(&error), "dialling failed")
            }
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

/// Whether an operator, or the machine above, has to know about a failed handshake.
fn tells(error: &HandshakeError) -> bool {
    match error {
        HandshakeError::RefusedBy(refusal) => *refusal != Refusal::NotReady,
        HandshakeError::Unproven | HandshakeError::Version { .. } | HandshakeError::Foreign => true,
        HandshakeError::Refused(_) | HandshakeError::Deadline | HandshakeError::Io(_) => false,
    }
}

impl Inner {
    /// Who this node is, once it has an incarnation. `None`: it has stopped.
    async fn when_introduced(&self) -> Option<Hello> {
        let mut me = self.me.subscribe();
        let me = me
            .wait_for(|me| me.as_ref().is_some_and(|me| !me.is_newcomer()))
            .await
            .ok()?;
        me.clone()
    }
}
