//! What a node knows of the others at the moment of an attempt.

use delta_crdt::ReplicaId;
use membership::Leases;
use quota::{BootNanos, Nanos};
use shard::ShardId;

/// How much of its lease of a second must be left from who counts as reached. It is renewed with each heartbeat, ten
/// times a second, from the moment the heartbeat was sent: less is left when three in a row were not answered.
const LEASE_LEFT: Nanos = Nanos::from_millis(650);

/// What a node knows of the others at the moment of an attempt. All of it may be wrong: who is asked knows better.
pub trait Outlook {
    /// This node.
    fn me(&self) -> ReplicaId;

    /// The owner under the newest term known for `shard`. `None` while nobody is known to own it.
    fn owner(&self, shard: ShardId) -> Option<ReplicaId>;

    /// Whether a hit for `peer` would arrive, and its answer come back: it is connected, and has answered lately.
    fn reaches(&self, peer: ReplicaId) -> bool;

    /// The live members but this node, in any order that stays the same.
    fn others(&self) -> impl Iterator<Item = ReplicaId>;

    /// Whether `by` is worth asking to pass a hit on to `owner`: it has not lately said that it does not reach it.
    fn may_detour(&self, owner: ReplicaId, by: ReplicaId) -> bool;

    /// Whether nobody within reach may decide, because no majority is: waiting helps no hit. Never under
    /// [`Partition::Available`](shard::Partition::Available).
    fn lacks_quorum(&self) -> bool;

    /// Whether this node stops.
    fn is_stopping(&self) -> bool;
}

/// Whether `peer` has answered this node's heartbeats lately, as [`Outlook::reaches`] wants to know it.
#[must_use]
pub fn is_reached(now: BootNanos, leases: &Leases, peer: ReplicaId) -> bool {
    now + LEASE_LEFT <= leases.from_holder(peer).until
}
