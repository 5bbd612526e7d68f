//! P3: nodes that come, go and come back neither forget nor over-admit.

use e2e::{Cluster, Hit, Load, Node, Outcome, Target, account, at_once};

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
