//! A node that counts in memory, by a clock that stands still unless told otherwise.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use catalogue::{Changed, Content, Kind, NamedLimit, NotChanged};
use coordinator::{
    Answer, ClusterStatus, Coordinator, Forgotten, Hit, NoDecision, Ownership, Policy, Readiness,
};
use limiter::Node;
use quota::{Cost, Count, Nanos, Stamp, Taken, UnixNanos};
use tokio::sync::Barrier;

/// A whole number of days, so that windows begin now.
const START: u64 = 20_000 * 86_400 * 1_000_000_000;

pub(crate) struct FakeNode {
    now: AtomicU64,
    counts: Mutex<HashMap<[String; 3], Option<Count>>>,
    /// Keys that nobody can decide for; `*` stands for all.
    pub(crate) lost: Mutex<Vec<(&'static str, NoDecision)>>,
    pub(crate) readiness: Mutex<Readiness>,
    /// Whether it answers without a future.
    pub(crate) is_owner: AtomicBool,
    /// Limits that were made at run time.
    pub(crate) made: Mutex<HashMap<&'static str, NamedLimit>>,
    /// Where refunds wait for each other, if they do.
    pub(crate) refunds_meet: Mutex<Option<Arc<Barrier>>>,
}

impl FakeNode {
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(START),
            counts: Mutex::default(),
            lost: Mutex::default(),
            readiness: Mutex::new(Readiness::Ready),
            is_owner: AtomicBool::new(true),
            made: Mutex::default(),
            refunds_meet: Mutex::default(),
        }
    }

    pub(crate) fn advance(&self, span: Nanos) {
        self.now.fetch_add(span.get(), Relaxed);
    }

    /// Limits and keys that have anything counted, in order.
    pub(crate) fn counted(&self) -> Vec<(String, String)> {
        let counts = self.counts.lock().unwrap();
        let counted = counts.iter().filter(|(_, count)| count.is_some());
        let mut keys: Vec<_> = counted
            .map(|([_, limit, key], _)| (limit.clone(), key.clone()))
            .collect();
        keys.sort();
        keys
    }

    fn with_count(
        &self,
        policy: &Policy,
        key: &str,
        change: impl FnOnce(UnixNanos, &mut Option<Count>) -> Taken,
    ) -> Result<Answer, NoDecision> {
        let lost = self.lost.lock().unwrap();
        if let Some((_, error)) = lost.iter().find(|(lost, _)| ["*", key].contains(lost)) {
            return Err(*error);
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
    fn try_hit(&self, hit: Hit<'_>) -> Option<Result<Answer, NoDecision>> {
        self.is_owner.load(Relaxed).then(|| self.decide(hit))
    }

    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        tokio::task::yield_now().await;
        self.decide(Hit { policy, key, cost })
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        tokio::task::yield_now().await;
        hits.iter().map(|hit| self.decide(*hit)).collect()
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let meet = self.refunds_meet.lock().unwrap().clone();
        if let Some(meet) = meet {
            meet.wait().await;
        }
        self.with_count(policy, key, |now, count| {
            policy.limit.refund(now, count, cost)
        })
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        self.with_count(policy, key, |now, count| policy.limit.reset(now, count))
            .map(|_| ())
    }
}

/// What this front never asks.
const NOT_ASKED: &str = "this front does not ask that";

impl Node for FakeNode {
    fn readiness(&self) -> Readiness {
        *self.readiness.lock().unwrap()
    }

    fn cluster(&self) -> ClusterStatus {
        panic!("{NOT_ASKED}")
    }

    fn owner_of(&self, _: &Policy, _: &str) -> Option<Ownership> {
        panic!("{NOT_ASKED}")
    }

    fn forget(&self, _: &str) -> Forgotten {
        panic!("{NOT_ASKED}")
    }

    fn metrics(&self) -> String {
        panic!("{NOT_ASKED}")
    }

    fn is_well(&self) -> bool {
        panic!("{NOT_ASKED}")
    }

    fn record(&self, kind: Kind, _: &str, name: &str) -> Option<Content> {
        match kind {
            Kind::Limit => self
                .made
                .lock()
                .unwrap()
                .get(name)
                .copied()
                .map(Content::Limit),
            _ => None,
        }
    }

    fn records(&self, _: Kind, _: &str, _: Option<&str>, _: usize) -> Vec<(Arc<str>, Content)> {
        panic!("{NOT_ASKED}")
    }

    fn count_records(&self, _: Kind, _: &str) -> usize {
        panic!("{NOT_ASKED}")
    }

    async fn set(&self, _: &str, _: &str, _: Content) -> Result<Changed, NotChanged> {
        panic!("{NOT_ASKED}")
    }

    async fn remove(&self, _: Kind, _: &str, _: &str) -> Result<Option<Changed>, NotChanged> {
        panic!("{NOT_ASKED}")
    }
}
