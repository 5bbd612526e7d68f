//! What the simulator taught, each lesson with its story, message by message.

use delta_crdt::{Cells, Digest, Dot, ReplicaId, Term};
use quota::{BootNanos, Cost, Nanos, UnixNanos};
use shard::{Baseline, Message, Partition, Record, Role, Shard, Surroundings};

use crate::one_node::{Node, key, limit, owner, receipt, record, sends, term};

/// Seed 365: the first copy to a replica covered the buckets in which it differed, and was taken to cover
/// every write until it was sent. A write into another bucket was confirmed and never sent.
#[test]
fn a_write_before_the_first_copy_is_sent() {
    let mut node = owner(Partition::Available);
    let written = node.hit().expect("there is a replica to wait for");
    let mut sent = node.tick();
    for _ in 0..3 {
        let confirmed =
            sent.iter()
                .filter(|(to, _)| *to == ReplicaId(3))
                .find_map(|(_, message)| {
                    let (through, cells, covers_all) = match message {
                        Message::Copy { through, piece, .. } => {
                            (*through, piece.cells.len(), piece.buckets == u16::MAX)
                        }
                        Message::Delta { through, cells, .. } => (*through, cells.len(), false),
                        _ => return None,
                    };
                    assert!(
                        through < written || 0 < cells || covers_all,
                        "confirms write {written}, which was not sent"
                    );
                    Some((through, receipt(message)))
                });
        let Some((through, receipt)) = confirmed else {
            sent = node.tick();
            continue;
        };
        if written <= through {
            return;
        }
        sent = node.hear(3, receipt);
        sent.extend(node.tick());
    }
    panic!("write {written} was never sent");
}

/// Seed 373: a release overtook its claim, and the promise stayed with a node that no longer claimed. While that
/// one lived, nobody else could get the promise, and the shard had no owner.
#[test]
fn a_promise_is_free_once_its_claimant_has_promised_the_next() {
    let mut node = Node::new(Partition::Available, false, &[2, 3]);
    // A member that asks for leases, and so is granted them.
    let heartbeat = membership::Message::Heartbeat {
        sent: BootNanos::new(0),
        roster: 0,
        aside: false,
        behind: Nanos::ZERO,
        quorum_left: Nanos::ZERO,
        council: None,
        recalled: true,
    };
    node.membership
        .on_message(BootNanos::new(1_000_000), ReplicaId(2), heartbeat);
    let claim = |term, promised_by: &[u32]| Message::Claim {
        term,
        consent: None,
        promised_by: promised_by.iter().copied().map(ReplicaId).collect(),
        record: None,
    };
    let promises = |sent: &[(ReplicaId, Message)]| {
        sent.iter()
            .any(|(_, message)| matches!(message, Message::Promise { .. }))
    };
    assert!(promises(&node.hear(2, claim(term(7, 2), &[]))));
    assert!(
        !promises(&node.hear(3, claim(term(8, 3), &[]))),
        "node 2 may yet open under term 7"
    );
    assert!(
        promises(&node.hear(3, claim(term(8, 3), &[2]))),
        "node 2 has promised term 8"
    );
}

/// Seed 119: an owner whose leases ran out claimed anew, said that it had no replica, and answers left that no
/// majority knew of.
#[test]
fn an_answer_waits_while_its_owner_claims_anew() {
    let mut node = owner(Partition::Quorum);
    let written = node.hit().expect("a majority must know");
    assert!(node.shard.has_replica() && node.shard.confirmed() < written);
    // Every lease runs out.
    node.millis += 1_500;
    node.tick();
    assert_ne!(node.shard.role(), Role::Open);
    assert!(node.shard.has_replica() && node.shard.confirmed() < written);
}

/// An owner changed its holders while a claimant already had the promise of a member, which noted the change: the
/// owner counted it among those who know, and the claimant had been told the older record.
#[test]
fn a_record_below_the_promise_is_refused() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    node.hear(
        2,
        Message::Announce {
            record: record(term(1, 2), &[2, 3]),
            through: 1,
            digest: None,
        },
    );
    node.hear(
        3,
        Message::Claim {
            term: term(2, 3),
            consent: Some(term(1, 2)),
            promised_by: vec![],
            record: None,
        },
    );
    let changed = Record {
        epoch: 1,
        ..record(term(1, 2), &[2])
    };
    let sent = node.hear(
        2,
        Message::Announce {
            record: changed,
            through: 1,
            digest: None,
        },
    );
    assert!(
        sent.iter()
            .all(|(_, message)| !matches!(message, Message::Known { .. })),
        "{sent:?}"
    );
}

/// Seed 1021: a node that had just joined saw its seed alone, and opened a shard without anybody's counts.
#[test]
fn a_newcomer_claims_nothing_before_it_has_heard_everybody() {
    let mut node = Node::new(Partition::Available, true, &[2]);
    let claims = |sent: &[(ReplicaId, Message)]| {
        sent.iter()
            .any(|(_, message)| matches!(message, Message::Claim { .. }))
    };
    assert!(!claims(&node.tick()));
    let mut settled = Node::new(Partition::Available, false, &[2]);
    assert!(claims(&settled.tick()));
}

/// Seed 190: a copy was confirmed, and before its receiver was among the holders another one was announced. The
/// receiver took itself for an outsider and forgot the copy; the owner counted on it from the next record on.
#[test]
fn a_confirmed_copy_is_kept_while_other_holders_are_announced() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3, 4]);
    let mut cells = Cells::new();
    let (key, now) = (key(), UnixNanos::new(1_700_000_000_000_000_000));
    let dot = Dot {
        actor: term(1, 2),
        counter: 1,
    };
    let _written = cells.hit(now, key, &limit(), Cost::ONE, dot);
    node.hear(
        2,
        Message::Delta {
            term: term(1, 2),
            baseline: Baseline::Whole {
                buckets: u16::MAX,
                record: record(term(1, 2), &[2, 4]),
            },
            through: 2,
            cells: vec![(key, cells.get(key).expect("counted"))],
            admitted: vec![],
        },
    );
    let announce = |epoch, holders: &[u32]| Message::Announce {
        record: Record {
            epoch,
            ..record(term(1, 2), holders)
        },
        through: 2,
        digest: None,
    };
    node.hear(2, announce(1, &[2, 4, 3]));
    assert_eq!(node.shard.cells().len(), 1, "the owner may count on it");
    node.hear(2, announce(2, &[2, 3, 1]));
    node.hear(2, announce(3, &[2, 3, 4]));
    assert!(node.shard.cells().is_empty(), "released");
}

/// Seed 7104: an owner that had been paused removed what had expired meanwhile, and with it a unit that its successor, which
/// had counted on without it, should have counted too.
#[test]
fn what_expires_is_kept_until_the_owner_has_it() {
    let mut node = owner(Partition::Available);
    node.hit();
    node.millis += 70_000;
    let successor = record(term(3, 3), &[3, 4]);
    let announced = Message::Announce {
        record: successor,
        through: 1,
        digest: None,
    };
    let sent = node.hear(3, announced);
    let held = |message: &Message| match message {
        Message::Offer { digest, .. } => *digest != Digest::default(),
        _ => false,
    };
    assert!(sends(&sent, held), "{sent:?}");
    let expire = |shard: &mut Shard, around: Surroundings<'_>| {
        shard.expire(around.now, usize::MAX);
    };
    node.act(expire);
    assert_eq!(node.shard.cells().len(), 1);

    let copy = Message::Delta {
        term: term(3, 3),
        baseline: Baseline::Whole {
            buckets: u16::MAX,
            record: record(term(3, 3), &[3, 4, 1]),
        },
        through: 1,
        cells: vec![],
        admitted: vec![],
    };
    node.hear(3, copy);
    node.hear(3, Message::Synced { term: term(3, 3) });
    node.act(expire);
    assert!(node.shard.cells().is_empty(), "the owner has it");
}

/// Seed 2197: whoever owned a shard alone was claimed from after the heal, by a claim that was given up. Its clock was off,
/// so that it left the shard to the others; they saw it alive, and took it for the owner still.
#[test]
fn who_is_taken_for_the_owner_claims_though_its_clock_is_off() {
    let mut node = owner(Partition::Available);
    node.membership.on_aside(true);
    node.hear(3, refusal(term(2, 1), term(3, 3)));
    assert_ne!(node.shard.role(), Role::Open);
    let is_claim =
        |message: &Message| matches!(message, Message::Claim { term, .. } if term.number == 4);
    node.millis += 700;
    for other in [3, 4] {
        node.answered_by(other);
    }
    let sent = node.tick();
    assert!(sends(&sent, is_claim), "{sent:?}");
}

/// Under `quorum` it tells them, and they claim.
#[test]
fn who_decides_no_longer_and_has_a_clock_that_is_off_leaves_its_shard_to_the_others() {
    let mut node = Node::new(Partition::Quorum, false, &[3, 4]);
    node.tick();
    for other in [3, 4] {
        let promise = Message::Promise {
            term: term(1, 1),
            record: None,
            digest: None,
            answered: Vec::new(),
        };
        node.hear(other, promise);
    }
    assert_eq!(node.shard.role(), Role::Open);
    node.membership.on_aside(true);
    node.hear(3, refusal(term(1, 1), term(2, 3)));
    let mut sent = Vec::new();
    for _ in 0..30 {
        for other in [3, 4] {
            node.answered_by(other);
        }
        sent.append(&mut node.tick());
    }
    let released = |message: &Message| matches!(message, Message::Release { .. });
    assert!(sends(&sent, released), "{sent:?}");
    assert!(
        !sends(&sent, |message| matches!(message, Message::Claim { .. })),
        "{sent:?}"
    );
}

fn refusal(of: Term, promised: Term) -> Message {
    Message::Refuse {
        term: of,
        promised,
        record: None,
        wait: false,
    }
}
