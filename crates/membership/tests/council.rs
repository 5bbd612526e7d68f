//! Who counts towards a majority, and how newcomers come to.

use std::collections::{BTreeMap, BTreeSet};

use delta_crdt::{ReplicaId, Term};
use membership::{
    Contact, Council, CouncilId, Effect, Member, Membership, Message, NameVerdict, Settings,
    Standing, Status,
};
use quota::{BootNanos, Nanos};

const STEP: u64 = 25;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn at(millis: u64) -> BootNanos {
    BootNanos::new(millis * 1_000_000)
}

fn replica(name: &str) -> ReplicaId {
    let place = NAMES.iter().position(|known| *known == name);
    ReplicaId(place.expect("a known name") as u32 + 1)
}

fn term(number: u32, name: &str) -> Option<Term> {
    let replica = replica(name);
    Some(Term { number, replica })
}

/// Machines that hear each other at once, unless they are cut off.
struct Cluster {
    millis: u64,
    nodes: BTreeMap<&'static str, Membership>,
    cut_off: BTreeSet<&'static str>,
    /// When somebody first went by each composition.
    changes: BTreeMap<CouncilId, u64>,
}

impl Cluster {
    fn new() -> Self {
        Self {
            millis: 0,
            nodes: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            changes: BTreeMap::new(),
        }
    }

    /// `names` founded a cluster together, and the first of them may change who counts.
    fn founded(names: &[&'static str]) -> Self {
        let mut cluster = Self::new();
        for name in names {
            cluster.start(name, *name != names[0]);
        }
        let founders = names.iter().map(ToString::to_string);
        let first = cluster.node(names[0]);
        first.on_founding(founders);
        first.on_chair(term(1, names[0]));
        cluster.run(2_500);
        assert_eq!(cluster.counted(names[0]), names);
        cluster
    }

    fn node(&mut self, name: &'static str) -> &mut Membership {
        self.nodes.get_mut(name).expect("it was started")
    }

    fn start(&mut self, name: &'static str, joins: bool) {
        let member = Member {
            name: name.to_owned(),
            incarnation: 1,
            replica: replica(name),
            standing: Standing::Joined,
            contact: Contact::default(),
        };
        let settings = Settings {
            quorum: true,
            ..Settings::lan()
        };
        let now = at(self.millis);
        let mut node = Membership::new(now, member.clone(), settings, joins);
        for (other, theirs) in &mut self.nodes {
            if !self.cut_off.contains(other) {
                node.on_introduced(now, theirs.me());
                theirs.on_introduced(now, &member);
            }
        }
        self.nodes.insert(name, node);
    }

    fn run(&mut self, millis: u64) {
        let end = self.millis + millis;
        while self.millis < end {
            self.millis += STEP;
            let now = at(self.millis);
            for node in self.nodes.values_mut() {
                node.on_tick(now);
            }
            while self.deliver() {}
            for (name, node) in &self.nodes {
                if !self.cut_off.contains(name) {
                    let id = node.view().council();
                    self.changes.entry(id).or_insert(self.millis);
                }
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let mut sent = Vec::new();
        for (name, node) in &mut self.nodes {
            while let Some(effect) = node.next_effect() {
                if let Effect::Send { to, message } = effect {
                    sent.push((*name, to, message));
                }
            }
        }
        let any = !sent.is_empty();
        for (from, to, message) in sent {
            let to = NAMES[to.0 as usize - 1];
            if self.cut_off.contains(from) || self.cut_off.contains(to) {
                continue;
            }
            let now = at(self.millis);
            let node = self.node(to);
            node.on_message(now, replica(from), message);
        }
        any
    }

    /// Whom this node counts, whether or not it has met them.
    fn counted(&mut self, name: &'static str) -> Vec<&'static str> {
        let view = self.node(name).view().clone();
        NAMES
            .into_iter()
            .filter(|other| view.counts(replica(other)))
            .collect()
    }
}

/// The three stopped deciding when a fourth came beside one dead of three: they were two of four, and the newcomer had to
/// hear three.
#[test]
fn a_newcomer_beside_a_dead_member_counts_and_nobody_stops_meanwhile() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    cluster.cut_off.insert("c");
    cluster.run(2_000);
    assert_eq!(cluster.node("a").status(replica("c")), Some(Status::Dead));
    cluster.start("d", true);
    for _ in 0..80 {
        cluster.run(STEP);
        for name in ["a", "b"] {
            let now = at(cluster.millis);
            let lost = cluster.node(name).leases().no_quorum_since(now);
            assert_eq!(lost, None, "{name} at {now:?}");
            assert_eq!(cluster.counted(name), ["a", "b", "c"]);
        }
    }
    cluster.node("d").on_recalled(true);
    cluster.run(1_000);
    for name in ["a", "b", "d"] {
        assert_eq!(cluster.counted(name), ["a", "b", "c", "d"]);
        let now = at(cluster.millis);
        assert_eq!(cluster.node(name).leases().no_quorum_since(now), None);
    }
}

/// With two names between two compositions there are majorities of both that share nobody.
#[test]
fn names_come_one_at_a_time_a_lease_apart() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    for name in ["d", "e", "f"] {
        cluster.start(name, true);
        cluster.node(name).on_recalled(true);
    }
    cluster.run(6_000);
    assert_eq!(cluster.counted("f"), NAMES);
    let lease = Settings::lan().lease.get() / 1_000_000;
    let changes: Vec<u64> = cluster.changes.values().copied().collect();
    let added = &changes[changes.len() - 3..];
    assert!(
        added.windows(2).all(|pair| lease < pair[1] - pair[0]),
        "{changes:?}"
    );
}

#[test]
fn a_minority_counts_nobody_in() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    cluster.cut_off.extend(["b", "c"]);
    cluster.run(2_000);
    cluster.start("d", true);
    cluster.node("d").on_recalled(true);
    cluster.run(10_000);
    assert_eq!(cluster.counted("a"), ["a", "b", "c"]);
}

/// A node of an older version goes by all who belong: it would decide with a majority that is none to the others.
#[test]
fn nobody_composes_the_first_council_beside_a_live_member_that_knows_of_no_such_thing() {
    let mut cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        cluster.start(name, true);
    }
    cluster.cut_off.insert("c");
    cluster.node("a").on_chair(term(1, "a"));
    for _ in 0..100 {
        cluster.run(STEP);
        let sent = at(cluster.millis);
        let answer = Message::Answer {
            sent,
            granted: true,
        };
        cluster.node("a").on_message(sent, replica("c"), answer);
        let heartbeat = Message::Heartbeat {
            sent,
            roster: 0,
            aside: false,
            behind: Nanos::ZERO,
            quorum_left: Nanos::ZERO,
            council: None,
            recalled: false,
        };
        cluster.node("a").on_message(sent, replica("c"), heartbeat);
    }
    assert_eq!(cluster.node("a").view().council(), CouncilId::NONE);
    cluster.run(2_500);
    let composed = cluster.node("a").view().council();
    assert_eq!(Some(composed.term), term(1, "a"), "it is dead");
}

#[test]
fn a_newcomer_that_has_not_heard_what_a_majority_knows_does_not_count() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    cluster.start("d", true);
    cluster.run(10_000);
    assert_eq!(cluster.counted("a"), ["a", "b", "c"]);
}

#[test]
fn who_goes_by_an_older_composition_is_given_the_newer_one_and_no_lease() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    let old = cluster.node("b").view().council();
    cluster.cut_off.insert("b");
    cluster.start("d", true);
    cluster.node("d").on_recalled(true);
    cluster.run(4_000);
    assert_eq!(cluster.counted("c"), ["a", "b", "c", "d"]);
    let now = at(cluster.millis);
    let heartbeat = Message::Heartbeat {
        sent: now,
        roster: 0,
        aside: false,
        behind: Nanos::ZERO,
        quorum_left: Nanos::ZERO,
        council: Some(old),
        recalled: true,
    };
    let node = cluster.node("c");
    // It is believed alive again, since it answers.
    let answer = Message::Answer {
        sent: now,
        granted: true,
    };
    node.on_message(now, replica("b"), answer);
    node.on_message(now, replica("b"), heartbeat);
    let sent: Vec<Message> = std::iter::from_fn(|| node.next_effect())
        .filter_map(|effect| match effect {
            Effect::Send { to, message } if to == replica("b") => Some(message),
            _ => None,
        })
        .collect();
    let refused = Message::Answer {
        sent: now,
        granted: false,
    };
    assert!(sent.contains(&refused), "{sent:?}");
    let is_newer = |message: &Message| matches!(message, Message::Council(it) if old < it.id);
    assert!(sent.iter().any(is_newer), "{sent:?}");
    cluster.cut_off.clear();
    cluster.run(300);
    assert_eq!(cluster.counted("b"), ["a", "b", "c", "d"]);
}

#[test]
fn the_next_owner_of_the_chair_goes_on_from_what_a_majority_knows() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    cluster.start("d", true);
    cluster.node("d").on_recalled(true);
    cluster.run(2_500);
    assert_eq!(cluster.counted("b"), ["a", "b", "c", "d"]);
    cluster.cut_off.insert("a");
    cluster.run(2_000);
    cluster.node("b").on_chair(term(2, "b"));
    cluster.start("e", true);
    cluster.node("e").on_recalled(true);
    cluster.run(5_000);
    assert_eq!(cluster.counted("e"), ["a", "b", "c", "d", "e"]);
    let under = cluster.node("e").view().council().term;
    assert_eq!(Some(under), term(2, "b"));
}

#[test]
fn a_name_that_has_left_counts_again_only_when_it_is_agreed_upon_again() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    let now = at(cluster.millis);
    cluster.node("c").on_left(now);
    cluster.run(100);
    assert_eq!(cluster.counted("a"), ["a", "b"], "known at once");
    cluster.run(3_000);
    let node = cluster.node("b");
    let again = Member {
        incarnation: 2,
        replica: ReplicaId(30),
        standing: Standing::Joined,
        ..node.roster().get("c").expect("it left").clone()
    };
    let now = at(cluster.millis);
    let node = cluster.node("b");
    node.on_introduced(now, &again);
    assert!(!node.view().counts(ReplicaId(30)));
}

const SECOND: NameVerdict = NameVerdict::Granted { incarnation: 2 };

/// Four of whom one is dead; another has just left in order, and with it the right to change who counts went to the second.
fn two_of_four_are_left() -> Cluster {
    let mut cluster = Cluster::founded(&["a", "b", "c", "d"]);
    for name in ["b", "c", "d"] {
        cluster.node(name).on_recalled(true);
    }
    cluster.cut_off.insert("d");
    cluster.run(2_000);
    cluster.node("a").on_chair(None);
    cluster.node("b").on_chair(term(2, "b"));
    let now = at(cluster.millis);
    cluster.node("c").on_left(now);
    cluster.run(100);
    cluster.cut_off.insert("c");
    cluster
}

impl Cluster {
    fn asks_for(&mut self, name: &str, at_node: &'static str) -> NameVerdict {
        let now = at(self.millis);
        self.node(at_node).on_name_wanted(now, name, "")
    }

    fn decides(&mut self, name: &'static str) -> bool {
        let now = at(self.millis);
        self.node(name).leases().no_quorum_since(now).is_none()
    }
}

/// Of four one was dead, and another was started again within 2 s. Its name counted at once, so that three of four were needed,
/// of whom two remembered: nobody decided until the dead one was back. (The simulator, seed 1859.)
#[test]
fn who_left_and_would_stop_the_others_gets_its_name_when_it_counts_no_more() {
    let mut cluster = two_of_four_are_left();
    let began = cluster.millis;
    while cluster.asks_for("c", "b") == NameVerdict::Asking {
        cluster.run(STEP);
        assert!(cluster.decides("a") && cluster.decides("b"));
    }
    let waited = cluster.millis - began;
    assert!((1_000..3_000).contains(&waited), "{waited}");
    assert_eq!(cluster.asks_for("c", "a"), SECOND);
    let again = Member {
        incarnation: 2,
        replica: replica("e"),
        standing: Standing::Joined,
        ..cluster
            .node("b")
            .roster()
            .get("c")
            .expect("it left")
            .clone()
    };
    cluster.cut_off.insert("e");
    for name in ["a", "b"] {
        let now = at(cluster.millis);
        cluster.node(name).on_introduced(now, &again);
        assert_eq!(cluster.counted(name), ["a", "b", "d"]);
    }
    cluster.run(500);
    assert!(cluster.decides("a") && cluster.decides("b"));
}

#[test]
fn who_left_gets_its_name_at_once_where_enough_remember() {
    let mut cluster = Cluster::founded(&["a", "b", "c", "d"]);
    for name in ["b", "c", "d"] {
        cluster.node(name).on_recalled(true);
    }
    cluster.run(200);
    let now = at(cluster.millis);
    cluster.node("a").on_chair(None);
    cluster.node("c").on_left(now);
    cluster.run(100);
    assert_eq!(cluster.asks_for("c", "b"), SECOND);
}

/// Where nobody can take it out of the council it comes back as before: it may be needed.
#[test]
fn a_name_is_not_withheld_for_longer_than_it_takes() {
    let mut cluster = two_of_four_are_left();
    cluster.node("b").on_chair(None);
    // It was heard a step after it left.
    cluster.run(4_900);
    assert_eq!(cluster.asks_for("c", "b"), NameVerdict::Asking);
    cluster.run(STEP);
    assert_eq!(cluster.asks_for("c", "b"), SECOND);
}

#[test]
fn who_lives_or_counts_may_return_and_whoever_was_replaced_may_not() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    cluster.start("d", true);
    cluster.cut_off.extend(["b", "c"]);
    cluster.run(2_000);
    let again = Member {
        incarnation: 2,
        replica: replica("e"),
        ..cluster.node("c").me().clone()
    };
    let now = at(cluster.millis);
    let view = |cluster: &mut Cluster| cluster.node("a").view().clone();
    let seen = view(&mut cluster);
    assert_eq!(
        (seen.contains(replica("b")), seen.counts(replica("b"))),
        (false, true)
    );
    assert_eq!(
        (seen.contains(replica("d")), seen.counts(replica("d"))),
        (true, false)
    );
    let may_return = ["a", "b", "c", "d", "e"].map(|name| seen.may_return(replica(name)));
    assert_eq!(may_return, [true, true, true, true, false]);
    cluster.node("a").on_introduced(now, &again);
    let seen = view(&mut cluster);
    assert!(!seen.may_return(replica("c")) && seen.may_return(replica("e")));
}

/// Whether `of` knows what a majority knows, and whether it could open a shard, as `by` sees it.
fn able(cluster: &mut Cluster, by: &'static str, of: &'static str) -> (bool, bool) {
    let view = cluster.node(by).view();
    (view.remembers(replica(of)), view.may_open(replica(of)))
}

/// `from` says to `to`, by now, that it holds a majority for so long, and whether it has recalled.
fn says(
    cluster: &mut Cluster,
    from: &'static str,
    to: &'static str,
    quorum_left: u64,
    recalled: bool,
) {
    let now = at(cluster.millis + 1);
    let node = cluster.node(to);
    let heartbeat = Message::Heartbeat {
        sent: now,
        roster: node.roster().digest(),
        aside: false,
        behind: Nanos::ZERO,
        quorum_left: Nanos::from_millis(quorum_left),
        council: Some(node.view().council()),
        recalled,
    };
    node.on_message(now, replica(from), heartbeat);
}

/// Shards were handed to nodes that could not open them, a newcomer or one that reached no majority, and stood still until
/// the patience with them was over, again and again.
#[test]
fn whoever_could_open_nothing_is_known_by_its_own_word() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    assert_eq!(able(&mut cluster, "a", "b"), (false, false), "it joined");
    cluster.node("b").on_recalled(true);
    cluster.run(200);
    assert_eq!(able(&mut cluster, "a", "b"), (true, true));
    says(&mut cluster, "b", "a", 0, true);
    assert_eq!(able(&mut cluster, "a", "b"), (true, false), "no majority");
    cluster.run(200);
    assert_eq!(able(&mut cluster, "a", "b"), (true, true));
}

/// What was given under the composition before has run out by then, on clocks that run slower, too.
#[test]
fn a_composition_is_gone_by_for_a_lease_and_a_drift_before_the_next() {
    let mut cluster = Cluster::new();
    cluster.start("a", false);
    let node = cluster.node("a");
    node.on_chair(term(1, "a"));
    let founded = node.view().council();
    node.on_tick(at(100));
    // Whoever connects tells it.
    let told = Council::founded_by(replica("a"), ["a".to_owned()]);
    assert_eq!(told.id, founded);
    node.on_message(at(500), replica("b"), Message::Council(told));
    node.on_tick(at(1_109));
    assert_eq!(node.view().council(), founded);
    node.on_tick(at(1_110));
    assert_eq!(Some(node.view().council().term), term(1, "a"));
}

#[test]
fn what_a_member_goes_by_is_believed_until_it_is_suspect() {
    let is_agreed = |said_before: u64| {
        let mut cluster = Cluster::new();
        cluster.start("a", false);
        cluster.start("b", true);
        let node = cluster.node("a");
        node.on_founding(["b".to_owned()]);
        node.on_chair(term(1, "a"));
        cluster.millis = 99;
        says(&mut cluster, "b", "a", 0, true);
        cluster.node("a").on_tick(at(100));
        cluster.millis = 1_109 - said_before;
        says(&mut cluster, "b", "a", 0, true);
        let node = cluster.node("a");
        node.on_tick(at(1_110));
        Some(node.view().council().term) == term(1, "a")
    };
    assert!(is_agreed(349));
    assert!(!is_agreed(350));
}

#[test]
fn what_a_newcomer_recalls_is_believed_until_it_is_suspect() {
    let counts = |said_before: u64| {
        let mut cluster = Cluster::new();
        cluster.start("a", false);
        let node = cluster.node("a");
        node.on_chair(term(1, "a"));
        for millis in [100, 1_110, 1_200] {
            node.on_tick(at(millis));
        }
        assert_eq!(Some(node.view().council().term), term(1, "a"));
        cluster.millis = 1_500;
        cluster.start("d", true);
        let answer = Message::Answer {
            sent: at(1_500),
            granted: true,
        };
        let node = cluster.node("a");
        node.on_message(at(1_500), replica("d"), answer);
        cluster.millis = 2_209 - said_before;
        says(&mut cluster, "d", "a", 0, true);
        let node = cluster.node("a");
        node.on_tick(at(2_210));
        node.view().counts(replica("d"))
    };
    assert!(counts(349));
    assert!(!counts(350));
}

#[test]
fn who_goes_on_after_a_panic_counts_whom_it_counted() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    let before = cluster.node("b").view().council();
    let now = at(cluster.millis);
    let node = cluster.node("b").restarted(now);
    cluster.nodes.insert("b", node);
    assert_eq!(cluster.node("b").view().council(), before);
    assert_eq!(cluster.counted("b"), ["a", "b", "c"]);
    assert!(cluster.node("b").leases().is_newcomer());
}

#[test]
fn an_older_composition_changes_nothing_nor_does_any_where_all_count() {
    let composed = |number| {
        let term = term(number, "a").expect("a is known");
        Council {
            id: CouncilId { term, change: 0 },
            names: ["a".to_owned()].into(),
        }
    };
    for (quorum, followed) in [(true, 3), (false, 0)] {
        let settings = Settings {
            quorum,
            ..Settings::lan()
        };
        let mut cluster = Cluster::new();
        cluster.start("b", true);
        let me = cluster.node("b").me().clone();
        let mut node = Membership::new(at(0), me, settings, true);
        for number in [3, 2] {
            node.on_message(at(0), replica("a"), Message::Council(composed(number)));
            assert_eq!(node.view().council().term.number, followed);
            assert_eq!(node.view().counts(replica("b")), !quorum);
        }
    }
}

/// Without its fact the name would count again for whoever has not heard of it.
#[test]
fn who_left_is_listed_for_as_long_as_the_council_names_it() {
    let mut cluster = Cluster::new();
    cluster.start("a", false);
    let node = cluster.node("a");
    node.on_founding(["b".to_owned()]);
    let left = |name: String, replica: u32| Member {
        name,
        incarnation: 1,
        replica: ReplicaId(replica),
        standing: Standing::Left,
        contact: Contact::default(),
    };
    node.on_message(
        at(0),
        replica("c"),
        Message::Roster(vec![left("b".into(), 2)]),
    );
    cluster.run(20_000);
    assert!(cluster.node("a").roster().get("b").is_some());
    let many = (0..300).map(|number| left(format!("pod-{number}"), 100 + number));
    let many = Message::Roster(many.collect());
    let now = at(cluster.millis);
    cluster.node("a").on_message(now, replica("c"), many);
    cluster.run(100);
    let listed = cluster.node("a").roster().iter().count();
    assert_eq!(listed, 1 + 256, "itself and as many as are kept");
    cluster.run(20_000);
    let names: Vec<&str> = cluster
        .node("a")
        .roster()
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    cluster.node("a").on_chair(term(1, "a"));
    cluster.run(5_000);
    assert_eq!(cluster.node("a").roster().iter().count(), 1);
}

#[test]
fn a_newcomer_that_goes_by_another_composition_does_not_count_yet() {
    let mut cluster = Cluster::founded(&["a"]);
    cluster.start("d", true);
    cluster.cut_off.insert("d");
    for _ in 0..100 {
        let sent = at(cluster.millis);
        let answer = Message::Answer {
            sent,
            granted: true,
        };
        let node = cluster.node("a");
        node.on_message(sent, replica("d"), answer);
        let heartbeat = Message::Heartbeat {
            sent,
            roster: 0,
            aside: false,
            behind: Nanos::ZERO,
            quorum_left: Nanos::ZERO,
            council: Some(CouncilId::NONE),
            recalled: true,
        };
        node.on_message(sent, replica("d"), heartbeat);
        cluster.run(STEP);
    }
    assert_eq!(cluster.counted("a"), ["a"]);
    says(&mut cluster, "d", "a", 0, true);
    cluster.run(STEP);
    assert_eq!(cluster.counted("a"), ["a", "d"]);
}

#[test]
fn those_that_count_are_told_met_or_not() {
    let mut cluster = Cluster::founded(&["a", "b", "c"]);
    cluster.start("d", true);
    cluster.node("a").on_founding(["e".to_owned()]);
    let now = at(cluster.millis);
    cluster.node("c").on_left(now);
    cluster.run(STEP);
    let told = |cluster: &mut Cluster| {
        let members = cluster.node("a").counting();
        let told = members.into_iter().map(|it| (it.name, it.incarnation));
        told.collect::<Vec<_>>()
    };
    let expected = [("a", 1), ("b", 1), ("e", 0)];
    assert_eq!(
        told(&mut cluster),
        expected.map(|(name, incarnation)| (name.to_owned(), incarnation))
    );
}
