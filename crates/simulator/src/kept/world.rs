//! The event loop: rounds, clients, messages, and what is looked at.

use std::collections::BTreeMap;

use delta_crdt::ReplicaId;
use kept_counts::Writer;
use membership::Founding;
use quota::{Cost, Verdict};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shard::{Operation, Role};

use super::books::Books;
use super::disk::Disk;
use super::life::{Ending, Start};
use super::{KeptBug, KeptReport, MILLIS, RESET_FROM, Rules, SECONDS, SELDOM_FROM, targets};
use crate::events::Events;
use crate::network::Network;
use crate::node::{Event, Node, Payload, SHARDS};
use crate::oracle::{RequestId, SimTime, Violation};
use crate::rough::may_be_stricter;
use crate::workload::Target;

/// Hits a second.
const RATE: SimTime = 150;

/// How many times everything is started.
const ROUNDS: usize = 4;

/// Of a round, from when on keys that are reset are left alone, and when they are reset.
const RESET_KEYS_UNTIL: SimTime = 17 * SECONDS;
const RESET_AT: SimTime = 18 * SECONDS;

/// When a round ends.
pub(super) const ENDS_AT: SimTime = 22 * SECONDS;

/// At the end, nobody asks for so long.
const QUIET: SimTime = 8 * SECONDS;

/// A disk is full from and until then.
const FULL_FROM: SimTime = 11 * SECONDS;
const FULL_UNTIL: SimTime = 13 * SECONDS;

/// Before a stop, nothing is under way for so long: a node finishes what it has begun.
const FINISHES: SimTime = 300 * MILLIS;

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are deliveries"
)]
pub(super) enum Happening {
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
    Reset,
    Join(usize),
    /// The writer of a host adds what has changed.
    Write(usize, ReplicaId),
    /// What it added has reached the disk.
    Written(usize, ReplicaId),
    Full(usize, bool),
    /// The round begins.
    Begin,
    /// Clients fall silent.
    Silence,
    /// The round ends.
    End,
    /// The node of a host is to leave.
    Leave(usize),
    /// The node of a host, which has said goodbye, is no more.
    Left(usize, ReplicaId),
    Finish,
}

/// A host, which outlives its nodes.
pub(super) struct Host {
    pub(super) node: Option<Node>,
    pub(super) writer: Option<Writer>,
    pub(super) founding: Option<Founding>,
    /// When it was told to start. `None`: it is not to run.
    pub(super) started: Option<SimTime>,
    pub(super) is_ready: bool,
    pub(super) leaving_since: Option<SimTime>,
    /// It has said goodbye.
    pub(super) is_stopped: bool,
    pub(super) lives: u32,
    pub(super) failures: u32,
    pub(super) disk: Disk,
}

pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) rng: SmallRng,
    pub(super) now: SimTime,
    pub(super) events: Events<Happening>,
    network: Network,
    pub(super) hosts: Vec<Host>,
    pub(super) host_of: BTreeMap<ReplicaId, usize>,
    pub(super) targets: Vec<Target>,
    pub(super) books: Books,
    next_request: RequestId,
    round: usize,
    began: SimTime,
    /// How the last round ended.
    pub(super) ended: Option<Ending>,
    /// Whether a disk was lost since.
    pub(super) lost_disk: bool,
    /// How this one ends.
    pub(super) ends: Ending,
    /// How this one began, and how the next one does.
    start: Start,
    pub(super) next_start: Start,
    are_clients_silent: bool,
    is_over: bool,
    pub(super) report: KeptReport,
    verbose: bool,
}

/// Plays one seed; with a bug, if one is given.
#[must_use]
pub fn run_kept(seed: u64, bug: Option<KeptBug>, verbose: bool) -> KeptReport {
    let rules = Rules::from_seed(seed, bug);
    let host = |_| Host {
        node: None,
        writer: None,
        founding: None,
        started: None,
        is_ready: false,
        leaving_since: None,
        is_stopped: false,
        lives: 0,
        failures: 0,
        disk: Disk::new(bug),
    };
    let mut world = World {
        rules,
        rng: SmallRng::seed_from_u64(seed),
        now: 0,
        events: Events::new(),
        network: Network::new(rules.hosts),
        hosts: (0..rules.hosts).map(host).collect(),
        host_of: BTreeMap::new(),
        targets: targets(),
        books: Books::default(),
        next_request: 0,
        round: 0,
        began: 0,
        ended: None,
        lost_disk: false,
        ends: Ending::Killed,
        start: Start::Together,
        next_start: Start::Together,
        are_clients_silent: false,
        is_over: false,
        report: KeptReport::default(),
        verbose,
    };
    world.play();
    world.report
}

impl World {
    fn play(&mut self) {
        self.say(|it| format!("{:?}", it.rules));
        self.at(0, Happening::Begin);
        self.at(SECONDS, Happening::Client);
        while !self.is_over
            && self.report.violations.is_empty()
            && let Some((at, happening)) = self.events.next_until(SimTime::MAX)
        {
            self.now = at;
            self.happen(happening);
        }
        for key in 0..self.targets.len() {
            let account = self.books.account(key).unwrap_or_default();
            self.report.admitted += account.due + account.excused;
            self.report.unknown += account.unknown;
        }
        let rewritten = self.hosts.iter().map(|host| host.disk.rewritten);
        self.report.rewritten = rewritten.sum();
    }

    pub(super) fn at(&mut self, at: SimTime, happening: Happening) {
        self.events.plan(at, happening);
    }

    pub(super) fn after(&mut self, span: SimTime, happening: Happening) {
        self.at(self.now + span, happening);
    }

    pub(super) fn say(&self, what: impl FnOnce(&Self) -> String) {
        if self.verbose {
            eprintln!("{:>9.3}s {}", self.now as f64 / 1e9, what(self));
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Tick(host, me) => self.tick(host, me),
            Happening::Flush(host, me) => {
                if let Some(node) = self.running(host, me) {
                    node.on_flush(now);
                    self.after(5 * MILLIS, Happening::Flush(host, me));
                    self.carry_out(host);
                }
            }
            Happening::Deliver {
                host,
                from,
                to,
                payload,
            } => {
                let is_hit = matches!(payload, Payload::Forward(_));
                if self.hosts[host].is_stopped && is_hit {
                    return;
                }
                let targets = std::mem::take(&mut self.targets);
                let node = self.hosts[host].node.as_mut();
                if let Some(node) = node.filter(|node| node.me == to) {
                    node.on_payload(now, from, payload, &targets);
                }
                self.targets = targets;
                self.carry_out(host);
            }
            Happening::Gone { host, replica } => {
                if let Some(node) = &mut self.hosts[host].node {
                    node.on_process_gone(now, replica);
                    self.carry_out(host);
                }
            }
            Happening::Client => self.client(),
            Happening::Reset => self.reset(),
            Happening::Join(host) => self.join(host),
            Happening::Write(host, me) => self.write(host, me),
            Happening::Written(host, me) => {
                if self.runs(host, me) {
                    self.hosts[host].disk.settle();
                }
            }
            Happening::Full(host, is_full) => self.hosts[host].disk.is_full = is_full,
            Happening::Begin => self.begin(),
            Happening::Silence => self.are_clients_silent = true,
            Happening::End => self.end(),
            Happening::Leave(host) => self.leave(host),
            Happening::Left(host, me) => self.left(host, me),
            Happening::Finish => self.finish(),
        }
    }

    pub(super) fn runs(&self, host: usize, me: ReplicaId) -> bool {
        let node = self.hosts[host].node.as_ref();
        node.is_some_and(|node| node.me == me)
    }

    /// The node of a host, unless it has said goodbye.
    fn running(&mut self, host: usize, me: ReplicaId) -> Option<&mut Node> {
        let host = &mut self.hosts[host];
        let node = host.node.as_mut().filter(|_| !host.is_stopped);
        node.filter(|node| node.me == me)
    }

    fn tick(&mut self, host: usize, me: ReplicaId) {
        let now = self.now;
        let Some(node) = self.running(host, me) else {
            return;
        };
        node.on_tick(now);
        let is_ready = node.is_ready(now);
        let jitter = self.rng.random_range(0..5 * MILLIS);
        self.after(20 * MILLIS + jitter, Happening::Tick(host, me));
        self.carry_out(host);
        if is_ready && !self.hosts[host].is_ready {
            self.hosts[host].is_ready = true;
            self.say(|_| format!("host {host} is ready"));
        }
        self.watch_leaving(host);
    }

    fn begin(&mut self) {
        self.began = self.now;
        self.round += 1;
        let start = self.next_start;
        self.start = start;
        self.are_clients_silent = false;
        self.start_all(start);
        let is_last = self.round == ROUNDS;
        self.ends = Ending::any(&mut self.rng);
        self.next_start = Start::any(&mut self.rng, self.rules.hosts);
        if self.rng.random_bool(0.3) {
            for host in 0..self.rules.hosts {
                if self.rng.random_bool(0.7) {
                    self.after(FULL_FROM, Happening::Full(host, true));
                    self.after(FULL_UNTIL, Happening::Full(host, false));
                }
            }
        }
        self.after(RESET_AT, Happening::Reset);
        if is_last {
            self.after(ENDS_AT, Happening::Silence);
            return self.after(ENDS_AT + QUIET, Happening::Finish);
        }
        // What the last to go has counted alone, no other disk has.
        let needs_silence = match self.ends {
            Ending::Killed => false,
            Ending::StoppedTogether => true,
            Ending::StoppedInTurn => self.next_start != Start::Together,
        };
        if needs_silence {
            self.after(ENDS_AT - FINISHES, Happening::Silence);
        }
        self.after(ENDS_AT, Happening::End);
    }

    fn client(&mut self) {
        let gap = SECONDS / RATE;
        let jitter = self.rng.random_range(0..=gap);
        self.after(gap / 2 + jitter, Happening::Client);
        let since = self.now - self.began;
        let key = match since {
            FULL_FROM..FULL_UNTIL => self.rng.random_range(0..self.targets.len()),
            // Some keys are hit no more.
            0..RESET_KEYS_UNTIL if self.rng.random_bool(0.1) => {
                self.rng.random_range(RESET_FROM..self.targets.len())
            }
            _ => self.rng.random_range(0..SELDOM_FROM),
        };
        let cost = 1 + u32::from(self.rng.random_bool(0.1));
        if let Some(request) = self.ask(key, Operation::Hit(Cost::new(cost))) {
            self.books.on_asked(request.0, key, cost);
            self.carry_out(request.1);
        }
    }

    fn reset(&mut self) {
        for key in RESET_FROM..self.targets.len() {
            if let Some((request, host)) = self.ask(key, Operation::Reset) {
                self.books.on_reset_asked(request, key);
                self.carry_out(host);
            }
        }
    }

    /// Asks a node that is ready. `None`: none is.
    fn ask(&mut self, key: usize, operation: Operation) -> Option<(RequestId, usize)> {
        let is_asked = |&host: &usize| {
            let host = &self.hosts[host];
            host.is_ready && host.node.is_some() && host.leaving_since.is_none()
        };
        let asked: Vec<usize> = (0..self.hosts.len()).filter(is_asked).collect();
        if asked.is_empty() || self.are_clients_silent {
            return None;
        }
        let host = asked[self.rng.random_range(0..asked.len())];
        self.next_request += 1;
        let request = self.next_request;
        let node = self.hosts[host].node.as_mut()?;
        node.on_request(self.now, request, key, operation, None, &self.targets);
        Some((request, host))
    }

    /// Carries out what a node's machines left behind.
    pub(super) fn carry_out(&mut self, host: usize) {
        let Some(node) = &mut self.hosts[host].node else {
            return;
        };
        let me = node.me;
        let mut opened = Vec::new();
        for event in node.take_events() {
            match event {
                Event::Send { to, payload } => self.send(host, me, to, payload),
                Event::Answered {
                    request, decision, ..
                } => {
                    let is_counted = decision.verdict == Verdict::Allow;
                    self.books.on_answered(self.now, request, is_counted);
                }
                Event::GaveUp { request, error, .. } => {
                    self.say(|_| format!("host {host}: request {request}: {error}"));
                    self.books.on_given_up(request, error.is_uncounted());
                }
                Event::Opened { shard } => {
                    self.say(|_| format!("host {host} opened shard {shard}"));
                    opened.push(usize::from(shard.0));
                }
                Event::StateLost { shard } => {
                    self.say(|_| format!("host {host} takes shard {shard} for lost"));
                }
                Event::Fenced => self.say(|_| format!("host {host} is fenced")),
                Event::Decided { .. } | Event::Evicted { .. } | Event::Forgotten { .. } => {}
            }
        }
        // After what was answered in the same breath. Who leaves with all others may open what it has handed over already.
        if self.hosts[host].leaving_since.is_none() {
            for shard in opened {
                self.check_shard(host, shard);
            }
        }
    }

    fn send(&mut self, host: usize, from: ReplicaId, to: ReplicaId, payload: Payload) {
        let Some(&target) = self.host_of.get(&to) else {
            return;
        };
        let (rng, network) = (&mut self.rng, &self.network);
        for at in network.deliveries(rng, self.now, host, target) {
            self.events.plan(
                at,
                Happening::Deliver {
                    host: target,
                    from,
                    to,
                    payload: payload.clone(),
                },
            );
        }
    }

    /// What the owner of a shard counts, against what clients were told.
    fn check_shard(&mut self, host: usize, shard: usize) {
        for key in 0..self.targets.len() {
            let target = self.targets[key];
            if usize::from(target.key.shard(SHARDS)) != shard {
                continue;
            }
            let Some(node) = &self.hosts[host].node else {
                return;
            };
            let now = node.clocks(self.now).wall;
            let counted = node.shards[shard]
                .cells()
                .used(now, target.key, &target.limit);
            let Some(account) = self.books.account(key) else {
                continue;
            };
            let story = format!(
                "key {key} ({:?}): host {host} counts {counted}, of {account:?}, after {:?}",
                target.limit, self.ended
            );
            if self.is_one_alone() {
                continue;
            }
            if counted < account.due {
                let promise = match (self.lost_disk, self.ended) {
                    (true, _) => "K4",
                    (false, Some(Ending::Killed)) => "K2",
                    (false, _) => "K1",
                };
                self.break_promise(promise, story);
            } else if self.books.is_blank(key) && 0 < counted {
                self.break_promise("K6", story);
            } else if account.at_most() < counted && !may_be_stricter(&target.limit) {
                self.break_promise("K3", story);
            } else {
                let told = account.due + account.excused;
                self.report.forgotten += told.saturating_sub(counted);
            }
        }
    }

    /// Whether a node has been alone for so long that it goes on without what the others have.
    fn is_one_alone(&self) -> bool {
        matches!(self.start, Start::Early(_)) && !self.hosts.iter().all(|host| host.is_ready)
    }

    /// All is quiet: who runs is ready, and says the same of every key.
    fn finish(&mut self) {
        self.is_over = true;
        self.check_ready();
        if 0 < self.books.open() {
            let story = format!("{} hits have no answer", self.books.open());
            self.break_promise("K7", story);
        }
        for key in 0..self.targets.len() {
            let readings = self.readings(key);
            if readings
                .iter()
                .any(|(_, reading)| *reading != readings[0].1)
            {
                let story = format!("key {key} is read unlike: {readings:?}");
                self.break_promise("K7", story);
            }
        }
        for shard in 0..usize::from(SHARDS) {
            let is_owner = |host: &usize| {
                let node = self.hosts[*host].node.as_ref();
                node.is_some_and(|node| node.shards[shard].role() == Role::Open)
            };
            let owners: Vec<usize> = (0..self.hosts.len()).filter(is_owner).collect();
            match owners[..] {
                [owner] => self.check_shard(owner, shard),
                _ => self.break_promise("K7", format!("owners of shard {shard}: {owners:?}")),
            }
        }
    }

    /// Whoever was started is ready.
    pub(super) fn check_ready(&mut self) {
        for host in 0..self.hosts.len() {
            let it = &self.hosts[host];
            if it.started.is_some() && !it.is_ready {
                self.break_promise("K7", format!("host {host} is not ready"));
            }
        }
    }

    /// What every holder of a key says is left of it.
    fn readings(&self, key: usize) -> Vec<(usize, u32)> {
        let target = self.targets[key];
        let shard = usize::from(target.key.shard(SHARDS));
        let nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
        let held = nodes.filter(|node| {
            let record = node.shards[shard].record();
            record.is_some_and(|record| record.held_by(node.me))
        });
        let at = |node: &Node| node.clocks(self.now).wall;
        let Some(wall) = held.clone().next().map(at) else {
            return Vec::new();
        };
        let read = |node: &Node| {
            let cells = node.shards[shard].cells();
            let remaining = cells.peek(wall, target.key, &target.limit).remaining;
            (self.host_of[&node.me], remaining)
        };
        held.map(read).collect()
    }

    pub(super) fn break_promise(&mut self, promise: &'static str, story: String) {
        self.say(|_| format!("{promise} broken: {story}"));
        let mut known = self.report.violations.iter();
        if known.all(|violation| violation.promise != promise) {
            let at = self.now;
            let violation = Violation { promise, at, story };
            self.report.violations.push(violation);
        }
    }
}
