//! Decisions a second of three nodes in one process, over a network that is a function call.
//!
//! `cargo run --profile shipping -p coordinator-raft --example raft-throughput [SECONDS]`; takes some 3 x SECONDS (default 3).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use coordinator::{Coordinator as _, FailMode, Policy, Strategy};
use coordinator_raft::{CallError, Member, Peers, RaftConfig, RaftCoordinator, Timings};
use quota::{Algorithm, Cost, KeyHasher, Limit, Nanos, UnixNanos};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Clone)]
struct Port {
    from: u32,
    nodes: Arc<OnceLock<HashMap<u32, RaftCoordinator<Port>>>>,
}

impl Peers for Port {
    async fn call(&self, to: u32, request: Bytes, deadline: Duration) -> Result<Bytes, CallError> {
        let nodes = self.nodes.get().ok_or(CallError::Unreachable)?;
        let node = nodes.get(&to).ok_or(CallError::Unreachable)?.clone();
        let from = self.from;
        // Another task, as behind a connection.
        let answer = tokio::spawn(async move { node.on_call(from, request).await });
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(CallError::Silent),
        }
    }
}

type Node = RaftCoordinator<Port>;

fn start_three() -> Vec<Node> {
    let shared = Arc::new(OnceLock::new());
    let members = (1..=3)
        .map(|id| Member {
            id,
            name: format!("node{id}"),
            is_alive: true,
            is_leaving: false,
            votes: true,
        })
        .collect();
    let (sender, members) = watch::channel(members);
    // The members never change.
    std::mem::forget(sender);
    let nodes: HashMap<_, _> = (1..=3)
        .map(|me| {
            let config = RaftConfig {
                me,
                name: format!("node{me}"),
                clock: Arc::new(|| {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH);
                    UnixNanos::new(now.unwrap_or_default().as_nanos() as u64)
                }),
                hasher: KeyHasher::new([7; 16]),
                data_dir: None,
                timings: Timings::lan(),
            };
            let port = Port {
                from: me,
                nodes: Arc::clone(&shared),
            };
            let node = RaftCoordinator::start(config, port, members.clone());
            (me, node.expect("nothing is saved"))
        })
        .collect();
    let all = (1..=3).map(|id| nodes[&id].clone()).collect();
    assert!(shared.set(nodes).is_ok());
    all
}

/// What one caller measured.
async fn call(node: Node, policy: Policy, caller: usize, until: Instant) -> Vec<Duration> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let key = format!("{caller}-{}", took.len() % 64);
        let began = Instant::now();
        let told = node.hit(&policy, &key, Cost::ONE).await;
        assert!(told.is_ok_and(|answer| !answer.by_fail_mode));
        took.push(began.elapsed());
    }
    took
}

/// How long the machine let a thread that wanted nothing but to wake up wait.
fn watch_the_machine() -> Arc<AtomicU64> {
    const TICK: Duration = Duration::from_millis(5);
    let worst = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&worst);
    std::thread::spawn(move || {
        loop {
            let began = Instant::now();
            std::thread::sleep(TICK);
            let late = began.elapsed().saturating_sub(TICK);
            seen.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
        }
    });
    worst
}

async fn measure(what: &str, nodes: &[Node], callers: usize, seconds: u64) {
    let limit = Limit::new(Algorithm::Gcra, 1_000_000, Nanos::from_secs(60)).expect("in range");
    let policy = Policy {
        namespace: "bench".into(),
        name: what.into(),
        limit,
        strategy: Strategy::Raft,
        on_failure: FailMode::Deny,
        top_keys: false,
    };
    let until = Instant::now() + Duration::from_secs(seconds);
    let began = Instant::now();
    let tasks: JoinSet<_> = (0..callers)
        .map(|caller| {
            call(
                nodes[caller % nodes.len()].clone(),
                policy.clone(),
                caller,
                until,
            )
        })
        .collect();
    let mut took: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{what:<34} {rate:>9.0} decisions/s   p50 {:>9.1?}   p99 {:>9.1?}   max {:>9.1?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|it| it.parse().ok())
        .unwrap_or(3);
    let worst = watch_the_machine();
    let nodes = start_three();
    while !nodes.iter().all(|node| node.status().voters.len() == 3) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let is_leader = |node: &&Node| node.status().leads;
    let (leader, follower): (Vec<Node>, Vec<Node>) =
        nodes.iter().cloned().partition(|node| is_leader(&node));
    measure("1 caller, of the leader", &leader, 1, seconds).await;
    measure("1 caller, of a follower", &follower[..1], 1, seconds).await;
    measure("1024 callers, of all three", &nodes, 1_024, seconds).await;
    println!(
        "the machine kept a thread waiting for up to {:?}",
        Duration::from_micros(worst.load(Ordering::Relaxed))
    );
    let status = leader[0].status();
    println!(
        "{} entries, the last {} of {} bytes in the log, {} keys",
        status.last_index, status.log_entries, status.log_bytes, status.keys
    );
}
