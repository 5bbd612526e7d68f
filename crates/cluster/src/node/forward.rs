//! Hits on their way to the owner of their shard.
//!
//! Hits for one node queue while batches are in flight and leave together; an idle queue is sent at once,
//! by whoever asks, without a timer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use delta_crdt::ReplicaId;
use quota::Limit;
use request::{Said, Unsent};
use tokio::sync::oneshot;

use super::metrics::ForwardMetrics;
use crate::wire::{self, ForwardedHit, Frame};
use transport::{Lane, SendError, Transport};

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

/// Why a node said nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Not counted: the hit never left this node, and will not.
    #[error("the hit was not sent to the node that may decide it")]
    Unsent(Unsent),
    /// May have been counted: it was sent, and no answer came in time, or the connection closed.
    #[error("the node that may decide the hit did not answer")]
    Unanswered,
}

#[derive(Default)]
struct Queue {
    hits: VecDeque<ForwardedHit>,
    in_flight: u32,
    sent_at: Option<Instant>,
}

struct Pending {
    to: ReplicaId,
    /// Whether the hit left in a batch: an answer tells that the batch has arrived.
    in_batch: bool,
    said: oneshot::Sender<Result<Said, AskError>>,
}

pub(crate) struct Forwarder {
    transport: Transport,
    queues: RwLock<HashMap<ReplicaId, Arc<Mutex<Queue>>>>,
    pending: Vec<Mutex<HashMap<u64, Pending>>>,
    next_sequence: AtomicU64,
    pub(crate) metrics: ForwardMetrics,
}

/// An answer that is waited for. Dropped, for instance with a caller that went away, it is waited for no longer.
struct Awaited<'a> {
    forwarder: &'a Forwarder,
    sequence: u64,
    said: oneshot::Receiver<Result<Said, AskError>>,
    is_over: bool,
}

impl Awaited<'_> {
    /// What was said. `None`: nothing in time.
    async fn within(&mut self, patience: Duration) -> Option<Result<Said, AskError>> {
        let said = tokio::time::timeout(patience, &mut self.said).await.ok()?;
        self.is_over = true;
        Some(said.unwrap_or(Err(AskError::Unanswered)))
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.forwarder.stripe(self.sequence).remove(&self.sequence);
        }
    }
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
    ///
    /// # Errors
    ///
    /// [`AskError`]; with [`AskError::Unsent`] the hit was not counted, and will not be.
    pub(crate) async fn ask(
        &self,
        to: ReplicaId,
        hit: ForwardedHit,
        patience: Duration,
    ) -> Result<Said, AskError> {
        if !self.can_read(to, &hit.limit) {
            return Err(AskError::Unsent(Unsent::Unreached));
        }
        let mut awaited = self.await_answer(to, hit.sequence, true);
        self.enqueue(to, hit).map_err(AskError::Unsent)?;
        match awaited.within(patience).await {
            Some(said) => said,
            None if self.take_back(to, hit.sequence) => Err(AskError::Unsent(Unsent::Unreached)),
            None => Err(AskError::Unanswered),
        }
    }

    /// Sends `frame`, which holds one hit, ahead of what waits in batches, and waits for what is said of it.
    ///
    /// # Errors
    ///
    /// As for [`Self::ask`].
    pub(crate) async fn ask_alone(
        &self,
        to: ReplicaId,
        sequence: u64,
        frame: &Frame,
        patience: Duration,
    ) -> Result<Said, AskError> {
        let mut awaited = self.await_answer(to, sequence, false);
        self.transport
            .send(to, Lane::Bulk, wire::encode_for(self.form_for(to), frame))
            .map_err(|error| AskError::Unsent(unsent(error)))?;
        let said = awaited.within(patience).await;
        said.unwrap_or(Err(AskError::Unanswered))
    }

    /// Whether a node reads hits on `limit`, as far as is known: it may be of the version before.
    pub(crate) fn can_read(&self, to: ReplicaId, limit: &Limit) -> bool {
        let is_known = || self.transport.version(to).is_none_or(wire::knows_calendars);
        limit.anchor().calendar().is_none() || is_known()
    }

    fn await_answer(&self, to: ReplicaId, sequence: u64, in_batch: bool) -> Awaited<'_> {
        let (sender, said) = oneshot::channel();
        let pending = Pending {
            to,
            in_batch,
            said: sender,
        };
        self.stripe(sequence).insert(sequence, pending);
        Awaited {
            forwarder: self,
            sequence,
            said,
            is_over: false,
        }
    }

    /// What `from` said came in: hand it out, and let the next batch go.
    pub(crate) fn on_verdicts(&self, from: ReplicaId, verdicts: Vec<(u64, Said)>) {
        let mut is_of_batch = false;
        for (sequence, said) in verdicts {
            // Of one that is waited for no longer nobody knows how it left.
            is_of_batch |= self.tell(from, sequence, Ok(said)).unwrap_or(true);
        }
        if !is_of_batch {
            return;
        }
        let queue = self.queue(from);
        let mut queue = queue.lock().expect("nothing panics under this lock");
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let _told = self.send_batches(from, &mut queue);
    }

    /// The connection to `peer` closed: whoever waits for it looks elsewhere.
    pub(crate) fn on_disconnected(&self, peer: ReplicaId) {
        let queue = self
            .queues
            .write()
            .expect("nothing panics under this lock")
            .remove(&peer);
        let unsent: HashSet<u64> = queue.map_or_else(HashSet::new, |queue| {
            let mut queue = queue.lock().expect("nothing panics under this lock");
            queue.hits.drain(..).map(|hit| hit.sequence).collect()
        });
        for stripe in &self.pending {
            let mut stripe = stripe.lock().expect("nothing panics under this lock");
            let gone = stripe.extract_if(|_, pending| pending.to == peer);
            for (sequence, pending) in gone {
                let error = match unsent.contains(&sequence) {
                    true => AskError::Unsent(Unsent::Unreached),
                    false => AskError::Unanswered,
                };
                let _gone = pending.said.send(Err(error));
            }
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

    /// Tells whoever waits for `from` to say something of the hit `sequence`: whether it left in a batch, if somebody does.
    fn tell(&self, from: ReplicaId, sequence: u64, said: Result<Said, AskError>) -> Option<bool> {
        let mut stripe = self.stripe(sequence);
        if stripe
            .get(&sequence)
            .is_some_and(|pending| pending.to == from)
            && let Some(pending) = stripe.remove(&sequence)
        {
            let _gone = pending.said.send(said);
            return Some(pending.in_batch);
        }
        None
    }

    fn enqueue(&self, to: ReplicaId, hit: ForwardedHit) -> Result<(), Unsent> {
        let queue = self.queue(to);
        let mut queue = queue.lock().expect("nothing panics under this lock");
        if QUEUE_MAX <= queue.hits.len() {
            self.metrics.shed.increment(1);
            return Err(Unsent::Full);
        }
        queue.hits.push_back(hit);
        self.metrics.forwarded.increment(1);
        self.send_batches(to, &mut queue)
    }

    /// Takes a hit out of the queue again. `false`: it is not there any more, and may have been sent.
    fn take_back(&self, to: ReplicaId, sequence: u64) -> bool {
        let queue = self.queue(to);
        let mut queue = queue.lock().expect("nothing panics under this lock");
        // Those that have waited longest are in front, and give up first.
        let place = queue.hits.iter().position(|hit| hit.sequence == sequence);
        place.and_then(|place| queue.hits.remove(place)).is_some()
    }

    /// Sends what may leave now.
    ///
    /// # Errors
    ///
    /// When the peer takes nothing: all that was queued has been told that it was not sent, and is queued no more.
    fn send_batches(&self, to: ReplicaId, queue: &mut Queue) -> Result<(), Unsent> {
        while !queue.hits.is_empty() {
            let stalled = queue.sent_at.is_none_or(|at| STALLED <= at.elapsed());
            if IN_FLIGHT_MAX <= queue.in_flight && !stalled {
                return Ok(());
            }
            if stalled {
                queue.in_flight = 0;
            }
            let rest = queue.hits.split_off(queue.hits.len().min(BATCH_MAX));
            let batch = Vec::from(std::mem::replace(&mut queue.hits, rest));
            self.metrics.batch_hits.record(batch.len() as f64);
            let frame = Frame::Hits(batch);
            let bytes: Bytes = wire::encode_for(self.form_for(to), &frame);
            if let Err(error) = self.transport.send(to, Lane::Bulk, bytes) {
                let unsent = unsent(error);
                let Frame::Hits(batch) = frame else {
                    return Err(unsent);
                };
                for hit in batch.into_iter().chain(queue.hits.drain(..)) {
                    self.tell(to, hit.sequence, Err(AskError::Unsent(unsent)));
                }
                return Err(unsent);
            }
            queue.in_flight += 1;
            queue.sent_at = Some(Instant::now());
        }
        Ok(())
    }

    /// In which version frames for `peer` are written.
    fn form_for(&self, peer: ReplicaId) -> u8 {
        let agreed = self.transport.version(peer);
        agreed.map_or(wire::VERSION, wire::form_for)
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

fn unsent(error: SendError) -> Unsent {
    match error {
        SendError::Full => Unsent::Full,
        SendError::NotConnected | SendError::Unframeable => Unsent::Unreached,
    }
}
