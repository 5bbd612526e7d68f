//! The coordinator of limits that are counted in Redis.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator::{Answer, Coordinator, FailMode, Hit, NoDecision, Policy};
use quota::{Cost, Decision, KeyHash, KeyHasher, Nanos};
use supervisor::Supervisor;
use tokio::sync::{Notify, Semaphore};

use crate::batch::in_order_of_counters;
use crate::breaker::{BreakerState, PROBE_EVERY};
use crate::config::RedisConfig;
use crate::connect::ConnectError;
use crate::counting::{Clock, Operation, Subject, decide};
use crate::failure::{Evidence, Failure};
use crate::gate::Gate;
use crate::keeper::{KEEPER, keep};
use crate::link::Link;
use crate::meter::Meter;
use crate::scripts::Scripts;

/// Calls that may wait for Redis at once. More are shed.
///
/// A Redis that does 150 000 scripts a second has 16 384 behind it after 110 ms, a third of the default timeout: those
/// that come later would only wait to be given up.
const CALLS_MAX: usize = 16_384;

/// Decides hits by scripts in Redis, and by the limit's fail mode while that is away.
///
/// Cheap to clone. `F` is who counts for limits with [`FailMode::Owner`] while Redis is away. No count is carried over,
/// in either direction: in the window in which Redis goes away, or comes back, a key may get its limit twice.
///
/// One breaker guards the Redis as a whole, a Redis Cluster too: while one of its masters is away, hits on that master's
/// keys are answered by their fail modes one by one. A key whose slot a Redis Cluster is just moving to another node is
/// answered by its fail mode until it is there.
#[derive(Debug)]
pub struct RedisCoordinator<F> {
    backend: Arc<Backend>,
    fallback: Arc<F>,
    /// Above the keeper, and gone with it: when it is stopped, or with the last clone.
    supervisor: Supervisor,
}

impl<F> Clone for RedisCoordinator<F> {
    fn clone(&self) -> Self {
        Self {
            backend: Arc::clone(&self.backend),
            fallback: Arc::clone(&self.fallback),
            supervisor: self.supervisor.clone(),
        }
    }
}

/// All but the fallback: what the keeper looks after.
pub(crate) struct Backend {
    pub(crate) link: Link,
    pub(crate) scripts: Scripts,
    pub(crate) gate: Gate,
    /// Tells the keeper to look at once.
    pub(crate) wake: Arc<Notify>,
    pub(crate) timeout: Duration,
    /// What probes write.
    pub(crate) health_key: Vec<u8>,
    /// What nobody writes.
    pub(crate) absent_key: Vec<u8>,
    prefix: String,
    keys: KeyHasher,
    calls: Semaphore,
    meter: Meter,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.gate.state();
        f.debug_struct("Backend").field("breaker", &state).finish()
    }
}

/// How Redis is, for status pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Whether it is asked.
    pub breaker: BreakerState,
    /// The last failure, however long ago.
    pub last_failure: Option<String>,
}

impl<F: Coordinator> RedisCoordinator<F> {
    /// Connects, and checks that Redis lets us in, writes, and runs the scripts.
    ///
    /// With `start_without_redis`, what fails is a warning, and the breaker starts open. Starts a task on the present
    /// runtime, which ends with [`stop`](Self::stop), or when the last clone is dropped.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says what is wrong with the Redis.
    pub async fn connect(config: RedisConfig, fallback: F) -> Result<Self, ConnectError> {
        let servers = config.servers.to_string();
        let told = |failure: &Failure| ConnectError::new(servers.clone(), failure);
        let link = Link::new(&config).map_err(|error| told(&Failure::connecting(&error)))?;
        let mut backend = Backend {
            link,
            scripts: Scripts::new(),
            gate: Gate::new(None, Instant::now()),
            wake: Arc::default(),
            timeout: config.timeout,
            health_key: format!("{}:health", config.prefix).into_bytes(),
            absent_key: format!("{}:absent", config.prefix).into_bytes(),
            prefix: config.prefix,
            keys: KeyHasher::new(config.secret.0),
            calls: Semaphore::new(CALLS_MAX),
            meter: Meter::new(),
        };
        if let Err(failure) = backend.connected_and_usable().await {
            let error = told(&failure);
            if !config.start_without_redis {
                return Err(error);
            }
            tracing::warn!(%error, "starting without redis, its limits are answered by their fail modes");
            backend.gate = Gate::new(Some(&failure), Instant::now());
        }
        let backend = Arc::new(backend);
        let supervisor = Supervisor::start();
        let (kept, above) = (Arc::downgrade(&backend), supervisor.clone());
        supervisor.run(KEEPER, move || keep(kept.clone(), above.clone()));
        Ok(Self {
            backend,
            fallback: Arc::new(fallback),
            supervisor,
        })
    }

    /// Looks after Redis no longer, and lets go of the connection, for all clones. Returns when its task has ended; hits that
    /// wait for Redis have the connection until they are answered or given up. May be called again.
    ///
    /// Whoever still asks is answered as while Redis is away, and nothing is counted there.
    pub async fn stop(&self) {
        self.supervisor.stop().await;
        // Not before: the keeper would connect again.
        self.backend.link.close();
    }

    /// How Redis is.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            breaker: self.backend.gate.state(),
            last_failure: self.backend.gate.last_failure(),
        }
    }
}

impl Backend {
    fn key_hash(&self, policy: &Policy, key: &str) -> KeyHash {
        self.keys.hash(&policy.namespace, &policy.name, key)
    }

    fn name(&self, hash: KeyHash) -> Vec<u8> {
        format!("{}:{{{hash}}}", self.prefix).into_bytes()
    }

    async fn decide(
        &self,
        policy: &Policy,
        key: &str,
        operation: Operation,
    ) -> Result<Decision, NoDecision> {
        let name = self.name(self.key_hash(policy, key));
        let subject = Subject {
            key: &name,
            limit: &policy.limit,
            operation,
        };
        self.asked(decide(&self.link, &self.scripts, subject, Clock::SERVER))
            .await
    }

    /// Lets `call` through if the breaker does, within the deadline, and learns from how it went.
    async fn asked<T>(
        &self,
        call: impl Future<Output = Result<(T, Evidence), Failure>>,
    ) -> Result<T, NoDecision> {
        let retry_after = Nanos::from(PROBE_EVERY);
        if !self.gate.is_closed() {
            return Err(NoDecision::Unavailable { retry_after });
        }
        let Ok(_permit) = self.calls.try_acquire() else {
            return Err(NoDecision::Overloaded { retry_after });
        };
        let span = traces::child("redis");
        let answer = tokio::time::timeout(self.timeout, call).await;
        match answer.unwrap_or_else(|_| Err(Failure::timeout())) {
            Ok((told, evidence)) => {
                self.gate.on_success(evidence, Instant::now());
                Ok(told)
            }
            Err(failure) => {
                let opened = self.gate.on_failure(&failure, Instant::now());
                if opened || !self.link.is_connected() {
                    self.wake.notify_one();
                }
                let error = failure.no_decision(retry_after);
                if let Some(span) = span {
                    span.fail(error.to_string());
                }
                Err(error)
            }
        }
    }
}

impl<F: Coordinator> Coordinator for RedisCoordinator<F> {
    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let meter = &self.backend.meter;
        let decided = self.backend.decide(policy, key, Operation::Hit(cost)).await;
        let told = match (decided, policy.on_failure) {
            (Ok(decision), _) => Ok(decision.into()),
            (Err(_), FailMode::Owner) => {
                meter.count_owner();
                return self.fallback.hit(policy, key, cost).await;
            }
            (Err(error), on_failure) => on_failure.answer(&policy.limit, cost, error),
        };
        meter.count(&told);
        told
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        in_order_of_counters(
            hits.to_vec(),
            |hit| self.backend.key_hash(hit.policy, hit.key),
            |hit| self.hit(hit.policy, hit.key, hit.cost),
        )
        .await
    }

    /// As the trait says; by the fallback if that counts just now.
    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        if policy.on_failure == FailMode::Owner && !self.backend.gate.is_closed() {
            return self.fallback.refund(policy, key, cost).await;
        }
        let refund = Operation::Refund(cost);
        self.backend
            .decide(policy, key, refund)
            .await
            .map(Answer::from)
    }

    /// As the trait says; by the fallback if that counts just now.
    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        if policy.on_failure == FailMode::Owner && !self.backend.gate.is_closed() {
            return self.fallback.reset(policy, key).await;
        }
        let name = self.backend.name(self.backend.key_hash(policy, key));
        let forgetting = async {
            self.backend.link.delete(&name).await?;
            // A Redis without memory forgets, too.
            Ok(((), Evidence::Answers))
        };
        self.backend.asked(forgetting).await
    }
}

#[cfg(test)]
mod tests;
