//! P2, P3 and P4: one of three dies, or is told to stop, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{
    Cluster, Hit, Load, Node, Options, Outcome, Starting, Target, account, at_once, eventually,
    spend,
};

/// Periods so long that nothing comes back while the test runs.
fn config(ack: &str) -> String {
    let mut config = format!("[cluster]\nack = \"{ack}\"\n");
    for (name, algorithm, units) in [
        ("gcra", "gcra", 100_000),
        ("sliding_log", "sliding_log", 10_000),
        ("leaky_bucket", "leaky_bucket", 100_000),
        ("spent", "gcra", 50),
    ] {
        config += &format!(
            "[[limit]]\nname = \"{name}\"\nalgorithm = \"{algorithm}\"\nlimit = {units}\nper = \"365d\"\n"
        );
    }
    for (name, units) in [("fixed_window", 100_000), ("conserved", 10_000)] {
        config += &format!(
            "[[limit]]\nname = \"{name}\"\nalgorithm = \"fixed_window\"\nanchor = \"first_hit\"\nlimit = {units}\nper = \"1h\"\n"
        );
    }
    config
}

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];
const COUNTED: [&str; 4] = ["gcra", "sliding_log", "leaky_bucket", "fixed_window"];
const RATE: u32 = 300;

/// Hits before the death, and after it: two seconds of all nodes, three of the survivors.
const HITS: usize = 600;

/// An answer of `fast` waits when no replica has confirmed for longer: the default of `max_lag`.
const MAX_LAG: Duration = Duration::from_millis(250);

/// Of every algorithm a key of the victim and one of a survivor, and as many of which nothing is left.
fn targets(cluster: &Cluster, victim: &str) -> Vec<Target> {
    let survivor = NAMES.iter().find(|&&name| name != victim).expect("three");
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    let mut targets = Vec::new();
    for owner in [victim, survivor] {
        for limit in COUNTED {
            targets.push(Target::new(limit, &cluster.keys_of(owner, limit, 1)[0]));
        }
        let spent = &cluster.keys_of(owner, "spent", 1)[0];
        assert_eq!(at_once(&nodes, 6, "spent", spent), 50);
        targets.push(Target::new("spent", spent));
    }
    targets
}

/// What the load saw, and the instants between which the victim's end lies.
struct Story {
    cluster: Cluster,
    hits: Vec<Hit>,
    before: Instant,
    after: Instant,
}

/// Lets `end` end the victim under load, and waits until the survivors agree.
#[track_caller]
fn play(ack: &str, victim: &str, end: impl FnOnce(&mut Node)) -> Story {
    let mut cluster = Cluster::with_config(&config(ack)).started(&NAMES);
    let targets = targets(&cluster, victim);
    let load = Load::start(&cluster.nodes, &targets, RATE);
    load.runs(HITS);
    let mut dying = cluster.take(victim);
    let before = Instant::now();
    end(&mut dying);
    let after = Instant::now();
    load.runs(HITS);
    let hits = load.stop();
    cluster.settle();
    for hit in &hits {
        let expected = match hit.target.limit.as_str() {
            "spent" => Outcome::Denied,
            _ => Outcome::Admitted,
        };
        let through_survivor = hit.node != dying.http;
        let is_answer = matches!(hit.outcome, Outcome::Admitted | Outcome::Denied);
        if through_survivor || is_answer {
            assert_eq!(hit.outcome, expected, "{hit:?}, the end at {before:?}");
        }
    }
    Story {
        cluster,
        hits,
        before,
        after,
    }
}

impl Story {
    /// Every admitted hit is remembered, but for as many of a target as `may_forget` allows.
    fn settle_books(&self, may_forget: impl Fn(&Hit) -> bool) {
        for node in &self.cluster.nodes {
            for (target, account) in account(node, &self.hits) {
                if target.limit == "spent" {
                    assert_eq!(account.counted, 50, "{target:?} {account:?}");
                    continue;
                }
                let of_target = self.hits.iter().filter(|hit| hit.target == target);
                let excused = of_target.filter(|hit| may_forget(hit)).count();
                let forgotten = usize::try_from(account.forgotten()).expect("few");
                assert!(
                    forgotten <= excused,
                    "{target:?} {account:?}, {excused} excused"
                );
                assert_eq!(account.invented(), 0, "{target:?} {account:?}");
            }
        }
    }
}

fn terminate(node: &mut Node) {
    node.terminate();
    let status = node.ended();
    assert!(status.success(), "{status}:\n{}", node.log());
}

#[test]
fn a_killed_node_forgets_nothing_that_was_replicated() {
    play("replicated", "oskar", Node::kill).settle_books(|_| false);
}

#[test]
fn a_killed_node_forgets_at_most_what_it_acknowledged_last() {
    let story = play("fast", "oskar3", Node::kill);
    // Decided before the end, and told the client so at most `max_lag` before it.
    let (newest, oldest) = (story.after, story.before - MAX_LAG);
    story.settle_books(|hit| hit.sent < newest && oldest < hit.answered);
}

#[test]
fn a_node_told_to_stop_forgets_nothing_that_was_replicated() {
    play("replicated", "oskar3", terminate).settle_books(|_| false);
}

#[test]
fn a_node_told_to_stop_forgets_nothing() {
    play("fast", "oskar", terminate).settle_books(|_| false);
}

/// A supervisor starts a killed process again at once, under its name and at its address: nobody is refused there. It was
/// found dead by silence alone, after 1.0 to 1.6 s.
#[test]
fn a_node_that_is_started_again_at_once_is_found_dead_all_the_same() {
    // Promised are 100 ms, which medians of seven keep, of 61 to 85 ms, where nothing else has the processors; where ten others
    // want them they were 143 to 407 ms. A lease and what is added to it would be 1 010. Under `quorum` that was seen, too: a
    // claim waited for the newcomer, which had yet to recall what its votes were.
    let bound = Duration::from_millis(500);
    for partition in ["available", "quorum"] {
        let mut config = config("fast");
        config.insert_str(10, &format!("partition = \"{partition}\"\n"));
        let mut cluster = Cluster::with_config(&config).started(&NAMES);
        let keys = cluster.keys_of("oskar3", "gcra", 3);
        let mut waited: Vec<Duration> = (0..KILLS)
            .map(|_| kill_and_start_at_once(&mut cluster, &keys))
            .collect();
        waited.sort_unstable();
        assert!(waited[KILLS / 2] < bound, "{partition} {waited:?}");
    }
}

/// How often a node is killed before its cluster is judged by the median.
const KILLS: usize = 3;

/// Kills the third node, and starts it again at its address: how long until a survivor answers for its keys.
#[track_caller]
fn kill_and_start_at_once(cluster: &mut Cluster, keys: &[String]) -> Duration {
    // Who has just joined promises nothing for the span of a lease, whoever died: they are to be older than that.
    thread::sleep(Duration::from_millis(1_100));
    let mut dying = cluster.take("oskar3");
    let path = cluster.home().join("weir.toml").display().to_string();
    let address = dying.cluster.to_string();
    let args = ["--config", &path, "--cluster", &address];
    let again = Options {
        args: args.map(str::to_owned).to_vec(),
        ..Options::new("oskar3", Cluster::COOKIE)
    };
    let killed = Instant::now();
    dying.kill();
    let starting = Starting::launch(cluster.home(), &again);
    let mut waited = None;
    for key in keys {
        let answer = cluster.nodes[0].check("gcra", key, 1);
        assert_eq!(answer.status, 200, "{answer:?}");
        waited.get_or_insert_with(|| killed.elapsed());
    }
    let again = starting.ready().unwrap_or_else(|(_, log)| panic!("{log}"));
    cluster.nodes.push(again);
    cluster.settle();
    waited.expect("there are keys")
}

#[test]
fn a_limit_is_conserved_while_its_owner_is_killed() {
    let mut cluster = Cluster::with_config(&config("replicated")).started(&NAMES);
    let key = cluster.keys_of("oskar3", "conserved", 1).remove(0);
    let mut owner = cluster.take("oskar3");
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    let admitted = Arc::new(AtomicUsize::new(0));
    let clients = spend(&nodes, 64, "conserved", &key, &admitted);
    eventually("a third is spent", || {
        match admitted.load(Ordering::Relaxed) {
            few @ ..3_333 => Err(format!("{few} admitted")),
            many => Ok(many),
        }
    });
    owner.kill();
    let in_time = admitted.load(Ordering::Relaxed);
    assert!(in_time < 10_000, "killed too late to matter");
    let mut last = Vec::new();
    for client in clients {
        last.extend(
            client
                .join()
                .expect("no panic")
                .pop()
                .map(|hit| hit.outcome),
        );
    }
    assert_eq!(last, vec![Outcome::Denied; 64]);
    assert_eq!(admitted.load(Ordering::Relaxed), 10_000);
    cluster.settle();
    for node in &cluster.nodes {
        assert_eq!(node.counted("conserved", &key), 10_000);
    }
}
