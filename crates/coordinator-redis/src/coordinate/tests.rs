//! A panic in the keeper is contained.

use crate::config::Servers;
use crate::laws::server::{Server, wait_until};

use super::*;

/// Nobody counts in the place of Redis.
struct Nobody;

const NOBODY: NoDecision = NoDecision::Unavailable {
    retry_after: Nanos::ZERO,
};

impl Coordinator for Nobody {
    async fn hit(&self, _: &Policy, _: &str, _: Cost) -> Result<Answer, NoDecision> {
        Err(NOBODY)
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        vec![Err(NOBODY); hits.len()]
    }

    async fn refund(&self, _: &Policy, _: &str, _: Cost) -> Result<Answer, NoDecision> {
        Err(NOBODY)
    }

    async fn reset(&self, _: &Policy, _: &str) -> Result<(), NoDecision> {
        Err(NOBODY)
    }
}

/// It once ran below nobody: after a panic nobody looked whether Redis was back.
#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_panics_starts_again_and_goes_on_looking() {
    let mut server = Server::start();
    let config = RedisConfig::new(Servers::One(server.url()), [7; 16]).unwrap();
    let redis = RedisCoordinator::connect(config, Nobody).await.unwrap();
    redis.supervisor.panic(KEEPER).await;
    server.kill();
    let until = |state| {
        let backend = Arc::clone(&redis.backend);
        tokio::task::spawn_blocking(move || {
            wait_until("the keeper has found out", || {
                (backend.gate.is_closed() == state).then_some(())
            });
        })
    };
    until(false).await.unwrap();
    server.start_again();
    until(true).await.unwrap();
}
