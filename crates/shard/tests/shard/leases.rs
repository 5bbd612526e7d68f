//! Whose leases an owner needs where nobody holds a copy, and those of members that came after its claim.

use delta_crdt::ReplicaId;
use shard::{Message, Outcome, Partition, Role};

use crate::one_node::{Node, member, owner, sends};

/// An owner that opened a shard with the promises of `others`, of whom none has a copy.
fn lone_owner(others: &[u32]) -> Node {
    let mut node = Node::new(Partition::Available, false, others);
    let sent = node.tick();
    for (to, message) in sent {
        if let Message::Claim { term, .. } = message {
            let promise = Message::Promise {
                term,
                record: None,
                digest: None,
                answered: Vec::new(),
            };
            node.hear(to.0, promise);
        }
    }
    assert_eq!(node.shard.role(), Role::Open);
    node
}

fn is_decided(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Decided { .. })
}

/// Owners of each kind, whose leases run for a second from the start.
fn owners() -> [Node; 3] {
    let quorum = owner(Partition::Quorum);
    [lone_owner(&[2, 3]), owner(Partition::Available), quorum]
}

#[test]
fn hits_after_a_look_are_decided_until_the_leases_end_that_it_saw() {
    for mut node in owners() {
        assert_eq!(node.try_hit_unseen(), Outcome::Wait, "nobody has looked");
        assert!(is_decided(&node.try_hit()));
        node.millis = 999;
        assert!(is_decided(&node.try_hit_unseen()));
        node.millis = 1_000;
        assert_eq!(node.try_hit_unseen(), Outcome::Wait, "a lease has run out");
    }
}

#[test]
fn what_may_change_the_owner_wants_another_look_before_the_next_hit() {
    let happens: [fn(&mut Node); 4] = [
        |node| drop(node.tick()),
        |node| drop(node.act(|shard, around| shard.on_view(around))),
        |node| drop(node.hear(3, Message::Recall)),
        |node| drop(node.act(|shard, around| shard.on_poisoned(around))),
    ];
    for happens in happens {
        for mut node in owners() {
            assert!(is_decided(&node.try_hit()));
            happens(&mut node);
            assert_eq!(node.try_hit_unseen(), Outcome::Wait);
        }
    }
}

/// The owner of a cluster in its first half second was stopped for two seconds. The others opened its shards, and when it
/// woke it admitted all the hits that waited in its sockets, beside theirs.
#[test]
fn an_owner_that_wakes_without_a_copy_anywhere_asks_before_it_decides() {
    let mut node = lone_owner(&[2, 3]);
    assert!(is_decided(&node.try_hit()));
    node.millis += 2_000;
    assert_eq!(node.try_hit(), Outcome::Wait, "every lease has run out");
    node.answered_by(2);
    node.answered_by(3);
    let now_leased = node.try_hit();
    assert_eq!(
        now_leased,
        Outcome::Wait,
        "both may have promised the shard meanwhile"
    );
    let sent = node.tick();
    assert!(sends(&sent, |message| matches!(
        message,
        Message::Claim { .. }
    )));
}

#[test]
fn the_lease_of_one_is_enough_where_nobody_has_a_copy() {
    let mut node = lone_owner(&[2, 3]);
    for _ in 0..20 {
        node.millis += 100;
        node.answered_by(3);
        node.tick();
    }
    assert!(
        is_decided(&node.try_hit()),
        "node 3 would have promised it to nobody"
    );
}

#[test]
fn a_member_that_came_later_is_asked_as_well() {
    let mut node = lone_owner(&[]);
    node.millis += 5_000;
    assert!(is_decided(&node.try_hit()), "there is nobody to ask");
    let boot = quota::BootNanos::new(node.millis * 1_000_000);
    node.membership.on_introduced(boot, &member(4));
    node.answered_by(4);
    assert!(
        is_decided(&node.try_hit()),
        "it has promised nobody anything yet"
    );
    node.tick();
    node.millis += 2_000;
    node.answered_by(4);
    assert_eq!(node.try_hit(), Outcome::Wait);
}

#[test]
fn an_owner_goes_on_alone_when_the_others_are_gone() {
    let mut node = lone_owner(&[2, 3]);
    let boot = quota::BootNanos::new(node.millis * 1_000_000);
    for gone in [2, 3] {
        node.membership.on_process_gone(boot, ReplicaId(gone));
    }
    node.millis += 2_000;
    node.tick();
    assert!(is_decided(&node.try_hit()));
}

/// Whether an owner of three, of whom one falls silent, goes on without a claim when a fourth has come that `knows` its record.
#[track_caller]
fn goes_on_with_a_newcomer(knows: bool) -> bool {
    let mut node = owner(Partition::Quorum);
    let boot = quota::BootNanos::new(node.millis * 1_000_000);
    node.membership.on_introduced(boot, &member(5));
    for other in [3, 4, 5] {
        node.answered_by(other);
    }
    node.act(|shard, around| shard.on_view(around));
    for _ in 0..15 {
        node.millis += 79;
        node.answered_by(3);
        node.answered_by(5);
        let sent = node.tick();
        let record = node.shard.record().expect("it owns").clone();
        let told = |(to, message): &(ReplicaId, Message)| {
            *to == ReplicaId(5) && matches!(message, Message::Announce { .. })
        };
        if knows && sent.iter().any(told) {
            let (term, epoch) = (record.term, record.epoch);
            node.hear(5, Message::Known { term, epoch });
        }
    }
    node.shard.role() == Role::Open
}

/// When a newcomer came to count, and one of those before it was dead, every shard was claimed anew.
#[test]
fn a_member_that_took_note_of_the_record_counts_as_if_it_had_promised() {
    assert!(goes_on_with_a_newcomer(true));
    assert!(!goes_on_with_a_newcomer(false));
}
