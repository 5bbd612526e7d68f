//! Panics on some host, and the promise that a copy which is recorded is there.

use rand::Rng;
use shard::Role;

use super::{HOSTS, Happening, MILLIS, SECONDS, World};
use crate::node::{Node, SHARDS, Task};
use crate::oracle::SimTime;
use crate::workload::Target;

/// Between the last panic and the end, at least: a copy is asked for again every 250 ms, and its pieces are few.
const RECOVERED_AFTER: SimTime = 5 * SECONDS;

/// Beyond what clocks differ by: a key that one node holds for full again, another may not.
const NEARLY_FULL: SimTime = 500 * MILLIS;

impl World {
    /// Something panics on one of these hosts: in some of its shards, in its membership machine, or in a task.
    pub(super) fn panic(&mut self, up: &[usize]) {
        let host = up[self.rng.random_range(0..up.len())];
        match self.rng.random_range(0..7) {
            0..=2 => {
                let count = self.rng.random_range(1..=SHARDS);
                self.panic_in_shards(host, count);
            }
            3 => self.panic_in_membership(host),
            4 => self.panic_in_task(host, Task::Keeper),
            5 => self.panic_in_task(host, Task::Heartbeat),
            _ => self.panic_in_task(host, Task::Flush),
        }
    }

    /// Every shard of some host panics when nobody asks for anything any more: no write will tell its owner.
    pub(super) fn late_panic(&mut self) {
        let end = (self.scenario.seconds + self.scenario.quiet) * SECONDS;
        if end < self.now + RECOVERED_AFTER {
            return;
        }
        if !self.is_settled() {
            return self.at(self.now + 300 * MILLIS, Happening::LatePanic);
        }
        let up = (0..HOSTS).filter(|&host| self.hosts[host].node.is_some());
        let up = Vec::from_iter(up);
        let host = up[self.rng.random_range(0..up.len())];
        self.panic_in_shards(host, SHARDS);
    }

    fn panic_in_shards(&mut self, host: usize, count: u16) {
        let Some(node) = &mut self.hosts[host].node else {
            return;
        };
        let me = node.me;
        let first = self.rng.random_range(0..SHARDS);
        let broken = Vec::from_iter((0..count).map(|shard| (first + shard) % SHARDS));
        for &shard in &broken {
            node.on_shard_panic(usize::from(shard));
        }
        // What nobody else holds is lost with it.
        let is_alone = |shard: u16| {
            let record = node.shards[usize::from(shard)].record();
            record.is_none_or(|record| record.holders == [me])
        };
        let lost = (0..self.targets.len()).filter(|&key| {
            let shard = self.targets[key].key.shard(SHARDS);
            broken.contains(&shard) && is_alone(shard)
        });
        let lost = Vec::from_iter(lost);
        self.say(|| format!("shards {broken:?} of host {host} panic"));
        self.oracle.lost(self.now, me);
        self.oracle.holders_lost(lost);
    }

    fn panic_in_membership(&mut self, host: usize) {
        self.say(|| format!("the membership of host {host} panics"));
        let peers = (0..HOSTS).filter(|&other| other != host && self.network.connects(host, other));
        let peers = peers.filter_map(|other| {
            let node = self.hosts[other].node.as_ref()?;
            Some(node.membership.me().clone())
        });
        let (peers, now) = (Vec::from_iter(peers), self.now);
        if let Some(node) = &mut self.hosts[host].node {
            node.on_membership_panic(now, &peers);
        }
        self.hosts[host].blind_at = now;
        self.after(host);
    }

    fn panic_in_task(&mut self, host: usize, task: Task) {
        self.say(|| format!("{task:?} of host {host} panics"));
        let now = self.now;
        if let Some(node) = &mut self.hosts[host].node {
            node.on_task_panic(now, task);
        }
    }

    /// Copies: every holder in an owner's record has what the owner has. Where there is room for it.
    pub(super) fn check_copies(&mut self) {
        if self.scenario.is_tight {
            return;
        }
        let nodes = || self.hosts.iter().filter_map(|host| host.node.as_ref());
        let lacks = |target: &Target| {
            let shard = usize::from(target.key.shard(SHARDS));
            let owner = nodes().find(|node| node.shards[shard].role() == Role::Open)?;
            let record = owner.shards[shard].record()?;
            let wall = |node: &Node| node.clocks(self.now).wall.get();
            let mut holders = nodes().filter(|node| record.held_by(node.me));
            let lacking = holders.find(|holder| {
                // A clock that is off by seconds is ahead of the owner's by more than others are.
                let ahead = wall(holder).saturating_sub(wall(owner));
                let later = self.now + NEARLY_FULL + ahead;
                owner.holds(later, target.key) && !holder.holds(self.now, target.key)
            });
            lacking.map(|holder| (shard, holder.me))
        };
        if let Some((shard, holder)) = self.targets.iter().find_map(lacks) {
            let story = format!("{holder:?} holds shard {shard}, and lacks what its owner has");
            self.oracle.report("copies", self.now, story);
        }
    }
}
