//! When a record was written: stamps that never tie and never go back.

use delta_crdt::ReplicaId;
use quota::UnixNanos;

/// When and by whom a record was written. Later writes have greater stamps; two writes never have the same.
///
/// A hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): milliseconds of cluster time, a counter for
/// what happens within one of them or while the clock stands still, and the incarnation that wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch in the upper 48 bits, the counter in the lower 16.
    time: u64,
    incarnation: ReplicaId,
}

/// Bits of the counter: 65 536 writes in a millisecond, after which the stamp runs ahead of the clock.
const COUNTER_BITS: u32 = 16;

/// The last millisecond of the year 9999. A peer's stamp beyond it is nonsense, and would leave no room for later ones.
const MILLIS_MAX: u64 = 253_402_300_799_999;

impl Stamp {
    /// The stamp with these parts, as read from a peer. `None`: beyond the year 9999.
    #[must_use]
    pub const fn new(time: u64, incarnation: ReplicaId) -> Option<Self> {
        if MILLIS_MAX < time >> COUNTER_BITS {
            return None;
        }
        Some(Self { time, incarnation })
    }

    /// Milliseconds and counter in one number, as they travel.
    #[must_use]
    pub const fn time(self) -> u64 {
        self.time
    }

    /// Who wrote.
    #[must_use]
    pub const fn incarnation(self) -> ReplicaId {
        self.incarnation
    }

    /// Milliseconds since the Unix epoch, in cluster time, give or take the skew.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.time >> COUNTER_BITS
    }
}

/// The clock of one incarnation of a node.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The newest stamp's time, given or seen.
    last: u64,
    me: ReplicaId,
}

impl Clock {
    /// The clock of `me`, which no other clock may have.
    #[must_use]
    pub const fn new(me: ReplicaId) -> Self {
        Self { last: 0, me }
    }

    /// A stamp greater than every one that this clock gave or saw, at `now` or, if that has gone back, after them.
    pub fn stamp(&mut self, now: UnixNanos) -> Stamp {
        let now = (now.get() / 1_000_000) << COUNTER_BITS;
        self.last = now.max(self.last + 1);
        Stamp {
            time: self.last,
            incarnation: self.me,
        }
    }

    /// Takes note of a stamp, so that those to come are greater.
    pub fn on_seen(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp.time);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A wall clock that stands still, goes ahead, and goes back.
    fn readings() -> impl Strategy<Value = Vec<(usize, u64)>> {
        prop::collection::vec((0..3_usize, 0..50_u64), 1..200)
    }

    proptest! {
        /// Stamps of several nodes, each with a clock that jumps: no two are the same, and each is greater than all that
        /// its node gave or saw before.
        #[test]
        fn stamps_never_tie_and_never_go_back(readings in readings()) {
            let mut clocks = [1, 2, 3].map(|id| Clock::new(ReplicaId(id)));
            let mut given = BTreeSet::new();
            let mut newest: [Option<Stamp>; 3] = [None; 3];
            for (node, millis) in readings {
                let stamp = clocks[node].stamp(UnixNanos::new(millis * 1_000_000));
                prop_assert!(given.insert(stamp), "{stamp:?} was given before");
                prop_assert!(newest[node] < Some(stamp));
                newest[node] = Some(stamp);
                let other = (node + 1) % 3;
                clocks[other].on_seen(stamp);
                newest[other] = newest[other].max(Some(stamp));
            }
        }
    }

    #[test]
    fn a_stamp_beyond_the_year_9999_is_refused_and_the_last_one_leaves_room() {
        assert_eq!(Stamp::new(u64::MAX, ReplicaId(1)), None);
        let last = Stamp::new((MILLIS_MAX << COUNTER_BITS) | 0xffff, ReplicaId(1)).unwrap();
        let mut clock = Clock::new(ReplicaId(2));
        clock.on_seen(last);
        assert!(last < clock.stamp(UnixNanos::ZERO));
    }
}
