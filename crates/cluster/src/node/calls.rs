//! Questions of one node to another that a strategy outside of this crate answers: the messages of `raft`.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use delta_crdt::ReplicaId;
use membership::Status;
use quota::{KeyHasher, UnixNanos};
use tokio::sync::{Semaphore, oneshot};

use super::Cluster;
use crate::wire::{self, Frame};
use transport::{Lane, SendError};

/// Calls that wait for an answer. A call is a batch of hits or of log entries, and a few to each peer are under way
/// at once; beyond this, peers do not answer, and more of the same does not help.
const PENDING_MAX: usize = 4_096;

/// Calls of others that are being answered. Beyond, they are not answered: the caller's deadline says so.
const ANSWERING_MAX: usize = 1_024;

/// Answers calls: who asks, and what.
pub type CallHandler =
    Arc<dyn Fn(ReplicaId, Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> + Send + Sync>;

/// Why a call was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent.
    #[error("the node cannot be reached now")]
    Unreachable,
    /// Nothing was sent: too much waits already.
    #[error("too many calls wait for an answer")]
    Overloaded,
    /// It may have been heard, and acted upon.
    #[error("the node did not answer in time, or the connection closed")]
    Unanswered,
}

/// A member of the cluster, as this node believes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Which incarnation of the node.
    pub replica: ReplicaId,
    /// Its name.
    pub name: String,
    /// What this node believes of it. [`Status::Dead`] also of an incarnation that another has followed.
    pub status: Status,
    /// Whether it owns and holds nothing.
    pub asks: bool,
}

struct Pending {
    to: ReplicaId,
    answer: oneshot::Sender<Bytes>,
}

/// The calls of this node, and what answers those of others.
pub(crate) struct Calls {
    handler: OnceLock<CallHandler>,
    pending: Mutex<HashMap<u64, Pending>>,
    next: AtomicU64,
    answering: Arc<Semaphore>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            handler: OnceLock::new(),
            pending: Mutex::default(),
            next: AtomicU64::new(1),
            answering: Arc::new(Semaphore::new(ANSWERING_MAX)),
        }
    }
}

impl Calls {
    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Pending>> {
        self.pending.lock().expect("nothing panics under this lock")
    }

    /// The connection to `peer` closed: whoever waits for it is told.
    pub(crate) fn on_disconnected(&self, peer: ReplicaId) {
        self.pending().retain(|_, pending| pending.to != peer);
    }

    /// An answer came in; one that comes too late finds nobody.
    pub(crate) fn on_return(&self, from: ReplicaId, id: u64, body: Bytes) {
        let mut pending = self.pending();
        if pending.get(&id).is_some_and(|pending| pending.to == from)
            && let Some(pending) = pending.remove(&id)
        {
            let _gone = pending.answer.send(body);
        }
    }
}

/// Takes a call off the list of those that wait, however its future ends.
struct Listed<'a> {
    calls: &'a Calls,
    id: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.calls.pending().remove(&self.id);
    }
}

impl Cluster {
    /// This node's incarnation.
    #[must_use]
    pub fn me(&self) -> ReplicaId {
        self.inner.me
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// The hash by which this cluster names its keys.
    #[must_use]
    pub fn keys(&self) -> KeyHasher {
        self.inner.keys
    }

    /// The time on which the nodes of this cluster agree, give or take the skew.
    #[must_use]
    pub fn cluster_time(&self) -> UnixNanos {
        self.inner.clock.now().wall
    }

    /// Answers the calls of other nodes from now on. Before, the answer is empty. The first handler stays.
    pub fn on_calls(&self, handler: CallHandler) {
        let _first = self.inner.calls.handler.set(handler);
    }

    /// Asks another node, and waits for its answer until `deadline`. An empty answer: nobody answers calls there.
    ///
    /// # Errors
    ///
    /// [`CallError`]; only [`CallError::Unanswered`] may have been heard.
    pub async fn call(
        &self,
        to: ReplicaId,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let calls = &self.inner.calls;
        let id = calls.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        {
            let mut pending = calls.pending();
            if PENDING_MAX <= pending.len() {
                return Err(CallError::Overloaded);
            }
            pending.insert(id, Pending { to, answer });
        }
        let _listed = Listed { calls, id };
        let frame = wire::encode(&Frame::Call { id, body });
        self.inner
            .transport
            .send(to, Lane::Bulk, frame)
            .map_err(|error| match error {
                SendError::Full => CallError::Overloaded,
                SendError::NotConnected | SendError::Unframeable => CallError::Unreachable,
            })?;
        match tokio::time::timeout(deadline, answered).await {
            Ok(Ok(body)) => Ok(body),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Another node asks.
    pub(crate) fn on_call(&self, from: ReplicaId, id: u64, body: Bytes) {
        let calls = &self.inner.calls;
        let Some(handler) = calls.handler.get() else {
            let nothing = Bytes::new();
            let frame = wire::encode(&Frame::Return { id, body: nothing });
            let _lost = self.inner.transport.send(from, Lane::Bulk, frame);
            return;
        };
        let Ok(permit) = Arc::clone(&calls.answering).try_acquire_owned() else {
            self.inner.metrics.unanswered_calls.increment(1);
            return;
        };
        let answer = handler(from, body);
        let transport = self.inner.transport.clone();
        tokio::spawn(async move {
            let body = answer.await;
            let frame = wire::encode(&Frame::Return { id, body });
            let _lost = transport.send(from, Lane::Bulk, frame);
            drop(permit);
        });
    }

    /// The members that this node knows of, itself and the dead included.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let asking = self.asking();
        let peers = self.with_membership(|membership, _| {
            let members = membership.roster().iter().filter(|m| m.belongs());
            let peer = |member: &membership::Member| Peer {
                replica: member.replica,
                name: member.name.clone(),
                status: membership.status(member.replica).unwrap_or(Status::Dead),
                asks: asking.contains(&member.replica),
            };
            members.map(peer).collect()
        });
        peers.unwrap_or_default()
    }
}
