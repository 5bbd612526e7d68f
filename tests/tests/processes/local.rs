//! The strategy `local`: every node counts for itself, and tells the others.

use e2e::{Cluster, Network, Node, at_once, eventually};

const LIMIT: u64 = 300;
const NAMES: [&str; 3] = ["oskar", "oskar2", "oskar3"];
const LIMITS: [&str; 5] = [
    "gcra",
    "sliding_log",
    "sliding_counter",
    "fixed_window",
    "leaky_bucket",
];

/// Periods so long that nothing comes back while the test runs.
fn config() -> String {
    let limit = |name: &&str| {
        let anchor = match *name {
            "fixed_window" => "anchor = \"first_hit\"\n",
            _ => "",
        };
        format!(
            "[[limit]]\nname = \"{name}\"\nalgorithm = \"{name}\"\nlimit = {LIMIT}\nper = \"365d\"\nstrategy = \"local\"\n{anchor}"
        )
    };
    LIMITS.iter().map(limit).collect()
}

/// Waits until every node counts `units`.
#[track_caller]
fn all_count(nodes: &[Node], limit: &str, key: &str, units: u64) {
    for node in nodes {
        eventually(&format!("{} counts {units} of {limit}", node.name), || {
            let counted = node.counted(limit, key);
            (counted == units)
                .then_some(())
                .ok_or_else(|| format!("{counted} of {units}"))
        });
    }
}

#[test]
fn every_node_hears_of_every_hit() {
    let cluster = Cluster::with_config(&config()).started(&NAMES);
    for limit in LIMITS {
        for (node, hits) in cluster.nodes.iter().zip(1..) {
            for _ in 0..hits {
                assert_eq!(node.check(limit, "u1", 1).status, 200);
            }
        }
        all_count(&cluster.nodes, limit, "u1", 1 + 2 + 3);
        let refund = format!(r#"{{"limit":"{limit}","key":"u1","cost":2}}"#);
        let refunded = cluster.nodes[1].ask("POST", "/v1/refund", &[], Some(&refund));
        assert_eq!(refunded.status, 200, "{refunded:?}");
        all_count(&cluster.nodes, limit, "u1", 4);
        let reset = format!("/v1/keys/{limit}/u1");
        assert_eq!(
            cluster.nodes[2].ask("DELETE", &reset, &[], None).status,
            204
        );
        all_count(&cluster.nodes, limit, "u1", 0);
    }
}

/// The bound: each node lets pass what conforms with all that it knows, so at most the limit on each.
#[test]
fn many_clients_overshoot_by_less_than_the_other_nodes_admit_unheard() {
    let cluster = Cluster::with_config(&config()).started(&NAMES);
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    for limit in LIMITS {
        let admitted = at_once(&nodes, 64, limit, "u1") as u64;
        assert!(LIMIT <= admitted, "{limit}: {admitted}");
        assert!(admitted < LIMIT * NAMES.len() as u64, "{limit}: {admitted}");
        // Once all have heard, nothing more passes anywhere.
        all_count(&cluster.nodes, limit, "u1", LIMIT);
        assert_eq!(at_once(&nodes, 6, limit, "u1"), 0, "{limit}");
    }
    let metrics = cluster.nodes[0].get("/metrics", &[]).body;
    for name in [
        "weir_local_told_cells_total",
        "weir_local_heard_cells_total",
        "weir_local_keys",
        "weir_decisions_total{decision=\"allow\",strategy=\"local\",front=\"http\"}",
    ] {
        assert!(metrics.contains(name), "{name} in\n{metrics}");
    }
}

#[test]
fn a_node_that_starts_knows_what_the_others_counted() {
    let mut cluster = Cluster::with_config(&config()).started(&NAMES);
    for limit in LIMITS {
        assert_eq!(at_once(&[&cluster.nodes[1]], 8, limit, "u1") as u64, LIMIT);
        all_count(&cluster.nodes, limit, "u1", LIMIT);
    }
    cluster.take("oskar2").kill();
    cluster.start("oskar2");
    let newcomer = cluster.node("oskar2");
    for limit in LIMITS {
        assert_eq!(newcomer.check(limit, "u1", 1).status, 429, "{limit}");
    }
}

#[test]
fn a_node_that_leaves_has_told_everything() {
    let mut cluster = Cluster::with_config(&config()).started(&NAMES);
    for limit in LIMITS {
        assert_eq!(cluster.nodes[1].check(limit, "u1", 7).status, 200);
    }
    let mut leaving = cluster.take("oskar2");
    leaving.terminate();
    assert!(leaving.ended().success());
    for limit in LIMITS {
        all_count(&cluster.nodes, limit, "u1", 7);
    }
}

/// Needs root, `ip` and `iptables`.
#[test]
fn each_side_of_a_partition_admits_the_limit_and_the_heal_adds_them_up() {
    let network = Network::new(NAMES.len());
    let cluster = Cluster::with_config(&config()).started_on(&network, &NAMES);
    let (cut_off, others) = (&cluster.nodes[1], [&cluster.nodes[0], &cluster.nodes[2]]);
    let spend = |node: &Node, limit: &str, key: &str, units: u32| {
        assert_eq!(node.check(limit, key, units).status, 200, "{limit}");
    };
    for limit in LIMITS {
        spend(others[0], limit, "spent", 50);
        spend(others[0], limit, "left", 50);
        all_count(&cluster.nodes, limit, "spent", 50);
        all_count(&cluster.nodes, limit, "left", 50);
    }
    network.cut_off(1);
    for limit in LIMITS {
        spend(others[1], limit, "left", 20);
        spend(cut_off, limit, "left", 30);
        assert_eq!(at_once(&[cut_off], 8, limit, "spent"), 250, "{limit}");
        spend(others[0], limit, "spent", 250);
    }
    network.heal(1);
    for limit in LIMITS {
        all_count(&cluster.nodes, limit, "left", 100);
        all_count(&cluster.nodes, limit, "spent", LIMIT);
        for node in &cluster.nodes {
            assert_eq!(node.check(limit, "spent", 1).status, 429, "{limit}");
        }
    }
}
