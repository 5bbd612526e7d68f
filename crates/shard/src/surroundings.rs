//! What comes in with every call of a shard.

use delta_crdt::ReplicaId;
use membership::{Leases, View};
use quota::Now;

/// What a shard must know of the world, read by the driver once per call.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Both clocks.
    pub now: Now,
    /// Who is alive.
    pub view: &'a View,
    /// Leases held and grants given.
    pub leases: &'a Leases,
    /// The live members that take shards, in the order in which the ring prefers them for this one.
    pub order: &'a [ReplicaId],
}
