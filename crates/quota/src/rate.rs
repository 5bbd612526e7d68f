//! Rates and periods, packed so that a count can keep the one it was written under.

use crate::limit::Limit;
use crate::time::Nanos;

/// Units per period, in nine bytes, so that a count fits into 24 with the rate it was written under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(Rust, packed)]
pub(crate) struct Rate {
    units: u32,
    period: Period,
}

/// The longest window: two days longer than the longest period, for clocks that are changed meanwhile.
const WINDOW_MAX: Nanos = Nanos::from_secs(368 * 24 * 60 * 60);

/// A period: whole milliseconds up to 368 days, which take 35 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Period([u8; 5]);

impl Period {
    /// `None` unless `period` is a whole number of milliseconds from 1 ms to 366 days.
    pub(crate) const fn new(period: Nanos) -> Option<Self> {
        Self::up_to(Limit::PERIOD_MAX, period)
    }

    /// That of a window, which can be as long as a leap year in a zone that crosses the date line.
    pub(crate) const fn of_window(length: Nanos) -> Option<Self> {
        Self::up_to(WINDOW_MAX, length)
    }

    const fn up_to(max: Nanos, period: Nanos) -> Option<Self> {
        let millis = period.get() / 1_000_000;
        if millis == 0 || max.get() < period.get() || !period.get().is_multiple_of(1_000_000) {
            return None;
        }
        let [a, b, c, d, e, ..] = millis.to_le_bytes();
        Some(Self([a, b, c, d, e]))
    }

    pub(crate) const fn get(self) -> Nanos {
        let [a, b, c, d, e] = self.0;
        Nanos::from_millis(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }
}

impl Rate {
    pub(crate) const fn new(units: u32, period: Nanos) -> Option<Self> {
        match Period::new(period) {
            Some(period) if 1 <= units && units <= Limit::UNITS_MAX => Some(Self { units, period }),
            _ => None,
        }
    }

    /// The same units per window of this length; `None` unless it is a whole number of milliseconds, and no longer than a
    /// window can be.
    pub(crate) const fn per_window(self, length: Nanos) -> Option<Self> {
        match Period::of_window(length) {
            Some(period) => Some(Self { period, ..self }),
            None => None,
        }
    }

    pub(crate) const fn units(self) -> u32 {
        self.units
    }

    pub(crate) const fn period(self) -> Period {
        self.period
    }
}
