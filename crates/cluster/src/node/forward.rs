//! Hits on their way to the owner of their shard.
//!
//! Hits for one node queue while batches are in flight and leave together; an idle queue is sent at once,
//! by whoever asks, without a timer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use delta_crdt::ReplicaId;
use tokio::sync::oneshot;

use super::metrics::ForwardMetrics;
use crate::wire::{self, ForwardVerdict, ForwardedHit, Frame};
use transport::{Lane, Transport};

/// Hits that wait for one node. At 64 bytes each 2 MiB; a tenth of a second at 300 000 hits a second,
/// beyond which waiting helps nobody: the next hit is shed.
const QUEUE_MAX: usize = 32_768;

/// Batches under way to one node. One would leave the link idle while its answers travel.
const IN_FLIGHT_MAX: u32 = 2;

/// Most hits of one frame: 4 096 are some 200 KiB, a fraction of a frame's limit.
const BATCH_MAX: usize = 4_096;

/// After this long without an answer the next batch leaves anyway: the answers may wait for a replica.
const STALLED: Duration = Duration::from_millis(5);

/// Locks that the waiting answers are spread over.
const STRIPES: usize = 16;

/// Why there is no verdict. In every case the hit may have been counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Not counted: the queue to the node is full.
    #[error("the queue of hits for the owner is full")]
    Full,
    /// The connection closed, or never stood.
    #[error("the connection to the owner is closed")]
    Lost,
    /// No answer in time.
    #[error("the owner did not answer in time")]
    Silent,
}

#[derive(Default)]
struct Queue {
    hits: Vec<ForwardedHit>,
    in_flight: u32,
    sent_at: Option<Instant>,
}

struct Pending {
    to: ReplicaId,
    verdict: oneshot::Sender<ForwardVerdict>,
}

pub(crate) struct Forwarder {
    transport: Transport,
    queues: RwLock<HashMap<ReplicaId, Arc<Mutex<Queue>>>>,
    pending: Vec<Mutex<HashMap<u64, Pending>>>,
    next_sequence: AtomicU64,
    pub(crate) metrics: ForwardMetrics,
}

impl Forwarder {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            transport,
            queues: RwLock::default(),
            pending: (0..STRIPES).map(|_| Mutex::default()).collect(),
            next_sequence: AtomicU64::new(1),
            metrics: ForwardMetrics::new(),
        }
    }

    /// Names the next hit of this node. A retry keeps the name.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks `to` for a decision.
    pub(crate) async fn ask(
        &self,
        to: ReplicaId,
        hit: ForwardedHit,
        patience: Duration,
    ) -> Result<ForwardVerdict, AskError> {
        let (sender, receiver) = oneshot::channel();
        let sequence = hit.sequence;
        self.stripe(sequence).insert(
            sequence,
            Pending {
                to,
                verdict: sender,
            },
        );
        let outcome = match self.enqueue(to, hit) {
            Err(error) => Err(error),
            Ok(()) => match tokio::time::timeout(patience, receiver).await {
                Ok(Ok(verdict)) => return Ok(verdict),
                Ok(Err(_closed)) => Err(AskError::Lost),
                Err(_elapsed) => Err(AskError::Silent),
            },
        };
        self.stripe(sequence).remove(&sequence);
        outcome
    }

    /// Verdicts of `from` came in: hand them out, and let the next batch go.
    pub(crate) fn on_verdicts(&self, from: ReplicaId, verdicts: Vec<(u64, ForwardVerdict)>) {
        for (sequence, verdict) in verdicts {
            if let Some(pending) = self.stripe(sequence).remove(&sequence) {
                let _gone = pending.verdict.send(verdict);
            }
        }
        let queue = self.queue(from);
        let mut queue = queue.lock().expect("nothing panics under this lock");
        queue.in_flight = queue.in_flight.saturating_sub(1);
        self.send_batches(from, &mut queue);
    }

    /// The connection to `peer` closed: whoever waits for it looks elsewhere.
    pub(crate) fn on_disconnected(&self, peer: ReplicaId) {
        self.queues
            .write()
            .expect("nothing panics under this lock")
            .remove(&peer);
        for stripe in &self.pending {
            stripe
                .lock()
                .expect("nothing panics under this lock")
                .retain(|_, pending| pending.to != peer);
        }
    }

    /// Hits that wait to be sent, over all nodes.
    pub(crate) fn depth(&self) -> usize {
        let queues = self.queues.read().expect("nothing panics under this lock");
        queues
            .values()
            .map(|queue| queue.lock().map_or(0, |queue| queue.hits.len()))
            .sum()
    }

    fn enqueue(&self, to: ReplicaId, hit: ForwardedHit) -> Result<(), AskError> {
        let queue = self.queue(to);
        let mut queue = queue.lock().expect("nothing panics under this lock");
        if QUEUE_MAX <= queue.hits.len() {
            self.metrics.shed.increment(1);
            return Err(AskError::Full);
        }
        queue.hits.push(hit);
        self.metrics.forwarded.increment(1);
        if self.send_batches(to, &mut queue) {
            Ok(())
        } else {
            Err(AskError::Lost)
        }
    }

    /// Sends what may leave now. `false`: there is no connection, and nothing is queued any more.
    fn send_batches(&self, to: ReplicaId, queue: &mut Queue) -> bool {
        while !queue.hits.is_empty() {
            let stalled = queue.sent_at.is_none_or(|at| STALLED <= at.elapsed());
            if IN_FLIGHT_MAX <= queue.in_flight && !stalled {
                return true;
            }
            if stalled {
                queue.in_flight = 0;
            }
            let rest = queue.hits.split_off(queue.hits.len().min(BATCH_MAX));
            let batch = std::mem::replace(&mut queue.hits, rest);
            self.metrics.batch_hits.record(batch.len() as f64);
            let frame: Bytes = wire::encode(&Frame::Hits(batch));
            if self.transport.send(to, Lane::Bulk, frame).is_err() {
                queue.hits.clear();
                return false;
            }
            queue.in_flight += 1;
            queue.sent_at = Some(Instant::now());
        }
        true
    }

    fn queue(&self, peer: ReplicaId) -> Arc<Mutex<Queue>> {
        if let Some(queue) = self
            .queues
            .read()
            .expect("nothing panics under this lock")
            .get(&peer)
        {
            return Arc::clone(queue);
        }
        let mut queues = self.queues.write().expect("nothing panics under this lock");
        Arc::clone(queues.entry(peer).or_default())
    }

    fn stripe(&self, sequence: u64) -> std::sync::MutexGuard<'_, HashMap<u64, Pending>> {
        self.pending[sequence as usize % STRIPES]
            .lock()
            .expect("nothing panics under this lock")
    }
}
