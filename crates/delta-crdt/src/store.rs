//! How cells are kept: small where there are many, as they come where there are few.
//!
//! A key costs 64 bytes in a dense list, which is one line of a cache, and about 8 in the index over it. What does not fit
//! into 64 bytes stands aside.

use hashbrown::HashTable;
use quota::{Count, KeyHash, Limit, UnixNanos};
use smallvec::SmallVec;

use crate::cell::Cell;
use crate::digest::{cell_hash, slot_hash, slots_hash};
use crate::entries::Entries;
use crate::fold::whole_context;
use crate::index::Index;
use crate::loss::{BurstScale, Loss};
use crate::term::{SEQ_END, Term};
use crate::version::{Added, Slot, Slots, Version};

/// One key. Aligned, since a decision looks at all of it.
#[repr(align(64))]
pub(crate) struct Entry {
    pub(crate) key: KeyHash,
    /// `None`: the cell has several versions and stands aside.
    pub(crate) count: Option<Count>,
    term: Term,
    /// The sequence, below [`SEQ_END`]; above it [`KEPT`], [`LISTED`], the [`BurstScale`], and in [`AGED`] whether more of
    /// the version stands aside.
    seq: u64,
    added: Added,
}

/// A million keys are the yardstick: 80 bytes each, with their share of the index and of the list's spare room.
const _: () = assert!(size_of::<Entry>() == 64);

const AGED: u64 = 1 << 63;
const SEQ: u64 = SEQ_END - 1;
/// The key is to outlive all nodes.
const KEPT: u64 = SEQ_END;
/// The key is among those whose changes are to be kept.
const LISTED: u64 = SEQ_END << 1;
const SCALE_AT: u32 = SEQ_END.trailing_zeros() + 2;
const _: () = assert!(SEQ | KEPT | LISTED | BurstScale::CODE_MAX << SCALE_AT | AGED == u64::MAX);

/// Bytes that a key takes: its entry, and its parts of the list's spare room and of the index.
pub const KEY_BYTES: usize = 80;

/// What does not fit into an entry.
struct Aside {
    key: KeyHash,
    rest: Rest,
}

enum Rest {
    /// The rest of an aged version.
    Past {
        /// All slots but the one in the entry, by term ascending.
        others: Slots,
        forgiven: Vec<Slot>,
    },
    /// A whole cell, of several versions. Boxed: a past is what nearly every key has after a takeover, a fork is rare.
    Siblings(Box<Cell>),
}

#[derive(Default)]
#[repr(C)] // What every hit looks at comes first.
pub(crate) struct Store {
    entries: Entries,
    index: Index,
    /// Bytes of logs and of what stands aside.
    heap: usize,
    asides: HashTable<Box<Aside>>,
    /// Keys that are not evicted.
    spared: usize,
}

impl Entry {
    /// The slot that stands here: where this node wrote last, its own; else that of the newest term.
    #[inline]
    pub(crate) fn slot(&self) -> Slot {
        Slot {
            term: self.term,
            seq: self.seq & SEQ,
            added: self.added,
        }
    }

    /// Whether this is all there is about the key.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.count.is_some() && self.seq & AGED == 0
    }

    /// A further write under the term of [`Self::slot`].
    #[inline]
    pub(crate) fn advance(&mut self, seq: u64, added: i64) {
        self.seq = self.seq & !SEQ | seq;
        self.added = self.added.plus(added);
    }

    /// The key was written under this limit. Whether its change is to be kept: it is kept, or was.
    #[inline]
    pub(crate) fn note_limit(&mut self, limit: &Limit) -> bool {
        let was_kept = self.is_kept();
        let others = self.seq & !(BurstScale::CODE_MAX << SCALE_AT | KEPT);
        let kept = if limit.keep() { KEPT } else { 0 };
        self.seq = others | BurstScale::of(limit.burst()).code() << SCALE_AT | kept;
        was_kept || limit.keep()
    }

    /// Whether the key is to outlive all nodes.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        self.seq & KEPT != 0
    }

    #[inline]
    pub(crate) fn set_kept(&mut self, is_kept: bool) {
        self.seq = self.seq & !KEPT | if is_kept { KEPT } else { 0 };
    }

    /// Whether the key is among those whose changes are to be kept.
    #[inline]
    pub(crate) fn is_listed(&self) -> bool {
        self.seq & LISTED != 0
    }

    #[inline]
    pub(crate) fn set_listed(&mut self, is_listed: bool) {
        self.seq = self.seq & !LISTED | if is_listed { LISTED } else { 0 };
    }

    /// Bytes of a log.
    #[inline]
    pub(crate) fn log_bytes(&self) -> usize {
        self.count.as_ref().map_or(0, Count::heap_bytes)
    }

    fn scale(&self) -> BurstScale {
        BurstScale::from_code(self.seq >> SCALE_AT)
    }
}

/// Where the index looks for a key: bits that choose neither the shard nor the bucket of a digest.
#[inline]
fn index_hash(key: KeyHash) -> u64 {
    (key.get() >> 64) as u64
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    #[inline]
    pub(crate) fn place_of(&self, key: KeyHash) -> Option<usize> {
        self.index
            .find(index_hash(key), |place| self.entries[place].key == key)
    }

    #[inline]
    pub(crate) fn entry(&self, place: usize) -> &Entry {
        &self.entries[place]
    }

    /// Whoever changes the count says so to [`Self::note_log_bytes`].
    #[inline]
    pub(crate) fn entry_mut(&mut self, place: usize) -> &mut Entry {
        &mut self.entries[place]
    }

    /// The log at `place` took `before` bytes until now.
    #[inline]
    pub(crate) fn note_log_bytes(&mut self, place: usize, before: usize) {
        self.note_heap(before, self.entries[place].log_bytes());
    }

    /// A log took `before` bytes and takes `now`.
    #[inline]
    pub(crate) fn note_heap(&mut self, before: usize, now: usize) {
        self.heap = self.heap + now - before;
    }

    /// Replaces all of an entry that is whole, but for what is known of its limit.
    #[inline]
    pub(crate) fn replace(&mut self, place: usize, count: Count, slot: Slot) {
        let entry = &mut self.entries[place];
        let before = entry.log_bytes();
        entry.count = Some(count);
        entry.seq = entry.seq & !SEQ | slot.seq;
        (entry.term, entry.added) = (slot.term, slot.added);
        self.note_log_bytes(place, before);
    }

    /// What is lost with the key at `place`.
    pub(crate) fn loss(&self, place: usize, now: UnixNanos) -> Loss {
        let entry = &self.entries[place];
        match &entry.count {
            Some(count) => Loss::of(count, entry.scale(), now),
            None => Loss::of_siblings(self.expires_at(place)),
        }
    }

    /// The cell at `place` in its exchange form.
    pub(crate) fn cell(&self, place: usize) -> Cell {
        let entry = &self.entries[place];
        let own = entry.slot();
        let cell: Cell = match (&entry.count, self.rest(entry)) {
            (_, Some(Rest::Siblings(cell))) => Cell::clone(cell),
            (Some(count), Some(Rest::Past { others, forgiven })) => {
                Version::of(count.clone(), with_own(others, own), forgiven.clone()).into()
            }
            (Some(count), None) => {
                Version::of(count.clone(), SmallVec::from_buf([own]), Vec::new()).into()
            }
            (None, _) => unreachable!("an entry without a count has its siblings aside"),
        };
        cell.with_kept(entry.is_kept())
    }

    /// When the last version at `place` expires.
    #[inline]
    pub(crate) fn expires_at(&self, place: usize) -> UnixNanos {
        let entry = &self.entries[place];
        match (&entry.count, self.rest(entry)) {
            (Some(count), _) => count.expires_at(),
            (None, Some(Rest::Siblings(cell))) => cell.expires_at(),
            (None, _) => UnixNanos::ZERO,
        }
    }

    /// What the cell at `place` adds to the digest.
    pub(crate) fn hash(&self, place: usize) -> u64 {
        let entry = &self.entries[place];
        match self.rest(entry) {
            None => slot_hash(entry.key, &entry.slot()),
            Some(Rest::Past { others, .. }) => {
                let own = slot_hash(entry.key, &entry.slot());
                own.wrapping_add(slots_hash(entry.key, others))
            }
            Some(Rest::Siblings(cell)) => cell_hash(entry.key, cell),
        }
    }

    /// Adds a key that is not there; where it stands.
    pub(crate) fn insert(&mut self, key: KeyHash, count: Count, slot: Slot) -> usize {
        let place = self.entries.len();
        self.heap += count.heap_bytes();
        self.spared += usize::from(key.is_spared());
        self.entries.push(Entry {
            key,
            count: Some(count),
            term: slot.term,
            seq: slot.seq,
            added: slot.added,
        });
        let entries = &self.entries;
        let hash_at = |place: usize| index_hash(entries[place].key);
        self.index.insert(index_hash(key), place, hash_at);
        place
    }

    /// Puts a cell in place of what `key` had, if it had any; where it stands. `writer`: the term under which this node has
    /// written it last.
    pub(crate) fn put(&mut self, key: KeyHash, cell: Cell, writer: Option<Term>) -> usize {
        let own = |version: &Version| {
            let slot = writer.and_then(|term| version.slot(term));
            *slot.or(version.slots().last()).expect("never empty")
        };
        let first = &cell.versions()[0];
        let place = self.place_of(key).unwrap_or_else(|| {
            let none = Count::Reset {
                until: UnixNanos::ZERO,
            };
            self.insert(key, none, own(first))
        });
        self.forget_aside(place);
        if cell.is_kept() {
            self.entries[place].set_kept(true);
        }
        match cell.into_only() {
            Ok(version) => {
                let slot = own(&version);
                let (count, mut others, forgiven) = version.into_parts();
                others.retain(|other| other.term != slot.term);
                self.replace(place, count, slot);
                if !others.is_empty() || !forgiven.is_empty() {
                    self.entries[place].seq |= AGED;
                    self.set_aside(key, Rest::Past { others, forgiven });
                }
            }
            Err(cell) => {
                let before = self.entries[place].log_bytes();
                self.entries[place].count = None;
                self.note_log_bytes(place, before);
                self.set_aside(key, Rest::Siblings(Box::new(cell)));
            }
        }
        place
    }

    /// Removes the key at `place`; the last one moves there.
    pub(crate) fn remove(&mut self, place: usize) {
        self.forget_aside(place);
        let removed = self.entries[place].key;
        self.spared -= usize::from(removed.is_spared());
        self.heap -= self.entries[place].log_bytes();
        let entries = &self.entries;
        let hash_at = |place: usize| index_hash(entries[place].key);
        self.index.remove(index_hash(removed), place, hash_at);
        self.entries.swap_remove(place);
        let last = self.entries.len();
        if place < last {
            let moved = index_hash(self.entries[place].key);
            self.index.move_place(moved, last, place);
        }
    }

    /// Makes a version at `place` whole again: all that stood aside goes.
    pub(crate) fn forget_aside(&mut self, place: usize) {
        let entry = &mut self.entries[place];
        if entry.is_whole() {
            return;
        }
        entry.seq &= !AGED;
        let key = entry.key;
        let found = self
            .asides
            .find_entry(index_hash(key), |aside| aside.key == key);
        if let Ok(found) = found {
            let (aside, _) = found.remove();
            self.heap -= aside.bytes();
        }
    }

    /// Gives back the memory of tables that are mostly empty. The list needs no such care.
    pub(crate) fn shrink(&mut self) {
        let entries = &self.entries;
        self.index.shrink(|place| index_hash(entries[place].key));
        if 2 * self.asides.len() + 16 <= self.asides.capacity() {
            self.asides
                .shrink_to(self.asides.len(), |aside| index_hash(aside.key));
        }
    }

    /// Bytes on the heap, give or take what the allocator adds.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.bytes() + self.index.bytes() + self.asides.allocation_size() + self.heap
    }

    /// Bytes that the key at `place` takes.
    pub(crate) fn bytes_of(&self, place: usize) -> usize {
        let entry = &self.entries[place];
        KEY_BYTES + entry.log_bytes() + self.aside(entry).map_or(0, Aside::bytes)
    }

    /// What each term wrote of the key at `place`, in any of its versions.
    pub(crate) fn past(&self, place: usize) -> Slots {
        let entry = &self.entries[place];
        let own = entry.slot();
        match self.rest(entry) {
            None => SmallVec::from_buf([own]),
            Some(Rest::Past { others, .. }) => with_own(others, own),
            Some(Rest::Siblings(cell)) => whole_context(cell).0,
        }
    }

    /// Keys that are not evicted.
    pub(crate) fn spared(&self) -> usize {
        self.spared
    }

    /// Bytes that the keys take, without the room for more.
    pub(crate) fn held_bytes(&self) -> usize {
        self.entries.len() * KEY_BYTES + self.heap
    }

    fn rest(&self, entry: &Entry) -> Option<&Rest> {
        self.aside(entry).map(|aside| &aside.rest)
    }

    fn aside(&self, entry: &Entry) -> Option<&Aside> {
        if entry.is_whole() {
            return None;
        }
        let found = self
            .asides
            .find(index_hash(entry.key), |aside| aside.key == entry.key);
        found.map(Box::as_ref)
    }

    fn set_aside(&mut self, key: KeyHash, rest: Rest) {
        let aside = Box::new(Aside { key, rest });
        self.heap += aside.bytes();
        self.asides
            .insert_unique(index_hash(key), aside, |aside| index_hash(aside.key));
    }
}

impl Aside {
    /// With its place in the table.
    fn bytes(&self) -> usize {
        let rest = match &self.rest {
            Rest::Past { others, forgiven } => slots_bytes(others, forgiven),
            Rest::Siblings(cell) => {
                size_of::<Cell>() + cell.versions().iter().map(version_bytes).sum::<usize>()
            }
        };
        size_of::<Self>() + rest
    }
}

/// All slots of a version, by term ascending.
fn with_own(others: &Slots, own: Slot) -> Slots {
    let mut slots = others.clone();
    slots.insert(slots.partition_point(|slot| slot.term < own.term), own);
    slots
}

fn version_bytes(version: &Version) -> usize {
    size_of::<Version>()
        + slots_bytes(version.slots(), version.forgiven())
        + version.count().heap_bytes()
}

/// The first slot is kept in place.
fn slots_bytes(slots: &[Slot], forgiven: &[Slot]) -> usize {
    let spilled = if 1 < slots.len() { slots.len() } else { 0 };
    (spilled + forgiven.len()) * size_of::<Slot>()
}
