//! What a map forgets for want of memory.

mod world;

use delta_crdt::{Cells, Dot, Evicted, ReplicaId, Term};
use quota::{Algorithm, Cost, KeyHash, KeyHasher, Limit, Nanos, UnixNanos, Verdict};
use world::START;

const OWNER: Term = Term {
    number: 2,
    replica: ReplicaId(1),
};

const BEFORE: Term = Term {
    number: 1,
    replica: ReplicaId(7),
};

fn key(who: &str, number: u64) -> KeyHash {
    KeyHasher::new([7; 16]).hash("", who, &number.to_string())
}

fn per_day(algorithm: Algorithm, units: u32) -> Limit {
    Limit::new(algorithm, units, Nanos::from_secs(86_400)).unwrap()
}

fn after(ms: u64) -> UnixNanos {
    START + Nanos::from_millis(ms)
}

/// An owner that writes under one term.
struct Owner {
    cells: Cells,
    written: u64,
}

impl Owner {
    fn new() -> Self {
        Self {
            cells: Cells::new(),
            written: 0,
        }
    }

    fn hit(&mut self, now: UnixNanos, key: KeyHash, limit: &Limit, cost: u32) -> Verdict {
        self.written += 1;
        let dot = Dot::new(OWNER, self.written);
        let written = self.cells.hit(now, key, limit, Cost::new(cost), dot);
        written.decision.verdict
    }

    fn is_spent(&self, now: UnixNanos, key: KeyHash, limit: &Limit) -> bool {
        self.cells.peek(now, key, limit).remaining == 0
    }
}

/// Seen: at the cap, keys that nobody had asked for twice pushed out all of 400 users who had spent a limit of a day,
/// since theirs was full again sooner, and let them in once more.
#[test]
fn spent_keys_outlive_a_flood_of_ten_times_the_cap() {
    const CAP: usize = 2_000;
    for algorithm in Algorithm::ALL {
        for flood in [5, 50, 2_000] {
            let (limit, flooded) = (per_day(algorithm, 5), per_day(algorithm, flood));
            let mut owner = Owner::new();
            for user in 0..400 {
                assert_eq!(
                    owner.hit(START, key("user", user), &limit, 5),
                    Verdict::Allow
                );
            }
            for number in 0..10 * CAP as u64 {
                let now = after(number / 10);
                let _counted = owner.hit(now, key("flood", number), &flooded, 1);
                // As a node does it: a tick later, when more than one has come.
                if CAP + 50 < owner.cells.len() {
                    let excess = owner.cells.len() - CAP;
                    assert_eq!(owner.cells.evict(now, excess, 0).len(), excess);
                }
            }
            let now = after(2_000);
            let spent = (0..400).filter(|&user| owner.is_spent(now, key("user", user), &limit));
            assert_eq!(
                spent.count(),
                400,
                "{algorithm:?}, flood under {flood} a day"
            );
        }
    }
}

/// The same where nothing is known of the limits: the keys came from the last owner.
#[test]
fn spent_keys_that_were_copied_outlive_a_flood_too() {
    let (limit, flooded) = (
        per_day(Algorithm::FixedWindow, 5),
        per_day(Algorithm::FixedWindow, 50),
    );
    let mut before = Cells::new();
    for user in 0..100 {
        let dot = Dot::new(BEFORE, user + 1);
        let _counted = before.hit(START, key("user", user), &limit, Cost::new(5), dot);
    }
    let mut owner = Owner::new();
    for (key, cell) in before.iter() {
        let _copied = owner.cells.join(START, key, cell);
    }
    for number in 0..10_000 {
        let _counted = owner.hit(after(1), key("flood", number), &flooded, 1);
        let excess = owner.cells.len().saturating_sub(1_000);
        if 50 < excess {
            owner.cells.evict(after(1), excess, 0);
        }
    }
    assert!((0..100).all(|user| owner.is_spent(after(1), key("user", user), &limit)));
}

/// A day's count would begin anew: more of them than a look compares, so that whole looks find nothing that may go.
#[test]
fn spared_keys_outlive_a_flood_of_keys_that_are_spent() {
    const SPARED: u64 = 20_000;
    let (day, one) = (
        per_day(Algorithm::FixedWindow, 1_000_000),
        per_day(Algorithm::Gcra, 1),
    );
    let spared = |number| key("tenant", number).spared();
    let mut owner = Owner::new();
    for number in 0..SPARED {
        let _counted = owner.hit(START, spared(number), &day, 1);
    }
    for number in 0..5_000 {
        let _counted = owner.hit(after(number), key("flood", number), &one, 1);
        let excess = owner.cells.evictable().saturating_sub(100);
        if 50 < excess {
            assert_eq!(owner.cells.evict(after(number), excess, 0).len(), excess);
        }
    }
    let is_whole = |cells: &Cells| (0..SPARED).all(|number| cells.contains(spared(number)));
    assert!(is_whole(&owner.cells));
    // Asked for more than there is, all others go and it ends.
    let others = owner.cells.evictable();
    assert_eq!(
        owner.cells.evict(START, usize::MAX, usize::MAX).len(),
        others
    );
    assert!(is_whole(&owner.cells));
    let (left, bytes) = (owner.cells.len(), owner.cells.evictable_bytes());
    assert_eq!((left as u64, bytes), (SPARED, 0));
    // They end as others do, and leave nothing behind in the books.
    let end = after(2 * 86_400_000);
    assert_eq!(owner.cells.expire(end, usize::MAX) as u64, SPARED);
    assert_eq!((owner.cells.evictable(), owner.cells.held_bytes()), (0, 0));
}

#[test]
fn of_keys_that_are_spent_alike_those_go_that_are_full_again_first() {
    let limit = Limit::new(Algorithm::SlidingLog, 5, Nanos::from_secs(10)).unwrap();
    let mut owner = Owner::new();
    for number in 0..100 {
        let _counted = owner.hit(after(number), key("user", number), &limit, 5);
    }
    assert_eq!(owner.cells.evict(after(100), 40, 0).len(), 40);
    let left: Vec<u64> = (0..100)
        .filter(|&n| owner.cells.contains(key("user", n)))
        .collect();
    assert_eq!(left, (40..100).collect::<Vec<u64>>());
}

#[test]
fn what_has_expired_goes_first_and_is_not_told_of() {
    let brief = Limit::new(Algorithm::FixedWindow, 5, Nanos::from_secs(1)).unwrap();
    let limit = per_day(Algorithm::FixedWindow, 5);
    let mut owner = Owner::new();
    for number in 0..50 {
        let _counted = owner.hit(START, key("brief", number), &brief, 5);
        let _counted = owner.hit(START, key("long", number), &limit, 1);
    }
    let evicted = owner.cells.evict(after(60_000), 60, 0);
    assert_eq!((evicted.len(), owner.cells.len()), (10, 40));
    assert!(
        evicted
            .iter()
            .all(|evicted| !owner.cells.contains(evicted.key()))
    );
    assert!((0..50).all(|number| !owner.cells.contains(key("brief", number))));
}

/// Bytes are counted, not keys: a full log is worth thousands of others, and one of those that are asked for goes.
#[test]
fn room_is_made_in_bytes() {
    let limit = per_day(Algorithm::SlidingLog, 10_000);
    let mut owner = Owner::new();
    for number in 0..4 {
        // A client each that spent a tenth more than the one before.
        for _ in 0..(5 + number) * 1_000 {
            let _counted = owner.hit(START, key("log", number), &limit, 1);
        }
    }
    let held = owner.cells.held_bytes();
    assert!(4 * 160_000 < held, "{held}");
    let evicted = owner.cells.evict(START, 0, 1);
    assert_eq!(
        evicted.iter().map(Evicted::key).collect::<Vec<_>>(),
        [key("log", 0)]
    );
    let evicted = owner.cells.evict(START, 0, held / 2);
    assert_eq!(evicted.len(), 2);
    assert!(owner.cells.held_bytes() * 2 <= held);
    assert!(owner.cells.contains(key("log", 3)));
}

/// A log may be as large as dozens of other keys: as many go as it takes, and not as many keys as bytes would be.
#[test]
fn no_more_go_than_make_the_room_that_is_asked_for() {
    let limit = per_day(Algorithm::SlidingLog, 10_000);
    let mut owner = Owner::new();
    for number in 0..80 {
        for _ in 0..100 {
            let _counted = owner.hit(START, key("log", number), &limit, 1);
        }
    }
    let each = owner.cells.evictable_bytes() / 80;
    assert!(100 * 32 <= each, "{each}");
    for (keys, bytes, go) in [
        (0, 2 * each, 2),
        (0, 2 * each + 1, 3),
        (5, 2 * each, 5),
        (2, 4 * each, 4),
        (1, 0, 1),
        (0, 0, 0),
    ] {
        let (count, held) = (owner.cells.len(), owner.cells.evictable_bytes());
        assert_eq!(owner.cells.evict(START, keys, bytes).len(), go);
        let left = (owner.cells.len(), owner.cells.evictable_bytes());
        assert_eq!(left, (count - go, held - go * each));
    }
}

/// A map larger than what is compared at a time is looked through in turn.
#[test]
fn eviction_of_many_goes_through_all_of_a_large_map() {
    let limit = per_day(Algorithm::Gcra, 10);
    let mut owner = Owner::new();
    for number in 0..40_000 {
        let cost = 1 + u32::from(number % 2 == 0) * 9;
        let _counted = owner.hit(START, key("user", number), &limit, cost);
    }
    assert_eq!(owner.cells.evict(START, 5_000, 0).len(), 5_000);
    let spent = || (0..40_000).step_by(2);
    assert!(spent().all(|number| owner.cells.contains(key("user", number))));
    assert_eq!(owner.cells.evict(START, 100_000, 0).len(), 35_000);
    assert!(owner.cells.is_empty());
}

#[test]
fn memory_of_what_was_evicted_is_given_back() {
    let limit = per_day(Algorithm::Gcra, 10);
    let mut owner = Owner::new();
    for number in 0..10_000 {
        let _counted = owner.hit(START, key("user", number), &limit, 1);
    }
    let before = owner.cells.bytes();
    owner.cells.evict(START, 9_000, 0);
    assert!(
        owner.cells.bytes() * 8 < before,
        "{} of {before}",
        owner.cells.bytes()
    );
}

/// Until it has room of its own, a replica holds what the owner holds: it lets go what the owner lets go, whichever term
/// had written it.
#[test]
fn the_cell_of_an_eviction_makes_a_replica_let_go() {
    let limit = per_day(Algorithm::FixedWindow, 5);
    for terms in [vec![OWNER], vec![BEFORE], vec![BEFORE, OWNER]] {
        let (mut owner, mut replica) = (Cells::new(), Cells::new());
        for (&term, seq) in terms.iter().zip(1..) {
            let _counted = owner.hit(
                START,
                key("user", 1),
                &limit,
                Cost::ONE,
                Dot::new(term, seq),
            );
        }
        let _copied = replica.join(START, key("user", 1), owner.get(key("user", 1)).unwrap());
        let evicted = owner.evict(START, 1, 0);
        assert_eq!(evicted[0].key(), key("user", 1));
        let eviction = evicted[0].cell(Dot::new(OWNER, 9));
        let joined = replica.join(START, key("user", 1), eviction.clone());
        assert!(joined.changed && !joined.forked, "{terms:?}");
        assert!(replica.expire_key(START, key("user", 1)));
        assert_eq!((replica.len(), replica.digest()), (0, owner.digest()));
        // And to whoever has nothing of it, it is nothing.
        assert!(!replica.join(START, key("user", 1), eviction).changed);
        assert!(replica.is_empty());
    }
}

/// An eviction says nothing of what it did not know: the other side of a fork keeps what it counted.
#[test]
fn an_eviction_leaves_what_another_side_counted() {
    let limit = per_day(Algorithm::FixedWindow, 5);
    let (mut owner, mut other) = (Cells::new(), Cells::new());
    let _counted = owner.hit(START, key("user", 1), &limit, Cost::ONE, Dot::new(OWNER, 1));
    let _counted = other.hit(
        START,
        key("user", 1),
        &limit,
        Cost::new(2),
        Dot::new(BEFORE, 1),
    );
    let eviction = owner.evict(START, 1, 0)[0].cell(Dot::new(OWNER, 2));
    let _joined = other.join(START, key("user", 1), eviction);
    assert!(!other.expire_key(START, key("user", 1)));
    assert_eq!(other.used(START, key("user", 1), &limit), 2);
}
