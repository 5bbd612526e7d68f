//! GCRA, and the leaky bucket, which is the same arithmetic told as a level.

use crate::count::Count;
use crate::decision::{Cost, Decision, Taken, Verdict};
use crate::limit::{Algorithm, Limit, Ticks};
use crate::rate::Rate;
use crate::time::{Nanos, UnixNanos};

/// A theoretical arrival time: the instant at which a key is full again, or, told as a leaky bucket, empty.
///
/// Where the period is not a whole multiple of the units, an emission interval is not a whole number of
/// nanoseconds. Rounding it up would grant less than the limit (less than half of `i32::MAX` units a second), rounding
/// it down more, so the instant is kept as an exact fraction, in ticks of 1 / units of a nanosecond, of which a unit is `period`.
///
/// It knows the rate that it was written under: what was counted drains at that rate until the next admitted hit
/// takes it over, in units, to the rate then in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(Rust, packed)]
pub struct Tat {
    at: UnixNanos,
    fraction: u32,
    rate: Rate,
}

impl Tat {
    /// The instant `at` plus `fraction` / `units` of a nanosecond, under a rate of `units` per `period`.
    ///
    /// `None` unless `fraction < units`, and `units` and `period` are in the range of [`Limit::new`](crate::Limit::new).
    #[must_use]
    pub const fn new(at: UnixNanos, fraction: u32, units: u32, period: Nanos) -> Option<Self> {
        match Rate::new(units, period) {
            Some(rate) if fraction < units => Some(Self { at, fraction, rate }),
            _ => None,
        }
    }

    /// The instant, rounded down to a nanosecond.
    #[must_use]
    pub const fn at(&self) -> UnixNanos {
        self.at
    }

    /// What rounding took from [`Self::at`], in 1 / [`Self::units`] of a nanosecond.
    #[must_use]
    pub const fn fraction(&self) -> u32 {
        self.fraction
    }

    /// Units per period of the rate that this was written under.
    #[must_use]
    pub const fn units(&self) -> u32 {
        self.rate.units()
    }

    /// The period of the rate that this was written under.
    #[must_use]
    pub const fn period(&self) -> Nanos {
        self.rate.period().get()
    }

    pub(crate) const fn rate(&self) -> Rate {
        self.rate
    }

    /// `units` counted at `now`, and nothing before.
    pub(crate) fn fresh(rate: Rate, now: UnixNanos, units: u32) -> Self {
        let empty = Self {
            at: now,
            fraction: 0,
            rate,
        };
        empty.plus(now, units)
    }

    /// A whole instant, for rates whose emission interval is whole.
    pub(crate) const fn whole(rate: Rate, at: UnixNanos) -> Self {
        Self {
            at,
            fraction: 0,
            rate,
        }
    }

    pub(crate) fn expires_at(&self) -> UnixNanos {
        self.at + Nanos::new(u64::from(0 < self.fraction()))
    }

    /// Ticks that one unit takes to drain.
    fn unit(&self) -> u128 {
        u128::from(self.period().get())
    }

    /// Ticks since the epoch.
    fn ticks(&self) -> u128 {
        u128::from(self.at().get()) * u128::from(self.units()) + u128::from(self.fraction())
    }

    /// Ticks by which this is ahead of `now`.
    fn level(&self, now: UnixNanos) -> u128 {
        let now = u128::from(now.get()) * u128::from(self.units());
        self.ticks().saturating_sub(now)
    }

    fn with_ticks(self, ticks: u128) -> Self {
        let units = u128::from(self.units());
        match u64::try_from(ticks / units) {
            Ok(at) => Self {
                at: UnixNanos::new(at),
                fraction: (ticks % units) as u32,
                ..self
            },
            // Past the year 2554: the last instant there is.
            Err(_) => Self::whole(self.rate, UnixNanos::new(u64::MAX)),
        }
    }

    /// Units not yet drained, a started one counted whole.
    pub(crate) fn used(&self, now: UnixNanos) -> u64 {
        let units = self.level(now).div_ceil(self.unit());
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// Whole units not yet drained, a started one left out.
    pub(crate) fn used_floor(&self, now: UnixNanos) -> u64 {
        u64::try_from(self.level(now) / self.unit()).unwrap_or(u64::MAX)
    }

    /// The first instant with no more than `units` left to drain.
    pub(crate) fn falls_to(&self, units: u32) -> UnixNanos {
        let rest = self.ticks().saturating_sub(u128::from(units) * self.unit());
        let at = rest.div_ceil(u128::from(self.units()));
        UnixNanos::new(u64::try_from(at).unwrap_or(u64::MAX))
    }

    /// With `units` more, counted at `now`.
    pub(crate) fn plus(self, now: UnixNanos, units: u32) -> Self {
        let start = if self.at() < now {
            Self::whole(self.rate, now)
        } else {
            self
        };
        start.with_ticks(start.ticks() + u128::from(units) * start.unit())
    }

    /// With `units` fewer.
    pub(crate) fn minus(self, units: u32) -> Self {
        self.with_ticks(self.ticks().saturating_sub(u128::from(units) * self.unit()))
    }

    /// The same units at `now` under another rate, rounded up to a tick.
    pub(crate) fn carried(self, rate: Rate, now: UnixNanos) -> Self {
        if self.rate == rate {
            return self;
        }
        let to = Self::whole(rate, now);
        // Whole units apart from the started one: their product with the period could leave even a `u128`.
        let (level, unit) = (self.level(now), self.unit());
        let started = (level % unit * to.unit()).div_ceil(unit);
        let ticks = (level / unit).saturating_mul(to.unit()) + started;
        to.with_ticks(to.ticks().saturating_add(ticks))
    }

    /// With `units` more upon it, or fewer, whether or not it has drained.
    pub(crate) fn put_upon(self, units: i64) -> Self {
        let ticks = u128::from(units.unsigned_abs()).saturating_mul(self.unit());
        self.with_ticks(match units {
            0.. => self.ticks().saturating_add(ticks),
            _ => self.ticks().saturating_sub(ticks),
        })
    }

    /// For comparing two of one rate.
    pub(crate) fn instant(&self) -> (UnixNanos, u32) {
        (self.at(), self.fraction())
    }

    /// The later of two instants.
    pub(crate) fn later(self, other: Self) -> Self {
        debug_assert!(self.rate() == other.rate());
        std::cmp::max_by_key(self, other, Self::instant)
    }
}

/// The path of nearly every hit, in 64-bit numbers. It answers as the general path does, or not at all.
impl Limit {
    /// As [`Self::hit`], if `count` is a TAT of this limit's own rate (or none yet) and the numbers are small.
    // Always: an answer that is handed on through memory costs as much as the arithmetic.
    #[inline(always)]
    pub(crate) fn hit_in_ticks(
        &self,
        now: UnixNanos,
        count: &mut Option<Count>,
        cost: Cost,
    ) -> Option<Taken> {
        let ticks = self.ticks?;
        if cost == Cost::PEEK || self.burst() < cost.units() {
            return None;
        }
        let level = self.level_in_ticks(&ticks, now, count.as_ref())?;
        // No more than the tolerance, so that it fits.
        let after = level.checked_add(ticks.interval * u64::from(cost.units()))?;
        if ticks.tolerance < after {
            let retry_after = ticks.wait(after - ticks.tolerance);
            return Some(Taken {
                decision: self.decision_in_ticks(&ticks, level, Verdict::Deny { retry_after }),
                added: 0,
            });
        }
        let (ahead, fraction) = match u64::from(ticks.per_nano.get()) {
            1 => (after, 0),
            per_nano => (after / per_nano, (after % per_nano) as u32),
        };
        let tat = Tat {
            at: UnixNanos::new(now.get().checked_add(ahead)?),
            fraction,
            rate: self.rate,
        };
        *count = Some(match self.algorithm() {
            Algorithm::LeakyBucket => Count::LeakyBucket(tat),
            _ => Count::Gcra(tat),
        });
        Some(Taken {
            decision: self.decision_in_ticks(&ticks, after, Verdict::Allow),
            added: i64::from(cost.units()),
        })
    }

    /// As [`Self::peek`], under the same conditions.
    #[inline]
    pub(crate) fn peek_in_ticks(&self, now: UnixNanos, count: Option<&Count>) -> Option<Decision> {
        let ticks = self.ticks?;
        let level = self.level_in_ticks(&ticks, now, count)?;
        let after = level.checked_add(ticks.interval)?;
        let verdict = if after <= ticks.tolerance {
            Verdict::Allow
        } else {
            let retry_after = ticks.wait(after - ticks.tolerance);
            Verdict::Deny { retry_after }
        };
        Some(self.decision_in_ticks(&ticks, level, verdict))
    }

    /// Ticks by which the TAT is ahead of `now`.
    #[inline]
    fn level_in_ticks(&self, ticks: &Ticks, now: UnixNanos, count: Option<&Count>) -> Option<u64> {
        let tat = match (self.algorithm(), count) {
            (Algorithm::Gcra | Algorithm::LeakyBucket, None) => return Some(0),
            (Algorithm::Gcra, Some(Count::Gcra(tat)))
            | (Algorithm::LeakyBucket, Some(Count::LeakyBucket(tat))) => tat,
            _ => return None,
        };
        if tat.rate() != self.rate {
            return None;
        }
        if tat.at() < now {
            return Some(0);
        }
        let ahead = (tat.at() - now).get();
        match (ticks.per_nano.get(), tat.fraction()) {
            (1, 0) => Some(ahead),
            (1, _) => None,
            (per_nano, fraction) => ahead
                .checked_mul(u64::from(per_nano))?
                .checked_add(u64::from(fraction)),
        }
    }

    #[inline]
    fn decision_in_ticks(&self, ticks: &Ticks, level: u64, verdict: Verdict) -> Decision {
        let free = ticks.tolerance.saturating_sub(level);
        // One division: the rest of it comes out of the quotient.
        let units = free / ticks.interval;
        let grows_after = if level == 0 {
            0
        } else if level <= ticks.tolerance {
            ticks.interval - (free - units * ticks.interval)
        } else {
            level - ticks.tolerance + ticks.interval
        };
        Decision {
            verdict,
            // At most the burst, so that it fits.
            remaining: units as u32,
            grows_after: ticks.wait(grows_after),
            reset_after: ticks.wait(level),
        }
    }
}

impl Ticks {
    /// Nanoseconds until `ticks` have passed.
    #[inline]
    fn wait(&self, ticks: u64) -> Nanos {
        match u64::from(self.per_nano.get()) {
            1 => Nanos::new(ticks),
            per_nano => Nanos::new(ticks.div_ceil(per_nano)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Stamp;

    /// By the general path a hit takes several times as long.
    #[test]
    fn the_usual_hit_and_peek_are_answered_in_ticks_as_they_are_in_general() {
        let now = UnixNanos::new(1_700_000_000_000_000_000);
        let stamp = Stamp { term: 1, seq: 1 };
        for (algorithm, units) in [
            (Algorithm::Gcra, 10),
            (Algorithm::LeakyBucket, 10),
            (Algorithm::Gcra, 7),
            (Algorithm::LeakyBucket, 7),
        ] {
            let limit = Limit::new(algorithm, units, Nanos::from_secs(1)).expect("within bounds");
            let mut count = None;
            for hit in 0..=units {
                let mut general = count.clone();
                let expected = limit.hit_any(now, &mut general, Cost::PEEK, stamp);
                assert_eq!(expected.decision.remaining, units - hit);
                let peek = limit.peek_in_ticks(now, count.as_ref());
                assert_eq!(peek, Some(expected.decision));
                let expected = limit.hit_any(now, &mut general, Cost::ONE, stamp);
                let taken = limit.hit_in_ticks(now, &mut count, Cost::ONE);
                assert_eq!((taken, &count), (Some(expected), &general));
            }
            let drained = now + Nanos::from_secs(1);
            let peek = limit.peek_in_ticks(drained, count.as_ref());
            assert_eq!(peek, Some(limit.peek(drained, None)));
        }
    }
}
