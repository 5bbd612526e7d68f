//! What goes: keys that are full again, and under a cap those that are nearest to it.

use quota::UnixNanos;

use crate::cells::Cells;

/// How far the map has been looked through for expired cells.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// The next place to look at.
    cursor: usize,
    /// Nothing that the last whole pass saw expires before.
    soonest: UnixNanos,
    /// The same for what this pass saw so far.
    seen: UnixNanos,
    /// Nothing that was written since the last whole pass expires before.
    written: UnixNanos,
    /// The next place to look at for an eviction.
    eviction_cursor: usize,
}

const NEVER: UnixNanos = UnixNanos::new(u64::MAX);

/// How many keys are looked at for each that is evicted. The nearest to full of 16 is among the nearest 6 % of all on
/// average, and among the farther half once in 65 536 evictions.
const EVICTION_SAMPLE: usize = 16;

impl Default for Sweep {
    fn default() -> Self {
        Self {
            cursor: 0,
            soonest: NEVER,
            seen: NEVER,
            written: NEVER,
            eviction_cursor: 0,
        }
    }
}

impl Sweep {
    /// Something is there now that expires at `at`.
    #[inline]
    pub(crate) fn note(&mut self, at: UnixNanos) {
        self.written = self.written.min(at);
    }

    fn begin_pass(&mut self) {
        self.seen = NEVER;
        self.cursor = 0;
    }

    fn may_skip(&self, now: UnixNanos) -> bool {
        now < self.soonest.min(self.written)
    }
}

impl Cells {
    /// Removes the keys that are full again, and have been for as long as their context lingers, among the next `budget` keys; how many went.
    ///
    /// Goes through the keys pass by pass, and ends with the pass. A budget of [`len`](Self::len) or more is a whole pass
    /// of its own: afterwards every key that is left is live. Costs nothing while nothing can have expired since the
    /// last pass.
    pub fn expire(&mut self, now: UnixNanos, budget: usize) -> usize {
        if self.sweep.may_skip(now) {
            return 0;
        }
        let before = self.len();
        if before <= budget {
            self.sweep.begin_pass();
        }
        // A place is looked at once, or again when its key was removed: then the last key is there.
        for _ in 0..budget.min(before) {
            let place = self.sweep.cursor;
            if self.len() <= place {
                break;
            }
            let expires_at = self.store.expires_at(place) + self.linger.unwrap_or_default();
            if expires_at <= now {
                self.remove(place);
            } else {
                self.prune(place, now);
                self.sweep.seen = self.sweep.seen.min(expires_at);
                self.sweep.cursor += 1;
            }
        }
        // Evictions may have left the cursor beyond the end.
        if self.len() <= self.sweep.cursor {
            self.sweep.soonest = self.sweep.seen.min(self.sweep.written);
            self.sweep.written = NEVER;
            self.sweep.begin_pass();
            self.store.shrink();
        }
        before - self.len()
    }

    /// Evicts up to `keys` keys, for a cap on memory; how many went. What they counted is forgotten here.
    ///
    /// Expired keys go first, as far as a look at 16 times as many keys finds any. Then, of each 16 keys, taken from the
    /// list in turn, the one goes that is full again first.
    pub fn evict_nearest_to_full(&mut self, now: UnixNanos, keys: usize) -> usize {
        let before = self.len();
        self.expire(now, keys.saturating_mul(EVICTION_SAMPLE));
        while before - self.len() < keys && !self.is_empty() {
            let from = self.sweep.eviction_cursor;
            let sample = (from..from + EVICTION_SAMPLE).map(|place| place % self.len());
            let nearest = sample.min_by_key(|&place| self.store.expires_at(place));
            self.remove(nearest.expect("a sample of a map that is not empty"));
            self.sweep.eviction_cursor = from + EVICTION_SAMPLE;
        }
        before - self.len()
    }

    fn prune(&mut self, place: usize, now: UnixNanos) {
        if self.store.entry(place).count.is_some() {
            return;
        }
        let key = self.store.entry(place).key;
        let mut cell = self.store.cell(place);
        self.prune_cell(&mut cell, now);
        if cell.versions().len() == 1 {
            self.put(key, cell);
        }
    }

    fn remove(&mut self, place: usize) {
        let key = self.store.entry(place).key;
        self.digest.subtract(key, self.store.hash(place));
        self.store.remove(place);
        if place < self.len() {
            // The key that moved here may be one that the pass has not seen yet, and now will not.
            self.sweep.note(self.store.expires_at(place));
        }
    }
}
