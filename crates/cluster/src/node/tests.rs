//! Nodes in this process, seen from inside.

mod assets;
mod batches;
mod catalogue;
mod disk;
mod locks;
mod looks;
mod lookups;
mod names;
mod panics;
mod room;

use std::time::Duration;

use coordinator::{Coordinator as _, FailMode, Policy, Strategy};
use quota::{Algorithm, Cost, Limit, Nanos, Verdict};

use super::{Acknowledge, Cluster, ClusterConfig, JoinError};
use crate::cookie::Cookie;
use crate::discovery::Seed;

/// How long a test waits for what must happen. Long: it is waited for, not timed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a node of the cluster that `cookie` stands for.
async fn start(name: &str, cookie: &str, join: &[&Cluster]) -> Cluster {
    start_with_room(name, cookie, join, 1_000_000).await
}

/// Starts one that may keep so many keys.
async fn start_with_room(name: &str, cookie: &str, join: &[&Cluster], max_keys: u64) -> Cluster {
    let (listener, address) = listener();
    let config = ClusterConfig {
        max_keys,
        ..config(name, cookie, join, &address)
    };
    Cluster::start(config, listener).await.unwrap()
}

/// Where a node may serve others.
fn listener() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// What a node is told.
fn config(name: &str, cookie: &str, join: &[&Cluster], advertise: &str) -> ClusterConfig {
    let seeds = join
        .iter()
        .map(|node| Seed::Node(node.inner.transport.advertised().to_owned()));
    ClusterConfig {
        name: name.to_owned(),
        cookie: Cookie::new(cookie),
        advertise: advertise.to_owned(),
        http: String::new(),
        zone: None,
        asks: false,
        data_dir: None,
        start_wait: Nanos::from_millis(500),
        join: seeds.collect(),
        neighbours: None,
        expect: None,
        shards: shard::Settings::lan(2, shard::Partition::Available),
        acknowledge: Acknowledge::Replicated,
        forget_after: None,
        max_keys: 1_000_000,
        max_memory: u64::MAX,
    }
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("not seen: {what}"));
}

/// Five an hour.
fn five() -> Policy {
    Policy {
        namespace: "".into(),
        name: "five".into(),
        limit: Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(3_600)).unwrap(),
        strategy: Strategy::Owner,
        on_failure: FailMode::Deny,
        top_keys: false,
    }
}

/// How many of `hits` hits on `key` pass.
async fn admitted(node: &Cluster, key: &str, hits: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..hits {
        let answer = node.hit(&five(), key, Cost::ONE).await.unwrap();
        admitted += usize::from(answer.decision.verdict == Verdict::Allow);
    }
    admitted
}
