//! A node that counts in memory, by a clock that stands still unless told otherwise.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use catalogue::{Changed, Content, Kind, NotChanged};
use coordinator::{
    Answer, ClusterStatus, Coordinator, Forgotten, Hit, NoDecision, Ownership, Policy, Readiness,
};
use limiter::Node;
use quota::{Cost, Count, Nanos, Stamp, Taken, UnixNanos};

pub(crate) struct FakeNode {
    now: AtomicU64,
    counts: Mutex<HashMap<[String; 3], Option<Count>>>,
    /// How many hits were asked together, each time.
    pub(crate) batches: Mutex<Vec<usize>>,
    /// When set, nobody can decide.
    pub(crate) failure: Mutex<Option<NoDecision>>,
}

impl FakeNode {
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(1_000_000_000_000_000_000),
            counts: Mutex::default(),
            batches: Mutex::default(),
            failure: Mutex::new(None),
        }
    }

    pub(crate) fn advance(&self, span: Nanos) {
        self.now.fetch_add(span.get(), Relaxed);
    }

    /// Names of the limits and keys that have anything counted.
    pub(crate) fn counted(&self) -> Vec<(String, String)> {
        let counts = self.counts.lock().unwrap();
        let counted = counts.iter().filter(|(_, count)| count.is_some());
        let mut counted: Vec<_> = counted
            .map(|([_, limit, key], _)| (limit.clone(), key.clone()))
            .collect();
        counted.sort();
        counted
    }

    fn with_count(
        &self,
        policy: &Policy,
        key: &str,
        change: impl FnOnce(UnixNanos, &mut Option<Count>) -> Taken,
    ) -> Result<Answer, NoDecision> {
        if let Some(error) = *self.failure.lock().unwrap() {
            return Err(error);
        }
        let now = UnixNanos::new(self.now.load(Relaxed));
        let mut counts = self.counts.lock().unwrap();
        let key = [&*policy.namespace, &*policy.name, key].map(str::to_owned);
        Ok(change(now, counts.entry(key).or_default()).decision.into())
    }

    fn decide(&self, hit: Hit<'_>) -> Result<Answer, NoDecision> {
        let Hit { policy, key, cost } = hit;
        let stamp = Stamp { term: 1, seq: 1 };
        self.with_count(policy, key, |now, count| {
            policy.limit.hit(now, count, cost, stamp)
        })
        .or_else(|error| policy.on_failure.answer(&policy.limit, cost, error))
    }
}

impl Coordinator for FakeNode {
    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        // As if asked elsewhere.
        tokio::task::yield_now().await;
        self.batches.lock().unwrap().push(1);
        self.decide(Hit { policy, key, cost })
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        tokio::task::yield_now().await;
        self.batches.lock().unwrap().push(hits.len());
        hits.iter().map(|hit| self.decide(*hit)).collect()
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.with_count(policy, key, |now, count| {
            policy.limit.refund(now, count, cost)
        })
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        self.with_count(policy, key, |now, count| policy.limit.reset(now, count))
            .map(drop)
    }
}

/// The Redis protocol tells nothing of these.
impl Node for FakeNode {
    fn cluster(&self) -> ClusterStatus {
        unreachable!("this front asks no status")
    }

    fn owner_of(&self, _policy: &Policy, _key: &str) -> Option<Ownership> {
        None
    }

    fn is_well(&self) -> bool {
        true
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn forget(&self, _name: &str) -> Forgotten {
        Forgotten::Unknown
    }

    fn record(&self, _: Kind, _: &str, _: &str) -> Option<Content> {
        None
    }

    fn records(&self, _: Kind, _: &str, _: Option<&str>, _: usize) -> Vec<(Arc<str>, Content)> {
        Vec::new()
    }

    fn count_records(&self, _: Kind, _: &str) -> usize {
        0
    }

    async fn set(&self, _: &str, _: &str, _: Content) -> Result<Changed, NotChanged> {
        Ok(Changed::default())
    }

    async fn remove(&self, _: Kind, _: &str, _: &str) -> Result<Option<Changed>, NotChanged> {
        Ok(None)
    }
}
