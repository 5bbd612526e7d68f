//! An owner that stands still and then goes on does not decide by what it knew before.

use e2e::{Client, Cluster, Node, at_once};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// Requests that wait in the sockets of the paused owner.
const QUEUED: usize = 32;

#[track_caller]
fn check(partition: &str, ack: &str) {
    let config = format!(
        r#"
[cluster]
partition = "{partition}"
ack = "{ack}"
[[limit]]
name = "log"
algorithm = "sliding_log"
limit = 200
per = "365d"
"#
    );
    let cluster = Cluster::with_config(&config).started(&NAMES);
    let [key, other] = &cluster.keys_of("oskar2", "log", 2)[..] else {
        panic!("two keys");
    };
    let owner = cluster.node("oskar2");
    let others: Vec<&Node> = cluster
        .nodes
        .iter()
        .filter(|node| node.name != owner.name)
        .collect();
    let every_node: Vec<&Node> = cluster.nodes.iter().collect();

    // Some of it is spent through the owner itself, the rest of another key while it is paused.
    let mut queued: Vec<Client> = (0..QUEUED).map(|_| owner.client()).collect();
    for client in &mut queued {
        let status = client.check("log", key, 1).expect("an answer").status;
        assert_eq!(status, 200);
    }
    // With `fast` a replica may still be without the newest of them; that loss is another test's.
    owner.replicated();
    owner.pause();
    let body = serde_json::json!({ "limit": "log", "key": key }).to_string();
    for client in &mut queued {
        client
            .send("POST", "/v1/check", &[], Some(&body))
            .expect("the kernel accepts it");
    }
    assert_eq!(at_once(&others, 64, "log", key), 200 - QUEUED);
    assert_eq!(at_once(&others, 8, "log", other), 200);
    owner.resume();
    for client in &mut queued {
        let answer = client.receive().expect("an answer");
        assert_eq!(answer.status, 429, "{answer:?}");
    }
    cluster.settle();
    for key in [key, other] {
        assert_eq!(at_once(&every_node, 6, "log", key), 0);
        for node in &cluster.nodes {
            assert_eq!(node.counted("log", key), 200, "{}", node.name);
        }
    }
}

/// Nobody had a copy, so that it asked nobody: of 24 queued hits it admitted up to 24 beyond the limit.
#[test]
fn a_paused_owner_whose_keys_nobody_holds_admits_no_more() {
    let config = r#"
[cluster]
replicas = 0
[[limit]]
name = "log"
algorithm = "sliding_log"
limit = 200
per = "365d"
"#;
    let cluster = Cluster::with_config(config).started(&NAMES);
    let key = &cluster.keys_of("oskar2", "log", 1)[0];
    let owner = cluster.node("oskar2");
    let others: Vec<&Node> = cluster
        .nodes
        .iter()
        .filter(|node| node.name != owner.name)
        .collect();
    let mut queued: Vec<Client> = (0..QUEUED).map(|_| owner.client()).collect();
    owner.pause();
    let body = serde_json::json!({ "limit": "log", "key": key }).to_string();
    for client in &mut queued {
        client
            .send("POST", "/v1/check", &[], Some(&body))
            .expect("the kernel accepts it");
    }
    assert_eq!(at_once(&others, 64, "log", key), 200);
    owner.resume();
    for client in &mut queued {
        let answer = client.receive().expect("an answer");
        assert_eq!(answer.status, 429, "{answer:?}");
    }
}

#[test]
fn a_paused_owner_admits_no_more_in_available_mode() {
    check("available", "replicated");
}

#[test]
fn a_paused_owner_admits_no_more_in_available_mode_with_fast_answers() {
    check("available", "fast");
}

#[test]
fn a_paused_owner_admits_no_more_in_quorum_mode() {
    check("quorum", "replicated");
}

#[test]
fn a_paused_owner_admits_no_more_in_quorum_mode_with_fast_answers() {
    check("quorum", "fast");
}
