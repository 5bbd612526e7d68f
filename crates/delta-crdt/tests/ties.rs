//! A cell of several versions is the same cell in whatever order they come.

use delta_crdt::{Added, Cell, ReplicaId, Slot, Term, Version};
use quota::{Algorithm, Cost, Count, Limit, Nanos, Stamp, UnixNanos};

const T0: UnixNanos = UnixNanos::new(1_700_000_040_000_000_000);

/// `units` of ten a minute, counted `seconds` after [`T0`].
fn count(units: u64, seconds: u64) -> Count {
    let limit = Limit::new(Algorithm::Gcra, 10, Nanos::from_secs(60)).expect("within bounds");
    let mut count = None;
    let at = T0 + Nanos::from_secs(seconds);
    for seq in 1..=units {
        let _taken = limit.hit(at, &mut count, Cost::ONE, Stamp { term: 1, seq });
    }
    count.expect("counted")
}

/// A version with one write, of node `replica`.
fn version(replica: u32, count: Count) -> Version {
    let term = Term {
        number: 1,
        replica: ReplicaId(replica),
    };
    let slot = Slot {
        term,
        seq: 1,
        added: Added::new(1),
    };
    Version::new(count, [slot], []).expect("one slot")
}

fn cell(versions: [&Version; 2]) -> Cell {
    Cell::new(versions.into_iter().cloned()).expect("not empty")
}

#[test]
fn versions_of_two_writers_stand_in_one_order() {
    let (first, second) = (version(1, count(1, 0)), version(2, count(1, 0)));
    let one_way = cell([&first, &second]);
    assert_eq!(one_way.versions(), [first.clone(), second.clone()]);
    assert_eq!(cell([&second, &first]), one_way);
}

/// Two counts under one write, which only a broken peer can send: everybody keeps the one that expires later, and of
/// two that expire at once the same.
#[test]
fn of_two_counts_under_one_write_everybody_keeps_the_same() {
    let (short, long) = (version(1, count(1, 0)), version(1, count(3, 0)));
    // As long as `long`: one unit, twelve seconds later.
    let other = version(1, count(1, 12));
    assert_eq!(other.count().expires_at(), long.count().expires_at());
    for (one, two, kept) in [
        (&short, &long, Some(&long)),
        (&long, &other, None),
        (&long, &long, Some(&long)),
    ] {
        let there = cell([one, two]);
        assert_eq!(there, cell([two, one]), "{one:?} and {two:?}");
        if let Some(kept) = kept {
            assert_eq!(there.versions(), std::slice::from_ref(kept));
        }
    }
}
