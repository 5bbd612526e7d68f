//! A node for the tests of fronts: it counts in memory, by a clock that stands still unless told otherwise, and is in
//! whatever state a test wants.
//!
//! Read [`FakeNode`]. It decides as a node of the product does, by `quota`; who else there is, what its file says and what
//! fails is told to it.

mod status;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounts::{ApiKey, Credential, Dated, Scope, Status, Tenant, UnixSecs};
use catalogue::{Address, Changed, Content, Kind, NamedLimit, NotChanged, SERVICE};
use coordinator::{
    Answer, ClusterStatus, Coordinator, Forgotten, Hit, NoDecision, Once, Ownership, Policy,
    Readiness, Shards, Strategy,
};
use limiter::{Exported, Imported, NAMESPACE, Node, NotReloaded, Refusal};
use quota::{Cost, Count, Nanos, Stamp, Taken, UnixNanos};
use series::{Asked, Told};
use tokio::sync::Barrier;

/// The tenant that [`FakeNode::make_tenant`] makes, and its API key.
pub const TENANT: &str = "tn_0123456789abcdef";
/// The API key of [`TENANT`].
pub const API_KEY: &str = "weir_key_3fK9mQ2bXw7L8hTq0sVfYcRzE1uGnAaB6dJkP4iWoN5v1wtbid";

/// A whole number of days, so that windows begin now.
const START: u64 = 20_000 * 86_400 * 1_000_000_000;

/// A node that counts in memory.
///
/// It is ready and well, owns nothing that it would decide without a future, and nothing fails, until a test says so.
pub struct FakeNode {
    now: AtomicU64,
    /// By namespace, limit and key.
    counts: Mutex<HashMap<[String; 3], Option<Count>>>,
    /// What was counted under a name, by whatever makes it the same.
    named: Mutex<HashSet<String>>,
    made: Mutex<BTreeMap<(Kind, String, String), Content>>,
    /// What another member alone knows.
    elsewhere: Mutex<BTreeMap<(Kind, String, String), Content>>,
    /// How many hits were asked together, each time.
    pub batches: Mutex<Vec<usize>>,
    /// Keys that nobody can decide for, and why; `*` stands for all.
    pub lost: Mutex<Vec<(&'static str, NoDecision)>>,
    /// Whether it decides without a future.
    pub decides_at_once: AtomicBool,
    /// Where refunds wait for each other, if they do.
    pub refunds_meet: Mutex<Option<Arc<Barrier>>>,
    /// Members that confirm no change.
    pub pending: Mutex<Vec<String>>,
    /// How long it has heard of no other member, as it says.
    pub silent: Mutex<Option<Nanos>>,
    /// Other members, and what each tells of what it has decided, if it answers.
    pub others: Mutex<BTreeMap<String, Option<Told>>>,
    /// When set, nothing can be changed.
    pub unchangeable: Mutex<Option<NotChanged>>,
    /// When set, the change after so many others cannot be made, and those after it can.
    pub fails_after: Mutex<Option<usize>>,
    /// What somebody else sets, by its name, before what is called so is changed.
    meanwhile: Mutex<HashMap<String, (String, Content)>>,
    /// Whether it takes hits, as it says.
    pub readiness: Mutex<Readiness>,
    /// Whether what it does for ever still goes on, as it says.
    pub is_well: AtomicBool,
    /// Whether somebody is known to decide.
    pub has_owner: AtomicBool,
    /// Whether its file says where Redis is.
    pub has_redis: AtomicBool,
    /// What comes of reading its file again.
    pub reloaded: Mutex<Result<Vec<String>, NotReloaded>>,
}

impl FakeNode {
    /// A node that has counted nothing.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a test says what it begins with"
    )]
    pub fn new() -> Self {
        Self {
            now: AtomicU64::new(START),
            counts: Mutex::default(),
            named: Mutex::default(),
            made: Mutex::default(),
            elsewhere: Mutex::default(),
            batches: Mutex::default(),
            lost: Mutex::default(),
            decides_at_once: AtomicBool::new(false),
            refunds_meet: Mutex::default(),
            pending: Mutex::default(),
            silent: Mutex::default(),
            others: Mutex::default(),
            unchangeable: Mutex::default(),
            fails_after: Mutex::default(),
            meanwhile: Mutex::default(),
            readiness: Mutex::new(Readiness::Ready),
            is_well: AtomicBool::new(true),
            has_owner: AtomicBool::new(true),
            has_redis: AtomicBool::new(true),
            reloaded: Mutex::new(Err(NotReloaded::NoFile)),
        }
    }

    /// Time passes.
    pub fn advance(&self, span: Nanos) {
        self.now.fetch_add(span.get(), Relaxed);
    }

    /// From now on nobody can decide anything, for this reason. `None`: everything is decided again.
    pub fn fail(&self, reason: impl Into<Option<NoDecision>>) {
        let lost = reason.into().map(|reason| ("*", reason));
        *locked(&self.lost) = lost.into_iter().collect();
    }

    /// A limit that was made at run time.
    pub fn make(&self, name: &str, limit: NamedLimit) {
        let place = place(Kind::Limit, NAMESPACE, name);
        locked(&self.made).insert(place, Content::Limit(limit));
    }

    /// A tenant, and an API key of it that may do this.
    ///
    /// # Panics
    ///
    /// Never: [`TENANT`] and [`API_KEY`] are what they are called.
    pub fn make_tenant(&self, scopes: impl IntoIterator<Item = Scope>) {
        let now = UnixSecs::new(1_790_000_000);
        let tenant = Tenant::new(now, "Acme".parse().expect("a name"));
        let credential = Credential::parse(API_KEY).expect("an API key");
        let key = ApiKey {
            tenant: TENANT.parse().expect("an id"),
            secret: credential.hash(),
            hint: credential.hint(),
            name: Dated::new(now, "edge".into()),
            scopes: scopes.into_iter().collect(),
            made_by: "operator".into(),
            made_at: now,
            expires_at: None,
            revoked_at: None,
            replaces: None,
            replaced_by: None,
            last_used_at: None,
        };
        let mut made = locked(&self.made);
        let id = credential.id().to_string();
        made.insert(
            place(Kind::Tenant, SERVICE, TENANT),
            Content::Tenant(tenant.into()),
        );
        made.insert(
            place(Kind::ApiKey, SERVICE, &id),
            Content::ApiKey(key.into()),
        );
    }

    /// Suspends the tenant of [`Self::make_tenant`].
    ///
    /// # Panics
    ///
    /// Without one.
    pub fn suspend_tenant(&self) {
        let place = place(Kind::Tenant, SERVICE, TENANT);
        let mut made = locked(&self.made);
        let Some(Content::Tenant(tenant)) = made.get(&place) else {
            panic!("there is no tenant");
        };
        let mut tenant = Tenant::clone(tenant);
        tenant.status = Status::Suspended;
        made.insert(place, Content::Tenant(tenant.into()));
    }

    /// Tenants, API keys and people are not known here any more, but to another member.
    pub fn leave_elsewhere(&self) {
        let mut made = locked(&self.made);
        let all = std::mem::take(&mut *made).into_iter();
        let (others, accounts) =
            all.partition(|((kind, ..), _)| matches!(kind, Kind::Limit | Kind::KeyLimit));
        *made = others;
        *locked(&self.elsewhere) = accounts;
    }

    /// Limits and keys that have anything counted, in order.
    #[must_use]
    pub fn counted(&self) -> Vec<(String, String)> {
        let counts = locked(&self.counts);
        let counted = counts.iter().filter(|(_, count)| count.is_some());
        let mut keys: Vec<_> = counted
            .map(|([_, limit, key], _)| (limit.clone(), key.clone()))
            .collect();
        keys.sort();
        keys
    }

    fn made(&self, kind: Kind, namespace: &str, name: &str) -> Option<Content> {
        let place = place(kind, namespace, name);
        locked(&self.made).get(&place).cloned()
    }

    fn names(&self, kind: Kind, namespace: &str, after: Option<&str>, count: usize) -> Vec<String> {
        let made = locked(&self.made);
        let listed = made.iter().filter(|((of, whose, name), content)| {
            let address = Address {
                kind: *of,
                namespace: whose.as_str().into(),
                name: name.as_str().into(),
            };
            let within = content.listed_in(&address);
            *of == kind && within.iter().any(|listed| **listed == *namespace)
        });
        let names = listed.map(|((.., name), _)| name.clone());
        names
            .filter(|name| after.is_none_or(|after| after < name.as_str()))
            .take(count)
            .collect()
    }

    /// Refuses the change whose turn it is to fail.
    fn check_change(&self) -> Result<(), NotChanged> {
        if let Some(error) = *locked(&self.unchangeable) {
            return Err(error);
        }
        let mut fails_after = locked(&self.fails_after);
        let left = fails_after.map(|left| left.checked_sub(1));
        *fails_after = left.flatten();
        match left {
            Some(None) => Err(NotChanged::NoQuorum),
            Some(Some(_)) | None => Ok(()),
        }
    }

    /// When the record `changing` of the service is about to be changed, and was read already, somebody else sets `other`.
    pub fn meanwhile(&self, changing: &str, other: &str, content: Content) {
        let mut meanwhile = locked(&self.meanwhile);
        meanwhile.insert(changing.to_owned(), (other.to_owned(), content));
    }

    fn happen_before(&self, changing: &str, made: &mut BTreeMap<(Kind, String, String), Content>) {
        if let Some((other, content)) = locked(&self.meanwhile).remove(changing) {
            made.insert(place(content.kind(), SERVICE, &other), content);
        }
    }

    fn changed(&self, replaced: bool) -> Changed {
        let pending = locked(&self.pending).clone();
        Changed { replaced, pending }
    }

    fn with_count(
        &self,
        policy: &Policy,
        key: &str,
        change: impl FnOnce(UnixNanos, &mut Option<Count>) -> Taken,
    ) -> Result<Answer, NoDecision> {
        let lost = locked(&self.lost);
        if let Some((_, error)) = lost.iter().find(|(lost, _)| ["*", key].contains(lost)) {
            return Err(*error);
        }
        let now = UnixNanos::new(self.now.load(Relaxed));
        let mut counts = locked(&self.counts);
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

    fn give_back(&self, hit: Hit<'_>) -> Result<Answer, NoDecision> {
        let Hit { policy, key, cost } = hit;
        self.with_count(policy, key, |now, count| {
            policy.limit.refund(now, count, cost)
        })
    }
}

impl Coordinator for FakeNode {
    fn try_hit(&self, hit: Hit<'_>) -> Option<Result<Answer, NoDecision>> {
        self.decides_at_once.load(Relaxed).then(|| self.decide(hit))
    }

    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        asked_elsewhere().await;
        locked(&self.batches).push(1);
        self.decide(Hit { policy, key, cost })
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        asked_elsewhere().await;
        locked(&self.batches).push(hits.len());
        hits.iter().map(|hit| self.decide(*hit)).collect()
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let meet = locked(&self.refunds_meet).clone();
        if let Some(meet) = meet {
            meet.wait().await;
        }
        self.give_back(Hit { policy, key, cost })
    }

    /// A repeat of what was admitted is answered with the state after.
    async fn once(&self, asked: Once<'_>, id: &str) -> Result<Answer, NoDecision> {
        asked_elsewhere().await;
        let (Once::Hit(hit) | Once::Refund(hit)) = asked;
        let (policy, key) = (hit.policy, hit.key);
        let is_refund = matches!(asked, Once::Refund(_));
        let cost = hit.cost.units();
        let name = format!("{} {key} {is_refund} {cost} {id}", policy.name);
        if locked(&self.named).contains(&name) {
            return self.decide(Hit {
                cost: Cost::PEEK,
                ..hit
            });
        }
        let answer = match asked {
            Once::Hit(hit) => self.decide(hit)?,
            Once::Refund(hit) => self.give_back(hit)?,
        };
        if answer.decision.is_allowed() {
            locked(&self.named).insert(name);
        }
        Ok(answer)
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        self.with_count(policy, key, |now, count| policy.limit.reset(now, count))
            .map(drop)
    }
}

impl Node for FakeNode {
    fn cluster(&self) -> ClusterStatus {
        status::cluster()
    }

    fn silent(&self) -> Option<Nanos> {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self) -> Vec<String> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.keys().cloned().collect()
    }

    async fn ask_series(&self, name: &str, _: Asked) -> Option<Told> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.get(name)?.clone()
    }

    fn shards(&self) -> Shards {
        status::shards()
    }

    fn owner_of(&self, _policy: &Policy, _key: &str) -> Option<Ownership> {
        self.has_owner.load(Relaxed).then(status::ownership)
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
        *locked(&self.readiness)
    }

    fn metrics(&self) -> String {
        "weir_hits_total 1\n".into()
    }

    fn record(&self, kind: Kind, namespace: &str, name: &str) -> Option<Content> {
        self.made(kind, namespace, name)
    }

    async fn look_up(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        asked_elsewhere().await;
        let place = place(kind, namespace, name);
        let found = locked(&self.elsewhere).remove(&place);
        found.is_some_and(|content| locked(&self.made).insert(place, content).is_none())
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

    async fn edit<E: From<NotChanged> + Send>(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(Option<&Content>) -> Result<Content, E> + Send,
    ) -> Result<Changed, E> {
        self.check_change()?;
        let place = place(kind, namespace, name);
        let mut made = locked(&self.made);
        self.happen_before(name, &mut made);
        let content = edit(made.get(&place))?;
        let before = made.insert(place, content);
        Ok(self.changed(before.is_some()))
    }

    fn export(&self, after: Option<&str>, count: usize) -> Result<Vec<Exported>, Refusal> {
        let made = locked(&self.made);
        let exported = made.keys().map(|(kind, namespace, name)| Exported {
            place: format!("{}/{namespace}/{name}", kind.name()),
            kind: *kind,
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
            record: name.as_bytes().to_vec(),
        });
        let mut exported: Vec<_> = exported.collect();
        exported.sort_by(|one, other| one.place.cmp(&other.place));
        exported.retain(|record| after.is_none_or(|after| after < record.place.as_str()));
        exported.truncate(count);
        Ok(exported)
    }

    /// Records are names, as [`Self::export`] tells them; new are those of nothing that was made.
    async fn import(&self, records: &[Vec<u8>]) -> Result<Imported, Refusal> {
        let made = locked(&self.made);
        let is_known = |name: &str| made.keys().any(|(.., known)| known == name);
        let mut imported = Imported::default();
        for (number, record) in records.iter().enumerate() {
            let name = std::str::from_utf8(record);
            let name = name.map_err(|_| Refusal::invalid(format!("record {number} is none")))?;
            imported.new += usize::from(!is_known(name));
        }
        Ok(imported)
    }

    async fn remove(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Changed>, NotChanged> {
        self.check_change()?;
        let place = place(kind, namespace, name);
        let mut made = locked(&self.made);
        self.happen_before(name, &mut made);
        let before = made.remove(&place);
        Ok(before.map(|_| self.changed(true)))
    }

    fn may_count_by(&self, strategy: Strategy) -> bool {
        strategy != Strategy::Redis || self.has_redis.load(Relaxed)
    }

    async fn reload(&self) -> Result<Vec<String>, NotReloaded> {
        locked(&self.reloaded).clone()
    }
}

/// As a catalogue has it.
fn place(kind: Kind, namespace: &str, name: &str) -> (Kind, String, String) {
    (kind, kind.namespace(namespace).to_owned(), name.to_owned())
}

/// As if another node were asked: a connection sees what else arrives before there is an answer.
async fn asked_elsewhere() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
