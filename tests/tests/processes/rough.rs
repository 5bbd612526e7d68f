//! P5, over and over: links that lose a third of their packets, and a link that comes and goes. Nobody dies, so nothing is
//! forgotten, and what was counted before the sides parted is counted once. Needs root, `ip` and `iptables`.

use std::thread;
use std::time::{Duration, Instant};

use e2e::{Account, Cluster, Hit, Load, Network, Node, Outcome, Target, account};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];

/// How long the network is rough: long enough for some ten changes of owners.
const ROUGH_FOR: Duration = Duration::from_secs(30);

/// Between two turns of a link that flaps. Longer than a lease, so that each ends in a takeover.
const FLAP: Duration = Duration::from_secs(2);

/// Of all clients of one load together, each second.
const RATE: u32 = 100;

const ALGORITHMS: [&str; 5] = [
    "gcra",
    "leaky_bucket",
    "sliding_log",
    "sliding_counter",
    "fixed_window",
];

/// Keys of each limit.
const KEYS: usize = 12;

/// What is asked of a cluster, beside another that lives through the same.
#[derive(Clone, Copy, Debug)]
struct Kind {
    partition: &'static str,
    ack: &'static str,
}

/// Limits that are never spent, and of which nothing comes back while the test runs.
fn config(Kind { partition, ack }: Kind) -> String {
    let mut config = format!("[cluster]\npartition = \"{partition}\"\nack = \"{ack}\"\n");
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

/// A cluster under load: of keys that are hit over and over, and of keys that are hit once each.
struct Played {
    kind: Kind,
    cluster: Cluster,
    loads: [Load; 2],
}

impl Played {
    fn start(network: &Network, kind: Kind) -> Self {
        let cluster = Cluster::with_config(&config(kind)).started_on(network, &NAMES);
        let loads = [
            Load::start(&cluster.nodes, &targets(), RATE),
            Load::of_fresh_keys(&cluster.nodes, &ALGORITHMS, RATE),
        ];
        Self {
            kind,
            cluster,
            loads,
        }
    }

    /// Ends the load, and settles the books.
    #[track_caller]
    fn settle(self) {
        let Self {
            kind,
            cluster,
            loads,
        } = self;
        let hits: Vec<Hit> = loads.into_iter().flat_map(Load::stop).collect();
        cluster.settle();
        for node in &cluster.nodes {
            node.replicated();
        }
        for hit in &hits {
            assert_is_one_of_both(hit);
        }
        let again: u64 = cluster.nodes.iter().map(asked_again).sum();
        // What a deposed owner counted in `quorum` was answered to nobody, and is not joined.
        let may_be_beyond = match kind.partition {
            "quorum" => 0,
            _ => again,
        };
        let refused = hits.iter().filter(|hit| is_refused_uncounted(hit)).count();
        for node in &cluster.nodes {
            let accounts = account(node, &hits);
            let sum = |of: fn(&Account) -> u64| accounts.values().map(of).sum::<u64>();
            let beyond = sum(Account::invented);
            let story = format!(
                "{kind:?}, asked of {}: {} admitted, {} unknown, {refused} not counted, {} counted, {beyond} beyond, {again} \
                 asked again",
                node.name,
                sum(|account| account.admitted),
                sum(|account| account.unknown),
                sum(|account| account.counted),
            );
            eprintln!("{story}");
            let is_wrong = |target: &Target, account: &Account| {
                let is_untrue = account.admitted + account.unknown == 0 && account.counted != 0;
                let told = hits.iter().filter(|hit| hit.target == *target);
                (0 < account.forgotten() || is_untrue)
                    .then(|| (*account, told.cloned().collect::<Vec<Hit>>()))
            };
            let mut wrong = accounts.iter();
            let wrong = wrong.find_map(|(target, account)| is_wrong(target, account));
            assert!(wrong.is_none(), "{story}: {wrong:#?}");
            assert!(beyond <= may_be_beyond, "{story}");
        }
        assert_eq!(states_lost(&cluster), Vec::<String>::new(), "{kind:?}");
    }
}

fn is_refused_uncounted(hit: &Hit) -> bool {
    hit.outcome != Outcome::Denied && hit.outcome.is_uncounted()
}

/// A problem says in words what it says for programs: that its hit is not counted, or that this is unknown.
#[track_caller]
fn assert_is_one_of_both(hit: &Hit) {
    if let Outcome::Refused(_, body) = &hit.outcome {
        let in_words = body.contains("not counted");
        assert_ne!(in_words, body.contains("unknown whether"), "{hit:?}");
        assert_eq!(in_words, hit.outcome.is_uncounted(), "{hit:?}");
    }
}

/// Loads two clusters on the same hosts while `disturb` has the network, and settles the books of both.
#[track_caller]
fn check(kinds: [Kind; 2], disturb: impl FnOnce(&Network)) {
    let network = Network::new(NAMES.len());
    let played = kinds.map(|kind| Played::start(&network, kind));
    for played in &played {
        played.loads[1].runs(RATE as usize);
    }
    disturb(&network);
    for played in played {
        played.settle();
    }
}

fn lose_a_third(network: &Network) {
    network.lose(0.3);
    // How long the disturbance lasts, not a wait for something.
    thread::sleep(ROUGH_FOR);
    network.lose_nothing(0.3);
}

#[test]
fn links_that_lose_a_third_of_their_packets_forget_nothing() {
    check(
        [
            Kind {
                partition: "available",
                ack: "fast",
            },
            Kind {
                partition: "quorum",
                ack: "replicated",
            },
        ],
        lose_a_third,
    );
}

#[test]
fn a_link_that_comes_and_goes_forgets_nothing() {
    check(
        [
            Kind {
                partition: "available",
                ack: "replicated",
            },
            Kind {
                partition: "quorum",
                ack: "fast",
            },
        ],
        |network| {
            let start = Instant::now();
            while start.elapsed() < ROUGH_FOR {
                network.cut_off(1);
                thread::sleep(FLAP);
                network.heal(1);
                thread::sleep(FLAP);
            }
        },
    );
}
