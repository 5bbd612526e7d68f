//! Heartbeats and their answers: who is alive, and until when who may decide.

use delta_crdt::ReplicaId;
use membership::{Effect, Member, Message, Seen, Standing, Status};
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
    let again = Member {
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
fn a_node_that_was_away_for_no_longer_than_makes_a_suspect_was_not_paused() {
    let dies_after_a_gap_of = |gap: u64| {
        let mut node = Node::among(&["bea"]);
        node.millis += gap;
        node.act(|machine, now| machine.on_tick(now));
        while node.status(2) != Some(Status::Dead) {
            node.passes(1);
        }
        node.millis
    };
    assert_eq!(dies_after_a_gap_of(350), 2_000, "a second after its answer");
    assert_eq!(dies_after_a_gap_of(351), 2_351, "after this node woke");
}

#[test]
fn silence_lasts_since_the_newest_answer_or_word_and_without_any_since_it_was_met() {
    let mut node = Node::new();
    let since = |node: &Node| node.machine.silent_since(ReplicaId(2));
    assert_eq!(since(&node), None, "nobody");
    node.act(|machine, now| machine.on_introduced(now, &member("bea", 2)));
    assert_eq!(since(&node), Some(at(1_000)));
    node.passes(100);
    node.answers(2);
    let (_, answered) = *node.heartbeats.last().expect("it was sent one");
    assert_eq!((since(&node), answered), (Some(at(1_025)), at(1_025)));
    node.hears_heartbeat(2, 0);
    assert_eq!(since(&node), Some(at(1_100)));
    node.passes(50);
    node.answers(2);
    assert_eq!(since(&node), Some(at(1_125)));
}

#[test]
fn shards_are_placed_on_those_that_stay_and_at_last_on_those_whose_clocks_are_off() {
    let mut node = Node::among(&["bea", "cal", "dov"]);
    let aside = Message::Heartbeat {
        sent: at(500),
        roster: 0,
        aside: true,
        behind: Nanos::ZERO,
        quorum_left: Nanos::ZERO,
        council: None,
        recalled: true,
    };
    node.hears(3, aside);
    let leaving = Member {
        standing: Standing::Leaving,
        ..member("dov", 4)
    };
    node.hears(4, Message::Roster(vec![leaving]));
    assert_eq!(node.status(4), Some(Status::Leaving));
    let names =
        |group: Vec<&Seen>| -> Vec<String> { group.iter().map(|seen| seen.name.clone()).collect() };
    let [preferred, aside] = node.machine.view().placed();
    assert_eq!(names(preferred), ["ada", "bea"]);
    assert_eq!(names(aside), ["cal"]);
}

/// What it was about to do when it panicked may be half done.
#[test]
fn who_goes_on_after_a_panic_knows_who_belongs_and_believes_nobody_before_it_answers_again() {
    let mut node = Node::among(&["bea", "cal"]);
    node.act(|machine, _| machine.on_aside(true));
    node.passes_while(2_000, &[2, 3]);
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(3)));
    let epoch = |node: &Node, holder| node.machine.leases().from_holder(ReplicaId(holder)).epoch;
    assert_eq!((epoch(&node, 2), node.millis), (1, 3_000));
    node.machine = node.machine.restarted(node.now());
    assert_eq!(node.dials(), ["bea:4100", "cal:4100"]);
    assert!(matches!(node.machine.view().members(), [ada] if ada.aside));
    let lease = node.machine.leases().from_holder(ReplicaId(2));
    assert_eq!(lease.until, at(0));
    node.meets(&member("bea", 2));
    node.meets(&member("cal", 3));
    assert_eq!(node.machine.view().members().len(), 3);
    assert_eq!(epoch(&node, 2), 2, "what it had opened is claimed anew");
    node.passes_while(1_009, &[2, 3]);
    assert!(!node.may_promise_against(9));
    node.passes_while(1, &[2, 3]);
    assert!(node.may_promise_against(9));
    assert!(node.grants(3));
    assert!(!node.may_promise_against(3), "it was gone, and is not");
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
