//! Whether what has to go on for ever goes on: liveness for whoever watches the process from outside.

use std::sync::atomic::{AtomicU64, Ordering};

use quota::{BootNanos, Nanos};

use super::Cluster;
use super::memory::KEEPERS_MAX;

/// What must go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Heartbeats, with a machine behind them that is whole.
    Heartbeats,
    /// The keeper with this number, with shards that are whole or mended.
    Keeper(u16),
}

/// Without a beat for so long a part is taken for broken. Twenty-five milliseconds are usual, and five seconds the longest
/// pause before a task that panicked is started again: one that recovers does so with its first restart, at once.
const SILENCE_MAX: Nanos = Nanos::from_secs(5);

/// When each part last came to the end of a round, in nanoseconds since boot; 0 before the first.
#[derive(Default)]
pub(super) struct Pulse {
    heartbeats: AtomicU64,
    pub(super) keepers: [AtomicU64; KEEPERS_MAX],
}

impl Pulse {
    /// `part` has come to the end of a round.
    pub(super) fn beat(&self, part: Part, now: BootNanos) {
        let place = match part {
            Part::Heartbeats => &self.heartbeats,
            Part::Keeper(index) => &self.keepers[usize::from(index)],
        };
        place.store(now.get(), Ordering::Relaxed);
    }

    /// Whether every part that has begun was heard of lately.
    fn is_well(&self, now: BootNanos) -> bool {
        let mut parts = self.keepers.iter().chain([&self.heartbeats]);
        parts.all(|part| {
            let last = BootNanos::new(part.load(Ordering::Relaxed));
            last == BootNanos::ZERO || now - last < SILENCE_MAX
        })
    }
}

impl Cluster {
    /// Whether this node's machines go on. `false`: for five seconds heartbeats or a keeper of shards have come to no end of
    /// a round, because they panic again and again or something blocks them. A new process is the only help then.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.inner.pulse.is_well(self.inner.clock.now().boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_has_stopped_is_missed_after_five_seconds_and_one_that_never_began_is_not() {
        let at = |millis: u64| BootNanos::new(millis * 1_000_000);
        let pulse = Pulse::default();
        assert!(pulse.is_well(at(60_000)), "joining");
        pulse.beat(Part::Keeper(7), at(60_000));
        pulse.beat(Part::Heartbeats, at(64_000));
        assert!(pulse.is_well(at(64_999)));
        assert!(!pulse.is_well(at(65_000)), "the keeper is silent");
        pulse.beat(Part::Keeper(7), at(65_000));
        assert!(pulse.is_well(at(68_999)));
        assert!(!pulse.is_well(at(69_000)), "no heartbeats");
    }
}
