//! What fronts ask of this node.

use coordinator::{Answer, Coordinator, Hit, NoDecision, Policy};
use quota::{Cost, Limit, Nanos};
use shard::Operation;

use super::Cluster;
use super::decide::Subject;

/// Hits of one batch that are on their way at once. A batch of a thousand for remote owners takes four rounds.
const BATCH_WIDTH: usize = 256;

impl Cluster {
    fn subject(&self, policy: &Policy, key: &str, operation: Operation) -> Subject {
        let key = self.inner.keys.hash(&policy.namespace, &policy.name, key);
        Subject {
            key,
            limit: policy.limit,
            operation,
        }
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
        let subject = self.subject(policy, key, Operation::Hit(cost));
        let told = match self.decide(subject).await {
            Ok(decision) => Ok(decision.into()),
            Err(error) => policy.on_failure.answer(&policy.limit, cost, error),
        };
        self.inner.decisions.count(&told);
        told
    }

    async fn hits(&self, hits: Vec<Hit>) -> Vec<Result<Answer, NoDecision>> {
        use futures_util::stream::{self, StreamExt as _};
        let all = hits
            .into_iter()
            .map(|hit| async move { self.hit(&hit.policy, &hit.key, hit.cost).await });
        stream::iter(all).buffered(BATCH_WIDTH).collect().await
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let subject = self.subject(policy, key, Operation::Refund(cost));
        self.decide(subject).await.map(Answer::from)
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        let subject = self.subject(policy, key, Operation::Reset);
        self.decide(subject).await.map(drop)
    }
}
