//! What a promise binds to, and until when: owners that decide no longer, claims that were given up, nodes that cannot promise.

use delta_crdt::ReplicaId;
use membership::{CouncilId, Membership};
use quota::{BootNanos, Nanos};
use shard::{Message, Partition, Role};

use crate::one_node::{ME, Node, member, owner, record, sends, term};

/// A node that has a copy of the shard of node 2, and gives that node a lease.
fn replica() -> Node {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3, 4]);
    node.hear(
        2,
        Message::Announce {
            record: record(term(6, 2), &[2, 1, 3]),
            through: 1,
            digest: None,
        },
    );
    heartbeat(&mut node.membership, node.millis, 2, true);
    node
}

/// `from` asks for a lease, has a majority, and says whether it knows what that one knows.
fn heartbeat(membership: &mut Membership, millis: u64, from: u32, recalled: bool) {
    let now = BootNanos::new(millis * 1_000_000);
    let council = membership.view().council();
    let message = membership::Message::Heartbeat {
        sent: now,
        roster: 0,
        aside: false,
        behind: Nanos::ZERO,
        quorum_left: Nanos::from_secs(1),
        council: (council != CouncilId::NONE).then_some(council),
        recalled,
    };
    membership.on_message(now, ReplicaId(from), message);
}

fn claim(number: u32, by: u32) -> Message {
    Message::Claim {
        term: term(number, by),
        consent: None,
        promised_by: Vec::new(),
        record: None,
    }
}

fn promises(sent: &[(ReplicaId, Message)]) -> bool {
    sends(sent, |message| matches!(message, Message::Promise { .. }))
}

fn claims(sent: &[(ReplicaId, Message)]) -> Vec<ReplicaId> {
    let is_claim = |message: &Message| matches!(message, Message::Claim { .. });
    let claims = sent.iter().filter(|(_, message)| is_claim(message));
    claims.map(|&(to, _)| to).collect()
}

/// Of six nodes with a dead one among them, the owner reached two others: no majority. Two more reached a majority with
/// those same two, who went on giving the owner a lease, and so nobody decided until the links were mended.
#[test]
fn what_an_owner_gives_up_is_promised_to_another_although_its_lease_runs() {
    let mut node = replica();
    let refused = node.hear(3, claim(7, 3));
    assert!(!promises(&refused), "{refused:?}");
    node.hear(3, Message::Release { term: term(6, 2) });
    assert!(
        !promises(&node.hear(3, claim(7, 3))),
        "it is the owner that has to say so"
    );
    node.hear(2, Message::Release { term: term(6, 2) });
    assert!(promises(&node.hear(3, claim(7, 3))));
}

#[test]
fn what_an_owner_gives_up_is_claimed_by_those_who_see_it_live() {
    let mut node = replica();
    assert_eq!(claims(&node.tick()), []);
    node.hear(2, Message::Release { term: term(6, 2) });
    assert_ne!(claims(&node.tick()), []);
    let stale = node.hear(2, Message::Release { term: term(5, 2) });
    assert_eq!(node.shard.role(), Role::Claiming, "{stale:?}");
    let newest = record(term(6, 2), &[2, 1, 3]);
    let is_told = |message: &Message| matches!(message, Message::Refuse { record, .. } if record.as_ref() == Some(&newest));
    assert!(sends(&stale, is_told), "{stale:?}");
}

#[test]
fn an_owner_that_can_decide_no_longer_says_so_until_another_does() {
    let mut node = owner(Partition::Quorum);
    let released = Message::Release { term: term(2, 1) };
    node.millis += 2_000;
    node.tick();
    assert_eq!(node.shard.role(), Role::Idle, "every lease has run out");
    let mut said = Vec::new();
    for _ in 0..40 {
        let sent = node.tick();
        let to = sent.into_iter().filter(|(_, message)| *message == released);
        said.push(to.count());
    }
    let (times, told) = (
        said.iter().filter(|&&to| to != 0).count(),
        said.iter().sum(),
    );
    assert!(said[..3].contains(&2), "within 60 ms, to both: {said:?}");
    assert!((3..=5).contains(&times), "four times a second: {said:?}");
    assert_eq!(2 * times, told);
    let next = record(term(3, 3), &[3, 4]);
    let announce = Message::Announce {
        record: next,
        through: 1,
        digest: None,
    };
    node.hear(3, announce);
    for _ in 0..40 {
        assert!(!sends(&node.tick(), |message| *message == released));
    }
}

/// The word that a claim was given up overtook the claim: whoever promised it held itself bound for as long as the claimant
/// lived.
#[test]
fn a_promise_is_repeated_until_the_claimant_says_what_came_of_it() {
    let mut node = replica();
    node.hear(2, Message::Release { term: term(6, 2) });
    node.hear(3, Message::Release { term: term(7, 3) });
    assert!(promises(&node.hear(3, claim(7, 3))));
    heartbeat(&mut node.membership, node.millis, 3, true);
    assert!(!promises(&node.hear(4, claim(8, 4))), "it is bound");
    let mut repeated = 0;
    for _ in 0..12 {
        repeated += usize::from(promises(&node.tick()));
    }
    assert_eq!(repeated, 1, "every 250 ms");
    node.hear(3, Message::Release { term: term(7, 3) });
    assert!(promises(&node.hear(4, claim(8, 4))));
}

#[test]
fn a_claimant_that_gave_up_says_so_to_whoever_promises_after_all() {
    let mut node = Node::new(Partition::Quorum, false, &[2, 3]);
    let mine = term(1, ME.0);
    assert_eq!(claims(&node.tick()).len(), 2);
    let refuse = Message::Refuse {
        term: mine,
        promised: term(4, 2),
        record: None,
        wait: false,
    };
    node.hear(2, refuse);
    assert_eq!(node.shard.role(), Role::Idle);
    let promise = Message::Promise {
        term: mine,
        record: None,
        digest: None,
        answered: Vec::new(),
    };
    let sent = node.hear(3, promise);
    assert_eq!(sent, [(ReplicaId(3), Message::Release { term: mine })]);
}

/// A node that was killed, and a program beside it that owns nothing: the program is the only one left for a while.
#[test]
fn who_takes_no_shards_opens_none_without_a_copy_of_it() {
    let opens = |asks: bool| {
        let mut node = Node::new(Partition::Available, false, &[]);
        if asks {
            node.membership.on_leave(BootNanos::new(0));
        }
        (0..100).any(|_| {
            node.tick();
            node.shard.role() == Role::Open
        })
    };
    assert!(opens(false));
    assert!(!opens(true));
}

/// A node that founded a cluster with 2 and 3, and sees both; those of `recalled` know what a majority knows.
fn founder(me: u32, recalled: &[u32]) -> Node {
    let mut node = Node::of(ReplicaId(me), Partition::Quorum, false, &[]);
    let now = BootNanos::new(node.millis * 1_000_000);
    let settings = membership::Settings {
        quorum: true,
        ..membership::Settings::lan()
    };
    node.membership = Membership::new(now, member(me), settings, false);
    node.membership
        .on_founding([2, 3].map(|it| member(it).name));
    for other in [2, 3] {
        node.membership.on_introduced(now, &member(other));
        heartbeat(
            &mut node.membership,
            node.millis,
            other,
            recalled.contains(&other),
        );
        node.answered_by(other);
    }
    node
}

/// Nodes promise what is claimed of them.
fn promise(node: &mut Node, by: &[u32]) {
    promise_claim(node, 1, by);
}

/// The same of a claim for the term of this number.
fn promise_claim(node: &mut Node, number: u32, by: &[u32]) {
    let me = node.membership.me().replica;
    for &from in by {
        let promise = Message::Promise {
            term: term(number, me.0),
            record: None,
            digest: None,
            answered: Vec::new(),
        };
        node.hear(from, promise);
    }
}

/// A node was killed and started again at once: its shards were claimed, and the claims waited 1.3 s for the newcomer, which
/// promises nothing before it knows what a majority knows.
#[test]
fn a_claim_waits_for_no_newcomer_that_has_yet_to_recall() {
    let mut node = founder(ME.0, &[2]);
    let announce = Message::Announce {
        record: record(term(6, 2), &[2, ME.0]),
        through: 1,
        digest: None,
    };
    node.hear(2, announce);
    let sent = node.hear(2, Message::Release { term: term(6, 2) });
    assert_eq!(claims(&sent), [ReplicaId(2)]);
    promise_claim(&mut node, 7, &[2]);
    assert_eq!(node.shard.role(), Role::Open, "two of three agree");
}

/// Three nodes were stopped one after another and started together: two of them had heard what a majority knows, and opened
/// shards without what the third had counted alone, and had on its disk.
#[test]
fn a_shard_that_nobody_has_owned_since_the_start_waits_for_everybody_there() {
    let mut node = founder(ME.0, &[2]);
    assert_eq!(claims(&node.tick()), [ReplicaId(2), ReplicaId(3)]);
    promise(&mut node, &[2]);
    assert_eq!(node.shard.role(), Role::Claiming);
    promise(&mut node, &[3]);
    assert_eq!(node.shard.role(), Role::Open);
}
