//! What the world itself can see of broken promises: answers that stay away, counts that a new owner lacks, shards that
//! come to no rest.

use delta_crdt::{ReplicaId, Term};
use shard::{Partition, Role, Shard};

use super::life::ASKING;
use super::{CLIENTS_START, HOSTS, MILLIS, SECONDS, World};
use crate::node::{Node, Payload, SHARDS};
use crate::oracle::{Decided, RequestId, SimTime};

/// A node that reaches no majority knows it by then: when the last lease has run out, a second after the last answer,
/// and it has asked once more for as long as a member takes to be suspect.
const MINORITY_KNOWN: SimTime = 1_600 * MILLIS;

/// What is told at once is told by then.
const AT_ONCE: SimTime = 50 * MILLIS;

/// Longest that a hit waits at its sender: what the kernel holds unsent is 131 ms at 1 MB/s, and hits before it are few.
const HELD_UP_MAX: SimTime = 300 * MILLIS;

impl World {
    /// What every node knows of every shard.
    pub(super) fn describe(&self) -> String {
        let describe = |node: &Node| {
            let view = node.membership.view().members().len();
            let ownership = |shard: &Shard| {
                let record = shard.record().map(|record| {
                    format!("{} +{} {:?}", record.term, record.epoch, record.holders)
                });
                let unsynced = if shard.is_synced() { "" } else { " unsynced" };
                let lacks_copies = match shard.is_under_replicated(view) {
                    true => " under-replicated",
                    false => "",
                };
                format!(
                    "\n    {} {:?} {}{unsynced}{lacks_copies}",
                    shard.id(),
                    shard.role(),
                    record.unwrap_or_default()
                )
            };
            let shards: String = node.shards.iter().map(ownership).collect();
            format!("\n  {:?} sees {view}:{shards}", node.me)
        };
        self.hosts
            .iter()
            .filter_map(|host| host.node.as_ref())
            .map(describe)
            .collect()
    }

    /// P4: a node that is up and connected answers.
    pub(super) fn gave_up(&mut self, host: usize, request: RequestId, asked: SimTime) {
        self.check_minority(host, request, asked);
        if self.owes_answer(host, asked) {
            let story = format!(
                "request {request} on host {host} had no answer, {} ms after it was asked",
                (self.now - asked) / MILLIS
            );
            self.oracle.report("P4", self.now, story);
        }
    }

    /// P4, too: who can have a majority is not told that there is none.
    pub(super) fn refused(&mut self, host: usize, request: RequestId, asked: SimTime) {
        self.check_minority(host, request, asked);
        if self.owes_answer(host, asked) {
            let story = format!("request {request} on host {host} was told that no majority is");
            self.oracle.report("P4", self.now, story);
        }
    }

    /// Minority: under `quorum`, whoever has long reached too few is told at once.
    fn check_minority(&mut self, host: usize, request: RequestId, asked: SimTime) {
        let cut_off = self.hosts[host]
            .cut_off_since
            .max(Some(self.hosts[host].fit_since));
        let has_long_been = self.hosts[host].cut_off_since.is_some()
            && cut_off.is_some_and(|since| since + MINORITY_KNOWN <= asked);
        let took = self.now - asked;
        if self.scenario.partition == Partition::Quorum && has_long_been && AT_ONCE < took {
            let story = format!(
                "request {request} on host {host}, which reaches no majority, waited {} ms",
                took / MILLIS
            );
            self.oracle.report("minority", self.now, story);
        }
    }

    /// Whether a host reaches, with the others between them, too few to decide.
    pub(super) fn watch_reach(&mut self, host: usize) {
        let Some(node) = &self.hosts[host].node else {
            return;
        };
        let view = node.membership.view();
        let reaches = |replica: &&ReplicaId| {
            let Some(&other) = self.host_of.get(replica) else {
                return false;
            };
            let there = &self.hosts[other];
            let runs = there.node.as_ref().is_some_and(|node| node.me == **replica);
            runs && !there.paused && self.network.connects(host, other)
        };
        let sees_nobody = view.members().len() == 1;
        let is_cut_off = view.belonging().iter().filter(reaches).count() < view.majority();
        let since = self.hosts[host].cut_off_since.unwrap_or(self.now);
        self.hosts[host].cut_off_since = is_cut_off.then_some(since);
        if sees_nobody {
            self.hosts[host].saw_nobody_at = self.now;
        }
    }

    /// One owner: once a hit was decided under a term, none is decided under a lower one, but for the sides of a split.
    ///
    /// In `available` every decision stands. Under `quorum` a refused connection lets a majority take over while the old
    /// owner's leases still run: what that one goes on to admit must never be answered, which [`Self::check_one_owner_answers`]
    /// looks at.
    pub(super) fn check_one_owner(&mut self, decided: &Decided) {
        if self.scenario.partition == Partition::Available {
            let (owner, request) = (decided.owner, decided.request);
            self.stands(decided.key, owner, request, decided.term, self.now);
        }
    }

    /// The same under `quorum`, of hits whose clients are told that they were admitted.
    pub(super) fn check_one_owner_answers(&mut self, request: RequestId, key: usize) {
        if self.scenario.partition == Partition::Quorum
            && let Some(admitted) = self.oracle.admitted_by(request, key)
        {
            self.stands(key, admitted.owner, request, admitted.term, admitted.at);
        }
    }

    /// A decision that was made at `at` stands.
    fn stands(
        &mut self,
        key: usize,
        owner: ReplicaId,
        request: RequestId,
        term: Option<Term>,
        at: SimTime,
    ) {
        let Some(term) = term else { return };
        let shard = self.targets[key].key.shard(SHARDS);
        let (newest, since) = *self.newest_terms.entry(shard).or_insert((term, at));
        if newest < term {
            self.newest_terms.insert(shard, (term, at));
        }
        if term < newest && since < at && !self.apart {
            let story = format!(
                "{owner:?} decided request {request} of shard {shard} under term {term}, after another under {newest}"
            );
            self.oracle.report("one owner", self.now, story);
        }
    }

    /// Whether a node is up, connected and free to decide or to find who does.
    fn owes_answer(&self, host: usize, asked: SimTime) -> bool {
        let fit = self.hosts[host].fit_since <= asked;
        // Zero: nothing has kept them apart yet.
        let since = self.last_split.max(self.last_minority);
        let without_majority = self.scenario.partition == Partition::Quorum
            && since != 0
            && asked < since + 12 * SECONDS;
        let without_owner = self.asks(host)
            && self.last_ownerless != 0
            && asked < self.last_ownerless + 12 * SECONDS;
        // Cut off from everybody it has nobody to ask: unlike one that owns, it cannot go on alone.
        let node = self.hosts[host].node.as_ref();
        let sees_nobody = node.is_none_or(|node| node.membership.view().members().len() == 1);
        // What came before it saw somebody again has what is left of its time, which may be too little.
        let saw_nobody_at = self.hosts[host].saw_nobody_at;
        let saw_nobody = asked <= saw_nobody_at && self.now < saw_nobody_at + SECONDS;
        let without_company = self.asks(host) && (sees_nobody || saw_nobody);
        let lacks = without_majority || without_owner || without_company;
        fit && !lacks && self.hosts[host].leaving_since.is_none()
    }

    /// Nothing that somebody waits for is held up by copies, however narrow the link.
    pub(super) fn check_held_up(&mut self, left: SimTime, to: ReplicaId, payload: &Payload) {
        let is_hit = matches!(payload, Payload::Forward(_) | Payload::Reply { .. });
        if is_hit && HELD_UP_MAX < left - self.now {
            let held_up = (left - self.now) / MILLIS;
            let story = format!("a hit or its answer for {to} is held up for {held_up} ms");
            self.oracle.report("lanes", self.now, story);
        }
    }

    /// Too few may run when all have been killed. Before clients ask, they come up one after another.
    pub(super) fn watch_majority(&mut self, host: usize) {
        let running = (0..HOSTS)
            .filter(|&other| self.hosts[other].node.is_some() && !self.hosts[other].paused)
            .filter(|&other| !self.asks(other))
            .count();
        let majority = self.hosts[host]
            .node
            .as_ref()
            .map_or(0, |node| node.membership.view().majority());
        if running < majority && CLIENTS_START <= self.now {
            self.last_minority = self.now;
        }
    }

    /// Everybody is up, sees everybody, and every shard has one owner with all its copies.
    pub(super) fn is_settled(&self) -> bool {
        let nodes: Vec<&Node> = self
            .hosts
            .iter()
            .filter_map(|host| host.node.as_ref())
            .collect();
        let calm = self
            .hosts
            .iter()
            .all(|host| !host.paused && host.leaving_since.is_none())
            && self.network.loss == 0.0;
        let sees_all = nodes
            .iter()
            .all(|node| node.joined && node.membership.view().members().len() == nodes.len());
        let takers: Vec<&Node> = (0..HOSTS)
            .filter(|&host| !self.asks(host))
            .filter_map(|host| self.hosts[host].node.as_ref())
            .collect();
        let shard_settled = |shard: usize| {
            let owners = nodes
                .iter()
                .filter(|node| node.shards[shard].role() == Role::Open);
            let known = nodes
                .iter()
                .all(|node| node.shards[shard].record() == nodes[0].shards[shard].record());
            known
                && nodes.iter().all(|node| node.shards[shard].is_synced())
                && owners.clone().count() == 1
                && owners
                    .clone()
                    .all(|node| !node.shards[shard].is_under_replicated(takers.len()))
        };
        // A node without a vote is as good as lost: with another loss it would be two.
        let vote = takers.iter().all(|node| node.has_votes(self.now));
        calm && vote && sees_all && !nodes.is_empty() && (0..usize::from(SHARDS)).all(shard_settled)
    }

    /// P6: what is reported forgotten is forgotten; answered hits that a replica has are not.
    pub(super) fn check_forgotten(&mut self, host: usize, hits: usize) {
        let is_excused = |since: SimTime| since != 0 && self.now < since + 12 * SECONDS;
        let replicated = self.scenario.replicated || self.scenario.partition == Partition::Quorum;
        if replicated
            && !self.apart
            && ![self.last_split, self.last_state_lost]
                .into_iter()
                .any(is_excused)
        {
            let story =
                format!("host {host} reports {hits} forgotten hits, and a replica had each");
            self.oracle.report("P6", self.now, story);
        }
    }

    /// P2 and P3: whoever opens a shard knows of every answered hit.
    pub(super) fn check_owner(&mut self, host: usize, shard: u16) {
        let Some(node) = &self.hosts[host].node else {
            return;
        };
        let clocks = node.clocks(self.now);
        for (key, target) in self.targets.iter().enumerate() {
            if target.key.shard(SHARDS) == shard {
                let seen = node.shards[usize::from(shard)].peek(clocks, target.key, &target.limit);
                self.oracle
                    .owner_sees(self.now, key, node.me, clocks.wall, seen);
            }
        }
    }

    /// A node that asks neither owns a shard nor has a copy of one.
    fn check_asking(&mut self) {
        let Some(node) = &self.hosts[ASKING].node else {
            return;
        };
        let has = |shard: &&Shard| {
            let holds = shard.record().is_some_and(|record| record.held_by(node.me));
            holds || !shard.cells().is_empty()
        };
        let held: Vec<_> = node.shards.iter().filter(has).map(Shard::id).collect();
        if self.asks(ASKING) && !held.is_empty() {
            let story = format!("host {ASKING} asks, and has shards {held:?}");
            self.oracle.report("asks", self.now, story);
        }
    }

    pub(super) fn check_end(&mut self) {
        if !self.is_settled() {
            let nodes = self.describe();
            self.oracle.report(
                "convergence",
                self.now,
                format!("not settled after 25 s of quiet:{nodes}"),
            );
            return;
        }
        self.check_evictions();
        self.check_bounded();
        self.check_copies();
        self.check_asking();
        for shard in 0..SHARDS {
            let owner = (0..HOSTS).find(|&host| {
                self.hosts[host]
                    .node
                    .as_ref()
                    .is_some_and(|node| node.shards[usize::from(shard)].role() == Role::Open)
            });
            if let Some(owner) = owner {
                self.check_owner(owner, shard);
            }
        }
    }
}
