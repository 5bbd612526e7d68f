//! What goes wrong, and when.

use std::ops::Range;

use delta_crdt::ReplicaId;
use rand::Rng;
use shard::Partition;

use super::{HOSTS, Happening, MILLIS, SECONDS, World};
use crate::links::Links;
use crate::node::SHARDS;
use crate::oracle::SimTime;

impl World {
    pub(super) fn fault(&mut self) {
        if self.scenario.seconds * SECONDS < self.now + 4 * SECONDS {
            return;
        }
        // P2 speaks of one loss at a time: the next one waits until every shard has its copies again.
        if self.network.is_split() || !self.network.cut.is_empty() || !self.is_settled() {
            return self.at(self.now + 300 * MILLIS, Happening::Fault);
        }
        self.at(
            self.now + self.scenario.fault_every * SECONDS,
            Happening::Fault,
        );
        self.faults += 1;
        let up: Vec<usize> = (0..HOSTS)
            .filter(|&host| self.hosts[host].node.is_some())
            .collect();
        let down: Vec<usize> = (0..HOSTS)
            .filter(|&host| self.hosts[host].node.is_none())
            .collect();
        if self.scenario.cuts && 2 < up.len() && self.rng.random_bool(0.3) {
            let links = self.some_links(&up);
            return self.cut(links, 500..6_000);
        }
        if self.rng.random_bool(0.1) {
            return self.panic(&up);
        }
        let quorum = self.scenario.partition == Partition::Quorum;
        let victim = up[self.rng.random_range(0..up.len())];
        match self.rng.random_range(0..100) {
            0..=7 if self.scenario.splits && quorum && 2 < up.len() => self.kill_majority(&up),
            8..=11 if self.scenario.splits && quorum && 2 < up.len() => {
                self.say(|| format!("kill -9 of host {victim}, which starts again cut off"));
                self.stop(victim, true, 200..203);
                // Longer than the five seconds after which a node may go on alone that may.
                let cut = self.now + 100 * MILLIS;
                self.at(cut, Happening::Split(vec![victim], 6_000..9_000));
            }
            12..=13 => {
                self.say(|| "kill -9 of every host".into());
                for victim in up {
                    self.stop(victim, true, 50..2_000);
                }
            }
            14..=16 if quorum && 2 < up.len() && !down.is_empty() => {
                let newcomer = down[self.rng.random_range(0..down.len())];
                self.say(|| {
                    format!("kill -9 of host {victim}, and host {newcomer} joins beside it")
                });
                // For longer than a client waits.
                self.stop(victim, true, 9_000..10_000);
                self.at(self.now + 1_500 * MILLIS, Happening::Join(newcomer));
            }
            0..=34 => {
                self.say(|| format!("kill -9 of host {victim}"));
                self.stop(victim, true, 50..6_000);
            }
            35..=54 => {
                let span = self.rng.random_range(200..4_000) * MILLIS;
                self.say(|| format!("host {victim} is paused for {} ms", span / MILLIS));
                if let Some(node) = self.hosts[victim].node.take() {
                    self.oracle.lost(self.now, node.me);
                    self.lose_only_copies(&node);
                    self.hosts[victim].node = Some(node);
                }
                self.hosts[victim].paused = true;
                self.at(self.now + span, Happening::Resume(victim));
            }
            55..=69 if 2 < up.len() => {
                self.say(|| format!("host {victim} leaves"));
                let now = self.now;
                self.hosts[victim].leaving_since = Some(now);
                if let Some(node) = &mut self.hosts[victim].node {
                    let boot = node.clocks(now).boot;
                    node.membership.on_leave(boot);
                }
                self.after_membership(victim);
            }
            70..=79 if !down.is_empty() => {
                let newcomer = down[self.rng.random_range(0..down.len())];
                self.at(self.now, Happening::Join(newcomer));
            }
            80..=95 if self.scenario.splits && 2 < up.len() => {
                let sides = (0..HOSTS).map(|_| usize::from(self.rng.random_bool(0.4)));
                let sides = sides.collect();
                self.split(sides, 500..6_000);
                if self.rng.random_bool(0.5) {
                    self.refuse();
                }
            }
            96..=99 => self.crowd(victim),
            _ => {
                self.say(|| "the network loses every tenth message".into());
                self.network.loss = 0.1;
                self.at(self.now + 3 * SECONDS, Happening::Heal);
            }
        }
    }

    /// Kills a majority at once, and cuts it off from the others as soon as it has started again.
    ///
    /// Under `quorum` an answered hit is with every holder, so that only shards without a surviving one are lost.
    pub(super) fn kill_majority(&mut self, up: &[usize]) {
        let majority = |host: usize| {
            let node = self.hosts[host].node.as_ref();
            node.map_or(0, |node| node.membership.view().majority())
        };
        let majority = up.iter().map(|&host| majority(host)).max().unwrap_or(0);
        let mut victims = up.to_vec();
        while majority < victims.len() {
            victims.swap_remove(self.rng.random_range(0..victims.len()));
        }
        self.say(|| format!("kill -9 of hosts {victims:?}"));
        let survives = |replica: &ReplicaId| !victims.contains(&self.host_of[replica]);
        let witness = self.hosts[victims[0]].node.as_ref();
        let is_lost = |shard: u16| {
            let record = witness.and_then(|node| node.shards[usize::from(shard)].record());
            record.is_some_and(|record| !record.holders.iter().any(survives))
        };
        let lost: Vec<usize> = (0..self.targets.len())
            .filter(|&key| is_lost(self.targets[key].key.shard(SHARDS)))
            .collect();
        self.last_state_lost = self.now;
        self.oracle.holders_lost(lost);
        for &victim in &victims {
            self.stop(victim, true, 200..203);
        }
        let cut = self.now + self.rng.random_range(203..240) * MILLIS;
        self.at(cut, Happening::Split(victims, 2_500..6_000));
    }

    pub(super) fn split(&mut self, sides: Vec<usize>, millis: Range<SimTime>) {
        self.network.sides = sides.clone();
        self.say(|| format!("the network splits: {sides:?}"));
        self.last_split = self.now;
        if self.scenario.partition == Partition::Available {
            self.sides = sides;
            self.apart = true;
            self.oracle.split(self.now);
        }
        let span = self.rng.random_range(millis) * MILLIS;
        self.at(self.now + span, Happening::Heal);
    }

    /// One or two links among `up`, one way or both, so that a third node reaches whoever does not reach another.
    fn some_links(&mut self, up: &[usize]) -> Links {
        let mut links = Links::NONE;
        for _ in 0..self.rng.random_range(1..=2) {
            let from = self.rng.random_range(0..up.len());
            let to = (from + self.rng.random_range(1..up.len())) % up.len();
            let (from, to) = (up[from], up[to]);
            let mut more = links.with(from, to);
            if self.rng.random_bool(0.5) {
                more = more.with(to, from);
            }
            if more.leave_detours(up) {
                links = more;
            }
        }
        links
    }

    pub(super) fn cut(&mut self, links: Links, millis: Range<SimTime>) {
        self.say(|| format!("links are cut: {links:?}"));
        self.network.cut = links;
        let span = self.rng.random_range(millis) * MILLIS;
        self.at(self.now + span, Happening::Heal);
    }

    pub(super) fn heal(&mut self) {
        if self.network.is_split() {
            self.say(|| "the network heals".into());
            self.last_split = self.now;
        }
        self.last_heal = self.now;
        self.network.sides = vec![0; HOSTS];
        self.network.cut = Links::NONE;
        self.network.loss = 0.0;
        // Whoever redials now finds out which processes are gone.
        for replica in self.gone.clone() {
            self.spread_word(replica);
        }
    }
}
