//! What a map costs, and how keys leave it.

mod world;

use std::collections::BTreeMap;

use delta_crdt::{Cells, Dot, ReplicaId, Term};
use proptest::prelude::*;
use quota::{Algorithm, Cost, KeyHash, Limit, Nanos, UnixNanos};
use world::{START, World, config, exchange_form, steps};

const TERM: Term = Term {
    number: 1,
    replica: ReplicaId(1),
};

fn per_second(units: u32) -> Limit {
    Limit::new(Algorithm::Gcra, units, Nanos::from_secs(1)).unwrap()
}

/// The hash of the `number`-th key, as evenly spread as real ones.
fn key(number: u64) -> KeyHash {
    let mut word = number;
    let mut next = || {
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    KeyHash::new(u128::from(next()) << 64 | u128::from(next()))
}

/// `count` keys, key n full again n ms after [`START`].
fn filled(count: u64) -> Cells {
    let mut cells = Cells::new();
    fill(&mut cells, 1..=count);
    cells
}

/// Adds these keys, in this order.
fn fill(cells: &mut Cells, numbers: impl Iterator<Item = u64>) {
    let limit = per_second(1);
    for number in numbers {
        let now = START - Nanos::from_secs(1) + Nanos::from_millis(number);
        let dot = Dot::new(TERM, number);
        assert!(cells.hit(now, key(number), &limit, Cost::ONE, dot).changed);
    }
}

fn after(ms: u64) -> UnixNanos {
    START + Nanos::from_millis(ms)
}

/// The yardstick: a million keys in 1024 maps. Averaged over the sizes that chance gives maps of that mean.
#[test]
fn a_key_costs_at_most_80_bytes() {
    let sizes: Vec<u64> = (900..=1_054).collect();
    let bytes: usize = sizes
        .iter()
        .map(|&size| filled(size).bytes() + size_of::<Cells>())
        .sum();
    let per_key = bytes as f64 / sizes.iter().sum::<u64>() as f64;
    println!("{per_key:.1} bytes a key");
    assert!(per_key <= 80.0, "{per_key:.1}");
    let worst = sizes
        .iter()
        .map(|&size| filled(size).bytes() as f64 / size as f64);
    let worst = worst.fold(0.0, f64::max);
    println!("{worst:.1} at the worst size");
    assert!(worst <= 82.0, "{worst:.1}");
}

/// After a takeover, until it is full again: a second slot stands aside.
#[test]
fn a_key_that_two_terms_wrote_costs_at_most_180_bytes() {
    let mut cells = filled(977);
    let next = Term { number: 2, ..TERM };
    let limit = per_second(10);
    for number in 1..=977 {
        let dot = Dot::new(next, number);
        assert!(
            cells
                .hit(after(0), key(number), &limit, Cost::ONE, dot)
                .changed
        );
    }
    let per_key = cells.bytes() as f64 / 977.0;
    println!("{per_key:.1} bytes a key");
    assert!(per_key <= 180.0, "{per_key:.1}");
}

#[test]
fn memory_is_given_back_when_keys_expire() {
    let mut cells = filled(10_000);
    let before = cells.bytes();
    assert_eq!(cells.expire(after(9_990), usize::MAX), 9_990);
    assert!(cells.bytes() * 20 < before, "{} of {before}", cells.bytes());
    assert!((9_991..=10_000).all(|number| cells.get(key(number)).is_some()));
}

#[test]
fn expiry_in_small_steps_finds_every_expired_key_in_one_round() {
    let mut cells = filled(1_000);
    let gone: usize = (0..100).map(|_| cells.expire(after(500), 10)).sum();
    assert_eq!((gone, cells.len()), (500, 500));
    assert!((501..=1_000).all(|number| cells.get(key(number)).is_some()));
}

#[test]
fn a_key_that_is_full_again_is_as_good_as_absent() {
    let limit = per_second(10);
    let mut cells = Cells::new();
    let _ = cells.hit(START, key(1), &limit, Cost::new(10), Dot::new(TERM, 1));
    let now = after(1_000);
    assert_eq!(cells.peek(now, key(1), &limit), limit.peek(now, None));
    let stale = cells.get(key(1)).unwrap();
    assert!(
        cells
            .hit(now, key(1), &limit, Cost::ONE, Dot::new(TERM, 2))
            .changed
    );
    let slots = cells.get(key(1)).unwrap().versions()[0].slots().to_vec();
    assert_eq!(
        (slots[0].seq, slots[0].added.units()),
        (2, 1),
        "counts from new"
    );

    let mut other = Cells::new();
    assert!(!other.join(now, key(1), stale).changed);
    assert!(other.is_empty());
}

/// The case that a pass must not miss: an eviction moves the last key, which expires next, to a place that the pass has
/// left behind.
#[test]
fn a_key_that_moved_behind_the_pass_is_found_by_the_next() {
    let mut cells = Cells::new();
    // Least is lost with the first.
    let dot = Dot::new(TERM, 5_000);
    let _counted = cells.hit(START, key(5_000), &per_second(10), Cost::ONE, dot);
    fill(&mut cells, (1..=1_000).rev());
    while cells.expire(after(1), usize::MAX) != 0 {}
    cells.expire(after(1), usize::MAX);
    cells.expire(after(2), 400);
    let evicted = cells.evict(after(1), 1, 0);
    assert_eq!(evicted[0].key(), key(5_000));
    assert_eq!(cells.expire(after(2), 599), 0, "key 2 is behind");
    assert_eq!(cells.expire(after(2), usize::MAX), 1);
}

/// And: a refund behind the pass makes a key expire sooner than all that the pass saw.
#[test]
fn a_key_that_was_refunded_behind_the_pass_is_found_by_the_next() {
    let limit = per_second(10);
    let mut cells = Cells::new();
    for number in 1..=99 {
        let _ = cells.hit(
            START,
            key(number),
            &limit,
            Cost::new(10),
            Dot::new(TERM, number),
        );
    }
    let _ = cells.hit(START, key(100), &limit, Cost::ONE, Dot::new(TERM, 100));
    cells.expire(after(100), 50);
    let refunded = cells.refund(
        after(100),
        key(1),
        &limit,
        Cost::new(5),
        Dot::new(TERM, 101),
    );
    assert!(refunded.changed);
    assert_eq!(cells.expire(after(100), 50), 1);
    assert_eq!(cells.expire(after(500), usize::MAX), 1);
}

/// A cursor beyond the end once stopped expiry for ever.
#[test]
fn evictions_in_the_middle_of_a_pass_do_not_stop_expiry() {
    let mut cells = filled(100);
    assert_eq!(cells.expire(after(1), 50), 1);
    assert_eq!(cells.evict(after(1), 3, 0).len(), 3);
    for _ in 0..30 {
        cells.expire(after(100), 10);
    }
    assert!(cells.is_empty());
}

/// Two replicas that both write, and forget a key two seconds after it is full again.
fn many_writers() -> [Cells; 2] {
    let linger = Nanos::from_secs(2);
    [
        Cells::of_many_writers(linger),
        Cells::of_many_writers(linger),
    ]
}

/// One hit of `cost` at a replica, of ten a second, told to the other.
fn counted_by(writers: &mut [Cells; 2], by: usize, now: UnixNanos, cost: u32, seq: u64) {
    let replica = ReplicaId(by as u32 + 1);
    let dot = Dot::new(Term { replica, ..TERM }, seq);
    let limit = per_second(10);
    let written = writers[by].hit(now, key(1), &limit, Cost::new(cost), dot);
    assert!(written.changed);
    let cell = writers[by].get(key(1)).expect("counted");
    let _joined = writers[1 - by].join(now, key(1), cell);
}

#[test]
fn where_many_write_a_key_is_forgotten_when_it_has_been_full_for_a_while() {
    let [mut by_key, mut by_pass] = {
        let mut writers = many_writers();
        counted_by(&mut writers, 0, START, 10, 1);
        writers
    };
    let limit = per_second(10);
    let peek = by_key.peek(after(1_000), key(1), &limit);
    assert_eq!(peek, limit.peek(after(1_000), None), "it is full");
    assert!(!by_key.expire_key(after(2_999), key(1)));
    assert_eq!(by_pass.expire(after(2_999), usize::MAX), 0);
    assert!(by_key.expire_key(after(3_000), key(1)));
    assert_eq!(by_pass.expire(after(3_000), usize::MAX), 1);
    assert!(by_key.is_empty() && by_pass.is_empty());
    assert!(!by_key.expire_key(after(3_000), key(1)), "it has gone");
}

#[test]
fn where_many_write_each_goes_on_from_one_fill_to_the_next() {
    let mut writers = many_writers();
    counted_by(&mut writers, 0, START, 4, 1);
    counted_by(&mut writers, 1, after(100), 3, 1);
    let limit = per_second(10);
    let used = |writers: &[Cells; 2], at| {
        let used = |cells: &Cells| cells.used(after(at), key(1), &limit);
        [used(&writers[0]), used(&writers[1])]
    };
    assert_eq!(used(&writers, 100), [6, 6], "one has drained");
    assert_eq!(used(&writers, 1_000), [0, 0]);
    counted_by(&mut writers, 1, after(1_000), 2, 2);
    counted_by(&mut writers, 0, after(1_000), 5, 2);
    assert_eq!(used(&writers, 1_000), [7, 7], "of this fill alone");
    let cell = writers[0].get(key(1)).expect("counted");
    let [version] = cell.versions() else {
        panic!("no fork: {cell:?}");
    };
    let added = version.slots().iter().map(|slot| slot.added.units());
    assert_eq!(added.collect::<Vec<_>>(), [9, 5]);
    assert_eq!(writers[0].digest(), writers[1].digest());
}

#[test]
fn where_many_write_a_reset_forgives_what_was_added_in_any_fill() {
    let mut writers = many_writers();
    let limit = per_second(10);
    counted_by(&mut writers, 0, START, 4, 1);
    counted_by(&mut writers, 0, after(1_000), 6, 2);
    counted_by(&mut writers, 1, after(1_000), 1, 1);
    let replica = ReplicaId(2);
    let dot = Dot::new(Term { replica, ..TERM }, 2);
    assert!(writers[1].reset(after(1_000), key(1), &limit, dot).changed);
    let cell = writers[1].get(key(1)).expect("a tombstone");
    assert!(!writers[0].join(after(1_000), key(1), cell).forked);
    let used = |cells: &Cells| cells.used(after(1_000), key(1), &limit);
    assert_eq!([used(&writers[0]), used(&writers[1])], [0, 0]);
    counted_by(&mut writers, 0, after(1_000), 3, 3);
    assert_eq!([used(&writers[0]), used(&writers[1])], [3, 3]);
}

/// Else a map whose length goes up and down by one would allocate each time.
#[test]
fn room_for_a_few_keys_more_is_kept() {
    // Entries are allocated by 32.
    let mut cells = filled(65);
    let before = cells.bytes();
    assert_eq!(cells.evict(START, 1, 0).len(), 1);
    assert_eq!(cells.bytes(), before);
    assert_eq!(cells.evict(START, 31, 0).len(), 31);
    assert_eq!((cells.len(), cells.bytes()), (33, before));
    assert_eq!(cells.evict(START, 1, 0).len(), 1);
    assert_eq!(cells.bytes(), before - 32 * 64);
}

#[test]
fn a_map_is_shown_by_its_keys_and_cells() {
    let mut cells = filled(1);
    let shown = format!("{cells:?}");
    let cell = cells.get(key(1)).expect("counted");
    assert_eq!(shown, format!("{{{:?}: {cell:?}}}", key(1)));
    assert_eq!(cells.expire(after(1), usize::MAX), 1);
    assert_eq!(format!("{cells:?}"), "{}");
}

#[test]
fn a_late_delta_of_the_same_term_is_dropped() {
    let limit = per_second(10);
    let mut owner = Cells::new();
    let mut deltas = Vec::new();
    for seq in 1..=3 {
        let _ = owner.hit(START, key(1), &limit, Cost::ONE, Dot::new(TERM, seq));
        deltas.push(owner.get(key(1)).unwrap());
    }
    let mut replica = Cells::new();
    let joined: Vec<bool> = [1, 0, 2, 2]
        .map(|which: usize| replica.join(START, key(1), deltas[which].clone()).changed)
        .to_vec();
    assert_eq!(joined, [true, false, true, false]);
    assert_eq!(exchange_form(&replica), exchange_form(&owner));
}

proptest! {
    #![proptest_config(config("tests/upkeep.proptest-regressions", 256))]

    /// Expiry with any budgets, at any times, removes expired keys only, and in the end all of them.
    #[test]
    fn expiry_removes_what_has_expired_and_nothing_else(
        history in steps(80, true),
        budgets in prop::collection::vec(0..8_usize, 80),
    ) {
        let mut world = World::new();
        for (step, budget) in history.iter().zip(budgets) {
            world.step(step);
            let now = world.now;
            for side in &mut world.sides {
                let before = exchange_form(&side.cells);
                let gone = side.cells.expire(now, budget);
                let after = exchange_form(&side.cells);
                prop_assert_eq!(before.len() - after.len(), gone);
                let is_gone = |key: &KeyHash| !after.contains_key(key);
                let gone: BTreeMap<_, _> = before.iter().filter(|(key, _)| is_gone(key)).collect();
                prop_assert!(gone.values().all(|cell| cell.expires_at() <= now));
            }
        }
        let now = world.now;
        for side in &mut world.sides {
            side.cells.expire(now, usize::MAX);
            prop_assert!(side.cells.iter().all(|(_, cell)| now < cell.expires_at()));
            // What was added to the sum of bytes was taken from it again.
            side.cells.evict(now, usize::MAX, 0);
            prop_assert_eq!((side.cells.len(), side.cells.held_bytes()), (0, 0));
        }
    }
}
