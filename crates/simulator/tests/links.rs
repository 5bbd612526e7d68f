//! Links fail, not nodes: whichever one or two are cut, one way or both, every hit is answered.

use shard::Partition;
use simulator::{Bug, Links, Scenario, run};

fn scenario(nodes: usize, partition: Partition, cut: Links) -> Scenario {
    Scenario {
        nodes,
        partition,
        cut,
        keys: 20,
        rate: 100,
        seconds: 10,
        fault_every: 1_000,
        splits: false,
        cuts: false,
        refunds: false,
        quiet: 10,
        ..Scenario::from_seed(1)
    }
}

/// Every link of so many nodes: one way, and both ways.
fn links(nodes: usize) -> Vec<Links> {
    let pairs = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
    let one_way = pairs.clone().filter(|(a, b)| a != b);
    let one_way = one_way.map(|(a, b)| Links::NONE.with(a, b));
    let both_ways = pairs.filter(|(a, b)| a < b);
    let both_ways = both_ways.map(|(a, b)| Links::NONE.with(a, b).with(b, a));
    one_way.chain(both_ways).collect()
}

/// Whoever is cut off from all others is on a side of its own, which is another story.
fn every_cut(nodes: usize) -> Vec<Links> {
    let links = links(nodes);
    let hosts: Vec<usize> = (0..nodes).collect();
    let mut cuts: Vec<Links> = Vec::new();
    for (place, &first) in links.iter().enumerate() {
        for &second in &links[place..] {
            let cut = first.and(second);
            if cut.leave_detours(&hosts) && !cuts.contains(&cut) {
                cuts.push(cut);
            }
        }
    }
    cuts
}

#[track_caller]
fn check(nodes: usize, partition: Partition) {
    let cuts = every_cut(nodes);
    let broken = cuts.iter().filter_map(|&cut| {
        let report = run(scenario(nodes, partition, cut));
        assert!(0 < report.admitted);
        (report.violations.first()).map(|violation| format!("{cut:?}: {violation:?}"))
    });
    let broken: Vec<String> = broken.collect();
    let story = broken.join("\n");
    assert!(
        broken.is_empty(),
        "{} of {} cuts of {nodes} nodes: {story}",
        broken.len(),
        cuts.len()
    );
}

#[test]
fn three_nodes_of_which_two_do_not_reach_each_other() {
    check(3, Partition::Available);
    check(3, Partition::Quorum);
}

#[test]
fn four_nodes_and_every_cut_of_one_or_two_links() {
    check(4, Partition::Available);
    check(4, Partition::Quorum);
}

#[test]
fn five_nodes_and_every_cut_of_one_or_two_links() {
    check(5, Partition::Available);
    check(5, Partition::Quorum);
}

#[test]
fn a_node_that_asks_the_owner_alone_is_caught() {
    let cut = Links::NONE.with(0, 1).with(1, 0);
    for partition in [Partition::Available, Partition::Quorum] {
        let report = run(Scenario {
            bug: Some(Bug::AsksOwnerAlone),
            ..scenario(3, partition, cut)
        });
        let is_caught = report.violations.iter().any(|it| it.promise == "P4");
        assert!(is_caught, "{partition:?}");
    }
}
