//! The map.

use quota::{Cost, Count, Decision, KeyHash, Limit, Nanos, Taken, UnixNanos};
use smallvec::SmallVec;

use crate::cell::Cell;
use crate::digest::{Digest, slot_hash};
use crate::expiry::Sweep;
use crate::fold::{Folded, Writers, fold, whole_context};
use crate::kept::Kept;
use crate::store::{KEY_BYTES, Store};
use crate::term::{Dot, Term, stamp};
use crate::version::{Added, SLOTS_MAX, Slot, Slots, Version};

/// What one replica knows about the keys of one shard: a delta-CRDT map of key to [`Cell`].
///
/// Reads take `now` and change nothing. Writes carry a [`Dot`], which only a write that changed something uses up. What
/// a write changed is sent by [`get`](Self::get), at once or later: a cell holds everything that earlier deltas of
/// its key said, so deltas may be lost, repeated and reordered, and a whole map is a delta.
///
/// Whoever calls must see to it that a dot is used once, that the counters of a replica go on from one of its terms to the
/// next, and that the sides of a fork write under terms of their own. A replica that comes to write again under a higher
/// term goes on in the slot that it has in a cell, as long as it holds the map that it wrote: so a cell has a slot for each
/// node, and not for each change of the owner.
///
/// A key that is full again is the same as one that is not there; [`expire`](Self::expire) removes it. So what a side
/// of a fork counted is forgotten where that side's cell is removed before it meets the others'.
#[derive(Default)]
#[repr(C)] // What every hit looks at stands together, in two lines of a cache, and one more of the digest.
pub struct Cells {
    pub(crate) sweep: Sweep,
    /// Contexts outlive counts by this: [`Cells::of_many_writers`]. `None`: they end together.
    pub(crate) linger: Option<Nanos>,
    /// `None`: nothing was written here.
    writer: Option<Writer>,
    pub(crate) store: Store,
    /// No hit was admitted later than this by a clock that is right: [`Cells::bound_stamps`].
    pub(crate) latest: Option<UnixNanos>,
    pub(crate) digest: Digest,
    /// What has changed of the keys that are to outlive all nodes. `None`: this node keeps nothing.
    pub(crate) kept: Option<Box<Kept>>,
    #[cfg(feature = "faults")]
    fault: Option<Fault>,
}

/// Who writes into this map.
#[derive(Clone, Copy)]
struct Writer {
    /// The first of its terms in this map. What it wrote under an earlier one it may not have any more.
    first: Term,
    /// The newest.
    term: Term,
    /// The counter of its last write under an earlier term.
    before: u64,
}

impl Writer {
    /// Whether a slot of `term` is its own, to go on with.
    #[inline]
    fn is_own(&self, term: Term) -> bool {
        term.replica == self.term.replica && self.first <= term
    }

    /// Whether it wrote `slot` under its newest term.
    #[inline]
    fn wrote_now(&self, slot: &Slot) -> bool {
        self.before < slot.seq && self.is_own(slot.term)
    }

    /// The slot of a cell in which it writes: its own, or a new one.
    fn name_among(&self, slots: &[Slot], dot: Dot) -> Dot {
        let own = |slot: &&Slot| self.is_own(slot.term) && slot.seq < dot.counter;
        let own = slots.iter().rev().find(own);
        Dot::new(own.map_or(dot.actor, |slot| slot.term), dot.counter)
    }
}

/// What a write came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Written {
    /// The answer.
    pub decision: Decision,
    /// Whether the cell changed, which used up the dot, and has to be sent to the replicas.
    pub changed: bool,
}

/// What a join came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Joined {
    /// Whether the cell changed: it said something new.
    pub changed: bool,
    /// Whether the cell is now one of several sides, each with writes that the others lack.
    pub forked: bool,
}

/// A mistake to make on purpose, for showing that tests notice it.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// What was counted before a fork is counted again for each side.
    FoldCountsPastTwice,
}

impl Cells {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No keys, for replicas that all write at once, as a rule and not because they were parted.
    ///
    /// Then a key is nearly always full again for one replica a moment before or after it is for another. So that what
    /// one knows of the other's writes is not taken for new because of that, contexts outlive counts: a cell is kept
    /// for `linger` after it is full again, which should be longer than a delta takes, and [`Slot::added`] goes on
    /// from one fill to the next. A delta later than that may count what has long come back as added now, up to
    /// one burst, and never too little.
    #[must_use]
    pub fn of_many_writers(linger: Nanos) -> Self {
        Self {
            linger: Some(linger),
            ..Self::default()
        }
    }

    /// No keys, and a mistake to make with those to come.
    #[doc(hidden)]
    #[must_use]
    #[cfg(feature = "faults")]
    pub fn with_fault(fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }

    #[cfg(feature = "faults")]
    fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// None: what serves has no mistake that could be made.
    #[cfg(not(feature = "faults"))]
    const fn fault(&self) -> Option<Fault> {
        None
    }

    /// How many keys are held, those among them that have expired and were not removed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether no keys are held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.len() == 0
    }

    /// Bytes on the heap, give or take what the allocator adds. Costs nothing.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Bytes that the keys take, without the room that is kept for more: what [`evict`](Self::evict) brings down at once.
    /// Costs nothing.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.store.held_bytes()
    }

    /// How many keys [`evict`](Self::evict) may let go. Costs nothing.
    #[must_use]
    pub fn evictable(&self) -> usize {
        self.len() - self.store.spared()
    }

    /// The part of [`held_bytes`](Self::held_bytes) that those take; of the others what is beyond [`KEY_BYTES`](crate::KEY_BYTES) each
    /// is counted, too. Costs nothing.
    #[must_use]
    pub fn evictable_bytes(&self) -> usize {
        self.held_bytes() - self.store.spared() * KEY_BYTES
    }

    /// What is held, in short. Costs nothing, and differs with cells that have expired: see [`expire`](Self::expire).
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest.clone()
    }

    /// Whether anything is held of `key`, be it expired.
    #[must_use]
    pub fn contains(&self, key: KeyHash) -> bool {
        self.store.place_of(key).is_some()
    }

    /// The cell of `key`, to be sent as a delta.
    #[must_use]
    pub fn get(&self, key: KeyHash) -> Option<Cell> {
        let place = self.store.place_of(key)?;
        Some(self.store.cell(place))
    }

    /// The keys that are held, in any order.
    pub fn keys(&self) -> impl Iterator<Item = KeyHash> {
        self.store.entries().map(|entry| entry.key)
    }

    /// All cells, in any order.
    pub fn iter(&self) -> impl Iterator<Item = (KeyHash, Cell)> {
        let entries = self.store.entries().enumerate();
        entries.map(|(place, entry)| (entry.key, self.store.cell(place)))
    }

    /// The cells of one bucket of the [`Digest`], in any order. Looks at every key.
    pub fn bucket(&self, bucket: u8) -> impl Iterator<Item = (KeyHash, Cell)> {
        let entries = self.store.entries().enumerate();
        let inside = entries.filter(move |(_, entry)| Digest::bucket_of(entry.key) == bucket);
        inside.map(|(place, entry)| (entry.key, self.store.cell(place)))
    }

    /// Where `key` stands. The verdict says whether a hit of one unit would pass.
    #[must_use]
    pub fn peek(&self, now: UnixNanos, key: KeyHash, limit: &Limit) -> Decision {
        let Some(place) = self.store.place_of(key) else {
            return limit.peek(now, None);
        };
        if let Some(count) = &self.store.entry(place).count {
            return limit.peek(now, Some(count));
        }
        let folded = self.folded(self.store.cell(place), now, limit);
        limit.peek(now, folded.map(|folded| folded.count).as_ref())
    }

    /// Units counted for `key`, a started one counted whole. More than the burst: sides of a fork overshot it.
    #[must_use]
    pub fn used(&self, now: UnixNanos, key: KeyHash, limit: &Limit) -> u64 {
        let Some(place) = self.store.place_of(key) else {
            return 0;
        };
        if let Some(count) = &self.store.entry(place).count {
            return count.used(limit, now);
        }
        let folded = self.folded(self.store.cell(place), now, limit);
        folded.map_or(0, |folded| folded.count.used(limit, now))
    }

    /// Decides one hit, and counts it if it passes.
    #[inline]
    pub fn hit(
        &mut self,
        now: UnixNanos,
        key: KeyHash,
        limit: &Limit,
        cost: Cost,
        dot: Dot,
    ) -> Written {
        let writer = self.writer(dot);
        match self.store.place_of(key) {
            None => self.hit_afresh(now, key, None, limit, cost, dot),
            Some(place) if self.is_last_written_by(&writer, place) => {
                self.hit_again(now, place, limit, cost, dot)
            }
            Some(_) => self.write(now, key, limit, dot, |count, dot| {
                limit.hit(now, count, cost, stamp(dot))
            }),
        }
    }

    /// Gives back up to `cost` units, the newest first. The verdict is that of a [`peek`](Self::peek) after it.
    pub fn refund(
        &mut self,
        now: UnixNanos,
        key: KeyHash,
        limit: &Limit,
        cost: Cost,
        dot: Dot,
    ) -> Written {
        self.write(now, key, limit, dot, |count, _| {
            limit.refund(now, count, cost)
        })
    }

    /// Makes `key` full. The verdict is that of a [`peek`](Self::peek) after it, for which alone `limit` is needed.
    ///
    /// Forgives everything known here, on whichever side it was added, and leaves a tombstone until that would have
    /// expired. What another side of a fork added unknown to this one is not forgiven.
    pub fn reset(&mut self, now: UnixNanos, key: KeyHash, limit: &Limit, dot: Dot) -> Written {
        let decision = limit.peek(now, None);
        let known = self.get(key);
        // What was refunded whole has a tombstone too, but the refund may be half of a pair that a fork makes.
        let is_forgiven = |v: &Version| v.forgiven() == v.slots();
        let known = known.filter(|cell| !cell.versions().iter().all(is_forgiven));
        let known = known.and_then(|cell| self.known_of(cell, now, limit));
        let Some((mut slots, until)) = known else {
            return Written {
                decision,
                changed: false,
            };
        };
        let dot = self.writer(dot).name_among(&slots, dot);
        record(&mut slots, dot, Added::new(0));
        let forgiven = slots.to_vec();
        let version = Version::of(Count::Reset { until }, slots, forgiven);
        self.put_as(key, version.into(), Some(dot.actor));
        Written {
            decision,
            changed: true,
        }
    }

    /// Takes in a delta: what some replica, at some time, knew about `key`.
    ///
    /// Commutes, associates, and twice is once, as long as nothing expires. A cell that has expired adds no key.
    pub fn join(&mut self, now: UnixNanos, key: KeyHash, cell: Cell) -> Joined {
        let Some(place) = self.store.place_of(key) else {
            let changed = now < cell.expires_at();
            let mut cell = cell;
            self.prune_cell(&mut cell, now);
            let forked = changed && 1 < cell.versions().len();
            if changed {
                self.put(key, cell);
            }
            return Joined { changed, forked };
        };
        let known = self.store.entry(place);
        if let ([version], true) = (cell.versions(), known.is_whole())
            && let [slot] = version.slots()
            && version.forgiven().is_empty()
            && slot.term == known.slot().term
            && slot.seq != known.slot().seq
        {
            return self.join_newer(key, place, cell);
        }
        let known = self.store.cell(place);
        let mut joined = known.clone();
        joined.join(cell);
        self.prune_cell(&mut joined, now);
        let forked = 1 < joined.versions().len();
        let changed = joined != known;
        if changed {
            self.put(key, joined);
        }
        Joined { changed, forked }
    }

    /// Both sides are whole and of one term, as nearly always on a replica: the later write has the earlier.
    fn join_newer(&mut self, key: KeyHash, place: usize, cell: Cell) -> Joined {
        let known = self.store.entry(place).slot();
        let is_kept = cell.is_kept();
        let version = cell.into_only().expect("one version");
        let (count, slots, _) = version.into_parts();
        let changed = known.seq < slots[0].seq;
        if changed {
            let entry = self.store.entry_mut(place);
            let is_news = entry.is_kept() || is_kept;
            entry.set_kept(is_kept);
            self.sweep.note(count.expires_at());
            self.digest.subtract(key, slot_hash(key, &known));
            self.digest.add(key, slot_hash(key, &slots[0]));
            self.store.replace(place, count, slots[0]);
            if is_news {
                self.list_kept(place);
            }
        }
        Joined {
            changed,
            forked: false,
        }
    }

    /// Whether the last to write what stands at `place` was `writer`, under its newest term.
    #[inline]
    fn is_last_written_by(&self, writer: &Writer, place: usize) -> bool {
        let entry = self.store.entry(place);
        entry.count.is_some() && writer.wrote_now(&entry.slot())
    }

    /// A hit for a key that was last written under the same term: the usual path.
    #[inline]
    fn hit_again(
        &mut self,
        now: UnixNanos,
        place: usize,
        limit: &Limit,
        cost: Cost,
        dot: Dot,
    ) -> Written {
        let starts_over = self.linger.is_none();
        let entry = self.store.entry_mut(place);
        let key = entry.key;
        let is_full = |count: &Count| count.expires_at() <= now;
        if starts_over && entry.count.as_ref().is_none_or(is_full) {
            return self.hit_afresh(now, key, Some(place), limit, cost, dot);
        }
        let known = entry.slot();
        let log_bytes = entry.log_bytes();
        let written = stamp(Dot::new(known.term, dot.counter));
        let taken = limit.hit(now, &mut entry.count, cost, written);
        let changed = taken.added != 0;
        if changed {
            entry.advance(dot.counter, taken.added);
            let is_kept = entry.note_limit(limit);
            let written = entry.slot();
            if let Some(count) = &entry.count {
                self.sweep.note(count.expires_at());
            }
            let log_bytes_now = entry.log_bytes();
            self.store.note_heap(log_bytes, log_bytes_now);
            self.digest.subtract(key, slot_hash(key, &known));
            self.digest.add(key, slot_hash(key, &written));
            if is_kept {
                self.list_kept(place);
            }
        }
        Written {
            decision: taken.decision,
            changed,
        }
    }

    /// A hit for a key that is new, or full again in the one version that stands at `place`.
    fn hit_afresh(
        &mut self,
        now: UnixNanos,
        key: KeyHash,
        place: Option<usize>,
        limit: &Limit,
        cost: Cost,
        dot: Dot,
    ) -> Written {
        let mut count = None;
        let Taken { decision, added } = limit.hit(now, &mut count, cost, stamp(dot));
        let Some(count) = count else {
            return Written {
                decision,
                changed: false,
            };
        };
        let slot = Slot {
            term: dot.actor,
            seq: dot.counter,
            added: began(&count, dot, added),
        };
        self.sweep.note(count.expires_at());
        self.digest.add(key, slot_hash(key, &slot));
        let place = match place {
            None => self.store.insert(key, count, slot),
            Some(place) => {
                self.digest.subtract(key, self.store.hash(place));
                self.store.forget_aside(place);
                self.store.replace(place, count, slot);
                place
            }
        };
        self.note_limit(place, limit);
        Written {
            decision,
            changed: true,
        }
    }

    /// Any write of any cell: its versions are folded, `operation` applied, and one version put in their place.
    ///
    /// A key with nothing live starts over: its only slot is the writer's, so that what a slot says was added is what
    /// was added since the key was last full. With [many writers](Self::of_many_writers) the context stays.
    fn write(
        &mut self,
        now: UnixNanos,
        key: KeyHash,
        limit: &Limit,
        dot: Dot,
        operation: impl FnOnce(&mut Option<Count>, Dot) -> Taken,
    ) -> Written {
        let known = self.get(key);
        let context = known.as_ref().filter(|_| self.linger.is_some());
        let context = context.map(whole_context);
        let (mut count, mut slots, mut forgiven) =
            match known.and_then(|cell| self.folded(cell, now, limit)) {
                Some(Folded {
                    count,
                    slots,
                    forgiven,
                }) => (Some(count), slots, forgiven),
                None => (None, SmallVec::new(), Vec::new()),
            };
        if let Some(context) = context {
            (slots, forgiven) = context;
        }
        // What this term has written carries its own clock, which goes on after the bound.
        let writer = self.writer(dot);
        let dot = writer.name_among(&slots, dot);
        if !slots.iter().any(|slot| writer.wrote_now(slot)) {
            let sides = slots.len() as u32;
            count = count.map(|count| self.bounded(count, now, limit, sides));
        }
        let before = count.clone();
        let Taken { decision, added } = operation(&mut count, dot);
        let Some(count) = count.filter(|count| before.as_ref() != Some(count)) else {
            return Written {
                decision,
                changed: false,
            };
        };
        record(&mut slots, dot, began(&count, dot, added));
        forgiven.retain(|old| slots[0].term <= old.term);
        let version = Version::of(count, slots, forgiven);
        let place = self.put_as(key, version.into(), Some(dot.actor));
        self.note_limit(place, limit);
        Written {
            decision,
            changed: true,
        }
    }

    /// What a reset of `cell` forgives, and until when a copy of it could come back. `None`: nothing.
    fn known_of(&self, cell: Cell, now: UnixNanos, limit: &Limit) -> Option<(Slots, UnixNanos)> {
        let context = self.linger.map(|_| whole_context(&cell).0);
        let until = cell.expires_at();
        let folded = self.folded(cell, now, limit)?;
        let until = until.max(folded.count.expires_at());
        Some((context.unwrap_or(folded.slots), until))
    }

    /// What the versions of `cell` come to.
    pub(crate) fn folded(&self, cell: Cell, now: UnixNanos, limit: &Limit) -> Option<Folded> {
        let writers = match self.linger {
            Some(_) => Writers::Many,
            None => Writers::Owners,
        };
        fold(cell, limit, now, writers, self.fault())
    }

    /// Who writes `dot`.
    #[inline]
    fn writer(&mut self, dot: Dot) -> Writer {
        let term = dot.actor;
        match self.writer {
            Some(writer) if writer.term == term => writer,
            known => {
                let first = known.filter(|writer| writer.is_own(term));
                *self.writer.insert(Writer {
                    first: first.map_or(term, |writer| writer.first),
                    term,
                    before: dot.counter - 1,
                })
            }
        }
    }

    /// Leaves out the versions of `cell` that say nothing any more. With many writers each says what it knows of.
    pub(crate) fn prune_cell(&self, cell: &mut Cell, now: UnixNanos) {
        if self.linger.is_none() {
            cell.prune(now);
        }
    }

    pub(crate) fn put(&mut self, key: KeyHash, cell: Cell) -> usize {
        self.put_as(key, cell, None)
    }

    /// `writer`: the term under which this node has just written the cell.
    fn put_as(&mut self, key: KeyHash, cell: Cell, writer: Option<Term>) -> usize {
        if let Some(place) = self.store.place_of(key) {
            self.digest.subtract(key, self.store.hash(place));
        }
        // A fork may live longer, which takes longer to tell: the sweep looks.
        let ends = cell.versions().iter().map(|v| v.count().expires_at());
        self.sweep.note(ends.max().unwrap_or_default());
        self.digest.add(key, crate::digest::cell_hash(key, &cell));
        let place = self.store.put(key, cell, writer);
        if self.store.entry(place).is_kept() {
            self.list_kept(place);
        }
        place
    }

    #[inline]
    fn note_limit(&mut self, place: usize, limit: &Limit) {
        if self.store.entry_mut(place).note_limit(limit) {
            self.list_kept(place);
        }
    }
}

/// What a write added, should it be the first of its slot.
fn began(count: &Count, dot: Dot, added: i64) -> Added {
    match count {
        Count::Gcra(_) | Count::LeakyBucket(_) => Added::first(added, dot.counter),
        // Whoever starts over does so with a window or entries that others can tell from the old.
        _ => Added::new(added),
    }
}

/// Enters a write into the slots; beyond [`SLOTS_MAX`] the oldest of another writer goes.
fn record(slots: &mut Slots, dot: Dot, added: Added) {
    match slots.binary_search_by_key(&dot.actor, |slot| slot.term) {
        Ok(place) => {
            let slot = &mut slots[place];
            slot.seq = dot.counter;
            slot.added = slot.added.plus(added.units());
        }
        Err(place) => slots.insert(
            place,
            Slot {
                term: dot.actor,
                seq: dot.counter,
                added,
            },
        ),
    }
    if SLOTS_MAX < slots.len() {
        let oldest = usize::from(slots[0].term == dot.actor);
        slots.remove(oldest);
    }
}

impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
