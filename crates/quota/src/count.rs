//! What is counted for one key.

use std::cmp::Ordering;

use crate::fixed_window::FixedWindow;
use crate::gcra::Tat;
use crate::limit::{Algorithm, Limit};
use crate::sliding_counter::SlidingCounter;
use crate::sliding_log::Log;
use crate::time::{Nanos, UnixNanos};

/// Names one write. Opaque here: whoever replicates counts gives it a meaning. Never all zero for a real write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp {
    /// Under which term.
    pub term: u64,
    /// Which write of that term.
    pub seq: u64,
}

impl Stamp {
    /// For the units that a log takes over from another algorithm, which come without a write of their own. The
    /// same everywhere, so that logs which took over a common past count it once.
    pub const CARRIED: Self = Self { term: 0, seq: 0 };
}

/// What is counted for one key, as its algorithm keeps it.
///
/// A count says by itself how it drains: it keeps the rate, or the period, that it was written under. So a changed
/// limit finds the same units used, measured against its own burst, and the next admitted hit takes them over to
/// its own rate or window. After a change of the algorithm, too. (Only a log that meets a shorter period does
/// better: it knows the instant of each hit, and forgets at once those that the shorter window does not hold.)
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Count {
    /// Of [`Algorithm::Gcra`].
    Gcra(Tat),
    /// Of [`Algorithm::LeakyBucket`]: the instant at which the bucket has drained.
    LeakyBucket(Tat),
    /// Of [`Algorithm::FixedWindow`].
    FixedWindow(FixedWindow),
    /// Of [`Algorithm::SlidingCounter`].
    SlidingCounter(SlidingCounter),
    /// Of [`Algorithm::SlidingLog`].
    SlidingLog(Box<Log>),
    /// Nothing: what was counted has been reset, or refunded whole.
    Reset {
        /// When what this overrode would have expired. Until then a copy of it could come back, so this must
        /// be kept to tell that copy that it is old.
        until: UnixNanos,
    },
}

/// A million keys are the yardstick: 24 bytes each leave room for the key hash and the stamps within 80.
const _: () = assert!(size_of::<Count>() <= 24 && size_of::<Option<Count>>() <= 24);

impl Count {
    /// From then on the key is full again, whatever its limit: the count is the same as none.
    #[must_use]
    #[inline]
    pub fn expires_at(&self) -> UnixNanos {
        match self {
            Self::Gcra(tat) | Self::LeakyBucket(tat) => tat.expires_at(),
            Self::FixedWindow(window) => window.end(),
            Self::SlidingCounter(counter) => counter.expires_at(),
            Self::SlidingLog(log) => log.expires_at(),
            Self::Reset { until } => *until,
        }
    }

    /// Units counted at `now`, a started one counted whole.
    #[must_use]
    pub fn used(&self, limit: &Limit, now: UnixNanos) -> u64 {
        match self {
            Self::Gcra(tat) | Self::LeakyBucket(tat) => tat.used(now),
            Self::FixedWindow(window) => u64::from(window.used_at(now)),
            Self::SlidingCounter(counter) => counter.used(now),
            Self::SlidingLog(log) => log.used(limit, now),
            Self::Reset { .. } => 0,
        }
    }

    /// Units counted at `now`, by the rate or period that they were counted under: what is given away with the count.
    #[must_use]
    pub fn owed(&self, now: UnixNanos) -> u64 {
        match self {
            Self::Gcra(tat) | Self::LeakyBucket(tat) => tat.used(now),
            Self::FixedWindow(window) => u64::from(window.used_at(now)),
            Self::SlidingCounter(counter) => counter.used(now),
            Self::SlidingLog(log) => log.owed(now),
            Self::Reset { .. } => 0,
        }
    }

    /// Bytes that the count takes on the heap: none, but for a log. Costs nothing.
    #[must_use]
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::SlidingLog(log) => log.heap_bytes(),
            _ => 0,
        }
    }

    /// With `units` put upon it that came before it had drained, or taken from it, whether or not it has by now. `None`
    /// unless it drains.
    #[must_use]
    pub fn put_upon(&self, units: i64) -> Option<Self> {
        match self {
            Self::Gcra(tat) => Some(Self::Gcra(tat.put_upon(units))),
            Self::LeakyBucket(tat) => Some(Self::LeakyBucket(tat.put_upon(units))),
            _ => None,
        }
    }

    /// Which of two drains first. `None` unless both drain, and in the same way.
    #[must_use]
    pub fn cmp_drained(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Gcra(a), Self::Gcra(b)) | (Self::LeakyBucket(a), Self::LeakyBucket(b)) => {
                (a.rate() == b.rate()).then(|| a.instant().cmp(&b.instant()))
            }
            _ => None,
        }
    }

    /// Whether this is a fixed window that had ended when that of `other` began. They need not be as long: a calendar's
    /// are not.
    #[must_use]
    pub fn ended_before(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::FixedWindow(a), Self::FixedWindow(b)) => a.end() + b.period() <= b.end(),
            _ => false,
        }
    }

    /// The first instant with no more than `units` used, if nothing else is counted. May be long past.
    pub(crate) fn falls_to(&self, limit: &Limit, units: u32) -> UnixNanos {
        match self {
            Self::Gcra(tat) | Self::LeakyBucket(tat) => tat.falls_to(units),
            Self::FixedWindow(window) => window.falls_to(units),
            Self::SlidingCounter(counter) => counter.falls_to(units),
            Self::SlidingLog(log) => log.falls_to(limit, units),
            Self::Reset { .. } => UnixNanos::ZERO,
        }
    }

    /// The count with `units` more, or fewer, in it, whatever the limit: for folding what another side of a fork
    /// added.
    ///
    /// Saturates: below at nothing, which is a [`Count::Reset`]; above at the most that a count can hold. Units
    /// cannot be added to a log, or to nothing under a limit that wants one, since entries need stamps: then the
    /// count stays as it is. [`Self::stricter`] unites logs.
    #[must_use]
    pub fn plus(&self, limit: &Limit, now: UnixNanos, units: i64) -> Self {
        let magnitude = u32::try_from(units.unsigned_abs()).unwrap_or(u32::MAX);
        if units < 0 {
            return self.clone().minus(limit, now, magnitude);
        }
        if units == 0 {
            return self.clone();
        }
        let is_log = limit.algorithm() == Algorithm::SlidingLog;
        if self.used(limit, now) == 0 && !is_log {
            return limit.fresh(now, magnitude, Stamp::CARRIED);
        }
        match self.clone() {
            Self::Gcra(tat) => Self::Gcra(tat.plus(now, magnitude)),
            Self::LeakyBucket(tat) => Self::LeakyBucket(tat.plus(now, magnitude)),
            Self::FixedWindow(window) => Self::FixedWindow(window.plus(magnitude)),
            Self::SlidingCounter(counter) => Self::SlidingCounter(counter.plus(now, magnitude)),
            unchanged @ (Self::SlidingLog(_) | Self::Reset { .. }) => unchanged,
        }
    }

    /// With `units` fewer, the newest first.
    pub(crate) fn minus(self, limit: &Limit, now: UnixNanos, units: u32) -> Self {
        let until = self.expires_at();
        let rest = match self {
            Self::Gcra(tat) => Self::Gcra(tat.minus(units)),
            Self::LeakyBucket(tat) => Self::LeakyBucket(tat.minus(units)),
            Self::FixedWindow(window) => Self::FixedWindow(window.minus(units)),
            Self::SlidingCounter(counter) => Self::SlidingCounter(counter.minus(now, units)),
            Self::SlidingLog(mut log) => {
                log.minus(units);
                Self::SlidingLog(log)
            }
            Self::Reset { .. } => self,
        };
        if rest.used(limit, now) == 0 {
            Self::Reset { until }
        } else {
            rest
        }
    }

    /// The stricter of two counts of one key: it leaves no more units at `now` than either, and, written under the
    /// same parameters, is not full sooner. Commutes.
    ///
    /// The later TAT; the larger counts in the newer window; for logs the entries of both. Of counts that were
    /// written under different parameters, the one with more units used.
    #[must_use]
    pub fn stricter(self, other: Self, limit: &Limit, now: UnixNanos) -> Self {
        let used = (self.used(limit, now), other.used(limit, now));
        match used {
            (0, 0) => {
                let until = self.expires_at().max(other.expires_at());
                return Self::Reset { until };
            }
            (0, _) => return other,
            (_, 0) => return self,
            _ => {}
        }
        match (self, other) {
            (Self::Gcra(a), Self::Gcra(b)) if a.rate() == b.rate() => Self::Gcra(a.later(b)),
            (Self::LeakyBucket(a), Self::LeakyBucket(b)) if a.rate() == b.rate() => {
                Self::LeakyBucket(a.later(b))
            }
            (Self::FixedWindow(a), Self::FixedWindow(b)) if a.is_like(&b, limit) => {
                Self::FixedWindow(a.most(b))
            }
            (Self::SlidingCounter(a), Self::SlidingCounter(b)) if a.period() == b.period() => {
                Self::SlidingCounter(a.most(b, now))
            }
            (Self::SlidingLog(a), Self::SlidingLog(b)) => Self::SlidingLog(Box::new(a.united(&b))),
            (a, b) if (used.0, a.rank()) < (used.1, b.rank()) => b,
            (a, _) => a,
        }
    }

    /// Orders counts of different parameters that have the same units used: the longer lived is the stricter, then by
    /// anything that every node agrees on.
    fn rank(&self) -> (UnixNanos, u8, Nanos, u32) {
        let (kind, period, units) = match self {
            Self::Gcra(tat) => (0, tat.period(), tat.units()),
            Self::LeakyBucket(tat) => (1, tat.period(), tat.units()),
            Self::FixedWindow(window) => (2, window.period(), 0),
            Self::SlidingCounter(counter) => (3, counter.period(), 0),
            Self::SlidingLog(log) => (4, log.period(), 0),
            Self::Reset { .. } => (5, Nanos::ZERO, 0),
        };
        (self.expires_at(), kind, period, units)
    }
}

impl Limit {
    /// `units` counted at `now`, and nothing before.
    pub(crate) fn fresh(&self, now: UnixNanos, units: u32, stamp: Stamp) -> Count {
        match self.algorithm() {
            Algorithm::Gcra => Count::Gcra(Tat::fresh(self.rate, now, units)),
            Algorithm::LeakyBucket => Count::LeakyBucket(Tat::fresh(self.rate, now, units)),
            Algorithm::FixedWindow => Count::FixedWindow(FixedWindow::fresh(self, now, units)),
            Algorithm::SlidingCounter => {
                Count::SlidingCounter(SlidingCounter::fresh(self, now, units))
            }
            Algorithm::SlidingLog => {
                Count::SlidingLog(Box::new(Log::fresh(self, now, units, stamp)))
            }
        }
    }

    /// The same units as in `count`, which is not empty at `now`, as this limit counts them.
    ///
    /// A TAT is what gcra and leaky bucket both keep. Otherwise another algorithm takes the units for all counted
    /// at `now`, which errs to the strict side.
    pub(crate) fn carried(&self, now: UnixNanos, count: Count) -> Count {
        match (self.algorithm(), count) {
            (Algorithm::Gcra, Count::Gcra(tat) | Count::LeakyBucket(tat)) => {
                Count::Gcra(tat.carried(self.rate, now))
            }
            (Algorithm::LeakyBucket, Count::Gcra(tat) | Count::LeakyBucket(tat)) => {
                Count::LeakyBucket(tat.carried(self.rate, now))
            }
            (Algorithm::FixedWindow, Count::FixedWindow(window)) => {
                Count::FixedWindow(window.carried(self, now))
            }
            (Algorithm::SlidingCounter, Count::SlidingCounter(counter)) => {
                Count::SlidingCounter(counter.carried(self, now))
            }
            (Algorithm::SlidingLog, Count::SlidingLog(mut log)) => {
                log.carry(self, now);
                Count::SlidingLog(log)
            }
            (_, count) => {
                let units = u32::try_from(count.used(self, now)).unwrap_or(u32::MAX);
                self.fresh(now, units, Stamp::CARRIED)
            }
        }
    }
}
