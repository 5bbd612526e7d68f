//! Coordinators, policies, and a fallback that notes what it was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coordinator::{Answer, Coordinator, FailMode, Hit, NoDecision, Policy, Strategy};
use coordinator_redis::{BreakerState, RedisConfig, RedisCoordinator, Servers};
use quota::{Algorithm, Cost, Decision, Limit, Nanos, Verdict};

use crate::server::{Server, wait_until};

pub(crate) type Redis = RedisCoordinator<Fallback>;

/// Allows everything, and tells how often it was asked.
#[derive(Clone, Default, Debug)]
pub(crate) struct Fallback(Arc<AtomicUsize>);

impl Fallback {
    pub(crate) fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn answer(&self) -> Answer {
        self.0.fetch_add(1, Ordering::Relaxed);
        let decision = Decision {
            verdict: Verdict::Allow,
            // A mark: no limit of these tests has so many.
            remaining: FALLBACK_REMAINING,
            grows_after: Nanos::ZERO,
            reset_after: Nanos::ZERO,
        };
        decision.into()
    }
}

pub(crate) const FALLBACK_REMAINING: u32 = 123_456;

impl Coordinator for Fallback {
    async fn hit(&self, _: &Policy, _: &str, _: Cost) -> Result<Answer, NoDecision> {
        Ok(self.answer())
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        hits.iter().map(|_| Ok(self.answer())).collect()
    }

    async fn refund(&self, _: &Policy, _: &str, _: Cost) -> Result<Answer, NoDecision> {
        Ok(self.answer())
    }

    async fn reset(&self, _: &Policy, _: &str) -> Result<(), NoDecision> {
        self.answer();
        Ok(())
    }
}

pub(crate) fn config(server: &Server) -> RedisConfig {
    config_of(Servers::One(server.url()))
}

/// With a deadline that a machine busy with other tests meets.
pub(crate) fn config_of(servers: Servers) -> RedisConfig {
    let config = RedisConfig::new(servers, [7; 16]).unwrap();
    config.with_timeout(Duration::from_secs(10)).unwrap()
}

pub(crate) async fn connected(server: &Server) -> Redis {
    let connected = RedisCoordinator::connect(config(server), Fallback::default()).await;
    connected.unwrap()
}

pub(crate) fn policy(algorithm: Algorithm, units: u32, period: Nanos) -> Policy {
    Policy {
        namespace: "default".into(),
        name: algorithm.name().into(),
        limit: Limit::new(algorithm, units, period).unwrap(),
        strategy: Strategy::Redis,
        on_failure: FailMode::Deny,
        top_keys: false,
    }
}

/// A limit that does not come back while a test runs.
pub(crate) fn daily(algorithm: Algorithm, units: u32) -> Policy {
    policy(algorithm, units, Nanos::from_secs(300 * 86_400))
}

pub(crate) async fn hit(redis: &Redis, policy: &Policy, key: &str) -> Result<Answer, NoDecision> {
    redis.hit(policy, key, Cost::ONE).await
}

/// How many of `tasks` callers, each with `hits` hits on one key, were admitted.
pub(crate) async fn admitted(redis: &Redis, policy: &Policy, tasks: usize, hits: usize) -> usize {
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let (redis, policy) = (redis.clone(), policy.clone());
        callers.spawn(async move {
            let mut admitted = 0;
            for _ in 0..hits {
                let answer = hit(&redis, &policy, "shared").await.expect("a decision");
                admitted += usize::from(answer.decision.is_allowed());
            }
            admitted
        });
    }
    callers.join_all().await.into_iter().sum()
}

pub(crate) async fn wait_until_breaker_is(redis: &Redis, state: BreakerState) {
    let redis = redis.clone();
    let waiting = tokio::task::spawn_blocking(move || {
        wait_until(&format!("the breaker is {}", state.name()), || {
            (redis.health().breaker == state).then_some(())
        });
    });
    waiting.await.unwrap();
}
