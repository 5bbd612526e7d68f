//! Nobody forgets under `quorum` what another counts on: a holder is one before it has heard of it, and whoever has promised
//! has told what it holds.
//!
//! Both were seen where a quarter of all packets is lost: within half a minute whole shards were forgotten, of 1 400 answered
//! hits up to 177, although no node had died.

use delta_crdt::{Cell, Cells, Digest, Dot, ReplicaId, Term};
use quota::{Cost, KeyHash, UnixNanos};
use shard::{Baseline, Message, Partition, Piece, Record, Role};

use crate::one_node::{Node, key, limit, record, sends, term};
use crate::votes::claimed;

/// A copy of one unit that `owner` counted under term 1.
fn copied_by(owner: u32, holders: &[u32]) -> Message {
    let term = term(1, owner);
    Message::Delta {
        term,
        baseline: Baseline::Whole {
            buckets: u16::MAX,
            record: record(term, holders),
        },
        through: 1,
        cells: counted(term).0,
        admitted: vec![],
    }
}

fn counted(term: Term) -> (Vec<(KeyHash, Cell)>, Digest) {
    let mut cells = Cells::new();
    let now = UnixNanos::new(1_700_000_000_000_000_000);
    let _written = cells.hit(now, key(), &limit(), Cost::ONE, Dot::new(term, 1));
    let cell = cells.get(key()).expect("counted");
    (vec![(key(), cell)], cells.digest())
}

fn claim(term: Term, record: Option<Record>) -> Message {
    Message::Claim {
        term,
        consent: None,
        promised_by: vec![],
        record,
    }
}

/// Whether it is promised that something is held.
fn promises_counts(sent: &[(ReplicaId, Message)]) -> bool {
    let nothing = Digest::default();
    sends(
        sent,
        |message| matches!(message, Message::Promise { digest: Some(it), .. } if *it != nothing),
    )
}

/// An owner had made a node a holder and fell silent before that had heard so. It claimed the shard, as one who is no holder
/// and has nothing that counts, forgot what it had, got no further, and then heard that it was a holder: the next time that
/// the owner was silent it opened the shard, with nothing.
#[test]
fn a_claim_that_comes_to_nothing_leaves_the_copy_that_was_there() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    node.hear(9, copied_by(9, &[9]));
    claimed(&mut node, &[9], 500);
    assert_eq!(node.shard.role(), Role::Claiming, "the holder is not there");
    let made_holder = Record {
        epoch: 1,
        ..record(term(1, 9), &[9, 1])
    };
    let sent = node.hear(2, claim(term(100, 2), Some(made_holder)));
    assert!(promises_counts(&sent), "{sent:?}");
    assert_eq!(node.shard.cells().len(), 1);
}

/// Node 10 was given the shard when node 9 had lost it, and made node 2 a holder. What is here is of node 9, which told it
/// nobody.
#[test]
fn who_opens_as_no_holder_has_what_the_holders_have_and_nothing_else() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    node.hear(9, copied_by(9, &[9]));
    let (cells, theirs) = counted(term(1, 10));
    let mut claimed = None;
    while claimed.is_none() {
        for other in [2, 3] {
            node.answered_by(other);
        }
        claimed = node
            .tick()
            .into_iter()
            .find_map(|(_, message)| match message {
                Message::Claim { term, .. } => Some(term),
                _ => None,
            });
    }
    let term = claimed.expect("the loop ends with it");
    let promise = |record, digest| Message::Promise {
        term,
        record,
        digest,
        answered: vec![],
    };
    node.hear(3, promise(None, None));
    let newest = record(self::term(1, 10), &[10, 2]);
    let asked = node.hear(2, promise(Some(newest), Some(theirs.clone())));
    let pull = asked.iter().find_map(|(to, message)| match message {
        Message::Pull {
            buckets, number, ..
        } if *to == ReplicaId(2) => Some((*buckets, *number)),
        _ => None,
    });
    let (buckets, number) = pull.expect("node 2 is asked for what it has");
    assert_eq!(node.shard.role(), Role::Claiming);
    let piece = Piece {
        number,
        index: 0,
        is_last: true,
        buckets,
        cells,
        admitted: vec![],
    };
    node.hear(2, Message::Answer { term, piece });
    assert_eq!(node.shard.role(), Role::Open);
    assert_eq!(node.shard.cells().digest(), theirs);
}

/// A claimant was promised, and told how much is held. Before it had asked for that its promiser heard of an owner of a lower
/// term, of which no majority had heard, saw that it was no holder under that one, and forgot: the claimant was answered that there
/// is nothing, and opened with it.
#[test]
fn who_has_promised_keeps_what_it_has_told_until_the_claimant_has_opened() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    node.hear(9, copied_by(9, &[9, 1]));
    let promised = node.hear(3, claim(term(4, 3), None));
    assert!(promises_counts(&promised), "{promised:?}");
    let unheard_of = record(term(2, 2), &[2]);
    node.hear(2, claim(term(2, 2), Some(unheard_of.clone())));
    assert_eq!(node.shard.record(), Some(&unheard_of));
    for _ in 0..20 {
        node.tick();
    }
    assert_eq!(node.shard.cells().len(), 1, "node 3 was told of it");
    let opened = Message::Announce {
        record: record(term(4, 3), &[3]),
        through: 1,
        digest: None,
    };
    node.hear(3, opened);
    assert!(node.shard.cells().is_empty(), "node 3 has it");
}
