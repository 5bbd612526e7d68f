//! Who gets a name.

use delta_crdt::ReplicaId;
use membership::{NameVerdict, Status};

use crate::played::{Node, member};

/// A node that has heard of Bea a moment ago.
fn beside_bea() -> Node {
    let mut node = Node::among(&["bea"]);
    node.millis += 1;
    node
}

const SECOND: NameVerdict = NameVerdict::Granted { incarnation: 2 };

#[test]
fn a_free_name_is_given() {
    let mut node = Node::new();
    let verdict = node.wants_name("bea", "bea:4100");
    assert_eq!(verdict, NameVerdict::Granted { incarnation: 1 });
    assert_eq!(node.wants_name("ada", "ada:4101"), NameVerdict::Taken);
}

#[test]
fn a_holder_that_answers_keeps_its_name() {
    let mut node = beside_bea();
    assert_eq!(node.wants_name("bea", "other:4100"), NameVerdict::Asking);
    node.passes(25);
    assert_eq!(node.wants_name("bea", "other:4100"), NameVerdict::Asking);
    node.answers(2);
    assert_eq!(node.wants_name("bea", "other:4100"), NameVerdict::Taken);
}

#[test]
fn a_silent_holder_is_asked_for_half_a_second() {
    let mut node = beside_bea();
    assert_eq!(node.wants_name("bea", "other:4100"), NameVerdict::Asking);
    node.passes(499);
    assert_eq!(node.wants_name("bea", "other:4100"), NameVerdict::Asking);
    node.passes(1);
    assert_eq!(node.wants_name("bea", "other:4100"), SECOND);
}

/// Two seconds after an unanswered question the newcomer is another one, and the holder has all its time again.
#[test]
fn an_old_question_says_nothing_about_now() {
    let mut node = beside_bea();
    assert_eq!(node.wants_name("bea", "other:4100"), NameVerdict::Asking);
    node.passes(2_000);
    assert_eq!(node.wants_name("bea", "other:4100"), NameVerdict::Asking);
    node.passes(500);
    assert_eq!(node.wants_name("bea", "other:4100"), SECOND);
}

#[test]
fn a_question_is_kept_for_two_seconds() {
    let is_kept_after = |millis: u64| {
        let mut node = beside_bea();
        let before = node.machine.entries();
        assert_eq!(node.wants_name("bea", "other:4100"), NameVerdict::Asking);
        node.millis += millis;
        node.act(|machine, now| machine.on_tick(now));
        node.machine.entries() == before + 1
    };
    assert!(is_kept_after(1_999));
    assert!(!is_kept_after(2_000));
}

#[test]
fn a_holder_whose_process_is_gone_is_not_asked() {
    let mut node = Node::among(&["bea"]);
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(2)));
    assert_eq!(node.wants_name("bea", "other:4100"), SECOND);
}

/// A supervisor starts a killed process again at once. Asking the dead one for half a second made the others wait for it.
#[test]
fn who_asks_from_the_place_of_a_lost_holder_proves_it_gone() {
    let mut node = beside_bea();
    assert!(node.grants(2));
    node.act(|machine, _| machine.on_disconnected(ReplicaId(2)));
    assert_eq!(node.wants_name("bea", "bea:4100"), SECOND);
    assert_eq!(node.status(2), Some(Status::Dead));
    assert!(node.may_promise_against(2));
}

/// Hosts behind one proxy, or told to advertise a loopback address: what is connected and answers is not gone.
#[test]
fn who_asks_from_the_place_of_a_connected_holder_proves_nothing() {
    let mut node = beside_bea();
    assert_eq!(node.wants_name("bea", "bea:4100"), NameVerdict::Asking);
    assert_eq!(node.status(2), Some(Status::Alive));
    node.passes(25);
    node.answers(2);
    assert_eq!(node.wants_name("bea", "bea:4100"), NameVerdict::Taken);
}

#[test]
fn an_address_that_nobody_told_proves_nothing() {
    let mut node = Node::new();
    let mut bea = member("bea", 2);
    bea.contact.cluster = String::new();
    node.meets(&bea);
    node.millis += 1;
    node.act(|machine, _| machine.on_disconnected(ReplicaId(2)));
    assert_eq!(node.wants_name("bea", ""), NameVerdict::Asking);
    let again = membership::Member {
        incarnation: 2,
        replica: ReplicaId(3),
        ..bea
    };
    assert!(node.grants(2));
    node.meets(&again);
    assert!(!node.may_promise_against(2));
}
