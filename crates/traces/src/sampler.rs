//! Which traces that begin here are recorded.

use crate::TraceId;

/// Records a part of the traces that begin here. Pure: all who know the ratio and a trace's id decide alike.
///
/// As `TraceIdRatioBased` of the OpenTelemetry SDKs, so that a service with the same ratio records the same traces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sampler {
    /// Ids are recorded whose last 63 bits are below it: 0 to 2⁶³.
    below: u64,
}

impl Sampler {
    /// Records this part, from 0 (none) to 1 (all).
    #[must_use]
    pub fn ratio(ratio: f64) -> Self {
        // Exact at both ends: what is above or no number at all is cut to them.
        let below = ratio * (1_u64 << 63) as f64;
        Self {
            below: (below as u64).min(1 << 63),
        }
    }

    /// Whether a trace is recorded.
    #[must_use]
    pub fn takes(self, trace: TraceId) -> bool {
        let low = trace.0 as u64;
        low >> 1 < self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_everything_are_exact() {
        for id in [1, u128::from(u64::MAX), u128::MAX] {
            assert!(!Sampler::ratio(0.0).takes(TraceId(id)));
            assert!(Sampler::ratio(1.0).takes(TraceId(id)));
        }
    }

    #[test]
    fn a_quarter_is_the_first_quarter_of_the_last_64_bits() {
        let quarter = Sampler::ratio(0.25);
        let above = 7_u128 << 64;
        assert!(quarter.takes(TraceId(above | ((1 << 62) - 1))));
        assert!(!quarter.takes(TraceId(above | (1 << 62))));
    }
}
