//! Who belongs, who left, and who is let go of.

use delta_crdt::ReplicaId;
use membership::{Effect, Member, Message, NameVerdict, Settings, Standing, Status};
use quota::Nanos;

use crate::played::{ME, Node, Town, member, settings};

const HOUR: u64 = 3_600_000;

fn left(name: &str, replica: u32) -> Member {
    Member {
        standing: Standing::Left,
        ..member(name, replica)
    }
}

#[test]
fn who_left_is_let_go_at_once() {
    let mut node = Node::among(&["bea", "cal"]);
    assert!(node.grants(2));
    node.hears(2, Message::Roster(vec![left("bea", 2)]));
    assert_eq!(node.dials(), ["cal:4100"]);
    assert!(node.has_done(&Effect::RosterChanged));
    assert!(node.may_promise_against(2), "it said so itself");
    assert_eq!(node.machine.view().majority(), 2, "of ada and cal");
    node.heartbeats.clear();
    node.passes(1_000);
    assert!(node.heartbeats.iter().all(|(to, _)| to.0 == 3));
}

/// Another node may have a roster of before under way.
#[test]
fn who_left_is_remembered_until_all_others_know() {
    let mut node = Node::among(&["bea", "cal"]);
    node.hears(2, Message::Roster(vec![left("bea", 2)]));
    let is_listed = |node: &Node| node.machine.roster().get("bea").is_some();
    node.passes(20_000);
    assert!(is_listed(&node), "cal has not said what it knows");
    node.hears_heartbeat(3, 7);
    node.passes(1_000);
    assert!(is_listed(&node), "cal knows something else");
    node.hears(3, Message::Roster(vec![member("bea", 2)]));
    assert_eq!(node.status(2), Some(Status::Dead), "an old fact");
    assert_eq!(node.dials(), ["cal:4100"]);
    let agreed = node.machine.roster().digest();
    node.hears_heartbeat(3, agreed);
    node.passes(100);
    assert!(!is_listed(&node));
}

#[test]
fn who_left_is_remembered_for_ten_seconds() {
    let mut node = Node::among(&["bea", "cal"]);
    node.hears(2, Message::Roster(vec![left("bea", 2)]));
    let is_listed = |node: &Node| node.machine.roster().get("bea").is_some();
    let agreed = node.machine.roster().digest();
    // What cal said in the same moment it may have said before.
    node.hears_heartbeat(3, agreed);
    node.passes(12_000);
    assert!(is_listed(&node));
    let mut node = Node::among(&["bea", "cal"]);
    node.hears(2, Message::Roster(vec![left("bea", 2)]));
    node.passes(5_000);
    node.hears_heartbeat(3, agreed);
    node.passes(4_900);
    assert!(is_listed(&node));
    node.passes(200);
    assert!(!is_listed(&node));
}

#[test]
fn a_name_that_went_comes_back_under_a_higher_incarnation() {
    let mut node = Node::new();
    let gone = Member {
        incarnation: 7,
        ..left("bea", 2)
    };
    node.hears(2, Message::Roster(vec![gone.clone()]));
    node.passes(10_100);
    assert_eq!(node.machine.roster().get("bea"), None);
    let verdict = node.wants_name("bea", "bea:4100");
    assert_eq!(verdict, NameVerdict::Granted { incarnation: 8 });
    // Whoever has not let go of it yet says nothing new.
    node.hears(3, Message::Roster(vec![gone]));
    assert_eq!(node.machine.roster().get("bea"), None);
    // And a node that knows nothing else is told.
    let mut other = Node::new();
    let facts = node.machine.roster().facts();
    other.hears(ME + 1, Message::Roster(facts));
    let verdict = other.wants_name("eve", "eve:4100");
    assert_eq!(verdict, NameVerdict::Granted { incarnation: 8 });
}

#[test]
fn a_node_that_leaves_says_so_to_all() {
    let mut node = Node::among(&["bea", "cal"]);
    node.done.clear();
    node.act(|machine, now| machine.on_leave(now));
    assert_eq!(node.status(ME), Some(Status::Leaving));
    let told = |node: &Node, standing| {
        let about_me = |facts: &Vec<Member>| {
            let me = facts.iter().find(|fact| fact.replica.0 == ME);
            me.is_some_and(|me| me.standing == standing)
        };
        let sent = node.done.iter().filter(|effect| {
            matches!(effect, Effect::Send { message: Message::Roster(facts), .. } if about_me(facts))
        });
        sent.count()
    };
    assert_eq!(told(&node, Standing::Leaving), 2);
    assert!(
        !node.machine.view().members()[0].takes_shards,
        "it takes no shard"
    );
    node.act(|machine, now| machine.on_left(now));
    assert_eq!(told(&node, Standing::Left), 2);
}

#[test]
fn only_a_dead_member_is_forgotten_by_an_operator() {
    let mut node = Node::among(&["bea", "cal"]);
    let forget = |node: &mut Node, name| node.act(|machine, now| machine.on_forget(now, name));
    assert!(!forget(&mut node, "bea"), "it lives");
    assert!(!forget(&mut node, "eve"), "nobody");
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(2)));
    assert_eq!(node.machine.view().majority(), 2);
    assert!(forget(&mut node, "bea"));
    assert_eq!(node.machine.view().belonging().len(), 2);
    // It lives after all, and is told.
    node.done.clear();
    node.act(|machine, now| machine.on_introduced(now, &member("bea", 2)));
    let tells = |effect: &Effect| matches!(effect, Effect::Send { to: ReplicaId(2), message: Message::Roster(facts) } if facts.iter().any(|fact| fact.standing == Standing::Forgotten));
    assert!(node.done.iter().any(tells));
    assert_eq!(node.status(2), Some(Status::Dead));
}

#[test]
fn a_forgotten_node_and_one_whose_name_went_to_another_must_stop() {
    let check = |fact: Member, fenced: bool| {
        let mut node = Node::among(&["bea"]);
        node.hears(2, Message::Roster(vec![fact.clone()]));
        assert_eq!(node.has_done(&Effect::Fenced), fenced, "{fact:?}");
    };
    let ada = |incarnation, replica, standing| Member {
        incarnation,
        standing,
        ..member("ada", replica)
    };
    check(ada(2, 9, Standing::Joined), true);
    check(ada(1, ME + 8, Standing::Joined), true);
    check(ada(1, ME, Standing::Forgotten), true);
    check(ada(1, ME, Standing::Joined), false);
    check(ada(1, ME, Standing::Left), false);
    check(ada(0, 9, Standing::Joined), false);
    // Of another name, whatever becomes of it.
    check(member("eve", 9), false);
    let forgotten = Member {
        standing: Standing::Forgotten,
        ..member("bea", 2)
    };
    check(forgotten, false);
}

#[test]
fn who_is_dead_for_an_hour_is_let_go_of_when_no_shard_names_it() {
    let mut node = Node::among(&["bea", "cal"]);
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(2)));
    let long_dead = |node: &mut Node| node.act(|machine, now| machine.long_dead(now));
    node.passes_while(HOUR - 100, &[3]);
    assert_eq!(long_dead(&mut node), []);
    node.passes_while(200, &[3]);
    assert_eq!(long_dead(&mut node), [ReplicaId(2)]);
    assert_eq!(
        node.dials(),
        ["bea:4100", "cal:4100"],
        "a shard may name it"
    );
    node.act(|machine, now| machine.on_unnamed(now, ReplicaId(2)));
    assert_eq!(long_dead(&mut node), []);
    assert_eq!(node.dials(), ["cal:4100"]);
    assert!(node.has_done(&Effect::RosterChanged));
    assert_eq!(node.machine.view().belonging().len(), 2);
    // One that has come back meanwhile is kept.
    node.act(|machine, now| machine.on_unnamed(now, ReplicaId(3)));
    assert_eq!(node.status(3), Some(Status::Alive));
}

#[test]
fn where_the_dead_have_a_vote_nobody_is_let_go_of() {
    let mut node = Node::with(Settings::lan(), false);
    node.meets(&member("bea", 2));
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(2)));
    node.passes(2 * HOUR);
    assert_eq!(node.act(|machine, now| machine.long_dead(now)), []);
}

/// A node that was stopped for two hours has not seen anybody dead for so long.
#[test]
fn a_pause_makes_nobody_long_dead() {
    let mut node = Node::among(&["bea", "cal"]);
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(2)));
    node.passes_while(1_000, &[3]);
    node.millis += 2 * HOUR;
    node.passes_while(100, &[3]);
    assert_eq!(node.status(3), Some(Status::Alive), "it heard nobody");
    assert_eq!(node.act(|machine, now| machine.long_dead(now)), []);
}

#[test]
fn who_was_let_go_of_is_met_again_and_not_heard_of() {
    let mut node = Node::among(&["bea", "cal"]);
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(2)));
    node.passes_while(HOUR + 100, &[3]);
    node.act(|machine, now| machine.on_unnamed(now, ReplicaId(2)));
    // Cal will let go of it a little later.
    node.hears(3, Message::Roster(vec![member("bea", 2), member("cal", 3)]));
    assert_eq!(node.dials(), ["cal:4100"]);
    // Its place is looked at now and then.
    node.done.clear();
    node.passes_while(10_100, &[3]);
    let address = String::from("bea:4100");
    assert!(node.has_done(&Effect::LookAt { address }));
    node.meets(&member("bea", 2));
    assert_eq!(node.status(2), Some(Status::Alive));
    node.passes_while(60_000, &[2, 3]);
    let looks = |effect: &Effect| matches!(effect, Effect::LookAt { .. });
    assert!(!node.done.iter().any(looks), "it is here");
}

impl Node {
    /// Lets go of a member that it meets now and whose process is gone.
    fn lets_go_of(&mut self, name: &str, replica: u32) {
        self.meets(&member(name, replica));
        self.act(|machine, now| machine.on_process_gone(now, ReplicaId(replica)));
        self.act(|machine, now| machine.on_unnamed(now, ReplicaId(replica)));
    }

    /// Where it looks while time passes.
    fn looks_at(&mut self, millis: u64) -> Vec<String> {
        self.done.clear();
        self.passes(millis);
        let looks = self.done.drain(..).filter_map(|effect| match effect {
            Effect::LookAt { address } => Some(address),
            _ => None,
        });
        looks.collect()
    }
}

#[test]
fn those_that_were_let_go_of_are_looked_for_one_by_one() {
    let mut node = Node::new();
    for (replica, name) in (2..).zip(["bea", "cal", "dov"]) {
        node.lets_go_of(name, replica);
    }
    node.passes(25);
    for name in ["bea", "cal", "dov", "bea"] {
        assert_eq!(node.looks_at(10_000), [format!("{name}:4100")]);
    }
    assert_eq!(node.looks_at(9_900), [""; 0]);
}

#[test]
fn the_sixty_four_that_were_let_go_of_last_are_looked_for() {
    let mut node = Node::new();
    // The name that sorts last goes first.
    for number in (0..65).rev() {
        node.lets_go_of(&format!("pod-{number:02}"), 2 + number);
        node.millis += 1;
    }
    let mut looks = node.looks_at(700_000);
    looks.truncate(65);
    let all = (0..64).chain([0]);
    let all: Vec<String> = all.map(|number| format!("pod-{number:02}:4100")).collect();
    assert_eq!(looks, all);
}

#[test]
fn those_that_were_let_go_of_are_looked_for_for_a_day() {
    let mut node = Node::new();
    node.lets_go_of("bea", 2);
    node.millis += 24 * HOUR - 100;
    node.act(|machine, now| machine.on_tick(now));
    let address = String::from("bea:4100");
    assert!(node.has_done(&Effect::LookAt { address }));
    assert_eq!(node.machine.entries(), 2, "itself, and where to look");
    node.millis += 100;
    node.act(|machine, now| machine.on_tick(now));
    assert_eq!(node.machine.entries(), 1);
}

#[test]
fn everything_that_is_kept_about_others_is_an_entry() {
    let mut node = Node::new();
    let entries = |node: &Node| node.machine.entries();
    assert_eq!(entries(&node), 1, "itself");
    for (replica, name) in (2..).zip(["bea", "cal", "dov", "eve"]) {
        let before = entries(&node);
        node.meets(&member(name, replica));
        assert_eq!(entries(&node), before + 3, "member, peer and leases");
    }
    assert!(node.grants(2));
    let elsewhere = |incarnation: u32| {
        let mut bea = member("bea", 10 + incarnation);
        bea.incarnation = incarnation.into();
        bea.contact.cluster = format!("other-{incarnation}:4100");
        bea
    };
    node.meets(&elsewhere(2));
    assert!(node.grants(12));
    assert_eq!(entries(&node), 13 + 2, "leases and address of who it was");
    node.meets(&elsewhere(3));
    assert_eq!(entries(&node), 15 + 2);
    node.hears(3, Message::Roster(vec![left("cal", 3), left("dov", 4)]));
    assert_eq!(entries(&node), 17 - 2, "peer and leases for when it left");
    node.millis += 1;
    for name in ["bea", "eve"] {
        let asked = entries(&node);
        assert_eq!(node.wants_name(name, "new:4100"), NameVerdict::Asking);
        assert_eq!(entries(&node), asked + 1, "a question");
    }
    for (replica, name) in [(20, "fay"), (21, "gus")] {
        let before = entries(&node);
        node.lets_go_of(name, replica);
        assert_eq!(entries(&node), before + 2, "where to look, and leases");
    }
}

/// A newcomer has seen the dead for less than an hour, and would send its roster back and forth until then.
#[test]
fn who_is_not_listed_by_a_live_member_any_more_is_let_go_of_soon() {
    let mut node = Node::among(&["bea", "cal"]);
    node.act(|machine, now| machine.on_process_gone(now, ReplicaId(2)));
    let without = || Message::Roster(vec![member("ada", ME), member("cal", 3)]);
    node.hears(3, without());
    let long_dead = |node: &mut Node| node.act(|machine, now| machine.long_dead(now));
    node.passes_while(9_900, &[3]);
    assert_eq!(long_dead(&mut node), [], "cal may not have known it yet");
    node.passes_while(200, &[3]);
    assert_eq!(long_dead(&mut node), [ReplicaId(2)]);
    let with = vec![member("ada", ME), member("bea", 2), member("cal", 3)];
    node.hears(3, Message::Roster(with));
    assert_eq!(long_dead(&mut node), []);
    node.hears(3, without());
    assert_eq!(long_dead(&mut node), [ReplicaId(2)]);
}

#[test]
fn whom_a_dead_member_does_not_list_is_kept() {
    let mut node = Node::among(&["bea", "cal"]);
    for dead in [2, 3] {
        node.act(|machine, now| machine.on_process_gone(now, ReplicaId(dead)));
    }
    let without = vec![member("ada", ME), member("cal", 3)];
    node.hears(3, Message::Roster(without));
    node.passes(20_000);
    assert_eq!(node.act(|machine, now| machine.long_dead(now)), []);
}

/// Both sides let go of each other, and neither dials the other any more.
#[test]
fn sides_that_were_apart_for_longer_than_an_hour_meet_again() {
    let mut town = Town::new(Settings {
        forget_after: Some(Nanos::from_secs(60)),
        ..settings()
    });
    let [a, b, c] = ["ada", "bea", "cal"].map(|name| town.starts(name));
    town.passes(2_000);
    let sees = |town: &Town, who| town.machine(who).view().members().len();
    assert_eq!([a, b, c].map(|who| sees(&town, who)), [3; 3]);
    town.cut_off = vec![c];
    town.passes(120_000);
    assert_eq!(town.machine(a).roster().belonging(), 2);
    assert_eq!(town.machine(c).roster().belonging(), 1);
    town.cut_off.clear();
    town.passes(30_000);
    assert_eq!([a, b, c].map(|who| sees(&town, who)), [3; 3]);
}
