//! P6: what a takeover and a fold tell of what went wrong.

use delta_crdt::{Cells, Digest, Dot, ReplicaId};
use quota::{BootNanos, Cost, Nanos, UnixNanos};
use shard::{Baseline, HitId, Message, Note, Partition, Role};

use crate::one_node::{ME, Node, key, limit, record, term};

fn forgotten(node: &Node) -> Vec<usize> {
    let hits = node.notes.iter().filter_map(|note| match note {
        Note::Forgotten { hits } => Some(*hits),
        _ => None,
    });
    hits.collect()
}

/// The owner, node 2, dies. Node 1 has forwarded hits 1 to 3 to it, node 3 its own 1 and 2, and all were admitted; a
/// replica heard of the first of each.
#[test]
fn a_takeover_counts_the_answered_hits_that_nobody_remembers() {
    let mut node = Node::new(Partition::Available, false, &[3]);
    let old = record(term(1, 2), &[2, 1, 3]);
    let hit = |origin, sequence| HitId {
        origin: ReplicaId(origin),
        sequence,
    };
    node.hear(
        2,
        Message::Delta {
            term: term(1, 2),
            baseline: Baseline::Whole {
                buckets: u16::MAX,
                record: old,
            },
            through: 3,
            cells: vec![],
            admitted: vec![hit(1, 1), hit(3, 1)],
        },
    );
    let old_hits = BootNanos::new(node.millis * 1_000_000);
    for sequence in 1..=3 {
        node.shard.on_answered(old_hits, sequence);
    }
    node.tick();
    node.hear(
        3,
        Message::Promise {
            term: term(2, 1),
            record: None,
            digest: Some(Digest::default()),
            answered: vec![1, 2],
        },
    );
    assert_eq!(node.shard.role(), Role::Open);
    assert_eq!(forgotten(&node), [3], "2 and 3 of node 1, 2 of node 3");
}

/// The simulator, seed 803: of the majority that a claim needed, one more member was away for ten seconds. By then
/// every holder had forgotten the ids of what was counted, as it does after eight, and all of it was told as forgotten.
#[test]
fn a_claim_that_lasts_longer_than_ids_are_remembered_tells_no_answered_hit_as_forgotten() {
    let told = |waits_millis: u64| {
        let mut node = Node::new(Partition::Available, false, &[3, 4]);
        let old = record(term(1, 2), &[2, 1, 3]);
        node.hear(
            2,
            Message::Announce {
                record: old,
                through: 1,
                digest: None,
            },
        );
        node.tick();
        let promise = |answered| Message::Promise {
            term: term(2, 1),
            record: None,
            digest: Some(Digest::default()),
            answered,
        };
        node.hear(3, promise(vec![1, 2]));
        // Both give their leases all the while.
        for waited in (0..waits_millis).step_by(500) {
            node.millis += 500.min(waits_millis - waited);
            node.answered_by(3);
            node.answered_by(4);
        }
        node.hear(4, promise(vec![]));
        assert_eq!(node.shard.role(), Role::Open);
        forgotten(&node)
    };
    assert_eq!(told(5_500), [2]);
    assert_eq!(told(5_501), [] as [usize; 0]);
}

#[test]
fn a_hit_is_reported_to_the_one_who_takes_over_and_once() {
    let mut node = Node::new(Partition::Available, false, &[2, 3]);
    let announce = |number, owner: u32| Message::Announce {
        record: record(term(number, owner), &[owner, 1]),
        through: 1,
        digest: None,
    };
    node.hear(2, announce(1, 2));
    node.shard
        .on_answered(BootNanos::new(node.millis * 1_000_000), 7);
    let claim = |number| Message::Claim {
        term: term(number, 3),
        consent: None,
        promised_by: vec![ReplicaId(2)],
        record: None,
    };
    let reported = |sent: Vec<(ReplicaId, Message)>| {
        let promise = sent.into_iter().find_map(|(_, message)| match message {
            Message::Promise { answered, .. } => Some(answered),
            _ => None,
        });
        promise.expect("a promise")
    };
    assert_eq!(reported(node.hear(3, claim(2))), [7]);
    node.hear(3, announce(2, 3));
    assert_eq!(reported(node.hear(3, claim(3))), [] as [u64; 0]);
}

/// Two sides of a split admitted four each of five.
#[test]
fn the_first_hit_after_a_fold_tells_how_much_too_much_was_admitted() {
    let mut node = Node::new(Partition::Available, false, &[3]);
    let now = UnixNanos::new(1_700_000_000_000_000_000 + 1_000_000);
    let side = |owner: u32| {
        let mut cells = Cells::new();
        for counter in 1..=4 {
            let dot = Dot {
                actor: term(1, owner),
                counter,
            };
            let _written = cells.hit(now, key(), &limit(), Cost::ONE, dot);
        }
        (key(), cells.get(key()).expect("counted"))
    };
    node.tick();
    let digest = Digest { buckets: [1; 16] };
    let sent = node.hear(
        3,
        Message::Promise {
            term: term(1, ME.0),
            record: Some(record(term(0, 9), &[9])),
            digest: Some(digest),
            answered: vec![],
        },
    );
    let (_, pull) = &sent[0];
    let Message::Pull { buckets, .. } = pull else {
        panic!("{sent:?}");
    };
    for owner in [8, 9] {
        node.hear(
            3,
            Message::State {
                term: term(1, ME.0),
                buckets: *buckets,
                cells: vec![side(owner)],
                admitted: vec![],
            },
        );
    }
    assert_eq!(node.shard.role(), Role::Open);
    let overshoot = |node: &Node| {
        let units = node.notes.iter().filter_map(|note| match note {
            Note::Overshoot { units } => Some(*units),
            _ => None,
        });
        units.collect::<Vec<_>>()
    };
    assert_eq!(overshoot(&node), [] as [u64; 0]);
    for _ in 0..3 {
        node.hit();
    }
    assert_eq!(overshoot(&node), [3], "eight of five, told once");
}

#[test]
fn what_a_replica_has_not_confirmed_ages_and_what_it_has_does_not() {
    let mut node = crate::one_node::owner(Partition::Available);
    let behind = |node: &Node| {
        let mut behind = std::collections::BTreeMap::new();
        let now = BootNanos::new(node.millis * 1_000_000);
        node.shard.behind(now, &mut behind);
        behind.get(&ReplicaId(3)).copied().unwrap_or_default()
    };
    let written = node.hit().expect("there is a replica to wait for");
    node.millis += 100;
    assert!(Nanos::from_millis(100) <= behind(&node));
    let have = |through| Message::Have {
        term: term(2, 1),
        through,
        gap: false,
    };
    let sent = node.tick();
    let base = sent
        .iter()
        .find(|(to, message)| *to == ReplicaId(3) && matches!(message, Message::Copy { .. }));
    let (_, base) = base.expect("node 3 is told where it begins");
    node.hear(3, crate::one_node::receipt(base));
    node.tick();
    node.hear(3, have(written));
    node.millis += 100;
    assert_eq!(behind(&node), Nanos::ZERO, "idle, and up to date");
}
