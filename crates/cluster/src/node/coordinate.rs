//! What fronts ask of this node.

use coordinator::{Answer, Coordinator, Hit, NoDecision, Once, Policy};
use quota::{BootNanos, Cost, Nanos};
use request::{DEADLINE, Subject};
use shard::{Operation, ShardId};

use super::slots::SHARDS;
use super::{Cluster, keys};

/// Hits of one batch that are on their way at once. A batch of a thousand leaves as one, and 32 of them wait at once before
/// hits are shed.
const BATCH_WIDTH: usize = 1_024;

type Told = Result<Answer, NoDecision>;

/// What stands in the place of an answer until it is there.
const UNASKED: Told = Err(NoDecision::Unavailable {
    retry_after: Nanos::ZERO,
});

impl Cluster {
    fn subject(&self, policy: &Policy, key: &str, operation: Operation) -> Subject {
        let key = keys::hash(&self.inner.keys, policy, key);
        Subject {
            shard: ShardId(key.shard(SHARDS)),
            key,
            limit: policy.limit,
            operation,
            on_failure: policy.on_failure,
        }
    }

    fn subject_of(&self, hit: Hit<'_>) -> Subject {
        self.subject(hit.policy, hit.key, Operation::Hit(hit.cost))
    }

    /// Decides what this node can decide at once, in its order, and lists the rest with their places.
    ///
    /// A shard that could not decide one hit is not asked for the next: hits of one counter stay in their order.
    fn hits_now(&self, hits: &[Hit<'_>]) -> (Vec<Told>, Vec<(usize, Subject)>) {
        let mut answers = Vec::with_capacity(hits.len());
        let mut left = Vec::new();
        let mut waits = [false; SHARDS as usize];
        for (place, &hit) in hits.iter().enumerate() {
            let subject = self.subject_of(hit);
            let shard = usize::from(subject.shard.0);
            let told = match waits[shard] {
                true => None,
                false => self.decide_now(&subject),
            };
            if told.is_none() {
                waits[shard] = true;
                left.push((place, subject));
            }
            answers.push(told.unwrap_or(UNASKED));
        }
        (answers, left)
    }

    /// Carries what is left, up to [`BATCH_WIDTH`] hits at once, and puts each answer in its place. Those that are not
    /// decided at `deadline` are given up, however late they had their turn.
    async fn fill_until(
        &self,
        mut answers: Vec<Told>,
        left: Vec<(usize, Subject)>,
        deadline: BootNanos,
    ) -> Vec<Told> {
        use futures_util::stream::{self, StreamExt as _};
        let all = left
            .into_iter()
            .map(|(place, subject)| async move { (place, self.carry(&subject, deadline).await) });
        let mut told = stream::iter(all).buffered(BATCH_WIDTH);
        while let Some((place, answer)) = told.next().await {
            answers[place] = answer;
        }
        answers
    }

    /// As [`Coordinator::hits`], with another deadline.
    #[cfg(test)]
    pub(super) async fn hits_until(&self, hits: &[Hit<'_>], deadline: BootNanos) -> Vec<Told> {
        let (answers, left) = self.hits_now(hits);
        self.fill_until(answers, left, deadline).await
    }
}

impl Coordinator for Cluster {
    #[inline]
    fn try_hit(&self, hit: Hit<'_>) -> Option<Result<Answer, NoDecision>> {
        self.decide_now(&self.subject_of(hit))
    }

    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let subject = self.subject(policy, key, Operation::Hit(cost));
        self.decide(&subject).await
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        let (answers, left) = self.hits_now(hits);
        if left.is_empty() {
            return answers;
        }
        // One for all: what the first ones waited for, the last ones do not wait for once more.
        let deadline = self.inner.clock.now().boot + DEADLINE;
        self.fill_until(answers, left, deadline).await
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let subject = self.subject(policy, key, Operation::Refund(cost));
        self.decide(&subject).await
    }

    async fn once(&self, asked: Once<'_>, id: &str) -> Result<Answer, NoDecision> {
        let (hit, operation) = match asked {
            Once::Hit(hit) => (hit, Operation::Hit(hit.cost)),
            Once::Refund(hit) => (hit, Operation::Refund(hit.cost)),
        };
        let subject = self.subject(hit.policy, hit.key, operation);
        let id = keys::hit_id(&self.inner.keys, &subject, id);
        let deadline = self.inner.clock.now().boot + DEADLINE;
        self.carry_as(id, &subject, deadline).await
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        let subject = self.subject(policy, key, Operation::Reset);
        self.decide(&subject).await.map(drop)
    }
}
