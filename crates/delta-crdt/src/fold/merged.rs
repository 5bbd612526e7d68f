//! What the versions of a fork know together.

use smallvec::SmallVec;

use crate::term::Term;
use crate::version::{Slot, Slots, Version, find};

/// Of each term the newest slot.
fn newest<'s>(slots: impl Iterator<Item = &'s Slot>) -> Slots {
    let mut newest: Slots = SmallVec::new();
    for slot in slots {
        match newest.binary_search_by_key(&slot.term, |known| known.term) {
            Ok(place) if newest[place].seq < slot.seq => newest[place] = *slot,
            Ok(_) => {}
            Err(place) => newest.insert(place, *slot),
        }
    }
    newest
}

/// What all versions of a fork know together.
pub(super) struct Merged {
    pub(super) slots: Slots,
    pub(super) forgiven: Vec<Slot>,
    /// Whether there was a reset that not every version knows of.
    has_fresh_reset: bool,
}

impl Merged {
    pub(super) fn of(versions: &[Version]) -> Self {
        let slots = newest(versions.iter().flat_map(Version::slots));
        let forgiven = newest(versions.iter().flat_map(Version::forgiven)).into_vec();
        let has_fresh_reset = versions
            .iter()
            .any(|version| version.forgiven() != forgiven);
        Self {
            slots,
            forgiven,
            has_fresh_reset,
        }
    }

    /// Units that only others than `version` added, less what they gave back or forgave.
    pub(super) fn missing_from(&self, version: &Version) -> i64 {
        self.slots.iter().fold(0_i64, |sum, slot| {
            let all = self.net(&self.slots, &self.forgiven, slot.term);
            let known = version.slot(slot.term);
            let known = known.filter(|known| known.added.began_with(slot.added));
            let known = known.map_or(0, |_| {
                self.net(version.slots(), version.forgiven(), slot.term)
            });
            let mut missing = all.saturating_sub(known);
            if version.may_have_dropped(slot.term) {
                missing = missing.max(0);
            }
            sum.saturating_add(missing)
        })
    }

    /// Units that only others than `version` added. `None` if one of them gave any back: then its last units may be more.
    pub(super) fn added_beyond(&self, version: &Version) -> Option<i64> {
        self.slots.iter().try_fold(0_i64, |sum, slot| {
            let known = version.slot(slot.term);
            if known.is_some_and(|known| known.seq == slot.seq) {
                return Some(sum);
            }
            let known = known.filter(|known| known.added.began_with(slot.added));
            let known = known.map_or(0, |known| known.added.units());
            let units = slot.added.units().saturating_sub(known).max(0);
            (!slot.added.gave_back()).then(|| sum.saturating_add(units))
        })
    }

    /// What `term` added and nobody forgave.
    ///
    /// If one side reset the cell, a term that gave back more than it took counts for nothing: what it gave back may
    /// be what the other side forgave.
    fn net(&self, slots: &[Slot], forgiven: &[Slot], term: Term) -> i64 {
        let Some(slot) = find(slots, term) else {
            return 0;
        };
        let forgiven = find(forgiven, term).filter(|it| it.added.began_with(slot.added));
        let forgiven = forgiven.map_or(0, |forgiven| forgiven.added.units());
        let net = slot.added.units().saturating_sub(forgiven);
        if self.has_fresh_reset {
            net.max(0)
        } else {
            net
        }
    }
}
