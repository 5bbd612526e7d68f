//! This node as its fronts see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use catalogue::{Changed, Content, Kind, NotChanged};
use cluster::node::Cluster;
use coordinator::{
    Answer, ClusterStatus, Coordinator, Forgotten, Hit, Member, MemberStatus, NoDecision, Once,
    Ownership, Policy, Readiness, Shards, Strategy,
};
use futures_util::future::join_all;
use limiter::{Exported, Imported, NotReloaded, Refusal};
use quota::{Cost, Nanos};
use series::{Asked, Told};

use crate::metrics::Metrics;
use crate::reload::Reloader;
use crate::strategies::Strategies;

/// A node from the moment it listens: first joining, then started, in the end stopping.
///
/// While it joins, hits are answered by their limit's fail mode, at once: nobody can say yet who would decide them.
pub(crate) struct Served {
    /// This node, as it knows itself before it knows the others.
    pub(crate) me: Me,
    pub(crate) metrics: Metrics,
    started: OnceLock<Started>,
    /// What takes another configuration in: as long as somebody holds the node.
    reloader: OnceLock<Weak<Reloader>>,
    stopping: AtomicBool,
    ended: AtomicBool,
}

/// What a node knows of itself before it has joined.
pub(crate) struct Me {
    pub(crate) name: String,
    /// `ADDR:PORT` of its HTTP front.
    pub(crate) http: String,
    /// `ADDR:PORT` that other nodes dial.
    pub(crate) cluster: String,
    /// Whether it owns nothing.
    pub(crate) asks: bool,
    /// Whether it decides with a majority alone.
    pub(crate) needs_quorum: bool,
}

/// What a node has once it has joined.
#[derive(Clone)]
pub(crate) struct Started {
    pub(crate) cluster: Cluster,
    /// Who counts.
    pub(crate) strategies: Strategies,
}

/// Told while the node joins. Joining takes seconds at most.
const JOINING: NoDecision = NoDecision::Unavailable {
    retry_after: Nanos::from_secs(1),
};

impl Served {
    /// A node that is joining.
    pub(crate) fn new(me: Me, metrics: Metrics) -> Self {
        Self {
            me,
            metrics,
            started: OnceLock::new(),
            reloader: OnceLock::new(),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// From now on hits are decided. To be called once.
    pub(crate) fn start(&self, started: Started) {
        let first = self.started.set(started);
        assert!(first.is_ok(), "a node joins once");
    }

    /// What takes another configuration in. To be called once.
    pub(crate) fn reload_by(&self, reloader: &Arc<Reloader>) {
        let _first = self.reloader.set(Arc::downgrade(reloader));
    }

    /// Whether the node was told to stop, or has.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire) || self.has_ended()
    }

    /// From now on the node says that it is not ready. It serves whoever comes all the same.
    pub(crate) fn begin_drain(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// From now on nothing of the node runs, and whoever still asks is told so.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether nothing of the node runs any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Live members, this one counted. Zero before it has joined.
    pub(crate) fn members(&self) -> usize {
        self.joined().map_or(0, Cluster::live_members)
    }

    /// What a page of another version needs, if another member has it.
    pub(crate) async fn look_up_asset(&self, wanted: &dashboard::Wanted) -> Option<Vec<u8>> {
        let cluster = self.joined()?;
        let is_it = |bytes: &[u8]| wanted.is(bytes);
        let found = cluster.look_up_asset(&wanted.path(), is_it).await;
        found.map(|bytes| bytes.to_vec())
    }

    /// What the node has, once it has joined.
    pub(crate) fn started(&self) -> Option<&Started> {
        self.started.get()
    }

    /// Whether this strategy has been started.
    pub(crate) fn runs(&self, strategy: Strategy) -> bool {
        let strategies = self.strategies();
        strategies.is_some_and(|strategies| strategies.runs(strategy))
    }

    fn strategies(&self) -> Option<&Strategies> {
        self.started.get().map(|started| &started.strategies)
    }

    fn joined(&self) -> Option<&Cluster> {
        self.started.get().map(|started| &started.cluster)
    }

    /// The cluster as a node sees it that has met nobody yet.
    fn alone(&self) -> ClusterStatus {
        let Me {
            name,
            http,
            cluster,
            asks,
            needs_quorum,
        } = &self.me;
        ClusterStatus {
            node: name.clone(),
            view: format!("{:016x}", 0),
            members: vec![Member {
                name: name.clone(),
                status: MemberStatus::Alive,
                incarnation: 0,
                shards: 0,
                under_replicated_shards: 0,
                asks: *asks,
                http: http.clone(),
                cluster: cluster.clone(),
                silent: Nanos::ZERO,
            }],
            under_replicated_shards: 0,
            unsettled_shards: 0,
            needs_quorum: *needs_quorum,
            replication_lag: Nanos::ZERO,
            keys: 0,
            no_quorum: None,
            silent_seeds: None,
            raft: None,
            config_differs: None,
            redis: None,
        }
    }
}

impl Coordinator for Served {
    #[inline]
    fn try_hit(&self, hit: Hit<'_>) -> Option<Result<Answer, NoDecision>> {
        match self.strategies() {
            Some(strategies) => strategies.try_hit(hit),
            None => Some(joining(hit.policy, hit.cost)),
        }
    }

    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        match self.strategies() {
            Some(strategies) => strategies.hit(policy, key, cost).await,
            None => joining(policy, cost),
        }
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        match self.strategies() {
            Some(strategies) => strategies.hits(hits).await,
            None => {
                let answers = hits.iter().map(|hit| joining(hit.policy, hit.cost));
                answers.collect()
            }
        }
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let strategies = self.strategies().ok_or(JOINING)?;
        strategies.refund(policy, key, cost).await
    }

    async fn once(&self, asked: Once<'_>, id: &str) -> Result<Answer, NoDecision> {
        match (self.strategies(), asked) {
            (Some(strategies), asked) => strategies.once(asked, id).await,
            (None, Once::Hit(hit)) => joining(hit.policy, hit.cost),
            (None, Once::Refund(_)) => Err(JOINING),
        }
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        let strategies = self.strategies().ok_or(JOINING)?;
        strategies.reset(policy, key).await
    }
}

/// The answer to a hit that comes while the node joins.
fn joining(policy: &Policy, cost: Cost) -> Result<Answer, NoDecision> {
    policy.on_failure.answer(&policy.limit, cost, JOINING)
}

impl limiter::Node for Served {
    fn cluster(&self) -> ClusterStatus {
        let Some(Started {
            cluster,
            strategies,
        }) = self.started.get()
        else {
            return self.alone();
        };
        ClusterStatus {
            raft: strategies.raft_status(),
            redis: strategies.redis_status(),
            ..cluster.status()
        }
    }

    fn forget(&self, name: &str) -> Forgotten {
        let Some(cluster) = self.joined() else {
            return Forgotten::Joining;
        };
        cluster.forget(name)
    }

    fn silent(&self) -> Option<Nanos> {
        self.joined()?.silent()
    }

    fn shards(&self) -> Shards {
        self.joined().map(Cluster::shards).unwrap_or_default()
    }

    fn owner_of(&self, policy: &Policy, key: &str) -> Option<Ownership> {
        self.joined()?.owner_of(policy, key)
    }

    fn is_well(&self) -> bool {
        self.joined().is_none_or(Cluster::is_well)
    }

    fn readiness(&self) -> Readiness {
        if self.stopping.load(Ordering::Acquire) {
            return Readiness::Draining;
        }
        match self.started.get() {
            Some(started) if !started.strategies.have_joined() => Readiness::Joining,
            Some(started)
                if started.cluster.no_quorum().is_some() || !started.strategies.decide() =>
            {
                Readiness::NoQuorum
            }
            Some(_) => Readiness::Ready,
            None => Readiness::Joining,
        }
    }

    fn metrics(&self) -> String {
        if let Some(cluster) = self.joined() {
            self.metrics.scope(|| cluster.measure());
        }
        self.metrics.text()
    }

    fn record(&self, kind: Kind, namespace: &str, name: &str) -> Option<Content> {
        self.joined()?.record(kind, namespace, name)
    }

    async fn look_up(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        let Some(cluster) = self.joined() else {
            return false;
        };
        cluster.look_up_record(kind, namespace, name).await
    }

    fn records(
        &self,
        kind: Kind,
        namespace: &str,
        after: Option<&str>,
        count: usize,
    ) -> Vec<(Arc<str>, Content)> {
        let cluster = self.joined();
        cluster.map_or_else(Vec::new, |it| it.records(kind, namespace, after, count))
    }

    fn count_records(&self, kind: Kind, namespace: &str) -> usize {
        let cluster = self.joined();
        cluster.map_or(0, |it| it.count_records(kind, namespace))
    }

    async fn edit<E: From<NotChanged> + Send>(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(Option<&Content>) -> Result<Content, E> + Send,
    ) -> Result<Changed, E> {
        let cluster = self.joined().ok_or(NotChanged::Joining)?;
        cluster.edit_record(kind, namespace, name, edit).await
    }

    fn export(&self, after: Option<&str>, count: usize) -> Result<Vec<Exported>, Refusal> {
        let cluster = self.joined().ok_or_else(Refusal::joining)?;
        let place = |text: &str| {
            let place = text.parse();
            place.map_err(|_| Refusal::field("after", text, "the `next` of the page before"))
        };
        let records = cluster.export_records(after.map(place).transpose()?, count);
        let exported = records
            .into_iter()
            .map(|(place, address, record)| Exported {
                place: place.to_string(),
                kind: address.kind,
                namespace: address.namespace,
                name: address.name,
                record: record.to_vec(),
            });
        Ok(exported.collect())
    }

    async fn import(&self, records: &[Vec<u8>]) -> Result<Imported, Refusal> {
        let cluster = self.joined().ok_or_else(Refusal::joining)?;
        let read = |(number, bytes): (usize, &Vec<u8>)| {
            let record = cluster::wire::decode_record(bytes);
            record.map_err(|error| not_read(number, &error))
        };
        let records: Vec<_> = records
            .iter()
            .enumerate()
            .map(read)
            .collect::<Result<_, _>>()?;
        let imports = records.into_iter();
        let imports = imports.map(|(address, record)| cluster.import_record(address, record));
        imported(join_all(imports).await)
    }

    async fn remove(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Changed>, NotChanged> {
        let cluster = self.joined().ok_or(NotChanged::Joining)?;
        cluster.remove_record(kind, namespace, name).await
    }

    fn may_count_by(&self, strategy: Strategy) -> bool {
        let strategies = self.strategies();
        strategies.is_none_or(|strategies| strategies.may_run(strategy))
    }

    fn others(&self) -> Vec<String> {
        self.joined().map_or_else(Vec::new, Cluster::others)
    }

    async fn ask_series(&self, name: &str, asked: Asked) -> Option<Told> {
        self.joined()?.ask_series(name, &asked).await
    }

    async fn reload(&self) -> Result<Vec<String>, NotReloaded> {
        let reloader = self.reloader.get().and_then(Weak::upgrade);
        let reloader = reloader.ok_or(NotReloaded::Stopping)?;
        reloader.read_again().await
    }
}

/// What became of records that were taken in together, by what became of each.
fn imported(became: Vec<Result<Option<Changed>, NotChanged>>) -> Result<Imported, Refusal> {
    let count = became.len();
    let mut imported = Imported::default();
    let mut refused = None;
    let mut taken = 0;
    for (number, changed) in became.into_iter().enumerate() {
        match changed {
            Ok(changed) => {
                taken += 1;
                imported.new += usize::from(changed.is_some());
                let pending = changed.map(|changed| changed.pending);
                imported.pending.extend(pending.into_iter().flatten());
            }
            Err(error) => refused = refused.or(Some((number, error))),
        }
    }
    imported.pending.sort();
    imported.pending.dedup();
    match refused {
        None => Ok(imported),
        Some((number, error)) => Err(not_taken_in(number, error, taken, count)),
    }
}

/// Each record is taken in for itself.
fn not_taken_in(number: usize, error: NotChanged, taken: usize, count: usize) -> Refusal {
    let others = match taken {
        0 => "none was".to_owned(),
        _ => format!("{taken} of {count} were, and stay; asking again is safe"),
    };
    Refusal::from(error)
        .told(format!(
            "record {number} was not taken in: {error}; {others}"
        ))
        .at(format!("records[{number}]"))
}

/// What cannot be read may be of a later version.
fn not_read(number: usize, error: &cluster::wire::WireError) -> Refusal {
    let detail = format!("record {number} cannot be read: {error}; nothing was taken in");
    Refusal::new(limiter::Kind::InvalidRequest, detail)
        .at(format!("records[{number}]"))
        .with_accepted("what this version or an earlier one has exported")
}

#[cfg(test)]
mod tests {
    use catalogue::ChangeError;
    use limiter::Kind;

    use super::*;

    fn taken_in(pending: &[&str]) -> Result<Option<Changed>, NotChanged> {
        Ok(Some(Changed {
            replaced: false,
            pending: pending.iter().map(|&name| name.into()).collect(),
        }))
    }

    #[test]
    fn an_import_tells_what_was_new_and_who_has_not_confirmed_any_of_it() {
        let became = vec![
            taken_in(&["oskar3"]),
            Ok(None),
            taken_in(&["oskar2", "oskar3"]),
        ];
        let told = imported(became).unwrap();
        assert_eq!(told.new, 2);
        assert_eq!(told.pending, ["oskar2", "oskar3"]);
    }

    /// It was told as one of which nothing was changed.
    #[test]
    fn an_import_that_fails_half_way_says_what_was_taken_in() {
        let full = || Err(NotChanged::NoRoom(ChangeError::Full));
        let refusal = imported(vec![taken_in(&[]), full(), Ok(None), full()]).unwrap_err();
        assert_eq!(refusal.kind(), Kind::Overloaded);
        assert_eq!(refusal.at_field(), Some("records[1]"));
        assert_eq!(
            refusal.detail(),
            "record 1 was not taken in: the catalogue has 2000000 records, as many as it takes; 2 of 4 were, and stay; \
             asking again is safe"
        );
        let ahead = NotChanged::NoRoom(ChangeError::Ahead);
        let refusal = imported(vec![Err(ahead)]).unwrap_err();
        assert_eq!(refusal.kind(), Kind::InvalidRequest);
        assert_eq!(
            refusal.detail(),
            "record 0 was not taken in: it was written more than 24 h after what this node's clock shows; none was"
        );
    }
}
