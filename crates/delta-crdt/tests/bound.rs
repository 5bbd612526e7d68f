//! What an owner makes of what others wrote: clocks that were ahead, and units that went beyond the limit.

use delta_crdt::{Cells, Dot, ReplicaId, Term};
use quota::{Algorithm, Cost, KeyHash, Limit, Nanos, UnixNanos};

const T0: UnixNanos = UnixNanos::new(1_700_000_040_000_000_000);
const KEY: KeyHash = KeyHash::new(7);

fn term(number: u32, replica: u32) -> Term {
    let replica = ReplicaId(replica);
    Term { number, replica }
}

/// Five a minute.
fn limit(algorithm: Algorithm) -> Limit {
    Limit::new(algorithm, 5, Nanos::from_secs(60)).expect("within bounds")
}

/// `hits` of one unit, counted at `now` under the term of `replica`.
fn hit(cells: &mut Cells, now: UnixNanos, algorithm: Algorithm, replica: u32, hits: u64) {
    for counter in 1..=hits {
        let dot = Dot::new(term(1, replica), counter);
        let written = cells.hit(now, KEY, &limit(algorithm), Cost::ONE, dot);
        assert!(
            written.decision.is_allowed(),
            "{algorithm:?}: hit {counter}"
        );
    }
}

/// Both sides of a split admitted; one map has heard of both.
fn forked(algorithm: Algorithm, left: u64, right: u64) -> Cells {
    let mut cells = Cells::new();
    hit(&mut cells, T0, algorithm, 1, left);
    let mut other = Cells::new();
    hit(&mut other, T0, algorithm, 2, right);
    let cell = other.get(KEY).expect("counted");
    let _joined = cells.join(T0, KEY, cell);
    cells
}

#[test]
fn what_sides_admitted_beyond_the_limit_is_told() {
    for algorithm in [
        Algorithm::Gcra,
        Algorithm::LeakyBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingCounter,
        Algorithm::SlidingLog,
    ] {
        let overshoot = |left, right| {
            let cells = forked(algorithm, left, right);
            cells.overshoot(T0, KEY, &limit(algorithm))
        };
        assert_eq!(overshoot(4, 4), 3, "{algorithm:?}");
        assert_eq!(overshoot(2, 3), 0, "{algorithm:?}: just the limit");
        assert_eq!(overshoot(1, 2), 0, "{algorithm:?}");
    }
}

#[test]
fn without_sides_nothing_went_beyond() {
    let algorithm = Algorithm::FixedWindow;
    let mut cells = Cells::new();
    assert_eq!(cells.overshoot(T0, KEY, &limit(algorithm)), 0);
    hit(&mut cells, T0, algorithm, 1, 5);
    let smaller = Limit::new(algorithm, 1, Nanos::from_secs(60)).expect("within bounds");
    // The limit was lowered since: five are counted, and none of them was too many.
    assert_eq!(cells.overshoot(T0, KEY, &smaller), 0);
}

/// Node 1's clock was an hour ahead when it spent the key. Bound to now, the key is back after a minute.
#[test]
fn a_clock_that_was_ahead_denies_no_longer_than_the_limit_does() {
    let ahead = T0 + Nanos::from_secs(3_600);
    let soon = T0 + Nanos::from_secs(1);
    for algorithm in [
        Algorithm::Gcra,
        Algorithm::FixedWindow,
        Algorithm::SlidingLog,
    ] {
        let spent = |bounds: &[UnixNanos]| {
            let mut cells = Cells::new();
            hit(&mut cells, ahead, algorithm, 1, 5);
            for &latest in bounds {
                cells.bound_stamps(latest);
            }
            let dot = Dot::new(term(2, 3), 1);
            let denied = cells.hit(soon, KEY, &limit(algorithm), Cost::ONE, dot);
            assert!(!denied.decision.is_allowed(), "{algorithm:?}: it is spent");
            let dot = Dot::new(term(2, 3), 2);
            let later = soon + Nanos::from_secs(121);
            let written = cells.hit(later, KEY, &limit(algorithm), Cost::ONE, dot);
            written.decision.is_allowed()
        };
        assert!(spent(&[soon]), "{algorithm:?}");
        assert!(!spent(&[]), "{algorithm:?}: nothing bounds it");
        assert!(!spent(&[ahead, soon]), "{algorithm:?}: it never goes back");
    }
}

/// The node itself was ahead, and its clock has been set right since: what it wrote under its last term is bounded as
/// anybody's, and what it writes now is not.
#[test]
fn what_a_node_wrote_under_its_last_term_is_bounded_and_under_this_one_it_is_not() {
    let ahead = T0 + Nanos::from_secs(3_600);
    let soon = T0 + Nanos::from_secs(1);
    let later = soon + Nanos::from_secs(121);
    for algorithm in [
        Algorithm::Gcra,
        Algorithm::FixedWindow,
        Algorithm::SlidingLog,
    ] {
        let is_back = |number| {
            let mut cells = Cells::new();
            hit(&mut cells, ahead, algorithm, 1, 5);
            cells.bound_stamps(soon);
            let dot = Dot::new(term(number, 1), 6);
            let written = cells.hit(later, KEY, &limit(algorithm), Cost::ONE, dot);
            written.decision.is_allowed()
        };
        assert!(is_back(2), "{algorithm:?}");
        assert!(!is_back(1), "{algorithm:?}");
    }
}
