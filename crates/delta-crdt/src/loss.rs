//! What a map loses by forgetting a key: how much of its limit is spent, told without the limit.

use quota::{Count, UnixNanos};

/// The burst of the limit under which a key was last written here, in 7 bits: exact up to 8, and up to a fifth too small
/// beyond.
///
/// A count does not say what is the most that may be counted, and 5 of 5 are worth keeping where 5 of 1 000 are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct BurstScale(u8);

/// For a key of which others alone wrote, and told the count: at 4 units it is taken for spent.
const UNKNOWN_BURST: u64 = 4;

impl BurstScale {
    /// Nothing is known of the limit.
    pub(crate) const UNKNOWN: Self = Self(0);

    /// The highest value of [`Self::code`], and all of its bits.
    pub(crate) const CODE_MAX: u64 = 0x7f;

    /// A quarter of an octave to each code: three significant bits of the burst.
    #[inline]
    pub(crate) const fn of(burst: u32) -> Self {
        if burst == 0 {
            return Self::UNKNOWN;
        }
        let octave = burst.ilog2();
        let quarter = ((burst as u64) << 2 >> octave) as u8 & 3;
        let code = 4 * octave as u8 + quarter + 1;
        // A burst is at most `i32::MAX`, which is 124.
        Self(if code <= Self::CODE_MAX as u8 {
            code
        } else {
            Self::CODE_MAX as u8
        })
    }

    #[inline]
    pub(crate) const fn code(self) -> u64 {
        self.0 as u64
    }

    #[inline]
    pub(crate) const fn from_code(code: u64) -> Self {
        Self((code & Self::CODE_MAX) as u8)
    }

    fn units(self) -> u64 {
        match self.0.checked_sub(1) {
            None => UNKNOWN_BURST,
            Some(code) => u64::from(4 + (code & 3)) << (code >> 2) >> 2,
        }
    }
}

/// What forgetting a key gives away, the least first: the part of its burst that is spent, and then how long it is until
/// it is full again anyway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Loss {
    /// In 1/256 of the burst.
    spent: u16,
    until: UnixNanos,
}

impl Loss {
    /// Of a key with this count.
    pub(crate) fn of(count: &Count, scale: BurstScale, now: UnixNanos) -> Self {
        let spent = count.owed(now).saturating_mul(256) / scale.units();
        Self {
            spent: spent.min(256) as u16,
            until: count.expires_at(),
        }
    }

    /// Of a key whose sides have not been folded: as much as there is.
    pub(crate) const fn of_siblings(until: UnixNanos) -> Self {
        Self { spent: 256, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_the_burst_or_up_to_a_fifth_less() {
        for burst in (1..=4_096).chain([1 << 20, (1 << 20) + 1, 999_999_999, i32::MAX as u32]) {
            let scale = BurstScale::from_code(BurstScale::of(burst).code());
            let (units, burst) = (scale.units(), u64::from(burst));
            assert!(units <= burst && burst * 4 < units * 5, "{burst}: {units}");
            assert!(8 < burst || units == burst, "{burst}: {units}");
        }
        assert_eq!(BurstScale::of(0), BurstScale::UNKNOWN);
        assert_eq!(BurstScale::of(u32::MAX).code(), BurstScale::CODE_MAX);
    }
}
