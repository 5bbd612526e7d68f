//! What the keys of this node take, and what they may take: one sum over all shards, since a shard knows of itself alone.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};

use shard::Room;

use super::Cluster;

/// Who counts keys: each keeper those of its shards, and the upkeep of the strategy `local` its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Of the keeper with this number.
    Keeper(u16),
    /// Of the strategy `local`.
    Local,
}

/// Most keepers.
pub(crate) const KEEPERS_MAX: usize = 8;

/// Keys, the bytes that they take, and in how many maps they are. Those that are spared are counted by nobody here: they have
/// room of their own.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Held {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    /// Shards, or stripes, that hold any.
    pub(crate) maps: u64,
}

impl Held {
    /// With a map of so many keys and bytes.
    pub(crate) fn add(&mut self, keys: usize, bytes: usize) {
        self.keys += keys as u64;
        self.bytes += bytes as u64;
        self.maps += u64::from(keys != 0);
    }
}

/// The part of what is kept beyond the caps that one part has to give up, and how much of it a map may keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Excess {
    keys: u64,
    bytes: u64,
    /// Of one map, if all had the same.
    share: Room,
}

/// Beyond the caps, one part of so many more than must be is freed, as a shard does that evicts.
const FREED_SHARE: u64 = 32;

/// The caps of a node, and what it keeps, as counted at the last tick of each part.
pub(crate) struct Memory {
    keys_max: AtomicU64,
    bytes_max: AtomicU64,
    parts: [Counted; KEEPERS_MAX + 1],
}

#[derive(Default)]
struct Counted {
    keys: AtomicU64,
    bytes: AtomicU64,
}

impl Memory {
    pub(crate) fn new(keys_max: u64, bytes_max: u64) -> Self {
        let memory = Self {
            keys_max: AtomicU64::new(0),
            bytes_max: AtomicU64::new(0),
            parts: Default::default(),
        };
        memory.set_max(keys_max, bytes_max);
        memory
    }

    /// From now on so much may be kept. What is beyond it goes within the next ticks.
    pub(crate) fn set_max(&self, keys: u64, bytes: u64) {
        metrics::gauge!("weir_keys_max").set(keys as f64);
        metrics::gauge!("weir_key_bytes_max").set(bytes as f64);
        self.keys_max.store(keys, Ordering::Relaxed);
        self.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Takes note of what one part keeps. What it has to give up, if the node has too much.
    pub(crate) fn note(&self, part: Part, held: Held) -> Option<Excess> {
        let counted = &self.parts[part.index()];
        counted.keys.store(held.keys, Ordering::Relaxed);
        counted.bytes.store(held.bytes, Ordering::Relaxed);
        let total = self.total();
        let keys = Cap::new(self.keys_max.load(Ordering::Relaxed), total.keys);
        let bytes = Cap::new(self.bytes_max.load(Ordering::Relaxed), total.bytes);
        (keys.is_passed() || bytes.is_passed()).then(|| Excess {
            keys: keys.excess_of(held.keys),
            bytes: bytes.excess_of(held.bytes),
            share: Room {
                keys: keys.share_of(held.keys, held.maps),
                bytes: bytes.share_of(held.bytes, held.maps),
            },
        })
    }

    /// Whether a quarter of what may be kept is free: then what was evicted once may come back without being evicted again.
    pub(crate) fn is_roomy(&self) -> bool {
        let total = self.total();
        let quarter_is_free = |most: u64, total: u64| total <= most - most / 4;
        let quarter_is_free =
            |most: &AtomicU64, total| quarter_is_free(most.load(Ordering::Relaxed), total);
        quarter_is_free(&self.keys_max, total.keys) && quarter_is_free(&self.bytes_max, total.bytes)
    }

    fn total(&self) -> Held {
        let mut total = Held::default();
        for part in &self.parts {
            total.keys += part.keys.load(Ordering::Relaxed);
            total.bytes += part.bytes.load(Ordering::Relaxed);
        }
        total
    }
}

impl Cluster {
    /// From now on this node holds so many keys and bytes of them at most.
    pub fn keep_at_most(&self, keys: u64, bytes: u64) {
        self.inner.memory.set_max(keys, bytes);
    }
}

impl Part {
    fn index(self) -> usize {
        match self {
            Self::Keeper(number) => usize::from(number) % KEEPERS_MAX,
            Self::Local => KEEPERS_MAX,
        }
    }
}

impl Excess {
    /// What a map may keep that has so many keys and bytes: its share, or more if less needs to go.
    pub(crate) fn room(&self, keys: usize, bytes: usize) -> Room {
        let left = |held: usize, excess: u64| {
            let excess = usize::try_from(excess).unwrap_or(usize::MAX);
            held.saturating_sub(excess)
        };
        Room {
            keys: self.share.keys.max(left(keys, self.keys)),
            bytes: self.share.bytes.max(left(bytes, self.bytes)),
        }
    }

    /// The maps, each with its keys and bytes, in the order in which they give up: who has most comes first.
    ///
    /// In an order of their own, the first would give up all of the excess at each look, and the last grow without end.
    /// Seen: an owner kept 28 keys of a shard where the share was four, so that its replica had to evict for itself.
    pub(crate) fn largest_first<M>(
        &self,
        maps: impl IntoIterator<Item = (M, usize, usize)>,
    ) -> Vec<M> {
        let mut beyond: Vec<_> = maps
            .into_iter()
            .map(|(map, keys, bytes)| {
                let (keys, bytes) = (
                    keys.saturating_sub(self.share.keys),
                    bytes.saturating_sub(self.share.bytes),
                );
                (Reverse((keys, bytes)), map)
            })
            .collect();
        beyond.sort_by_key(|&(beyond, _)| beyond);
        beyond.into_iter().map(|(_, map)| map).collect()
    }

    /// So many keys and bytes were given up.
    pub(crate) fn give_up(&mut self, keys: usize, bytes: usize) {
        self.keys = self.keys.saturating_sub(keys as u64);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

/// One of the two caps, beside all that is kept.
#[derive(Clone, Copy)]
struct Cap {
    most: u64,
    total: u64,
}

impl Cap {
    const fn new(most: u64, total: u64) -> Self {
        Self { most, total }
    }

    const fn is_passed(self) -> bool {
        self.most < self.total
    }

    /// What a part that keeps `held` of the total has to give up.
    fn excess_of(self, held: u64) -> u64 {
        if !self.is_passed() {
            return 0;
        }
        let excess = self.total - self.most + self.most / FREED_SHARE;
        self.portion(excess, held)
    }

    /// What each of `maps` may keep, which keep `held` of the total together.
    fn share_of(self, held: u64, maps: u64) -> usize {
        if !self.is_passed() {
            return usize::MAX;
        }
        let share = self.portion(self.most, held) / maps.max(1);
        usize::try_from(share).unwrap_or(usize::MAX)
    }

    /// `whole` × `held` / total, which is not zero, rounded up.
    fn portion(self, whole: u64, held: u64) -> u64 {
        let product = u128::from(whole) * u128::from(held);
        u64::try_from(product.div_ceil(u128::from(self.total))).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(keys: u64, bytes: u64, maps: u64) -> Held {
        Held { keys, bytes, maps }
    }

    #[test]
    fn nothing_goes_while_the_node_is_within_its_caps() {
        let memory = Memory::new(1_000, 100_000);
        assert_eq!(memory.note(Part::Keeper(0), held(900, 90_000, 1)), None);
        assert_eq!(memory.note(Part::Local, held(100, 10_000, 64)), None);
        // One map may have all of it.
        assert_eq!(memory.note(Part::Keeper(0), held(900, 90_000, 1)), None);
    }

    /// Each part gives up as much of the excess as it keeps of the whole, from the maps that have more than others.
    #[test]
    fn what_is_too_much_goes_from_all_parts_alike() {
        let memory = Memory::new(1_000, u64::MAX);
        let _within = memory.note(Part::Keeper(0), held(300, 0, 3));
        let excess = memory.note(Part::Keeper(1), held(900, 0, 9));
        let excess = excess.expect("1 200 of 1 000");
        // 200, and a 32nd of the cap.
        assert_eq!((excess.keys, excess.bytes), (174, 0));
        assert_eq!((excess.share.keys, excess.share.bytes), (83, usize::MAX));
        assert_eq!(excess.room(60, 0).keys, 83);
        assert_eq!(excess.room(120, 0).keys, 83);
        assert_eq!(excess.room(500, 0).keys, 326);
        let excess = memory
            .note(Part::Keeper(0), held(300, 0, 3))
            .expect("still");
        assert_eq!(excess.keys, 58);
        assert!(!memory.is_roomy());
        let _within = memory.note(Part::Keeper(1), held(450, 0, 9));
        assert!(memory.is_roomy());
    }

    #[test]
    fn who_has_most_gives_up_first() {
        let memory = Memory::new(1_000, u64::MAX);
        let excess = memory.note(Part::Keeper(0), held(1_100, 0, 100));
        let excess = excess.expect("1 100 of 1 000");
        let maps = [('a', 8, 0), ('b', 28, 0), ('c', 11, 0), ('d', 28, 1)];
        assert_eq!(excess.largest_first(maps), ['b', 'd', 'c', 'a']);
        // Where there are too many bytes, the largest, however few keys they are.
        let memory = Memory::new(u64::MAX, 1_000);
        let excess = memory.note(Part::Keeper(0), held(6, 1_200, 3));
        let excess = excess.expect("1 200 of 1 000");
        let maps = [('a', 4, 350), ('b', 1, 450), ('c', 1, 400)];
        assert_eq!(excess.largest_first(maps), ['b', 'c', 'a']);
    }

    #[test]
    fn no_more_goes_than_must() {
        let memory = Memory::new(u64::MAX, 1_000_000);
        let mut excess = memory
            .note(Part::Local, held(4, 1_400_000, 4))
            .expect("beyond the cap");
        assert_eq!((excess.keys, excess.bytes), (0, 431_250));
        assert_eq!(excess.room(1, 350_000).bytes, 250_000);
        excess.give_up(1, 350_000);
        assert_eq!(excess.room(1, 350_000).bytes, 268_750);
        excess.give_up(1, 350_000);
        assert_eq!(
            excess.room(1, 350_000),
            Room {
                keys: usize::MAX,
                bytes: 350_000
            }
        );
    }
}
