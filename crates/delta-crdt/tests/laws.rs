//! The laws of a delta-CRDT map, over histories with forks, losses, refunds, resets and every algorithm.

mod world;

use delta_crdt::{Cell, Cells, Digest};
use proptest::prelude::*;
use quota::{KeyHash, UnixNanos};
use world::{START, World, config, exchange_form, steps};

const REGRESSIONS: &str = "tests/laws.proptest-regressions";

fn joined(now: UnixNanos, parts: &[&[(KeyHash, Cell)]]) -> Cells {
    let mut cells = Cells::new();
    for (key, cell) in parts.iter().flat_map(|part| part.iter()) {
        let _ = cells.join(now, *key, cell.clone());
    }
    cells
}

/// The digest of the same cells, computed from nothing.
fn recomputed(cells: &Cells) -> Digest {
    let all: Vec<_> = cells.iter().collect();
    joined(UnixNanos::ZERO, &[&all]).digest()
}

proptest! {
    #![proptest_config(config(REGRESSIONS, 256))]

    /// Any three sets of deltas, in any grouping and order, once or twice: the same cells.
    #[test]
    fn join_commutes_associates_and_is_idempotent(
        history in steps(80, false),
        cut in prop::collection::vec(0..3_usize, 80),
        order in Just((0..240_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let world = World::run(&history);
        let mut parts = [const { Vec::new() }; 3];
        for (delta, part) in world.deltas.iter().zip(&cut) {
            parts[*part].push(delta.clone());
        }
        let [a, b, c] = parts;
        let reference = exchange_form(&joined(START, &[&a, &b, &c]));

        let whole = |parts: &[&[(KeyHash, Cell)]]| -> Vec<_> { joined(START, parts).iter().collect() };
        let (ab, bc) = (whole(&[&a, &b]), whole(&[&b, &c]));
        prop_assert_eq!(&exchange_form(&joined(START, &[&c, &b, &a])), &reference, "commutes");
        prop_assert_eq!(&exchange_form(&joined(START, &[&ab, &c])), &reference, "associates to the left");
        prop_assert_eq!(&exchange_form(&joined(START, &[&a, &bc])), &reference, "associates to the right");
        prop_assert_eq!(&exchange_form(&joined(START, &[&ab, &bc, &a])), &reference, "is idempotent");

        let all = [a.clone(), b, c, a].concat();
        let shuffled: Vec<_> = order.iter().filter_map(|&i| all.get(i).cloned()).collect();
        prop_assert_eq!(&exchange_form(&joined(START, &[&shuffled])), &reference, "deltas in any order");
    }

    /// A replica that heard every delta, in some order and some of them twice, holds what the full states hold.
    #[test]
    fn deltas_joined_are_full_states_joined(
        history in steps(80, false),
        order in Just((0..80_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let world = World::run(&history);
        let shuffled: Vec<_> = order.iter().filter_map(|&i| world.deltas.get(i).cloned()).collect();
        let by_deltas = joined(START, &[&shuffled, &shuffled]);
        let states: Vec<Vec<_>> = world.sides.iter().map(|side| side.cells.iter().collect()).collect();
        let by_states = joined(START, &[&states[0], &states[1], &states[2]]);
        prop_assert_eq!(exchange_form(&by_deltas), exchange_form(&by_states));
    }

    /// Whatever was lost, repeated or reordered on the way, and whatever the clocks did.
    #[test]
    fn replicas_converge_once_full_states_have_met(history in steps(120, true)) {
        let mut world = World::run(&history);
        world.exchange_all();
        for side in &mut world.sides {
            side.cells.expire(world.now, usize::MAX);
        }
        let [a, b, c] = &world.sides[..] else { unreachable!() };
        prop_assert_eq!(exchange_form(&a.cells), exchange_form(&b.cells));
        prop_assert_eq!(exchange_form(&a.cells), exchange_form(&c.cells));
        prop_assert_eq!(a.cells.digest(), b.cells.digest());
    }

    /// At every moment, on every replica.
    #[test]
    fn a_digest_kept_up_to_date_is_the_digest_computed(history in steps(80, true), budget in 0..10_usize) {
        let mut world = World::new();
        for step in &history {
            world.step(step);
            let now = world.now;
            world.sides[1].cells.expire(now, budget);
            if budget == 0 {
                world.sides[2].cells.evict(now, 1, 0);
            }
            for side in &world.sides {
                prop_assert_eq!(side.cells.digest(), recomputed(&side.cells));
            }
        }
    }

    /// Bucket by bucket: those that differ are those whose cells differ.
    #[test]
    fn digests_are_equal_iff_states_are(history in steps(80, true)) {
        let world = World::run(&history);
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            let (one, other) = (&world.sides[one].cells, &world.sides[other].cells);
            let differing = one.digest().differing(&other.digest());
            for bucket in 0..16 {
                let sorted = |cells: &Cells| {
                    let mut cells: Vec<_> = cells.bucket(bucket).collect();
                    cells.sort_by_key(|(key, _)| *key);
                    cells
                };
                let differs = differing & 1 << bucket != 0;
                prop_assert_eq!(differs, sorted(one) != sorted(other), "bucket {}", bucket);
            }
            prop_assert_eq!(one.digest() == other.digest(), exchange_form(one) == exchange_form(other));
        }
    }

    /// A version includes another as vector clocks compare, and a cell keeps none that another includes.
    #[test]
    fn versions_are_an_antichain_of_their_contexts(history in steps(80, false)) {
        let mut world = World::run(&history);
        world.exchange_all();
        let known = joined(START, &[&world.deltas]);
        prop_assert_eq!(exchange_form(&known), exchange_form(&world.sides[0].cells));
        for (key, cell) in known.iter() {
            for (i, one) in cell.versions().iter().enumerate() {
                for other in &cell.versions()[i + 1..] {
                    prop_assert!(one.context().concurrent(&other.context()));
                }
            }
            // Every delta is included in the cell, and in one of its versions.
            for (_, delta) in world.deltas.iter().filter(|delta| delta.0 == key) {
                prop_assert!(delta.context() <= cell.context());
                let included = |v: &delta_crdt::Version| delta.context() <= v.context();
                prop_assert!(cell.versions().iter().any(included));
            }
        }
    }

    /// Reading folds siblings and leaves them; the next write replaces them by one that knows all of theirs.
    #[test]
    fn reads_change_nothing_and_writes_end_the_fork(history in steps(80, false)) {
        let mut world = World::run(&history);
        world.exchange_all();
        for number in 0..world.limits.len() {
            let before = world.sides[0].cells.get(world::key(number));
            let (peeked, digest) = (world.peek(0, number), world.sides[0].cells.digest());
            prop_assert_eq!(world.peek(0, number), peeked);
            prop_assert_eq!(&world.sides[0].cells.get(world::key(number)), &before);
            prop_assert_eq!(world.sides[0].cells.digest(), digest);

            world.take_over(0);
            // A peek that counts says the same as one that does not.
            prop_assert_eq!(world.hit(0, number, 0), peeked);
            let decision = world.hit(0, number, 1);
            prop_assert_eq!(decision.is_allowed(), peeked.is_allowed());
            if let (true, Some(before)) = (decision.is_allowed(), before) {
                let after = world.sides[0].cells.get(world::key(number)).unwrap();
                prop_assert_eq!(after.versions().len(), 1);
                prop_assert!(after.context() > before.context());
                prop_assert_eq!(decision.remaining + 1, peeked.remaining);
            }
        }
    }
}
