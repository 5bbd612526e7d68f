//! P4 and P5: an owner whose packets are dropped without a word. Needs root, `ip` and `iptables`.

use std::time::Duration;

use e2e::{Cluster, Network, Node, View, at_once, eventually, until, view};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// The one that is cut off.
const OWNER: usize = 1;

fn config(partition: &str) -> String {
    let mut config = format!("[cluster]\npartition = \"{partition}\"\nack = \"replicated\"\n");
    for (name, more) in [
        ("sliding_log", "algorithm = \"sliding_log\""),
        (
            "fixed_window",
            "algorithm = \"fixed_window\"\nanchor = \"first_hit\"",
        ),
    ] {
        config += &format!("[[limit]]\nname = \"{name}\"\n{more}\nlimit = 200\nper = \"365d\"\n");
    }
    config
}

/// Before the sides part: the owner's keys, and the nodes of the other side.
struct Sides<'a> {
    cut_off: &'a Node,
    others: Vec<&'a Node>,
}

fn sides(cluster: &Cluster) -> Sides<'_> {
    let (cut_off, others): (Vec<&Node>, Vec<&Node>) = cluster
        .nodes
        .iter()
        .partition(|node| node.name == NAMES[OWNER]);
    Sides {
        cut_off: cut_off[0],
        others,
    }
}

#[track_caller]
fn hit(node: &Node, limit: &str, key: &str, times: usize) {
    for _ in 0..times {
        let answer = node.check(limit, key, 1);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn two_sides_that_admit_are_joined_after_the_heal() {
    let network = Network::new(NAMES.len());
    let cluster = Cluster::with_config(&config("available")).started_on(&network, &NAMES);
    let Sides { cut_off, others } = sides(&cluster);
    let keys = |limit: &str| cluster.keys_of(NAMES[OWNER], limit, 2);
    let limits = ["sliding_log", "fixed_window"].map(|limit| (limit, keys(limit)));
    for (limit, keys) in &limits {
        for key in keys {
            hit(others[0], limit, key, 50);
        }
    }
    network.cut_off(OWNER);
    for (limit, keys) in &limits {
        // Each side spends what is left of the one key, and some of the other.
        assert_eq!(at_once(&others, 16, limit, &keys[0]), 150, "{limit}");
        assert_eq!(at_once(&[cut_off], 16, limit, &keys[0]), 150, "{limit}");
        hit(others[1], limit, &keys[1], 20);
        hit(cut_off, limit, &keys[1], 30);
    }
    network.heal(OWNER);
    cluster.settle();
    for (limit, keys) in &limits {
        for node in &cluster.nodes {
            assert_eq!(
                at_once(&[node], 4, limit, &keys[0]),
                0,
                "{limit} {}",
                node.name
            );
            assert_eq!(node.counted(limit, &keys[1]), 100, "{limit} {}", node.name);
        }
    }
}

/// From the end of refusals until both sides are one again. They stayed apart for good.
const MEET_WITHIN: Duration = Duration::from_secs(2);

/// Everybody lives, in one view.
fn is_one(cluster: &Cluster) -> Result<(), String> {
    let views: Vec<View> = cluster.nodes.iter().map(view).collect();
    let is_whole = |view: &View| {
        let mut members = view.members.values();
        view.digest == views[0].digest && members.all(|member| member.status == "alive")
    };
    let is_one = views.iter().all(is_whole);
    is_one.then_some(()).ok_or_else(|| format!("{views:#?}"))
}

/// A rule that rejects and a proxy without endpoints refuse connections as the host of a dead process does. Each side took
/// the other for dead, and after the heal stayed alone for good: 12 of 6 passed.
#[test]
fn sides_that_refused_each_other_meet_again() {
    let network = Network::new(NAMES.len());
    let cluster = Cluster::with_config(&config("available")).started_on(&network, &NAMES);
    let Sides { cut_off, others } = sides(&cluster);
    let limit = "sliding_log";
    let keys = cluster.keys_of(NAMES[OWNER], limit, 2);
    type Act = fn(&Network, usize);
    let both_ways: (Act, Act) = (Network::refuse, Network::accept);
    let one_way: (Act, Act) = (Network::refuse_one_way, Network::accept_one_way);
    for ((refuse, accept), key) in [both_ways, one_way].into_iter().zip(&keys) {
        hit(others[0], limit, key, 50);
        refuse(&network, OWNER);
        for (node, lost) in [(others[0], NAMES[OWNER]), (cut_off, NAMES[0])] {
            eventually("the other side is held for dead", || {
                let status = view(node).members[lost].status.clone();
                (status == "dead").then_some(()).ok_or(status)
            });
        }
        assert_eq!(at_once(&others, 16, limit, key), 150, "{key}");
        assert_eq!(at_once(&[cut_off], 16, limit, key), 150, "{key}");
        accept(&network, OWNER);
        let met = until(MEET_WITHIN, "both sides are one again", || is_one(&cluster));
        met.unwrap_or_else(|late| panic!("{late}"));
        cluster.settle();
        for node in &cluster.nodes {
            assert_eq!(at_once(&[node], 4, limit, key), 0, "{key} {}", node.name);
        }
    }
}

#[test]
fn a_minority_admits_nothing_in_quorum_mode() {
    let network = Network::new(NAMES.len());
    let cluster = Cluster::with_config(&config("quorum")).started_on(&network, &NAMES);
    let Sides { cut_off, others } = sides(&cluster);
    let limit = "sliding_log";
    let key = &cluster.keys_of(NAMES[OWNER], limit, 1)[0];
    hit(others[0], limit, key, 50);
    network.cut_off(OWNER);
    assert_eq!(at_once(&others, 16, limit, key), 150);
    let refused = cut_off.check(limit, key, 1);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["type"], "/problems/no-decision");
    network.heal(OWNER);
    cluster.settle();
    let denied = eventually("the key is spent everywhere", || {
        let answer = cut_off.check(limit, key, 1);
        (answer.status != 503)
            .then_some(answer)
            .ok_or_else(|| "refused".to_owned())
    });
    assert_eq!(denied.status, 429);
    for node in &cluster.nodes {
        assert_eq!(node.counted(limit, key), 200, "{}", node.name);
    }
}
