//! One hit from this node's fronts to whoever decides it, and back: drives [`request::Request`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Answer, NoDecision};
use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};
use request::{DEADLINE, Heard, Next, Outlook, Relay, Request, Said, Subject, Unsent, Way};
use shard::{HitId, ShardId};
use tokio::sync::oneshot;
use transport::Lane;

use super::forward::AskError;
use super::hop::Hop;
use super::slots::Reply;
use super::{Cluster, Inner};
use crate::wire::{self, ForwardedHit, Frame};

/// What this node knows of the others, read where a request asks for it.
struct Sight<'a> {
    inner: &'a Inner,
    now: BootNanos,
}

impl Outlook for Sight<'_> {
    #[inline]
    fn me(&self) -> ReplicaId {
        self.inner.me
    }

    #[inline]
    fn owner(&self, shard: ShardId) -> Option<ReplicaId> {
        self.inner.slots.owner(shard)
    }

    fn reaches(&self, peer: ReplicaId) -> bool {
        let world = self.inner.slots.world.load();
        request::is_reached(self.now, &world.leases, peer)
    }

    fn others(&self) -> impl Iterator<Item = ReplicaId> {
        let world = self.inner.slots.world.load_full();
        let count = world.view.members().len();
        let members = (0..count).map(move |place| world.view.members()[place].replica);
        members.filter(|&member| member != self.inner.me)
    }

    fn may_detour(&self, owner: ReplicaId, by: ReplicaId) -> bool {
        let detours = self.inner.detours();
        detours.may_detour(self.now, owner, by)
    }

    fn lacks_quorum(&self) -> bool {
        self.inner.slots.no_quorum_since(self.now).is_some()
    }

    fn is_stopping(&self) -> bool {
        self.inner.is_stopped()
    }
}

impl Inner {
    fn sight(&self) -> Sight<'_> {
        Sight {
            inner: self,
            now: self.clock.now().boot,
        }
    }

    fn detours(&self) -> std::sync::MutexGuard<'_, request::Detours> {
        self.detours.lock().expect("nothing panics under this lock")
    }
}

impl Cluster {
    /// Decides one hit on this node's own shard, if there is nothing to wait for. `None`: it was not counted.
    ///
    /// The usual path: it neither waits nor allocates, and takes the shard's lock alone.
    #[inline]
    pub(crate) fn decide_now(&self, subject: &Subject) -> Option<Result<Answer, NoDecision>> {
        let inner = &*self.inner;
        let sight = Sight {
            inner,
            now: BootNanos::ZERO,
        };
        if !subject.may_go_unnamed(inner.slots.acknowledge(), &sight) {
            return None;
        }
        match inner.slots.decide(subject, None, || Reply::Nobody) {
            Heard::Said(Said::Decided(decision)) | Heard::Written(decision) => {
                Some(Ok(decision.into()))
            }
            Heard::Said(_) | Heard::Held => None,
        }
    }

    /// Decides one hit that comes alone, wherever that has to happen.
    pub(crate) async fn decide(&self, subject: &Subject) -> Result<Answer, NoDecision> {
        if let Some(told) = self.decide_now(subject) {
            return told;
        }
        let deadline = self.inner.clock.now().boot + DEADLINE;
        self.carry(subject, deadline).await
    }

    /// Gives a hit an id, and carries it until it is answered, or to its deadline.
    pub(crate) async fn carry(
        &self,
        subject: &Subject,
        deadline: BootNanos,
    ) -> Result<Answer, NoDecision> {
        let id = HitId {
            origin: self.inner.me,
            sequence: self.inner.forwarder.next_sequence(),
        };
        self.carry_as(id, subject, deadline).await
    }

    /// Carries a hit under this id until it is answered, or to its deadline.
    pub(crate) async fn carry_as(
        &self,
        id: HitId,
        subject: &Subject,
        deadline: BootNanos,
    ) -> Result<Answer, NoDecision> {
        let inner = &*self.inner;
        let Ok(_permit) = inner.waiting.try_acquire() else {
            inner.forwarder.metrics.shed.increment(1);
            return subject.shed();
        };
        let mut request = Request::new(inner.me, *subject, id, deadline);
        let mut held = None;
        let mut hop = Hop::default();
        loop {
            let changed = inner.slots.changed(subject.shard);
            let next = {
                let sight = inner.sight();
                request.next(sight.now, &sight)
            };
            match next {
                Next::Tell(told) => {
                    hop.end(&told);
                    return told;
                }
                Next::DecideHere { id } => {
                    let reply = || {
                        let (sender, receiver) = oneshot::channel();
                        held = Some(receiver);
                        Reply::Local(sender)
                    };
                    match inner.slots.decide(subject, Some(id), reply) {
                        Heard::Said(said) => request.on_said(said),
                        Heard::Written(decision) => request.on_said(Said::Decided(decision)),
                        Heard::Held => request.on_held(),
                    }
                }
                Next::AwaitHeld { at_most } => {
                    let Some(answer) = &mut held else {
                        request.on_said(Said::Unsure);
                        continue;
                    };
                    match tokio::time::timeout(at_most.into(), answer).await {
                        Ok(said) => {
                            let said = said.unwrap_or(Said::Unsure);
                            if said == Said::Unsure {
                                inner.forwarder.metrics.retried.increment(1);
                            }
                            request.on_said(said);
                        }
                        Err(_elapsed) => {}
                    }
                }
                Next::Ask { to, way, at_most } => {
                    hop.ask(self, subject.shard, to);
                    self.attempt(&mut request, to, way, at_most).await;
                }
                Next::Wait { at_most } => wait(changed, at_most.into()).await,
            }
        }
    }

    /// Asks another node, and tells the request what came of it.
    async fn attempt(&self, request: &mut Request, to: ReplicaId, way: Way, at_most: Nanos) {
        let inner = &*self.inner;
        let (subject, id) = (*request.subject(), request.id());
        let sequence = match id.is_of_client() {
            // This node's word for it: verdicts come by that.
            true => inner.forwarder.next_sequence(),
            false => id.sequence,
        };
        let hit = ForwardedHit::new(sequence, &subject);
        let said = match way {
            Way::Direct if id.is_of_client() => {
                let forwarder = &inner.forwarder;
                match self.knows_relays(to) && forwarder.can_read(to, &hit.limit) {
                    true => {
                        forwarder.metrics.forwarded.increment(1);
                        let named = Frame::Relayed { id, hit };
                        forwarder
                            .ask_alone(to, sequence, &named, at_most.into())
                            .await
                    }
                    false => Err(AskError::Unsent(Unsent::Unreached)),
                }
            }
            Way::Direct => inner.forwarder.ask(to, hit, at_most.into()).await,
            // A node of the version before does not know such hits: as good as one that does not reach the owner.
            Way::Relay { .. }
                if !self.may_relay(to, id) || !inner.forwarder.can_read(to, &hit.limit) =>
            {
                Ok(Said::Unreached)
            }
            Way::Relay { .. } => match inner.relaying.try_acquire() {
                Ok(_permit) => {
                    let relay = match id.is_of_client() {
                        true => Frame::RelayNamed { id, hit },
                        false => Frame::Relay(hit),
                    };
                    inner
                        .forwarder
                        .ask_alone(to, sequence, &relay, at_most.into())
                        .await
                }
                Err(_none) => Err(AskError::Unsent(Unsent::Unreached)),
            },
        };
        match said {
            Ok(said) => {
                match (said, way) {
                    // A claim asks for the numbers of this node's hits; a name has none.
                    (Said::Decided(decision), _)
                        if subject.is_counted_by(&decision) && !id.is_of_client() =>
                    {
                        let now = inner.clock.now().boot;
                        inner.slots.on_answered(now, subject.shard, sequence);
                    }
                    (Said::Elsewhere(_) | Said::Unsure, _) => {
                        inner.forwarder.metrics.retried.increment(1);
                    }
                    (Said::Unreached, Way::Relay { owner }) => {
                        let now = inner.clock.now().boot;
                        inner.detours().on_unreached(now, owner, to);
                    }
                    _ => {}
                }
                request.on_said(said);
            }
            Err(AskError::Unsent(unsent)) => request.on_unsent(unsent),
            Err(AskError::Unanswered) => {
                inner.forwarder.metrics.retried.increment(1);
                request.on_unanswered();
            }
        }
    }

    /// Decides what another node forwarded; what can be said at once comes back.
    pub(crate) fn on_forwarded(
        &self,
        from: ReplicaId,
        hits: Vec<ForwardedHit>,
    ) -> Vec<(u64, Said)> {
        let mut verdicts = Vec::with_capacity(hits.len());
        for hit in hits {
            let id = HitId {
                origin: from,
                sequence: hit.sequence,
            };
            let said = self.decide_for(from, id, &hit);
            verdicts.extend(said.map(|said| (hit.sequence, said)));
        }
        verdicts
    }

    /// Puts a hit of another node to this node's shard. `None`: the answer goes out when a replica has it.
    pub(crate) fn decide_for(
        &self,
        asker: ReplicaId,
        id: HitId,
        hit: &ForwardedHit,
    ) -> Option<Said> {
        let reply = || Reply::Remote(asker, hit.sequence);
        match self.inner.slots.decide(&hit.subject(), Some(id), reply) {
            Heard::Said(said) => Some(said),
            Heard::Written(decision) => Some(Said::Decided(decision)),
            Heard::Held => None,
        }
    }

    /// A member that does not reach the owner of a shard wants its hit decided, here or there.
    pub(crate) fn on_relay(&self, from: ReplicaId, id: HitId, hit: ForwardedHit) {
        let relay = request::relay(&self.inner.sight(), from, hit.shard);
        let said = match relay {
            Relay::DecideHere => self.decide_for(from, id, &hit),
            Relay::Say(said) => Some(said),
            Relay::PassOn(owner) => match Arc::clone(&self.inner.passing_on).try_acquire_owned() {
                Ok(permit) => {
                    let cluster = self.clone();
                    tokio::spawn(async move {
                        let said = cluster.pass_on(owner, id, hit).await;
                        cluster.say(from, &[(hit.sequence, said)]);
                        drop(permit);
                    });
                    None
                }
                Err(_none) => Some(Said::Busy),
            },
        };
        if let Some(said) = said {
            self.say(from, &[(hit.sequence, said)]);
        }
    }

    async fn pass_on(&self, owner: ReplicaId, id: HitId, hit: ForwardedHit) -> Said {
        if !self.knows_relays(owner) {
            return Said::Unreached;
        }
        let forwarder = &self.inner.forwarder;
        forwarder.metrics.relayed.increment(1);
        let sequence = forwarder.next_sequence();
        let hit = ForwardedHit { sequence, ..hit };
        let relayed = Frame::Relayed { id, hit };
        let patience = request::RELAY_ATTEMPT.into();
        match forwarder
            .ask_alone(owner, sequence, &relayed, patience)
            .await
        {
            Ok(said) => said,
            Err(AskError::Unsent(_)) => Said::Unreached,
            Err(AskError::Unanswered) => Said::Unsure,
        }
    }

    /// Tells another node what came of its hits, in words that it knows.
    pub(crate) fn say(&self, to: ReplicaId, verdicts: &[(u64, Said)]) {
        let Some(version) = self.inner.transport.version(to) else {
            return;
        };
        let verdicts = wire::encode_verdicts(wire::form_for(version), verdicts);
        // Lost, it is as if nobody had answered: the origin asks again under the same id.
        let _lost = self.inner.transport.send(to, Lane::Bulk, verdicts);
    }

    /// Whether `peer` is connected, and passes on a hit of this id.
    fn may_relay(&self, peer: ReplicaId, id: HitId) -> bool {
        let version = self.inner.transport.version(peer);
        match id.is_of_client() {
            true => version.is_some_and(wire::knows_names),
            false => version.map(wire::form_for).is_some_and(wire::knows_relays),
        }
    }

    /// Whether `peer` is connected, and knows hits that are passed on.
    fn knows_relays(&self, peer: ReplicaId) -> bool {
        let version = self.inner.transport.version(peer).map(wire::form_for);
        version.is_some_and(wire::knows_relays)
    }
}

impl ForwardedHit {
    fn new(sequence: u64, subject: &Subject) -> Self {
        Self {
            sequence,
            shard: subject.shard,
            key: subject.key,
            limit: subject.limit,
            operation: subject.operation,
        }
    }

    /// What is asked. The fail mode is its origin's affair.
    fn subject(&self) -> Subject {
        Subject {
            shard: self.shard,
            key: self.key,
            limit: self.limit,
            operation: self.operation,
            on_failure: coordinator::FailMode::Deny,
        }
    }
}

async fn wait(changed: impl Future<Output = ()>, at_most: Duration) {
    let _elapsed = tokio::time::timeout(at_most, changed).await;
}
