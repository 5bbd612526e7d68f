//! Fixed windows: one counter, starting anew with each window.

use crate::calendar::{Calendar, Window};
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
    /// `None` unless `period` is a whole number of milliseconds from 1 ms to 368 days: a calendar's year can be longer than
    /// any period of [`Limit::new`].
    #[must_use]
    pub const fn new(end: UnixNanos, used: u32, period: Nanos) -> Option<Self> {
        match Period::of_window(period) {
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
            Anchor::Calendar(calendar) => return Self::of(calendar.window(now), units),
            Anchor::Ending(end) => end_after(now, end, limit.period()),
        };
        Self {
            end,
            used: units,
            period: limit.rate.period(),
        }
    }

    fn of(window: Window, units: u32) -> Self {
        // The first and the last of all time are cut short, and could be cut to nothing.
        let (shortest, longest) = (
            Period::of_window(Nanos::from_millis(1)),
            Period::of_window(window.length()),
        );
        Self {
            end: window.end,
            used: units,
            period: longest.or(shortest).expect("a millisecond is a period"),
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

    /// The same units in the window that `limit` gives a hit at `now`. A window as long as those of `limit` stays.
    pub(crate) fn carried(self, limit: &Limit, now: UnixNanos) -> Self {
        let stays = match limit.anchor() {
            Anchor::Calendar(calendar) => calendar.unit.may_last(self.period()),
            _ => self.period() == limit.period(),
        };
        match stays {
            true => self,
            false => Self::fresh(limit, now, self.used),
        }
    }

    /// Whether both can be windows of the same limit: they are as long, or both as a calendar of `limit` may have them.
    pub(crate) fn is_like(&self, other: &Self, limit: &Limit) -> bool {
        let may_be = |calendar: Calendar| {
            calendar.unit.may_last(self.period()) && calendar.unit.may_last(other.period())
        };
        self.period() == other.period() || limit.anchor().calendar().is_some_and(may_be)
    }

    /// The first instant of the window, if it is as long as it says.
    pub(crate) fn start(&self) -> UnixNanos {
        self.end() - self.period()
    }

    /// The same units, in the window of `calendar` that holds `latest` if theirs ends later.
    pub(crate) fn no_later_than(self, calendar: Calendar, latest: UnixNanos) -> Self {
        let window = Self::of(calendar.window(latest), self.used);
        match window.end() < self.end() {
            true => window,
            false => self,
        }
    }

    /// The same units, in a window that ends at `end` if it would end later.
    pub(crate) fn ending_by(self, end: UnixNanos) -> Self {
        Self {
            end: self.end().min(end),
            ..self
        }
    }

    /// The larger count in the later window, of two that end together in the longer.
    pub(crate) fn most(self, other: Self) -> Self {
        let ends = |window: &Self| (window.end(), window.period());
        let later = std::cmp::max_by_key(self, other, ends);
        Self {
            used: self.used().max(other.used),
            ..later
        }
    }
}

/// The end of the window that holds `now`, with windows of length `period` of which one ends at `end`. Of one that ends
/// later, `end`.
fn end_after(now: UnixNanos, end: UnixNanos, period: Nanos) -> UnixNanos {
    match now < end {
        true => end,
        false => now + (period - Nanos::new((now - end).get() % period.get())),
    }
}

/// The end of the window of length `period` that holds `now`, with windows anchored at the epoch.
pub(crate) fn window_end(now: UnixNanos, period: Nanos) -> UnixNanos {
    let start = now.get() - now.get() % period.get();
    UnixNanos::new(start) + period
}
