//! Who may claim a shard, and whose promises it needs.

use delta_crdt::ReplicaId;

use super::Shard;
use crate::settings::{Fault, Partition};
use crate::surroundings::Surroundings;

impl Shard {
    /// Whose promises a claim needs: of everybody alive who counts and remembers, or holds the shard. A newcomer that does
    /// not count yet, or has yet to hear what a majority knows, knows nothing that these do not know, and could not promise.
    /// But where nobody has owned the shard since all nodes started: then its disk may have what no other has, of whoever
    /// stopped last.
    pub(super) fn to_ask<'a>(
        &'a self,
        around: Surroundings<'a>,
    ) -> impl Iterator<Item = ReplicaId> + 'a {
        let held = |replica| self.record.as_ref().is_some_and(|it| it.held_by(replica));
        let others = around.view.others(self.me);
        let is_new = self.record.is_none() && !self.settings.has(Fault::AsksWhoRemembers);
        let is_told = move |other| is_new || around.view.remembers(other);
        let has_say = move |other| around.view.counts(other) && is_told(other);
        others.filter(move |&other| has_say(other) || held(other))
    }

    /// Whether those give a lease now who must give it to an owner: claiming without would be in vain.
    pub(super) fn may_be_leased(&self, around: Surroundings<'_>) -> bool {
        let runs = |other: ReplicaId| around.now.boot < around.leases.from_holder(other).until;
        match self.settings.partition {
            Partition::Available => {
                let holders = self
                    .record
                    .as_ref()
                    .map_or(&[][..], |record| &record.holders);
                let mut holders = holders
                    .iter()
                    .copied()
                    .filter(|&holder| holder != self.me && around.view.contains(holder))
                    .peekable();
                if holders.peek().is_some() {
                    return holders.all(runs);
                }
                let mut others = around.view.others(self.me).peekable();
                others.peek().is_none() || others.any(runs)
            }
            Partition::Quorum => {
                let agrees = |voter| voter == self.me || runs(voter);
                around.view.is_majority(agrees)
            }
        }
    }

    /// Whether the shard may be this node's: it takes shards, or has a copy that nobody else may have. Whoever leaves opens
    /// nothing anew, and whoever only asks opens nothing ever.
    pub(super) fn may_own(&self, around: Surroundings<'_>) -> bool {
        let holds = || self.record.as_ref().is_some_and(|it| it.held_by(self.me));
        around.order.contains(&self.me) || holds()
    }

    /// Whether this node's clock is off, and somebody is there to claim whose clock is not.
    pub(super) fn is_aside(&self, around: Surroundings<'_>) -> bool {
        let [preferred, aside] = around.view.placed();
        !preferred.is_empty() && aside.iter().any(|seen| seen.replica == self.me)
    }
}
