//! Who founds a cluster, and that it is founded once.

use delta_crdt::ReplicaId;
use membership::{
    Contact, Founding, FoundingRules, FoundingStep, Member, Membership, Settings, Silence, Standing,
};
use quota::{BootNanos, Nanos};

fn at(millis: u64) -> BootNanos {
    BootNanos::new(millis * 1_000_000)
}

fn rules(quorum: bool, has_seeds: bool, expect: Option<usize>) -> FoundingRules {
    FoundingRules {
        asks: false,
        quorum,
        has_seeds,
        expect,
        look_around: Nanos::from_millis(300),
        patience: Nanos::from_secs(5),
    }
}

/// When a node that meets nobody founds a cluster, looking every 100 ms for a minute.
fn founds_alone_at(rules: FoundingRules) -> Option<u64> {
    let mut node = Founding::new(at(0), "a", rules);
    (0..60_000)
        .step_by(100)
        .find(|&millis| node.step(at(millis)) == FoundingStep::Found)
}

/// Lets `nodes` ask each other every 100 ms for ten seconds, where `reaches` says that the first hears the second; who
/// founds a cluster. Whoever hears a founder after that has joined it.
fn founders(
    names: &[&str],
    rules: FoundingRules,
    reaches: impl Fn(&str, &str) -> bool,
) -> Vec<String> {
    let mut nodes: Vec<Option<Founding>> = names
        .iter()
        .map(|name| Some(Founding::new(at(0), name, rules)))
        .collect();
    let mut founders = Vec::new();
    let mut members: Vec<&str> = Vec::new();
    for millis in (0..10_000).step_by(100) {
        for place in 0..nodes.len() {
            let Some(mut node) = nodes[place].take() else {
                continue;
            };
            let me = names[place];
            if members.iter().any(|member| reaches(me, member)) {
                members.push(me);
                continue;
            }
            for (other, name) in nodes.iter().zip(names) {
                if let Some(other) = other
                    && reaches(me, name)
                {
                    node.on_newcomer(at(millis), name, other.founds(), other.follows(at(millis)));
                }
            }
            if node.step(at(millis)) == FoundingStep::Found {
                members.push(me);
                founders.push(me.to_owned());
                continue;
            }
            nodes[place] = Some(node);
        }
    }
    founders
}

#[test]
fn a_node_that_was_given_nobody_founds_after_a_look_around() {
    assert_eq!(founds_alone_at(rules(false, false, None)), Some(300));
    assert_eq!(founds_alone_at(rules(true, false, None)), Some(300));
    assert_eq!(founds_alone_at(rules(true, true, Some(1))), Some(300));
}

/// A name that left is withheld for up to 5 s where it would stop the others: longer than anybody looks around.
#[test]
fn nobody_founds_beside_a_cluster_that_lets_it_in_in_a_moment() {
    let mut node = Founding::new(at(0), "a", rules(true, true, Some(1)));
    for millis in (0..5_000).step_by(100) {
        node.on_cluster();
        assert_eq!(node.step(at(millis)), FoundingStep::Look);
    }
    assert_eq!(node.step(at(5_000)), FoundingStep::Found);
}

#[test]
fn whose_addresses_are_silent_goes_on_alone_only_where_sides_may_part() {
    assert_eq!(founds_alone_at(rules(false, true, None)), Some(5_000));
    assert_eq!(founds_alone_at(rules(true, true, None)), None);
}

#[test]
fn a_node_that_asks_founds_no_cluster_and_stops_nobody_from_it() {
    let asks = FoundingRules {
        asks: true,
        ..rules(false, false, None)
    };
    for expect in [None, Some(1)] {
        assert_eq!(founds_alone_at(FoundingRules { expect, ..asks }), None);
    }
    let mut asking = Founding::new(at(0), "a", asks);
    asking.on_newcomer(at(100), "b", true, Some("b"));
    let told = (asking.founds(), asking.follows(at(100)));
    assert_eq!(told, (false, None));
    for (expect, step) in [
        (None, FoundingStep::Found),
        (Some(1), FoundingStep::Found),
        (Some(2), FoundingStep::Look),
    ] {
        let mut founds = Founding::new(at(0), "b", rules(true, false, expect));
        founds.on_newcomer(at(100), "a", told.0, told.1);
        assert_eq!(founds.step(at(300)), step, "{expect:?}");
        assert_eq!(founds.founders(at(300)), ["b"]);
    }
}

#[test]
fn those_that_are_expected_found_one_cluster_together_and_fewer_found_none() {
    let everybody = |_: &str, _: &str| true;
    for quorum in [false, true] {
        let rules = rules(quorum, true, Some(3));
        assert_eq!(founders(&["c", "a", "b"], rules, everybody), ["a"]);
        assert_eq!(founders(&["c", "b"], rules, everybody), [""; 0]);
        let cut = |me: &str, other: &str| (me == "c") == (other == "c");
        assert_eq!(founders(&["c", "a", "b"], rules, cut), [""; 0]);
    }
}

/// Three are expected and four were started; two of them cannot hear each other. Each follows one, so that three do
/// not found a cluster with "a" and three another with "b".
#[test]
fn nobody_follows_two() {
    let rules = rules(true, true, Some(3));
    let apart = |me: &str, other: &str| !(["a", "b"].contains(&me) && ["a", "b"].contains(&other));
    assert_eq!(founders(&["a", "b", "c", "d"], rules, apart), ["a"]);
}

#[test]
fn a_newcomer_that_never_founds_is_not_waited_for() {
    let mut founder = Founding::new(at(0), "b", rules(true, false, None));
    let joiner = Founding::new(at(0), "a", rules(true, true, None));
    assert!(!joiner.founds());
    founder.on_newcomer(at(300), "a", joiner.founds(), joiner.follows(at(300)));
    assert_eq!(founder.step(at(300)), FoundingStep::Found);
}

#[test]
fn who_is_there_and_slow_is_waited_for() {
    let mut node = Founding::new(at(0), "a", rules(false, false, None));
    node.on_somebody();
    assert_eq!(node.step(at(4_900)), FoundingStep::Look);
    assert_eq!(node.step(at(4_950)), FoundingStep::Found, "it is gone");
    node.on_somebody();
    assert_eq!(node.step(at(5_000)), FoundingStep::Found, "long enough");
    let mut careful = Founding::new(at(0), "a", rules(true, false, None));
    careful.on_somebody();
    assert_eq!(careful.step(at(60_000)), FoundingStep::Look);
    assert_eq!(careful.step(at(60_100)), FoundingStep::Found, "it is gone");
}

#[test]
fn silence_is_told_after_a_second_and_then_every_half_a_minute() {
    let mut silence = Silence::new(at(0));
    let due: Vec<u64> = (0..70_000)
        .step_by(100)
        .filter(|&millis| silence.is_due(at(millis)))
        .collect();
    assert_eq!(due, [1_000, 31_000, 61_000]);
    assert_eq!(silence.lasts(at(70_000)), Nanos::from_secs(70));
    silence.on_answer(at(70_000));
    assert_eq!(silence.lasts(at(70_900)), Nanos::from_millis(900));
    assert!(!silence.is_due(at(70_900)) && silence.is_due(at(71_000)));
}

/// A node that was in a cluster of these members, and waits ten seconds for them.
fn remembering(me: &str, members: &[&str], quorum: bool) -> Founding {
    let members = members.iter().map(|&name| name.to_owned());
    let founding = Founding::new(at(0), me, rules(quorum, false, None));
    founding.remembering(members, Nanos::from_secs(10))
}

/// When `node` founds a cluster, having met these newcomers, who follow it, at each look.
fn founds_at(mut node: Founding, met: &[&str]) -> Option<u64> {
    (0..60_000).step_by(100).find(|&millis| {
        for name in met {
            let follows = node.follows(at(millis)).map(str::to_owned);
            node.on_newcomer(at(millis), name, true, follows.as_deref());
            node.on_remembering(name);
        }
        node.step(at(millis)) == FoundingStep::Found
    })
}

#[test]
fn who_remembers_the_last_members_waits_for_them() {
    for quorum in [false, true] {
        let node = |members: &[&str]| remembering("a", members, quorum);
        assert_eq!(founds_at(node(&["a"]), &[]), Some(300), "it was alone");
        let three = ["a", "b", "c"];
        assert_eq!(founds_at(node(&three), &["b", "c"]), Some(300));
        assert_eq!(founds_at(node(&three), &["b"]), Some(10_000));
        let alone = (!quorum).then_some(10_000);
        assert_eq!(founds_at(node(&three), &[]), alone);
        // Those that were no members make no majority of them.
        assert_eq!(founds_at(node(&three), &["d", "e"]), alone);
    }
    let mut founders = remembering("a", &["a", "b", "c"], true);
    founders.on_newcomer(at(0), "b", true, Some("a"));
    assert_eq!(founders.founders(at(0)), ["a", "b", "c"]);
}

/// Somebody may have joined it since it wrote down that it was alone.
#[test]
fn who_was_alone_waits_for_its_addresses_where_sides_may_part() {
    let node = |quorum, members: &[&str]| {
        let members = members.iter().map(|&name| name.to_owned());
        let founding = Founding::new(at(0), "a", rules(quorum, true, None));
        founding.remembering(members, Nanos::from_secs(10))
    };
    assert_eq!(founds_at(node(false, &["a"]), &[]), Some(5_000));
    assert_eq!(founds_at(node(true, &["a"]), &[]), Some(300));
    let both = node(false, &["a", "b"]);
    assert_eq!(founds_at(both, &["b"]), Some(300), "all are here");
    let mut both = node(false, &["a", "b"]);
    both.on_newcomer(at(4_900), "b", true, Some("a"));
    both.on_somebody();
    assert_eq!(both.step(at(4_999)), FoundingStep::Look, "who is slow");
    both.on_somebody();
    assert_eq!(both.step(at(5_000)), FoundingStep::Found, "long enough");
}

#[test]
fn what_a_newcomer_said_is_believed_for_less_than_five_seconds() {
    let mut node = remembering("b", &["a", "b", "c"], false);
    node.on_newcomer(at(1_000), "a", true, None);
    node.on_remembering("a");
    assert_eq!(node.met(at(5_999)), ["a"]);
    assert_eq!(node.follows(at(5_999)), Some("a"));
    assert_eq!(node.met(at(6_000)), [""; 0]);
    assert_eq!(node.follows(at(6_000)), Some("b"));
}

/// What a node of that name sees that is alone.
fn alone(name: &str) -> Membership {
    let member = Member {
        name: name.into(),
        incarnation: 1,
        replica: ReplicaId(1),
        standing: Standing::Joined,
        contact: Contact::default(),
    };
    Membership::new(at(0), member, Settings::lan(), false)
}

#[test]
fn who_remembers_the_last_members_waits_three_seconds_for_the_newcomers_that_it_met() {
    let mut node = remembering("a", &["a", "b", "c"], false);
    assert!(node.beginning(at(1_000)).is_none(), "it met nobody");
    node.on_newcomer(at(1_000), "b", true, Some("a"));
    let beginning = node.beginning(at(1_000)).expect("it met one");
    assert!(beginning.waits(at(3_999), alone("a").view()));
    assert!(
        !beginning.waits(at(4_000), alone("a").view()),
        "long enough"
    );
    assert!(!beginning.waits(at(1_000), alone("b").view()), "it came");
    node.on_newcomer(at(1_000), "c", true, Some("a"));
    let beginning = node.beginning(at(1_000)).expect("it met two");
    assert!(beginning.waits(at(1_000), alone("b").view()), "one came");
    assert!(node.beginning(at(6_000)).is_none(), "they went");
    let mut blank = Founding::new(at(0), "a", rules(false, false, None));
    blank.on_newcomer(at(1_000), "b", true, Some("a"));
    assert!(blank.beginning(at(1_000)).is_none(), "it remembers nobody");
}

/// A node whose disk was lost knows nobody, and would found a cluster of its own at once.
#[test]
fn who_remembers_goes_before_those_who_do_not() {
    let blank = || Founding::new(at(0), "a", rules(true, false, None));
    let (mut first, mut second) = (blank(), remembering("b", &["a", "b", "c"], true));
    first.on_newcomer(at(0), "b", second.founds(), second.follows(at(0)));
    first.on_remembering("b");
    assert_eq!(first.follows(at(0)), Some("b"));
    assert_eq!(first.step(at(300)), FoundingStep::Look);
    second.on_newcomer(at(0), "a", first.founds(), first.follows(at(0)));
    assert_eq!(second.follows(at(0)), Some("b"));
    assert_eq!(second.step(at(300)), FoundingStep::Look, "c may come yet");
    second.on_newcomer(at(9_000), "a", first.founds(), first.follows(at(0)));
    let step = second.step(at(10_000));
    assert_eq!(
        step,
        FoundingStep::Look,
        "what only a had is lost, or with c"
    );
    second.on_newcomer(at(10_000), "c", true, Some("b"));
    second.on_remembering("c");
    assert_eq!(second.step(at(10_100)), FoundingStep::Found);
    // One that was given another name is no part of that majority.
    assert!(!remembering("d", &["a", "b", "c"], true).founds());
}
