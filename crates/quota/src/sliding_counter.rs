//! Sliding counter: two fixed windows, the older weighted by how much of it a sliding window still covers.

use crate::fixed_window::window_end;
use crate::limit::Limit;
use crate::rate::Period;
use crate::time::{Nanos, UnixNanos};

/// The units admitted in the current window and the one before, windows anchored at the epoch.
///
/// The estimate at `now` is `current + previous × (end − now) / period`, compared without rounding. It takes the
/// hits of the previous window for evenly spread. What that costs in accuracy: no window anchored at the epoch ever
/// admits more than the units, and no window of one period at all as much as twice the units; the worst is a burst
/// just before a boundary and a steady stream after it. The other way round, after a burst just after a boundary,
/// hits are denied up to one period longer than a sliding log would deny them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(Rust, packed)]
pub struct SlidingCounter {
    end: UnixNanos,
    current: u32,
    previous: u32,
    period: Period,
}

impl SlidingCounter {
    /// `current` units in the window of length `period` that ends just before `end`, `previous` in the one before.
    ///
    /// `None` unless `period` is in the range of [`Limit::new`].
    #[must_use]
    pub const fn new(end: UnixNanos, current: u32, previous: u32, period: Nanos) -> Option<Self> {
        match Period::new(period) {
            Some(period) => Some(Self {
                end,
                current,
                previous,
                period,
            }),
            None => None,
        }
    }

    /// The first instant after the current window.
    #[must_use]
    pub const fn end(&self) -> UnixNanos {
        self.end
    }

    /// Units admitted in the current window.
    #[must_use]
    pub const fn current(&self) -> u32 {
        self.current
    }

    /// Units admitted in the window before.
    #[must_use]
    pub const fn previous(&self) -> u32 {
        self.previous
    }

    /// The length of a window.
    #[must_use]
    pub const fn period(&self) -> Nanos {
        self.period.get()
    }

    pub(crate) fn fresh(limit: &Limit, now: UnixNanos, units: u32) -> Self {
        Self {
            end: window_end(now, limit.period()),
            current: units,
            previous: 0,
            period: limit.rate.period(),
        }
    }

    pub(crate) fn expires_at(&self) -> UnixNanos {
        self.falls_to(0)
    }

    /// The same counts, with a current window that ends at `end` if it would end later.
    pub(crate) fn ending_by(self, end: UnixNanos) -> Self {
        Self {
            end: self.end().min(end),
            ..self
        }
    }

    /// The same counts told from the window that holds `now`, if that is a later one.
    pub(crate) fn rolled(self, now: UnixNanos) -> Self {
        if now < self.end() {
            return self;
        }
        let next = Self {
            end: self.end + self.period(),
            current: 0,
            previous: self.current,
            ..self
        };
        if now < next.end() {
            return next;
        }
        Self {
            end: window_end(now, self.period()),
            previous: 0,
            ..next
        }
    }

    /// The estimate, rounded up to whole units.
    pub(crate) fn used(&self, now: UnixNanos) -> u64 {
        let counts = self.rolled(now);
        let period = counts.period();
        // A clock that went back may stand before the current window: the previous one weighs no more than whole.
        let overlap = (counts.end - now).min(period);
        let previous = u64::from(counts.previous);
        let weighted = match previous.checked_mul(overlap.get()) {
            Some(product) => product.div_ceil(period.get()),
            // At most `previous`, so that it fits.
            None => (u128::from(previous) * u128::from(overlap.get()))
                .div_ceil(u128::from(period.get())) as u64,
        };
        u64::from(counts.current) + weighted
    }

    /// Units in both windows, unweighted.
    pub(crate) fn units(&self, now: UnixNanos) -> u64 {
        let counts = self.rolled(now);
        u64::from(counts.current) + u64::from(counts.previous)
    }

    /// The first instant with an estimate of no more than `units`.
    pub(crate) fn falls_to(&self, units: u32) -> UnixNanos {
        let (end, current, previous) = (self.end, self.current, self.previous);
        if current <= units {
            falls_to(previous, end, self.period(), units - current)
        } else {
            falls_to(current, end + self.period(), self.period(), units)
        }
    }

    pub(crate) fn plus(self, now: UnixNanos, units: u32) -> Self {
        let counts = self.rolled(now);
        Self {
            current: counts.current().saturating_add(units),
            ..counts
        }
    }

    /// With `units` fewer: the newest first.
    pub(crate) fn minus(self, now: UnixNanos, units: u32) -> Self {
        let counts = self.rolled(now);
        let from_current = units.min(counts.current);
        Self {
            current: counts.current - from_current,
            previous: counts.previous().saturating_sub(units - from_current),
            ..counts
        }
    }

    /// The same units under `limit`, all in its current window if its period differs.
    pub(crate) fn carried(self, limit: &Limit, now: UnixNanos) -> Self {
        if self.period() == limit.period() {
            return self;
        }
        let units = u32::try_from(self.used(now)).unwrap_or(u32::MAX);
        Self::fresh(limit, now, units)
    }

    /// The larger counts in the newer window.
    pub(crate) fn most(self, other: Self, now: UnixNanos) -> Self {
        let last = self.end().max(other.end()) - Nanos::new(1);
        let (a, b) = (self.rolled(last), other.rolled(last));
        let joined = Self {
            end: a.end().max(b.end()),
            current: a.current().max(b.current()),
            previous: a.previous().max(b.previous()),
            ..a
        };
        // Where clocks disagree about the window, the newer one has no room for what was before the older one's.
        let used = self.used(now).max(other.used(now));
        let missing = used.saturating_sub(joined.used(now));
        joined.plus(now, u32::try_from(missing).unwrap_or(u32::MAX))
    }
}

/// The first instant at which `previous`, weighted by what is left of its successor, is no more than `units`.
fn falls_to(previous: u32, end: UnixNanos, period: Nanos, units: u32) -> UnixNanos {
    if previous <= units {
        return UnixNanos::ZERO;
    }
    // Less than `period`, so that it fits.
    let overlap = u128::from(units) * u128::from(period.get()) / u128::from(previous);
    end - Nanos::new(overlap as u64)
}
