//! Refused connections that are not death, and the promise that whoever can be reached is alive.

use delta_crdt::ReplicaId;
use rand::Rng;

use super::{HOSTS, Happening, MILLIS, SECONDS, World};
use crate::node::Node;
use crate::oracle::SimTime;

/// Three refusals in a row, as the transport counts them.
const REFUSED_FOR: std::ops::RangeInclusive<SimTime> = 30 * MILLIS..=60 * MILLIS;

/// The longest pause between two attempts to connect.
const REDIAL: SimTime = SECONDS;

/// Within so long two nodes that can reach each other must each hold the other for alive.
const MEET: SimTime = 2 * SECONDS;

impl World {
    /// The sides of the split refuse each other's connections instead of dropping them, one of them or both: until it
    /// heals, their nodes have evidence that those across are gone.
    pub(super) fn refuse(&mut self) {
        let one_way = self.rng.random_bool(0.5);
        self.say(|| format!("connections across are refused, one way only: {one_way}"));
        let up: Vec<(usize, ReplicaId)> = self.running_nodes().map(|(h, n)| (h, n.me)).collect();
        for &(host, _) in &up {
            for &(other, replica) in &up {
                let (side, across) = (self.network.sides[host], self.network.sides[other]);
                if side != across && (!one_way || side < across) {
                    let after = self.rng.random_range(REFUSED_FOR);
                    self.at(self.now + after, Happening::Refused { host, replica });
                }
            }
        }
    }

    /// Once more a connection to a live process was refused; the next attempt follows after a pause.
    pub(super) fn connection_refused(&mut self, host: usize, replica: ReplicaId) {
        let Some(&other) = self.host_of.get(&replica) else {
            return;
        };
        if !self.network.connects(host, other) {
            self.happen(Happening::Gone { host, replica });
            let pause = self.rng.random_range(REDIAL / 2..=REDIAL);
            self.at(self.now + pause, Happening::Refused { host, replica });
        }
    }

    /// Who is reachable is alive within two seconds: a node that runs holds every other that runs for alive, if both have
    /// run, and messages have passed between them, for so long.
    pub(super) fn check_alive(&mut self, host: usize) {
        let long_ago = |since: SimTime| since + MEET <= self.now;
        if self.network.loss != 0.0 || !long_ago(self.last_heal) {
            return;
        }
        let is_fit = |host: usize| {
            let host = &self.hosts[host];
            !host.paused && host.leaving_since.is_none() && long_ago(host.fit_since)
        };
        let may_see = is_fit(host) && long_ago(self.hosts[host].blind_at);
        let Some(node) = self.hosts[host].node.as_ref().filter(|_| may_see) else {
            return;
        };
        let missed = self.running_nodes().find(|&(other, theirs)| {
            let both = is_fit(other) && node.joined && theirs.joined;
            // For 20 ms after its last word the process is still there.
            let stays = node.membership.me().belongs() && theirs.membership.me().belongs();
            both && stays
                && self.network.connects(host, other)
                && !node.membership.view().contains(theirs.me)
        });
        if let Some((other, _)) = missed {
            let story = format!("host {host} holds host {other} for dead, and reaches it");
            self.oracle.report("alive", self.now, story);
        }
    }

    fn running_nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        (0..HOSTS).filter_map(|host| Some((host, self.hosts[host].node.as_ref()?)))
    }
}
