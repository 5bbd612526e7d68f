//! A Redis Cluster of three masters.

use std::process::Command;

use coordinator::Coordinator as _;
use coordinator_redis::{RedisCoordinator, Servers};
use quota::{Algorithm, Cost};

use crate::fixture::{Fallback, admitted, config_of, daily, hit};
use crate::server::{Server, free_port, wait_until};

/// Three masters that share the slots, and their URLs.
fn three_masters() -> (Vec<Server>, Vec<String>) {
    let ports: Vec<String> = (0..3).map(|_| free_port().to_string()).collect();
    let nodes: Vec<Server> = ports
        .iter()
        .map(|port| {
            let bus = free_port().to_string();
            let args = [
                "--port",
                port,
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
            ];
            Server::start_with(&args)
        })
        .collect();
    let addresses = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let created = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(addresses)
        .arg("--cluster-yes")
        .output()
        .expect("redis-cli comes with the package redis-tools");
    assert!(created.status.success(), "{created:?}");
    for node in &nodes {
        wait_until("every node knows the cluster", || {
            let info = node.cli(&["CLUSTER", "INFO"]);
            (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3"))
                .then_some(())
        });
    }
    let urls = ports
        .iter()
        .map(|port| format!("redis://127.0.0.1:{port}"))
        .collect();
    (nodes, urls)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_masters_count_as_one() {
    let (nodes, urls) = three_masters();
    // One of them is enough to find the others.
    let config = config_of(Servers::Cluster(urls[..1].to_vec()));
    let connected = RedisCoordinator::connect(config, Fallback::default()).await;
    let redis = connected.unwrap();
    for algorithm in Algorithm::ALL {
        let policy = daily(algorithm, 200);
        assert_eq!(admitted(&redis, &policy, 64, 10).await, 200, "{algorithm}");
        for key in 0..30 {
            let key = format!("key {key}");
            assert_eq!(
                hit(&redis, &policy, &key).await.unwrap().decision.remaining,
                199
            );
            let told = redis.refund(&policy, &key, Cost::ONE).await.unwrap();
            assert_eq!(told.decision.remaining, 200);
            hit(&redis, &policy, &key).await.unwrap();
            redis.reset(&policy, &key).await.unwrap();
        }
    }
    let policy = daily(Algorithm::Gcra, 5);
    for key in 0..60 {
        hit(&redis, &policy, &format!("spread {key}"))
            .await
            .unwrap();
    }
    for node in &nodes {
        assert_ne!(node.cli(&["KEYS", "weir:{*}"]).lines().count(), 0);
    }
    for node in &nodes {
        node.cli(&["SCRIPT", "FLUSH"]);
    }
    for key in 0..60 {
        let told = hit(&redis, &policy, &format!("spread {key}"))
            .await
            .unwrap();
        assert_eq!(told.decision.remaining, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_masters_count_while_one_is_away() {
    let (mut nodes, urls) = three_masters();
    for node in &nodes {
        node.cli(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let config = config_of(Servers::Cluster(urls));
    let connected = RedisCoordinator::connect(config, Fallback::default()).await;
    let redis = connected.unwrap();
    let policy = daily(Algorithm::Gcra, 5);
    nodes[1].kill();
    let mut decided = 0;
    for key in 0..60 {
        decided += usize::from(hit(&redis, &policy, &format!("key {key}")).await.is_ok());
    }
    assert!((1..60).contains(&decided), "{decided} of 60 decided");
}
