//! How hosts come up and go down.

use std::ops::Range;

use delta_crdt::ReplicaId;
use membership::{Contact, Founding, FoundingRules, FoundingStep, Member, NameVerdict, Standing};
use quota::{BootNanos, Nanos};
use rand::Rng;
use shard::{Partition, Role, Settings};

use super::evictions::keys_kept;
use super::{HOSTS, Happening, Host, MILLIS, SECONDS, World};
use crate::bug::Bug;
use crate::node::{FORGET_AFTER, MAX_LAG, Node, Payload, Rules, SHARDS};
use crate::oracle::{MAX_SKEW, SKEW, SimTime};
use request::Acknowledge;

/// Of the hosts.
const NAMES: [&str; HOSTS] = [
    "ada", "bea", "cal", "dov", "eve", "fay", "gil", "hal", "ivy",
];

/// The host whose node asks, in worlds that have one.
pub(super) const ASKING: usize = HOSTS - 1;

impl World {
    /// Whether the node of a host owns nothing.
    pub(super) fn asks(&self, host: usize) -> bool {
        self.scenario.asks && host == ASKING
    }

    pub(super) fn join(&mut self, host: usize) {
        if self.hosts[host].node.is_some() {
            return;
        }
        let name = NAMES[host];
        let address = format!("host {host}");
        let seed = (0..HOSTS).find(|&other| {
            let joined = self.hosts[other]
                .node
                .as_ref()
                .is_some_and(|node| node.joined);
            other != host
                && joined
                && !self.hosts[other].paused
                && self.network.connects(host, other)
        });
        let quorum = self.scenario.partition == Partition::Quorum;
        let founders = match seed {
            None if quorum => self.look_for_others(host),
            None => {
                let is_alone = self.hosts.iter().all(|host| host.node.is_none());
                (is_alone && !self.asks(host)).then(Vec::new)
            }
            Some(_) => None,
        };
        let alone = founders.is_some();
        let boot = |world: &Self, seed: usize| {
            world.hosts[seed]
                .node
                .as_ref()
                .map(|node| node.clocks(world.now).boot)
        };
        let verdict = match seed {
            None if alone => NameVerdict::Granted {
                incarnation: self.hosts[host].incarnation + 1,
            },
            None => NameVerdict::Asking,
            Some(seed) => match (boot(self, seed), &mut self.hosts[seed].node) {
                (Some(boot), Some(node)) => node.membership.on_name_wanted(boot, name, &address),
                _ => NameVerdict::Asking,
            },
        };
        if let Some(seed) = seed {
            self.after_membership(seed);
        }
        let NameVerdict::Granted { incarnation } = verdict else {
            return self.at(self.now + 50 * MILLIS, Happening::Join(host));
        };
        let reused =
            self.scenario.bug == Some(Bug::ReusedReplicaId) && self.hosts[host].incarnation != 0;
        // A node's own data directory remembers what a cluster that lost all its members cannot.
        let incarnation = if reused {
            self.hosts[host].incarnation
        } else {
            incarnation.max(self.hosts[host].incarnation + 1)
        };
        let replica = ReplicaId((host as u32 + 1) * 1_000 + incarnation as u32);
        let member = Member {
            name: name.into(),
            incarnation,
            replica,
            standing: match self.asks(host) && self.scenario.bug != Some(Bug::AsksAndOwns) {
                false => Standing::Joined,
                true => Standing::Leaving,
            },
            contact: Contact {
                cluster: address,
                ..Contact::default()
            },
        };
        let skew = self.clock_of(host);
        let settings = Settings {
            fault: self.scenario.bug.and_then(Bug::of_the_shard),
            anti_entropy_every: Nanos::from_secs(4),
            max_skew: MAX_SKEW,
            lent_keys: 1,
            ..Settings::lan(self.scenario.replicas, self.scenario.partition)
        };
        let acknowledge =
            match self.scenario.replicated || self.scenario.partition == Partition::Quorum {
                true => Acknowledge::Replicated,
                false => Acknowledge::Fast { max_lag: MAX_LAG },
            };
        self.say(|| format!("host {host} joins as {name} {incarnation} ({replica:?})"));
        let mut node = Node::new(
            host,
            member.clone(),
            self.now,
            skew,
            !alone,
            Rules {
                settings,
                acknowledge,
                forget_after: Some(FORGET_AFTER),
                epoch: self.scenario.epoch(),
                bug: self.scenario.bug,
            },
        );
        if let Some(founders) = founders {
            node.membership.on_founding(founders);
        }
        if self.scenario.is_tight {
            node.keep_at_most(keys_kept(host));
        }
        self.hosts[host] = Host {
            node: Some(node),
            incarnation,
            has_bad_clock: skew.unsigned_abs() > SKEW,
            fit_since: self.now + SECONDS,
            ..Host::default()
        };
        self.host_of.insert(replica, host);
        self.sides[host] = self.network.sides[host];
        self.at(self.now, Happening::Tick(host, replica));
        self.at(self.now, Happening::Flush(host, replica));
        if let Some(seed) = seed {
            let greeting = self.hosts[seed]
                .node
                .as_ref()
                .map(|node| node.membership.me().clone());
            if let Some(greeting) = greeting {
                let from = greeting.replica;
                self.at(
                    self.now,
                    Happening::Deliver {
                        host,
                        from,
                        to: replica,
                        payload: Payload::Introduction(greeting),
                    },
                );
                self.at(
                    self.now,
                    Happening::Deliver {
                        host: seed,
                        from: replica,
                        to: from,
                        payload: Payload::Introduction(member),
                    },
                );
            }
        }
    }

    /// A host that nobody lets in looks for others that look, and may found a cluster with them: those who count in it.
    fn look_for_others(&mut self, host: usize) -> Option<Vec<String>> {
        let now = BootNanos::new(self.now);
        let founds_alone = self.scenario.bug == Some(Bug::FoundsAlone);
        let rules = FoundingRules {
            asks: self.asks(host),
            quorum: !founds_alone,
            has_seeds: true,
            expect: (!founds_alone).then_some(self.scenario.nodes),
            look_around: Nanos::from_millis(300),
            patience: Nanos::from_secs(5),
        };
        let mut founding = self.hosts[host]
            .founding
            .take()
            .unwrap_or_else(|| Founding::new(now, NAMES[host], rules));
        let reached =
            (0..HOSTS).filter(|&other| other != host && self.network.connects(host, other));
        for other in reached {
            if let Some(met) = &self.hosts[other].founding {
                founding.on_newcomer(now, NAMES[other], met.founds(), met.follows(now));
            }
            if self.hosts[other].node.is_some() {
                founding.on_somebody();
            }
        }
        if founding.step(now) == FoundingStep::Look {
            self.hosts[host].founding = Some(founding);
            return None;
        }
        let is_member = |other: &Host| other.node.as_ref().is_some_and(|node| node.joined);
        if self.hosts.iter().any(is_member) {
            let story = format!("host {host} founds a cluster beside one that lives");
            self.oracle.report("founded once", self.now, story);
        }
        Some(founding.founders(now))
    }

    /// How far the clock of a host that starts is ahead. One of several may be far off: the others outvote it.
    pub(super) fn clock_of(&mut self, host: usize) -> i64 {
        let skew = self.rng.random_range(0..=SKEW) as i64;
        let others = || (0..HOSTS).filter(|&other| other != host);
        let is_up = |other: &usize| {
            self.hosts[*other]
                .node
                .as_ref()
                .is_some_and(|node| node.joined)
        };
        let has_bad_clock = others().any(|other| self.hosts[other].has_bad_clock);
        let may_be_bad = !self.scenario.splits
            && !has_bad_clock
            && self.scenario.replicas + 1 < others().filter(is_up).count();
        if !(may_be_bad && self.rng.random_bool(0.3)) {
            return skew;
        }
        let off = (self.rng.random_range(600..5_000) * MILLIS) as i64;
        let off = if self.rng.random_bool(0.5) { off } else { -off };
        self.say(|| {
            format!(
                "the clock of host {host} is off by {} ms",
                off / MILLIS as i64
            )
        });
        off
    }

    pub(super) fn after_membership(&mut self, host: usize) {
        let now = self.now;
        if let Some(node) = &mut self.hosts[host].node {
            node.settle_membership(now);
        }
        self.after(host);
    }

    /// Ends a process; `crash` without a word. It starts again after so many milliseconds.
    pub(super) fn stop(&mut self, host: usize, crash: bool, back: Range<SimTime>) {
        let Some(node) = self.hosts[host].node.take() else {
            return;
        };
        if crash {
            self.oracle.lost(self.now, node.me);
            self.lose_only_copies(&node);
        }
        if (0..HOSTS).all(|host| self.hosts[host].node.is_none() || self.asks(host)) {
            // P2 is about what others hold; a cluster of one has no others, or such as hold nothing.
            self.oracle.all_lost();
            self.last_ownerless = self.now;
            self.newest_terms.clear();
        }
        self.gone.push(node.me);
        self.hosts[host].leaving_since = None;
        self.hosts[host].backlog.clear();
        self.spread_word(node.me);
        let back = self.rng.random_range(back) * MILLIS;
        self.at(self.now + back, Happening::Join(host));
    }

    /// Without replicas, what a node owns is with it alone: P2 says nothing of it.
    pub(super) fn lose_only_copies(&mut self, node: &Node) {
        if self.scenario.replicas != 0 {
            return;
        }
        let owns = |key: &usize| {
            let shard = self.targets[*key].key.shard(SHARDS);
            node.shards[usize::from(shard)].role() != Role::Idle
        };
        let lost: Vec<usize> = (0..self.targets.len()).filter(owns).collect();
        self.oracle.holders_lost(lost);
    }

    /// Connections to a dead process are refused by its host, if that can be reached.
    pub(super) fn spread_word(&mut self, replica: ReplicaId) {
        let Some(&host) = self.host_of.get(&replica) else {
            return;
        };
        for other in 0..HOSTS {
            if other != host && self.network.connects(host, other) {
                let after = self.rng.random_range(MILLIS..4 * MILLIS);
                self.at(
                    self.now + after,
                    Happening::Gone {
                        host: other,
                        replica,
                    },
                );
            }
        }
    }

    pub(super) fn resume(&mut self, host: usize) {
        self.say(|| format!("host {host} goes on"));
        self.hosts[host].paused = false;
        self.hosts[host].fit_since = self.now;
        for happening in std::mem::take(&mut self.hosts[host].backlog) {
            self.happen(happening);
        }
    }

    pub(super) fn watch_leaving(&mut self, host: usize) {
        let Some(since) = self.hosts[host].leaving_since else {
            return;
        };
        let (now, may_leave) = (
            self.now,
            self.hosts[host].node.as_ref().is_some_and(Node::may_leave),
        );
        if may_leave {
            self.say(|| format!("host {host} has left"));
            self.hosts[host].leaving_since = None;
            if let Some(node) = &mut self.hosts[host].node {
                let boot = node.clocks(now).boot;
                node.membership.on_left(boot);
            }
            self.after_membership(host);
            self.at(now + 20 * MILLIS, Happening::Left(host));
        } else if since + 20 * SECONDS < now {
            self.oracle.report(
                "P3",
                now,
                format!("host {host} could not hand its shards off within 20 s"),
            );
        }
    }
}
