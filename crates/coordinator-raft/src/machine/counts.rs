//! The counts of all keys.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use quota::{Count, KeyHash, Taken, UnixNanos};

/// Most keys. At some 100 bytes each 2 GiB; beyond it the key that is full soonest goes, which admits up to its limit
/// again.
const KEYS_MAX: usize = 20_000_000;

/// The map is cut into this many, each shared with a snapshot that is being made until it is written to: so that
/// neither taking the state of a snapshot nor the first write after it copies more than a 1 024th.
const SLICES: usize = 1_024;

/// Keys looked at for each hit that an entry decides: more than it can add, so that the sweep keeps up.
const SWEPT_PER_HIT: usize = 2;

/// Keys looked at for an entry at least: 256 are less than 0.1 ms.
const SWEPT_MIN: usize = 256;

/// Keys looked at for an entry that decides nothing and was made for the sweep: some 10 ms.
const SWEPT_ALONE: usize = 32_768;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A count, and the second in which the sweep looks at it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Kept {
    pub(super) count: Option<Count>,
    pub(super) due: u32,
}

pub(super) type Slice = HashMap<KeyHash, Kept, BuildHasherDefault<Hashed>>;

pub(super) struct Counts {
    slices: Vec<Arc<Slice>>,
    /// Every key once, under the second in [`Kept::due`]. That may be too early: hits that come later do not move it,
    /// the sweep does.
    due: BTreeSet<(u32, KeyHash)>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            slices: vec![Arc::default(); SLICES],
            due: BTreeSet::new(),
        }
    }
}

impl Counts {
    pub(super) fn change(
        &mut self,
        key: KeyHash,
        change: impl FnOnce(&mut Option<Count>) -> Taken,
    ) -> Taken {
        let slice = Arc::make_mut(&mut self.slices[slice_of(key)]);
        if let Some(kept) = slice.get_mut(&key) {
            let taken = change(&mut kept.count);
            if is_nothing(kept.count.as_ref()) {
                let due = kept.due;
                slice.remove(&key);
                self.due.remove(&(due, key));
            }
            return taken;
        }
        let mut count = None;
        let taken = change(&mut count);
        if !is_nothing(count.as_ref()) {
            let due = due(count.as_ref());
            self.insert(key, Kept { count, due });
            self.make_room();
        }
        taken
    }

    pub(super) fn insert(&mut self, key: KeyHash, kept: Kept) {
        let slice = Arc::make_mut(&mut self.slices[slice_of(key)]);
        self.due.insert((kept.due, key));
        if let Some(earlier) = slice.insert(key, kept.clone())
            && earlier.due != kept.due
        {
            self.due.remove(&(earlier.due, key));
        }
    }

    fn make_room(&mut self) {
        if self.len() <= KEYS_MAX {
            return;
        }
        if let Some((_, key)) = self.due.pop_first() {
            Arc::make_mut(&mut self.slices[slice_of(key)]).remove(&key);
        }
    }

    /// Drops keys that are full again, as many as `asks` hits may pay for.
    pub(super) fn sweep(&mut self, now: UnixNanos, asks: usize) {
        let budget = match asks {
            0 => SWEPT_ALONE,
            asks => SWEPT_MIN + SWEPT_PER_HIT * asks,
        };
        for _ in 0..budget {
            if !self.is_due(now) {
                return;
            }
            let Some((_, key)) = self.due.pop_first() else {
                return;
            };
            let slice = Arc::make_mut(&mut self.slices[slice_of(key)]);
            let Some(kept) = slice.get_mut(&key) else {
                continue;
            };
            if kept
                .count
                .as_ref()
                .is_none_or(|count| count.expires_at() <= now)
            {
                slice.remove(&key);
            } else {
                kept.due = due(kept.count.as_ref());
                self.due.insert((kept.due, key));
            }
        }
    }

    pub(super) fn is_due(&self, now: UnixNanos) -> bool {
        let second = now.get() / NANOS_PER_SEC;
        self.due
            .first()
            .is_some_and(|&(due, _)| u64::from(due) <= second)
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    pub(super) fn slices(&self) -> &[Arc<Slice>] {
        &self.slices
    }
}

fn slice_of(key: KeyHash) -> usize {
    usize::from(key.shard(SLICES as u16))
}

/// There are no other copies of a count that could come back: what is empty need not be kept.
fn is_nothing(count: Option<&Count>) -> bool {
    matches!(count, None | Some(Count::Reset { .. }))
}

/// The second that begins when `count` is full again, or after.
fn due(count: Option<&Count>) -> u32 {
    let at = count.map_or(UnixNanos::ZERO, Count::expires_at);
    u32::try_from(at.get().div_ceil(NANOS_PER_SEC)).unwrap_or(u32::MAX)
}

/// Keys are keyed hashes already: hashing them again would cost more than the map does.
#[derive(Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // The slice fixes the low bits of the one word, not those of both.
        self.0 = self.0.rotate_left(32) ^ word;
    }
}
