//! The node, as far as a writer needs to know it.

use membership::Member;
use quota::Now;
use shard::{Shard, ShardId};

/// The shards of a node, and what it knows of its cluster.
pub trait Shards {
    /// How many there are.
    fn count(&self) -> u16;

    /// Works with what one shard counts. `None`: it is not to be believed just now.
    fn with<R>(&mut self, shard: ShardId, act: impl FnOnce(&mut Shard, Now) -> R) -> Option<R>;

    /// Whether this node hands over what it has, to go.
    fn is_leaving(&self) -> bool;

    /// Who counts. `None`: this node does not know yet who comes into the cluster that it has just founded.
    fn members(&self) -> Option<Vec<Member>>;

    /// All of them.
    fn ids(&self) -> impl Iterator<Item = ShardId> + use<Self> {
        (0..self.count()).map(ShardId)
    }
}
