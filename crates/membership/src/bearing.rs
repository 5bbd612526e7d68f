//! Whether this node's clock agrees with those of the others.

use std::collections::BTreeMap;

use delta_crdt::ReplicaId;
use quota::Nanos;

/// What a node may conclude about its own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bearing {
    /// Near the median of all clocks.
    Within,
    /// Far from the median, but no majority of the clocks agrees on a time that this one has not: of two clocks that
    /// differ nobody can tell which is right. The node goes on deciding, and says so.
    Undecided,
    /// A majority of the clocks agrees, and this one differs: others should decide.
    Outvoted,
}

/// The clocks of the others as last measured, and what follows from them.
///
/// The node is outvoted beyond `max_skew` from the median, and back within half of it, so that a clock at the bound
/// does not move shards to and fro. Once outvoted it stays so until a majority agrees with it: being cut off from
/// those who knew better sets no clock right. Since a majority never is outvoted, two nodes cannot send shards to each other.
#[derive(Clone, Debug)]
pub struct Clocks {
    max_skew: Nanos,
    /// How far each is ahead of this node's, in nanoseconds.
    offsets: BTreeMap<ReplicaId, i64>,
    outvoted: bool,
}

impl Clocks {
    /// No clock but this node's. A `newcomer` is outvoted until it has compared its clock.
    #[must_use]
    pub fn new(max_skew: Nanos, newcomer: bool) -> Self {
        Self {
            max_skew,
            offsets: BTreeMap::new(),
            outvoted: newcomer,
        }
    }

    /// The clock of `peer` was measured to be `offset` nanoseconds ahead of this node's.
    pub fn on_measured(&mut self, peer: ReplicaId, offset: i64) {
        self.offsets.insert(peer, offset);
    }

    /// `peer` can be measured no longer.
    pub fn on_gone(&mut self, peer: ReplicaId) {
        self.offsets.remove(&peer);
    }

    /// Whoever is not to be kept can be measured no longer.
    pub fn retain(&mut self, keep: impl Fn(ReplicaId) -> bool) {
        self.offsets.retain(|&peer, _| keep(peer));
    }

    /// How far the median of all clocks is ahead of this node's; of two clocks, the middle between them.
    #[must_use]
    pub fn median(&self) -> i64 {
        let mut offsets: Vec<i64> = self.offsets.values().copied().chain([0]).collect();
        offsets.sort_unstable();
        match offsets.len() {
            2 => (offsets[0] + offsets[1]) / 2,
            len => offsets[len / 2],
        }
    }

    /// Looks at the clocks as they are now. Call it after each round of measuring.
    pub fn bearing(&mut self) -> Bearing {
        let median = self.median();
        let near = |offset: i64, bound: Nanos| offset.abs_diff(median) <= bound.get();
        let clocks = self.offsets.values().copied().chain([0]);
        let agreeing = clocks.filter(|&offset| near(offset, self.max_skew)).count();
        let majority = self.offsets.len() + 1 < 2 * agreeing;
        let bound = match self.outvoted {
            true => Nanos::new(self.max_skew.get() / 2),
            false => self.max_skew,
        };
        if near(0, bound) {
            let may_tell = majority && !self.offsets.is_empty();
            self.outvoted &= !may_tell;
        } else {
            self.outvoted |= majority;
        }
        match (self.outvoted, near(0, bound)) {
            (true, _) => Bearing::Outvoted,
            (false, true) => Bearing::Within,
            (false, false) => Bearing::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: i64 = 1_000_000;

    /// The bearing of a node that finds the others so many milliseconds ahead.
    #[track_caller]
    fn check(clocks: &mut Clocks, ahead: &[i64], bearing: Bearing) {
        clocks.offsets = (1..)
            .zip(ahead)
            .map(|(peer, ahead)| (ReplicaId(peer), ahead * MILLIS))
            .collect();
        assert_eq!(clocks.bearing(), bearing, "{ahead:?}");
    }

    fn clocks() -> Clocks {
        Clocks::new(Nanos::from_millis(500), false)
    }

    #[test]
    fn one_clock_is_outvoted_by_two_and_they_stay() {
        check(&mut clocks(), &[501, 510], Bearing::Outvoted);
        check(&mut clocks(), &[-900, 10], Bearing::Within);
        check(&mut clocks(), &[500, 490], Bearing::Within);
    }

    #[test]
    fn of_two_clocks_nobody_can_tell_which_is_right() {
        check(&mut clocks(), &[1_200], Bearing::Undecided);
        check(&mut clocks(), &[-1_200], Bearing::Undecided);
        check(&mut clocks(), &[900, 2_500], Bearing::Undecided);
        check(&mut clocks(), &[], Bearing::Within);
    }

    #[test]
    fn a_clock_at_the_bound_does_not_come_and_go() {
        let clocks = &mut clocks();
        check(clocks, &[501, 501], Bearing::Outvoted);
        check(clocks, &[499, 499], Bearing::Outvoted);
        check(clocks, &[251, 251], Bearing::Outvoted);
        check(clocks, &[250, 250], Bearing::Within);
        check(clocks, &[499, 499], Bearing::Within);
    }

    #[test]
    fn who_is_cut_off_from_those_who_knew_better_is_not_right_for_that() {
        let clocks = &mut clocks();
        check(clocks, &[800, 800], Bearing::Outvoted);
        check(clocks, &[], Bearing::Outvoted);
        check(clocks, &[0], Bearing::Within);
    }

    #[test]
    fn a_newcomer_is_outvoted_until_it_has_compared_its_clock() {
        let mut clocks = Clocks::new(Nanos::from_millis(500), true);
        check(&mut clocks, &[], Bearing::Outvoted);
        check(&mut clocks, &[100], Bearing::Within);
    }

    #[test]
    fn of_two_clocks_the_middle_is_the_median_and_of_more_the_one_in_the_middle() {
        let mut clocks = clocks();
        assert_eq!(clocks.median(), 0);
        clocks.on_measured(ReplicaId(1), 1_200 * MILLIS);
        assert_eq!(clocks.median(), 600 * MILLIS);
        clocks.on_measured(ReplicaId(1), -1_000 * MILLIS);
        assert_eq!(clocks.median(), -500 * MILLIS, "measured again");
        clocks.on_measured(ReplicaId(2), 70 * MILLIS);
        assert_eq!(clocks.median(), 0);
    }

    #[test]
    fn who_cannot_be_measured_has_no_say() {
        let mut clocks = clocks();
        for (peer, ahead) in [(1, 950), (2, 900), (3, 100)] {
            clocks.on_measured(ReplicaId(peer), ahead * MILLIS);
        }
        assert_eq!(clocks.median(), 900 * MILLIS);
        clocks.on_gone(ReplicaId(1));
        assert_eq!(clocks.median(), 100 * MILLIS);
        clocks.retain(|peer| peer == ReplicaId(2));
        assert_eq!(clocks.median(), 450 * MILLIS);
        clocks.retain(|_| false);
        assert_eq!(clocks.median(), 0);
    }

    #[test]
    fn more_than_half_of_the_clocks_are_a_majority() {
        check(&mut clocks(), &[-2_000, 900, 1_000], Bearing::Undecided);
        check(&mut clocks(), &[-2_000, 900, 900, 900], Bearing::Outvoted);
    }
}
