//! What a node keeps on its disk, and takes back.

use kept_counts::{Shards, Writer};
use membership::{Beginning, Member};
use quota::{BootNanos, Now};
use shard::{Shard, ShardId};

use super::{Node, SHARDS};
use crate::oracle::SimTime;

/// A node at one moment, as its writer sees it.
struct At<'a> {
    node: &'a mut Node,
    now: SimTime,
}

impl Shards for At<'_> {
    fn count(&self) -> u16 {
        SHARDS
    }

    fn with<R>(&mut self, shard: ShardId, act: impl FnOnce(&mut Shard, Now) -> R) -> Option<R> {
        let index = usize::from(shard.0);
        let now = self.node.clocks(self.now);
        let is_believed = !self.node.panics.is_poisoned(index);
        is_believed.then(|| act(&mut self.node.shards[index], now))
    }

    fn is_leaving(&self) -> bool {
        self.node.is_leaving
    }

    fn members(&self) -> Option<Vec<Member>> {
        let takes_part = self.node.joined && self.node.beginning.is_none();
        takes_part.then(|| self.node.membership.counting())
    }
}

impl Node {
    /// Takes back what its disk has, before it hears of anybody. Returns how many keys that are.
    pub(crate) fn take_back(
        &mut self,
        now: SimTime,
        cells: Vec<(quota::KeyHash, delta_crdt::Cell)>,
    ) -> usize {
        kept_counts::take_back(&mut At { node: self, now }, cells)
    }

    /// Waits for newcomers that were met before it takes part in deciding.
    pub(crate) fn begin_with(&mut self, beginning: Option<Beginning>) {
        self.beginning = beginning;
    }

    /// It hands over what it has, to go.
    pub(crate) fn leave(&mut self, now: SimTime) {
        self.is_leaving = true;
        let boot = self.clocks(now).boot;
        self.membership.on_leave(boot);
        self.settle_membership(now);
    }

    /// Has a writer add what has changed to a log.
    pub(crate) fn write_kept<L: kept_counts::Log>(
        &mut self,
        now: SimTime,
        writer: &mut Writer,
        log: &mut L,
    ) -> Result<(), L::Error> {
        writer.write(log, &mut At { node: self, now })
    }

    /// What has changed of shards that others own is dropped, for a bug.
    pub(crate) fn drop_changes_of_copies(&mut self) {
        for shard in &mut self.shards {
            let owner = shard.record().map(shard::Record::owner);
            if owner.is_some_and(|owner| owner != self.me) {
                let _dropped = shard.take_kept_changes();
            }
        }
    }

    /// Whether it takes part in deciding, every shard has an owner that it sees, and these have what it took back.
    pub(crate) fn is_ready(&mut self, now: SimTime) -> bool {
        let view = self.membership.view();
        let owned = |shard: &Shard| {
            let owner = shard.record().map(shard::Record::owner);
            owner.is_some_and(|owner| view.contains(owner))
        };
        let takes_part = self.joined && self.beginning.is_none() && view.counts(self.me);
        takes_part
            && self.shards.iter().all(owned)
            && !self.no_quorum(now)
            && kept_counts::is_known(&mut At { node: self, now })
    }

    /// Whether those that it met as newcomers are no members yet, and have not had their time.
    pub(super) fn waits(&mut self, now: SimTime) -> bool {
        // By the clock by which its host looked for others.
        let (boot, view) = (BootNanos::new(now), self.membership.view());
        self.beginning.take_if(|it| !it.waits(boot, view));
        self.beginning.is_some()
    }
}
