//! What the owner of a map makes of what others wrote: bounds to their clocks, and what they admitted too much.

use quota::{Count, KeyHash, Limit, UnixNanos};

use crate::cells::Cells;

impl Cells {
    /// From here on a count that an earlier term wrote is taken for admitted by `latest` at the latest, once its key is
    /// written: a clock that was ahead then denies nobody for as long as it was. Never goes back, so that what is joined
    /// later is bounded by the time at which it was joined.
    pub fn bound_stamps(&mut self, latest: UnixNanos) {
        self.latest = self.latest.max(Some(latest));
    }

    /// By how many units the sides of a fork, taken together, went beyond `limit` for `key`; zero without sides.
    #[must_use]
    pub fn overshoot(&self, now: UnixNanos, key: KeyHash, limit: &Limit) -> u64 {
        let Some(cell) = self.get(key).filter(|cell| 1 < cell.versions().len()) else {
            return 0;
        };
        let folded = self.folded(cell, now, limit);
        let used = folded.map_or(0, |folded| folded.count.used(limit, now));
        used.saturating_sub(u64::from(limit.burst()))
    }

    pub(crate) fn bounded(&self, count: Count, now: UnixNanos, limit: &Limit, sides: u32) -> Count {
        match self.latest {
            Some(latest) => count.no_later_than(limit, now, latest, sides),
            None => count,
        }
    }
}
