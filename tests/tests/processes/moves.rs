//! P3: nodes that come, go and come back neither forget nor over-admit.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{
    Cluster, Hit, Load, Network, Node, Options, Outcome, Starting, Target, View, account, address,
    at_once, eventually, view,
};
use serde_json::{Value, json};

/// Periods so long that nothing comes back while the test runs.
const CONFIG: &str = r#"
[cluster]
ack = "replicated"
[[limit]]
name = "gcra"
algorithm = "gcra"
limit = 100_000
per = "365d"
[[limit]]
name = "sliding_log"
algorithm = "sliding_log"
limit = 10_000
per = "365d"
[[limit]]
name = "fixed_window"
algorithm = "fixed_window"
anchor = "first_hit"
limit = 100_000
per = "365d"
[[limit]]
name = "spent"
algorithm = "leaky_bucket"
limit = 50
per = "365d"
"#;

/// Keys enough that every join and leave moves some of them, of every algorithm.
fn targets(cluster: &Cluster) -> Vec<Target> {
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    let mut targets = Vec::new();
    for number in 0..6 {
        for limit in ["gcra", "sliding_log", "fixed_window", "spent"] {
            targets.push(Target::new(limit, &format!("key-{number}")));
        }
        assert_eq!(at_once(&nodes, 4, "spent", &format!("key-{number}")), 50);
    }
    targets
}

#[track_caller]
fn assert_nothing_lost(cluster: &Cluster, hits: &[Hit]) {
    for node in &cluster.nodes {
        for (target, account) in account(node, hits) {
            if target.limit == "spent" {
                assert_eq!(
                    (account.admitted, account.counted),
                    (0, 50),
                    "{target:?} {account:?}"
                );
            } else {
                assert_eq!(account.denied, 0, "{target:?} {account:?}");
                assert_eq!(account.forgotten(), 0, "{target:?} {account:?}");
                assert_eq!(account.invented(), 0, "{target:?} {account:?}");
            }
        }
    }
}

#[test]
fn two_joins_and_a_leave_under_load_forget_nothing() {
    let mut cluster = Cluster::with_config(CONFIG).started(&["oskar", "oskar2"]);
    let targets = targets(&cluster);
    let load = Load::start(&cluster.nodes, &targets, 200);
    load.runs(200);
    cluster.start("oskar3");
    load.runs(50);
    cluster.start("oskar4");
    cluster.settle();
    load.runs(200);
    let mut leaving = cluster.take("oskar2");
    leaving.terminate();
    let status = leaving.ended();
    assert!(status.success(), "{status}:\n{}", leaving.log());
    load.runs(200);
    let hits = load.stop();
    cluster.settle();
    for hit in &hits {
        let is_answer = matches!(hit.outcome, Outcome::Admitted | Outcome::Denied);
        assert!(is_answer || hit.node == leaving.http, "{hit:?}");
    }
    assert_nothing_lost(&cluster, &hits);
}

#[test]
fn five_kills_and_restarts_under_the_same_name_lose_nothing() {
    let mut cluster = Cluster::with_config(CONFIG).started(&["oskar", "oskar2", "oskar3"]);
    let targets = targets(&cluster);
    let mut hits = Vec::new();
    let mut incarnations = Vec::new();
    for round in 0..5 {
        let long_lived = &targets[0];
        let owner = cluster.owner(&long_lived.limit, &long_lived.key);
        let load = Load::start(&cluster.nodes, &targets, 300);
        load.runs(200);
        let mut victim = cluster.take(&owner);
        victim.kill();
        load.runs(100);
        cluster.start(&owner);
        assert_eq!(cluster.node(&owner).members, 3, "round {round}");
        load.runs(100);
        hits.extend(load.stop());
        cluster.settle();
        let view = e2e::view(cluster.node(&owner));
        incarnations.push((owner.clone(), view.members[&owner].incarnation));
        assert_nothing_lost(&cluster, &hits);
    }
    for (round, (name, incarnation)) in incarnations.iter().enumerate() {
        let mut before = incarnations[..round]
            .iter()
            .filter(|(earlier, _)| earlier == name);
        assert!(
            before.all(|(_, earlier)| earlier < incarnation),
            "{incarnations:?}"
        );
    }
}

/// Keys that a node holds when another joins: some 7 MB of copies.
const HELD: usize = 100_000;
/// Most that a key takes on the wire, with all that is said beside. Measured: 69.
const KEY_BYTES: u64 = 90;
/// Hits of one batch: at most.
const BATCH: usize = 1_000;
/// Of the link to the newcomer.
const MEGABITS: u32 = 50;
/// Between two batches while it joins.
const BATCH_EVERY: Duration = Duration::from_millis(250);

/// What is promised to a batch meanwhile.
const BATCH_WITHIN: Duration = Duration::from_secs(1);

/// Hits `keys` once each, in one batch: how many hits failed.
fn hit_batch(node: &Node, keys: impl Iterator<Item = usize>) -> usize {
    let checks: Vec<Value> = keys
        .map(|key| json!({ "limit": "gcra", "key": format!("held-{key}") }))
        .collect();
    let sent = checks.len();
    let body = json!({ "checks": checks }).to_string();
    let answer = node.ask("POST", "/v1/check/batch", &[], Some(&body)).json();
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    let admitted = results.iter().filter(|result| result["allowed"] == true);
    sent - admitted.count()
}

/// What one join came to.
struct Join {
    /// To the newcomer.
    bytes: u64,
    /// That were asked meanwhile, none of which failed.
    hits: usize,
    /// Of their batches.
    slowest: Duration,
}

/// A second node joins on a host of its own, and has all copies in the end. Meanwhile the first is asked, if it `is_hit`.
#[track_caller]
fn join(network: &Network, cluster: &mut Cluster, is_hit: bool) -> Join {
    let before = network.bytes_to(1);
    let asked = &cluster.nodes[0];
    let mut options = Options::new("oskar2", Cluster::COOKIE);
    options.host = Some((network.namespace(1), address(1)));
    options.args = vec!["--join".to_owned(), asked.cluster.to_string()];
    let starting = cluster.starting(options);
    let is_over = AtomicBool::new(!is_hit);
    let hit = || {
        let (mut hits, mut slowest) = (0, Duration::ZERO);
        while !is_over.load(Ordering::Relaxed) {
            let started = Instant::now();
            let keys = (0..BATCH).map(|key| (hits * 7 + key * 97) % HELD);
            assert_eq!(hit_batch(asked, keys), 0, "after {hits} hits");
            hits += BATCH;
            slowest = slowest.max(started.elapsed());
            // The rate of the load, not a wait for something.
            thread::sleep(BATCH_EVERY.saturating_sub(started.elapsed()));
        }
        (hits, slowest)
    };
    let (joined, (hits, slowest)) = thread::scope(|scope| {
        let hitting = scope.spawn(hit);
        let joined = starting.ready();
        let joined = joined.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}"));
        eventually("the newcomer has what it needs", || {
            let views = [view(asked), view(&joined)];
            let has_all = |view: &View| {
                view.is_settled() && view.digest == views[0].digest && view.living().count() == 2
            };
            let is_there = views.iter().all(has_all);
            is_there.then_some(()).ok_or_else(|| format!("{views:#?}"))
        });
        is_over.store(true, Ordering::Relaxed);
        (joined, hitting.join().expect("no hit fails"))
    });
    cluster.nodes.push(joined);
    Join {
        bytes: network.bytes_to(1) - before,
        hits,
        slowest,
    }
}

/// A copy that took longer than 250 ms disowned its own receipt and was sent again, on the lane of hits: of 200 000 keys 175 MB
/// were sent where 32 are needed, 817 of 167 000 hits failed, and one batch took 14 s. Needs root, `ip` and `tc`.
#[test]
fn a_join_over_a_slow_link_sends_each_key_once_and_fails_no_hit() {
    let network = Network::new(2);
    let mut cluster = Cluster::with_config(CONFIG);
    cluster.start_on("oskar", &[], Some((network.namespace(0), address(0))));
    for batch in 0..HELD / BATCH {
        let keys = batch * BATCH..(batch + 1) * BATCH;
        assert_eq!(hit_batch(&cluster.nodes[0], keys), 0);
    }
    // What the keys need once: over a link that lets them all through, while nothing is asked.
    let needed = join(&network, &mut cluster, false).bytes;
    assert!(needed <= KEY_BYTES * HELD as u64, "{needed} bytes");
    let mut leaving = cluster.take("oskar2");
    leaving.terminate();
    assert!(leaving.ended().success(), "{}", leaving.log());
    network.slow_down(1, MEGABITS);
    let Join {
        bytes,
        hits,
        slowest,
    } = join(&network, &mut cluster, true);
    assert_ne!(hits, 0);
    // Measured, with what the hits came to: at most 1.11 times, and half a second.
    let needed = needed * 13 / 10;
    assert!(bytes <= needed, "{bytes} bytes, {needed} at most");
    assert!(slowest <= BATCH_WITHIN, "{slowest:?}");
}

/// Names of each round, which come together, and how many rounds there are.
const AT_ONCE: usize = 7;
const ROUNDS: usize = 2;

/// Seen: two seconds, while one was dead.
const STARTS_WITHIN: Duration = Duration::from_secs(1);

/// How long nobody is to dial who has left: each was dialled more than once a second.
const DIALLED_FOR: Duration = Duration::from_secs(2);

/// A rollout brings names that never come back. Who had left was dialled for ever, eight connections a second after six of
/// them, and stayed in the roster; while one was dead each newcomer took two seconds to start.
#[test]
fn names_that_come_and_go_leave_nothing() {
    let config = CONFIG.replace("[cluster]", "[cluster]\nforget_after = \"1s\"");
    let mut cluster = Cluster::with_config(&config).started(&["oskar", "oskar2"]);
    let mut left = Vec::new();
    for round in 0..ROUNDS {
        let names = (0..AT_ONCE).map(|pod| format!("pod-{round}-{pod}"));
        let starting: Vec<Starting> = names
            .map(|name| cluster.starting(Options::new(&name, Cluster::COOKIE)))
            .collect();
        let ready = starting.into_iter().map(Starting::ready);
        let mut pods: Vec<Node> = ready
            .map(|ready| ready.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}")))
            .collect();
        // One of each round dies. The others leave in order, before the next come: on two cores nodes that hand all they have
        // to each other find no time for signs of life.
        pods.remove(0).kill();
        pods.iter().for_each(Node::terminate);
        for mut pod in pods {
            assert!(pod.ended().success(), "{}", pod.log());
            left.push(pod.cluster);
        }
    }
    eventually("who went is listed no more", || {
        let members = |node: &Node| Vec::from_iter(view(node).members.into_keys());
        let members: Vec<Vec<String>> = cluster.nodes.iter().map(members).collect();
        let are_two = members
            .iter()
            .all(|members| *members == ["oskar", "oskar2"]);
        are_two.then_some(()).ok_or_else(|| format!("{members:?}"))
    });
    let listen = |&address: &SocketAddr| {
        let listener = TcpListener::bind(address).ok()?;
        listener.set_nonblocking(true).expect("an option");
        Some(listener)
    };
    let listening: Vec<TcpListener> = left.iter().filter_map(listen).collect();
    assert!(left.len() / 2 <= listening.len(), "others have their ports");
    let since = Instant::now();
    cluster.start("oskar3");
    let took = since.elapsed();
    assert!(took < STARTS_WITHIN, "{took:?}");
    cluster.settle();
    // How long it is looked at, not a wait for something.
    thread::sleep(DIALLED_FOR.saturating_sub(since.elapsed()));
    let is_dialled = |listener: &&TcpListener| listener.accept().is_ok();
    assert_eq!(listening.iter().filter(is_dialled).count(), 0);
}
