//! What goes by itself: keys that are full again.

use quota::{KeyHash, UnixNanos};

use crate::cells::Cells;

/// How far the map has been looked through for expired cells.
#[derive(Debug)]
#[repr(C)] // What every hit looks at comes last, where the rest of that follows.
pub(crate) struct Sweep {
    /// The next place to look at for an eviction.
    pub(crate) eviction_cursor: usize,
    /// The next place to look at.
    cursor: usize,
    /// Nothing that the last whole pass saw expires before.
    soonest: UnixNanos,
    /// The same for what this pass saw so far.
    seen: UnixNanos,
    /// Nothing that was written since the last whole pass expires before.
    written: UnixNanos,
}

const NEVER: UnixNanos = UnixNanos::new(u64::MAX);

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

    /// Removes `key` if it is full again, and its context need not linger; whether it went.
    pub fn expire_key(&mut self, now: UnixNanos, key: KeyHash) -> bool {
        let Some(place) = self.store.place_of(key) else {
            return false;
        };
        let is_over = self.store.expires_at(place) + self.linger.unwrap_or_default() <= now;
        if is_over {
            self.remove(place);
        }
        is_over
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

    pub(crate) fn remove(&mut self, place: usize) {
        let key = self.store.entry(place).key;
        self.digest.subtract(key, self.store.hash(place));
        self.note_removal(place);
        self.store.remove(place);
        if place < self.len() {
            // The key that moved here may be one that the pass has not seen yet, and now will not.
            self.sweep.note(self.store.expires_at(place));
        }
    }
}
