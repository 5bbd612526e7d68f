//! A shard in which something panicked comes back from whoever has what it held.

use delta_crdt::{Cell, Cells, Digest, Dot, ReplicaId};
use quota::{BootNanos, Cost, KeyHash, UnixNanos};
use shard::{Baseline, Message, Note, Outcome, Partition, Role};

use crate::one_node::{ME, Node, key, limit, member, owner, receipt, record, sends, term};
use crate::votes::claimed;

/// One unit, counted under term 1 of node 2.
fn counted() -> (Vec<(KeyHash, Cell)>, Digest) {
    let mut cells = Cells::new();
    let now = UnixNanos::new(1_700_000_000_000_000_000);
    let _written = cells.hit(now, key(), &limit(), Cost::ONE, Dot::new(term(1, 2), 1));
    let cell = cells.get(key()).expect("counted");
    (vec![(key(), cell)], cells.digest())
}

fn copy() -> Message {
    Message::Delta {
        term: term(1, 2),
        baseline: Baseline::Whole {
            buckets: u16::MAX,
            record: record(term(1, 2), &[2, 1]),
        },
        through: 1,
        cells: counted().0,
        admitted: vec![],
    }
}

/// A replica of node 2, in which something panicked.
fn replica() -> Node {
    let mut node = Node::new(Partition::Available, false, &[2, 3]);
    node.hear(2, copy());
    assert_eq!(node.shard.cells().len(), 1);
    node
}

fn asks_for_copy(sent: &[(ReplicaId, Message)]) -> usize {
    let nothing = Message::Have {
        term: term(1, 2),
        through: 0,
        gap: true,
    };
    let asks = sent.iter();
    asks.filter(|sent| **sent == (ReplicaId(2), nothing.clone()))
        .count()
}

/// It once stayed empty until the next write, and was all that was left when its owner died before one.
#[test]
fn a_replica_asks_for_a_copy_until_it_has_one() {
    let mut node = replica();
    let sent = node.act(|shard, around| shard.on_poisoned(around));
    assert!(node.shard.cells().is_empty(), "nothing of it is believed");
    assert_eq!(asks_for_copy(&sent), 1, "{sent:?}");
    let waited: Vec<_> = (0..48).flat_map(|_| node.tick()).collect();
    assert_eq!(asks_for_copy(&waited), 4, "once each 250 ms in a second");
    node.hear(2, copy());
    assert_eq!(node.shard.cells().len(), 1);
    let after: Vec<_> = (0..48).flat_map(|_| node.tick()).collect();
    assert_eq!(asks_for_copy(&after), 0, "it has one");
}

/// What had been done and was not yet sent may be a receipt for what is gone.
#[test]
fn what_waited_to_be_sent_is_not_sent() {
    let mut node = replica();
    let sent = node.act(|shard, around| {
        shard.on_message(around, ReplicaId(2), copy());
        shard.on_poisoned(around);
    });
    let receipt = |message: &Message| matches!(message, Message::Have { gap: false, .. });
    assert!(!sends(&sent, receipt), "{sent:?}");
}

#[test]
fn an_owner_sends_everything_to_a_replica_that_has_lost_it() {
    let mut node = owner(Partition::Available);
    let seq = node.hit();
    let confirm = |node: &mut Node, sent: Vec<(ReplicaId, Message)>| {
        let to_3 = sent.iter().filter(|(to, _)| *to == ReplicaId(3));
        for (_, message) in to_3 {
            if matches!(message, Message::Copy { .. } | Message::Delta { .. }) {
                node.hear(3, receipt(message));
            }
        }
    };
    for _ in 0..20 {
        let sent = node.tick();
        confirm(&mut node, sent);
    }
    assert_eq!(Some(node.shard.confirmed()), seq);
    let lost = Message::Have {
        term: term(2, 1),
        through: 0,
        gap: true,
    };
    let mut sent = node.hear(3, lost);
    assert_eq!(node.shard.confirmed(), 0, "no replica has it any more");
    sent.extend(node.tick());
    sent.extend(node.tick());
    let whole = |message: &Message| match message {
        Message::Copy { piece, .. } => piece.buckets == u16::MAX && piece.cells.len() == 1,
        _ => false,
    };
    assert!(sends(&sent, whole), "{sent:?}");
    confirm(&mut node, sent);
    assert_eq!(Some(node.shard.confirmed()), seq);
}

#[test]
fn an_owner_claims_the_shard_anew_and_has_what_its_replica_has() {
    let mut node = owner(Partition::Available);
    node.hit();
    node.act(|shard, around| shard.on_poisoned(around));
    assert_eq!(node.shard.role(), Role::Claiming);
    assert!(matches!(node.try_hit(), Outcome::Wait));
    let (cells, digest) = counted();
    let claimed = term(3, 1);
    let promise = |digest| Message::Promise {
        term: claimed,
        record: None,
        digest,
        answered: Vec::new(),
    };
    node.hear(4, promise(None));
    let sent = node.hear(3, promise(Some(digest)));
    let pulled = sent.iter().find_map(|(to, message)| match message {
        Message::Pull { buckets, .. } if *to == ReplicaId(3) => Some(*buckets),
        _ => None,
    });
    let state = Message::State {
        term: claimed,
        buckets: pulled.expect("it asks for what it lost"),
        cells,
        admitted: Vec::new(),
    };
    node.hear(3, state);
    assert_eq!(node.shard.role(), Role::Open);
    assert_eq!(node.shard.cells().len(), 1);
    assert!(!node.notes.contains(&Note::StateLost), "{:?}", node.notes);
}

/// Nobody else held it: that is said, and not that all is well.
#[test]
fn a_sole_holder_says_that_the_state_is_lost() {
    let mut node = Node::new(Partition::Available, false, &[]);
    node.tick();
    node.hit();
    node.act(|shard, around| shard.on_poisoned(around));
    node.tick();
    assert_eq!(node.shard.role(), Role::Open);
    assert!(node.notes.contains(&Note::StateLost), "{:?}", node.notes);
}

/// Under `quorum` a holder that has lost its copy is no holder: another one must be there.
#[test]
fn under_quorum_a_holder_without_its_copy_waits_for_one_that_has_it() {
    let role_after = |happens: fn(&mut Node)| {
        let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
        let silent = member(9);
        node.membership.on_introduced(BootNanos::new(0), &silent);
        let holders = &[9, ME.0];
        claimed(&mut node, holders, 0);
        happens(&mut node);
        claimed(&mut node, holders, 3_000);
        node.shard.role()
    };
    assert_eq!(role_after(|_| {}), Role::Open);
    let poisoned = |node: &mut Node| {
        node.act(|shard, around| shard.on_poisoned(around));
    };
    assert_ne!(
        role_after(poisoned),
        Role::Open,
        "node 9 has it, and may come back"
    );
}
