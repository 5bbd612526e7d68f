//! A cluster is upgraded node by node while it is asked: no check fails, nobody logs in again, and nothing is counted twice or not at all.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use e2e::{Balanced, Balancer, Cluster, Node, Options, Response, eventually};
use serde_json::json;

use crate::people::{CONFIG, Session, sign_up};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// How long a node that drains goes on, for whoever asks it for `/ready` to notice.
const DRAINS_FOR: &str = "2s";

/// Of the limit that is checked: more than are.
const UNITS: u64 = 1_000_000;

/// A check of each client, and a request of whoever has logged in, every so often: 160 a second, and 40.
const CHECKS: usize = 8;
const PAUSE: Duration = Duration::from_millis(50);
const READS: usize = 2;

/// What the nodes are before: the program of `WEIR_BIN_BEFORE`, an earlier version, or the same one. Within one tree there is no other:
/// what a version has kept is in `formats.rs`, what it has said to its peers in the tests of `cluster::wire`.
fn before() -> Option<PathBuf> {
    std::env::var_os("WEIR_BIN_BEFORE").map(PathBuf::from)
}

/// Starts the node of that name on its directory. Port 0: on any.
fn start(cluster: &mut Cluster, name: &str, http_port: u16, program: Option<PathBuf>) {
    let directory = cluster.home().join(format!("data-of-{name}"));
    let directory = directory.display().to_string();
    let args = ["--data-dir", &directory, "--drain-wait", DRAINS_FOR];
    let node = cluster.starting(Options {
        args: args.map(str::to_owned).to_vec(),
        http_port,
        program,
        ..Options::new(name, Cluster::COOKIE)
    });
    let ready = node.ready();
    let ready = ready.unwrap_or_else(|(status, log)| panic!("{name}: {status}:\n{log}"));
    cluster.nodes.push(ready);
}

/// Clients that ask until they are stopped.
struct Asking {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Asking {
    /// So many, each of which asks by `ask`.
    fn start(
        balancer: &Balancer,
        clients: usize,
        ask: impl Fn(&mut Balanced) -> io::Result<Response> + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let client = |_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (ask, mut client) = (ask.clone(), balancer.client());
            thread::spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let due = Instant::now() + PAUSE;
                    match ask(&mut client) {
                        Ok(answer) if answer.status == 200 => {}
                        other => failed.push(format!("{other:?}")),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    // The rate of the load, not a wait for something.
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                failed
            })
        };
        let clients = (0..clients).map(client).collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it: how often was asked, and what was answered besides 200.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        let failed = clients.flat_map(|client| client.join().expect("a client does not panic"));
        let failed = failed.collect();
        (self.answered.load(Ordering::Relaxed), failed)
    }
}

#[test]
fn nodes_are_upgraded_one_by_one_and_nobody_notices() {
    let mut cluster = Cluster::with_config(CONFIG);
    for name in NAMES {
        start(&mut cluster, name, 0, before());
    }
    cluster.until_well();
    let mut client = cluster.nodes[0].client();
    sign_up(&mut client, "ada@example.com");
    let session = Session::begin(&mut client, "ada@example.com");
    let limit =
        json!({ "algorithm": "fixed_window", "anchor": "first_hit", "limit": UNITS, "per": "1h" });
    let set = session.ask(&mut client, "PUT", "/v1/limits/api", Some(limit));
    assert_eq!(set.status, 201, "{set:?}");
    let key = json!({ "name": "edge", "scopes": ["check"] });
    let key = session.ask(&mut client, "POST", "/v1/api-keys", Some(key));
    let bearer = format!("Bearer {}", key.json()["key"].as_str().expect("an API key"));

    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.http).collect();
    let balancer = Balancer::new(&addresses);
    let checks = Asking::start(&balancer, CHECKS, {
        let bearer = bearer.clone();
        let body = json!({ "limit": "api", "key": "ada" }).to_string();
        move |client| {
            let headers = [("Authorization", &*bearer)];
            client.request("POST", "/v1/check", &headers, Some(&body))
        }
    });
    let reads = Asking::start(&balancer, READS, move |client| {
        let headers = [("Cookie", &*session.cookie)];
        // Whoever has not logged in is sent to another page, with 303.
        client.request("GET", "/dashboard/account", &headers, None)?;
        client.request("GET", "/v1/auth/session", &headers, None)
    });
    for name in NAMES {
        let mut node = cluster.take(name);
        let port = node.http.port();
        let enough = (checks.answered() + 100, reads.answered() + 10);
        node.terminate();
        assert!(node.ended().success(), "{name}: {}", node.log());
        start(&mut cluster, name, port, None);
        // As docs/upgrading.md has it: the next one once all is well again.
        cluster.until_well();
        eventually("the balancer knows of all", || match balancer.ready() {
            3 => Ok(()),
            ready => Err(ready.to_string()),
        });
        eventually("all of them go on", || {
            let answered = (checks.answered(), reads.answered());
            match enough.0 <= answered.0 && enough.1 <= answered.1 {
                true => Ok(()),
                false => Err(format!("{answered:?} of {enough:?}")),
            }
        });
    }
    let (checked, failed) = checks.stop();
    assert_eq!(
        (failed.len(), failed.first()),
        (0, None),
        "of {checked} checks"
    );
    let (read, logins) = reads.stop();
    assert_eq!(
        (logins.len(), logins.first()),
        (0, None),
        "of {read} requests"
    );
    for node in &cluster.nodes {
        assert_eq!(
            counted(node, &bearer),
            checked as u64,
            "as {} says",
            node.name
        );
    }
    println!("{checked} checks and {read} requests of a session, all answered");
}

/// Units that a node says are counted.
fn counted(node: &Node, bearer: &str) -> u64 {
    let peek = json!({ "limit": "api", "key": "ada", "cost": 0 }).to_string();
    let headers = [("Authorization", bearer)];
    let peek = node.ask("POST", "/v1/check", &headers, Some(&peek));
    UNITS
        - peek.json()["remaining"]
            .as_u64()
            .unwrap_or_else(|| panic!("{peek:?}"))
}
