//! What is asked.

use coordinator::FailMode;
use quota::{Cost, Decision, KeyHash, Limit, Verdict};
use shard::{Operation, ShardId};

use crate::{Acknowledge, Outlook};

/// One hit, refund or reset, ready to be decided anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The shard of the key.
    pub shard: ShardId,
    /// What is counted.
    pub key: KeyHash,
    /// How it is counted.
    pub limit: Limit,
    /// What to do.
    pub operation: Operation,
    /// What a hit is answered when nobody can decide it. A refund and a reset fail closed, whatever this says.
    pub on_failure: FailMode,
}

impl Subject {
    /// Whether it may be tried once on this node's own shard without an id: the shard is owned here, and its answer waits
    /// for nobody. [`decide`](crate::decide) says [`Busy`](crate::Said::Busy), and has not counted, where that changes.
    #[inline]
    #[must_use]
    pub fn may_go_unnamed(&self, acknowledge: Acknowledge, outlook: &impl Outlook) -> bool {
        acknowledge != Acknowledge::Replicated && outlook.owner(self.shard) == Some(outlook.me())
    }

    /// Whether a decided attempt can have changed the count. Not a peek.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.operation != Operation::Hit(Cost::PEEK)
    }

    /// Whether `decision` says that a hit was admitted, and counted.
    #[must_use]
    pub fn is_counted_by(&self, decision: &Decision) -> bool {
        let is_hit = matches!(self.operation, Operation::Hit(_));
        is_hit && self.counts() && decision.verdict == Verdict::Allow
    }
}
