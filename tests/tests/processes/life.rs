//! From start to stop: what a node answers while it joins, which signals it minds, and how it goes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use e2e::{
    Client, Cluster, DEADLINE, Node, Options, Response, Starting, Target, check, eventually,
};
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

/// Requests in one write.
const PIPELINED: usize = 160;

/// Clients that each write so many.
const PIPELINES: usize = 48;

/// Of 160 requests in one write 10 to 86 were counted and not answered.
#[test]
fn what_a_node_counts_of_a_pipeline_while_it_stops_it_answers() {
    let config =
        "[[limit]]\nname = \"log\"\nalgorithm = \"sliding_log\"\nlimit = 1000\nper = \"365d\"\n";
    let mut cluster = Cluster::with_config(config).started(&["oskar", "oskar2"]);
    let mut node = cluster.take("oskar");
    let survivor = &cluster.nodes[0];
    let mut streams: Vec<TcpStream> = (0..PIPELINES)
        .map(|key| {
            let body = check("log", &format!("key-{key}"), 1);
            let request = format!(
                "POST /v1/check HTTP/1.1\r\nHost: weir\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let mut stream = TcpStream::connect(node.http).expect("it connects");
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let asked = stream.write_all(request.repeat(PIPELINED).as_bytes());
            asked.expect("it is taken");
            stream
        })
        .collect();
    node.terminate();
    let told: Vec<String> = streams
        .iter_mut()
        .map(|stream| {
            let mut told = String::new();
            stream
                .read_to_string(&mut told)
                .expect("it closes in order");
            told
        })
        .collect();
    assert!(node.ended().success(), "{}", node.log());
    let targets: Vec<Target> = (0..PIPELINES)
        .map(|key| Target::new("log", &format!("key-{key}")))
        .collect();
    let counted = survivor.counts(&targets);
    let answered: Vec<u64> = told
        .iter()
        .map(|told| told.matches("HTTP/1.1 200 ").count() as u64)
        .collect();
    assert_eq!(counted, answered);
    // Some of it was under way when the signal came: otherwise nothing is shown.
    let all = (PIPELINES * PIPELINED) as u64;
    assert!((1..all).contains(&answered.iter().sum()), "{answered:?}");
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
