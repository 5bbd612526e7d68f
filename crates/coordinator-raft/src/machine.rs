//! The replicated state: what is counted, and what was decided under which id.

mod counts;
mod parts;
mod windows;

use quota::{Cost, Stamp, UnixNanos};

use crate::ask::{Ask, Command, Operation, Outcome, Parcel};
use crate::codec::Malformed;
use counts::Counts;
pub(crate) use parts::Frozen;
use windows::Windows;

/// The state that every node computes from the log, the same on all.
///
/// Pure: time is what the entries say, and never goes back. Commands are applied in the order of the log, each once.
#[derive(Default)]
pub(crate) struct Machine {
    now: UnixNanos,
    counts: Counts,
    windows: Windows,
}

impl Machine {
    /// Applies one entry. An outcome for each hit in it, in order.
    pub(crate) fn apply(&mut self, command: &Command) -> Result<Vec<Outcome>, Malformed> {
        match command {
            Command::Decide { now, parcels } => Ok(self.decide_all(*now, parcels)),
            Command::Restore(part) => {
                self.restore(part)?;
                Ok(Vec::new())
            }
        }
    }

    fn decide_all(&mut self, now: UnixNanos, parcels: &[Parcel]) -> Vec<Outcome> {
        self.now = self.now.max(now);
        let asks = parcels.iter().map(|parcel| parcel.asks.len()).sum();
        let mut outcomes = Vec::with_capacity(asks);
        for parcel in parcels {
            self.windows.settle(self.now, parcel.origin, parcel.settled);
            for ask in &parcel.asks {
                outcomes.push(self.decide(parcel.origin, ask));
            }
        }
        self.windows.forget_silent(self.now);
        self.counts.sweep(self.now, asks);
        outcomes
    }

    fn decide(&mut self, origin: u32, ask: &Ask) -> Outcome {
        let now = self.now;
        let window = self.windows.of(origin);
        if window.is_settled(ask.sequence) {
            return Outcome::TooLate;
        }
        if let Some(decision) = window.decided(ask.sequence) {
            return Outcome::Decided(decision);
        }
        let Ask {
            key,
            limit,
            operation,
            sequence,
        } = ask;
        let stamp = Stamp {
            term: u64::from(origin),
            seq: *sequence,
        };
        let taken = match operation {
            Operation::Hit(cost) => self
                .counts
                .change(*key, |count| limit.hit(now, count, *cost, stamp)),
            Operation::Refund(cost) => self
                .counts
                .change(*key, |count| limit.refund(now, count, *cost)),
            Operation::Reset => self.counts.change(*key, |count| limit.reset(now, count)),
        };
        // What was denied, too: it may have been asked again of another leader while its answer was on the way, and that
        // comes into the log behind both the answer and a refund. A peek changes nothing, however often.
        if *operation != Operation::Hit(Cost::new(0)) {
            self.windows.of(origin).remember(*sequence, taken.decision);
        }
        Outcome::Decided(taken.decision)
    }

    /// Keys that are counted.
    pub(crate) fn keys(&self) -> usize {
        self.counts.len()
    }

    /// Ids that are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.windows.remembered()
    }

    /// Whether an entry at `now` would find keys that are full again.
    pub(crate) fn is_due(&self, now: UnixNanos) -> bool {
        self.counts.is_due(now)
    }
}

#[cfg(test)]
mod tests;
