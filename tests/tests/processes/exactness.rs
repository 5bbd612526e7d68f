//! P1: however many clients, connections and nodes ask at once, exactly the limit is admitted.

use e2e::{Cluster, at_once};

/// Periods so long that nothing comes back while the test runs.
const LIMITS: &str = r#"
[[limit]]
name = "gcra"
algorithm = "gcra"
limit = 300
per = "365d"

[[limit]]
name = "sliding_log"
algorithm = "sliding_log"
limit = 300
per = "365d"

[[limit]]
name = "fixed_window"
algorithm = "fixed_window"
limit = 300
per = "365d"
anchor = "first_hit"

[[limit]]
name = "leaky_bucket"
algorithm = "leaky_bucket"
limit = 300
per = "365d"
"#;

const CLIENTS: usize = 64;

#[track_caller]
fn check(names: &[&str]) {
    let cluster = Cluster::with_config(LIMITS).started(names);
    let nodes: Vec<_> = cluster.nodes.iter().collect();
    for limit in ["gcra", "sliding_log", "fixed_window", "leaky_bucket"] {
        // One key for each possible owner, so that the deciding node is near for some clients and far for others.
        for owner in names {
            let key = &cluster.keys_of(owner, limit, 1)[0];
            let admitted = at_once(&nodes, CLIENTS, limit, key);
            assert_eq!(
                admitted,
                300,
                "{limit}, {} nodes, owner {owner}",
                names.len()
            );
        }
    }
}

#[test]
fn one_node_admits_exactly_the_limit() {
    check(&["oskar"]);
}

#[test]
fn two_nodes_admit_exactly_the_limit() {
    check(&["oskar", "oskar2"]);
}

#[test]
fn three_nodes_admit_exactly_the_limit() {
    check(&["oskar", "oskar2", "oskar3"]);
}
