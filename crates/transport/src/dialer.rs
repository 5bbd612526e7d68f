//! The dialling end: every address in use is redialled whenever its node is not connected.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use delta_crdt::ReplicaId;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

use super::{Inner, TransportEvent, lock, stream};
use crate::handshake::{self, HandshakeError, Hello, Plane, Proven, Refusal};

/// From the first packet to an open connection. In one data centre it takes a millisecond; a second
/// covers a lost first packet, which is repeated after one.
const CONNECT_DEADLINE: Duration = Duration::from_millis(1_500);

/// Pause after the first failed attempt, doubled by each further one.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause: a node that comes back is met within a second.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// So many refusals in a row say that the process is dead that an address led to.
///
/// One alone may be a full queue of connections, or a proxy that looks elsewhere for a moment. The pauses in between
/// double from [`PAUSE_MIN`], so that three take 30 to 60 ms: of the 100 ms to the first answer of a new owner 40 are
/// left, and a takeover on a quiet network takes 5.
const REFUSALS: u32 = 3;

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

/// Whom an address that is kept connected led to last. Its own, each time that it is begun to be dialled.
pub(super) type Known = Arc<Mutex<Option<ReplicaId>>>;

impl Inner {
    /// Dials `address`, which leads to `expected` as far as is known.
    pub(super) fn dial(&self, address: &str, expected: Option<ReplicaId>) {
        self.dial_knowing(address, |known| *known = known.or(expected));
    }

    /// Redials `peer`, now connected, when it is lost.
    pub(super) fn keep_dialling(&self, peer: &Hello) {
        self.dial_knowing(&peer.cluster, |known| *known = Some(peer.replica));
    }

    fn dial_knowing(&self, address: &str, learn: impl FnOnce(&mut Option<ReplicaId>)) {
        if address == self.advertised {
            return;
        }
        let mut dials = lock(&self.dials);
        if let Some(known) = dials.get(address) {
            learn(&mut lock(known));
            return;
        }
        let mut known = None;
        learn(&mut known);
        dials.insert(address.to_owned(), Arc::new(Mutex::new(known)));
        drop(dials);
        self.dials_changed.send_replace(());
    }

    /// Looks once whether a node is at `address`; one that is there is connected.
    pub(super) fn look_at(self: &Arc<Self>, address: &str) {
        let (inner, address) = (self.clone(), address.to_owned());
        // Ends by itself: every await of an attempt has a deadline.
        tokio::spawn(async move {
            let Some(me) = inner.me().filter(|me| !me.is_newcomer()) else {
                return;
            };
            match inner.open(&address, &me, Plane::Data).await {
                Ok((stream, proven)) => {
                    stream::carry(inner, stream, proven, true).await;
                }
                Err(error) => {
                    tracing::debug!(%address, error = crate::chain(&error), "nobody of this cluster there")
                }
            }
        });
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

/// Keeps every address connected that is to be dialled, until the shutdown.
pub(super) async fn dial_all(inner: Arc<Inner>) {
    let mut changed = inner.dials_changed.subscribe();
    // They end with this task, and their panics are its own: it starts again, and dials every address anew.
    let mut running = JoinSet::new();
    let mut dialling = HashMap::<String, (Known, AbortHandle)>::new();
    let mut shutdown = pin!(inner.when_shut_down());
    loop {
        changed.borrow_and_update();
        let wanted = lock(&inner.dials).clone();
        dialling.retain(|address, (known, task)| {
            let stays = wanted.get(address).is_some_and(|it| Arc::ptr_eq(it, known));
            if !stays {
                task.abort();
            }
            stays
        });
        for (address, known) in wanted {
            dialling.entry(address).or_insert_with_key(|address| {
                let task = keep_connected(inner.clone(), address.clone(), known.clone());
                (known, running.spawn(task))
            });
        }
        tokio::select! {
            // Never an error: the sender lives in `inner`.
            _ = changed.changed() => {}
            Some(Err(error)) = running.join_next() => if error.is_panic() {
                std::panic::resume_unwind(error.into_panic());
            },
            () = &mut shutdown => return,
        }
    }
}

async fn keep_connected(inner: Arc<Inner>, address: String, known: Known) {
    let mut pauses = Pauses::fresh();
    let mut refusals = 0;
    let mut warned = "";
    loop {
        let lost = *lock(&known);
        if let Some(link) = lost.and_then(|replica| inner.link(replica)) {
            link.wait_until_down().await;
            pauses = Pauses::fresh();
            refusals = 0;
            continue;
        }
        let Some(me) = inner.when_introduced().await else {
            return;
        };
        let opened = inner.open(&address, &me, Plane::Data).await;
        let is_refused = matches!(&opened, Err(OpenError::Connect { source, .. }) if source.kind() == io::ErrorKind::ConnectionRefused);
        refusals = if is_refused { refusals + 1 } else { 0 };
        if let Some(replica) = lost
            && (REFUSALS <= refusals || is_answered_by_another(&opened, replica))
            && inner.link(replica).is_none()
        {
            // Each time anew: what a connection from there has disproved since may have become true.
            inner.tell(TransportEvent::ProcessGone { replica }).await;
        }
        match opened {
            Ok((stream, proven)) => {
                *lock(&known) = Some(proven.peer.replica);
                warned = "";
                let since = Instant::now();
                // In a task of its own: forgetting the address must not close the connection.
                let carrying = tokio::spawn(stream::carry(inner.clone(), stream, proven, true));
                let carried = carrying.await.unwrap_or(false);
                if carried && PAUSE_MAX <= since.elapsed() {
                    pauses = Pauses::fresh();
                    continue;
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

/// Whether somebody who has proven the cookie answers in place of `lost`: then its process has ended, for two cannot
/// listen on one address.
///
/// A node that is not ready has not been given its incarnation yet, or decides nothing any more. Either way it is not
/// `lost` as others knew it.
fn is_answered_by_another(
    opened: &Result<(TcpStream, Proven), OpenError>,
    lost: ReplicaId,
) -> bool {
    match opened {
        Ok((_, proven)) => proven.peer.replica != lost,
        Err(OpenError::Handshake { source, .. }) => {
            matches!(source, HandshakeError::RefusedBy(Refusal::NotReady))
        }
        Err(OpenError::Connect { .. }) => false,
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
    /// Resolves when this node is shut down, and not before its start.
    pub(super) async fn when_shut_down(&self) {
        // Never an error: the sender lives in `self`.
        let mut me = self.me.subscribe();
        let _none = me.wait_for(Option::is_none).await;
    }

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
