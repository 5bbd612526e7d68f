//! Which group of voters a node belongs to.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one group of voters with one log, and travels in every request.
///
/// A node belongs to one group and refuses the others, so that the log of one never mixes with that of another. When two
/// meet, one [prevails](Self::prevails_over), and the members of the other come over with nothing of what they counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(crate) struct GroupId {
    /// How many groups its state has been through: one more than that of the group it took over from.
    pub(crate) epoch: u32,
    /// When it was formed, by the founder's clock.
    pub(crate) founded: u64,
    /// The incarnation that formed it.
    pub(crate) founder: u32,
}

impl GroupId {
    /// Whether members of `other` leave it for this group when they meet.
    ///
    /// The one that took over what others counted comes first; then the older one, so that a newcomer that found nobody
    /// and started alone never takes the members of a group that has counted for long.
    pub(crate) fn prevails_over(&self, other: &Self) -> bool {
        self.rank().cmp(&other.rank()) == Ordering::Less
    }

    fn rank(&self) -> (std::cmp::Reverse<u32>, u64, u32) {
        (std::cmp::Reverse(self.epoch), self.founded, self.founder)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:08x}", self.epoch, self.founder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_epoch_prevails_then_the_older_group_then_the_lower_founder() {
        let group = |epoch, founded, founder| GroupId {
            epoch,
            founded,
            founder,
        };
        let best_first = [
            group(2, 9, 9),
            group(1, 3, 8),
            group(1, 4, 1),
            group(1, 4, 2),
        ];
        for (i, a) in best_first.iter().enumerate() {
            for (j, b) in best_first.iter().enumerate() {
                assert_eq!(a.prevails_over(b), i < j, "{a} {b}");
            }
        }
    }
}
