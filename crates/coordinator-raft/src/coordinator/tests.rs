//! A panic in a task of the strategy is contained, and forgets nothing.

use coordinator::{FailMode, Strategy};
use quota::{Algorithm, KeyHasher, Limit, Nanos, UnixNanos};

use super::*;
use crate::config::Timings;
use crate::peers::CallError;

/// Nobody else is there.
#[derive(Clone)]
struct Nobody;

impl Peers for Nobody {
    async fn call(&self, _: u32, _: Bytes, _: Duration) -> Result<Bytes, CallError> {
        Err(CallError::Unreachable)
    }
}

/// Each of them once ran below nobody: a panic in one left a node that took hits and decided none.
#[tokio::test(start_paused = true)]
async fn a_task_that_panics_starts_again_and_hits_are_decided_as_before() {
    let me = Member {
        id: 1,
        name: "a".to_owned(),
        is_alive: true,
        is_leaving: false,
        votes: true,
    };
    let config = RaftConfig {
        me: 1,
        name: "a".to_owned(),
        clock: Arc::new(|| UnixNanos::new(1_800_000_000_000_000_000)),
        hasher: KeyHasher::new([7; 16]),
        data_dir: None,
        timings: Timings::lan(),
    };
    let (_members, following) = watch::channel(vec![me]);
    let raft = RaftCoordinator::start(config, Nobody, following).unwrap();
    let policy = Policy {
        namespace: "default".into(),
        name: "login".into(),
        limit: Limit::new(Algorithm::FixedWindow, 100, Nanos::from_secs(3_600)).unwrap(),
        strategy: Strategy::Raft,
        on_failure: FailMode::Deny,
        top_keys: false,
    };
    let mut left = 100;
    for task in [
        None,
        Some(CARRY),
        Some(PROPOSE),
        Some(STEWARD),
        Some(FOLLOW),
    ] {
        if let Some(task) = task {
            raft.supervisor.panic(task).await;
        }
        let told = raft.hit(&policy, "k", Cost::ONE).await.unwrap();
        left -= 1;
        assert_eq!(told.decision.remaining, left, "after a panic of {task:?}");
    }
    // The steward looks again: it alone notes that the group decides.
    tokio::time::sleep(2 * DEADLINE).await;
    assert!(raft.decides());
    raft.kill().await;
}
