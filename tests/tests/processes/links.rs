//! Links fail, not nodes: two nodes that do not reach each other, and a third that reaches both. Needs root, `ip` and
//! `iptables`.

use std::time::Duration;

use e2e::{Cluster, Network};

const NAMES: [&str; 3] = ["lotte", "lotte2", "lotte3"];

/// How long the link stays cut while keys are counted: longer than it takes to hold the other for dead, and than a lease.
const CUT_FOR: Duration = Duration::from_secs(6);

#[track_caller]
fn every_key_is_decided_everywhere(partition: &str) {
    let config = format!(
        "[cluster]\npartition = \"{partition}\"\nack = \"replicated\"\n[[limit]]\nname = \"count\"\n\
         algorithm = \"fixed_window\"\nanchor = \"first_hit\"\nlimit = 1000000\nper = \"365d\"\n"
    );
    let network = Network::new(NAMES.len());
    let cluster = Cluster::with_config(&config).started_on(&network, &NAMES);
    let keys: Vec<String> = NAMES
        .iter()
        .flat_map(|name| cluster.keys_of(name, "count", 2))
        .collect();
    network.cut_link(0, 1);
    let cut_at = std::time::Instant::now();
    let mut counted = vec![0; keys.len()];
    while cut_at.elapsed() < CUT_FOR {
        for node in &cluster.nodes {
            for (key, counted) in keys.iter().zip(&mut counted) {
                let answer = node.check("count", key, 1);
                assert_eq!(
                    answer.status,
                    200,
                    "{} {key} {:?} after the cut: {answer:?}",
                    node.name,
                    cut_at.elapsed()
                );
                *counted += 1;
            }
        }
    }
    // Each hit once, however often and by whichever way it was asked again.
    for (key, counted) in keys.iter().zip(counted) {
        assert_eq!(cluster.nodes[2].counted("count", key), counted, "{key}");
    }
}

#[test]
fn a_cut_link_fails_no_hit_when_sides_go_on_by_themselves() {
    every_key_is_decided_everywhere("available");
}

#[test]
fn a_cut_link_fails_no_hit_when_a_majority_decides() {
    every_key_is_decided_everywhere("quorum");
}
