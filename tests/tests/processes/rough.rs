//! P5, over and over: links that lose a third of their packets, and a link that comes and goes. Nobody dies, so nothing is
//! forgotten, and what was counted before the sides parted is counted once. Needs root, `ip` and `iptables`.

use std::thread;
use std::time::{Duration, Instant};

use e2e::{Account, Cluster, Load, Network, Node, Target, account};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// How long the network is rough: long enough for some ten changes of owners.
const ROUGH_FOR: Duration = Duration::from_secs(30);

/// Between two turns of a link that flaps. Longer than a lease, so that each ends in a takeover.
const FLAP: Duration = Duration::from_secs(2);

/// Of all clients together, each second.
const RATE: u32 = 200;

const ALGORITHMS: [&str; 5] = [
    "gcra",
    "leaky_bucket",
    "sliding_log",
    "sliding_counter",
    "fixed_window",
];

/// Keys of each limit.
const KEYS: usize = 12;

/// Limits that are never spent, and of which nothing comes back while the test runs.
fn config(ack: &str) -> String {
    let mut config = format!("[cluster]\npartition = \"available\"\nack = \"{ack}\"\n");
    for algorithm in ALGORITHMS {
        config += &format!(
            "[[limit]]\nname = \"{algorithm}\"\nalgorithm = \"{algorithm}\"\nlimit = 9000\nper = \"365d\"\n"
        );
    }
    config
}

fn targets() -> Vec<Target> {
    let keys = |limit| (0..KEYS).map(move |key| Target::new(limit, &format!("key-{key}")));
    ALGORITHMS.into_iter().flat_map(keys).collect()
}

/// Hits that `node` asked for again, so far: each may be counted on either side of a split.
fn asked_again(node: &Node) -> u64 {
    let metrics = node.get("/metrics", &[]).body;
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("weir_retried_hits_total "));
    value.map_or(0, |value| value.parse().expect("a number"))
}

/// What `/metrics` of all nodes say together.
fn states_lost(cluster: &Cluster) -> Vec<String> {
    let metrics = |node: &Node| node.get("/metrics", &[]).body;
    let bodies = cluster.nodes.iter().map(metrics);
    let lines = bodies.flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>());
    lines
        .filter(|line| line.starts_with("weir_shard_states_lost_total ") && !line.ends_with(" 0"))
        .collect()
}

/// Loads a cluster while `disturb` has the network, and settles the books afterwards.
#[track_caller]
fn check(ack: &str, disturb: impl FnOnce(&Network)) {
    let network = Network::new(NAMES.len());
    let cluster = Cluster::with_config(&config(ack)).started_on(&network, &NAMES);
    let load = Load::start(&cluster.nodes, &targets(), RATE);
    load.runs(2 * RATE as usize);
    disturb(&network);
    let hits = load.stop();
    cluster.settle();
    for node in &cluster.nodes {
        node.replicated();
    }
    let again: u64 = cluster.nodes.iter().map(asked_again).sum();
    for node in &cluster.nodes {
        let accounts: Vec<Account> = account(node, &hits).into_values().collect();
        let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
        let (forgotten, beyond) = (sum(Account::forgotten), sum(Account::invented));
        let story = format!(
            "{ack}, asked of {}: {} admitted, {} unknown, {} counted, {beyond} beyond, {again} asked again",
            node.name,
            sum(|account| account.admitted),
            sum(|account| account.unknown),
            sum(|account| account.counted),
        );
        eprintln!("{story}");
        assert_eq!(forgotten, 0, "{story}");
        assert!(beyond <= again, "{story}");
    }
    assert_eq!(states_lost(&cluster), Vec::<String>::new());
}

fn lose_a_third(network: &Network) {
    network.lose(0.3);
    // How long the disturbance lasts, not a wait for something.
    thread::sleep(ROUGH_FOR);
    network.lose_nothing(0.3);
}

#[test]
fn links_that_lose_a_third_of_their_packets_forget_nothing() {
    check("fast", lose_a_third);
}

#[test]
fn a_link_that_comes_and_goes_forgets_nothing() {
    check("replicated", |network| {
        let start = Instant::now();
        while start.elapsed() < ROUGH_FOR {
            network.cut_off(1);
            thread::sleep(FLAP);
            network.heal(1);
            thread::sleep(FLAP);
        }
    });
}
