//! Which hits nobody knows any more, since whoever had counted them found the key full again.
//!
//! Whoever decides a key that is full again starts over, or has removed what it held. Where another side was busy
//! meanwhile, the key would not have been full with what both had counted; but what the one had is not known to anybody when
//! they meet, and left out: decision 0006. Such hits are made out one by one, so that all others have to be there.

use std::collections::{BTreeMap, BTreeSet};

use delta_crdt::{Cell, Cells, Slot, Term, Version};
use quota::{KeyHasher, UnixNanos};

use crate::oracle::RequestId;

/// One count of one hit: of which key, under which slot, and the how many-th write.
type Place = (usize, Term, u64);

/// What hosts hold of the keys that drain, and which of it they let go of since it had drained.
#[derive(Debug, Default)]
pub(super) struct Drained {
    /// By host and key.
    held: BTreeMap<(usize, usize), Cell>,
    /// Where each hit was counted: by several owners, if it was asked again across a split.
    counted: BTreeMap<RequestId, Vec<Place>>,
    /// How many units by each.
    units: BTreeMap<Place, i64>,
    let_go: BTreeSet<Place>,
}

impl Drained {
    /// A hit of so many units is counted in this slot.
    pub(super) fn on_counted(&mut self, request: RequestId, key: usize, slot: Slot, units: i64) {
        let place = (key, slot.term, slot.seq);
        self.counted.entry(request).or_default().push(place);
        self.units.insert(place, units);
    }

    /// What `host` holds of `key` by now. `may_let_go`: its owner has all that it held, or it is the owner.
    ///
    /// Who lets go of what its owner may lack, or of what has not drained by its own clock, is not excused, but where it learns
    /// of a side that began after that: a third one may have been busy in between, and cannot tell.
    pub(super) fn on_held(
        &mut self,
        host: usize,
        key: usize,
        now: UnixNanos,
        cell: Option<Cell>,
        may_let_go: bool,
    ) {
        if self.held.get(&(host, key)) == cell.as_ref() {
            return;
        }
        let versions = cell.iter().flat_map(Cell::versions);
        let after: Vec<Slot> = versions
            .flat_map(|version| version.slots())
            .copied()
            .collect();
        let before = match cell {
            Some(cell) => self.held.insert((host, key), cell),
            None => self.held.remove(&(host, key)),
        };
        let Some(before) = before else { return };
        let now_held = self.held.get(&(host, key));
        let may_go = |version: &Version| {
            may_let_go || now_held.is_some_and(|held| says_nothing_beside(version, held, now))
        };
        let is_kept = |slot: &Slot| after.iter().any(|it| includes(it, slot));
        let mut slots = before.versions().iter().flat_map(|version| version.slots());
        let starts_over = !slots.any(is_kept);
        let (drained, live): (Vec<_>, Vec<_>) = before.versions().iter().partition(|version| {
            let ends = match starts_over && may_let_go {
                true => before.expires_at(),
                false => version.count().expires_at(),
            };
            ends <= now && may_go(version)
        });
        for slot in drained.iter().flat_map(|version| version.slots()) {
            let mut live = live.iter().flat_map(|version| version.slots());
            if !is_kept(slot) && !live.any(|it| includes(it, slot)) {
                let writes = began(slot)..=slot.seq;
                self.let_go.extend(writes.map(|seq| (key, slot.term, seq)));
            }
        }
    }

    /// Whether a hit was let go of wherever it was counted, and `cell` says nothing of it.
    pub(super) fn is_unknown(&self, request: RequestId, cell: Option<&Cell>) -> bool {
        let newest = |term: Term| {
            let versions = cell.into_iter().flat_map(Cell::versions);
            let slots = versions.flat_map(|version| version.slots());
            let slots = slots.filter(move |slot| slot.term == term);
            slots.max_by_key(|slot| slot.seq)
        };
        // Whoever let go of its last writes, and was then given its earlier ones, goes on from these.
        let is_said = |&(key, term, seq): &Place| {
            newest(term).is_some_and(|slot| {
                let writes = began(slot)..=slot.seq;
                let all = self
                    .units
                    .range((key, term, *writes.start())..=(key, term, slot.seq));
                let all: i64 = all.map(|(_, units)| units).sum();
                writes.contains(&seq) && all == slot.added.units()
            })
        };
        let is_unknown = |place: &Place| self.let_go.contains(place) && !is_said(place);
        let places = self.counted.get(&request);
        places.is_some_and(|places| places.iter().all(is_unknown))
    }
}

/// The write with which the units of `slot` begin: of so few as a run has, its number is told in full.
fn began(slot: &Slot) -> u64 {
    (slot.added.bits() >> 48) as u64
}

/// Whether `version` had drained before what `held` says began, and is of others who counted.
fn says_nothing_beside(version: &Version, held: &Cell, now: UnixNanos) -> bool {
    let mut slots = held.versions().iter().flat_map(Version::slots);
    if slots.any(|slot| version.slots().iter().any(|it| it.term == slot.term)) {
        return false;
    }
    let key = KeyHasher::new([0; 16]).hash("", "", "");
    let mut cells = Cells::new();
    let _joined = cells.join(now, key, held.clone());
    !cells.join(now, key, version.clone().into()).changed
}

/// Whether whoever says `slot` knows what `other` says.
fn includes(slot: &Slot, other: &Slot) -> bool {
    slot.term == other.term && began(slot) == began(other) && other.seq <= slot.seq
}

#[cfg(test)]
mod tests {
    use delta_crdt::{Dot, ReplicaId};
    use quota::{Algorithm, Cost, KeyHash, Limit, Nanos};

    use super::*;

    const T0: UnixNanos = UnixNanos::new(1_700_000_000_000_000_000);

    /// A unit comes back in 10 s.
    fn limit() -> Limit {
        let limit = Limit::new(Algorithm::Gcra, 60, Nanos::from_secs(600));
        limit.expect("within bounds")
    }

    fn key() -> KeyHash {
        KeyHasher::new([7; 16]).hash("", "rough", "44")
    }

    /// Host 0, which has counted hit 7 at once.
    struct Side {
        cells: Cells,
        drained: Drained,
        may_let_go: bool,
    }

    impl Side {
        fn new(may_let_go: bool) -> Self {
            let mut side = Self {
                cells: Cells::new(),
                drained: Drained::default(),
                may_let_go,
            };
            side.counts(7, 0);
            side
        }

        fn counts(&mut self, request: RequestId, seconds: u64) {
            let dot = Dot {
                actor: Term {
                    number: 1,
                    replica: ReplicaId(1),
                },
                counter: request,
            };
            let at = T0 + Nanos::from_secs(seconds);
            let written = self.cells.hit(at, key(), &limit(), Cost::ONE, dot);
            assert!(written.changed);
            let cell = self.cells.get(key()).expect("counted");
            let slot = cell.versions()[0].slots()[0];
            self.drained.on_counted(request, 44, slot, 1);
            self.drained.on_held(0, 44, at, Some(cell), self.may_let_go);
        }

        fn unknown(&self) -> Vec<RequestId> {
            let cell = self.cells.get(key());
            let hits = [7, 8].into_iter();
            hits.filter(|&hit| self.drained.is_unknown(hit, cell.as_ref()))
                .collect()
        }
    }

    #[test]
    fn who_finds_a_key_full_is_excused_for_what_it_had_counted_before() {
        let mut side = Side::new(true);
        side.counts(8, 9);
        assert_eq!(side.unknown(), [0; 0], "it goes on");
        let mut side = Side::new(true);
        side.counts(8, 10);
        assert_eq!(side.unknown(), [7]);
    }

    #[test]
    fn whose_owner_may_lack_what_it_holds_is_not_excused() {
        let mut side = Side::new(false);
        side.counts(8, 10);
        assert_eq!(side.unknown(), [0; 0]);
    }

    /// A third side that was busy in between would make a difference, and is not there.
    #[test]
    fn who_learns_of_a_side_that_began_after_its_own_had_drained_is_excused() {
        for (seconds, excused) in [(9, false), (10, true)] {
            let mut side = Side::new(false);
            let mut other = Cells::new();
            let term = Term {
                number: 1,
                replica: ReplicaId(2),
            };
            let at = T0 + Nanos::from_secs(seconds);
            let _written = other.hit(at, key(), &limit(), Cost::ONE, Dot::new(term, 1));
            let cell = other.get(key());
            side.drained.on_held(0, 44, at, cell.clone(), false);
            assert_eq!(side.drained.is_unknown(7, cell.as_ref()), excused);
        }
    }

    #[test]
    fn who_drops_what_has_not_drained_is_not_excused() {
        for (seconds, excused) in [(9, false), (10, true)] {
            let mut side = Side::new(true);
            let at = T0 + Nanos::from_secs(seconds);
            side.drained.on_held(0, 44, at, None, true);
            assert_eq!(side.drained.is_unknown(7, None), excused);
        }
    }

    #[test]
    fn what_another_still_says_is_asked_for() {
        let mut side = Side::new(true);
        let copy = side.cells.get(key());
        side.drained
            .on_held(0, 44, T0 + Nanos::from_secs(10), None, true);
        assert!(side.drained.is_unknown(7, None));
        assert!(!side.drained.is_unknown(7, copy.as_ref()));
    }
}
