//! What tenants have used: any node counts some of it, and keeps what it knows.

use std::collections::BTreeSet;

use accounts::{DayTally, MonthUsage};
use catalogue::{Content, Record};
use rand::Rng;

use super::{EPOCH, SECOND, World};

/// The one day of which anything is used, since the epoch.
const DAY: u64 = EPOCH / SECOND / (24 * 60 * 60);

/// What is told of the day. `None`: it is not about what was used.
pub(super) fn told(content: &Content) -> Option<DayTally> {
    content.usage().map(|month| month.of(DAY))
}

impl World {
    /// What a node makes of what it knows, where it has counted this. `None`: it knows as much.
    pub(super) fn edit_used(
        &mut self,
        host: usize,
        name: usize,
    ) -> Option<(Content, BTreeSet<usize>)> {
        let counted = DayTally {
            requests: self.rng.random_range(0..1_000),
            denied: self.rng.random_range(0..1_000),
        };
        let node = self.nodes[host].as_ref()?;
        let known = node.record(name).and_then(Record::content);
        let known = known.and_then(Content::usage);
        let mut month = known.map_or(MonthUsage::of_day(DAY), |known| MonthUsage::clone(known));
        let seen = node.known[name].clone();
        month
            .raise(DAY, counted)
            .then(|| (Content::Usage(month.into()), seen))
    }
}
