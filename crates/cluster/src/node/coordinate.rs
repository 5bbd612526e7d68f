//! What fronts ask of this node.

use coordinator::{Answer, Coordinator, Hit, NoDecision, Policy};
use quota::{BootNanos, Cost, Limit, Nanos};
use request::{DEADLINE, Subject};
use shard::{Operation, ShardId};

use super::Cluster;
use super::slots::SHARDS;

/// Hits of one batch that are on their way at once. A batch of a thousand for remote owners takes four rounds.
const BATCH_WIDTH: usize = 256;

impl Cluster {
    fn subject(&self, policy: &Policy, key: &str, operation: Operation) -> Subject {
        let key = self.inner.keys.hash(&policy.namespace, &policy.name, key);
        Subject {
            shard: ShardId(key.shard(SHARDS)),
            key,
            limit: policy.limit,
            operation,
            on_failure: policy.on_failure,
        }
    }

    #[inline]
    async fn hit_until(
        &self,
        policy: &Policy,
        key: &str,
        cost: Cost,
        deadline: Option<BootNanos>,
    ) -> Result<Answer, NoDecision> {
        let subject = self.subject(policy, key, Operation::Hit(cost));
        let told = self.decide(&subject, deadline).await;
        self.inner.decisions.count(&told);
        told
    }

    /// The limit that was set for this one key.
    #[must_use]
    pub fn key_limit(&self, key: &str) -> Option<Limit> {
        self.inner.key_limits.get(key)
    }

    /// Sets a limit for one key, on every node that can be reached.
    ///
    /// # Errors
    ///
    /// [`NoDecision::Overloaded`] when too many keys have limits of their own.
    pub fn put_key_limit(&self, key: &str, limit: Limit) -> Result<(), NoDecision> {
        let now = self.inner.clock.now().wall.get();
        let word = self
            .inner
            .key_limits
            .set(key, limit, (now, self.inner.me.0));
        let word = word.ok_or(NoDecision::Overloaded {
            retry_after: Nanos::from_secs(60),
        })?;
        self.control().tell_all(&word);
        Ok(())
    }
}

impl Coordinator for Cluster {
    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.hit_until(policy, key, cost, None).await
    }

    async fn hits(&self, hits: Vec<Hit>) -> Vec<Result<Answer, NoDecision>> {
        use futures_util::stream::{self, StreamExt as _};
        // One for all: what the first ones waited for, the last ones do not wait for once more.
        let deadline = Some(self.inner.clock.now().boot + DEADLINE);
        let all = hits.into_iter().map(|hit| async move {
            self.hit_until(&hit.policy, &hit.key, hit.cost, deadline)
                .await
        });
        stream::iter(all).buffered(BATCH_WIDTH).collect().await
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let subject = self.subject(policy, key, Operation::Refund(cost));
        self.decide(&subject, None).await
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        let subject = self.subject(policy, key, Operation::Reset);
        self.decide(&subject, None).await.map(drop)
    }
}
