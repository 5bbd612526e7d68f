//! The four things that happen to a key: hit, peek, refund, reset.

use crate::count::{Count, Stamp};
use crate::decision::{Cost, Decision, Taken, Verdict};
use crate::limit::Limit;
use crate::time::{Nanos, UnixNanos};

impl Limit {
    /// Decides one hit of `cost` at `now`, and counts it if it passes.
    ///
    /// `count` is what the key has so far, `None` for a key that is new or forgotten. A denied hit leaves it alone,
    /// so that hammering a spent key does not push its next allowed instant away. A cost of 0 is a
    /// [peek](Self::peek). `stamp` names the write, for logs. A `now` before what has been counted grants nothing
    /// extra.
    #[inline]
    pub fn hit(
        &self,
        now: UnixNanos,
        count: &mut Option<Count>,
        cost: Cost,
        stamp: Stamp,
    ) -> Taken {
        if let Some(taken) = self.hit_in_ticks(now, count, cost) {
            return taken;
        }
        self.hit_any(now, count, cost, stamp)
    }

    /// The general path of [`Self::hit`], kept out of the way of the usual one.
    pub(crate) fn hit_any(
        &self,
        now: UnixNanos,
        count: &mut Option<Count>,
        cost: Cost,
        stamp: Stamp,
    ) -> Taken {
        let used = self.used(now, count.as_ref());
        let verdict = self.verdict(now, count.as_ref(), used, cost);
        if verdict != Verdict::Allow || cost == Cost::PEEK {
            return Taken {
                decision: self.decision(now, count.as_ref(), used, verdict),
                added: 0,
            };
        }
        let before = count.take().filter(|_| used != 0);
        *count = Some(self.with_hit(now, before, cost, stamp));
        // What was used is rounded up to whole units, to which the hit adds whole units.
        let used = used + u64::from(cost.units());
        Taken {
            decision: self.decision(now, count.as_ref(), used, verdict),
            added: i64::from(cost.units()),
        }
    }

    /// Where a key stands. The verdict says whether a hit of [`Cost::ONE`] would pass.
    #[must_use]
    pub fn peek(&self, now: UnixNanos, count: Option<&Count>) -> Decision {
        match self.peek_in_ticks(now, count) {
            Some(decision) => decision,
            None => {
                let used = self.used(now, count);
                let verdict = self.verdict(now, count, used, Cost::PEEK);
                self.decision(now, count, used, verdict)
            }
        }
    }

    /// Gives back up to `cost` units, the newest first. The verdict is that of a peek after it.
    ///
    /// What is then empty becomes a [`Count::Reset`].
    pub fn refund(&self, now: UnixNanos, count: &mut Option<Count>, cost: Cost) -> Taken {
        let refunded = count
            .as_ref()
            .map_or(0, |count| count.refundable(self, now))
            .min(u64::from(cost.units()));
        if self.used(now, count.as_ref()) != 0 {
            *count = count
                .take()
                .map(|count| count.minus(self, now, cost.units()));
        }
        Taken {
            decision: self.peek(now, count.as_ref()),
            added: -(refunded as i64),
        }
    }

    /// Makes the key full. The verdict is that of a peek after it.
    ///
    /// Leaves a [`Count::Reset`] for as long as what it overrode could come back, or what was there if that was
    /// empty.
    pub fn reset(&self, now: UnixNanos, count: &mut Option<Count>) -> Taken {
        let removed = count
            .as_ref()
            .map_or(0, |count| count.refundable(self, now));
        if self.used(now, count.as_ref()) != 0 {
            *count = count.as_ref().map(|count| Count::Reset {
                until: count.expires_at(),
            });
        }
        Taken {
            decision: self.peek(now, count.as_ref()),
            added: -(removed as i64),
        }
    }

    fn used(&self, now: UnixNanos, count: Option<&Count>) -> u64 {
        count.map_or(0, |count| count.used(self, now))
    }

    fn verdict(&self, now: UnixNanos, count: Option<&Count>, used: u64, cost: Cost) -> Verdict {
        let units = cost.units().max(1);
        if self.burst() < units {
            return Verdict::NeverConforms;
        }
        match self.wait_for(now, count, used, units) {
            Nanos::ZERO => Verdict::Allow,
            retry_after => Verdict::Deny { retry_after },
        }
    }

    /// Wait until `units`, at most the burst, fit.
    fn wait_for(&self, now: UnixNanos, count: Option<&Count>, used: u64, units: u32) -> Nanos {
        let others = self.burst() - units;
        match count {
            Some(count) if u64::from(others) < used => count.falls_to(self, others) - now,
            _ => Nanos::ZERO,
        }
    }

    fn decision(
        &self,
        now: UnixNanos,
        count: Option<&Count>,
        used: u64,
        verdict: Verdict,
    ) -> Decision {
        // At most the burst, so that it fits.
        let remaining = u64::from(self.burst()).saturating_sub(used) as u32;
        let grown = self.burst().min(remaining.saturating_add(1));
        Decision {
            verdict,
            remaining,
            grows_after: self.wait_for(now, count, used, grown),
            reset_after: self.wait_for(now, count, used, self.burst()),
        }
    }

    /// What `count`, which is not empty, becomes by a hit that passes.
    fn with_hit(&self, now: UnixNanos, count: Option<Count>, cost: Cost, stamp: Stamp) -> Count {
        let units = cost.units();
        let Some(count) = count else {
            return self.fresh(now, units, stamp);
        };
        match self.carried(now, count) {
            Count::Gcra(tat) => Count::Gcra(tat.plus(now, units)),
            Count::LeakyBucket(tat) => Count::LeakyBucket(tat.plus(now, units)),
            Count::FixedWindow(window) => Count::FixedWindow(window.plus(units)),
            Count::SlidingCounter(counter) => Count::SlidingCounter(counter.plus(now, units)),
            Count::SlidingLog(mut log) => {
                log.push(now, units, stamp);
                Count::SlidingLog(log)
            }
            Count::Reset { .. } => self.fresh(now, units, stamp),
        }
    }
}

impl Count {
    /// Whole units that a refund can take out.
    fn refundable(&self, limit: &Limit, now: UnixNanos) -> u64 {
        match self {
            Self::Gcra(tat) | Self::LeakyBucket(tat) => tat.used_floor(now),
            Self::SlidingCounter(counter) => counter.units(now),
            _ => self.used(limit, now),
        }
    }
}
