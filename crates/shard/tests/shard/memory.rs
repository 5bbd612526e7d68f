//! What a shard does that runs out of room.

use delta_crdt::{Added, Cell, Cells, Digest, Dot, ReplicaId, Slot, Term, Version};
use quota::{Cost, Count, FixedWindow, KeyHash, Nanos, UnixNanos};
use shard::{Baseline, HitId, Message, Note, Partition, Piece, Room};

use crate::one_node::{Node, key, limit, owner, receipt, record, sends, term};

const NONE: Room = Room { keys: 0, bytes: 0 };

const NOW: UnixNanos = UnixNanos::new(1_700_000_000_000_000_000);

/// What was sent to node 3 of what the owner wrote.
fn news(sent: &[(ReplicaId, Message)]) -> Vec<(KeyHash, Cell)> {
    let cells = sent.iter().filter_map(|(to, message)| match message {
        Message::Delta { cells, .. } if *to == ReplicaId(3) => Some(cells.clone()),
        _ => None,
    });
    cells.flatten().collect()
}

fn have(node: &mut Node, through: u64) -> Vec<(ReplicaId, Message)> {
    let term = term(2, 1);
    let gap = false;
    node.hear(3, Message::Have { term, through, gap })
}

/// An owner whose replica, node 3, has a hit, and that has evicted the key since. What it sends then.
fn evicting_owner(partition: Partition) -> (Node, (KeyHash, Cell), Vec<(ReplicaId, Message)>) {
    let mut node = owner(partition);
    let sent = node.tick();
    let base = sent
        .iter()
        .find(|(to, message)| *to == ReplicaId(3) && matches!(message, Message::Copy { .. }));
    let (_, base) = base.expect("node 3 is told where it begins");
    node.hear(3, receipt(base));
    let written = node.hit().expect("there is a replica");
    let counted = news(&node.tick());
    let [counted] = &counted[..] else {
        panic!("one key was written: {counted:?}");
    };
    have(&mut node, written);
    node.act(|shard, around| assert_eq!(shard.evict(around.now, NONE), [key()]));
    assert!(node.shard.cells().is_empty());
    let sent = node.tick();
    (node, counted.clone(), sent)
}

/// A replica of node 2, which has sent it `cells` as of write 5.
fn replica(partition: Partition, cells: Vec<(KeyHash, Cell)>) -> Node {
    let mut node = Node::new(partition, false, &[2, 3]);
    let copy = Message::Delta {
        term: term(1, 2),
        baseline: Baseline::Whole {
            buckets: u16::MAX,
            record: record(term(1, 2), &[2, 1, 3]),
        },
        through: 5,
        cells,
        admitted: vec![],
    };
    node.hear(2, copy);
    node.hear(2, Message::Synced { term: term(1, 2) });
    node
}

fn delta(after: u64, through: u64, cells: Vec<(KeyHash, Cell)>) -> Message {
    Message::Delta {
        term: term(1, 2),
        baseline: Baseline::After(after),
        through,
        cells,
        admitted: vec![],
    }
}

/// One unit counted by `term`, by its write `seq`.
fn counted(term: Term, seq: u64) -> Cells {
    let mut cells = Cells::new();
    let _counted = cells.hit(NOW, key(), &limit(), Cost::ONE, Dot::new(term, seq));
    cells
}

fn cell_of(cells: &Cells) -> (KeyHash, Cell) {
    (key(), cells.get(key()).expect("counted"))
}

/// Seen: owner and replica each evicted what it thought best, and each brought back what the other had evicted, for ever.
#[test]
fn what_an_owner_evicts_its_replicas_let_go() {
    for partition in [Partition::Available, Partition::Quorum] {
        for by in [term(1, 2), term(1, 9)] {
            let mut cells = counted(by, 3);
            let mut replica = replica(partition, vec![cell_of(&cells)]);
            assert_eq!(replica.shard.cells().len(), 1);
            let evicted = cells.evict(NOW, 1, 0);
            let eviction = evicted[0].cell(Dot::new(term(1, 2), 6));
            let told = delta(5, 6, vec![(key(), eviction)]);
            replica.hear(2, told);
            assert!(replica.shard.cells().is_empty(), "written by {by}");
        }
    }
}

#[test]
fn an_eviction_is_told_to_every_replica_until_it_is_confirmed() {
    let (mut node, _, sent) = evicting_owner(Partition::Available);
    let evictions = news(&sent);
    assert_eq!(evictions.len(), 1);
    assert_eq!(evictions[0].1.expires_at(), UnixNanos::ZERO);
    node.millis += 300;
    assert_eq!(news(&node.tick()), evictions, "it may have been lost");
    have(&mut node, 3);
    node.millis += 300;
    assert_eq!(news(&node.tick()), []);
}

/// What a key's last owner had counted is unknown to a count that starts anew: only the eviction says that it is gone.
#[test]
fn a_key_that_is_counted_anew_is_told_of_after_its_eviction() {
    let (mut node, _, _) = evicting_owner(Partition::Available);
    node.hit();
    node.millis += 300;
    let told = news(&node.tick());
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].1.expires_at(), UnixNanos::ZERO);
    assert_eq!(told[1], cell_of(node.shard.cells()));
}

/// A copy that was on its way, or a replica that missed it, brings back nothing, and is told again.
#[test]
fn what_an_owner_has_evicted_is_not_brought_back() {
    let (mut node, counted, _) = evicting_owner(Partition::Available);
    have(&mut node, 3);
    let state = Message::State {
        term: term(2, 1),
        buckets: u16::MAX,
        cells: vec![counted],
        admitted: vec![],
    };
    node.hear(3, state);
    assert!(node.shard.cells().is_empty());
    let told = news(&node.tick());
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.expires_at(), UnixNanos::ZERO);
}

/// A delta that comes twice, or late, says nothing new: what it tells of may be gone by now.
#[test]
fn an_old_delta_brings_back_nothing() {
    let mut cells = counted(term(1, 2), 6);
    let hit = delta(5, 6, vec![cell_of(&cells)]);
    let mut replica = replica(Partition::Available, vec![]);
    replica.hear(2, hit.clone());
    assert_eq!(replica.shard.cells().len(), 1);
    let eviction = cells.evict(NOW, 1, 0)[0].cell(Dot::new(term(1, 2), 7));
    replica.hear(2, delta(6, 7, vec![(key(), eviction)]));
    replica.hear(2, hit);
    assert!(replica.shard.cells().is_empty());
}

/// The owner has room, the replica has not: the copy has holes then, and nobody tries to fill them for ever.
#[test]
fn a_replica_without_room_evicts_alone_and_is_not_filled_again() {
    for partition in [Partition::Available, Partition::Quorum] {
        let mut cells = counted(term(1, 2), 3);
        let dot = Dot::new(term(1, 2), 4);
        let _counted = cells.hit(NOW, KeyHash::new(1), &limit(), Cost::new(2), dot);
        let mut replica = replica(partition, cells.iter().collect());
        let one = Room {
            keys: 1,
            bytes: usize::MAX,
        };
        // One key more than there is room for is lent.
        replica.act(|shard, around| assert_eq!(shard.evict(around.now, one), []));
        replica.act(|shard, around| assert_eq!(shard.evict(around.now, NONE), [key()]));
        let announced = Message::Announce {
            record: record(term(1, 2), &[2, 1, 3]),
            through: 5,
            digest: Some(cells.digest()),
        };
        let mut sent = replica.hear(2, announced);
        sent.extend(replica.tick());
        let asks =
            |message: &Message| matches!(message, Message::Offer { .. } | Message::Pull { .. });
        assert!(!sends(&sent, asks), "{sent:?}");
    }
}

/// The end of a copy in pieces says that all of it came, not that what came first is still there.
#[test]
fn what_is_evicted_alone_while_a_copy_comes_in_is_a_hole_after_it() {
    let mut cells = counted(term(1, 2), 3);
    let dot = Dot::new(term(1, 2), 4);
    let _counted = cells.hit(NOW, KeyHash::new(1), &limit(), Cost::new(2), dot);
    let piece = |index, cells| Message::Copy {
        term: term(1, 2),
        record: record(term(1, 2), &[2, 1, 3]),
        through: 5,
        piece: Piece {
            number: 1,
            index,
            is_last: index == 1,
            buckets: u16::MAX,
            cells,
            admitted: vec![],
        },
    };
    let mut replica = Node::new(Partition::Available, false, &[2, 3]);
    replica.hear(2, piece(0, cells.iter().collect()));
    replica.act(|shard, around| assert_eq!(shard.evict(around.now, NONE), [key()]));
    replica.hear(2, piece(1, vec![]));
    replica.hear(2, Message::Synced { term: term(1, 2) });
    let announced = Message::Announce {
        record: record(term(1, 2), &[2, 1, 3]),
        through: 5,
        digest: Some(cells.digest()),
    };
    let mut sent = replica.hear(2, announced);
    sent.extend(replica.tick());
    let asks = |message: &Message| matches!(message, Message::Offer { .. });
    assert!(!sends(&sent, asks), "{sent:?}");
}

#[test]
fn nothing_is_evicted_while_there_is_room() {
    let mut node = owner(Partition::Available);
    node.hit();
    let room = Room {
        keys: 1,
        bytes: 1_000,
    };
    node.act(|shard, around| assert_eq!(shard.evict(around.now, room), []));
    let too_small = Room { bytes: 10, ..room };
    node.act(|shard, around| assert_eq!(shard.evict(around.now, too_small), [key()]));
}

/// 32 768 ids of clients, of which 5 more come.
#[test]
fn ids_for_which_there_is_no_room_are_told() {
    let mut node = owner(Partition::Available);
    let state = Message::State {
        term: term(2, 1),
        buckets: u16::MAX,
        cells: vec![],
        admitted: (0..32_773).map(HitId::of_client).collect(),
    };
    node.hear(3, state);
    assert!(node.notes.contains(&Note::CrowdedOut { ids: 5 }));
}

/// The set of keys to be measured grew with every fork, and was emptied by hits alone.
#[test]
fn no_more_than_4096_forked_keys_wait_to_be_measured() {
    let mut node = owner(Partition::Available);
    let side = |number, units| {
        let slot = Slot {
            term: term(1, number),
            seq: 1,
            added: Added::new(units),
        };
        let end = NOW + Nanos::from_secs(60);
        let window = FixedWindow::new(end, 3, Nanos::from_secs(60)).expect("within bounds");
        Version::new(Count::FixedWindow(window), [slot], []).expect("a slot")
    };
    let forked = |key: u64| {
        let cell = Cell::new([side(7, 3), side(8, 3)]).expect("two versions");
        (KeyHash::new(u128::from(key) << 64 | u128::from(key)), cell)
    };
    let state = Message::State {
        term: term(2, 1),
        buckets: u16::MAX,
        cells: (0..5_000).map(forked).collect(),
        admitted: vec![],
    };
    node.hear(3, state);
    assert!(node.notes.contains(&Note::Forked { keys: 5_000 }));
    assert!(node.notes.contains(&Note::Unmeasured { keys: 904 }));
    assert_ne!(node.shard.cells().digest(), Digest::default());
}
