//! What was decided in one second, minute or hour.

use std::collections::BTreeMap;

use crate::Counts;

/// What was decided in one second, minute or hour.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Point {
    /// When it began, in seconds since the epoch.
    pub at: u32,
    /// What was decided in it.
    pub total: Total,
}

/// What was decided, in numbers that can be told.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Total {
    /// Decisions that allowed.
    pub allowed: u64,
    /// Decisions that denied.
    pub denied: u64,
    /// What half of them took at most, in microseconds.
    pub p50_micros: u32,
    /// What 99 of a hundred of them took at most, in microseconds.
    pub p99_micros: u32,
}

impl Total {
    /// Of these.
    #[must_use]
    pub fn of(counts: &Counts) -> Self {
        Self {
            allowed: counts.allowed.into(),
            denied: counts.denied.into(),
            p50_micros: counts.latency.percentile(50),
            p99_micros: counts.latency.percentile(99),
        }
    }

    /// How many were decided.
    #[must_use]
    pub const fn decisions(&self) -> u64 {
        self.allowed.saturating_add(self.denied)
    }

    /// With what another node has decided. Of two medians it is the one in between by how many each stands for; of two 99th
    /// hundredths the larger, below which that of both together lies.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let (mine, others) = (self.decisions(), other.decisions());
        let p50 = |of: Self, decisions: u64| u128::from(of.p50_micros) * u128::from(decisions);
        let all = u128::from(mine) + u128::from(others);
        let p50 = (p50(self, mine) + p50(other, others)).checked_div(all);
        Self {
            allowed: self.allowed.saturating_add(other.allowed),
            denied: self.denied.saturating_add(other.denied),
            p50_micros: p50.map_or(0, |micros| u32::try_from(micros).unwrap_or(u32::MAX)),
            p99_micros: self.p99_micros.max(other.p99_micros),
        }
    }
}

/// The points of several nodes as those of one, in the order of their time.
#[must_use]
pub fn joined(nodes: impl IntoIterator<Item = Vec<Point>>) -> Vec<Point> {
    let mut all: BTreeMap<u32, Total> = BTreeMap::new();
    for point in nodes.into_iter().flatten() {
        let total = all.entry(point.at).or_default();
        *total = total.with(point.total);
    }
    all.into_iter()
        .map(|(at, total)| Point { at, total })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(allowed: u64, denied: u64, p50_micros: u32, p99_micros: u32) -> Total {
        Total {
            allowed,
            denied,
            p50_micros,
            p99_micros,
        }
    }

    #[test]
    fn what_two_nodes_have_decided_is_added_up_by_time() {
        let point = |at, total| Point { at, total };
        let one = vec![
            point(10, total(3, 1, 100, 200)),
            point(12, total(1, 0, 5, 5)),
        ];
        let other = vec![
            point(9, total(1, 1, 7, 8)),
            point(10, total(12, 0, 20, 900)),
        ];
        let both = joined([one, other]);
        assert_eq!(
            both,
            [
                point(9, total(1, 1, 7, 8)),
                point(10, total(15, 1, 40, 900)),
                point(12, total(1, 0, 5, 5)),
            ]
        );
    }

    proptest! {
        /// Also what a peer makes up.
        #[test]
        fn a_mean_lies_between_what_it_is_of(one: [u32; 2], other: [u32; 2], counts: [u64; 4]) {
            let [a, b, c, d] = counts;
            let (one, other) = (total(a, b, one[0], one[1]), total(c, d, other[0], other[1]));
            let both = one.with(other);
            let (low, high) = (one.p50_micros.min(other.p50_micros), one.p50_micros.max(other.p50_micros));
            let none = one.decisions() == 0 && other.decisions() == 0;
            prop_assert!(none || (low..=high).contains(&both.p50_micros));
            prop_assert_eq!(both, other.with(one));
        }
    }

    #[test]
    fn nothing_and_something_is_something() {
        let some = total(3, 1, 100, 200);
        assert_eq!(some.with(Total::default()), some);
        assert_eq!(Total::default().with(some), some);
        assert_eq!(Total::default().with(Total::default()), Total::default());
    }
}
