//! What people are told of members that come and go: who, and what it means for them.

use delta_crdt::ReplicaId;
use membership::{Seen, Standing, View};
use shard::ShardId;

use super::Cluster;
use super::slots::SHARDS;

impl Cluster {
    /// Tells of the members that this node sees no more, and of those that it sees anew.
    pub(super) fn log_members(&self, before: &View, now: &View) {
        let me = self.inner.me;
        let differ = |these: &'_ View, those: &View| -> Vec<Seen> {
            let others = these.members().iter().filter(|seen| seen.replica != me);
            let others = others.filter(|seen| !those.contains(seen.replica));
            others.cloned().collect()
        };
        for lost in differ(before, now) {
            let has_successor = now.members().iter().any(|seen| seen.name == lost.name);
            if !has_successor {
                self.log_lost(&lost);
            }
        }
        for Seen { name, replica, .. } in differ(now, before) {
            tracing::info!(node = %name, %replica, "a member is here, and answers");
        }
    }

    fn log_lost(&self, lost: &Seen) {
        let owns = |&shard: &u16| self.inner.slots.owner(ShardId(shard)) == Some(lost.replica);
        let (node, shards) = (&lost.name, (0..SHARDS).filter(owns).count());
        match self.standing_of(lost.replica) {
            Some(Standing::Joined | Standing::Leaving) => tracing::warn!(
                %node,
                shards,
                "a member is lost: it gives no sign of life. Hits on keys of its shards wait until others have taken these over"
            ),
            Some(Standing::Forgotten) => tracing::info!(%node, shards, "a member was forgotten"),
            Some(Standing::Left) | None => tracing::info!(%node, "a member has left in order"),
        }
    }

    /// `None`: nobody lists it any more.
    fn standing_of(&self, replica: ReplicaId) -> Option<Standing> {
        let standing = self.with_membership(|membership, _| {
            let member = membership.roster().by_replica(replica);
            member.map(|member| member.standing)
        });
        standing.flatten()
    }

    /// The name of a member, for people. Of who is listed no more, how its incarnation is called.
    pub(super) fn name_of(&self, replica: ReplicaId) -> String {
        let name = self.with_membership(|membership, _| {
            let member = membership.roster().by_replica(replica);
            member.map(|member| member.name.clone())
        });
        name.flatten().unwrap_or_else(|| replica.to_string())
    }
}
