//! Nothing is lost while its holder lives: who may drop a copy, and what is reported when nobody has one.

use delta_crdt::{Cell, Cells, Digest, Dot, ReplicaId};
use membership::{Contact, Member, Standing};
use quota::{BootNanos, Cost, KeyHash, KeyHasher, UnixNanos};
use shard::{Baseline, HitId, Message, Note, Partition, Piece, Role};

use crate::one_node::{ME, Node, key, limit, member, owner, receipt, record, sends, term};

/// One unit, counted under term 1 of node 2.
fn counted() -> (Vec<(KeyHash, Cell)>, Digest) {
    let mut cells = Cells::new();
    let now = UnixNanos::new(1_700_000_000_000_000_000);
    let dot = Dot::new(term(1, 2), 1);
    let _written = cells.hit(now, key(), &limit(), Cost::ONE, dot);
    let cell = cells.get(key()).expect("counted");
    (vec![(key(), cell)], cells.digest())
}

/// A node that holds a copy of what node 2 counted, and has promised term 2 to node 3.
fn promiser() -> Node {
    let mut node = Node::new(Partition::Available, false, &[2, 3]);
    let copy = Message::Delta {
        term: term(1, 2),
        baseline: Baseline::Whole {
            buckets: u16::MAX,
            record: record(term(1, 2), &[2, 1]),
        },
        through: 1,
        cells: counted().0,
        admitted: vec![],
    };
    node.hear(2, copy);
    let claim = Message::Claim {
        term: term(2, 3),
        consent: None,
        promised_by: vec![ReplicaId(2)],
        record: None,
    };
    let sent = node.hear(3, claim);
    let promised = |message: &Message| matches!(message, Message::Promise { .. });
    assert!(sends(&sent, promised), "{sent:?}");
    node
}

fn announce(holders: &[u32]) -> Message {
    Message::Announce {
        record: record(term(2, 3), holders),
        through: 1,
        digest: None,
    }
}

fn is_offer(message: &Message) -> bool {
    matches!(message, Message::Offer { .. })
}

/// Thirty per cent loss: the claimant lost sight of a node that had promised, opened without what it held, and was heard
/// again. The node took its promise for a receipt, and dropped the only copy.
#[test]
fn a_promise_is_no_receipt() {
    let mut node = promiser();
    node.hear(3, announce(&[3]));
    assert_eq!(node.shard.cells().len(), 1, "nobody said that it has it");
    let offers = (0..20).flat_map(|_| node.tick()).collect::<Vec<_>>();
    assert!(sends(&offers, is_offer), "{offers:?}");
    node.hear(3, Message::Synced { term: term(2, 3) });
    assert!(node.shard.cells().is_empty(), "the owner has it");
}

/// The new owner says by itself what it has: an offer at once would have it pull whole buckets, for the hits that came since.
#[test]
fn a_promiser_waits_for_the_receipt_before_it_offers() {
    let mut node = promiser();
    let sent = node.hear(3, announce(&[3]));
    assert!(!sends(&sent, is_offer), "{sent:?}");
    node.hear(3, Message::Synced { term: term(2, 3) });
    let sent = (0..20).flat_map(|_| node.tick()).collect::<Vec<_>>();
    assert!(!sends(&sent, is_offer), "{sent:?}");
}

/// An owner whose replica, node 3, has its copy, and that asks node 4 for what it has: these buckets, under this number.
fn asking_owner() -> (Node, u16, u32) {
    let mut node = owner(Partition::Available);
    let sent = node.tick();
    let base = sent
        .iter()
        .find(|(to, message)| *to == ReplicaId(3) && matches!(message, Message::Copy { .. }));
    let (_, base) = base.expect("node 3 is told where it begins");
    node.hear(3, receipt(base));
    let (_, digest) = counted();
    let term = term(2, 1);
    let pull = node.hear(4, Message::Offer { term, digest });
    let asked = pull.iter().find_map(|(_, message)| match message {
        Message::Pull {
            buckets, number, ..
        } => Some((*buckets, *number)),
        _ => None,
    });
    let (buckets, number) = asked.expect("a pull");
    (node, buckets, number)
}

/// Node 3 says what it has.
fn have(through: u64) -> Message {
    Message::Have {
        term: term(2, 1),
        through,
        gap: false,
    }
}

/// Whether node 4 is told that the owner has everything.
fn hears_of_it(sent: &[(ReplicaId, Message)]) -> bool {
    let is_synced = |message: &Message| matches!(message, Message::Synced { .. });
    sent.iter()
        .any(|(to, message)| *to == ReplicaId(4) && is_synced(message))
}

/// Whoever hears that the owner has its state may drop it, and an owner may die: a replica must have it by then.
#[test]
fn what_an_outsider_brought_is_with_a_replica_before_the_outsider_hears_of_it() {
    let (mut node, buckets, _) = asking_owner();
    let state = Message::State {
        term: term(2, 1),
        buckets,
        cells: counted().0,
        admitted: vec![],
    };
    assert!(!hears_of_it(&node.hear(4, state)));
    assert!(!hears_of_it(&node.tick()), "node 3 has not confirmed it");
    assert!(hears_of_it(&node.hear(3, have(2))));
}

/// The same in pieces: what a replica has of the first is not all that the outsider would drop.
#[test]
fn what_an_outsider_brought_in_pieces_is_whole_before_the_outsider_hears_of_it() {
    let (mut node, buckets, number) = asking_owner();
    let piece = |index, cells| Message::Answer {
        term: term(2, 1),
        piece: Piece {
            number,
            index,
            is_last: index == 1,
            buckets,
            cells,
            admitted: vec![],
        },
    };
    let mut rest = counted().0;
    rest[0].0 = KeyHasher::new([7; 16]).hash("", "limit", "another key");
    assert!(!hears_of_it(&node.hear(4, piece(0, counted().0))));
    node.tick();
    assert!(
        !hears_of_it(&node.hear(3, have(2))),
        "node 4 has more than the first piece"
    );
    assert!(!hears_of_it(&node.tick()));
    assert!(!hears_of_it(&node.hear(4, piece(1, rest))));
    assert!(!hears_of_it(&node.tick()), "node 3 has not confirmed it");
    assert!(hears_of_it(&node.hear(3, have(3))));
}

/// The hits that node 3 is told of as admitted.
fn told_to_replica(sent: &[(ReplicaId, Message)]) -> Vec<HitId> {
    let admitted = |(to, message): &(ReplicaId, Message)| match message {
        Message::Delta { admitted, .. } if *to == ReplicaId(3) => admitted.clone(),
        _ => Vec::new(),
    };
    sent.iter().flat_map(admitted).collect()
}

/// A hit that node 4 had counted on its side of a split was asked again after the heal, of whoever owned the shard by then.
/// The owner that had joined node 4's state knew its id, and kept it to itself: the next one counted it once more.
#[test]
fn a_replica_hears_which_hits_an_outsider_had_admitted_although_it_has_their_counts() {
    let hit = HitId {
        origin: ReplicaId(5),
        sequence: 7,
    };
    let (mut node, buckets, _) = asking_owner();
    let state = |admitted| Message::State {
        term: term(2, 1),
        buckets,
        cells: counted().0,
        admitted,
    };
    let mut sent = node.hear(4, state(vec![hit]));
    sent.extend(node.tick());
    assert_eq!(told_to_replica(&sent), [hit]);

    // The counts had come by another way: digests are equal, and nobody would ever ask for the id.
    let (mut node, ..) = asking_owner();
    let mut sent = node.hear(4, state(vec![]));
    sent.extend(node.tick());
    node.hear(3, have(2));
    assert_eq!(told_to_replica(&sent), []);
    let mut sent = node.hear(4, state(vec![hit]));
    sent.extend(node.tick());
    assert!(!hears_of_it(&sent), "node 3 has not confirmed it");
    assert_eq!(told_to_replica(&sent), [hit]);
    let mut sent = node.hear(3, have(3));
    assert!(hears_of_it(&sent));
    sent.extend(node.hear(4, state(vec![hit])));
    sent.extend(node.tick());
    assert_eq!(told_to_replica(&sent), [], "once");
}

/// A holder that is silent has not lost anything. When it is replaced by an incarnation that starts with nothing, it has.
#[test]
fn state_is_lost_when_no_holder_can_come_back() {
    let mut node = Node::new(Partition::Available, false, &[3]);
    let silent = Member {
        name: "silent".into(),
        ..member(9)
    };
    node.membership.on_introduced(BootNanos::new(0), &silent);
    node.hear(
        3,
        Message::Announce {
            record: record(term(1, 9), &[9]),
            through: 1,
            digest: None,
        },
    );
    for _ in 0..40 {
        for (to, message) in node.tick() {
            if let Message::Claim { term, .. } = message {
                let promise = Message::Promise {
                    term,
                    record: None,
                    digest: None,
                    answered: vec![],
                };
                node.hear(to.0, promise);
            }
        }
    }
    assert_eq!(node.shard.role(), Role::Open);
    assert_eq!(node.shard.record().map(|record| record.owner()), Some(ME));
    assert!(node.notes.contains(&Note::OutOfReach));
    assert!(!node.notes.contains(&Note::StateLost), "{:?}", node.notes);
    let again = Member {
        incarnation: 2,
        replica: ReplicaId(10),
        contact: Contact::default(),
        standing: Standing::Joined,
        ..silent
    };
    node.membership.on_introduced(BootNanos::new(0), &again);
    node.tick();
    let lost = node.notes.iter().filter(|note| **note == Note::StateLost);
    assert_eq!(lost.count(), 1);
}
