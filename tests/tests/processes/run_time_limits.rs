//! Limits made at run time: in force on every node once answered, kept through partitions and joins. Partitions need root,
//! `ip` and `iptables`.

use e2e::{Client, Cluster, Network, Node, eventually, view, weir};
use serde_json::json;

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// Sets a limit of so many an hour for one key; the status of the answer.
fn set(client: &mut Client, key: &str, limit: u32) -> u16 {
    let body = json!({"key": key, "limit": limit, "interval": "1h", "algorithm": "sliding_log"});
    let answer = client.request("POST", "/api/limits", &[], Some(&body.to_string()));
    answer.expect("an answer").status
}

/// Status of a check, and the limit that it was by.
fn check(client: &mut Client, key: &str) -> (u16, Option<u64>) {
    let answer = client.request("GET", &format!("/api/check?key={key}"), &[], None);
    let answer = answer.expect("an answer");
    (answer.status, answer.json()["limit"].as_u64())
}

/// A limit was answered before the others had heard of it: a check there right after was by the old limit, or found none.
/// Of 400 such checks some 30 were.
#[test]
fn a_limit_is_in_force_on_every_node_when_it_is_answered() {
    let cluster = Cluster::new().started(&NAMES);
    let [here, there, _] = &cluster.nodes[..] else {
        panic!("three nodes");
    };
    let (mut here, mut there) = (here.client(), there.client());
    for round in 0..200 {
        let key = format!("k{round}");
        assert_eq!(set(&mut here, &key, 100), 201);
        assert_eq!(check(&mut there, &key), (200, Some(100)), "{key}");
        assert_eq!(set(&mut here, &key, 1), 201);
        assert_eq!(check(&mut there, &key).1, Some(1), "{key}");
    }
}

/// All limits of single keys had to fit into the one message that a newcomer gets. 4 200 with keys of 1 KiB did not: nobody
/// could join any more, and a node that restarted served alone, and said that it was ready.
#[test]
fn a_node_that_restarts_has_however_many_limits_there_are_before_it_is_ready() {
    let mut cluster = Cluster::new().started(&NAMES[..2]);
    let mut client = cluster.nodes[0].client();
    let key = |number: u32| format!("{number:06}{}", "y".repeat(1_018));
    for number in 0..4_500 {
        assert_eq!(set(&mut client, &key(number), 5), 201);
    }
    let mut second = cluster.nodes.pop().expect("a second node");
    second.terminate();
    second.ended();
    cluster.start(NAMES[1]);
    let mut client = cluster.nodes[1].client();
    for number in (0..4_500).step_by(100).chain([4_499]) {
        assert_eq!(check(&mut client, &key(number)), (200, Some(5)), "{number}");
    }
    cluster.settle();
}

/// One that was set on one side of a partition never came to the other.
#[test]
fn limits_of_both_sides_of_a_partition_are_on_all_nodes_after_the_heal() {
    let network = Network::new(NAMES.len());
    let cluster = Cluster::new().started_on(&network, &NAMES);
    let (cut_off, other) = (&cluster.nodes[1], &cluster.nodes[0]);
    network.cut_off(1);
    for (node, lost) in [(other, NAMES[1]), (cut_off, NAMES[0]), (cut_off, NAMES[2])] {
        eventually("the other side is held for dead", || {
            let status = view(node).members[lost].status.clone();
            (status == "dead").then_some(()).ok_or(status)
        });
    }
    assert_eq!(set(&mut cut_off.client(), "one", 5), 201);
    assert_eq!(set(&mut other.client(), "two", 7), 201);
    network.heal(1);
    let all_have = |key: &str, limit: u64| {
        eventually("every node has it", || {
            let seen = |node: &Node| check(&mut node.client(), key).1;
            let seen: Vec<_> = cluster.nodes.iter().map(seen).collect();
            seen.iter()
                .all(|it| *it == Some(limit))
                .then_some(())
                .ok_or_else(|| format!("{seen:?}"))
        });
    };
    all_have("one", 5);
    all_have("two", 7);
}

/// Made at one node by the command, in force at another; what was counted stays counted when the limit changes.
#[test]
fn a_limit_is_made_changed_and_removed_while_nodes_run() {
    let cluster = Cluster::new().started(&NAMES[..2]);
    let url = format!("http://{}", cluster.nodes[0].http);
    let limits = |args: &[&str]| {
        let mut command = weir(cluster.home());
        let command = command.arg("limits").args(args).args(["--url", &url]);
        let told = command.output().expect("the command runs");
        assert!(told.status.success(), "{args:?}: {told:?}");
        String::from_utf8_lossy(&told.stdout).into_owned()
    };
    let set = |name: &str, limit: &str, strategy: &str| {
        let rule = ["--algorithm", "sliding_log", "--per", "1h"];
        let rest = ["--limit", limit, "--strategy", strategy];
        limits(&[&["set", name][..], &rule, &rest].concat())
    };
    let there = &cluster.nodes[1];
    let passes = |name: &str| there.check(name, "ada", 1).status;
    for strategy in ["owner", "local"] {
        assert!(set(strategy, "2", strategy).contains("sliding_log"));
        assert_eq!([(); 3].map(|()| passes(strategy)), [200, 200, 429]);
        set(strategy, "3", strategy);
        assert_eq!([(); 2].map(|()| passes(strategy)), [200, 429], "{strategy}");
    }
    assert!(limits(&["list"]).contains("local"));
    limits(&["delete", "owner"]);
    assert_eq!(passes("owner"), 404);
}
