//! The `owner` strategy: a shard's owner decides, and everybody else asks it.

/// A node's incarnation, as `delta_crdt::ReplicaId` holds it.
pub type ReplicaRaw = u32;

/// What a node knows of who owns which shard.
pub trait ShardTable {
    /// This node.
    fn here(&self) -> ReplicaRaw;

    /// The node that holds the newest term known for `shard`. `None` while nobody is known to.
    fn owner(&self, shard: u16) -> Option<ReplicaRaw>;
}

/// Who decides for a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Decide here, on this node's own copy.
    DecideHere,
    /// Ask the owner. When it stays silent past the deadline, answer by the limit's fail mode.
    Ask {
        /// The node to ask.
        owner: ReplicaRaw,
    },
    /// Nobody owns the shard yet. Hold the hit, within its deadline, until the table changes.
    Wait,
}

/// Says who decides for `shard`. The same table and shard give the same plan.
///
/// Gives up a hop for keys of other nodes, and under partition as much as the owner's leases allow.
#[inline]
pub fn plan(table: &impl ShardTable, shard: u16) -> Plan {
    match table.owner(shard) {
        Some(owner) if owner == table.here() => Plan::DecideHere,
        Some(owner) => Plan::Ask { owner },
        None => Plan::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Node 7's view of three shards.
    struct Table([Option<ReplicaRaw>; 3]);

    impl ShardTable for Table {
        fn here(&self) -> ReplicaRaw {
            7
        }

        fn owner(&self, shard: u16) -> Option<ReplicaRaw> {
            self.0[usize::from(shard)]
        }
    }

    #[test]
    fn the_owner_decides_and_others_ask_it() {
        let table = Table([Some(7), Some(8), None]);
        let plans = [0, 1, 2].map(|shard| plan(&table, shard));
        assert_eq!(
            plans,
            [Plan::DecideHere, Plan::Ask { owner: 8 }, Plan::Wait]
        );
    }
}
