//! Which keys are to outlive all nodes, and what is told of them.

use delta_crdt::{Cells, Dot, KeptChanges, ReplicaId, Term};
use quota::{Algorithm, Cost, KeyHash, Limit, Nanos, UnixNanos};

const TERM: Term = Term {
    number: 1,
    replica: ReplicaId(1),
};

const NOW: UnixNanos = UnixNanos::new(1_700_000_000_000_000_000);

fn key(number: u128) -> KeyHash {
    KeyHash::new(number << 64 | number)
}

fn limit(keep: bool) -> Limit {
    let limit = Limit::new(Algorithm::SlidingLog, 5, Nanos::from_secs(60)).unwrap();
    limit.with_keep(keep)
}

fn hit(cells: &mut Cells, number: u128, keep: bool, seq: u64) {
    let dot = Dot::new(TERM, seq);
    let written = cells.hit(NOW, key(number), &limit(keep), Cost::ONE, dot);
    assert!(written.changed);
}

fn listing() -> Cells {
    let mut cells = Cells::new();
    cells.list_kept_changes();
    cells
}

/// The keys with something to keep, and those that are not to be kept any more.
fn taken(cells: &mut Cells) -> (Vec<KeyHash>, Vec<KeyHash>) {
    let KeptChanges {
        cells: changes,
        all_gone,
        ..
    } = cells.take_kept_changes();
    assert!(!all_gone);
    let (kept, gone): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, cell)| cell.is_some());
    let keys = |changes: Vec<_>| changes.into_iter().map(|(key, _)| key).collect();
    (keys(kept), keys(gone))
}

#[test]
fn a_key_that_is_kept_is_listed_once_however_often_it_changes() {
    let mut cells = listing();
    hit(&mut cells, 1, true, 1);
    hit(&mut cells, 2, false, 2);
    hit(&mut cells, 1, true, 3);
    assert_eq!(cells.kept_keys().collect::<Vec<_>>(), [key(1)]);
    assert!(cells.has_kept_changes());
    assert_eq!(taken(&mut cells), (vec![key(1)], vec![]));
    assert!(!cells.has_kept_changes());
    let denied = cells.hit(NOW, key(1), &limit(true), Cost::new(5), Dot::new(TERM, 4));
    assert!(!denied.changed && !cells.has_kept_changes());
    hit(&mut cells, 1, true, 4);
    let _refunded = cells.refund(NOW, key(1), &limit(true), Cost::ONE, Dot::new(TERM, 5));
    assert_eq!(taken(&mut cells), (vec![key(1)], vec![]));
    let _reset = cells.reset(NOW, key(1), &limit(true), Dot::new(TERM, 6));
    assert_eq!(taken(&mut cells), (vec![key(1)], vec![]));
}

/// A replica knows of no limit: the cell tells it.
#[test]
fn whoever_joins_a_cell_keeps_it_as_its_owner_does() {
    let mut owner = Cells::new();
    let mut replica = listing();
    hit(&mut owner, 1, true, 1);
    hit(&mut owner, 2, false, 2);
    for number in [1, 2] {
        let cell = owner.get(key(number)).unwrap();
        assert_eq!(cell.is_kept(), number == 1);
        assert!(replica.join(NOW, key(number), cell).changed);
    }
    assert_eq!(taken(&mut replica), (vec![key(1)], vec![]));
    // The limit is changed: first it keeps what it has not kept, then the other way.
    hit(&mut owner, 2, true, 3);
    hit(&mut owner, 1, false, 4);
    for number in [1, 2] {
        let cell = owner.get(key(number)).unwrap();
        assert!(replica.join(NOW, key(number), cell).changed);
    }
    assert_eq!(taken(&mut replica), (vec![key(2)], vec![key(1)]));
    // Both sides of a fork are kept where one of them is.
    let dot = Dot::new(
        Term {
            number: 1,
            replica: ReplicaId(2),
        },
        1,
    );
    let mut other = Cells::new();
    assert!(
        other
            .hit(NOW, key(2), &limit(false), Cost::ONE, dot)
            .changed
    );
    let cell = other.get(key(2)).unwrap();
    assert!(replica.join(NOW, key(2), cell).forked);
    let changes = replica.take_kept_changes().cells;
    let [(_, Some(cell))] = &changes[..] else {
        panic!("{changes:?}");
    };
    assert!(cell.is_kept() && cell.versions().len() == 2);
}

#[test]
fn a_key_that_goes_is_told_of_and_so_is_a_map_that_is_dropped() {
    let mut cells = listing();
    for number in 1..=3 {
        hit(&mut cells, number, number != 2, number as u64);
    }
    let _changes = cells.take_kept_changes();
    assert_eq!(cells.evict(NOW, 3, 0).len(), 3);
    let (kept, mut gone) = taken(&mut cells);
    gone.sort_unstable();
    assert_eq!((kept, gone), (vec![], vec![key(1), key(3)]));
    hit(&mut cells, 4, true, 4);
    let four = cells.get(key(4));
    let mut between = Cells::new();
    between.replace_kept(&mut cells, true);
    hit(&mut between, 6, true, 6);
    let six = between.get(key(6));
    let mut fresh = Cells::new();
    fresh.replace_kept(&mut between, true);
    // What had changed and was not taken is told of, for a disk on which what is gone is to stay.
    let all_gone = KeptChanges {
        gone: vec![(key(4), four), (key(6), six)],
        all_gone: true,
        cells: Vec::new(),
    };
    assert!(fresh.has_kept_changes());
    assert_eq!(fresh.take_kept_changes(), all_gone);
    hit(&mut fresh, 5, true, 5);
    assert_eq!(taken(&mut fresh), (vec![key(5)], vec![]));
    // Where nothing is kept, nothing is gathered.
    let mut other = Cells::new();
    other.replace_kept(&mut Cells::new(), true);
    hit(&mut other, 1, true, 1);
    assert!(!other.has_kept_changes());
}
