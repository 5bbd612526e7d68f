//! The accepting end: strangers in bounded number, until they have proven the cookie.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use metrics::Counter;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::stream::PROVEN;
use super::{ControlStream, Inner, lock, stream};
use crate::handshake::{self, HandshakeError, Plane};

/// Connections at a time that have not proven the cookie. When one more comes, the oldest is closed.
///
/// Refusing the newest would let 256 silent strangers keep all nodes out; against eviction they would have
/// to open 256 connections within the round trips of one honest handshake, over and over. Each costs a
/// socket and some 10 KiB.
pub(super) const UNPROVEN_MAX: usize = 256;

/// Pause after a failed accept, which is mostly a lack of file descriptors: trying harder frees none.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two log lines about strangers. Each is counted; a flood of them must not flood the log.
const STRANGER_LOG_EVERY: Duration = Duration::from_secs(1);

/// The connections that have not proven anything yet, oldest first.
#[derive(Default)]
struct Unproven {
    tasks: Mutex<BTreeMap<u64, AbortHandle>>,
    last_logged: Mutex<Option<Instant>>,
}

impl Unproven {
    /// Runs `spawn` under the lock: its task cannot leave before it has entered.
    fn enter(&self, id: u64, evicted: &Counter, spawn: impl FnOnce() -> AbortHandle) {
        let mut tasks = lock(&self.tasks);
        if UNPROVEN_MAX <= tasks.len()
            && let Some((_, oldest)) = tasks.pop_first()
        {
            oldest.abort();
            evicted.increment(1);
        }
        tasks.insert(id, spawn());
    }

    fn leave(&self, id: u64) {
        lock(&self.tasks).remove(&id);
    }

    fn may_log(&self) -> bool {
        let mut last = lock(&self.last_logged);
        let may = last.is_none_or(|last| STRANGER_LOG_EVERY <= last.elapsed());
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}

/// Accepts until the shutdown.
pub(super) async fn accept_all(inner: Arc<Inner>) {
    let Some(listener) = lock(&inner.listener).clone() else {
        return;
    };
    let unproven = Arc::new(Unproven::default());
    let evicted = inner.traffic.evicted_handshakes.clone();
    let mut id = 0;
    let mut shutdown = pin!(inner.when_shut_down());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                id += 1;
                let proving = prove(inner.clone(), unproven.clone(), id, stream, remote);
                unproven.enter(id, &evicted, || tokio::spawn(proving).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn prove(
    inner: Arc<Inner>,
    unproven: Arc<Unproven>,
    id: u64,
    mut stream: TcpStream,
    remote: SocketAddr,
) {
    let proven = match stream::prepare(&stream) {
        Ok(()) => {
            handshake::receive(&mut stream, &inner.key, |peer, plane| {
                inner.admit(peer, plane)
            })
            .await
        }
        Err(error) => Err(HandshakeError::Io(error)),
    };
    unproven.leave(id);
    match proven {
        Ok(proven) => {
            inner.traffic.shook_hands(PROVEN);
            match proven.plane {
                Plane::Data => {
                    tokio::spawn(stream::carry(inner, stream, proven, false));
                }
                Plane::Control => inner.hand_over(ControlStream {
                    stream,
                    peer: proven.peer,
                }),
            }
        }
        Err(error) => {
            inner.traffic.shook_hands(error.label());
            let reason = crate::chain(&error);
            if matches!(error, HandshakeError::Io(_)) {
                // Somebody came and went: a port scan, a health check, a node looking whether this one lives.
                tracing::debug!(%remote, reason, "connection closed before the handshake was complete");
            } else if unproven.may_log() {
                tracing::warn!(%remote, reason, "connection refused");
            }
        }
    }
}

impl Inner {
    fn hand_over(&self, stream: ControlStream) {
        let name = stream.peer.name.clone();
        let taken = lock(&self.control)
            .as_ref()
            .is_some_and(|control| control.try_send(stream).is_ok());
        if !taken {
            tracing::warn!(node = %name, "control plane busy, closing a connection to it");
        }
    }
}
