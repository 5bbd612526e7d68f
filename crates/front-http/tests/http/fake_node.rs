//! A node that counts in memory, by a clock that stands still unless told otherwise.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use catalogue::{Changed, Content, Kind, NotChanged};
use coordinator::{
    Answer, ClusterStatus, ConfigDiffers, Coordinator, Definition, DifferingLimit, Forgotten, Hit,
    Member, MemberStatus, Missing, NoDecision, NoQuorum, Ownership, Policy, RaftStatus, Readiness,
    SilentSeeds, Strategy,
};
use limiter::{Node, NotReloaded};
use quota::{Cost, Count, Nanos, Stamp, Taken, UnixNanos};

/// A whole number of days, so that windows begin now.
const START: u64 = 20_000 * 86_400 * 1_000_000_000;

pub(crate) struct FakeNode {
    now: AtomicU64,
    counts: Mutex<HashMap<[String; 3], Option<Count>>>,
    made: Mutex<BTreeMap<(Kind, String, String), Content>>,
    /// Members that confirm no change.
    pub(crate) pending: Mutex<Vec<String>>,
    /// When set, nothing can be changed.
    pub(crate) unchangeable: Mutex<Option<NotChanged>>,
    /// When set, nobody can decide.
    pub(crate) failure: Mutex<Option<NoDecision>>,
    pub(crate) readiness: Mutex<Readiness>,
    pub(crate) is_well: AtomicBool,
    pub(crate) has_owner: Mutex<bool>,
    /// Whether its file says where Redis is.
    pub(crate) has_redis: AtomicBool,
    /// What comes of reading its file again.
    pub(crate) reloaded: Mutex<Result<Vec<String>, NotReloaded>>,
}

impl FakeNode {
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(START),
            counts: Mutex::default(),
            made: Mutex::default(),
            pending: Mutex::default(),
            unchangeable: Mutex::default(),
            failure: Mutex::new(None),
            readiness: Mutex::new(Readiness::Ready),
            is_well: AtomicBool::new(true),
            has_owner: Mutex::new(true),
            has_redis: AtomicBool::new(true),
            reloaded: Mutex::new(Err(NotReloaded::NoFile)),
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

    fn made(&self, kind: Kind, namespace: &str, name: &str) -> Option<Content> {
        let place = place(kind, namespace, name);
        self.made.lock().unwrap().get(&place).cloned()
    }

    fn names(&self, kind: Kind, namespace: &str, after: Option<&str>, count: usize) -> Vec<String> {
        let made = self.made.lock().unwrap();
        let (_, namespace, _) = place(kind, namespace, "");
        let names = made
            .keys()
            .filter(|(of, whose, _)| *of == kind && *whose == namespace);
        let names = names.map(|(.., name)| name.clone());
        names
            .filter(|name| after.is_none_or(|after| after < name.as_str()))
            .take(count)
            .collect()
    }

    fn changed(&self, replaced: bool) -> Changed {
        let pending = self.pending.lock().unwrap().clone();
        Changed { replaced, pending }
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

/// As a catalogue has it.
fn place(kind: Kind, namespace: &str, name: &str) -> (Kind, String, String) {
    (kind, kind.namespace(namespace).to_owned(), name.to_owned())
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
                asks: false,
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
            config_differs: Some(ConfigDiffers {
                lasts: Nanos::from_millis(4_000),
                limits: vec![DifferingLimit {
                    limit: "login".into(),
                    definitions: vec![
                        Definition {
                            nodes: vec!["oskar".into()],
                            says: Some("gcra, 10 per 1m".into()),
                        },
                        Definition {
                            nodes: vec!["oskar2".into()],
                            says: None,
                        },
                    ],
                }],
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

    fn record(&self, kind: Kind, namespace: &str, name: &str) -> Option<Content> {
        self.made(kind, namespace, name)
    }

    fn records(
        &self,
        kind: Kind,
        namespace: &str,
        after: Option<&str>,
        count: usize,
    ) -> Vec<(Arc<str>, Content)> {
        let names = self.names(kind, namespace, after, count).into_iter();
        names
            .filter_map(|name| Some((name.as_str().into(), self.made(kind, namespace, &name)?)))
            .collect()
    }

    fn count_records(&self, kind: Kind, namespace: &str) -> usize {
        self.names(kind, namespace, None, usize::MAX).len()
    }

    async fn set(
        &self,
        namespace: &str,
        name: &str,
        content: Content,
    ) -> Result<Changed, NotChanged> {
        if let Some(error) = *self.unchangeable.lock().unwrap() {
            return Err(error);
        }
        let place = place(content.kind(), namespace, name);
        let before = self.made.lock().unwrap().insert(place, content);
        Ok(self.changed(before.is_some()))
    }

    async fn remove(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Changed>, NotChanged> {
        let place = place(kind, namespace, name);
        let before = self.made.lock().unwrap().remove(&place);
        Ok(before.map(|_| self.changed(true)))
    }

    fn may_count_by(&self, strategy: Strategy) -> bool {
        strategy != Strategy::Redis || self.has_redis.load(Relaxed)
    }

    async fn reload(&self) -> Result<Vec<String>, NotReloaded> {
        self.reloaded.lock().unwrap().clone()
    }
}
