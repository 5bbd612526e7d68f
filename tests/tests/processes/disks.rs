//! Limits made at run time outlive all nodes, however these end. A full disk needs root and `mount`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Cluster, Node, SmallDisk, eventually};
use serde_json::json;

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// Where the node of that name keeps things.
fn directory(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.home().join("data").join(name)
}

fn start(cluster: &mut Cluster, name: &str) {
    let directory = directory(cluster, name).display().to_string();
    let args = ["--data-dir", &directory];
    let started = cluster.try_start(name, Cluster::COOKIE, &args);
    started.unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
}

/// Sets a limit of so many an hour for one key: who has not confirmed it.
fn set(node: &Node, key: &str, limit: u32) -> Option<String> {
    let body = json!({"key": key, "limit": limit, "interval": "1h", "algorithm": "sliding_log"});
    let answer = node.ask("POST", "/api/limits", &[], Some(&body.to_string()));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("weir-pending").map(str::to_owned)
}

/// The limit of a key. `None`: it has none.
fn limit(node: &Node, key: &str) -> Option<u64> {
    let answer = node.get(&format!("/api/limits?key={key}"), &[]);
    match answer.status {
        200 => answer.json()["limit"].as_u64(),
        _ => None,
    }
}

/// Three nodes that were told this, and that all have confirmed it.
fn told() -> Cluster {
    let mut cluster = Cluster::new();
    for name in NAMES {
        start(&mut cluster, name);
    }
    cluster.settle();
    for number in 0..50 {
        let node = &cluster.nodes[number % 3];
        assert_eq!(set(node, &format!("k{number}"), 7), None);
    }
    let removed = cluster.nodes[1].ask("DELETE", "/api/limits?key=k0", &[], None);
    assert_eq!(
        (removed.status, removed.header("weir-pending")),
        (204, None)
    );
    cluster
}

fn knows(node: &Node) {
    assert_eq!(limit(node, "k0"), None, "{}", node.name);
    for number in 1..50 {
        let key = format!("k{number}");
        assert_eq!(limit(node, &key), Some(7), "{key} at {}", node.name);
    }
}

#[test]
fn limits_come_back_after_every_node_was_killed_whoever_starts_first() {
    let mut cluster = told();
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.nodes.clear();
    // The last first, and then one whose disk is lost; the third comes when these two work.
    start(&mut cluster, NAMES[2]);
    knows(&cluster.nodes[0]);
    fs::remove_dir_all(directory(&cluster, NAMES[1])).expect("a disk");
    start(&mut cluster, NAMES[1]);
    knows(&cluster.nodes[1]);
    assert_eq!(set(&cluster.nodes[1], "k1", 9), None);
    start(&mut cluster, NAMES[0]);
    assert_eq!(limit(&cluster.nodes[2], "k1"), Some(9));
    assert_eq!(set(&cluster.nodes[2], "k1", 7), None);
    for node in &cluster.nodes {
        knows(node);
    }
    cluster.settle();
}

#[test]
fn limits_come_back_after_every_node_was_stopped() {
    let mut cluster = told();
    while let Some(mut node) = cluster.nodes.pop() {
        node.terminate();
        assert!(node.ended().success());
    }
    for name in NAMES {
        start(&mut cluster, name);
        knows(cluster.node(name));
    }
}

#[test]
fn a_directory_that_is_not_for_this_node_is_refused_with_exit_2_and_left_alone() {
    let mut cluster = Cluster::new();
    start(&mut cluster, NAMES[0]);
    let used = directory(&cluster, NAMES[0]);
    let refused = |cluster: &mut Cluster, cookie: &str, directory: &Path| {
        let args = ["--data-dir", &directory.display().to_string()];
        let ended = cluster.try_start("other", cookie, &args);
        let (status, log) = ended.expect_err("to be refused");
        assert_eq!(status.code(), Some(2), "{log}");
        log
    };
    let log = refused(&mut cluster, Cluster::COOKIE, &used);
    assert!(log.contains("in use by another process"), "{log}");
    let mut first = cluster.nodes.pop().expect("the first node");
    first.kill();
    let log = refused(&mut cluster, "another cookie of the tests", &used);
    assert!(log.contains("belongs to another cluster"), "{log}");
    let foreign = cluster.home().join("foreign");
    fs::create_dir(&foreign).expect("a folder");
    fs::write(foreign.join("notes.txt"), "mine").expect("a file");
    let log = refused(&mut cluster, Cluster::COOKIE, &foreign);
    assert!(log.contains("is no data directory of Weir"), "{log}");
    let left = fs::read_dir(&foreign).expect("a folder").count();
    assert_eq!(left, 1);
    fs::write(used.join("catalogue.redb"), "garbage").expect("a file");
    let log = refused(&mut cluster, Cluster::COOKIE, &used);
    assert!(log.contains("is damaged"), "{log}");
}

/// Decisions go on, whoever sets a limit is told who has not kept it, and all of it is kept once there is room.
#[test]
fn a_full_disk_stops_no_decision_and_takes_what_it_missed_when_there_is_room() {
    let mut cluster = Cluster::new();
    let disk = SmallDisk::at(directory(&cluster, NAMES[0]));
    start(&mut cluster, NAMES[0]);
    let node = &cluster.nodes[0];
    assert_eq!(set(node, "before", 7), None);
    let filler = disk.path().join("filler");
    let mut rest = Command::new("dd");
    let rest = rest
        .arg("if=/dev/zero")
        .arg(format!("of={}", filler.display()));
    // It fails when the disk is full, as is wanted.
    let filled = rest.args(["bs=4k", "status=none"]).status().expect("dd");
    assert!(!filled.success());
    // What redb has reserved takes some.
    let first = (0..5_000)
        .find(|number| set(node, &format!("{number}{}", "y".repeat(900)), 7).is_some())
        .expect("a limit that is not kept");
    assert_eq!(set(node, "meanwhile", 7).as_deref(), Some(NAMES[0]));
    assert_eq!(limit(node, "meanwhile"), Some(7), "after {first}");
    assert_eq!(node.check("client", "u1", 1).status, 200);
    let metrics = node.get("/metrics", &[]).body;
    let failures = metrics
        .lines()
        .find_map(|line| line.strip_prefix("weir_store_write_failures_total "));
    let failures = failures.and_then(|number| number.parse::<u64>().ok());
    assert!(failures.is_some_and(|number| 1 <= number), "{failures:?}");
    fs::remove_file(&filler).expect("the filler");
    eventually("there is room", || match set(node, "afterwards", 7) {
        None => Ok(()),
        Some(pending) => Err(pending),
    });
    let mut node = cluster.nodes.pop().expect("the node");
    node.kill();
    start(&mut cluster, NAMES[0]);
    for key in ["before", "meanwhile", "afterwards"] {
        assert_eq!(limit(&cluster.nodes[0], key), Some(7), "{key}");
    }
}
