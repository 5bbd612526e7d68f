//! What every front asks.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use accounts::ApiKeyId;
use arc_swap::ArcSwap;
use coordinator::{Answer, Hit, NoDecision, Once, Policy};
use quota::{Cost, Verdict};
use traces::Tracer;

use crate::by_limit::{ByLimit, OfLimit, Told};
use crate::meter::Meters;
use crate::rule::Rules;
use crate::run_time::Made;
use crate::service::{Live, Seen, Tenancy, Tenants};
use crate::traced;
use crate::{
    BrowserId, Front, HitName, Key, Node, Recorder, Refusal, Requests, Rule, Selected, Who,
};

/// The namespace of the file's limits, and of what operators make. Tenants have others: their ids.
pub const NAMESPACE: &str = "default";

/// Finds limits, asks the node behind it, and says what may be told. One for each front; cheap to clone.
///
/// A hit is asked in one of four ways. [`check`](Self::check) refuses a cost above the burst without asking anybody;
/// [`hit`](Self::hit) asks all the same, for protocols that answer such a hit with the state of the key.
/// [`hits`](Self::hits) asks many at once, and they stay one batch down to the shard and over the wire.
/// [`try_hit`](Self::try_hit) answers without a future, if this node decides at once.
pub struct Limiter<N> {
    pub(crate) shared: Arc<Shared<N>>,
    front: Front,
    meters: Arc<Meters>,
    /// Which API key asks. `None`: nobody does by one.
    by: Option<ApiKeyId>,
}

pub(crate) struct Shared<N> {
    node: Arc<N>,
    /// Of rules given inline, and of what is made at run time.
    namespace: Arc<str>,
    /// Those of the file.
    limits: ArcSwap<OfFile>,
    /// Those among them that the file calls `token_bucket`, by which the algorithm is known, too.
    token_buckets: ArcSwap<HashSet<Arc<str>>>,
    /// Whether they are others than those that the node was started with.
    have_changed: AtomicBool,
    rules: Rules,
    made: Made,
    /// Empty: nobody wants to know.
    by_limit: OnceLock<ByLimit>,
    /// Empty: no request is recorded.
    tracer: OnceLock<Tracer>,
    /// Whose namespace it is. `None`: the file's.
    pub(crate) tenancy: Option<Tenancy>,
    /// Those that were served. Empty for that of a tenant.
    pub(crate) tenants: Tenants<N>,
    /// What tenants see of it.
    live: Arc<Live>,
    /// Sessions that were used. Empty for that of a tenant.
    pub(crate) seen: Seen,
}

impl<N> Shared<N> {
    fn new(node: Arc<N>, namespace: Arc<str>, limits: OfFile, tenancy: Option<Tenancy>) -> Self {
        Self {
            node,
            limits: ArcSwap::from_pointee(limits),
            token_buckets: ArcSwap::default(),
            have_changed: AtomicBool::new(false),
            by_limit: OnceLock::new(),
            tracer: OnceLock::new(),
            rules: Rules::new(Arc::clone(&namespace)),
            made: Made::new(Arc::clone(&namespace)),
            namespace,
            tenancy,
            tenants: Tenants::default(),
            live: Arc::default(),
            seen: Seen::default(),
        }
    }

    pub(crate) const fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }

    /// The same node for a tenant, of whose limits none is the file's.
    pub(crate) fn of_tenant(&self, tenancy: Tenancy) -> Self {
        let namespace = tenancy.id.to_string().into();
        let node = Arc::clone(&self.node);
        Self {
            tracer: self.tracer.clone(),
            live: Arc::clone(&self.live),
            ..Self::new(node, namespace, OfFile::new(), Some(tenancy))
        }
    }
}

type OfFile = HashMap<Arc<str>, Selected>;

impl<N> Clone for Limiter<N> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            front: self.front,
            meters: Arc::clone(&self.meters),
            by: self.by,
        }
    }
}

/// How the visit of a browser was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visit {
    /// What to tell.
    pub answer: Answer,
    /// The id that a browser without one is given: to be set as a cookie.
    pub gives: Option<BrowserId>,
}

impl<N> Limiter<N> {
    /// The limiter of `front`, with the limits that the file defines. Rules given inline, and what is made at run time,
    /// count in `namespace`.
    pub fn new(
        node: Arc<N>,
        namespace: Arc<str>,
        limits: impl IntoIterator<Item = Policy>,
        front: Front,
    ) -> Self {
        let limits: OfFile = limits.into_iter().map(by_name).collect();
        Self {
            shared: Arc::new(Shared::new(node, namespace, limits, None)),
            front,
            meters: Arc::new(Meters::new(front, None)),
            by: None,
        }
    }

    /// The same limiter for another front.
    #[must_use]
    pub fn of(&self, front: Front) -> Self {
        let tracer = self.shared.tracer.get().cloned();
        Self {
            shared: Arc::clone(&self.shared),
            front,
            meters: Arc::new(Meters::new(front, tracer)),
            by: self.by,
        }
    }

    /// The same front in another namespace.
    pub(crate) fn with(&self, shared: Arc<Shared<N>>) -> Self {
        Self {
            shared,
            front: self.front,
            meters: Arc::clone(&self.meters),
            by: self.by,
        }
    }

    /// The same limiter, for whoever asks by this API key.
    pub(crate) fn for_key(self, id: ApiKeyId) -> Self {
        Self {
            by: Some(id),
            ..self
        }
    }

    /// Which API key asks.
    pub(crate) const fn by(&self) -> Option<ApiKeyId> {
        self.by
    }

    /// Of rules given inline, and of what is made at run time: that of the file, or the id of a tenant.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.shared.namespace
    }

    /// Whether it is of a tenant, and not of the file.
    #[must_use]
    pub fn is_of_tenant(&self) -> bool {
        self.tenancy().is_some()
    }

    pub(crate) fn tenancy(&self) -> Option<&Tenancy> {
        self.shared.tenancy.as_ref()
    }

    /// What tenants see of what is decided on this node.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.shared.live
    }

    /// The node behind it.
    #[must_use]
    pub fn node(&self) -> &N {
        &self.shared.node
    }

    pub(crate) fn made(&self) -> &Made {
        &self.shared.made
    }

    /// The limit that the file defines under `name`. A front that answers clients wants [`find`](Self::find).
    ///
    /// # Errors
    ///
    /// [`Kind::UnknownLimit`](crate::Kind::UnknownLimit) if it defines none.
    #[inline]
    pub fn named(&self, name: &str) -> Result<Selected, Refusal> {
        self.of_file(name)
            .ok_or_else(|| Refusal::unknown_limit(name))
    }

    /// As [`named`](Self::named), where a limit that is not the file's is no refusal: that costs a box and a string.
    #[inline]
    pub(crate) fn of_file(&self, name: &str) -> Option<Selected> {
        self.shared.limits.load().get(name).cloned()
    }

    /// The limits that the file defines, by name.
    #[must_use]
    pub fn limits(&self) -> Vec<Selected> {
        let mut limits: Vec<_> = self.shared.limits.load().values().cloned().collect();
        limits.sort_by(|a, b| a.name().cmp(b.name()));
        limits
    }

    /// From now on the file defines these limits. All fronts find them at once; what was asked before is answered by the
    /// limit that was found then. What was counted stays counted, in units.
    pub fn replace_limits(&self, limits: impl IntoIterator<Item = Policy>) {
        let before = self.shared.limits.load();
        let limits = limits
            .into_iter()
            .map(|policy| match before.get(&policy.name) {
                // What was put together for it is still good.
                Some(known) if *known.policy() == policy => {
                    (Arc::clone(&policy.name), known.clone())
                }
                _ => by_name(policy),
            });
        let limits: OfFile = limits.collect();
        if let Some(by_limit) = self.shared.by_limit.get() {
            by_limit.give_own(limits.keys().cloned());
        }
        self.shared.limits.store(Arc::new(limits));
        self.shared.have_changed.store(true, Ordering::Release);
    }

    /// From now on what fronts are told of each limit is counted there, of as many limits as a dashboard has room for. Limits of
    /// tenants are not: there is no bound to how many there are.
    pub fn count_by_limit(&self, recorder: Recorder) {
        let of_file = self.shared.limits.load();
        let make = || ByLimit::new(recorder, of_file.keys().cloned());
        self.shared.by_limit.get_or_init(make);
    }

    /// Requests are recorded by `tracer`: those of limiters that are made [of](Self::of) this one from now on. The first one stays.
    pub fn trace_by(&self, tracer: Tracer) {
        let _first = self.shared.tracer.set(tracer);
    }

    /// The requests of this front.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        self.meters.requests()
    }

    /// The file calls the algorithm of these limits `token_bucket`, and that of no others.
    pub fn call_token_buckets(&self, names: HashSet<Arc<str>>) {
        self.shared.token_buckets.store(Arc::new(names));
    }

    /// Whether the file calls the algorithm of its limit `name` so.
    #[must_use]
    pub fn is_called_token_bucket(&self, name: &str) -> bool {
        self.shared.token_buckets.load().contains(name)
    }

    /// What the file says now of a limit that was found before. One that it does not define any more stays as it was found.
    #[inline]
    #[must_use]
    pub fn as_of_now<'s>(&self, found: &'s Selected) -> Cow<'s, Selected> {
        if !self.shared.have_changed.load(Ordering::Acquire) {
            return Cow::Borrowed(found);
        }
        let now = self.of_file(&found.policy().name);
        now.map_or(Cow::Borrowed(found), Cow::Owned)
    }

    /// A limit that is given inline. The same rule has the same counters, whoever gives it.
    #[must_use]
    pub fn inline(&self, rule: Rule) -> Selected {
        self.shared.rules.select(rule)
    }
}

fn by_name(policy: Policy) -> (Arc<str>, Selected) {
    (Arc::clone(&policy.name), Selected::named(policy))
}

impl<N: Node> Limiter<N> {
    /// Decides one hit at once, if this node can: no future, no waiting. `None`: it was not counted, and
    /// [`hit`](Self::hit) has to decide it.
    ///
    /// # Errors
    ///
    /// As [`hit`](Self::hit).
    #[inline]
    pub fn try_hit(
        &self,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
    ) -> Option<Result<Answer, Refusal>> {
        if self.shared.tenancy.is_some() {
            // Two counts are asked, one after the other.
            return None;
        }
        let told = self.shared.node.try_hit(selected.hit(key, cost))?;
        Some(self.told(selected, told))
    }

    /// Decides one hit, and counts it if it passes. A cost of 0 peeks. What never conforms is answered as such, with the
    /// state of the key.
    ///
    /// # Errors
    ///
    /// When nobody could decide and the limit fails closed.
    #[inline]
    pub async fn hit(
        &self,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
    ) -> Result<Answer, Refusal> {
        if let Some(tenancy) = self.tenancy() {
            return self.metered_hit(tenancy, selected, key, cost).await;
        }
        self.decide(selected, key, cost).await
    }

    #[inline]
    pub(crate) async fn decide(
        &self,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
    ) -> Result<Answer, Refusal> {
        let policy = selected.policy();
        let told = self.shared.node.hit(policy, key.as_str(), cost).await;
        self.told(selected, told)
    }

    /// Decides one hit, and counts it if it passes: the answer allows or denies. A cost of 0 peeks.
    ///
    /// # Errors
    ///
    /// [`Kind::NeverConforms`](crate::Kind::NeverConforms) for a cost above the burst; and when nobody could decide and the limit fails closed.
    #[inline]
    pub async fn check(
        &self,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
    ) -> Result<Answer, Refusal> {
        selected.check_cost(cost)?;
        let answer = self.hit(selected, key, cost).await?;
        conforming(selected, cost, answer)
    }

    /// As [`check`](Self::check), of a hit that its client may ask again by this name, also another node: it counts once. A
    /// peek counts nothing, whatever it is called.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check); and [`Kind::InvalidRequest`](crate::Kind::InvalidRequest) for a limit whose strategy would
    /// count it again.
    pub async fn check_once(
        &self,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
        name: &HitName<'_>,
    ) -> Result<Answer, Refusal> {
        if cost == Cost::PEEK {
            return self.check(selected, key, cost).await;
        }
        name.check(selected.policy())?;
        selected.check_cost(cost)?;
        let answer = match self.tenancy() {
            Some(tenancy) => {
                self.metered_once(tenancy, selected, key, cost, name)
                    .await?
            }
            None => self.decide_once(selected, key, cost, name).await?,
        };
        conforming(selected, cost, answer)
    }

    pub(crate) async fn decide_once(
        &self,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
        name: &HitName<'_>,
    ) -> Result<Answer, Refusal> {
        let hit = Once::Hit(selected.hit(key, cost));
        let told = self.shared.node.once(hit, name.as_str()).await;
        self.told(selected, told)
    }

    /// Decides many hits, each for itself: those of one counter in their order. The answers come in the order of the
    /// hits. Each is as of [`hit`](Self::hit).
    pub async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, Refusal>> {
        match self.tenancy() {
            Some(tenancy) => self.metered_hits(tenancy, hits).await,
            None => self.decide_all(hits).await,
        }
    }

    /// As [`hits`](Self::hits), where the day of a tenant has room for all that are admitted, or none is counted.
    ///
    /// # Errors
    ///
    /// [`Kind::QuotaExceeded`](crate::Kind::QuotaExceeded).
    pub async fn hits_together(
        &self,
        hits: &[Hit<'_>],
    ) -> Result<Vec<Result<Answer, Refusal>>, Refusal> {
        match self.tenancy() {
            Some(tenancy) => self.metered_together(tenancy, hits).await,
            None => Ok(self.decide_all(hits).await),
        }
    }

    pub(crate) async fn decide_all(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, Refusal>> {
        let told = self.shared.node.hits(hits).await;
        // Most hits of a batch are on one limit.
        let mut last: Option<(&Policy, Arc<OfLimit>)> = None;
        let told = hits.iter().zip(told).map(|(hit, told)| {
            let policy = hit.policy;
            if let Some(by_limit) = self.shared.by_limit.get() {
                if last
                    .as_ref()
                    .is_none_or(|(known, _)| !std::ptr::eq(*known, policy))
                {
                    last = by_limit.own(&policy.name).map(|own| (policy, own));
                }
                let own = last.as_ref().map(|(_, own)| &**own);
                self.count_by(by_limit, own, policy, &told);
            }
            self.told_of(policy, told)
        });
        told.collect()
    }

    /// Gives back up to `cost` units, and tells the state after. Never below empty.
    ///
    /// # Errors
    ///
    /// When nobody could be reached. A fail mode does not apply.
    pub async fn refund(
        &self,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
    ) -> Result<Answer, Refusal> {
        let node = &self.shared.node;
        let told = node.refund(selected.policy(), key.as_str(), cost).await;
        told.map_err(|error| self.refused(&selected.policy().name, error))
    }

    /// As [`refund`](Self::refund), of one that its client may ask again by this name, also another node: its units are given
    /// back once.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund); and [`Kind::InvalidRequest`](crate::Kind::InvalidRequest) for a limit whose strategy
    /// would give them back again.
    pub async fn refund_once(
        &self,
        selected: &Selected,
        key: &Key<'_>,
        cost: Cost,
        name: &HitName<'_>,
    ) -> Result<Answer, Refusal> {
        let policy = selected.policy();
        name.check(policy)?;
        let refund = Once::Refund(selected.hit(key, cost));
        let told = self.shared.node.once(refund, name.as_str()).await;
        told.map_err(|error| self.refused(&policy.name, error))
    }

    /// Makes the key full. Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// When nobody could be reached. A fail mode does not apply.
    pub async fn reset(&self, selected: &Selected, key: &Key<'_>) -> Result<(), Refusal> {
        let node = &self.shared.node;
        let told = node.reset(selected.policy(), key.as_str()).await;
        told.map_err(|error| self.refused(&selected.policy().name, error))
    }

    /// Counts the visit of somebody who was identified, as [`check`](Self::check) does.
    ///
    /// A browser without a valid cookie is counted by where it comes from, and gets an id that begins as spent as that:
    /// a cookie is no way to be let in again, not even the cookie that comes with a denial. It is given none where that
    /// could not be counted.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn visit(
        &self,
        selected: &Selected,
        who: &Who,
        cost: Cost,
    ) -> Result<Visit, Refusal> {
        let answer = self.check(selected, who.key(), cost).await?;
        let mut gives = None;
        if let Who::NewBrowser { id, .. } = who
            && cost != Cost::PEEK
            && !answer.by_fail_mode
        {
            let burst = selected.policy().limit.burst();
            let spent = burst.saturating_sub(answer.decision.remaining).max(1);
            let (policy, key) = (selected.policy(), id.key());
            // Not told to anybody: the front is told of one hit.
            let counted = self
                .node()
                .hit(policy, key.as_str(), Cost::new(spent))
                .await;
            gives = counted.is_ok().then(|| id.clone());
        }
        Ok(Visit { answer, gives })
    }

    /// Counts what the front is told of one hit.
    #[inline]
    fn told(
        &self,
        selected: &Selected,
        told: Result<Answer, NoDecision>,
    ) -> Result<Answer, Refusal> {
        let policy = selected.policy();
        if let Some(by_limit) = self.shared.by_limit.get() {
            let own = selected.of_limit(|| by_limit.own(&policy.name));
            self.count_by(by_limit, own, policy, &told);
        }
        self.told_of(policy, told)
    }

    /// `own`: what is counted of the limit, if it has series of its own.
    #[inline]
    fn count_by(
        &self,
        by_limit: &ByLimit,
        own: Option<&OfLimit>,
        policy: &Policy,
        told: &Result<Answer, NoDecision>,
    ) {
        let told = Told {
            front: self.front,
            strategy: policy.strategy,
            told,
        };
        match own {
            Some(own) => by_limit.count(own, told),
            None => by_limit.count_other(&policy.name, told),
        }
    }

    #[inline]
    fn told_of(
        &self,
        policy: &Policy,
        told: Result<Answer, NoDecision>,
    ) -> Result<Answer, Refusal> {
        self.meters.count(policy.strategy, &told);
        if self.shared.tracer.get().is_some() {
            // Tenants have no limits of the file.
            let is_of_file = || self.shared.limits.load().contains_key(&policy.name);
            traced::note(policy, is_of_file, &told);
        }
        told.map_err(|error| self.refused(&policy.name, error))
    }

    /// What a client may know of an error, and a line in the log that says where it came up.
    #[cold]
    fn refused(&self, limit: &str, error: NoDecision) -> Refusal {
        tracing::debug!(front = self.front.name(), limit, %error, "no decision");
        error.into()
    }
}

/// What an owner may say of a hit whose cost conforms here.
fn conforming(selected: &Selected, cost: Cost, answer: Answer) -> Result<Answer, Refusal> {
    match answer.decision.verdict {
        // By an owner that knows another burst: this node's file is not the same.
        Verdict::NeverConforms => Err(Refusal::never_conforms(selected.policy(), cost)),
        Verdict::Allow | Verdict::Deny { .. } => Ok(answer),
    }
}
