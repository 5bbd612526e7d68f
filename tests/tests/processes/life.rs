//! From start to stop: what a node answers while it joins, which signals it minds, and how it goes.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use e2e::{Client, Cluster, Node, Options, Response, Starting, eventually};
use rustix::process::Signal;

fn get(http: SocketAddr, path: &str) -> std::io::Result<Response> {
    Client::connect(http)?.request("GET", path, &[], None)
}

/// A node that joins by way of somebody who accepts connections and says nothing, with a port of its own for HTTP.
fn joining(cluster: &Cluster) -> (Starting, SocketAddr, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let seed = silent.local_addr().expect("an address").to_string();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let http = free.local_addr().expect("an address");
    drop(free);
    let mut options = Options::new("oskar", Cluster::COOKIE);
    options.http_port = http.port();
    options.args = vec!["--join".into(), seed];
    (Starting::launch(cluster.home(), &options), http, silent)
}

/// Nobody answered before the node had joined, and a supervisor that asks `/health` for 10 s killed it.
#[test]
fn a_node_that_joins_says_so() {
    let cluster = Cluster::new();
    let (starting, http, _silent) = joining(&cluster);
    let started = Instant::now();
    let health = eventually("/health is answered", || {
        get(http, "/health").map_err(|error| error.to_string())
    });
    // It tries to join for 5 s and more: this was answered before, with room on either side.
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    assert_eq!((health.status, &*health.body), (200, r#"{"status":"ok"}"#));
    let ready = get(http, "/ready").expect("an answer");
    assert_eq!(
        (ready.status, &*ready.body),
        (503, r#"{"status":"joining"}"#)
    );
    let cluster_told = get(http, "/v1/cluster").expect("an answer");
    assert_eq!(cluster_told.json()["members"][0]["name"], "oskar");
    let check = Client::connect(http)
        .and_then(|mut client| client.check("user_home", "ada", 1))
        .expect("an answer");
    assert_eq!(
        (check.status, &check.json()["type"]),
        (503, &"/problems/no-decision".into())
    );
    let detail = check.json()["detail"].to_string();
    assert!(detail.contains("not counted"), "{detail}");

    let node = starting.ready().expect("it starts alone in the end");
    let ready = get(http, "/ready").expect("an answer");
    assert_eq!((ready.status, &*ready.body), (200, r#"{"status":"ready"}"#));
    assert_eq!(node.check("user_home", "ada", 1).status, 200);
}

#[test]
fn a_node_that_joins_can_be_stopped() {
    let cluster = Cluster::new();
    let (mut starting, http, _silent) = joining(&cluster);
    eventually("/health is answered", || {
        get(http, "/health").map_err(|error| error.to_string())
    });
    starting.signal(Signal::TERM);
    assert!(starting.ended().success());
}

/// SIGHUP killed a node without a word: a closed terminal or a log rotation was a crash.
#[test]
fn signals_for_others_change_nothing() {
    let mut cluster = Cluster::new().started(&["oskar", "oskar2"]);
    let node = &cluster.nodes[1];
    for (signal, name) in [
        (Signal::HUP, "SIGHUP"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
    ] {
        node.signal(signal);
        eventually("the signal is told", || match node.log() {
            log if log.contains(name) => Ok(()),
            log => Err(log),
        });
    }
    assert_eq!(node.check("user_home", "ada", 1).status, 200);
    let mut leaving = cluster.take("oskar2");
    leaving.terminate();
    assert!(leaving.ended().success(), "{}", leaving.log());
}

/// Connections were refused some 20 ms after `/ready` had turned 503: no balancer can have seen it.
#[test]
fn who_is_told_to_stop_serves_until_balancers_know() {
    let mut cluster = Cluster::new().started(&["oskar"]);
    let started = cluster.try_start("oskar2", Cluster::COOKIE, &["--drain-wait", "4s"]);
    started.expect("it starts");
    let mut node = cluster.take("oskar2");
    node.terminate();
    eventually("/ready says that it drains", || {
        match get(node.http, "/ready").map_err(|error| error.to_string())? {
            Response {
                status: 503, body, ..
            } if body == r#"{"status":"draining"}"# => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    for hit in 0..20 {
        let answer = node.check("client", &format!("key-{hit}"), 1);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("connection"), None, "{answer:?}");
    }
    assert!(node.ended().success(), "{}", node.log());
    assert!(get(node.http, "/ready").is_err());
    let status = cluster.nodes[0].get("/v1/cluster", &[]).json();
    assert_ne!(status["members"][1]["status"], "dead", "{status}");
}

/// Where in a node's log the lines are that have all of these words.
fn told(log: &str, words: &[&str]) -> Vec<usize> {
    let lines = log.lines().enumerate();
    lines
        .filter(|(_, line)| words.iter().all(|word| line.contains(word)))
        .map(|(place, _)| place)
        .collect()
}

/// A log named incarnations, which nobody knows.
#[test]
fn who_is_lost_is_named_to_both_others_and_so_is_its_return() {
    let mut cluster = Cluster::new().started(&["oskar", "oskar2", "oskar3"]);
    let name = "node=oskar2";
    let wait = |node: &Node, what: &str, least: usize, words: &[&str]| {
        eventually(what, || {
            let log = node.log();
            match told(&log, words).len() {
                lines if least <= lines => Ok(()),
                lines => Err(format!("{lines} lines: {log}")),
            }
        });
    };
    cluster.take("oskar2").kill();
    for node in &cluster.nodes {
        let words = ["WARN", "a member is lost", name, "shards="];
        wait(node, "a warning that names it", 1, &words);
    }
    cluster.start("oskar2");
    for node in ["oskar", "oskar3"].map(|name| cluster.node(name)) {
        wait(node, "its return", 2, &["INFO", "a member is here", name]);
    }
    let mut leaving = cluster.take("oskar2");
    leaving.terminate();
    assert!(leaving.ended().success(), "{}", leaving.log());
    for node in &cluster.nodes {
        let words = ["INFO", "a member has left in order", name];
        wait(node, "that it left", 1, &words);
        let log = node.log();
        let lost = told(&log, &["a member is lost", name]);
        assert!(lost.last() < told(&log, &words).first(), "{log}");
    }
}
