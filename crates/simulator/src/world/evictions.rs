//! Nodes that have no room: what they evict, and that it is gone.

use std::collections::BTreeMap;

use quota::KeyHash;
use shard::Role;

use super::{HOSTS, SECONDS, World};
use crate::node::SHARDS;
use crate::oracle::SimTime;

/// How many keys of a shard a host keeps, which holds three on average: hosts differ, and with them what an owner
/// and its replicas have room for.
pub(super) fn keys_kept(host: usize) -> usize {
    2 + host % 3
}

/// Once all is calm and nobody asks for anything any more, evictions end within so long: what is under way arrives, and
/// owners have compared what they hold with their replicas, which they do every four seconds.
const SETTLED_AFTER: SimTime = 5 * SECONDS;

/// What happened for want of room.
#[derive(Default)]
pub(super) struct Evictions {
    /// When an owner evicted a key that nobody has asked for since.
    by_key: BTreeMap<usize, SimTime>,
    last: SimTime,
}

impl Evictions {
    /// A key was asked for, and may have been counted anew.
    pub(super) fn on_decided(&mut self, key: usize) {
        self.by_key.remove(&key);
    }
}

impl World {
    /// A host had no room for these keys.
    pub(super) fn evicted(&mut self, host: usize, keys: &[KeyHash]) {
        self.evictions.last = self.now;
        for evicted in keys {
            if evicted.is_spared() {
                let story = format!("host {host} evicts {evicted}, which is to be spared");
                self.oracle.report("memory", self.now, story);
            }
            let Some(key) = self
                .targets
                .iter()
                .position(|target| target.key == *evicted)
            else {
                continue;
            };
            self.say(|| format!("host {host} evicts key {key}"));
            self.oracle.evicted(key);
            let node = self.hosts[host].node.as_ref();
            let shard = usize::from(evicted.shard(SHARDS));
            // A replica that has no room evicts for itself alone.
            if node.is_some_and(|node| node.shards[shard].role() == Role::Open) {
                self.evictions.by_key.insert(key, self.now);
            }
        }
    }

    /// An owner's eviction holds: in the end nobody has what was evicted after the last fault, and nobody goes on to evict.
    pub(super) fn check_evictions(&mut self) {
        let quiet = (self.scenario.seconds + 15) * SECONDS;
        if quiet + SETTLED_AFTER < self.evictions.last {
            let story = "nobody has asked for anything for 5 s, and keys are evicted".to_owned();
            self.oracle.report("memory", self.now, story);
        }
        let calm = (self.scenario.seconds + 5) * SECONDS;
        let evicted: Vec<usize> = self
            .evictions
            .by_key
            .iter()
            .filter(|&(_, &at)| calm < at)
            .map(|(&key, _)| key)
            .collect();
        for key in evicted {
            let target = self.targets[key];
            let has = |host: &usize| {
                let node = self.hosts[*host].node.as_ref();
                node.is_some_and(|node| node.holds(self.now, target.key))
            };
            if let Some(host) = (0..HOSTS).find(has) {
                let story = format!("key {key} was evicted, and host {host} still has it");
                self.oracle.report("memory", self.now, story);
            }
        }
    }
}
