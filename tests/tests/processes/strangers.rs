//! Whoever has not proven the cookie changes nothing for anybody else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use e2e::{Cluster, DEADLINE, Node, View, at_once, eventually, view};
use rustix::process::{Resource, getrlimit, setrlimit};

const CONFIG: &str = r#"
[[limit]]
name = "log"
algorithm = "sliding_log"
limit = 200
per = "365d"
"#;

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

fn start() -> Cluster {
    Cluster::with_config(CONFIG).started(&NAMES)
}

/// Exactly the limit is admitted, and everybody lives as before.
#[track_caller]
fn assert_served(cluster: &Cluster, before: &View, key: &str) {
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    assert_eq!(at_once(&nodes, 16, "log", key), 200);
    for node in nodes {
        let now = view(node);
        assert_eq!(standing(&now), standing(before), "{}", node.name);
        let log = node.log();
        let declared = log
            .lines()
            .find(|line| line.contains("view changed") && line.contains("members=2"));
        let joined = log.lines().position(|line| line.contains("members=3"));
        let after = declared.and_then(|line| log.lines().position(|other| other == line));
        assert!(
            after.is_none_or(|after| joined.is_some_and(|joined| after < joined)),
            "{log}"
        );
    }
}

#[track_caller]
fn check_stranger(name: &str) {
    let mut cluster = start();
    let before = view(&cluster.nodes[0]);
    let door = cluster.nodes[0].cluster.to_string();
    let wrong = "another-cookie-altogether";
    let refused = cluster.try_start(name, wrong, &["--join", &door]);
    let (status, log) = refused.expect_err("the cookie is wrong");
    assert!(!status.success());
    let told = log.lines().find(|line| line.starts_with("weir: "));
    assert!(told.is_some_and(|line| line.contains("cookie")), "{log}");
    let host = eventually("the node that was asked logs why", || {
        let log = cluster.nodes[0].log();
        log.contains("cookie")
            .then_some(log)
            .ok_or_else(String::new)
    });
    for log in [&log, &host] {
        assert!(
            !log.contains(wrong) && !log.contains(Cluster::COOKIE),
            "{log}"
        );
        assert!(!log.contains("panicked"), "{log}");
    }
    assert_served(&cluster, &before, "a");
    cluster.settle();
}

#[test]
fn a_wrong_cookie_is_refused() {
    check_stranger("stranger");
}

#[test]
fn a_wrong_cookie_under_the_name_of_a_member_is_refused() {
    check_stranger("oskar2");
}

/// Writes `chunk` until `total` bytes are gone or the other side has had enough.
fn pour(address: SocketAddr, chunk: &[u8], total: u64) -> u64 {
    let mut stream = TcpStream::connect(address).expect("connecting");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut poured = 0;
    while poured < total && stream.write_all(chunk).is_ok() {
        poured += chunk.len() as u64;
    }
    // Until it hangs up, so that whatever it makes of this has been made.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
    poured
}

/// Who is how, under which start; shards may still be moving.
fn standing(view: &View) -> Vec<(&str, &str, u64)> {
    let members = view.members.iter();
    members
        .map(|(name, member)| (name.as_str(), member.status.as_str(), member.incarnation))
        .collect()
}

/// Memory that a stranger may make a node use: frames in hand, not what was poured.
const MEMORY: u64 = 64 * 1024 * 1024;

#[test]
fn garbage_and_gigabytes_on_the_cluster_port_are_survived() {
    let cluster = start();
    let before = view(&cluster.nodes[0]);
    let memory = cluster.nodes[0].memory();
    let door = cluster.nodes[0].cluster;
    let zeros = vec![0; 1024 * 1024];
    pour(door, &zeros, 4 * 1024 * 1024 * 1024);
    // Lengths that promise more than anybody would send, and bytes of no kind.
    for byte in [0x01, 0x7f, 0xff] {
        pour(door, &vec![byte; 1024 * 1024], 16 * 1024 * 1024);
    }
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let garbage: Vec<u8> = std::iter::repeat_with(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()[0]
    })
    .take(1024 * 1024)
    .collect();
    for start in 0..32 {
        pour(door, &garbage[start * 1_000..], 1);
    }
    pour(door, b"GET / HTTP/1.1\r\nHost: weir\r\n\r\n", 1);
    let grown = cluster.nodes[0].memory().saturating_sub(memory);
    assert!(grown < MEMORY, "{grown} bytes more");
    assert_served(&cluster, &before, "a");
}

/// Connections of strangers to each port.
const IDLE: usize = 5_000;

#[test]
fn idle_connections_disturb_nobody() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("raising the number of open files");
    let cluster = start();
    let before = view(&cluster.nodes[0]);
    let memory = cluster.nodes[0].memory();
    let node = &cluster.nodes[0];
    let idle: Vec<TcpStream> = [node.http, node.cluster]
        .into_iter()
        .flat_map(|address| std::iter::repeat_n(address, IDLE))
        .map(|address| TcpStream::connect_timeout(&address, DEADLINE).expect("connecting"))
        .collect();
    assert_served(&cluster, &before, "a");
    // 10 000 connections at some 20 KiB.
    let grown = node.memory().saturating_sub(memory);
    assert!(grown < 4 * MEMORY, "{grown} bytes more");
    drop(idle);
    assert_served(&cluster, &before, "b");
    cluster.settle();
}
