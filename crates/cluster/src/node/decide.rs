//! One hit from this node's fronts to whoever decides it, and back.

use std::time::Duration;

use coordinator::{NoDecision, Plan, ShardTable, plan};
use delta_crdt::ReplicaId;
use quota::{Cost, Decision, KeyHash, Limit, Nanos, Verdict};
use shard::{HitId, Operation, ShardId};

use super::Cluster;
use super::forward::AskError;
use super::slots::{Asker, Here, SHARDS, Slots};
use crate::wire::{ForwardVerdict, ForwardedHit};

/// How long a hit may take: longer than the two seconds after which a silent owner is replaced, shorter
/// than what the shard remembers of admitted ids.
const DEADLINE: Nanos = Nanos::from_millis(3_500);

/// How long one attempt waits for the owner. A paused owner is found out by its lease, not by this; a
/// verdict that was lost is repeated under the same id.
const ATTEMPT: Duration = Duration::from_millis(600);

/// How long to wait for news of a shard before looking again anyway.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What to tell a client whose hit found nobody: a takeover is over by then.
const RETRY_AFTER: Nanos = Nanos::from_secs(1);

/// One hit, ready to be decided anywhere.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) key: KeyHash,
    pub(crate) limit: Limit,
    pub(crate) operation: Operation,
}

impl Subject {
    fn shard(&self) -> ShardId {
        ShardId(self.key.shard(SHARDS))
    }

    /// Whether `decision` says that a hit was admitted, and counted.
    fn is_counted_by(&self, decision: &Decision) -> bool {
        let counts = matches!(self.operation, Operation::Hit(cost) if cost != Cost::PEEK);
        counts && decision.verdict == Verdict::Allow
    }
}

/// The table of owners, as the strategy reads it.
struct Table<'a> {
    slots: &'a Slots,
    me: ReplicaId,
}

impl ShardTable for Table<'_> {
    fn here(&self) -> u32 {
        self.me.0
    }

    fn owner(&self, shard: u16) -> Option<u32> {
        self.slots.owner(ShardId(shard)).map(|owner| owner.0)
    }
}

/// Whether an attempt may have left something counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trace {
    None,
    Perhaps,
}

impl Trace {
    /// What a client is told whose hit is given up.
    fn error(self) -> NoDecision {
        let retry_after = RETRY_AFTER;
        match self {
            Self::None => NoDecision::Unavailable { retry_after },
            Self::Perhaps => NoDecision::Unknown { retry_after },
        }
    }
}

const OVERLOADED: NoDecision = NoDecision::Overloaded {
    retry_after: RETRY_AFTER,
};

const DRAINING: NoDecision = NoDecision::Draining {
    retry_after: RETRY_AFTER,
};

impl Cluster {
    /// Decides one hit, wherever that has to happen.
    ///
    /// The usual path, a shard of this node and nothing to wait for, neither waits nor allocates.
    pub(crate) async fn decide(&self, subject: Subject) -> Result<Decision, NoDecision> {
        let slots = &self.inner.slots;
        if slots.holds_answers() || slots.owner(subject.shard()) != Some(self.inner.me) {
            return self.decide_patiently(subject).await;
        }
        match self.decide_here(subject, None) {
            Here::Answer(decision) => Ok(decision),
            // Counted without an id, since it needed none a moment ago: it is not asked again.
            Here::Confirming(confirmed) => {
                match tokio::time::timeout(DEADLINE.into(), confirmed).await {
                    Ok(Ok(Some(decision))) => Ok(decision),
                    _ => Err(Trace::Perhaps.error()),
                }
            }
            Here::Elsewhere(_) | Here::Later | Here::Wait => self.decide_patiently(subject).await,
        }
    }

    /// Decides a hit that has an id, and may be asked again under it until the deadline.
    async fn decide_patiently(&self, subject: Subject) -> Result<Decision, NoDecision> {
        let Ok(_permit) = self.inner.waiting.try_acquire() else {
            self.inner.forwarder.metrics.shed.increment(1);
            return Err(OVERLOADED);
        };
        let deadline = self.inner.clock.now().boot + DEADLINE;
        let sequence = self.inner.forwarder.next_sequence();
        let id = HitId {
            origin: self.inner.me,
            sequence,
        };
        let mut trace = Trace::None;
        let mut hint = None;
        loop {
            if self.inner.is_stopped() {
                return Err(match trace {
                    Trace::None => DRAINING,
                    Trace::Perhaps => trace.error(),
                });
            }
            let now = self.inner.clock.now().boot;
            let left = deadline - now;
            if left == Nanos::ZERO || self.inner.slots.no_quorum_since(now).is_some() {
                return Err(trace.error());
            }
            let changed = self.inner.slots.changed(subject.shard());
            let table = Table {
                slots: &self.inner.slots,
                me: self.inner.me,
            };
            // What the last node said about the owner is newer than the table.
            let ask = match (hint.take(), plan(&table, subject.shard().0)) {
                (Some(owner), _) => Ok(owner),
                (None, Plan::DecideHere) => Err(self.decide_here(subject, Some(id))),
                (None, Plan::Ask { owner }) => Ok(ReplicaId(owner)),
                (None, Plan::Wait) => Err(Here::Wait),
            };
            match ask {
                Err(Here::Answer(decision)) => return Ok(decision),
                Err(Here::Confirming(confirmed)) => {
                    trace = Trace::Perhaps;
                    if let Ok(Ok(Some(decision))) =
                        tokio::time::timeout(left.into(), confirmed).await
                    {
                        return Ok(decision);
                    }
                }
                Err(Here::Elsewhere(Some(owner))) if owner != self.inner.me => hint = Some(owner),
                // Also when nobody is named: the table may still name this node, and asking it again without a pause
                // would keep the worker from all else, the heartbeats among it.
                Err(Here::Elsewhere(_) | Here::Wait | Here::Later) => {
                    wait(changed, LOOK_AGAIN).await
                }
                Ok(owner) => match self.ask(owner, subject, sequence, left).await {
                    Ok(ForwardVerdict::Decided(decision)) => {
                        if subject.is_counted_by(&decision) {
                            let now = self.inner.clock.now().boot;
                            let shard = subject.shard();
                            self.inner.slots.on_answered(now, shard, sequence);
                        }
                        return Ok(decision);
                    }
                    Ok(ForwardVerdict::Elsewhere(owner)) => {
                        self.inner.forwarder.metrics.retried.increment(1);
                        hint = owner.filter(|&owner| owner != self.inner.me);
                        if hint.is_none() {
                            wait(changed, LOOK_AGAIN).await;
                        }
                    }
                    Ok(ForwardVerdict::Busy) => wait(changed, LOOK_AGAIN).await,
                    Ok(ForwardVerdict::Overloaded) | Err(AskError::Full) => {
                        return Err(OVERLOADED);
                    }
                    Err(AskError::Lost | AskError::Silent) => {
                        self.inner.forwarder.metrics.retried.increment(1);
                        trace = Trace::Perhaps;
                        wait(changed, LOOK_AGAIN).await;
                    }
                },
            }
        }
    }

    fn decide_here(&self, subject: Subject, id: Option<HitId>) -> Here {
        let Subject {
            key,
            limit,
            operation,
        } = subject;
        let now = self.inner.clock.now();
        self.inner.slots.decide(
            now,
            subject.shard(),
            key,
            &limit,
            operation,
            id,
            Asker::Local,
        )
    }

    async fn ask(
        &self,
        owner: ReplicaId,
        subject: Subject,
        sequence: u64,
        left: Nanos,
    ) -> Result<ForwardVerdict, AskError> {
        let Subject {
            key,
            limit,
            operation,
        } = subject;
        let hit = ForwardedHit {
            sequence,
            shard: subject.shard(),
            key,
            limit,
            operation,
        };
        self.inner
            .forwarder
            .ask(owner, hit, ATTEMPT.min(left.into()))
            .await
    }

    /// Decides what another node forwarded; verdicts that are ready come back at once.
    pub(crate) fn on_forwarded(
        &self,
        from: ReplicaId,
        hits: Vec<ForwardedHit>,
    ) -> Vec<(u64, ForwardVerdict)> {
        let now = self.inner.clock.now();
        let mut verdicts = Vec::with_capacity(hits.len());
        for ForwardedHit {
            sequence,
            shard,
            key,
            limit,
            operation,
        } in hits
        {
            let id = Some(HitId {
                origin: from,
                sequence,
            });
            let asker = Asker::Remote(from, sequence);
            let verdict = match self
                .inner
                .slots
                .decide(now, shard, key, &limit, operation, id, asker)
            {
                Here::Answer(decision) => ForwardVerdict::Decided(decision),
                Here::Elsewhere(owner) => ForwardVerdict::Elsewhere(owner),
                Here::Wait => ForwardVerdict::Busy,
                Here::Later | Here::Confirming(_) => continue,
            };
            verdicts.push((sequence, verdict));
        }
        verdicts
    }
}

async fn wait(changed: impl Future<Output = ()>, at_most: Duration) {
    let _elapsed = tokio::time::timeout(at_most, changed).await;
}
