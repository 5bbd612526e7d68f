//! How nodes start with their disks, and how all of them end.

use delta_crdt::ReplicaId;
use kept_counts::Writer;
use membership::{Contact, Founding, FoundingRules, FoundingStep, Member, NameVerdict, Standing};
use quota::{BootNanos, Nanos};
use rand::Rng;
use rand::rngs::SmallRng;
use request::Acknowledge;
use shard::{Partition, Settings};

use super::world::{Happening, World};
use super::{KeptBug, MILLIS, SECONDS};
use crate::node::{self, MAX_LAG, Node, Payload};
use crate::oracle::{EPOCH, MAX_SKEW, SKEW, SimTime};

/// Of the hosts.
const NAMES: [&str; 5] = ["ada", "bea", "cal", "dov", "eve"];

/// How long a node waits for those that it remembers: shorter than the ten seconds of the default, so that runs are.
const START_WAIT: Nanos = Nanos::from_secs(4);

/// Who comes late comes so long after the others, or before: longer than anybody waits.
const LATE: SimTime = 7 * SECONDS;

/// Between two writes of what has changed, and between two tries. As in the product.
const WRITE_EVERY: SimTime = 500 * MILLIS;
const RETRY: SimTime = SECONDS;

/// What is told within so long before a kill may be forgotten.
const FORGOTTEN: SimTime = SECONDS;

/// A log is written anew when it has so many times the bytes that it had then, and a few keys at a time: again and again in
/// each run.
const LOG_RULES: kept_counts::Rules = kept_counts::Rules {
    rewrite_at: 4,
    rewrite_from: 20_000,
    rewritten_at_once: 500,
};

/// How a round ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// All at the same moment, in order.
    StoppedTogether,
    /// One after another, in order.
    StoppedInTurn,
    /// All at the same moment, without a word.
    Killed,
}

impl Ending {
    pub(super) fn any(rng: &mut SmallRng) -> Self {
        match rng.random_range(0..4) {
            0 => Self::StoppedTogether,
            1 => Self::StoppedInTurn,
            _ => Self::Killed,
        }
    }
}

/// How a round begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// All within two seconds.
    Together,
    /// This host has lost its disk.
    WithoutDisk(usize),
    /// This host comes long after the others.
    Late(usize),
    /// This host comes long before the others.
    Early(usize),
}

impl Start {
    pub(super) fn any(rng: &mut SmallRng, hosts: usize) -> Self {
        let host = rng.random_range(0..hosts);
        match rng.random_range(0..5) {
            0 | 1 => Self::WithoutDisk(host),
            2 => Self::Late(host),
            3 => Self::Early(host),
            _ => Self::Together,
        }
    }
}

impl World {
    pub(super) fn start_all(&mut self, start: Start) {
        self.say(|_| format!("all are started: {start:?}"));
        self.lost_disk = matches!(start, Start::WithoutDisk(_)) && self.ended.is_some();
        for host in 0..self.hosts.len() {
            let is_apart = match start {
                Start::Late(late) => host == late,
                Start::Early(early) => host != early,
                Start::Together | Start::WithoutDisk(_) => false,
            };
            if start == Start::WithoutDisk(host) {
                let rewritten = self.hosts[host].disk.rewritten;
                self.hosts[host].disk = super::disk::Disk::new(self.rules.bug);
                self.hosts[host].disk.rewritten = rewritten;
            }
            let within = self.rng.random_range(0..2 * SECONDS);
            let late = if is_apart { LATE } else { 0 };
            self.after(late + within, Happening::Join(host));
        }
    }

    pub(super) fn join(&mut self, host: usize) {
        if self.hosts[host].node.is_some() {
            return;
        }
        self.hosts[host].started.get_or_insert(self.now);
        let name = NAMES[host];
        let address = format!("host {host}");
        let is_in = |other: &usize| {
            let it = &self.hosts[*other];
            let joined = it.node.as_ref().is_some_and(|node| node.joined);
            *other != host && joined && !it.is_stopped
        };
        let seed = (0..self.hosts.len()).find(is_in);
        let mut founded = None;
        let verdict = match seed {
            Some(seed) => {
                let now = self.now;
                let verdict = self.hosts[seed].node.as_mut().map(|node| {
                    let boot = node.clocks(now).boot;
                    node.membership.on_name_wanted(boot, name, &address)
                });
                if let Some(node) = &mut self.hosts[seed].node {
                    node.settle_membership(now);
                }
                self.carry_out(seed);
                verdict.unwrap_or(NameVerdict::Asking)
            }
            None => {
                founded = self.look(host);
                match founded {
                    Some(_) => NameVerdict::Granted { incarnation: 1 },
                    None => NameVerdict::Asking,
                }
            }
        };
        let NameVerdict::Granted { incarnation } = verdict else {
            return self.after(40 * MILLIS, Happening::Join(host));
        };
        let founding = self.hosts[host].founding.take();
        let beginning = founding.and_then(|it| it.beginning(BootNanos::new(self.now)));
        self.hosts[host].lives += 1;
        let replica = ReplicaId((host as u32 + 1) * 1_000 + self.hosts[host].lives);
        let member = Member {
            name: name.into(),
            incarnation,
            replica,
            standing: Standing::Joined,
            contact: Contact {
                cluster: address,
                ..Contact::default()
            },
        };
        self.say(|_| format!("host {host} joins as {name} {incarnation} ({replica})"));
        let mut node = self.node(host, member.clone(), founded.is_none());
        let (kept, bytes) = self.hosts[host].disk.read();
        self.report.taken_back += node.take_back(self.now, kept.cells) as u64;
        if let Some(founders) = founded {
            node.membership.on_founding(founders);
        }
        node.begin_with(beginning);
        let host_of = &mut self.hosts[host];
        host_of.node = Some(node);
        host_of.writer = Some(Writer::new(LOG_RULES, bytes, kept.members));
        host_of.failures = 0;
        self.host_of.insert(replica, host);
        self.after(0, Happening::Tick(host, replica));
        self.after(0, Happening::Flush(host, replica));
        self.after(0, Happening::Write(host, replica));
        let greeting = seed.and_then(|seed| {
            let node = self.hosts[seed].node.as_ref();
            Some((seed, node?.membership.me().clone()))
        });
        if let Some((seed, greeting)) = greeting {
            let other = greeting.replica;
            let greet = |host, from, to, member| Happening::Deliver {
                host,
                from,
                to,
                payload: Payload::Introduction(member),
            };
            self.after(0, greet(host, other, replica, greeting));
            self.after(0, greet(seed, replica, other, member));
        }
    }

    fn node(&mut self, host: usize, member: Member, joins: bool) -> Node {
        let settings = Settings {
            fault: self.rules.bug.and_then(KeptBug::of_the_shard),
            anti_entropy_every: Nanos::from_secs(4),
            max_skew: MAX_SKEW,
            lent_keys: 1,
            ..Settings::lan(2, self.rules.partition)
        };
        let acknowledge = match self.rules.replicated {
            true => Acknowledge::Replicated,
            false => Acknowledge::Fast { max_lag: MAX_LAG },
        };
        let rules = node::Rules {
            settings,
            acknowledge,
            forget_after: None,
            epoch: EPOCH,
            bug: None,
        };
        let skew = self.rng.random_range(0..=SKEW) as i64;
        Node::new(host, member, self.now, skew, joins, rules)
    }

    /// A host that finds no member looks for others that look, and may found a cluster: those who count in it.
    fn look(&mut self, host: usize) -> Option<Vec<String>> {
        let now = BootNanos::new(self.now);
        let is_quorum = self.rules.partition == Partition::Quorum;
        let rules = FoundingRules {
            asks: false,
            quorum: is_quorum && !self.rules.has(KeptBug::MinorityFounds),
            has_seeds: true,
            expect: Some(self.hosts.len()),
            look_around: Nanos::from_millis(300),
            patience: Nanos::from_secs(5),
        };
        let remembered = self.hosts[host].disk.members();
        let waits_for = match self.rules.has(KeptBug::WaitsForNobody) {
            true => remembered
                .iter()
                .filter(|name| **name == NAMES[host])
                .cloned()
                .collect(),
            false => remembered.clone(),
        };
        let mut founding = self.hosts[host].founding.take().unwrap_or_else(|| {
            Founding::new(now, NAMES[host], rules).remembering(waits_for, START_WAIT)
        });
        for other in (0..self.hosts.len()).filter(|&other| other != host) {
            if let Some(met) = &self.hosts[other].founding {
                founding.on_newcomer(now, NAMES[other], met.founds(), met.follows(now));
                if met.remembers() {
                    founding.on_remembering(NAMES[other]);
                }
            }
            if self.hosts[other].node.is_some() {
                founding.on_somebody();
            }
        }
        let step = founding.step(now);
        let founders = founding.founders(now);
        self.hosts[host].founding = Some(founding);
        if step == FoundingStep::Look {
            return None;
        }
        self.say(|_| {
            format!("host {host} founds a cluster of {founders:?}, remembers {remembered:?}")
        });
        self.check_founding(host, &remembered);
        Some(founders)
    }

    /// K5.
    fn check_founding(&mut self, host: usize, remembered: &[String]) {
        let hosts = || self.hosts.iter().enumerate();
        let beside = hosts().any(|(_, it)| it.node.is_some() && !it.is_stopped);
        let place = |name: &String| NAMES.iter().position(|it| it == name);
        let is_up = |name: &&String| place(name).is_some_and(|it| self.hosts[it].started.is_some());
        let knows = |name: &&String| {
            let it = place(name).map(|it| &self.hosts[it]);
            it.is_some_and(|it| it.started.is_some() && !it.disk.members().is_empty())
        };
        let waited = self.now - self.hosts[host].started.unwrap_or(self.now);
        let lacks_some = remembered.iter().filter(is_up).count() < remembered.len();
        let too_few = remembered.iter().filter(knows).count() < remembered.len() / 2 + 1;
        let is_quorum = self.rules.partition == Partition::Quorum;
        let others_remember = hosts().any(|(other, it)| {
            let looks = it.founding.is_some() && other != host;
            looks && !it.disk.members().is_empty()
        });
        let story = if beside {
            "beside one that lives"
        } else if remembered.is_empty() && others_remember {
            "and others remember one"
        } else if lacks_some && waited < START_WAIT.get() {
            "without those that it remembers, at once"
        } else if !remembered.is_empty() && is_quorum && too_few {
            "without a majority that remembers"
        } else {
            return;
        };
        let story = format!("host {host} founds a cluster {story}; it remembers {remembered:?}");
        self.break_promise("K5", story);
    }

    pub(super) fn write(&mut self, host: usize, me: ReplicaId) {
        if !self.runs(host, me) || self.hosts[host].is_stopped {
            return;
        }
        let is_written = self.write_now(host);
        let takes = self.rng.random_range(MILLIS..300 * MILLIS);
        self.after(takes, Happening::Written(host, me));
        let failures = self.hosts[host].failures;
        let pause = match is_written {
            true if self.rules.has(KeptBug::WritesSeldom) => 5 * SECONDS,
            true => WRITE_EVERY,
            false => RETRY << failures.min(4),
        };
        self.hosts[host].failures = if is_written { 0 } else { failures + 1 };
        self.after(takes + pause, Happening::Write(host, me));
    }

    /// Has the writer add what has changed. Whether the disk takes it.
    fn write_now(&mut self, host: usize) -> bool {
        let owned_alone = self.rules.has(KeptBug::KeepsOwnedAlone);
        let it = &mut self.hosts[host];
        let (Some(node), Some(writer)) = (&mut it.node, &mut it.writer) else {
            return true;
        };
        if owned_alone {
            node.drop_changes_of_copies();
        }
        let is_written = node.write_kept(self.now, writer, &mut it.disk).is_ok();
        if !is_written {
            self.say(|_| format!("the disk of host {host} is full"));
        }
        is_written
    }

    pub(super) fn end(&mut self) {
        self.check_ready();
        let ends = self.ends;
        self.say(|_| format!("all end: {ends:?}"));
        for host in 0..self.hosts.len() {
            match ends {
                Ending::Killed => self.kill(host),
                Ending::StoppedTogether => self.leave(host),
                Ending::StoppedInTurn => {
                    self.after(host as SimTime * SECONDS, Happening::Leave(host));
                }
            }
        }
        if ends == Ending::Killed {
            self.all_gone(Some(self.now));
        }
    }

    fn kill(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.node = None;
        it.disk.cut_short(&mut self.rng);
    }

    pub(super) fn leave(&mut self, host: usize) {
        self.hosts[host].leaving_since = Some(self.now);
        if let Some(node) = &mut self.hosts[host].node {
            node.leave(self.now);
        }
        self.carry_out(host);
    }

    /// A node that leaves goes once it has handed everything over, or nobody is there to take it.
    pub(super) fn watch_leaving(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        let (Some(since), Some(node)) = (it.leaving_since, &mut it.node) else {
            return;
        };
        let view = node.membership.view();
        let is_alone = !view.members().iter().any(|seen| seen.takes_shards);
        if !(is_alone || node.may_leave() || since + 20 * SECONDS < self.now) {
            return;
        }
        let me = node.me;
        let boot = node.clocks(self.now).boot;
        node.membership.on_left(boot);
        node.settle_membership(self.now);
        it.is_stopped = true;
        self.carry_out(host);
        self.after(60 * MILLIS, Happening::Left(host, me));
    }

    pub(super) fn left(&mut self, host: usize, me: ReplicaId) {
        self.say(|_| format!("host {host} has left"));
        if !self.rules.has(KeptBug::StopsUnwritten) {
            while self.write_now(host)
                && self.hosts[host]
                    .writer
                    .as_ref()
                    .is_some_and(Writer::is_rewriting)
            {}
        }
        self.hosts[host].disk.settle();
        self.hosts[host].node = None;
        for other in (0..self.hosts.len()).filter(|&other| other != host) {
            let after = self.rng.random_range(MILLIS..4 * MILLIS);
            let replica = me;
            self.after(
                after,
                Happening::Gone {
                    host: other,
                    replica,
                },
            );
        }
        if self.hosts.iter().all(|host| host.node.is_none()) {
            self.all_gone(None);
        }
    }

    /// Nobody runs any more: a while later all are started again.
    fn all_gone(&mut self, killed: Option<SimTime>) {
        self.books.on_gone(killed, FORGOTTEN);
        self.ended = Some(self.ends);
        for host in &mut self.hosts {
            host.writer = None;
            host.founding = None;
            host.started = None;
            host.is_ready = false;
            host.leaving_since = None;
            host.is_stopped = false;
        }
        let pause = self.rng.random_range(0..3 * SECONDS);
        self.after(pause, Happening::Begin);
    }
}
