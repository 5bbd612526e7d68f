//! What is counted under limits that are kept outlives all nodes, however these end and whichever starts first. A full disk
//! needs root and `mount`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use e2e::{Cluster, Node, Options, SmallDisk, Starting, eventually};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// Longer than what a node that is killed has lost: everything before is on its disk.
const A_SECOND: Duration = Duration::from_millis(1_100);

const LIMITS: &str = r#"
[[limit]]
name = "daily"
algorithm = "sliding_log"
limit = 100
per = "1d"

[[limit]]
name = "bucket"
algorithm = "token_bucket"
limit = 100
per = "30d"

[[limit]]
name = "brief"
algorithm = "fixed_window"
anchor = "first_hit"
limit = 100
per = "10m"
keep = true

[[limit]]
name = "forgotten"
algorithm = "sliding_log"
limit = 100
per = "1d"
keep = false
"#;

const KEPT: [&str; 3] = ["daily", "bucket", "brief"];

const KEYS: usize = 40;

fn cluster(settings: &str) -> Cluster {
    Cluster::with_config(&format!("[cluster]\n{settings}\n{LIMITS}"))
}

fn directory(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.home().join("data").join(name)
}

fn starting(cluster: &Cluster, name: &str) -> Starting {
    let directory = directory(cluster, name).display().to_string();
    cluster.starting(Options {
        args: vec!["--data-dir".to_owned(), directory],
        ..Options::new(name, Cluster::COOKIE)
    })
}

/// Starts them at the same time, in this order, and waits until they are ready.
fn start(cluster: &mut Cluster, names: &[&str]) {
    let starting: Vec<_> = names.iter().map(|name| starting(cluster, name)).collect();
    for node in starting {
        let ready = node.ready();
        let ready = ready.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}"));
        cluster.nodes.push(ready);
    }
}

/// How many units of a key are counted: some of each, and not of each the same.
fn counted(number: usize) -> u64 {
    (number % 7 + 1) as u64
}

/// Counts on every limit, through all nodes.
fn count(cluster: &Cluster) {
    for limit in KEPT.iter().chain(&["forgotten"]) {
        for number in 0..KEYS {
            let node = &cluster.nodes[number % cluster.nodes.len()];
            let cost = u32::try_from(counted(number)).expect("a few");
            let answer = node.check(limit, &format!("k{number}"), cost);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
}

/// Waits for an answer where none could be had.
fn remaining(node: &Node, limit: &str, key: &str) -> u64 {
    eventually("a decision", || {
        let answer = node.check(limit, key, 0);
        let remaining = answer.json()["remaining"].as_u64();
        remaining.ok_or_else(|| format!("{answer:?}"))
    })
}

/// Every node says that what was counted is counted, and nothing of the limit that is not kept.
#[track_caller]
fn is_back(cluster: &Cluster) {
    for node in &cluster.nodes {
        for number in 0..KEYS {
            let key = format!("k{number}");
            for limit in KEPT {
                let left = remaining(node, limit, &key);
                let name = &node.name;
                assert_eq!(left, 100 - counted(number), "{limit} {key} at {name}");
            }
            assert_eq!(remaining(node, "forgotten", &key), 100, "{key}");
        }
    }
}

/// Three nodes that have counted.
fn counting(settings: &str) -> Cluster {
    let mut cluster = cluster(settings);
    start(&mut cluster, &NAMES);
    cluster.settle();
    count(&cluster);
    cluster
}

/// Without another word, when all is on the disks.
fn kill_all(cluster: &mut Cluster) {
    thread::sleep(A_SECOND);
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.nodes.clear();
}

#[test]
fn counts_come_back_after_every_node_was_stopped() {
    let mut cluster = counting("");
    for node in &cluster.nodes {
        node.terminate();
    }
    for node in &mut cluster.nodes {
        assert!(node.ended().success());
    }
    cluster.nodes.clear();
    start(&mut cluster, &["oskar3", "oskar", "oskar2"]);
    is_back(&cluster);
    // And one after the other, the last of whom has all of it.
    while let Some(mut node) = cluster.nodes.pop() {
        node.terminate();
        assert!(node.ended().success());
    }
    start(&mut cluster, &NAMES);
    is_back(&cluster);
}

#[test]
fn counts_come_back_after_every_node_was_killed_with_one_disk_lost() {
    for lost in [0, 2] {
        let mut cluster = counting("");
        kill_all(&mut cluster);
        fs::remove_dir_all(directory(&cluster, NAMES[lost])).expect("a disk");
        start(&mut cluster, &["oskar2", "oskar3", "oskar"]);
        is_back(&cluster);
        let denied = cluster.nodes[0].check("daily", "k1", 99);
        assert_eq!(denied.status, 429, "{denied:?}");
    }
}

/// They are ready once they have waited for the third, and what that one kept is joined when it comes.
#[test]
fn counts_come_back_when_two_of_three_nodes_start() {
    let mut cluster = counting("start_wait = \"3s\"");
    kill_all(&mut cluster);
    start(&mut cluster, &["oskar3", "oskar"]);
    is_back(&cluster);
    assert_eq!(cluster.nodes[0].check("daily", "more", 30).status, 200);
    start(&mut cluster, &["oskar2"]);
    cluster.settle();
    is_back(&cluster);
    let again = cluster.nodes[2].ask("DELETE", "/v1/keys/daily/k1", &[], None);
    assert_eq!(again.status, 204);
    kill_all(&mut cluster);
    start(&mut cluster, &NAMES);
    let node = &cluster.nodes[1];
    assert_eq!(remaining(node, "daily", "k1"), 100, "it was reset");
    assert_eq!(remaining(node, "daily", "more"), 70);
    assert_eq!(remaining(node, "daily", "k2"), 100 - counted(2));
}

/// A majority of those who counted decides, and no smaller part of them however long it waits.
#[test]
fn under_quorum_a_minority_of_the_last_members_decides_nothing() {
    let settings = "partition = \"quorum\"\nstart_wait = \"1s\"";
    let mut cluster = cluster(settings);
    for name in NAMES {
        start(&mut cluster, &[name]);
    }
    cluster.settle();
    let keys: Vec<String> = (0..10).map(|number| format!("k{number}")).collect();
    for key in &keys {
        // A hit of which nobody can tell whether it counts may count, too.
        eventually("a hit is counted", || {
            let answer = cluster.nodes[0].check("daily", key, 3);
            let is_counted = answer.status == 200;
            is_counted
                .then_some(())
                .ok_or_else(|| format!("{answer:?}"))
        });
    }
    let left = |node: &Node| -> Vec<u64> {
        let keys = keys.iter();
        keys.map(|key| remaining(node, "daily", key)).collect()
    };
    let before = left(&cluster.nodes[0]);
    kill_all(&mut cluster);
    let first = starting(&cluster, NAMES[1]);
    thread::sleep(Duration::from_secs(6));
    assert!(first.is_pending(), "{}", first.log());
    let second = starting(&cluster, NAMES[0]);
    for node in [first, second] {
        let ready = node.ready();
        let ready = ready.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}"));
        cluster.nodes.push(ready);
    }
    for node in &cluster.nodes {
        assert_eq!(left(node), before, "{}", node.name);
    }
}

/// Decisions go on, it is counted and told, and all of it is kept once there is room.
#[test]
fn a_full_disk_stops_no_decision_and_takes_what_it_missed_when_there_is_room() {
    let mut cluster = cluster("");
    let disk = SmallDisk::at(directory(&cluster, NAMES[0]));
    start(&mut cluster, &NAMES[..1]);
    let node = &cluster.nodes[0];
    let failures = || {
        let metrics = node.get("/metrics", &[]).body;
        let lines = metrics.lines();
        let mut told =
            lines.filter_map(|line| line.strip_prefix("weir_counts_write_failures_total "));
        told.next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    };
    let filler = disk.path().join("filler");
    let mut fill = Command::new("dd");
    let fill = fill
        .arg("if=/dev/zero")
        .arg(format!("of={}", filler.display()))
        .args(["bs=4k", "status=none"]);
    // It fails when the disk is full, as is wanted.
    assert!(!fill.status().expect("dd").success());
    let mut batch = 0;
    eventually("it cannot be written", || {
        batch += 1;
        for number in 0..50 {
            let answer = node.check("daily", &format!("b{batch}-{number}"), 1);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let failures: u64 = failures();
        (0 < failures)
            .then_some(())
            .ok_or_else(|| "none".to_owned())
    });
    count(&cluster);
    let node = &cluster.nodes[0];
    assert!(node.log().contains("takes no counts"), "{}", node.log());
    fs::remove_file(&filler).expect("the filler");
    eventually("there is room", || {
        let log = node.log();
        let told = log.contains("takes counts again");
        told.then_some(()).ok_or_else(|| "not told".to_owned())
    });
    kill_all(&mut cluster);
    start(&mut cluster, &NAMES[..1]);
    is_back(&cluster);
    assert_eq!(remaining(&cluster.nodes[0], "daily", "b1-0"), 99);
}
