//! Heartbeats and their answers: who is alive, and until when who may decide.

use delta_crdt::ReplicaId;
use membership::{Effect, Message, Status};
use quota::Nanos;

use crate::played::{Node, at, member, settings};

#[test]
fn a_member_is_alive_when_it_has_answered() {
    let mut node = Node::new();
    node.act(|machine, now| machine.on_introduced(now, &member("bea", 2)));
    assert_eq!(node.status(2), Some(Status::Dead));
    assert_eq!(node.heartbeats, [(ReplicaId(2), at(1_000))], "greeted");
    node.answers(2);
    assert_eq!(node.status(2), Some(Status::Alive));
    assert!(node.has_done(&Effect::ViewChanged));
}

#[test]
fn heartbeats_go_to_all_ten_times_a_second() {
    let mut node = Node::among(&["bea", "cal"]);
    node.heartbeats.clear();
    node.passes(1_000);
    let to = |replica| {
        let sent = node.heartbeats.iter().filter(|(to, _)| to.0 == replica);
        sent.count()
    };
    assert_eq!((to(2), to(3)), (10, 10));
}

#[test]
fn a_silent_member_is_suspect_and_then_dead() {
    let mut node = Node::among(&["bea"]);
    node.passes(350);
    assert_eq!(node.status(2), Some(Status::Alive));
    node.passes(25);
    assert_eq!(node.status(2), Some(Status::Suspect));
    node.passes(600);
    assert_eq!(node.status(2), Some(Status::Suspect), "975 ms");
    node.passes(25);
    assert_eq!(node.status(2), Some(Status::Dead));
}

#[test]
fn a_lease_lasts_a_second_from_when_it_was_asked_for() {
    let mut node = Node::among(&["bea"]);
    let lease = |node: &Node| node.machine.leases().from_holder(ReplicaId(2));
    assert_eq!((lease(&node).until, lease(&node).epoch), (at(2_000), 1));
    node.passes(25);
    node.passes(75);
    // Asked at 1 025, answered now.
    node.answers(2);
    assert_eq!((lease(&node).until, lease(&node).epoch), (at(2_025), 1));
    // Held for alive by this node, and not the other way round: no lease.
    node.passes(100);
    let (_, sent) = *node.heartbeats.last().expect("one a round");
    let granted = false;
    node.hears(2, Message::Answer { sent, granted });
    assert_eq!(lease(&node).until, at(2_025));
    // An older answer than one that was read renews nothing and proves nothing.
    let (_, sent) = node.heartbeats[0];
    node.hears(
        2,
        Message::Answer {
            sent,
            granted: true,
        },
    );
    assert_eq!(lease(&node).until, at(2_025));
    // Nor does one from the future.
    let sent = at(9_000);
    node.hears(
        2,
        Message::Answer {
            sent,
            granted: true,
        },
    );
    assert_eq!(lease(&node).until, at(2_025));
}

#[test]
fn a_late_answer_is_no_proof_of_life() {
    let mut node = Node::among(&["bea"]);
    node.passes(25);
    let (_, sent) = *node.heartbeats.last().expect("one a round");
    node.passes(1_000);
    assert_eq!(node.status(2), Some(Status::Dead));
    node.hears(
        2,
        Message::Answer {
            sent,
            granted: true,
        },
    );
    assert_eq!(node.status(2), Some(Status::Dead), "a second old");
    node.passes(100);
    node.answers(2);
    assert_eq!(node.status(2), Some(Status::Alive));
}

#[test]
fn what_was_granted_is_waited_for_and_a_little_more() {
    let mut node = Node::among(&["bea"]);
    assert!(node.may_promise_against(2), "nothing was granted");
    assert!(node.grants(2));
    node.passes(1_009);
    assert!(!node.may_promise_against(2));
    node.passes(1);
    assert!(node.may_promise_against(2));
    assert!(!node.grants(2), "it is dead by now");
    assert!(node.may_promise_against(2));
}

#[test]
fn a_newcomer_promises_nothing_before_what_it_may_have_granted_has_run_out() {
    let mut node = Node::with(settings(), true);
    assert!(node.machine.leases().is_newcomer());
    node.passes(1_009);
    assert!(!node.may_promise_against(9));
    node.passes(1);
    assert!(node.may_promise_against(9));
    assert!(Node::new().may_promise_against(9), "a founder knows all");
}

/// A process that is started again at once would keep others from its own shards for a second.
#[test]
fn a_newcomer_promises_what_its_own_earlier_incarnation_owned_at_once() {
    let mut node = Node::new();
    let again = membership::Member {
        incarnation: 2,
        ..member("ada", 7)
    };
    node.machine = membership::Membership::new(node.now(), again, settings(), true);
    assert!(!node.may_promise_against(1));
    let known = vec![member("ada", 1), member("bea", 2)];
    node.hears(2, Message::Roster(known));
    assert!(node.may_promise_against(1));
    assert!(!node.may_promise_against(2));
}

#[test]
fn a_paused_node_hears_the_others_again_before_it_declares_them_dead() {
    let mut node = Node::among(&["bea"]);
    node.passes_while(500, &[2]);
    node.millis += 60_000;
    node.passes(25);
    assert_eq!(node.status(2), Some(Status::Alive));
    node.passes(900);
    assert!(node.machine.view().contains(ReplicaId(2)));
    node.passes(200);
    assert_eq!(node.status(2), Some(Status::Dead));
}

#[test]
fn rosters_are_sent_to_who_has_another() {
    let mut node = Node::among(&["bea"]);
    node.done.clear();
    let same = node.machine.roster().digest();
    node.hears_heartbeat(2, same);
    let is_roster = |effect: &Effect| {
        matches!(
            effect,
            Effect::Send {
                message: Message::Roster(_),
                ..
            }
        )
    };
    assert!(!node.done.iter().any(is_roster));
    node.hears_heartbeat(2, same + 1);
    assert!(node.done.iter().any(is_roster));
}

#[test]
fn what_a_member_says_of_itself_is_the_newest_that_it_said() {
    let mut node = Node::among(&["bea"]);
    let heartbeat = |sent, aside, behind| Message::Heartbeat {
        sent: at(sent),
        roster: 0,
        aside,
        behind: Nanos::from_millis(behind),
        quorum_left: Nanos::ZERO,
        council: None,
        recalled: true,
    };
    let stale = |node: &mut Node| {
        let stale = node.act(|machine, now| machine.staleness(now, ReplicaId(2)));
        stale.map(|stale| stale.get() / 1_000_000)
    };
    assert_eq!(stale(&mut node), None);
    node.hears(2, heartbeat(500, true, 7));
    let aside = |node: &Node| node.machine.view().members()[1].aside;
    assert!(aside(&node));
    node.hears(2, heartbeat(400, false, 30));
    assert!(aside(&node), "said before");
    assert_eq!(stale(&mut node), Some(7));
    node.millis += 5;
    assert_eq!(stale(&mut node), Some(12));
    node.hears(2, heartbeat(600, false, 0));
    assert!(!aside(&node));
    assert_eq!(stale(&mut node), Some(0));
}

#[test]
fn a_heartbeat_tells_each_how_far_behind_it_is() {
    let mut node = Node::among(&["bea", "cal"]);
    let behind = [(ReplicaId(3), Nanos::from_millis(8))];
    node.machine.on_behind(behind.into());
    node.machine.on_tick(at(1_100));
    let mut told = Vec::new();
    while let Some(effect) = node.machine.next_effect() {
        if let Effect::Send {
            to,
            message: Message::Heartbeat { behind, .. },
        } = effect
        {
            told.push((to.0, behind.get() / 1_000_000));
        }
    }
    assert_eq!(told, [(2, 0), (3, 8)]);
}
