//! A node that counts in memory, by a clock that stands still unless told otherwise.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use coordinator::{
    Answer, ClusterStatus, Coordinator, FailMode, Forgotten, Hit, Member, MemberStatus, Missing,
    NoDecision, NoQuorum, Ownership, Policy, RaftStatus, Readiness, SilentSeeds, Strategy,
};
use limiter::{KEY_LIMITS, Node};
use quota::{Cost, Count, Limit, Nanos, Stamp, Taken, UnixNanos};

/// A whole number of days, so that windows begin now.
const START: u64 = 20_000 * 86_400 * 1_000_000_000;

pub(crate) struct FakeNode {
    now: AtomicU64,
    counts: Mutex<HashMap<[String; 3], Option<Count>>>,
    key_limits: Mutex<HashMap<String, Limit>>,
    /// When set, nobody can decide.
    pub(crate) failure: Mutex<Option<NoDecision>>,
    pub(crate) readiness: Mutex<Readiness>,
    pub(crate) is_well: AtomicBool,
    pub(crate) has_owner: Mutex<bool>,
}

impl FakeNode {
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(START),
            counts: Mutex::default(),
            key_limits: Mutex::default(),
            failure: Mutex::new(None),
            readiness: Mutex::new(Readiness::Ready),
            is_well: AtomicBool::new(true),
            has_owner: Mutex::new(true),
        }
    }

    pub(crate) fn advance(&self, span: Nanos) {
        self.now.fetch_add(span.get(), Relaxed);
    }

    /// Counters that have anything counted.
    pub(crate) fn counted(&self) -> Vec<[String; 3]> {
        let counts = self.counts.lock().unwrap();
        counts
            .iter()
            .filter(|(_, count)| count.is_some())
            .map(|(key, _)| key.clone())
            .collect()
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
}

impl Coordinator for FakeNode {
    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        // As if asked elsewhere: the connection sees what else arrives before there is an answer.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let stamp = Stamp { term: 1, seq: 1 };
        self.with_count(policy, key, |now, count| {
            policy.limit.hit(now, count, cost, stamp)
        })
        .or_else(|error| policy.on_failure.answer(&policy.limit, cost, error))
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        let mut answers = Vec::new();
        for hit in hits {
            answers.push(self.hit(hit.policy, hit.key, hit.cost).await);
        }
        answers
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.with_count(policy, key, |now, count| {
            policy.limit.refund(now, count, cost)
        })
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        self.with_count(policy, key, |now, count| policy.limit.reset(now, count))
            .map(|_| ())
    }
}

impl Node for FakeNode {
    fn cluster(&self) -> ClusterStatus {
        ClusterStatus {
            node: "oskar".into(),
            view: "9f3c".into(),
            members: vec![Member {
                name: "oskar".into(),
                status: MemberStatus::Suspect,
                incarnation: 3,
                shards: 341,
                http: "127.0.0.1:4000".into(),
                cluster: "127.0.0.1:5000".into(),
                silent: Nanos::from_millis(400),
            }],
            under_replicated_shards: 7,
            unsettled_shards: 3,
            replication_lag: Nanos::new(1_500_000),
            keys: 0,
            no_quorum: Some(NoQuorum {
                lasts: Nanos::from_millis(2_000),
                needed: 2,
                missing: vec![Missing {
                    name: "oskar2".into(),
                    silent: Nanos::from_millis(3_000),
                }],
            }),
            silent_seeds: Some(SilentSeeds {
                addresses: vec!["10.0.0.1:4100".into()],
                lasts: Nanos::from_millis(7_000),
            }),
            raft: Some(RaftStatus {
                leader: Some("oskar".into()),
                term: 2,
                voters: vec!["oskar".into()],
                learners: Vec::new(),
            }),
            redis: None,
        }
    }

    fn owner_of(&self, _policy: &Policy, _key: &str) -> Option<Ownership> {
        self.has_owner.lock().unwrap().then(|| Ownership {
            shard: 12,
            term: 4,
            owner: "oskar".into(),
            replicas: vec!["oskar2".into(), "oskar3".into()],
        })
    }

    fn forget(&self, name: &str) -> Forgotten {
        match name {
            "oskar" => Forgotten::Alive,
            "gone" => Forgotten::Done,
            "early" => Forgotten::Joining,
            _ => Forgotten::Unknown,
        }
    }

    fn is_well(&self) -> bool {
        self.is_well.load(Relaxed)
    }

    fn readiness(&self) -> Readiness {
        *self.readiness.lock().unwrap()
    }

    fn metrics(&self) -> String {
        "weir_hits_total 1\n".into()
    }

    fn key_limit(&self, key: &str) -> Option<Policy> {
        let limit = *self.key_limits.lock().unwrap().get(key)?;
        Some(Policy {
            namespace: "default".into(),
            name: KEY_LIMITS.into(),
            limit,
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
        })
    }

    async fn put_key_limit(&self, key: &str, limit: Limit) -> Result<(), NoDecision> {
        self.key_limits.lock().unwrap().insert(key.into(), limit);
        Ok(())
    }
}
