//! One simulated node: the machines of the product, and the little that a driver adds to them.

use std::collections::BTreeMap;

use delta_crdt::{ReplicaId, Term};
use hash_ring::Ring;
use membership::{Bearing, Clocks, Member, Membership};
use quota::{BootNanos, Cost, Decision, Nanos, Now, UnixNanos, Verdict};
use shard::{
    Effect, HitId, Note, Operation, Outcome, Role, Settings, Shard, ShardId, Surroundings,
};

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
    /// A hit for the owner.
    Forward {
        request: RequestId,
        id: HitId,
        key: usize,
        operation: Operation,
    },
    /// What time is it? Holds the asker's boot clock.
    TimeAsked(BootNanos),
    /// The time, and what the question held.
    TimeTold { asked: BootNanos, wall: UnixNanos },
    /// Its answer.
    Reply {
        request: RequestId,
        verdict: Forwarded,
    },
}

/// What became of a forwarded hit.
#[derive(Clone, Debug)]
pub(crate) enum Forwarded {
    /// Decided, and confirmed as far as the acknowledgement asks.
    Decided(Decision),
    /// Ask this one.
    Elsewhere(Option<ReplicaId>),
    /// Ask again.
    Busy,
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
    },
    /// A client of this node has its answer.
    Answered {
        request: RequestId,
        key: usize,
        decision: Decision,
    },
    /// A client of this node gave up.
    GaveUp { request: RequestId, asked: SimTime },
    /// A shard opened here.
    Opened { shard: ShardId },
    /// A takeover found that hits were forgotten which others know of.
    Forgotten { hits: usize },
    /// Another incarnation took this node's name.
    Fenced,
}

#[derive(Clone, Debug)]
struct Request {
    key: usize,
    operation: Operation,
    id: HitId,
    asked: SimTime,
    try_at: SimTime,
}

#[derive(Clone, Debug)]
struct Unconfirmed {
    shard: ShardId,
    term: Option<Term>,
    written: u64,
    reply: Reply,
    decision: Decision,
}

#[derive(Clone, Debug)]
enum Reply {
    Local(RequestId),
    Remote(ReplicaId, RequestId),
}

/// Between two comparisons of the clocks.
const CLOCK_ROUND: SimTime = 100_000_000;

/// A clock that was told later than this after the question says too little.
const ROUND_TRIP_MAX: Nanos = Nanos::from_millis(50);

/// How long a client waits: longer than a takeover after silence.
pub(crate) const PATIENCE: SimTime = 4_000_000_000;

/// A node.
pub(crate) struct Node {
    /// Its incarnation.
    pub(crate) me: ReplicaId,
    /// Liveness.
    pub(crate) membership: Membership,
    /// Its part in each shard.
    pub(crate) shards: Vec<Shard>,
    orders: Vec<Vec<ReplicaId>>,
    skew: i64,
    boot_offset: u64,
    clocks: Clocks,
    compared_at: SimTime,
    keeps_bad_clock: bool,
    requests: BTreeMap<RequestId, Request>,
    unconfirmed: Vec<Unconfirmed>,
    next_hit: u64,
    replicated: bool,
    /// Joined: knows somebody who is alive, or is the first.
    pub(crate) joined: bool,
    events: Vec<Event>,
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
        settings: Settings,
        replicated: bool,
        keeps_bad_clock: bool,
    ) -> Self {
        let boot_offset = 1_000_000_000 + host as u64 * 7_919_000_000;
        let me = member.replica;
        let boot = BootNanos::new(now + boot_offset);
        let mut membership = Membership::new(boot, member, membership::Settings::lan(), joins);
        membership.on_aside(joins && !keeps_bad_clock);
        let mut node = Self {
            me,
            membership,
            shards: (0..SHARDS)
                .map(|id| Shard::new(ShardId(id), me, settings))
                .collect(),
            orders: Vec::new(),
            skew,
            boot_offset,
            clocks: Clocks::new(settings.max_skew, joins),
            compared_at: now,
            keeps_bad_clock,
            requests: BTreeMap::new(),
            unconfirmed: Vec::new(),
            next_hit: 0,
            replicated,
            joined: !joins,
            events: Vec::new(),
        };
        node.place();
        node
    }

    /// Both clocks of this node at true time `now`.
    #[must_use]
    pub(crate) fn clocks(&self, now: SimTime) -> Now {
        let wall = 1_700_000_000_000_000_000_u64 + now;
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
        self.membership.on_tick(self.clocks(now).boot);
        self.compare_clocks(now);
        self.drain_membership(now);
        for index in 0..self.shards.len() {
            self.with_shard(now, index, |shard, around| shard.on_tick(around));
        }
        self.retry(now);
    }

    fn compare_clocks(&mut self, now: SimTime) {
        if now < self.compared_at + CLOCK_ROUND {
            return;
        }
        self.compared_at = now;
        let outvoted = self.clocks.bearing() == Bearing::Outvoted;
        self.membership.on_aside(outvoted && !self.keeps_bad_clock);
        let asked = self.clocks(now).boot;
        for to in self.membership.view().others(self.me) {
            let payload = Payload::TimeAsked(asked);
            self.events.push(Event::Send { to, payload });
        }
    }

    /// The flush timer.
    pub(crate) fn on_flush(&mut self, now: SimTime) {
        for index in 0..self.shards.len() {
            if self.shards[index].wants_flush() {
                self.with_shard(now, index, |shard, around| shard.flush(around.now.boot));
            }
        }
    }

    /// A connection to a process was refused by its live host.
    pub(crate) fn on_process_gone(&mut self, now: SimTime, replica: ReplicaId) {
        self.membership.on_process_gone(replica);
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
                self.retry(now);
            }
            Payload::Forward {
                request,
                id,
                key,
                operation,
            } => {
                self.decide(
                    now,
                    targets,
                    Reply::Remote(from, request),
                    id,
                    key,
                    operation,
                );
            }
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
            Payload::Reply { request, verdict } => self.on_reply(now, request, verdict, targets),
        }
    }

    /// A client asks.
    pub(crate) fn on_request(
        &mut self,
        now: SimTime,
        request: RequestId,
        key: usize,
        operation: Operation,
        targets: &[Target],
    ) {
        self.next_hit += 1;
        let id = HitId {
            origin: self.me,
            sequence: self.next_hit,
        };
        self.requests.insert(
            request,
            Request {
                key,
                operation,
                id,
                asked: now,
                try_at: now,
            },
        );
        self.try_request(now, request, targets);
    }

    /// Requests that wait are tried again.
    pub(crate) fn on_retry(&mut self, now: SimTime, targets: &[Target]) {
        let due: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, r)| r.try_at <= now)
            .map(|(&id, _)| id)
            .collect();
        for request in due {
            self.try_request(now, request, targets);
        }
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
                    self.joined |= 1 < self.membership.view().members().len();
                    let view = self.membership.view();
                    self.clocks.retain(|peer| view.contains(peer));
                    self.place();
                    for index in 0..self.shards.len() {
                        self.with_shard(now, index, |shard, around| shard.on_view(around));
                    }
                }
                membership::Effect::RosterChanged => {
                    let me = self.membership.me().clone();
                    let others: Vec<ReplicaId> = self
                        .membership
                        .roster()
                        .iter()
                        .map(|member| member.replica)
                        .collect();
                    for to in others.into_iter().filter(|&other| other != self.me) {
                        self.events.push(Event::Send {
                            to,
                            payload: Payload::Introduction(me.clone()),
                        });
                    }
                }
                membership::Effect::Fenced => self.events.push(Event::Fenced),
            }
        }
    }

    fn with_shard(
        &mut self,
        now: SimTime,
        index: usize,
        act: impl FnOnce(&mut Shard, Surroundings<'_>),
    ) {
        if !self.joined {
            return;
        }
        let around = Surroundings {
            now: self.clocks(now),
            view: self.membership.view(),
            leases: self.membership.leases(),
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
                Effect::Note(Note::Forgotten { hits }) => {
                    self.events.push(Event::Forgotten { hits })
                }
                Effect::Note(_) | Effect::Changed => {}
            }
        }
    }

    fn try_request(&mut self, now: SimTime, request: RequestId, targets: &[Target]) {
        let Some(Request {
            key,
            operation,
            id,
            asked,
            ..
        }) = self.requests.get(&request).cloned()
        else {
            return;
        };
        if asked + PATIENCE < now {
            self.requests.remove(&request);
            self.events.push(Event::GaveUp { request, asked });
            return;
        }
        self.later(request, now + 15_000_000);
        self.decide(now, targets, Reply::Local(request), id, key, operation);
    }

    fn decide(
        &mut self,
        now: SimTime,
        targets: &[Target],
        reply: Reply,
        id: HitId,
        key: usize,
        operation: Operation,
    ) {
        let target = targets[key];
        let index = usize::from(target.key.shard(SHARDS));
        let clocks = self.clocks(now);
        let mut outcome = Outcome::Wait;
        self.with_shard(now, index, |shard, around| {
            outcome = shard.on_hit(around, target.key, &target.limit, operation, Some(id));
        });
        let shard = &self.shards[index];
        match outcome {
            Outcome::Decided { decision, written } => {
                let request = reply.request();
                let term = shard.record().map(|record| record.term);
                self.events.push(Event::Decided {
                    request,
                    key,
                    operation,
                    term,
                    decision,
                    wall: clocks.wall,
                });
                let waits = written.is_some_and(|written| shard.confirmed() < written)
                    && shard.has_replica();
                let lagging = Nanos::from_millis(250) < shard.lag(clocks.boot);
                if waits && (self.replicated || lagging) {
                    let (shard, written) = (shard.id(), written.unwrap_or_default());
                    if let Reply::Local(request) = reply {
                        // Not asked again while its answer waits for a replica.
                        self.later(request, now + 60_000_000);
                    }
                    self.unconfirmed.push(Unconfirmed {
                        shard,
                        term,
                        written,
                        reply,
                        decision,
                    });
                } else {
                    self.reply(reply, Forwarded::Decided(decision));
                }
            }
            Outcome::NotHere { owner } => match (reply, owner) {
                (Reply::Local(request), Some(to)) => {
                    self.later(request, now + 120_000_000);
                    self.events.push(Event::Send {
                        to,
                        payload: Payload::Forward {
                            request,
                            id,
                            key,
                            operation,
                        },
                    });
                }
                (Reply::Local(_), None) => {}
                (remote, owner) => self.reply(remote, Forwarded::Elsewhere(owner)),
            },
            Outcome::Wait => {
                if matches!(reply, Reply::Remote(..)) {
                    self.reply(reply, Forwarded::Busy);
                }
            }
        }
    }

    /// Answers that waited for a replica go out when it has confirmed; those whose term ended are asked anew.
    fn retry(&mut self, now: SimTime) {
        for waiting in std::mem::take(&mut self.unconfirmed) {
            let shard = &self.shards[usize::from(waiting.shard.0)];
            let same_term = shard.record().map(|record| record.term) == waiting.term
                && shard.role() != Role::Idle;
            if !same_term {
                match waiting.reply {
                    Reply::Local(request) => self.later(request, now),
                    remote => self.reply(remote, Forwarded::Busy),
                }
            } else if waiting.written <= shard.confirmed() || !shard.has_replica() {
                self.reply(waiting.reply, Forwarded::Decided(waiting.decision));
            } else {
                self.unconfirmed.push(waiting);
            }
        }
    }

    fn on_reply(
        &mut self,
        now: SimTime,
        request: RequestId,
        verdict: Forwarded,
        targets: &[Target],
    ) {
        let Some(pending) = self.requests.get(&request).cloned() else {
            return;
        };
        match verdict {
            Forwarded::Decided(decision) => {
                let is_counted = matches!(pending.operation, Operation::Hit(cost) if cost != Cost::PEEK)
                    && decision.verdict == Verdict::Allow;
                if is_counted {
                    let shard = usize::from(targets[pending.key].key.shard(SHARDS));
                    let boot = self.clocks(now).boot;
                    self.shards[shard].on_answered(boot, pending.id.sequence);
                }
                self.reply(Reply::Local(request), Forwarded::Decided(decision))
            }
            Forwarded::Elsewhere(Some(to)) if to != self.me => {
                let Request {
                    id, key, operation, ..
                } = pending;
                self.later(request, now + 100_000_000);
                self.events.push(Event::Send {
                    to,
                    payload: Payload::Forward {
                        request,
                        id,
                        key,
                        operation,
                    },
                });
            }
            Forwarded::Elsewhere(Some(_)) => self.try_request(now, request, targets),
            Forwarded::Elsewhere(None) | Forwarded::Busy => self.later(request, now + 10_000_000),
        }
    }

    fn reply(&mut self, reply: Reply, verdict: Forwarded) {
        match (reply, verdict) {
            (Reply::Remote(to, request), verdict) => {
                self.events.push(Event::Send {
                    to,
                    payload: Payload::Reply { request, verdict },
                });
            }
            (Reply::Local(request), Forwarded::Decided(decision)) => {
                if let Some(pending) = self.requests.remove(&request) {
                    self.events.push(Event::Answered {
                        request,
                        key: pending.key,
                        decision,
                    });
                }
            }
            (Reply::Local(_), _) => {}
        }
    }

    fn later(&mut self, request: RequestId, at: SimTime) {
        if let Some(pending) = self.requests.get_mut(&request) {
            pending.try_at = at;
        }
    }
}

impl Reply {
    fn request(&self) -> RequestId {
        match *self {
            Self::Local(request) | Self::Remote(_, request) => request,
        }
    }
}
