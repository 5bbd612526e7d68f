//! Clocks that are off: who is outvoted decides nothing, and what it had counted survives.

use e2e::Cluster;

/// More of its own than a test runs for, less than clocks are off by.
const CONFIG: &str = r#"
[[limit]]
name = "gcra"
algorithm = "gcra"
limit = 10
per = "1h"

[[limit]]
name = "fixed_window"
algorithm = "fixed_window"
limit = 10
per = "1h"
anchor = "first_hit"

[[limit]]
name = "sliding_log"
algorithm = "sliding_log"
limit = 10
per = "1h"
"#;

const LIMITS: [&str; 3] = ["gcra", "fixed_window", "sliding_log"];
const AHEAD: &str = "+2h";

/// Enough for some to be of each node.
fn keys() -> impl Iterator<Item = String> {
    (0..12).map(|number| format!("key-{number}"))
}

#[track_caller]
fn spend(cluster: &Cluster, node: &str) {
    for limit in LIMITS {
        for key in keys() {
            assert_eq!(cluster.node(node).check(limit, &key, 10).status, 200);
        }
    }
}

/// Every node denies, and for no longer than the limit takes to be full again.
#[track_caller]
fn all_deny(cluster: &Cluster) {
    for node in &cluster.nodes {
        for limit in LIMITS {
            for key in keys() {
                let answer = node.check(limit, &key, 1);
                assert_eq!(answer.status, 429, "{limit}, {key}: {answer:?}");
                let retry = answer.header("retry-after").and_then(|it| it.parse().ok());
                assert!(
                    retry.is_some_and(|it: u64| it <= 3_601),
                    "{limit}, {key}: {answer:?}"
                );
            }
        }
    }
}

#[test]
fn a_node_whose_clock_is_off_decides_nothing() {
    let mut cluster = Cluster::with_config(CONFIG).started(&["oskar", "oskar2"]);
    spend(&cluster, "oskar");
    cluster.start_off_by("oskar3", AHEAD);
    cluster.settle_on(&["oskar", "oskar2"]);
    all_deny(&cluster);
}

#[test]
fn a_clock_that_two_others_outvote_hands_its_shards_over_and_forgets_nothing() {
    let mut cluster = Cluster::with_config(CONFIG);
    cluster.start_off_by("oskar", AHEAD);
    spend(&cluster, "oskar");
    // Of two that differ nobody can tell which is right: the one that was there decides.
    cluster.start("oskar2");
    cluster.settle_on(&["oskar"]);
    all_deny(&cluster);
    cluster.start("oskar3");
    cluster.settle_on(&["oskar2", "oskar3"]);
    all_deny(&cluster);
}
