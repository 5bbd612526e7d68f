//! The strategy `redis`: a script in a Redis that all nodes share. Needs `redis-server` and `redis-cli`.

use e2e::{Cluster, Load, Node, Outcome, Redis, Target, at_once, eventually};

const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];
const LIMITS: [&str; 5] = [
    "gcra",
    "sliding_log",
    "sliding_counter",
    "fixed_window",
    "leaky_bucket",
];

/// Limits whose periods are so long that nothing comes back while the test runs, and where Redis is.
fn config(redis: &str) -> String {
    let limit = |name: &str, algorithm: &str, more: &str| {
        format!(
            "[[limit]]\nname = \"{name}\"\nalgorithm = \"{algorithm}\"\nlimit = 300\nper = \"365d\"\nstrategy = \"redis\"\n{more}"
        )
    };
    let mut config: String = LIMITS.iter().map(|name| limit(name, name, "")).collect();
    config += &limit("open", "gcra", "on_failure = \"allow\"\n");
    config += &limit("by_owner", "gcra", "on_failure = \"owner\"\n");
    config += "[[limit]]\nname = \"many\"\nalgorithm = \"gcra\"\nlimit = 1_000_000\nper = \"365d\"\n\
               strategy = \"redis\"\non_failure = \"owner\"\n";
    config + &format!("[redis]\n{redis}\n")
}

fn with(redis: &Redis) -> String {
    config(&format!("url = \"{}\"\ntimeout = \"300ms\"", redis.url()))
}

/// Waits until every node says this of the breaker.
#[track_caller]
fn breaker_is(nodes: &[Node], expected: &str) {
    for node in nodes {
        eventually(
            &format!("the breaker of {} is {expected}", node.name),
            || {
                let breaker = node.get("/v1/cluster", &[]).json()["redis"]["breaker"].clone();
                (breaker == expected)
                    .then_some(())
                    .ok_or(breaker.to_string())
            },
        );
    }
}

#[test]
fn many_clients_are_admitted_exactly_the_limit() {
    let redis = Redis::start(&[]);
    let cluster = Cluster::with_config(&with(&redis)).started(&NAMES);
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    for limit in LIMITS {
        assert_eq!(at_once(&nodes, 64, limit, "u1"), 300, "{limit}");
    }
    let keys = redis.cli(&["keys", "*"]);
    assert!(
        !keys.contains("u1"),
        "no key of a client is in Redis: {keys}"
    );
}

/// Whatever happens to Redis, a limit that falls back on the owner answers each hit.
#[test]
fn a_redis_that_dies_stands_still_or_forgets_fails_no_hit_of_a_limit_that_falls_back() {
    let mut redis = Redis::start(&[]);
    let cluster = Cluster::with_config(&with(&redis)).started(&NAMES);
    let load = Load::start(&cluster.nodes, &[Target::new("many", "u1")], 300);
    load.runs(300);
    for command in [&["script", "flush"][..], &["flushall"]] {
        assert_eq!(redis.cli(command), "OK");
        load.runs(300);
    }
    breaker_is(&cluster.nodes, "closed");
    redis.kill();
    breaker_is(&cluster.nodes, "open");
    load.runs(300);
    redis.start_again();
    breaker_is(&cluster.nodes, "closed");
    load.runs(300);
    redis.pause();
    breaker_is(&cluster.nodes, "open");
    load.runs(300);
    redis.resume();
    breaker_is(&cluster.nodes, "closed");
    load.runs(300);
    for hit in load.stop() {
        assert_eq!(hit.outcome, Outcome::Admitted, "{hit:?}");
    }
    let log = cluster.nodes[0].log();
    let changes = log.lines().filter(|line| line.contains("breaker")).count();
    assert!(changes < 60, "each change is logged once:\n{log}");
    let metrics = cluster.nodes[0].get("/metrics", &[]).body;
    assert!(
        metrics.contains("weir_redis_breaker_changes_total"),
        "{metrics}"
    );
}

#[test]
fn each_limit_says_what_is_answered_without_redis() {
    let mut redis = Redis::start(&[]);
    let cluster = Cluster::with_config(&with(&redis)).started(&NAMES);
    for limit in ["gcra", "open", "by_owner"] {
        assert_eq!(cluster.nodes[0].check(limit, "u1", 300).status, 200);
    }
    redis.kill();
    let node = &cluster.nodes[1];
    // The hit that finds it gone opens nothing yet.
    eventually("the breaker opens", || {
        let refused = node.check("gcra", "u1", 1);
        assert_eq!(refused.status, 503, "{refused:?}");
        let breaker = node.get("/v1/cluster", &[]).json()["redis"]["breaker"].clone();
        (breaker == "open").then_some(()).ok_or(breaker.to_string())
    });
    assert_eq!(node.check("open", "u1", 1).status, 200);
    // Counted anew by the owner: at most the limit once more, over all nodes.
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    assert_eq!(at_once(&nodes, 16, "by_owner", "u1"), 300);
    redis.start_again();
    breaker_is(&cluster.nodes, "closed");
    assert_eq!(at_once(&nodes, 16, "gcra", "u2"), 300);
}

/// A node that does not start, and says why in one line.
#[track_caller]
fn check_refused(section: &str, words: &str) {
    let mut cluster = Cluster::with_config(&config(section));
    let (status, log) = cluster
        .try_start("oskar", Cluster::COOKIE, &[])
        .expect_err("it does not start");
    assert!(!status.success());
    let line = log.lines().last().unwrap_or_default();
    assert!(line.contains(words), "{words:?} in\n{log}");
    assert!(!log.contains("wrong-word"), "a password is logged:\n{log}");
}

#[test]
fn a_redis_that_cannot_be_used_is_told_at_start() {
    check_refused("url = \"redis://127.0.0.1:1\"", "cannot reach redis");
    let guarded = Redis::start(&["--requirepass", "secret"]);
    let url = |user: &str| format!("url = \"redis://{user}127.0.0.1:{}\"", guarded.port);
    check_refused(&url(""), "refuses the password");
    check_refused(&url(":wrong-word@"), "refuses the password");
    let master = Redis::start(&[]);
    let port = master.port.to_string();
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
    check_refused(&format!("url = \"{}\"", replica.url()), "read-only replica");
    let full = Redis::start(&["--maxmemory", "1"]);
    check_refused(&format!("url = \"{}\"", full.url()), "out of memory");

    let mut cluster = Cluster::with_config(&config(&url(":secret@")));
    cluster.start("oskar");
    assert_eq!(cluster.nodes[0].check("gcra", "u1", 1).status, 200);
}

#[test]
fn a_node_may_start_without_redis_and_find_it_later() {
    let mut redis = Redis::start(&[]);
    redis.kill();
    let section = format!("url = \"{}\"\nstart_without_redis = true", redis.url());
    let mut cluster = Cluster::with_config(&config(&section));
    cluster.start("oskar");
    let node = &cluster.nodes[0];
    assert_eq!(node.check("gcra", "u1", 1).status, 503);
    assert_eq!(node.check("open", "u1", 1).status, 200);
    assert_eq!(node.check("by_owner", "u1", 1).status, 200);
    redis.start_again();
    breaker_is(&cluster.nodes, "closed");
    assert_eq!(node.counted("gcra", "u1"), 0);
    assert_eq!(node.check("gcra", "u1", 1).status, 200);
}
