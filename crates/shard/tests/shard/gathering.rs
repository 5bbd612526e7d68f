//! Nobody forgets under `quorum` what another counts on: a holder is one before it has heard of it, and whoever has promised
//! has told what it holds.
//!
//! Both were seen where a quarter of all packets is lost: within half a minute whole shards were forgotten, of 1 400 answered
//! hits up to 177, although no node had died.

use delta_crdt::{Cell, Cells, Digest, Dot, ReplicaId, Term};
use quota::{BootNanos, Cost, KeyHash, UnixNanos};
use shard::{Baseline, HitId, Message, Operation, Outcome, Partition, Piece, Record, Role};

use crate::one_node::{
    Node, key, limit, owner, owner_but_for_a_promise, receipt, record, sends, term,
};
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

/// The term under which `node` claims, while these answer.
fn claimed_with(node: &mut Node, others: &[u32]) -> Term {
    loop {
        for &other in others {
            node.answered_by(other);
        }
        let claimed = node
            .tick()
            .into_iter()
            .find_map(|(_, message)| match message {
                Message::Claim { term, .. } => Some(term),
                _ => None,
            });
        if let Some(term) = claimed {
            return term;
        }
    }
}

/// The buckets that `from` is asked for, and the number of that.
fn pulled(sent: &[(ReplicaId, Message)], from: u32) -> Option<(u16, u32)> {
    sent.iter().find_map(|(to, message)| match message {
        Message::Pull {
            buckets, number, ..
        } if *to == ReplicaId(from) => Some((*buckets, *number)),
        _ => None,
    })
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
    let term = claimed_with(&mut node, &[2, 3]);
    let promise = |record, digest| Message::Promise {
        term,
        record,
        digest,
        answered: vec![],
    };
    node.hear(3, promise(None, None));
    let newest = record(self::term(1, 10), &[10, 2]);
    let asked = node.hear(2, promise(Some(newest), Some(theirs.clone())));
    let (buckets, number) = pulled(&asked, 2).expect("node 2 is asked for what it has");
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

/// A promise came of a node that was no holder as far as was known, so that what it has did not count. That it was one was told by
/// a newer record, heard of only then: the shard was opened with that node as its holder, and with nothing.
#[test]
fn who_turns_out_to_be_a_holder_is_asked_for_what_it_had_promised() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3, 4]);
    let (cells, theirs) = counted(term(1, 9));
    let first = record(term(1, 9), &[9]);
    node.hear(
        9,
        Message::Announce {
            record: first.clone(),
            through: 1,
            digest: None,
        },
    );
    let term = claimed_with(&mut node, &[2, 3, 4]);
    let promise = |record: &Record, digest| Message::Promise {
        term,
        record: Some(record.clone()),
        digest,
        answered: vec![],
    };
    let mut sent = Vec::new();
    for (from, digest) in [(3, None), (4, None), (2, Some(theirs.clone()))] {
        sent.extend(node.hear(from, promise(&first, digest)));
    }
    let pulls = |message: &Message| matches!(message, Message::Pull { .. });
    assert!(!sends(&sent, pulls), "node 2 is no holder");
    let newer = Record {
        epoch: 1,
        ..record(first.term, &[9, 2])
    };
    let told = Message::Refuse {
        term: self::term(1, 1),
        promised: term,
        record: Some(newer),
        wait: false,
    };
    let mut sent = node.hear(3, told);
    sent.extend(node.tick());
    let (buckets, number) = pulled(&sent, 2).expect("node 2 is asked for what it has");
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

/// An owner had opened, and a follower was to be told that it has everything. Before that left, a hit was admitted: its id came
/// along, and what it was counted in was to follow. The owner fell silent, the follower opened the shard, and when the hit was
/// asked again it was answered, for its id was known, and counted nowhere.
#[test]
fn the_id_of_a_hit_comes_no_sooner_than_what_it_was_counted_in() {
    for partition in [Partition::Quorum, Partition::Available] {
        let (mut node, promise) = owner_but_for_a_promise(partition);
        let id = HitId {
            origin: ReplicaId(3),
            sequence: 7,
        };
        let sent = node.act(|shard, around| {
            shard.on_message(around, ReplicaId(4), promise);
            shard.look(around);
            let hit = Operation::Hit(Cost::ONE);
            let outcome = shard.on_hit(around.now, key(), &limit(), hit, Some(id));
            assert!(matches!(outcome, Outcome::Decided { .. }), "{outcome:?}");
        });
        let copy = sent.iter().find_map(|(to, message)| match message {
            Message::Copy { piece, .. } if *to == ReplicaId(3) => Some((message, piece)),
            _ => None,
        });
        let (copy, piece) = copy.expect("node 3 is told that it has everything");
        assert_eq!((piece.buckets, &*piece.admitted), (0, &[][..]));
        let sent = node.hear(3, receipt(copy));
        let has_both = |message: &Message| matches!(message, Message::Delta { cells, admitted, .. } if cells.len() == 1 && *admitted == [id]);
        assert!(sends(&sent, has_both), "{partition:?} {sent:?}");
    }
}

/// Of an answer that comes in pieces the first had all ids. The claim came to nothing before the others were there.
#[test]
fn ids_of_an_answer_in_pieces_count_when_all_of_it_is_there() {
    let (mut node, _) = owner_but_for_a_promise(Partition::Available);
    let (_, theirs) = counted(term(1, 2));
    let term = term(2, 1);
    let asked = node.hear(
        4,
        Message::Promise {
            term,
            record: None,
            digest: Some(theirs),
            answered: vec![],
        },
    );
    let (buckets, number) = pulled(&asked, 4).expect("node 4 is asked for what it has");
    let id = HitId {
        origin: ReplicaId(3),
        sequence: 7,
    };
    let first = Piece {
        number,
        index: 0,
        is_last: false,
        buckets,
        cells: vec![],
        admitted: vec![id],
    };
    let answered = |node: &mut Node| {
        let hit = Operation::Hit(Cost::ONE);
        let mut outcome = Outcome::Wait;
        node.act(|shard, around| {
            shard.look(around);
            outcome = shard.on_hit(around.now, key(), &limit(), hit, Some(id));
        });
        outcome
    };
    node.hear(4, Message::Answer { term, piece: first });
    assert_eq!(answered(&mut node), Outcome::Wait);
    // Node 4 is gone, and the shard is opened with what is there.
    let gone = ReplicaId(4);
    let now = BootNanos::new(node.millis * 1_000_000);
    node.membership.on_process_gone(now, gone);
    node.act(|shard, around| shard.on_view(around));
    assert_eq!(node.shard.role(), Role::Open);
    let Outcome::Decided { decision, .. } = answered(&mut node) else {
        panic!("it is open");
    };
    assert_eq!(
        decision.remaining, 4,
        "it is counted here, since it may be nowhere else"
    );
}

/// What a node had counted was with another owner, so that it let go of it. Cut off from that one it owned the shard again, and a
/// hit that was still being asked again was counted a second time.
#[test]
fn who_lets_go_of_counts_that_the_owner_has_still_knows_their_ids() {
    let mut node = owner(Partition::Available);
    let id = HitId {
        origin: ReplicaId(4),
        sequence: 7,
    };
    let asked = |node: &mut Node| {
        let mut outcome = Outcome::Wait;
        node.act(|shard, around| {
            shard.look(around);
            let hit = Operation::Hit(Cost::ONE);
            outcome = shard.on_hit(around.now, key(), &limit(), hit, Some(id));
        });
        match outcome {
            Outcome::Decided { decision, .. } => decision.remaining,
            other => panic!("not decided: {other:?}"),
        }
    };
    assert_eq!(asked(&mut node), 4);
    let term = term(9, 2);
    let announced = Message::Announce {
        record: record(term, &[2]),
        through: 1,
        digest: None,
    };
    node.meet(2);
    node.hear(2, announced);
    node.hear(2, Message::Synced { term });
    node.tick();
    assert!(node.shard.cells().is_empty(), "node 2 has it");

    for gone in [2, 3, 4].map(ReplicaId) {
        let now = BootNanos::new(node.millis * 1_000_000);
        node.membership.on_process_gone(now, gone);
    }
    node.act(|shard, around| shard.on_view(around));
    while node.shard.role() != Role::Open {
        assert!(node.millis < 10_000, "{:?}", node.shard.role());
        node.tick();
    }
    assert_eq!(asked(&mut node), 5, "admitted, and counted by node 2");
}
