//! What goes for want of memory: the keys of which least is lost.

use quota::{Count, KeyHash, UnixNanos};

use crate::cell::Cell;
use crate::cells::Cells;
use crate::fold::whole_context;
use crate::loss::Loss;
use crate::store::KEY_BYTES;
use crate::term::Dot;
use crate::version::{Added, Slot, Slots, Version};

/// How many keys are compared at a time: a spent key goes only where none of so many loses less.
///
/// Looking at them takes some 0.2 ms, during which nobody else is at the map. A shard of a node with the default cap of
/// 20 million keys has 20 000.
const COMPARED: usize = 16_384;

/// Of the keys that are compared, at most one in so many goes, those that lose least. At 8 looks for each that goes, a
/// flood of a million fresh keys a second costs one core a twentieth of its time.
const EVICTED_SHARE: usize = 8;

/// A key that was evicted, and the writes that were known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evicted {
    key: KeyHash,
    /// What each term had written, on any side.
    past: Slots,
}

impl Evicted {
    /// The key that was let go when it was known as `cell`.
    #[must_use]
    pub fn new(key: KeyHash, cell: &Cell) -> Self {
        let (past, _) = whole_context(cell);
        Self { key, past }
    }

    /// Which key.
    #[must_use]
    pub const fn key(&self) -> KeyHash {
        self.key
    }

    /// The cell that makes a replica forget the key as well: a write by `dot`, the eviction, that knows of all that was
    /// known and says that nothing is left of it.
    ///
    /// It has expired before it is sent, so that nobody keeps it. What a replica has beyond what was known here, such as
    /// the hits of another side of a fork, it keeps.
    #[must_use]
    pub fn cell(&self, dot: Dot) -> Cell {
        let mut slots = self.past.clone();
        slots.retain(|slot| slot.term != dot.actor);
        let place = slots.partition_point(|slot| slot.term < dot.actor);
        let eviction = Slot {
            term: dot.actor,
            seq: dot.counter,
            added: Added::new(0),
        };
        slots.insert(place, eviction);
        let nothing = Count::Reset {
            until: UnixNanos::ZERO,
        };
        Version::of(nothing, slots, Vec::new()).into()
    }
}

impl Cells {
    /// Evicts keys until at least `keys` of them and `bytes` of [`evictable_bytes`](Self::evictable_bytes) have gone, or none
    /// is left but [those that are spared](quota::KeyHash::is_spared), which never go; what they
    /// counted is forgotten here. Keys that have expired go as well, and are not told of.
    ///
    /// The key goes first of which the smallest part of its limit is spent, of two that are spent alike the one that is
    /// full again sooner: so a flood of fresh keys evicts fresh keys. That holds among 16 384 keys that stand together; of
    /// more, each such part gives up an eighth at the most before the next has its turn. For a key that was
    /// not written here, but joined, the limit is not known: it counts as spent from 4 units on.
    pub fn evict(&mut self, now: UnixNanos, keys: usize, bytes: usize) -> Vec<Evicted> {
        let keys_after = self.evictable().saturating_sub(keys);
        let bytes_after = self.evictable_bytes().saturating_sub(bytes);
        let mut evicted = Vec::new();
        while (keys_after < self.evictable() || bytes_after < self.evictable_bytes())
            && 0 < self.evictable()
        {
            let excess_keys = self.evictable().saturating_sub(keys_after);
            let excess_bytes = self.evictable_bytes().saturating_sub(bytes_after);
            let wanted = excess_keys.max(excess_bytes.div_ceil(KEY_BYTES));
            let mut going = self.losing_least(now, wanted);
            // Only as many as it takes: a log may be as large as thousands of other keys.
            let (mut gone_keys, mut gone_bytes) = (0, 0);
            let needed = going.iter().take_while(|&&(_, place)| {
                let is_enough = excess_keys <= gone_keys && excess_bytes <= gone_bytes;
                gone_keys += 1;
                gone_bytes += self.store.bytes_of(place);
                !is_enough
            });
            let needed = needed.count();
            going.truncate(needed);
            // From the last place to the first: a removal moves the last key.
            going.sort_unstable_by_key(|&(_, place)| std::cmp::Reverse(place));
            for (_, place) in going {
                let is_expired = self.store.expires_at(place) <= now;
                let key = self.store.entry(place).key;
                let past = (!is_expired).then(|| self.store.past(place));
                self.remove(place);
                evicted.extend(past.map(|past| Evicted { key, past }));
            }
        }
        self.store.shrink();
        evicted
    }

    /// The places of up to `wanted` keys among the next that are compared, those that lose least first. Empty where all of
    /// those are spared.
    fn losing_least(&mut self, now: UnixNanos, wanted: usize) -> Vec<(Loss, usize)> {
        let from = match self.sweep.eviction_cursor {
            cursor if cursor < self.len() => cursor,
            _ => 0,
        };
        let through = self.len().min(from + COMPARED);
        let mut compared: Vec<(Loss, usize)> = (from..through)
            .filter(|&place| !self.store.entry(place).key.is_spared())
            .map(|place| (self.store.loss(place, now), place))
            .collect();
        let most = wanted.min(compared.len().div_ceil(EVICTED_SHARE)).max(1);
        if most < compared.len() {
            compared.select_nth_unstable(most);
            compared.truncate(most);
        }
        compared.sort_unstable();
        self.sweep.eviction_cursor = through;
        compared
    }
}
