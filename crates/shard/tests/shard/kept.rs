//! What comes from a disk: who takes it in, who goes before it, and what is told for the next time.

use delta_crdt::{Cell, Cells, Digest, Dot, KeptChanges};
use quota::{Cost, KeyHash, Now, UnixNanos};
use shard::{Message, Partition, Piece, Role};

use crate::one_node::{Node, key, limit, record, sends, term};

/// So many units, counted under term 7 of a node that is no more.
fn kept(units: u32) -> (Vec<(KeyHash, Cell)>, Digest) {
    let mut cells = Cells::new();
    let now = UnixNanos::new(1_700_000_000_000_000_000);
    let limit = limit().with_keep(true);
    for seq in 1..=u64::from(units) {
        let dot = Dot::new(term(7, 77), seq);
        assert!(cells.hit(now, key(), &limit, Cost::ONE, dot).changed);
    }
    let cell = cells.get(key()).expect("counted");
    (vec![(key(), cell)], cells.digest())
}

/// A node that sees nodes 2 and 3 alive, and found this on its disk.
fn loaded(partition: Partition, units: u32) -> Node {
    let mut node = Node::new(partition, false, &[2, 3]);
    if 0 < units {
        node.act(|shard, around| shard.load_kept(around.now, kept(units).0));
    }
    node.shard.list_kept_changes();
    node
}

fn used(node: &Node) -> u64 {
    let now = UnixNanos::new(1_700_000_000_000_000_000);
    node.shard.cells().used(now, key(), &limit())
}

fn changes(node: &mut Node) -> KeptChanges {
    node.shard.take_kept_changes()
}

/// All nodes were stopped. The first to claim asks every other what its disk has, and goes above every term that it knows.
#[test]
fn a_shard_opens_with_what_is_on_the_disks_of_all_who_promise() {
    for partition in [Partition::Available, Partition::Quorum] {
        for on_own_disk in [0, 1] {
            let mut node = loaded(partition, on_own_disk);
            let sent = node.tick();
            let claims = |message: &Message| match message {
                Message::Claim { term, .. } => 0 == on_own_disk || 7 < term.number,
                _ => false,
            };
            assert!(sends(&sent, claims), "{sent:?}");
            let claimed = sent.iter().find_map(|(_, message)| match message {
                Message::Claim { term, .. } => Some(*term),
                _ => None,
            });
            let claimed = claimed.expect("a claim");
            let promise = |digest| Message::Promise {
                term: claimed,
                record: None,
                digest,
                answered: vec![],
            };
            let mut sent = node.hear(2, promise(Some(kept(3).1)));
            sent.extend(node.hear(3, promise(None)));
            assert_eq!(node.shard.role(), Role::Claiming, "{partition:?}");
            let pull = sent.iter().find_map(|(_, message)| match message {
                Message::Pull {
                    buckets, number, ..
                } => Some((*buckets, *number)),
                _ => None,
            });
            let (buckets, number) = pull.expect("a pull");
            let piece = Piece {
                number,
                index: 0,
                is_last: true,
                buckets,
                cells: kept(3).0,
                admitted: vec![],
            };
            let answer = Message::Answer {
                term: claimed,
                piece,
            };
            node.hear(2, answer);
            assert_eq!(node.shard.role(), Role::Open, "{partition:?}");
            assert_eq!(used(&node), 3);
            // It is on the disk of this node from now on, too.
            let KeptChanges {
                cells, all_gone, ..
            } = changes(&mut node);
            assert!(!all_gone);
            assert!(matches!(&cells[..], [(_, Some(cell))] if cell.is_kept()));
        }
    }
}

/// Others hold the shard: the owner is offered what this disk has. Under `quorum` it was never answered, or they have it.
#[test]
fn a_node_that_finds_the_shard_open_offers_what_its_disk_has() {
    let announce = || Message::Announce {
        record: record(term(2, 2), &[2, 3]),
        through: 1,
        digest: None,
    };
    // Its owner never went away: it goes on under the term that this disk knows.
    let mut node = loaded(Partition::Available, 3);
    let same = Message::Announce {
        record: record(term(7, 77), &[2, 3]),
        through: 1,
        digest: None,
    };
    let sent = node.hear(2, same);
    assert!(
        !sends(&sent, |it| matches!(it, Message::Refuse { .. })),
        "{sent:?}"
    );
    let offers = |message: &Message| matches!(message, Message::Offer { .. });
    let mut node = loaded(Partition::Available, 3);
    let mut sent = node.hear(2, announce());
    // Its disk knows higher terms than the owner, who claims above them.
    let refuses = |message: &Message| matches!(message, Message::Refuse { promised, .. } if promised.number == 7);
    assert!(sends(&sent, refuses), "{sent:?}");
    let higher = Message::Announce {
        record: record(term(8, 2), &[2, 3]),
        through: 1,
        digest: None,
    };
    sent = node.hear(2, higher);
    sent.extend(node.tick());
    assert!(sends(&sent, offers), "{sent:?}");
    assert_eq!(used(&node), 3);
    node.hear(2, Message::Synced { term: term(8, 2) });
    assert_eq!(used(&node), 0, "the owner has it");
    assert!(changes(&mut node).all_gone);

    let mut node = loaded(Partition::Quorum, 3);
    let higher = Message::Announce {
        record: record(term(8, 2), &[2, 3]),
        through: 1,
        digest: None,
    };
    let mut sent = node.hear(2, higher);
    sent.extend(node.tick());
    assert!(!sends(&sent, offers), "{sent:?}");
    assert_eq!(used(&node), 0);
}

/// What was there before the panic is on the disk, and is believed there.
#[test]
fn a_panic_takes_nothing_from_the_disk() {
    let mut node = loaded(Partition::Available, 3);
    node.act(|shard, around| shard.on_poisoned(around));
    assert_eq!(used(&node), 0);
    assert_eq!(changes(&mut node), KeptChanges::default());
    let now = Now {
        wall: UnixNanos::new(1_700_000_000_000_000_000),
        ..Now::default()
    };
    node.shard.load_kept(now, kept(1).0);
    assert_eq!(changes(&mut node).cells.len(), 1, "it goes on listing");
}
