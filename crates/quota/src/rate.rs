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

/// A period: whole milliseconds up to 366 days, which take 35 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Period([u8; 5]);

impl Period {
    /// `None` unless `period` is a whole number of milliseconds from 1 ms to 366 days.
    pub(crate) const fn new(period: Nanos) -> Option<Self> {
        let millis = period.get() / 1_000_000;
        if millis == 0
            || Limit::PERIOD_MAX.get() < period.get()
            || !period.get().is_multiple_of(1_000_000)
        {
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

    pub(crate) const fn units(self) -> u32 {
        self.units
    }

    pub(crate) const fn period(self) -> Period {
        self.period
    }
}
