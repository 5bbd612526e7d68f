//! One version of a cell: a count, and the writes that it knows of.

use crdts::VClock;
use quota::{Count, Stamp, UnixNanos};
use smallvec::SmallVec;

use crate::term::{Dot, SEQ_END, Term};

/// What one writer wrote into a cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot {
    /// Names the writer: the term under which it began to count the key, although it may have had others since.
    pub term: Term,
    /// Its last write to this cell. From 1, below [`SEQ_END`].
    pub seq: u64,
    /// What it added in all: since the key was last full, or with many writers since it was last forgotten.
    pub added: Added,
}

/// Units that a writer added to a cell, less what it gave back; negative if that is more.
///
/// And since when: a writer whose key was full again starts over in the same slot, and then what another version knows
/// of the slot is no part of these units. The low 48 bits are twice the units, and one more if any were
/// [given back](Self::gave_back). The upper 16, if those are negative inverted, are the lower 16 of the number of the
/// write with which the units begin; zero where nobody needs to know, for counts that do not drain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Added(i64);

/// Above the units.
const SINCE_SHIFT: u32 = 48;

impl Added {
    /// So many units by one write: given back, if negative.
    #[must_use]
    pub fn new(units: i64) -> Self {
        Self(0).plus(units)
    }

    /// So many units by write number `seq`, the first since the key was full.
    pub(crate) fn first(units: i64, seq: u64) -> Self {
        // One write in 65 536 has a number that would say nothing.
        let since = i64::from((seq as u16).max(1));
        Self(Self::new(units).0 ^ since << SINCE_SHIFT)
    }

    /// What [`Self::bits`] gave, or the nearest to it that [`Self::bits`] can give.
    #[must_use]
    pub fn from_bits(bits: i64) -> Self {
        Self(bits | i64::from(Self(bits).units() < 0))
    }

    /// All of it, as described above.
    #[must_use]
    pub const fn bits(self) -> i64 {
        self.0
    }

    /// The units. Less than 2^46, either way.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0 << (64 - SINCE_SHIFT) >> (65 - SINCE_SHIFT)
    }

    /// Whether the units of both begin with the same write.
    pub(crate) const fn began_with(self, other: Self) -> bool {
        self.since() == other.since()
    }

    const fn since(self) -> i64 {
        let sign = self.0 << (64 - SINCE_SHIFT) >> 63;
        (self.0 ^ sign) >> SINCE_SHIFT
    }

    /// Whether any units were given back: then the last that were added may be more than [`Self::units`].
    #[must_use]
    pub const fn gave_back(self) -> bool {
        self.0 & 1 == 1
    }

    #[inline]
    pub(crate) fn plus(self, units: i64) -> Self {
        let most = i64::MAX >> (65 - SINCE_SHIFT);
        let sum = self.units().saturating_add(units).clamp(-most, most);
        let sum = sum << 1 | i64::from(self.gave_back() || units < 0);
        Self(sum ^ self.since() << SINCE_SHIFT)
    }
}

const _: () = assert!(size_of::<Slot>() == 24);

/// Nearly every cell was written by one node only since it was last full.
pub(crate) type Slots = SmallVec<[Slot; 1]>;

/// Most slots of a version: one for each node that has written the key since it was last full.
///
/// One more for each time that one of them started again, or dropped its copy, and wrote once more: 256 of these take
/// 6 KiB a key. Beyond, the oldest slot is dropped: this version then no longer says that it includes what that writer
/// added. A copy that is older than all 256, should one turn up, is then counted again, never left out. (Of sixteen, the
/// bound when each change of the owner took a slot, a link that lost every third packet for half a minute used up more.)
pub(crate) const SLOTS_MAX: usize = 256;

/// A count together with its causal context.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    count: Count,
    /// By term ascending, never empty.
    slots: Slots,
    /// What was in the slots at the last reset, by term ascending; usually empty.
    forgiven: Vec<Slot>,
}

impl Version {
    /// The version with these parts, as read from a peer. Slots may come in any order.
    ///
    /// `slots` say what each term wrote; `forgiven` what they said when the cell was last reset, none if it was not.
    /// `None` when there are no slots, two of one term, or a sequence of 0 or from [`SEQ_END`].
    #[must_use]
    pub fn new(
        count: Count,
        slots: impl IntoIterator<Item = Slot>,
        forgiven: impl IntoIterator<Item = Slot>,
    ) -> Option<Self> {
        let mut slots: Slots = slots.into_iter().collect();
        let mut forgiven: Vec<Slot> = forgiven.into_iter().collect();
        let sorted = sort_by_term(&mut slots) && sort_by_term(&mut forgiven);
        (sorted && !slots.is_empty()).then_some(Self {
            count,
            slots,
            forgiven,
        })
    }

    /// A version of parts that are known to be in order.
    pub(crate) fn of(count: Count, slots: Slots, forgiven: Vec<Slot>) -> Self {
        debug_assert!(!slots.is_empty() && slots.is_sorted_by_key(|slot| slot.term));
        Self {
            count,
            slots,
            forgiven,
        }
    }

    /// What is counted.
    #[must_use]
    pub const fn count(&self) -> &Count {
        &self.count
    }

    /// What each term wrote, by term ascending. Never empty.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What the slots were when the cell was last reset, by term ascending. Empty if it was not.
    ///
    /// What a reset forgives is told apart from what others added meanwhile by this, and two sides that reset the
    /// same past forgive it once.
    #[must_use]
    pub fn forgiven(&self) -> &[Slot] {
        &self.forgiven
    }

    /// The writes that this version knows of: for each term, up to and including the newest.
    #[must_use]
    pub fn context(&self) -> VClock<Term> {
        let dots = self.slots.iter().map(|slot| (slot.term, slot.seq));
        dots.map(Dot::from).collect()
    }

    pub(crate) fn into_parts(self) -> (Count, Slots, Vec<Slot>) {
        (self.count, self.slots, self.forgiven)
    }

    pub(crate) fn is_live(&self, now: UnixNanos) -> bool {
        now < self.count.expires_at()
    }

    pub(crate) fn slot(&self, term: Term) -> Option<&Slot> {
        find(&self.slots, term)
    }

    /// Whether this version knows of every write that `other` knows of: as contexts, that it is not less.
    ///
    /// Slots that were dropped here are taken for known if the newest that `other` has is: who knows a write knows
    /// what its writer knew.
    pub(crate) fn dominates(&self, other: &Self) -> bool {
        let has =
            |theirs: &Slot| matches!(self.slot(theirs.term), Some(ours) if theirs.seq <= ours.seq);
        let newest = other.slots.last().expect("never empty");
        let is_known = |theirs| has(theirs) || self.may_have_dropped(theirs.term);
        has(newest) && other.slots.iter().all(is_known)
    }

    /// Whether both drain, in the same way, and know of the same reset or none.
    pub(crate) fn drains_like(&self, other: &Self) -> bool {
        self.forgiven == other.forgiven && self.count.cmp_drained(&other.count).is_some()
    }

    /// Whether this version knows of the write with this stamp.
    pub(crate) fn knows(&self, stamp: Stamp) -> bool {
        self.slot(Term::from_u64(stamp.term))
            .is_some_and(|slot| stamp.seq <= slot.seq)
    }

    /// Whether a slot of `term` may have been dropped: [`SLOTS_MAX`].
    ///
    /// One of the same number as the oldest that was kept was not before it, but beside it: as with many writers always.
    pub(crate) fn may_have_dropped(&self, term: Term) -> bool {
        SLOTS_MAX <= self.slots.len() && term.number < self.slots[0].term.number
    }
}

/// The slot of `term` among slots sorted by term.
pub(crate) fn find(slots: &[Slot], term: Term) -> Option<&Slot> {
    match slots {
        [] => None,
        [slot] => (slot.term == term).then_some(slot),
        _ => {
            let place = slots.binary_search_by_key(&term, |slot| slot.term).ok()?;
            Some(&slots[place])
        }
    }
}

/// Sorts by term; whether they are slots of different terms, each within its range.
fn sort_by_term(slots: &mut [Slot]) -> bool {
    slots.sort_unstable_by_key(|slot| slot.term);
    let distinct = slots.windows(2).all(|pair| pair[0].term != pair[1].term);
    distinct && slots.iter().all(|slot| (1..SEQ_END).contains(&slot.seq))
}
