//! Panics, and what a driver makes of them. As in the product: what panicked is started again, and what it held is not
//! believed.

use std::collections::BTreeSet;

use membership::{Leases, Member, Membership, View};

use super::Node;
use crate::bug::Bug;
use crate::oracle::SimTime;

/// A supervisor starts a task again so long after its first panic.
const PAUSE: SimTime = 50_000_000;

/// A task of the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// Ticks the shards, and finds those in which something panicked.
    Keeper,
    /// Sends what is written.
    Flush,
    /// Asks the others whether they live, and compares clocks.
    Heartbeat,
}

/// What panicked on a node and has not gone on since.
#[derive(Debug, Default)]
pub(super) struct Panics {
    /// Shards that do nothing before a keeper has looked at them.
    poisoned: BTreeSet<usize>,
    /// Until when a task rests.
    resting: Vec<(Task, SimTime)>,
    /// What the shards go by until a membership machine that was started again has heard of somebody.
    published: Option<(View, Leases)>,
}

impl Panics {
    pub(super) fn is_poisoned(&self, shard: usize) -> bool {
        self.poisoned.contains(&shard)
    }

    pub(super) fn rests(&self, now: SimTime, task: Task) -> bool {
        let rests = |&(resting, until): &(Task, SimTime)| resting == task && now < until;
        self.resting.iter().any(rests)
    }

    /// What was published last: of this machine, unless it has yet to hear of somebody.
    pub(super) fn known<'a>(&'a self, membership: &'a Membership) -> (&'a View, &'a Leases) {
        match &self.published {
            Some((view, leases)) => (view, leases),
            None => (membership.view(), membership.leases()),
        }
    }

    /// Whether a membership machine that was started again has yet to hear of somebody.
    pub(super) fn is_blind(&self) -> bool {
        self.published.is_some()
    }

    /// It has.
    pub(super) fn on_published(&mut self) {
        self.published = None;
    }
}

impl Node {
    /// Something panics in the middle of a write of this shard, and leaves nothing of what was counted.
    pub(crate) fn on_shard_panic(&mut self, shard: usize) {
        self.shards[shard].break_counts();
        self.panics.poisoned.insert(shard);
    }

    /// A task panics, and rests until it is started again.
    pub(crate) fn on_task_panic(&mut self, now: SimTime, task: Task) {
        self.panics.resting.retain(|&(_, until)| now < until);
        self.panics.resting.push((task, now + PAUSE));
    }

    /// The membership machine panics: a fresh one goes on with its facts, and is told of the `peers` that are connected.
    pub(crate) fn on_membership_panic(&mut self, now: SimTime, peers: &[Member]) {
        let boot = self.clocks(now).boot;
        let view = self.membership.view();
        if 1 < view.members().len() {
            let published = (view.clone(), self.membership.leases().clone());
            self.panics.published.get_or_insert(published);
        }
        self.membership = self.membership.restarted(boot);
        for peer in peers {
            self.membership.on_introduced(boot, peer);
        }
        self.settle_membership(now);
    }

    /// Shards in which something panicked start again.
    pub(super) fn recover(&mut self, now: SimTime) {
        for shard in std::mem::take(&mut self.panics.poisoned) {
            if self.bug != Some(Bug::GoesOnPoisoned) {
                self.with_shard(now, shard, |shard, around| shard.on_poisoned(around));
            }
        }
    }
}
