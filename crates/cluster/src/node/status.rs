//! What an operator may ask a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use coordinator::{
    ClusterStatus, ConfigDiffers, Definition, Forgotten, Member, MemberStatus, Ownership, Policy,
    Shards,
};
use delta_crdt::ReplicaId;
use membership::{Status as Liveness, View};
use quota::Nanos;
use shard::{Record, Role, ShardId};

use super::Cluster;
use super::WAITING_MAX;
use super::keys;
use super::slots::SHARDS;

impl Cluster {
    /// What this node sees, but for the groups of the other strategies. Looks at every shard: for people and scripts, not for
    /// the path of a hit.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        let now = self.inner.clock.now().boot;
        let world = self.inner.slots.world.load_full();
        let takers = world.view.members().iter().filter(|seen| seen.takes_shards);
        let live = takers.count();
        let configured = self.inner.config.shards.replicas;
        let possible = configured.min(live.saturating_sub(1));
        let mut owned: BTreeMap<u32, u32> = BTreeMap::new();
        let mut short_of: BTreeMap<u32, u32> = BTreeMap::new();
        let (mut short, mut unsettled) = (0_u32, 0_u32);
        let (mut lag, mut keys) = (Nanos::ZERO, 0);
        for shard in (0..SHARDS).map(ShardId) {
            let seen = self.inner.slots.read(shard, |shard| {
                keys += shard.cells().len();
                lag = lag.max(shard.lag(now));
                let (owner, copies) = living(&world.view, shard.record()?);
                let owner = owner?;
                // An owner is sure of its copies only when it has opened, and they have confirmed.
                let lacks = |wanted, members| {
                    copies < wanted
                        || shard.role() == Role::Claiming
                        || shard.is_under_replicated(members)
                };
                Some((owner, lacks(configured, usize::MAX), lacks(possible, live)))
            });
            let (is_short, is_unsettled) = match seen.flatten() {
                Some((owner, is_short, is_unsettled)) => {
                    *owned.entry(owner.0).or_default() += 1;
                    *short_of.entry(owner.0).or_default() += u32::from(is_short);
                    (is_short, is_unsettled)
                }
                None => (true, true),
            };
            short += u32::from(is_short);
            unsettled += u32::from(is_unsettled);
        }
        let asking = self.asking();
        let members = self.with_membership(|membership, now| {
            let status = |member: &membership::Member| Member {
                name: member.name.clone(),
                status: believed(
                    membership.status(member.replica),
                    asking.contains(&member.replica),
                ),
                incarnation: member.incarnation,
                shards: owned.get(&member.replica.0).copied().unwrap_or_default(),
                under_replicated_shards: short_of
                    .get(&member.replica.0)
                    .copied()
                    .unwrap_or_default(),
                asks: asking.contains(&member.replica),
                http: member.contact.http.clone(),
                cluster: member.contact.cluster.clone(),
                silent: now - membership.silent_since(member.replica).unwrap_or(now),
            };
            let roster = membership.roster().iter();
            roster
                .filter(|member| member.belongs())
                .map(status)
                .collect()
        });
        ClusterStatus {
            node: self.inner.config.name.clone(),
            view: format!("{:016x}", world.view.digest()),
            members: members.unwrap_or_default(),
            under_replicated_shards: short,
            unsettled_shards: unsettled,
            needs_quorum: self.inner.slots.needs_majority(),
            replication_lag: lag,
            keys,
            no_quorum: self.no_quorum(),
            silent_seeds: self.silent_seeds(),
            config_differs: self.config_differs(),
            raft: None,
            redis: None,
        }
    }

    /// All shards as this node sees them. Looks at each, as [`status`](Self::status) does.
    #[must_use]
    pub fn shards(&self) -> Shards {
        let world = self.inner.slots.world.load_full();
        let mut shards = Shards::default();
        let mut numbers: BTreeMap<ReplicaId, u16> = BTreeMap::new();
        for shard in (0..SHARDS).map(ShardId) {
            let seen = self.inner.slots.read(shard, |shard| {
                let record = shard.record()?;
                let (owner, copies) = living(&world.view, record);
                Some((owner, u64::from(record.term.number), copies))
            });
            let (owner, term, copies) = seen.flatten().unwrap_or_default();
            shards.owners.push(owner.map(|owner| {
                let next = u16::try_from(numbers.len()).expect("fewer members than shards");
                *numbers.entry(owner).or_insert(next)
            }));
            shards.terms.push(term);
            shards.copies.push(u8::try_from(copies).unwrap_or(u8::MAX));
        }
        shards.members = vec![String::new(); numbers.len()];
        for (owner, number) in numbers {
            shards.members[usize::from(number)] = self.name_of(owner);
        }
        shards
    }

    /// Those of the members in touch that own and hold nothing.
    pub(super) fn asking(&self) -> BTreeSet<ReplicaId> {
        let peers = self.inner.transport.peers();
        let peers = peers.into_iter().filter(|peer| peer.asks);
        let me = self.inner.config.asks.then_some(self.inner.me);
        peers.map(|peer| peer.replica).chain(me).collect()
    }

    /// Brings the gauges up to date, for whoever reads the metrics next.
    pub fn measure(&self) {
        use metrics::gauge;
        let status = self.status();
        let me = status
            .members
            .iter()
            .find(|member| member.name == status.node);
        self.measure_catalogue();
        self.measure_differing(status.config_differs.as_ref());
        gauge!("weir_keys").set(status.keys as f64);
        gauge!("weir_key_bytes").set(self.key_bytes() as f64);
        gauge!("weir_no_quorum").set(f64::from(status.no_quorum.is_some()));
        gauge!("weir_members").set(self.live_members() as f64);
        gauge!("weir_shards_owned").set(me.map_or(0, |me| me.shards) as f64);
        gauge!("weir_under_replicated_shards").set(status.under_replicated_shards as f64);
        gauge!("weir_unsettled_shards").set(status.unsettled_shards as f64);
        gauge!("weir_replication_lag_seconds")
            .set(std::time::Duration::from(status.replication_lag).as_secs_f64());
        gauge!("weir_replica_staleness_seconds").set(self.staleness().as_secs_f64());
        gauge!("weir_forward_queue_hits").set(self.inner.forwarder.depth() as f64);
        gauge!("weir_waiting_hits")
            .set((WAITING_MAX - self.inner.waiting.available_permits()) as f64);
    }

    /// In how much files differ, and a series for each of the first that do, which says 0 once they agree.
    fn measure_differing(&self, differs: Option<&ConfigDiffers>) {
        let differing: Vec<_> = differs.into_iter().flat_map(differing).collect();
        metrics::gauge!("weir_config_differs").set(differing.len() as f64);
        let now = differing.into_iter().take(DIFFERING_TOLD).collect();
        let told = self.inner.differing.lock();
        let mut told = told.expect("nothing panics under this lock");
        let before = std::mem::replace(&mut *told, now);
        for series in before.union(&told) {
            let [section, name, nodes] = series.clone();
            metrics::gauge!("weir_config_differs_in", "section" => section, "name" => name, "nodes" => nodes)
                .set(f64::from(told.contains(series)));
        }
    }

    /// The age of the oldest write that this node's copies may lack: of all owners whose shards it has copies of, what
    /// the owner said last and the time since. An idle owner says so ten times a second; a silent one grows stale.
    fn staleness(&self) -> std::time::Duration {
        let me = self.inner.me;
        let copied = |shard| {
            self.inner
                .slots
                .read(ShardId(shard), |shard| {
                    let record = shard.record().filter(|record| record.held_by(me))?;
                    Some(record.owner()).filter(|&owner| owner != me)
                })
                .flatten()
        };
        let owners: BTreeSet<_> = (0..SHARDS).filter_map(copied).collect();
        let stalest = self.with_membership(|membership, now| {
            let ages = owners
                .into_iter()
                .map(|owner| membership.staleness(now, owner));
            ages.flatten().max()
        });
        stalest.flatten().unwrap_or_default().into()
    }

    /// Bytes that the counts of this node's shards take.
    fn key_bytes(&self) -> usize {
        let bytes = |shard| {
            self.inner
                .slots
                .read(ShardId(shard), |shard| shard.cells().bytes())
        };
        (0..SHARDS).filter_map(bytes).sum()
    }

    /// Live members, this node included.
    #[must_use]
    pub fn live_members(&self) -> usize {
        self.inner.slots.world.load().view.members().len().max(1)
    }

    /// Whether this node hands its shards off.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Who decides for a key. `None`: nobody, as far as is known here.
    #[must_use]
    pub fn owner_of(&self, policy: &Policy, key: &str) -> Option<Ownership> {
        let key = keys::hash(&self.inner.keys, policy, key);
        let shard = key.shard(SHARDS);
        let record = self
            .inner
            .slots
            .read(ShardId(shard), |shard| shard.record().cloned())
            .flatten()?;
        let name = |replica| {
            self.with_membership(|membership, _| {
                membership
                    .roster()
                    .by_replica(replica)
                    .map(|member| member.name.clone())
            })
            .flatten()
        };
        let owner = name(record.owner())?;
        let replicas = record.replicas().filter_map(name).collect();
        Some(Ownership {
            shard,
            term: u64::from(record.term.number),
            owner,
            replicas,
        })
    }

    /// Declares a dead member gone for good.
    #[must_use]
    pub fn forget(&self, name: &str) -> Forgotten {
        let forgotten = self.with_membership(|membership, now| {
            let member = membership.roster().get(name);
            match member.is_some_and(membership::Member::belongs) {
                false => Forgotten::Unknown,
                true if membership.on_forget(now, name) => Forgotten::Done,
                true => Forgotten::Alive,
            }
        });
        forgotten.unwrap_or(Forgotten::Unknown)
    }
}

/// Differences that have a series of their own.
const DIFFERING_TOLD: usize = 20;

/// Where files differ, in what, and whose: `[[limit]]`, `login`, `oskar, oskar2`.
pub(super) type Differing = [String; 3];

fn differing(differs: &ConfigDiffers) -> Vec<Differing> {
    // In one order, whoever says what: each other one would be another series.
    let nodes = |definitions: &[Definition]| {
        let nodes = definitions.iter().flat_map(|says| &says.nodes);
        let mut nodes: Vec<&str> = nodes.map(String::as_str).collect();
        nodes.sort_unstable();
        nodes.join(", ")
    };
    let limits = differs.limits.iter().map(|it| {
        [
            "[[limit]]".to_owned(),
            it.limit.clone(),
            nodes(&it.definitions),
        ]
    });
    let entries = differs
        .entries
        .iter()
        .map(|it| [it.section.clone(), it.name.clone(), nodes(&it.definitions)]);
    limits.chain(entries).collect()
}

/// Of whom a record names, those who live: its owner, and how many of its replicas.
fn living(view: &View, record: &Record) -> (Option<ReplicaId>, usize) {
    let is_live = |replica: &ReplicaId| view.contains(*replica);
    let owner = Some(record.owner()).filter(is_live);
    (owner, record.replicas().filter(is_live).count())
}

/// A member without evidence is held for dead. One that asks stands with those that leave for as long as it lives.
fn believed(status: Option<Liveness>, asks: bool) -> MemberStatus {
    match status {
        Some(Liveness::Alive) => MemberStatus::Alive,
        Some(Liveness::Leaving) if asks => MemberStatus::Alive,
        Some(Liveness::Suspect) => MemberStatus::Suspect,
        Some(Liveness::Leaving) => MemberStatus::Leaving,
        Some(Liveness::Dead) | None => MemberStatus::Dead,
    }
}
