//! Hits of this node's fronts, on their way to whoever leads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coordinator::NoDecision;
use quota::{Decision, KeyHash, Limit, Nanos};
use tokio::sync::{Notify, oneshot};

use crate::ask::{Ask, Operation, Parcel};

/// Hits that wait to leave this node. At 100 bytes each 3 MiB, and a third of a second at 100 000 hits a second, beyond
/// which waiting helps nobody: the next hit is shed.
const WAITING_MAX: usize = 32_768;

/// Most sequences between the oldest open hit and the newest: what the leader may have to remember for this node. At
/// 300 000 hits a second, one that is stuck for its whole 3 s leaves this room.
pub(crate) const SPAN_MAX: u64 = 1 << 20;

/// Hits of one parcel: some 100 kB, a tenth of what a call may carry.
pub(crate) const PARCEL_MAX: usize = 4_096;

/// What to tell a client whose hit found nobody: an election is over by then.
pub(crate) const RETRY_AFTER: Nanos = Nanos::from_secs(1);

/// How a hit ended.
pub(crate) type Told = Result<Decision, NoDecision>;

/// The hits of this node that are not answered yet.
#[derive(Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    /// Told when there is something to send.
    filled: Notify,
}

#[derive(Default)]
struct Inner {
    last: u64,
    /// Each open hit, and whether it may have been counted.
    open: BTreeMap<u64, bool>,
    waiting: VecDeque<Waiting>,
    is_closed: bool,
}

/// A hit that waits to leave.
struct Waiting {
    ask: Ask,
    told: oneshot::Sender<Told>,
    /// Whether the next one came with it, and must not be decided before it.
    is_followed: bool,
}

/// Hits that leave together, and who is told about each.
pub(crate) struct Load {
    pub(crate) asks: Vec<Ask>,
    pub(crate) told: Vec<oneshot::Sender<Told>>,
}

/// A hit that is being decided. Dropped, it is given up.
pub(crate) struct Ticket {
    outbox: Arc<Outbox>,
    sequence: u64,
    told: oneshot::Receiver<Told>,
}

/// A hit that is new here.
pub(crate) type Subject = (KeyHash, Limit, Operation);

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes hits in, to be decided in this order.
    pub(crate) fn put(
        self: &Arc<Self>,
        subjects: impl ExactSizeIterator<Item = Subject>,
    ) -> Vec<Result<Ticket, NoDecision>> {
        let mut left = subjects.len();
        let mut inner = self.lock();
        let tickets = subjects
            .map(|subject| {
                left -= 1;
                let (sequence, told) = inner.put(subject, left != 0)?;
                Ok(Ticket {
                    outbox: Arc::clone(self),
                    sequence,
                    told,
                })
            })
            .collect();
        drop(inner);
        self.filled.notify_one();
        tickets
    }

    /// Waits for hits, and takes as many as travel together.
    pub(crate) async fn next(&self) -> Load {
        loop {
            let load = self.lock().take();
            if !load.asks.is_empty() {
                return load;
            }
            self.filled.notified().await;
        }
    }

    /// All hits below are answered or given up.
    pub(crate) fn settled(&self) -> u64 {
        let inner = self.lock();
        inner.settled()
    }

    /// The asks as they leave now.
    pub(crate) fn parcel(&self, origin: u32, asks: &[Ask]) -> Parcel {
        Parcel {
            origin,
            // A hit that was given up meanwhile is below: it is refused, which is what giving up means.
            settled: self
                .settled()
                .min(asks.first().map_or(u64::MAX, |ask| ask.sequence)),
            asks: asks.to_vec(),
        }
    }

    /// Notes that these may have been counted, or, if they were only noted so by the attempt that is over, not.
    pub(crate) fn trace(&self, asks: &[Ask], may_be_counted: bool) {
        let mut inner = self.lock();
        for ask in asks {
            if let Some(trace) = inner.open.get_mut(&ask.sequence) {
                *trace = may_be_counted;
            }
        }
    }

    /// Refuses new hits. Those that wait go on.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Hits that are not answered yet.
    pub(crate) fn open(&self) -> usize {
        self.lock().open.len()
    }

    fn may_be_counted(&self, sequence: u64) -> bool {
        self.lock().open.get(&sequence).copied().unwrap_or(true)
    }
}

impl Inner {
    fn settled(&self) -> u64 {
        self.open
            .first_key_value()
            .map_or(self.last + 1, |(&oldest, _)| oldest)
    }

    fn put(
        &mut self,
        (key, limit, operation): Subject,
        is_followed: bool,
    ) -> Result<(u64, oneshot::Receiver<Told>), NoDecision> {
        let retry_after = RETRY_AFTER;
        if self.is_closed {
            return Err(NoDecision::Draining { retry_after });
        }
        let span = self.last + 1 - self.settled();
        if WAITING_MAX <= self.waiting.len() || SPAN_MAX <= span {
            return Err(NoDecision::Overloaded { retry_after });
        }
        self.last += 1;
        let sequence = self.last;
        self.open.insert(sequence, false);
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back(Waiting {
            ask: Ask {
                sequence,
                key,
                limit,
                operation,
            },
            told: sender,
            is_followed,
        });
        Ok((sequence, receiver))
    }

    /// Hits that came together leave together, up to twice the usual size.
    fn take(&mut self) -> Load {
        let mut load = Load {
            asks: Vec::new(),
            told: Vec::new(),
        };
        let mut is_followed = false;
        while load.asks.len() < PARCEL_MAX || is_followed && load.asks.len() < 2 * PARCEL_MAX {
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            is_followed = waiting.is_followed;
            if !waiting.told.is_closed() {
                load.asks.push(waiting.ask);
                load.told.push(waiting.told);
            }
        }
        load
    }
}

impl Load {
    /// Forgets hits that nobody waits for any more.
    pub(crate) fn drop_abandoned(&mut self) {
        let all = self.asks.drain(..).zip(self.told.drain(..));
        let (asks, told) = all.filter(|(_, told)| !told.is_closed()).unzip();
        (self.asks, self.told) = (asks, told);
    }
}

impl Ticket {
    /// Waits for the decision until `deadline`.
    pub(crate) async fn decided(mut self, deadline: tokio::time::Instant) -> Told {
        let retry_after = RETRY_AFTER;
        match tokio::time::timeout_at(deadline, &mut self.told).await {
            Ok(Ok(told)) => told,
            _ if self.outbox.may_be_counted(self.sequence) => {
                Err(NoDecision::Unknown { retry_after })
            }
            _ => Err(NoDecision::Unavailable { retry_after }),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.outbox.lock().open.remove(&self.sequence);
    }
}

#[cfg(test)]
mod tests;
