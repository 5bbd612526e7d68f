//! One simulated node: the machines of the product, and the little that a driver adds to them.

mod kept;
mod panics;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use coordinator::NoDecision;
use delta_crdt::{ReplicaId, Slot, Term};
use hash_ring::Ring;
use membership::{Bearing, Beginning, Clocks, Leases, Member, Membership, View};
use quota::{BootNanos, Decision, KeyHash, Nanos, Now, UnixNanos};
use request::{Acknowledge, Detours, Held, Said};
use shard::{
    Copies, CopyForm, Effect, Note, Operation, Partition, Role, Room, Settings, Shard, ShardId,
    Surroundings,
};

use panics::Panics;
pub(crate) use panics::Task;
pub(crate) use requests::Attempt;
use requests::{Carried, PassedOn, Reply};

use crate::bug::Bug;
use crate::lanes::weight;
use crate::oracle::{RequestId, SimTime};
use crate::workload::Target;

/// Few enough that each holds several keys.
pub(crate) const SHARDS: u16 = 16;

/// What travels between nodes.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// Liveness.
    Membership(membership::Message),
    /// The greeting of a proven connection.
    Introduction(Member),
    /// About one shard.
    Shard(ShardId, shard::Message),
    /// A hit for the owner, or for whom reaches it.
    Forward(Attempt),
    /// What time is it? Holds the asker's boot clock.
    TimeAsked(BootNanos),
    /// The time, and what the question held.
    TimeTold { asked: BootNanos, wall: UnixNanos },
    /// The answer to an attempt.
    Reply {
        request: RequestId,
        attempt: u64,
        said: Said,
    },
}

/// Something that the world must hear of.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Send.
    Send { to: ReplicaId, payload: Payload },
    /// A hit was decided here.
    Decided {
        request: RequestId,
        key: usize,
        operation: Operation,
        term: Option<Term>,
        decision: Decision,
        wall: UnixNanos,
        /// It was counted by this, and is not the repeated verdict of one that was.
        is_new: bool,
        /// Where, if it was.
        slot: Option<Slot>,
    },
    /// A client of this node has its answer.
    Answered {
        request: RequestId,
        key: usize,
        decision: Decision,
    },
    /// A client of this node is told that there is no decision.
    GaveUp {
        request: RequestId,
        key: usize,
        asked: SimTime,
        error: NoDecision,
        /// Whether an attempt had been decided here or had left this node.
        has_left: bool,
    },
    /// A shard opened here.
    Opened { shard: ShardId },
    /// A shard had more keys than there is room for: some are forgotten here.
    Evicted { keys: Vec<KeyHash> },
    /// What a shard had counted is taken for lost.
    StateLost { shard: ShardId },
    /// A takeover found that hits were forgotten which others know of.
    Forgotten { hits: usize },
    /// Another incarnation took this node's name.
    Fenced,
}

/// Between two comparisons of the clocks.
const CLOCK_ROUND: SimTime = 100_000_000;

/// After so long the dead are let go of. Longer than a host takes to start again.
pub(crate) const FORGET_AFTER: Nanos = Nanos::from_secs(10);

/// Between two looks for them.
const LOOK_FOR_THE_DEAD: SimTime = 1_000_000_000;

/// Keys of a shard that are looked at, each tick, for being full again.
const EXPIRY_BUDGET: usize = 8;

/// A clock that was told later than this after the question says too little.
const ROUND_TRIP_MAX: Nanos = Nanos::from_millis(50);

/// As in the product's default configuration.
pub(crate) const MAX_LAG: Nanos = Nanos::from_millis(250);

/// A node.
pub(crate) struct Node {
    /// Its incarnation.
    pub(crate) me: ReplicaId,
    /// Liveness.
    pub(crate) membership: Membership,
    /// Its part in each shard.
    pub(crate) shards: Vec<Shard>,
    copies: Copies,
    orders: Vec<Vec<ReplicaId>>,
    skew: i64,
    boot_offset: u64,
    /// Wall time at the start of the run.
    epoch: u64,
    clocks: Clocks,
    compared_at: SimTime,
    /// What this node may keep of a shard. `None`: all there is.
    room: Option<Room>,
    quorum: bool,
    requests: BTreeMap<RequestId, Carried>,
    passed_on: BTreeMap<u64, PassedOn>,
    held: Vec<Held<Reply>>,
    detours: Detours,
    /// Shards that have news for those who wait.
    changed: BTreeSet<ShardId>,
    /// Of whom there was evidence of death, for a bug.
    held_for_gone: BTreeSet<ReplicaId>,
    /// Every member heard of, for a bug.
    told: Vec<Member>,
    looked_for_dead: SimTime,
    panics: Panics,
    next_hit: u64,
    next_attempt: u64,
    acknowledge: Acknowledge,
    bug: Option<Bug>,
    /// Joined: knows somebody who is alive, or is the first.
    pub(crate) joined: bool,
    /// Whom it waits for in a cluster that is new itself.
    beginning: Option<Beginning>,
    is_leaving: bool,
    events: Vec<Event>,
}

/// What holds for every node of a scenario.
pub(crate) struct Rules {
    pub(crate) settings: Settings,
    pub(crate) acknowledge: Acknowledge,
    /// After so long the dead are let go of.
    pub(crate) forget_after: Option<Nanos>,
    /// Wall time at the start of the run.
    pub(crate) epoch: u64,
    pub(crate) bug: Option<Bug>,
}

impl Node {
    /// A node that starts at true time `now`.
    #[must_use]
    pub(crate) fn new(
        host: usize,
        member: Member,
        now: SimTime,
        skew: i64,
        joins: bool,
        Rules {
            settings,
            acknowledge,
            forget_after,
            epoch,
            bug,
        }: Rules,
    ) -> Self {
        let boot_offset = 1_000_000_000 + host as u64 * 7_919_000_000;
        let me = member.replica;
        let boot = BootNanos::new(now + boot_offset);
        let rules = membership::Settings {
            quorum: settings.partition == Partition::Quorum && bug != Some(Bug::CountsAtOnce),
            forget_after: forget_after.filter(|_| settings.partition == Partition::Available),
            ..membership::Settings::lan()
        };
        let mut membership = Membership::new(boot, member, rules, joins);
        membership.on_aside(joins && bug != Some(Bug::KeepsBadClock));
        let mut node = Self {
            me,
            membership,
            shards: (0..SHARDS)
                .map(|id| Shard::new(ShardId(id), me, settings))
                .collect(),
            copies: Copies::default(),
            orders: Vec::new(),
            skew,
            boot_offset,
            epoch,
            clocks: Clocks::new(settings.max_skew, joins),
            compared_at: now,
            room: None,
            quorum: settings.partition == Partition::Quorum,
            held_for_gone: BTreeSet::new(),
            told: Vec::new(),
            looked_for_dead: now,
            panics: Panics::default(),
            requests: BTreeMap::new(),
            passed_on: BTreeMap::new(),
            held: (0..SHARDS).map(|_| Held::default()).collect(),
            detours: Detours::default(),
            changed: BTreeSet::new(),
            next_hit: 0,
            next_attempt: 0,
            acknowledge,
            bug,
            joined: !joins,
            beginning: None,
            is_leaving: false,
            events: Vec::new(),
        };
        node.place();
        node
    }

    /// From now on so many keys of a shard are too many.
    pub(crate) fn keep_at_most(&mut self, keys: usize) {
        let bytes = usize::MAX;
        self.room = Some(Room { keys, bytes });
    }

    /// Whether nobody within reach may decide, as far as this node knows.
    fn no_quorum(&self, now: SimTime) -> bool {
        let (_, leases) = self.known();
        let is_lost = leases.no_quorum_since(self.clocks(now).boot).is_some();
        self.quorum && is_lost && self.bug != Some(Bug::WaitsInMinority)
    }

    /// Who lives, and which leases run, as far as the shards and the requests know.
    fn known(&self) -> (&View, &Leases) {
        self.panics.known(&self.membership)
    }

    /// Both clocks of this node at true time `now`.
    #[must_use]
    pub(crate) fn clocks(&self, now: SimTime) -> Now {
        let wall = self.epoch + now;
        Now {
            boot: BootNanos::new(now + self.boot_offset),
            wall: UnixNanos::new(wall.saturating_add_signed(self.skew)),
        }
    }

    /// What has happened since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Every timer of the driver: heartbeats, shard ticks, flushes, retries.
    pub(crate) fn on_tick(&mut self, now: SimTime) {
        if !self.panics.rests(now, Task::Heartbeat) {
            self.tell_membership(now);
            self.membership.on_tick(self.clocks(now).boot);
            self.compare_clocks(now);
            self.let_go(now);
            self.repeat_what_is_old(now);
            self.drain_membership(now);
            if self.beginning.is_some() && !self.waits(now) {
                self.enter_view(now);
            }
        }
        if !self.panics.rests(now, Task::Keeper) {
            self.recover(now);
            self.keep(now);
        }
        self.settle(now);
        self.on_news(now);
        self.on_retry(now);
    }

    /// What a keeper does for its shards, again and again.
    fn keep(&mut self, now: SimTime) {
        let room = self.room;
        let mut keys = Vec::new();
        for index in 0..self.shards.len() {
            self.with_shard(now, index, |shard, around| {
                shard.on_tick(around);
                shard.expire(around.now, EXPIRY_BUDGET);
                if let Some(room) = room {
                    keys.append(&mut shard.evict(around.now, room));
                }
            });
        }
        if !keys.is_empty() {
            self.events.push(Event::Evicted { keys });
        }
        self.copies.on_tick(self.clocks(now).boot);
        self.send_pieces(now);
    }

    fn compare_clocks(&mut self, now: SimTime) {
        if now < self.compared_at + CLOCK_ROUND {
            return;
        }
        self.compared_at = now;
        let outvoted = self.clocks.bearing() == Bearing::Outvoted;
        self.membership
            .on_aside(outvoted && self.bug != Some(Bug::KeepsBadClock));
        let asked = self.clocks(now).boot;
        for to in self.membership.view().others(self.me) {
            let payload = Payload::TimeAsked(asked);
            self.events.push(Event::Send { to, payload });
        }
    }

    /// Lets go of members that have been dead for long, unless a shard's record names them.
    fn let_go(&mut self, now: SimTime) {
        if now < self.looked_for_dead + LOOK_FOR_THE_DEAD {
            return;
        }
        self.looked_for_dead = now;
        let boot = self.clocks(now).boot;
        for replica in self.membership.long_dead(boot) {
            let mut records = self.shards.iter().filter_map(Shard::record);
            if !records.any(|record| record.held_by(replica)) {
                self.membership.on_unnamed(boot, replica);
            }
        }
    }

    /// The bugs that go on saying what is true no longer.
    fn repeat_what_is_old(&mut self, now: SimTime) {
        let boot = self.clocks(now).boot;
        if self.bug == Some(Bug::KeepsEvidence) {
            for &replica in &self.held_for_gone {
                self.membership.on_process_gone(boot, replica);
            }
        }
        if self.bug == Some(Bug::RepeatsOldRosters) {
            self.told.extend(self.membership.roster().iter().cloned());
            self.told.retain(Member::belongs);
            self.told.sort_by_key(|member| member.replica);
            self.told.dedup();
            let old = membership::Message::Roster(self.told.clone());
            self.membership.on_message(boot, self.me, old);
        }
    }

    /// The flush timer.
    pub(crate) fn on_flush(&mut self, now: SimTime) {
        if self.panics.rests(now, Task::Flush) {
            return;
        }
        for index in 0..self.shards.len() {
            if self.shards[index].wants_flush() {
                self.with_shard(now, index, |shard, around| shard.flush(around.now.boot));
            }
        }
    }

    /// There is a new connection, proven by both.
    pub(crate) fn on_connected(&mut self, now: SimTime, member: Member, targets: &[Target]) {
        let peer = member.replica;
        self.on_payload(now, peer, Payload::Introduction(member), targets);
        self.copies.lost(peer);
        self.send_pieces(now);
    }

    /// The connection to another node has ended, and what was under way on it is lost.
    pub(crate) fn on_disconnected(&mut self, now: SimTime, peer: ReplicaId) {
        self.on_silence(now, peer);
        self.membership.on_disconnected(peer);
        self.drain_membership(now);
        self.settle(now);
        self.on_news(now);
    }

    /// A connection to a process was refused by its live host.
    pub(crate) fn on_process_gone(&mut self, now: SimTime, replica: ReplicaId) {
        if self.bug == Some(Bug::KeepsEvidence) {
            self.held_for_gone.insert(replica);
        }
        self.membership
            .on_process_gone(self.clocks(now).boot, replica);
        self.drain_membership(now);
    }

    /// A message arrived.
    pub(crate) fn on_payload(
        &mut self,
        now: SimTime,
        from: ReplicaId,
        payload: Payload,
        targets: &[Target],
    ) {
        match payload {
            Payload::Membership(message) => {
                self.membership
                    .on_message(self.clocks(now).boot, from, message);
                self.drain_membership(now);
            }
            Payload::Introduction(member) => {
                self.membership
                    .on_introduced(self.clocks(now).boot, &member);
                self.drain_membership(now);
            }
            Payload::Shard(id, message) => {
                self.with_shard(now, usize::from(id.0), |shard, around| {
                    shard.on_message(around, from, message)
                });
            }
            Payload::Forward(attempt) => self.on_attempt(now, from, attempt, targets),
            Payload::TimeAsked(asked) => {
                let wall = self.clocks(now).wall;
                let payload = Payload::TimeTold { asked, wall };
                self.events.push(Event::Send { to: from, payload });
            }
            Payload::TimeTold { asked, wall } => {
                let now = self.clocks(now);
                let round_trip = now.boot - asked;
                if round_trip < ROUND_TRIP_MAX && self.membership.view().contains(from) {
                    let then = now.wall - Nanos::new(round_trip.get() / 2);
                    let offset = wall.get().wrapping_sub(then.get()).cast_signed();
                    self.clocks.on_measured(from, offset);
                }
            }
            Payload::Reply {
                request,
                attempt,
                said,
            } => self.on_said(now, from, request, attempt, said),
        }
        self.settle(now);
        self.on_news(now);
    }

    /// Whether this node counts towards a majority for every shard.
    #[must_use]
    pub(crate) fn has_votes(&self, now: SimTime) -> bool {
        self.all_shards(now, Shard::has_vote)
    }

    fn all_shards(&self, now: SimTime, has: impl Fn(&Shard, Surroundings<'_>) -> bool) -> bool {
        let around = |order| Surroundings {
            now: self.clocks(now),
            view: self.membership.view(),
            leases: self.membership.leases(),
            order,
        };
        let mut shards = self.shards.iter().zip(&self.orders);
        shards.all(|(shard, order)| has(shard, around(order)))
    }

    /// What the membership must know of the shards: whether this node may change who counts, and count itself.
    fn tell_membership(&mut self, now: SimTime) {
        if !self.quorum {
            return;
        }
        let chair = &self.shards[0];
        let record = chair.record().filter(|record| record.owner() == self.me);
        let opens = matches!(chair.role(), Role::Open | Role::HandingOff);
        let term = record.filter(|_| opens).map(|record| record.term);
        let recalled = self.all_shards(now, Shard::may_count);
        self.membership.on_chair(term);
        self.membership.on_recalled(recalled);
    }

    /// Whether something is held of a key that is not full again.
    #[must_use]
    pub(crate) fn holds(&self, now: SimTime, key: KeyHash) -> bool {
        let now = self.clocks(now).wall;
        let cell = self.shards[usize::from(key.shard(SHARDS))].cells().get(key);
        cell.is_some_and(|cell| now < cell.expires_at())
    }

    /// Whether a leaving node may go.
    #[must_use]
    pub(crate) fn may_leave(&self) -> bool {
        self.shards.iter().all(Shard::may_leave)
    }

    fn place(&mut self) {
        let placements = self.membership.view().placed().map(|members| {
            let members = members.into_iter().map(|seen| hash_ring::Member {
                id: seen.replica.0,
                name: &seen.name,
                zone: seen.zone.as_deref(),
            });
            Ring::new(members).table(SHARDS)
        });
        let in_turn = |shard| placements.iter().flat_map(move |ring| ring.order(shard));
        self.orders = (0..SHARDS)
            .map(|shard| in_turn(shard).map(|&id| ReplicaId(id)).collect())
            .collect();
    }

    /// Carries out what a direct call of the membership left behind.
    pub(crate) fn settle_membership(&mut self, now: SimTime) {
        self.drain_membership(now);
    }

    fn drain_membership(&mut self, now: SimTime) {
        while let Some(effect) = self.membership.next_effect() {
            match effect {
                membership::Effect::Send { to, message } => {
                    self.events.push(Event::Send {
                        to,
                        payload: Payload::Membership(message),
                    });
                }
                membership::Effect::ViewChanged => {
                    let meets_somebody = 1 < self.membership.view().members().len();
                    self.joined |= meets_somebody;
                    if meets_somebody {
                        self.panics.on_published();
                    } else if self.panics.is_blind() {
                        // A node that sees nobody yet must not take every shard for its own.
                        continue;
                    }
                    if !self.waits(now) {
                        self.enter_view(now);
                    }
                }
                membership::Effect::RosterChanged => {
                    let me = self.membership.me().clone();
                    let others: Vec<ReplicaId> = self
                        .membership
                        .addresses()
                        .map(|(_, replica)| replica)
                        .collect();
                    for to in others {
                        self.events.push(Event::Send {
                            to,
                            payload: Payload::Introduction(me.clone()),
                        });
                    }
                }
                membership::Effect::LookAt { .. } | membership::Effect::Disproved { .. } => {}
                membership::Effect::Fenced => self.events.push(Event::Fenced),
            }
        }
    }

    /// Works by the view that the membership machine has now.
    fn enter_view(&mut self, now: SimTime) {
        let view = self.membership.view();
        self.clocks.retain(|peer| view.contains(peer));
        self.copies.retain(|peer| view.contains(peer));
        self.place();
        for index in 0..self.shards.len() {
            self.with_shard(now, index, |shard, around| shard.on_view(around));
        }
    }

    fn with_shard(
        &mut self,
        now: SimTime,
        index: usize,
        act: impl FnOnce(&mut Shard, Surroundings<'_>),
    ) {
        self.act_on_shard(now, index, act);
        self.send_pieces(now);
    }

    /// Lets pieces of copies go whose turn it is.
    fn send_pieces(&mut self, now: SimTime) {
        let boot = self.clocks(now).boot;
        while let Some((to, shard)) = self.copies.next_turn() {
            let mut is_under_way = false;
            self.act_on_shard(now, usize::from(shard.0), |shard, _| {
                is_under_way = shard.send_piece(to, CopyForm::Pieces).is_some();
            });
            match self.events.last() {
                Some(Event::Send { payload, .. }) if is_under_way => {
                    // The bug: everything that is to be copied leaves at once.
                    let bytes = match self.bug {
                        Some(Bug::CopiesHoldUpHits) => 0,
                        _ => weight(payload).1,
                    };
                    self.copies.sent(boot, to, shard, bytes);
                }
                _ => self.copies.had_none(to, shard),
            }
        }
    }

    fn act_on_shard(
        &mut self,
        now: SimTime,
        index: usize,
        act: impl FnOnce(&mut Shard, Surroundings<'_>),
    ) {
        if !self.joined || self.beginning.is_some() || self.panics.is_poisoned(index) {
            return;
        }
        let now = self.clocks(now);
        let (view, leases) = self.panics.known(&self.membership);
        let around = Surroundings {
            now,
            view,
            leases,
            order: &self.orders[index],
        };
        let shard = &mut self.shards[index];
        act(shard, around);
        while let Some(effect) = shard.next_effect() {
            match effect {
                Effect::Send { to, message } => {
                    self.events.push(Event::Send {
                        to,
                        payload: Payload::Shard(shard.id(), message),
                    });
                }
                Effect::Note(Note::Opened { .. }) => {
                    self.events.push(Event::Opened { shard: shard.id() })
                }
                Effect::Note(Note::StateLost) => {
                    self.events.push(Event::StateLost { shard: shard.id() })
                }
                Effect::Note(Note::Forgotten { hits }) => {
                    self.events.push(Event::Forgotten { hits })
                }
                Effect::PieceWaits { to, first } => self.copies.wants(to, shard.id(), first),
                Effect::PieceArrived { at } => {
                    self.copies.received(around.now.boot, at, shard.id());
                }
                Effect::Changed => {
                    self.changed.insert(shard.id());
                }
                Effect::Note(_) => {}
            }
        }
    }
}
