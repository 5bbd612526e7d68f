//! Fixed windows: one counter, starting anew with each window.

use crate::limit::{Anchor, Limit};
use crate::rate::Period;
use crate::time::{Nanos, UnixNanos};

/// The units admitted in one window.
///
/// The window runs to its end even when the limit's period or anchor changes meanwhile; an admitted hit then takes
/// what was counted over into the window that the new limit gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(Rust, packed)]
pub struct FixedWindow {
    end: UnixNanos,
    used: u32,
    period: Period,
}

impl FixedWindow {
    /// `used` units in the window of length `period` that ends just before `end`.
    ///
    /// `None` unless `period` is in the range of [`Limit::new`].
    #[must_use]
    pub const fn new(end: UnixNanos, used: u32, period: Nanos) -> Option<Self> {
        match Period::new(period) {
            Some(period) => Some(Self { end, used, period }),
            None => None,
        }
    }

    /// The first instant after the window.
    #[must_use]
    pub const fn end(&self) -> UnixNanos {
        self.end
    }

    /// Units admitted in the window.
    #[must_use]
    pub const fn used(&self) -> u32 {
        self.used
    }

    /// The length of the window.
    #[must_use]
    pub const fn period(&self) -> Nanos {
        self.period.get()
    }

    pub(crate) fn fresh(limit: &Limit, now: UnixNanos, units: u32) -> Self {
        let end = match limit.anchor() {
            Anchor::Epoch => window_end(now, limit.period()),
            Anchor::FirstHit => now + limit.period(),
        };
        Self {
            end,
            used: units,
            period: limit.rate.period(),
        }
    }

    pub(crate) fn used_at(&self, now: UnixNanos) -> u32 {
        if now < self.end() { self.used } else { 0 }
    }

    /// The first instant with no more than `units` used.
    pub(crate) fn falls_to(&self, units: u32) -> UnixNanos {
        if self.used <= units {
            UnixNanos::ZERO
        } else {
            self.end
        }
    }

    pub(crate) fn plus(self, units: u32) -> Self {
        Self {
            used: self.used().saturating_add(units),
            ..self
        }
    }

    pub(crate) fn minus(self, units: u32) -> Self {
        Self {
            used: self.used().saturating_sub(units),
            ..self
        }
    }

    /// The same units in the window that `limit` gives a hit at `now`.
    pub(crate) fn carried(self, limit: &Limit, now: UnixNanos) -> Self {
        if self.period() == limit.period() {
            return self;
        }
        Self::fresh(limit, now, self.used)
    }

    /// The same units, in a window that ends at `end` if it would end later.
    pub(crate) fn ending_by(self, end: UnixNanos) -> Self {
        Self {
            end: self.end().min(end),
            ..self
        }
    }

    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            end: self.end().max(other.end),
            used: self.used().max(other.used),
            ..self
        }
    }
}

/// The end of the window of length `period` that holds `now`, with windows anchored at the epoch.
pub(crate) fn window_end(now: UnixNanos, period: Nanos) -> UnixNanos {
    let start = now.get() - now.get() % period.get();
    UnixNanos::new(start) + period
}
