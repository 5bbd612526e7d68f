//! The event loop: hosts, clocks, clients and faults, all from one seed.

use std::collections::BTreeMap;
use std::ops::Range;

use delta_crdt::ReplicaId;
use membership::{Contact, Member, NameVerdict, Standing};
use quota::Limit;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shard::{Partition, Role, Settings, Shard};

use crate::bug::Bug;
use crate::network::Network;
use crate::node::{Event, Node, PATIENCE, Payload, SHARDS};
use crate::oracle::{Decided, MAX_SKEW, Oracle, RequestId, SKEW, SimTime, Violation};
use crate::workload::{Target, operation, targets};

const MILLIS: SimTime = 1_000_000;
const SECONDS: SimTime = 1_000 * MILLIS;

/// Of the membership's settings.
const HEARTBEAT: SimTime = 100 * MILLIS;

/// Most hosts of a run.
const HOSTS: usize = 7;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes at the start, 1 to 7.
    pub nodes: usize,
    /// Copies besides the owner's.
    pub replicas: usize,
    /// Keys that are hit.
    pub keys: usize,
    /// Hits a second.
    pub rate: u64,
    /// Length of the faulty part, in seconds of simulated time.
    pub seconds: u64,
    /// Between two faults, in seconds.
    pub fault_every: u64,
    /// Answers wait for a replica.
    pub replicated: bool,
    /// What a side does that cannot hear the others.
    pub partition: Partition,
    /// Whether the network is ever split.
    pub splits: bool,
    /// Whether clients give back and reset. A key that saw either is no longer checked.
    pub refunds: bool,
    /// A bug to switch on.
    pub bug: Option<Bug>,
    /// Print what happens.
    pub verbose: bool,
    /// Print the messages of this shard, too.
    pub watch: Option<u16>,
}

impl Scenario {
    /// The default workload, varied by the seed: both acknowledgements, both partition modes.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self {
            seed,
            nodes: 5,
            replicas: 2,
            keys: 50,
            rate: 200,
            seconds: 60,
            fault_every: 5,
            replicated: seed.is_multiple_of(2),
            partition: if (seed / 2).is_multiple_of(2) {
                Partition::Available
            } else {
                Partition::Quorum
            },
            splits: seed / 4 % 2 == 1,
            refunds: seed.is_multiple_of(5),
            bug: None,
            verbose: false,
            watch: None,
        }
    }
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of the scenario.
    pub seed: u64,
    /// Promises broken; empty when all is well.
    pub violations: Vec<Violation>,
    /// Decisions made and checked.
    pub decisions: u64,
    /// Of which admitted.
    pub admitted: u64,
    /// Requests that got an answer.
    pub answered: u64,
    /// Faults injected.
    pub faults: u64,
}

impl Report {
    /// Whether a promise was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.violations.is_empty()
    }
}

#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are deliveries"
)]
enum Happening {
    Tick(usize, ReplicaId),
    Flush(usize, ReplicaId),
    Deliver {
        host: usize,
        from: ReplicaId,
        to: ReplicaId,
        payload: Payload,
    },
    Gone {
        host: usize,
        replica: ReplicaId,
    },
    Client,
    Join(usize),
    Fault,
    Resume(usize),
    /// These hosts are cut off from the others.
    Split(Vec<usize>),
    Heal,
    Calm,
    Left(usize),
}

#[derive(Default)]
struct Host {
    node: Option<Node>,
    incarnation: u64,
    paused: bool,
    leaving_since: Option<SimTime>,
    has_bad_clock: bool,
    /// Up, running and reachable since.
    fit_since: SimTime,
    backlog: Vec<Happening>,
}

struct World {
    scenario: Scenario,
    rng: SmallRng,
    now: SimTime,
    agenda: BTreeMap<(SimTime, u64), Happening>,
    counter: u64,
    hosts: Vec<Host>,
    network: Network,
    /// The side of each host since the last split: who counted with whom.
    sides: Vec<usize>,
    apart: bool,
    targets: Vec<Target>,
    oracle: Oracle,
    host_of: BTreeMap<ReplicaId, usize>,
    gone: Vec<ReplicaId>,
    next_request: RequestId,
    answered: u64,
    faults: u64,
    last_split: SimTime,
    /// When fewer nodes than a majority last ran: of two nodes, one is not enough.
    last_minority: SimTime,
    /// When every holder of a shard may last have been killed at once.
    last_state_lost: SimTime,
}

/// Plays a scenario to its end.
#[must_use]
pub fn run(scenario: Scenario) -> Report {
    let targets = targets(scenario.keys);
    let limits: Vec<Limit> = targets.iter().map(|target| target.limit).collect();
    let replicated = scenario.replicated || scenario.partition == Partition::Quorum;
    let mut world = World {
        scenario,
        rng: SmallRng::seed_from_u64(scenario.seed),
        now: 0,
        agenda: BTreeMap::new(),
        counter: 0,
        hosts: (0..HOSTS).map(|_| Host::default()).collect(),
        network: Network::new(HOSTS),
        sides: vec![0; HOSTS],
        apart: false,
        targets,
        oracle: Oracle::new(&limits, replicated),
        host_of: BTreeMap::new(),
        gone: Vec::new(),
        next_request: 0,
        answered: 0,
        faults: 0,
        last_split: 0,
        last_minority: 0,
        last_state_lost: 0,
    };
    world.play();
    Report {
        seed: scenario.seed,
        violations: world.oracle.violations().to_vec(),
        decisions: world.oracle.decisions,
        admitted: world.oracle.admitted,
        answered: world.answered,
        faults: world.faults,
    }
}

impl World {
    fn play(&mut self) {
        for host in 0..self.scenario.nodes {
            self.at(host as SimTime * 50 * MILLIS, Happening::Join(host));
        }
        self.at(2 * SECONDS, Happening::Client);
        self.at((2 + self.scenario.fault_every) * SECONDS, Happening::Fault);
        let quiet_at = self.scenario.seconds * SECONDS;
        let end = quiet_at + 25 * SECONDS;
        self.at(quiet_at, Happening::Calm);
        while let Some((&(time, _), _)) = self.agenda.first_key_value() {
            if end < time || !self.oracle.violations().is_empty() {
                break;
            }
            let Some((_, happening)) = self.agenda.pop_first() else {
                break;
            };
            self.now = time;
            self.happen(happening);
        }
        if self.oracle.violations().is_empty() {
            self.check_end();
        }
        self.say(|| format!("at the end:{}", self.describe()));
    }

    /// What every node knows of every shard.
    fn describe(&self) -> String {
        let describe = |node: &Node| {
            let view = node.membership.view().members().len();
            let ownership = |shard: &Shard| {
                let record = shard.record().map(|record| {
                    format!("{} +{} {:?}", record.term, record.epoch, record.holders)
                });
                format!(
                    "\n    {} {:?} {}",
                    shard.id(),
                    shard.role(),
                    record.unwrap_or_default()
                )
            };
            let shards: String = node.shards.iter().map(ownership).collect();
            format!("\n  {:?} sees {view}:{shards}", node.me)
        };
        self.hosts
            .iter()
            .filter_map(|host| host.node.as_ref())
            .map(describe)
            .collect()
    }

    fn at(&mut self, time: SimTime, happening: Happening) {
        self.counter += 1;
        self.agenda.insert((time, self.counter), happening);
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.scenario.verbose {
            eprintln!("{:>9.3}s {}", self.now as f64 / 1e9, what());
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(host, _)
            | Happening::Flush(host, _)
            | Happening::Gone { host, .. }
            | Happening::Deliver { host, .. }
                if self.hosts[host].paused =>
            {
                self.hosts[host].backlog.push(happening);
            }
            Happening::Tick(host, me) => self.tick(host, me),
            Happening::Flush(host, me) => {
                if let Some(node) = self.running(host, me) {
                    node.1.on_flush(node.0);
                    self.after(host);
                    self.at(self.now + 5 * MILLIS, Happening::Flush(host, me));
                }
            }
            Happening::Deliver {
                host,
                from,
                to,
                payload,
            } => {
                let targets = std::mem::take(&mut self.targets);
                if let Some((now, node)) = self.running(host, to) {
                    node.on_payload(now, from, payload, &targets);
                }
                self.targets = targets;
                self.after(host);
            }
            Happening::Gone { host, replica } => {
                let now = self.now;
                if let Some(node) = &mut self.hosts[host].node {
                    node.on_process_gone(now, replica);
                    self.after(host);
                }
            }
            Happening::Client => self.client(),
            Happening::Join(host) => self.join(host),
            Happening::Fault => self.fault(),
            Happening::Resume(host) => self.resume(host),
            Happening::Split(hosts) => {
                let sides = (0..HOSTS).map(|host| usize::from(hosts.contains(&host)));
                self.split(sides.collect(), 2_500..6_000);
            }
            Happening::Heal => self.heal(),
            Happening::Calm => self.heal(),
            Happening::Left(host) => self.stop(host, false, 50..6_000),
        }
    }

    fn running(&mut self, host: usize, me: ReplicaId) -> Option<(SimTime, &mut Node)> {
        let now = self.now;
        self.hosts[host]
            .node
            .as_mut()
            .filter(|node| node.me == me)
            .map(|node| (now, node))
    }

    fn tick(&mut self, host: usize, me: ReplicaId) {
        let targets = std::mem::take(&mut self.targets);
        let now = self.now;
        if let Some((_, node)) = self.running(host, me) {
            node.on_tick(now);
            node.on_retry(now, &targets);
            let jitter = self.rng.random_range(0..5 * MILLIS);
            self.at(now + 20 * MILLIS + jitter, Happening::Tick(host, me));
        }
        self.targets = targets;
        self.after(host);
        self.watch_majority(host);
        self.watch_leaving(host);
        // A silence that began before the split ends with the first heartbeat after it: until then a node may
        // still conclude that the other side is dead, and count apart although messages pass again.
        let may_still_part = self.now < self.last_split + 3 * HEARTBEAT;
        if self.apart && !self.network.is_split() && !may_still_part && self.is_settled() {
            self.say(|| "the sides have met".into());
            self.apart = false;
            self.oracle.healed();
        }
    }

    /// Carries out what a node's machines left behind.
    fn after(&mut self, host: usize) {
        let Some(node) = &mut self.hosts[host].node else {
            return;
        };
        let me = node.me;
        for event in node.take_events() {
            match event {
                Event::Send { to, payload } => self.send(host, me, to, payload),
                Event::Decided {
                    request,
                    key,
                    operation,
                    term,
                    decision,
                    wall,
                } => {
                    if self.scenario.watch
                        == Some(
                            self.targets
                                .get(key)
                                .map_or(0, |target| target.key.shard(SHARDS)),
                        )
                    {
                        self.say(|| format!("host {host}: request {request} key {key} {operation:?}: {decision:?}"));
                    }
                    let side = self.sides[host];
                    let decided = Decided {
                        request,
                        key,
                        operation,
                        owner: me,
                        term,
                        side,
                        wall,
                        decision,
                    };
                    self.oracle.decided(self.now, decided);
                }
                Event::Answered {
                    request,
                    key,
                    decision,
                } => {
                    if self.scenario.watch.is_some() {
                        self.say(|| {
                            format!("host {host}: request {request} key {key} is answered")
                        });
                    }
                    self.answered += 1;
                    self.oracle.answered(request, key, decision.verdict);
                }
                Event::GaveUp { request, asked } => self.gave_up(host, request, asked),
                Event::Opened { shard } => {
                    self.say(|| format!("host {host} opened shard {}", shard.0));
                    self.check_owner(host, shard.0);
                }
                Event::Forgotten { hits } => {
                    self.say(|| format!("host {host}: {hits} hits are forgotten"));
                    self.check_forgotten(host, hits);
                }
                Event::Fenced => {
                    self.say(|| format!("host {host} is fenced"));
                    self.hosts[host].node = None;
                    self.at(self.now + SECONDS, Happening::Join(host));
                    return;
                }
            }
        }
    }

    fn send(&mut self, host: usize, from: ReplicaId, to: ReplicaId, payload: Payload) {
        let Some(&target) = self.host_of.get(&to) else {
            return;
        };
        if let Payload::Shard(shard, message) = &payload
            && self.scenario.watch == Some(shard.0)
        {
            self.say(|| format!("shard {shard}: {from} -> {to}: {message:?}"));
        }
        for time in self
            .network
            .deliveries(&mut self.rng, self.now, host, target)
        {
            self.at(
                time,
                Happening::Deliver {
                    host: target,
                    from,
                    to,
                    payload: payload.clone(),
                },
            );
        }
    }

    fn client(&mut self) {
        let gap = SECONDS / self.scenario.rate;
        let quiet = (self.scenario.seconds + 15) * SECONDS;
        if self.now < quiet {
            let jitter = self.rng.random_range(0..=gap);
            self.at(self.now + gap / 2 + jitter, Happening::Client);
        }
        let candidates: Vec<usize> = (0..HOSTS)
            .filter(|&host| {
                let host = &self.hosts[host];
                !host.paused
                    && host.leaving_since.is_none()
                    && host.node.as_ref().is_some_and(|node| node.joined)
            })
            .collect();
        if candidates.is_empty() {
            return;
        }
        let host = candidates[self.rng.random_range(0..candidates.len())];
        let key = self.rng.random_range(0..self.targets.len());
        let operation = operation(&mut self.rng, self.scenario.refunds);
        self.next_request += 1;
        let (request, now) = (self.next_request, self.now);
        let targets = std::mem::take(&mut self.targets);
        if let Some(node) = &mut self.hosts[host].node {
            node.on_request(now, request, key, operation, &targets);
        }
        self.targets = targets;
        self.after(host);
    }

    /// P4: a node that is up and connected answers.
    fn gave_up(&mut self, host: usize, request: RequestId, asked: SimTime) {
        let fit = self.hosts[host].fit_since <= asked;
        let since = self.last_split.max(self.last_minority);
        let without_majority =
            self.scenario.partition == Partition::Quorum && asked < since + 12 * SECONDS;
        if fit && !without_majority && self.hosts[host].leaving_since.is_none() {
            let story = format!(
                "request {request} on host {host} had no answer within {} ms",
                PATIENCE / MILLIS
            );
            self.oracle.report("P4", self.now, story);
        }
    }

    fn join(&mut self, host: usize) {
        if self.hosts[host].node.is_some() {
            return;
        }
        let name = ["ada", "bea", "cal", "dov", "eve", "fay", "gil"][host];
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
        let alone = self.hosts.iter().all(|host| host.node.is_none());
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
                (Some(boot), Some(node)) => node.membership.on_name_wanted(boot, name),
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
            standing: Standing::Joined,
            contact: Contact::default(),
        };
        let skew = self.clock_of(host);
        let settings = Settings {
            fault: self.scenario.bug.and_then(Bug::of_the_shard),
            anti_entropy_every: quota::Nanos::from_secs(4),
            max_skew: MAX_SKEW,
            ..Settings::lan(self.scenario.replicas, self.scenario.partition)
        };
        let replicated = self.scenario.replicated || self.scenario.partition == Partition::Quorum;
        self.say(|| format!("host {host} joins as {name} {incarnation} ({replica:?})"));
        let node = Node::new(
            host,
            member.clone(),
            self.now,
            skew,
            !alone,
            settings,
            replicated,
            self.scenario.bug == Some(Bug::KeepsBadClock),
        );
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

    /// How far the clock of a host that starts is ahead. One of several may be far off: the others outvote it.
    fn clock_of(&mut self, host: usize) -> i64 {
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

    fn after_membership(&mut self, host: usize) {
        let now = self.now;
        if let Some(node) = &mut self.hosts[host].node {
            node.settle_membership(now);
        }
        self.after(host);
    }

    fn fault(&mut self) {
        if self.scenario.seconds * SECONDS < self.now + 4 * SECONDS {
            return;
        }
        // P2 speaks of one loss at a time: the next one waits until every shard has its copies again.
        if self.network.is_split() || !self.is_settled() {
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
        let quorum = self.scenario.partition == Partition::Quorum;
        let victim = up[self.rng.random_range(0..up.len())];
        match self.rng.random_range(0..100) {
            0..=7 if self.scenario.splits && quorum && 2 < up.len() => self.kill_majority(&up),
            0..=34 => {
                self.say(|| format!("kill -9 of host {victim}"));
                self.stop(victim, true, 50..6_000);
            }
            35..=54 => {
                let span = self.rng.random_range(200..4_000) * MILLIS;
                self.say(|| format!("host {victim} is paused for {} ms", span / MILLIS));
                if let Some(node) = &self.hosts[victim].node {
                    let me = node.me;
                    self.oracle.lost(self.now, me);
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
            80..=99 if self.scenario.splits && 2 < up.len() => {
                let sides = (0..HOSTS).map(|_| usize::from(self.rng.random_bool(0.4)));
                let sides = sides.collect();
                self.split(sides, 500..6_000);
            }
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
    fn kill_majority(&mut self, up: &[usize]) {
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
        self.at(cut, Happening::Split(victims));
    }

    fn split(&mut self, sides: Vec<usize>, millis: Range<SimTime>) {
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

    fn heal(&mut self) {
        if self.network.is_split() {
            self.say(|| "the network heals".into());
            self.last_split = self.now;
        }
        self.network.sides = vec![0; HOSTS];
        self.network.loss = 0.0;
        // Whoever redials now finds out which processes are gone.
        for replica in self.gone.clone() {
            self.spread_word(replica);
        }
    }

    /// Ends a process; `crash` without a word. It starts again after so many milliseconds.
    fn stop(&mut self, host: usize, crash: bool, back: Range<SimTime>) {
        let Some(node) = self.hosts[host].node.take() else {
            return;
        };
        if crash {
            self.oracle.lost(self.now, node.me);
        }
        if self.hosts.iter().all(|host| host.node.is_none()) {
            // P2 is about what others hold; a cluster of one has no others.
            self.oracle.all_lost();
        }
        self.gone.push(node.me);
        self.hosts[host].leaving_since = None;
        self.hosts[host].backlog.clear();
        self.spread_word(node.me);
        let back = self.rng.random_range(back) * MILLIS;
        self.at(self.now + back, Happening::Join(host));
    }

    /// Connections to a dead process are refused by its host, if that can be reached.
    fn spread_word(&mut self, replica: ReplicaId) {
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

    fn resume(&mut self, host: usize) {
        self.say(|| format!("host {host} goes on"));
        self.hosts[host].paused = false;
        self.hosts[host].fit_since = self.now;
        for happening in std::mem::take(&mut self.hosts[host].backlog) {
            self.happen(happening);
        }
    }

    fn watch_majority(&mut self, host: usize) {
        let running = self
            .hosts
            .iter()
            .filter(|host| host.node.is_some() && !host.paused)
            .count();
        let majority = self.hosts[host]
            .node
            .as_ref()
            .map_or(0, |node| node.membership.view().majority());
        if running < majority {
            self.last_minority = self.now;
        }
    }

    fn watch_leaving(&mut self, host: usize) {
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

    /// Everybody is up, sees everybody, and every shard has one owner with all its copies.
    fn is_settled(&self) -> bool {
        let nodes: Vec<&Node> = self
            .hosts
            .iter()
            .filter_map(|host| host.node.as_ref())
            .collect();
        let calm = self
            .hosts
            .iter()
            .all(|host| !host.paused && host.leaving_since.is_none())
            && self.network.loss == 0.0;
        let sees_all = nodes
            .iter()
            .all(|node| node.joined && node.membership.view().members().len() == nodes.len());
        let shard_settled = |shard: usize| {
            let owners = nodes
                .iter()
                .filter(|node| node.shards[shard].role() == Role::Open);
            let known = nodes
                .iter()
                .all(|node| node.shards[shard].record() == nodes[0].shards[shard].record());
            known
                && nodes.iter().all(|node| node.shards[shard].is_synced())
                && owners.clone().count() == 1
                && owners
                    .clone()
                    .all(|node| !node.shards[shard].is_under_replicated(nodes.len()))
        };
        calm && sees_all && !nodes.is_empty() && (0..usize::from(SHARDS)).all(shard_settled)
    }

    /// P6: what is reported forgotten is forgotten; answered hits that a replica has are not.
    fn check_forgotten(&mut self, host: usize, hits: usize) {
        let is_excused = |since: SimTime| since != 0 && self.now < since + 12 * SECONDS;
        let replicated = self.scenario.replicated || self.scenario.partition == Partition::Quorum;
        if replicated
            && !self.apart
            && ![self.last_split, self.last_state_lost]
                .into_iter()
                .any(is_excused)
        {
            let story =
                format!("host {host} reports {hits} forgotten hits, and a replica had each");
            self.oracle.report("P6", self.now, story);
        }
    }

    /// P2 and P3: whoever opens a shard knows of every answered hit.
    fn check_owner(&mut self, host: usize, shard: u16) {
        let Some(node) = &self.hosts[host].node else {
            return;
        };
        let clocks = node.clocks(self.now);
        for (key, target) in self.targets.iter().enumerate() {
            if target.key.shard(SHARDS) == shard {
                let seen = node.shards[usize::from(shard)].peek(clocks, target.key, &target.limit);
                self.oracle
                    .owner_sees(self.now, key, node.me, clocks.wall, seen);
            }
        }
    }

    fn check_end(&mut self) {
        if !self.is_settled() {
            let nodes = self.describe();
            self.oracle.report(
                "convergence",
                self.now,
                format!("not settled after 25 s of quiet:{nodes}"),
            );
            return;
        }
        for shard in 0..SHARDS {
            let owner = (0..HOSTS).find(|&host| {
                self.hosts[host]
                    .node
                    .as_ref()
                    .is_some_and(|node| node.shards[usize::from(shard)].role() == Role::Open)
            });
            if let Some(owner) = owner {
                self.check_owner(owner, shard);
            }
        }
    }
}
