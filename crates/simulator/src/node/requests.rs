//! The requests of a node's clients: drives the machine of the product, [`request::Request`].

use delta_crdt::{Cell, ReplicaId, Version};
use quota::{BootNanos, Decision, Nanos};
use request::{Heard, Next, Outlook, Relay, Said, Subject, Unsent, Way};
use shard::{HitId, Operation, Shard, ShardId};

use super::{Event, Node, Payload, SHARDS};
use crate::bug::Bug;
use crate::oracle::{RequestId, SimTime};
use crate::workload::Target;

/// One request, and what it waits for.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    key: usize,
    asked: SimTime,
    machine: request::Request,
    waits: Waits,
    /// Whether an attempt was decided or has left this node.
    has_left: bool,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug)]
enum Waits {
    /// News of its shard, or this moment.
    News { until: SimTime },
    /// What this node says to the attempt of that number.
    Said {
        by: ReplicaId,
        attempt: u64,
        way: Way,
        until: SimTime,
    },
    /// A replica, or this moment.
    Held { until: SimTime },
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Local(RequestId),
    Remote {
        to: ReplicaId,
        request: RequestId,
        attempt: u64,
    },
}

/// A hit that this node passes on for another.
#[derive(Clone, Copy, Debug)]
pub(super) struct PassedOn {
    by: ReplicaId,
    origin: Reply,
    until: SimTime,
}

/// What travels about one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) request: RequestId,
    /// Counts the sender's attempts, and names the answer.
    pub(crate) number: u64,
    pub(crate) id: HitId,
    pub(crate) key: usize,
    pub(crate) operation: Operation,
    /// Whether the receiver is to pass it on.
    pub(crate) is_relay: bool,
}

struct Sight<'a> {
    node: &'a Node,
    now: SimTime,
}

impl Outlook for Sight<'_> {
    fn me(&self) -> ReplicaId {
        self.node.me
    }

    fn owner(&self, shard: ShardId) -> Option<ReplicaId> {
        let record = self.node.shards[usize::from(shard.0)].record();
        record.map(shard::Record::owner)
    }

    fn reaches(&self, peer: ReplicaId) -> bool {
        request::is_reached(self.boot(), self.node.known().1, peer)
    }

    fn others(&self) -> impl Iterator<Item = ReplicaId> {
        let asks_nobody = self.node.bug == Some(Bug::AsksOwnerAlone);
        let others = self.node.known().0.others(self.node.me);
        others.filter(move |_| !asks_nobody)
    }

    fn may_detour(&self, owner: ReplicaId, by: ReplicaId) -> bool {
        self.node.detours.may_detour(self.boot(), owner, by)
    }

    fn lacks_quorum(&self) -> bool {
        self.node.no_quorum(self.now)
    }

    fn is_stopping(&self) -> bool {
        false
    }
}

impl Sight<'_> {
    fn boot(&self) -> BootNanos {
        self.node.clocks(self.now).boot
    }
}

impl Node {
    fn subject(&self, target: &Target, operation: Operation) -> Subject {
        let is_second = (self.me.0 / 1_000).is_multiple_of(2);
        let forgets = is_second && self.bug == Some(Bug::ForgetsSummerTime);
        Subject {
            shard: ShardId(target.key.shard(SHARDS)),
            key: target.key,
            limit: match forgets {
                true => target.in_winter(),
                false => target.limit,
            },
            operation,
            on_failure: coordinator::FailMode::Deny,
        }
    }

    /// A client asks. `name`: the id that it gives its hit, to ask again.
    pub(crate) fn on_request(
        &mut self,
        now: SimTime,
        request: RequestId,
        key: usize,
        operation: Operation,
        name: Option<HitId>,
        targets: &[Target],
    ) {
        // Still on its way here: it would be carried twice under one number.
        if self.requests.contains_key(&request) {
            return;
        }
        let subject = self.subject(&targets[key], operation);
        let sight = Sight { node: self, now };
        if name.is_none() && subject.may_go_unnamed(self.acknowledge, &sight) {
            let heard = self.decide(now, key, &subject, None, Reply::Local(request));
            if let Some(Said::Decided(decision)) = heard {
                return self.answered(request, key, decision);
            }
        }
        self.next_hit += 1;
        let id = name.unwrap_or(HitId {
            origin: self.me,
            sequence: self.next_hit,
        });
        let deadline = self.clocks(now).boot + request::DEADLINE;
        let carried = Carried {
            key,
            asked: now,
            machine: request::Request::new(self.me, subject, id, deadline),
            waits: Waits::News { until: now },
            has_left: false,
        };
        self.requests.insert(request, carried);
        self.carry(now, request);
    }

    /// Requests whose time has come go on.
    pub(super) fn on_retry(&mut self, now: SimTime) {
        let due = |carried: &Carried| match carried.waits {
            Waits::News { until } | Waits::Said { until, .. } | Waits::Held { until } => {
                until <= now
            }
        };
        let due: Vec<RequestId> = (self.requests.iter())
            .filter(|(_, carried)| due(carried))
            .map(|(&request, _)| request)
            .collect();
        for request in due {
            if let Some(carried) = self.requests.get_mut(&request)
                && matches!(carried.waits, Waits::Said { .. })
            {
                match self.bug {
                    Some(Bug::SilenceIsUnsent) => carried.machine.on_unsent(Unsent::Unreached),
                    _ => carried.machine.on_unanswered(),
                }
            }
            self.carry(now, request);
        }
        let late = |passed: &PassedOn| passed.until <= now;
        let late: Vec<u64> = (self.passed_on.iter())
            .filter(|(_, passed)| late(passed))
            .map(|(&number, _)| number)
            .collect();
        for number in late {
            if let Some(passed) = self.passed_on.remove(&number) {
                self.reply(passed.origin, Said::Unsure);
            }
        }
    }

    /// An attempt could not leave this node, which is not connected with whom it is for.
    pub(crate) fn on_unsent(&mut self, now: SimTime, attempt: &Attempt) {
        if let Some(passed) = self.passed_on.remove(&attempt.number) {
            return self.reply(passed.origin, Said::Unreached);
        }
        let is_it = |waits: Waits| matches!(waits, Waits::Said { attempt: number, .. } if number == attempt.number);
        if let Some(carried) = self.requests.get_mut(&attempt.request)
            && is_it(carried.waits)
        {
            carried.machine.on_unsent(Unsent::Unreached);
            self.carry(now, attempt.request);
        }
    }

    /// What `peer` was asked and has not answered, it will not answer.
    pub(super) fn on_silence(&mut self, now: SimTime, peer: ReplicaId) {
        let asked =
            |carried: &Carried| matches!(carried.waits, Waits::Said { by, .. } if by == peer);
        let unanswered: Vec<RequestId> = (self.requests.iter())
            .filter(|(_, carried)| asked(carried))
            .map(|(&request, _)| request)
            .collect();
        for request in unanswered {
            if let Some(carried) = self.requests.get_mut(&request) {
                carried.machine.on_unanswered();
            }
            self.carry(now, request);
        }
        let unanswered: Vec<u64> = (self.passed_on.iter())
            .filter(|(_, passed)| passed.by == peer)
            .map(|(&number, _)| number)
            .collect();
        for number in unanswered {
            if let Some(passed) = self.passed_on.remove(&number) {
                self.reply(passed.origin, Said::Unsure);
            }
        }
    }

    /// Shards have changed: whoever waits for that looks again.
    pub(super) fn on_news(&mut self, now: SimTime) {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
        let waits = |carried: &Carried| {
            matches!(carried.waits, Waits::News { .. })
                && changed.contains(&carried.machine.subject().shard)
        };
        let waiting: Vec<RequestId> = (self.requests.iter())
            .filter(|(_, carried)| waits(carried))
            .map(|(&request, _)| request)
            .collect();
        for request in waiting {
            self.carry(now, request);
        }
    }

    /// Does what the machine of a request says until it has to wait.
    fn carry(&mut self, now: SimTime, request: RequestId) {
        loop {
            let Some(mut carried) = self.requests.remove(&request) else {
                return;
            };
            let sight = Sight { node: self, now };
            let next = carried.machine.next(sight.boot(), &sight);
            let (key, subject) = (carried.key, *carried.machine.subject());
            let after = |at_most: Nanos| now + at_most.get();
            match next {
                Next::Tell(Ok(answer)) => return self.answered(request, key, answer.decision),
                Next::Tell(Err(error)) => {
                    let (asked, has_left) = (carried.asked, carried.has_left);
                    return self.events.push(Event::GaveUp {
                        request,
                        key,
                        asked,
                        error,
                        has_left,
                    });
                }
                Next::DecideHere { id } => {
                    self.requests.insert(request, carried);
                    let reply = Reply::Local(request);
                    let said = self.decide(now, key, &subject, Some(id), reply);
                    let Some(carried) = self.requests.get_mut(&request) else {
                        return;
                    };
                    match said {
                        Some(said) => carried.machine.on_said(said),
                        None => {
                            carried.has_left = true;
                            carried.machine.on_held();
                        }
                    }
                    continue;
                }
                Next::AwaitHeld { at_most } => {
                    carried.waits = Waits::Held {
                        until: after(at_most),
                    };
                }
                Next::Wait { at_most } => {
                    carried.waits = Waits::News {
                        until: after(at_most),
                    };
                }
                Next::Ask { to, way, at_most } => {
                    self.next_attempt += 1;
                    carried.has_left = true;
                    carried.waits = Waits::Said {
                        by: to,
                        attempt: self.next_attempt,
                        way,
                        until: after(at_most),
                    };
                    let attempt = Attempt {
                        request,
                        number: self.next_attempt,
                        id: carried.machine.id(),
                        key,
                        operation: subject.operation,
                        is_relay: way != Way::Direct,
                    };
                    let payload = Payload::Forward(attempt);
                    self.events.push(Event::Send { to, payload });
                }
            }
            self.requests.insert(request, carried);
            return;
        }
    }

    /// Another node forwards a hit, or wants it passed on.
    pub(super) fn on_attempt(
        &mut self,
        now: SimTime,
        from: ReplicaId,
        attempt: Attempt,
        targets: &[Target],
    ) {
        let reply = Reply::Remote {
            to: from,
            request: attempt.request,
            attempt: attempt.number,
        };
        let subject = self.subject(&targets[attempt.key], attempt.operation);
        let sight = Sight { node: self, now };
        let relay = match attempt.is_relay {
            true => request::relay(&sight, from, subject.shard),
            false => Relay::DecideHere,
        };
        match relay {
            Relay::DecideHere => {
                let said = self.decide(now, attempt.key, &subject, Some(attempt.id), reply);
                if let Some(said) = said {
                    self.reply(reply, said);
                }
            }
            Relay::Say(said) => self.reply(reply, said),
            Relay::PassOn(owner) => {
                self.next_attempt += 1;
                let number = self.next_attempt;
                let passed = PassedOn {
                    by: owner,
                    origin: reply,
                    until: now + request::RELAY_ATTEMPT.get(),
                };
                self.passed_on.insert(number, passed);
                let payload = Payload::Forward(Attempt {
                    number,
                    is_relay: false,
                    ..attempt
                });
                self.events.push(Event::Send { to: owner, payload });
            }
        }
    }

    /// Puts one attempt to a shard of this node. `None`: the answer comes when a replica has it.
    fn decide(
        &mut self,
        now: SimTime,
        key: usize,
        subject: &Subject,
        id: Option<HitId>,
        reply: Reply,
    ) -> Option<Said> {
        let index = usize::from(subject.shard.0);
        let mut heard = Heard::Said(Said::Busy);
        let mut is_new = false;
        let mut slot = None;
        let mut held = std::mem::take(&mut self.held[index]);
        let (acknowledge, me) = (self.acknowledge, self.me);
        self.with_shard(now, index, |shard, around| {
            let reply = || reply;
            let used = |shard: &Shard| {
                let cells = shard.cells();
                cells.used(around.now.wall, subject.key, &subject.limit)
            };
            let before = used(shard);
            shard.look(around);
            let now = around.now;
            heard = request::decide(shard, &mut held, now, acknowledge, subject, id, reply);
            is_new = before < used(shard);
            if is_new {
                let cell = shard.cells().get(subject.key);
                let slots = cell
                    .iter()
                    .flat_map(Cell::versions)
                    .flat_map(Version::slots);
                let own = slots.filter(|slot| slot.term.replica == me);
                slot = own.max_by_key(|slot| slot.seq).copied();
            }
        });
        self.held[index] = held;
        let decision = match heard {
            Heard::Said(Said::Decided(decision)) | Heard::Written(decision) => Some(decision),
            Heard::Held => self.held[index].newest(),
            Heard::Said(_) => None,
        };
        if let Some(decision) = decision {
            self.events.push(Event::Decided {
                request: reply.request(),
                key,
                operation: subject.operation,
                term: self.shards[index].record().map(|record| record.term),
                decision,
                wall: self.clocks(now).wall,
                is_new,
                slot,
            });
        }
        match heard {
            Heard::Said(said) => Some(said),
            Heard::Written(decision) => Some(Said::Decided(decision)),
            Heard::Held => None,
        }
    }

    /// Answers that need to wait no longer go out.
    pub(super) fn settle(&mut self, now: SimTime) {
        for index in 0..self.held.len() {
            if self.panics.is_poisoned(index) {
                continue;
            }
            let mut given = Vec::new();
            self.held[index].settle(&self.shards[index], |reply, said| given.push((reply, said)));
            for (reply, said) in given {
                match reply {
                    Reply::Local(request) => self.on_own_said(now, request, said),
                    remote => self.reply(remote, said),
                }
            }
        }
    }

    fn on_own_said(&mut self, now: SimTime, request: RequestId, said: Said) {
        if let Some(carried) = self.requests.get_mut(&request)
            && matches!(carried.waits, Waits::Held { .. })
        {
            carried.machine.on_said(said);
            self.carry(now, request);
        }
    }

    /// Another node says what came of an attempt.
    pub(super) fn on_said(
        &mut self,
        now: SimTime,
        from: ReplicaId,
        request: RequestId,
        number: u64,
        said: Said,
    ) {
        if let Some(passed) = self.passed_on.get(&number).copied()
            && passed.by == from
        {
            self.passed_on.remove(&number);
            return self.reply(passed.origin, said);
        }
        let boot = self.clocks(now).boot;
        let Some(carried) = self.requests.get_mut(&request) else {
            return;
        };
        let Waits::Said {
            by, attempt, way, ..
        } = carried.waits
        else {
            return;
        };
        if by != from || attempt != number {
            return;
        }
        carried.machine.on_said(said);
        let (subject, id) = (*carried.machine.subject(), carried.machine.id());
        match (said, way) {
            (Said::Decided(decision), _)
                if subject.is_counted_by(&decision) && !id.is_of_client() =>
            {
                self.shards[usize::from(subject.shard.0)].on_answered(boot, id.sequence);
            }
            (Said::Unreached, Way::Relay { owner }) => {
                self.detours.on_unreached(boot, owner, from);
            }
            _ => {}
        }
        self.carry(now, request);
    }

    fn reply(&mut self, reply: Reply, said: Said) {
        if let Reply::Remote {
            to,
            request,
            attempt,
        } = reply
        {
            let payload = Payload::Reply {
                request,
                attempt,
                said,
            };
            self.events.push(Event::Send { to, payload });
        }
    }

    fn answered(&mut self, request: RequestId, key: usize, decision: Decision) {
        self.events.push(Event::Answered {
            request,
            key,
            decision,
        });
    }
}

impl Reply {
    fn request(self) -> RequestId {
        match self {
            Self::Local(request) | Self::Remote { request, .. } => request,
        }
    }
}
