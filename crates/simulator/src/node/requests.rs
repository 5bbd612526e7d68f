//! The requests of a node's clients: forwarded, decided, confirmed, asked again.

use delta_crdt::{ReplicaId, Term};
use quota::{Cost, Decision, Nanos, Verdict};
use shard::{HitId, Operation, Outcome, Role, ShardId};

use super::{Event, Forwarded, Node, PATIENCE, Payload, SHARDS};
use crate::oracle::{RequestId, SimTime};
use crate::workload::Target;

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) key: usize,
    pub(super) operation: Operation,
    pub(super) id: HitId,
    pub(super) asked: SimTime,
    pub(super) try_at: SimTime,
}

#[derive(Clone, Debug)]
pub(super) struct Unconfirmed {
    pub(super) shard: ShardId,
    pub(super) term: Option<Term>,
    pub(super) written: u64,
    pub(super) reply: Reply,
    pub(super) decision: Decision,
}

#[derive(Clone, Debug)]
pub(super) enum Reply {
    Local(RequestId),
    Remote(ReplicaId, RequestId),
}

impl Node {
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

    pub(super) fn try_request(&mut self, now: SimTime, request: RequestId, targets: &[Target]) {
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
        if self.no_quorum(now) {
            self.requests.remove(&request);
            self.events.push(Event::Refused { request, asked });
            return;
        }
        self.later(request, now + 15_000_000);
        self.decide(now, targets, Reply::Local(request), id, key, operation);
    }

    pub(super) fn decide(
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
                    self.forward(to, request, id, key, operation);
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

    fn forward(
        &mut self,
        to: ReplicaId,
        request: RequestId,
        id: HitId,
        key: usize,
        operation: Operation,
    ) {
        let payload = Payload::Forward {
            request,
            id,
            key,
            operation,
        };
        self.events.push(Event::Send { to, payload });
    }

    /// Answers that waited for a replica go out when it has confirmed; those whose term ended are asked anew.
    pub(super) fn retry(&mut self, now: SimTime) {
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

    pub(super) fn on_reply(
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
                self.forward(to, request, id, key, operation);
            }
            Forwarded::Elsewhere(Some(_)) => self.try_request(now, request, targets),
            Forwarded::Elsewhere(None) | Forwarded::Busy => self.later(request, now + 10_000_000),
        }
    }

    pub(super) fn reply(&mut self, reply: Reply, verdict: Forwarded) {
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

    pub(super) fn later(&mut self, request: RequestId, at: SimTime) {
        if let Some(pending) = self.requests.get_mut(&request) {
            pending.try_at = at;
        }
    }
}

impl Reply {
    pub(super) fn request(&self) -> RequestId {
        match *self {
            Self::Local(request) | Self::Remote(_, request) => request,
        }
    }
}
