//! The span of a hit that other nodes are asked about, below that of the request that asked it.

use coordinator::{Answer, NoDecision};
use delta_crdt::ReplicaId;
use shard::ShardId;
use traces::Span;

use super::Cluster;

/// A hit on its way, from the first node that is asked to what the front is told. Nothing where its request is not recorded.
#[derive(Default)]
pub(crate) struct Hop {
    /// Questions so far, whoever was asked.
    attempts: u32,
    span: Option<Span>,
}

impl Hop {
    /// `peer` is asked about a hit on `shard`, or once more.
    pub(crate) fn ask(&mut self, cluster: &Cluster, shard: ShardId, peer: ReplicaId) {
        if self.attempts == 0 {
            self.span = traces::child("forward");
        }
        self.attempts += 1;
        let Some(span) = &self.span else {
            return;
        };
        span.set("weir.shard", u32::from(shard.0));
        span.set("weir.attempts", self.attempts);
        // The one that was asked last: mostly the one that answered.
        span.set("weir.peer", cluster.name_of(peer));
    }

    /// The front is told so.
    pub(crate) fn end(self, told: &Result<Answer, NoDecision>) {
        let Some(span) = self.span else {
            return;
        };
        match told {
            Ok(answer) if answer.by_fail_mode => span.fail("answered by the fail mode"),
            Ok(_) => {}
            Err(error) => span.fail(error.to_string()),
        }
    }
}
