//! Nodes that own nothing and ask the others.

use std::time::Duration;

use client::Strategy;
use node::{Builder, Node, Role};

use crate::{YEAR, builder, until};

/// More keys than one of two nodes would own by chance: 1 in 2^30.
const KEYS: usize = 30;

fn asking(name: &str, cookie: &str, join: &[&Node]) -> Builder {
    joining(name, cookie, join).role(Role::Asks)
}

fn joining(name: &str, cookie: &str, join: &[&Node]) -> Builder {
    let seeds = join.iter().map(|node| node.cluster().to_string());
    seeds.fold(builder(name, cookie), Builder::join)
}

/// The number that `node` tells of one of its gauges.
fn gauge(node: &Node, name: &str) -> f64 {
    let metrics = node.metrics();
    let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == name).unwrap();
    value.parse().unwrap()
}

/// Each of [`KEYS`] keys spends two of its five.
async fn spend_two_each(node: &Node) {
    let limit = node.limit("login").unwrap();
    for key in 0..KEYS {
        let key = format!("u{key}");
        assert!(limit.key(&*key).cost(2).check().await.unwrap().is_ok());
    }
}

async fn remaining(node: &Node) -> Vec<u32> {
    let limit = node.limit("login").unwrap();
    let mut remaining = Vec::new();
    for key in 0..KEYS {
        let key = format!("u{key}");
        remaining.push(limit.key(&*key).peek().await.unwrap().remaining);
    }
    remaining
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_asks_counts_with_the_others_and_holds_nothing() {
    let anna = builder("anna", "asks").start().await.unwrap();
    let bert = joining("bert", "asks", &[&anna]).start().await.unwrap();
    let shards = gauge(&anna, "weir_shards_owned");
    let cleo = asking("cleo", "asks", &[&anna]).start().await.unwrap();
    until("all", async || {
        [&anna, &bert, &cleo].iter().all(|node| node.members() == 3)
    })
    .await;
    spend_two_each(&cleo).await;
    assert_eq!(remaining(&bert).await, [3; KEYS]);
    assert_eq!(gauge(&cleo, "weir_shards_owned"), 0.0);
    assert_eq!(gauge(&cleo, "weir_keys"), 0.0, "not even copies");
    // Nothing moved when it came, and nothing lacks a copy because it has none.
    until("settled", async || {
        gauge(&anna, "weir_unsettled_shards") == 0.0
    })
    .await;
    assert!(gauge(&anna, "weir_shards_owned") <= shards);

    // Not in order: it could not hand anything to one that asks.
    drop(anna);
    spend_two_each(&cleo).await;
    assert_eq!(remaining(&cleo).await, [1; KEYS]);
    assert_eq!(remaining(&bert).await, [1; KEYS]);
    cleo.stop().await;
    until("it left", async || bert.members() == 1).await;
    bert.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_asks_waits_for_one_that_owns() {
    let directory = tempfile::tempdir().unwrap();
    let near = |builder: Builder| builder.neighbours(directory.path());
    let cleo = near(asking("cleo", "first", &[])).open().unwrap();
    let dora = near(asking("dora", "first", &[])).open().unwrap();
    let nobody = async { tokio::join!(cleo.joined(), dora.joined()) };
    // Twice as long as one looks around that founds a cluster.
    let waited = tokio::time::timeout(Duration::from_secs(2), nobody).await;
    assert!(waited.is_err(), "{waited:?}");
    let anna = near(builder("anna", "first")).start().await.unwrap();
    cleo.joined().await.unwrap();
    dora.joined().await.unwrap();
    assert!(
        cleo.allow("x", Duration::from_secs(60))
            .await
            .unwrap()
            .is_ok()
    );
    for node in [cleo, dora, anna] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_asks_counts_towards_no_majority() {
    const QUORUM: &str = "[cluster]\npartition = \"quorum\"\nack = \"replicated\"\n
        [[limit]]\nname = \"login\"\nalgorithm = \"gcra\"\nlimit = 5\nper = \"1h\"\n";
    let under_quorum = |builder: Builder| builder.limits(QUORUM).unwrap();
    let start = async |builder: Builder| under_quorum(builder).start().await.unwrap();
    let anna = start(builder("anna", "votes")).await;
    let bert = start(joining("bert", "votes", &[&anna])).await;
    let carl = start(joining("carl", "votes", &[&anna])).await;
    let asks = start(asking("dora", "votes", &[&anna])).await;
    until("all", async || {
        let nodes = [&anna, &bert, &carl, &asks];
        nodes.iter().all(|node| node.members() == 4)
    })
    .await;
    spend_two_each(&asks).await;
    // Two of three decide on; two of four would not.
    drop((asks, carl));
    let limit = anna.limit("login").unwrap();
    for key in 0..KEYS {
        let key = format!("u{key}");
        until("decided again", async || {
            limit.key(&*key).peek().await.is_ok()
        })
        .await;
    }
    assert_eq!(remaining(&bert).await, [3; KEYS]);
    for node in [anna, bert] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_asks_has_no_vote_in_raft() {
    let raft = |builder: Builder| builder.strategy(Strategy::Raft);
    // The lowest name would found the group.
    let open = raft(joining("zoe", "raft", &[])).open().unwrap();
    let asks = raft(asking("anna", "raft", &[&open])).start();
    let asks = asks.await.unwrap();
    open.joined().await.unwrap();
    let spend = async |node: &Node| {
        let counted = node.check_rate_by(Strategy::Raft, "k", YEAR, 5, 1).await;
        counted.unwrap().unwrap().remaining
    };
    assert_eq!((spend(&asks).await, spend(&open).await), (4, 3));
    drop(asks);
    assert_eq!(spend(&open).await, 2);
    open.stop().await;
}
