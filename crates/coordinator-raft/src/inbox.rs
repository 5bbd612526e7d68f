//! Parcels that wait to become entries of the log, on the node that leads.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::ask::{Outcome, Parcel};
use crate::outbox::PARCEL_MAX;

/// Hits of all nodes that wait here. At 100 bytes each 6 MiB, and less than a second of work.
const WAITING_MAX: usize = 65_536;

/// Hits of one entry. Twice this is less than half of what a call may carry, also if every hit has a limit of its own.
const ENTRY_MAX: usize = PARCEL_MAX;

/// What became of a parcel.
#[derive(Clone, Debug)]
pub(crate) enum Filed {
    /// An outcome for each hit.
    Decided(Vec<Outcome>),
    /// Not in the log: this node does not lead.
    NotLeader(Option<u32>),
    /// Not in the log: too many wait already.
    Full,
    /// It may be in the log.
    Lost,
}

/// A parcel, and who waits for it.
pub(crate) struct Filing {
    pub(crate) parcel: Parcel,
    pub(crate) filed: oneshot::Sender<Filed>,
}

/// Parcels that wait while entries are on their way, and then leave together: without a timer, and at once when
/// nothing is on its way.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<(usize, VecDeque<Filing>)>,
    filled: Notify,
}

impl Inbox {
    /// Files a parcel, and waits for what becomes of it.
    pub(crate) async fn file(&self, parcel: Parcel) -> Filed {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if WAITING_MAX < waiting.0 + parcel.asks.len() {
                return Filed::Full;
            }
            waiting.0 += parcel.asks.len();
            waiting.1.push_back(Filing {
                parcel,
                filed: sender,
            });
        }
        self.filled.notify_one();
        receiver.await.unwrap_or(Filed::Lost)
    }

    /// Waits for parcels, and takes as many as one entry holds.
    pub(crate) async fn next(&self) -> Vec<Filing> {
        loop {
            let filings = self.take();
            if !filings.is_empty() {
                return filings;
            }
            self.filled.notified().await;
        }
    }

    fn take(&self) -> Vec<Filing> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (hits, queue) = &mut *waiting;
        let mut taken = 0;
        let mut filings = Vec::new();
        while let Some(next) = queue.front()
            && (filings.is_empty() || taken + next.parcel.asks.len() <= ENTRY_MAX)
        {
            taken += next.parcel.asks.len();
            filings.extend(queue.pop_front());
        }
        *hits -= taken;
        filings
    }
}
