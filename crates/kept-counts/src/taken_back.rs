//! What a node takes in of its log, before it hears of anybody.

use delta_crdt::Cell;
use membership::Member;
use quota::KeyHash;
use shard::{Shard, ShardId};

use crate::node::Shards;

/// What a log said when its node started.
#[derive(Clone, Default, Debug)]
pub struct Kept {
    /// Who counted when it was last written. Empty: nobody knows.
    pub members: Vec<Member>,
    /// What was counted.
    pub cells: Vec<(KeyHash, Cell)>,
}

/// Takes in what was counted, and has every shard list what changes from now on. Returns how many keys there are: those that
/// are full again are not among them.
pub fn take_back(shards: &mut impl Shards, cells: Vec<(KeyHash, Cell)>) -> usize {
    let mut loaded = 0;
    let count = shards.count();
    for (key, cell) in cells {
        let is_loaded = shards.with(ShardId(key.shard(count)), |shard, now| {
            let is_needed = now.wall < cell.expires_at();
            if is_needed {
                shard.load_kept(now, vec![(key, cell)]);
            }
            is_needed
        });
        loaded += usize::from(is_loaded == Some(true));
    }
    for id in shards.ids() {
        shards.with(id, |shard, _| shard.list_kept_changes());
    }
    loaded
}

/// Whether the owners of all shards have what this node took back.
pub fn is_known(shards: &mut impl Shards) -> bool {
    let mut ids = shards.ids();
    ids.all(|id| shards.with(id, |shard: &mut Shard, _| shard.is_synced()) != Some(false))
}
