//! Evidence of death, and what takes it back.

use delta_crdt::ReplicaId;
use membership::{Effect, Member, Message, Status};

use crate::played::{Node, member};

/// The process of `bea` is said to be gone.
fn bea_gone(node: &mut Node) -> bool {
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(2)))
}

#[test]
fn evidence_spares_the_wait_for_the_lease() {
    let mut node = Node::among(&["bea"]);
    assert!(node.grants(2));
    assert!(!node.may_promise_against(2), "it may still decide");
    assert!(bea_gone(&mut node));
    assert_eq!(node.status(2), Some(Status::Dead));
    assert!(!node.machine.view().contains(ReplicaId(2)));
    assert!(node.may_promise_against(2));
    assert!(!bea_gone(&mut node), "known");
}

/// What was seen on 2026-11-25: a firewall that rejected for four seconds made two nodes hold each other for dead for
/// ever, and each admitted for itself.
#[test]
fn a_connection_that_a_member_proves_takes_evidence_back() {
    let mut node = Node::among(&["bea"]);
    bea_gone(&mut node);
    node.passes(4_000);
    assert_eq!(node.status(2), Some(Status::Dead));
    node.meets(&member("bea", 2));
    assert!(node.has_done(&Effect::Disproved {
        replica: ReplicaId(2)
    }));
    assert_eq!(node.status(2), Some(Status::Alive));
    assert!(node.machine.view().contains(ReplicaId(2)));
    assert!(node.grants(2));
    assert!(!node.may_promise_against(2));
}

#[test]
fn an_answer_to_what_was_asked_after_the_evidence_takes_it_back() {
    let mut node = Node::among(&["bea"]);
    node.passes(50);
    let (_, before) = *node.heartbeats.last().expect("one a round");
    bea_gone(&mut node);
    // It may have answered before it died.
    let answer = |sent| Message::Answer {
        sent,
        granted: true,
    };
    node.hears(2, answer(before));
    assert_eq!(node.status(2), Some(Status::Dead));
    assert!(node.may_promise_against(2));
    node.passes(150);
    node.answers(2);
    assert_eq!(node.status(2), Some(Status::Alive));
    assert!(node.has_done(&Effect::Disproved {
        replica: ReplicaId(2)
    }));
}

/// Its shards may have been promised to others while its lease went on: it must find the lease lapsed before it is given
/// another, or it would go on deciding under the old one.
#[test]
fn who_was_held_for_gone_comes_back_when_its_lease_has_run_out() {
    let mut node = Node::among(&["bea"]);
    assert!(node.grants(2), "until 2 010");
    bea_gone(&mut node);
    node.passes(100);
    node.meets(&member("bea", 2));
    assert_eq!((node.status(2), node.millis), (Some(Status::Dead), 1_100));
    assert!(!node.grants(2));
    assert!(!node.may_promise_against(2), "that was taken back");
    node.passes_while(905, &[2]);
    assert_eq!((node.status(2), node.millis), (Some(Status::Dead), 2_005));
    node.passes_while(25, &[2]);
    assert_eq!(node.status(2), Some(Status::Alive));
    assert!(node.grants(2));
}

#[test]
fn a_refusal_after_a_proof_is_evidence_again() {
    let mut node = Node::among(&["bea"]);
    bea_gone(&mut node);
    node.passes(2_000);
    node.meets(&member("bea", 2));
    assert!(bea_gone(&mut node));
    assert_eq!(node.status(2), Some(Status::Dead));
    assert!(node.may_promise_against(2));
}

#[test]
fn a_closed_connection_is_a_suspicion() {
    let mut node = Node::among(&["bea"]);
    node.act(|machine, _| machine.on_disconnected(ReplicaId(2)));
    assert_eq!(node.status(2), Some(Status::Suspect));
    assert!(node.machine.view().contains(ReplicaId(2)));
    node.passes(25);
    node.passes(100);
    node.answers(2);
    assert_eq!(node.status(2), Some(Status::Alive));
}

#[test]
fn a_connection_that_is_back_within_the_moment_takes_the_suspicion_back() {
    let mut node = Node::among(&["bea"]);
    node.act(|machine, _| machine.on_disconnected(ReplicaId(2)));
    assert_eq!(node.status(2), Some(Status::Suspect));
    node.meets(&member("bea", 2));
    assert_eq!(node.status(2), Some(Status::Alive));
}

/// Two cannot listen on one address: a supervisor started the process again before anybody was refused.
#[test]
fn a_fresh_incarnation_at_the_address_proves_the_old_process_gone() {
    let mut node = Node::among(&["bea"]);
    assert!(node.grants(2));
    let again = Member {
        incarnation: 2,
        replica: ReplicaId(3),
        ..member("bea", 2)
    };
    node.meets(&again);
    assert_eq!(node.status(3), Some(Status::Alive));
    assert_eq!(node.status(2), None);
    assert!(node.may_promise_against(2));
    assert!(node.has_done(&Effect::ViewChanged));
}

#[test]
fn a_fresh_incarnation_elsewhere_does_not() {
    let mut node = Node::among(&["bea"]);
    assert!(node.grants(2), "until 2 010");
    let mut elsewhere = member("bea", 3);
    elsewhere.incarnation = 2;
    elsewhere.contact.cluster = "other:4100".into();
    node.meets(&elsewhere);
    assert!(!node.may_promise_against(2));
    assert_eq!(
        node.dials(),
        ["other:4100", "bea:4100"],
        "a refusal where it was would spare the wait"
    );
    node.done.clear();
    assert!(bea_gone(&mut node), "and does");
    assert!(node.may_promise_against(2));
    assert!(
        node.has_done(&Effect::ViewChanged),
        "every shard is looked at again"
    );
    node.passes(100);
    assert_eq!(node.dials(), ["other:4100"]);
}

#[test]
fn a_replaced_incarnation_is_forgotten_when_its_lease_has_run_out() {
    let mut node = Node::among(&["bea"]);
    assert!(node.grants(2), "until 2 010");
    let mut elsewhere = member("bea", 3);
    elsewhere.incarnation = 2;
    elsewhere.contact.cluster = "other:4100".into();
    node.meets(&elsewhere);
    node.passes_while(1_000, &[3]);
    assert!(!node.may_promise_against(2));
    assert_eq!(node.dials().len(), 2);
    node.passes_while(100, &[3]);
    assert!(node.may_promise_against(2));
    assert_eq!(node.dials(), ["other:4100"]);
    assert!(node.has_done(&Effect::RosterChanged), "dialled no more");
}

#[test]
fn a_replaced_incarnation_is_dialled_for_as_long_as_its_lease_may_last() {
    let is_dialled = |millis: u64| {
        let mut node = Node::among(&["bea"]);
        assert!(node.grants(2), "until 2 010");
        let mut elsewhere = member("bea", 3);
        elsewhere.incarnation = 2;
        elsewhere.contact.cluster = "other:4100".into();
        node.meets(&elsewhere);
        node.millis = millis;
        node.act(|machine, now| machine.on_tick(now));
        node.dials().contains(&"bea:4100")
    };
    assert!(is_dialled(2_009));
    assert!(!is_dialled(2_010));
}

#[test]
fn a_newcomer_is_told_whom_not_to_wait_for() {
    let mut node = Node::among(&["bea", "cal", "dov"]);
    bea_gone(&mut node);
    let presumed = |node: &mut Node| node.act(|machine, now| machine.presumed_dead(now));
    assert_eq!(presumed(&mut node), [ReplicaId(2)]);
    // Silent for a lease, and dead for one.
    node.passes_while(1_900, &[4]);
    assert_eq!(node.status(3), Some(Status::Dead));
    assert_eq!(presumed(&mut node), [ReplicaId(2)]);
    node.passes_while(200, &[4]);
    assert_eq!(presumed(&mut node), [ReplicaId(2), ReplicaId(3)]);
    // Met and not heard yet: it is starting, too.
    node.act(|machine, now| machine.on_introduced(now, &member("eve", 5)));
    assert_eq!(presumed(&mut node), [ReplicaId(2), ReplicaId(3)]);
}
