//! Where the keys of a list stand in it.

/// Finds the place of a key in a list by the key's hash, which must be as good as random.
///
/// A table of open addressing, looked through from the slot that the low half of the hash names. A slot takes 4 bytes: the
/// place, in as many bits as the table needs for it, and above them bits of the high half of the hash, by which nearly every
/// other key is told apart without a look at the list. So a key is found in one line of a cache, where a table that
/// keeps such bits apart takes two.
#[derive(Default)]
pub(crate) struct Index {
    /// 0 where there is nothing; else the bits of the hash above the place, which is counted from 1. As many as a power of
    /// two, or none.
    slots: Vec<u32>,
    len: usize,
}

/// The fewest slots: one line of a cache.
const SLOTS_MIN: usize = 16;

impl Index {
    /// The place of the key with this hash that `is_there` tells from the others.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_there: impl Fn(usize) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let places = self.places();
        let above = self.filled(hash, 0) & !places;
        let mut slot = self.home(hash);
        loop {
            let filled = self.slots[slot];
            if filled == 0 {
                return None;
            }
            if filled & !places == above {
                let place = (filled & places) as usize - 1;
                if is_there(place) {
                    return Some(place);
                }
            }
            slot = self.after(slot);
        }
    }

    /// Adds a key that is not there. `hash_at` says the hash of the key at a place.
    pub(crate) fn insert(&mut self, hash: u64, place: usize, hash_at: impl Fn(usize) -> u64) {
        // Three quarters full a key is found at the third look, and that it is not there is found at the ninth.
        if 3 * self.slots.len() < 4 * (self.len + 1) {
            self.rebuild(2 * self.slots.len(), hash_at);
        }
        self.put(hash, place);
        self.len += 1;
    }

    /// Removes the key with this hash at `place`. All keys are still at theirs, where `hash_at` says their hashes.
    pub(crate) fn remove(&mut self, hash: u64, place: usize, hash_at: impl Fn(usize) -> u64) {
        let mut hole = self.slot_of(hash, place);
        let mut slot = self.after(hole);
        // Whoever was put further because of this one moves up, or would not be found.
        while self.slots[slot] != 0 {
            let filled = (self.slots[slot] & self.places()) as usize - 1;
            let distance = |from: usize| slot.wrapping_sub(from) & (self.slots.len() - 1);
            if distance(hole) <= distance(self.home(hash_at(filled))) {
                self.slots[hole] = self.slots[slot];
                hole = slot;
            }
            slot = self.after(slot);
        }
        self.slots[hole] = 0;
        self.len -= 1;
    }

    /// The key with this hash has moved.
    pub(crate) fn move_place(&mut self, hash: u64, from: usize, to: usize) {
        let slot = self.slot_of(hash, from);
        self.slots[slot] = self.filled(hash, to);
    }

    /// Gives memory back when three quarters of what there needs to be is not needed.
    pub(crate) fn shrink(&mut self, hash_at: impl Fn(usize) -> u64) {
        let needed = (2 * self.len).next_power_of_two().max(SLOTS_MIN);
        if 4 * needed <= self.slots.len() {
            self.rebuild(needed, hash_at);
        }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }

    fn rebuild(&mut self, slots: usize, hash_at: impl Fn(usize) -> u64) {
        let slots = slots.max(SLOTS_MIN);
        assert!(slots <= 1 << 31, "more than a billion keys of a shard");
        let places = self.places();
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        for filled in old.into_iter().filter(|&filled| filled != 0) {
            let place = (filled & places) as usize - 1;
            self.put(hash_at(place), place);
        }
    }

    fn put(&mut self, hash: u64, place: usize) {
        let mut slot = self.home(hash);
        while self.slots[slot] != 0 {
            slot = self.after(slot);
        }
        self.slots[slot] = self.filled(hash, place);
    }

    /// The slot of a key that is there.
    fn slot_of(&self, hash: u64, place: usize) -> usize {
        let filled = self.filled(hash, place);
        let mut slot = self.home(hash);
        while self.slots[slot] != filled {
            assert_ne!(self.slots[slot], 0, "every key is in the index");
            slot = self.after(slot);
        }
        slot
    }

    /// What stands in the slot of a key.
    #[inline]
    fn filled(&self, hash: u64, place: usize) -> u32 {
        let bits = self.slots.len().trailing_zeros();
        ((hash >> 32) as u32) << bits | (place as u32 + 1)
    }

    /// The bits of a slot that say a place: three quarters of the slots are filled at most, so places fit.
    #[inline]
    fn places(&self) -> u32 {
        (self.slots.len() as u32).wrapping_sub(1)
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of few different bits, so that many keys meet, in their slots and above.
    fn hash(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 40 & 0x3) << 32 | mixed >> 52 & 0x3f
    }

    /// A slot takes four bytes.
    #[test]
    fn an_index_is_at_most_three_quarters_full_and_gives_back_what_is_mostly_empty() {
        let hash = |number: usize| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = Index::default();
        assert_eq!(index.bytes(), 0);
        for keys in 1..=3_000 {
            index.insert(hash(keys - 1), keys - 1, hash);
            let fewest = (keys * 4).div_ceil(3).next_power_of_two();
            assert_eq!(index.bytes(), 4 * fewest.max(SLOTS_MIN), "{keys} keys");
        }
        let mut slots = 4_096;
        for keys in (0..3_000).rev() {
            index.remove(hash(keys), keys, hash);
            index.shrink(hash);
            let needed = (2 * keys).next_power_of_two().max(SLOTS_MIN);
            if needed * 4 <= slots {
                slots = needed;
            }
            assert_eq!(index.bytes(), 4 * slots, "{keys} keys");
        }
        assert_eq!(slots, SLOTS_MIN);
    }

    /// A list with its index, changed at random and compared with a search through the list.
    #[test]
    fn a_key_is_found_where_it_stands_and_only_there() {
        let (mut index, mut list) = (Index::default(), Vec::<u64>::new());
        let mut random = 7_u64;
        for step in 0..4_000_u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let grows = step % 1_000 < 600;
            if list.is_empty() || (grows && !random.is_multiple_of(4)) {
                index.insert(hash(step), list.len(), |place| hash(list[place]));
                list.push(step);
            } else {
                let place = random as usize % list.len();
                index.remove(hash(list[place]), place, |place| hash(list[place]));
                list.swap_remove(place);
                if place < list.len() {
                    index.move_place(hash(list[place]), list.len(), place);
                }
                index.shrink(|place| hash(list[place]));
            }
            if step % 50 == 0 {
                for number in 0..=step {
                    let found = index.find(hash(number), |place| list[place] == number);
                    assert_eq!(found, list.iter().position(|&other| other == number));
                }
            }
            assert!(index.bytes() <= 16 * SLOTS_MIN.max(4 * list.len()));
        }
        assert_eq!(index.len, list.len());
    }
}
