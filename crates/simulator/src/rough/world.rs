//! The event loop of a rough network.

use delta_crdt::ReplicaId;
use membership::{Contact, Member, Standing};
use quota::{Cost, Nanos, Verdict};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use request::Acknowledge;
use shard::{Operation, Role, Settings};

use super::books::{Books, may_be_stricter};
use super::drained::Drained;
use super::roughness::{ENDS, Roughness};
use super::streams::{Streams, dial};
use super::{Keys, MILLIS, RoughBug, RoughReport, Rules, SECONDS};
use crate::events::Events;
use crate::node::{self, Event, MAX_LAG, Node, Payload, SHARDS};
use crate::oracle::{EPOCH, MAX_SKEW, RequestId, SKEW, SimTime, Violation};

/// Hits a second.
const RATE: SimTime = 200;

/// When clients begin, and when they fall silent: well before and a little after the network is rough.
const CLIENTS_FROM: SimTime = 5 * SECONDS;
const CLIENTS_UNTIL: SimTime = ENDS + SECONDS;

/// Within so long after the heal all must have come to rest: one pause between two attempts to connect, a takeover and a
/// handoff of each shard, and the rounds of anti-entropy.
const SETTLES_WITHIN: SimTime = 20 * SECONDS;

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are deliveries"
)]
enum Happening {
    Tick(usize),
    Flush(usize),
    Deliver {
        from: usize,
        to: usize,
        number: u64,
        payload: Payload,
    },
    /// Nothing that `by` has sent to `to` on this stream was acknowledged.
    Unacknowledged {
        by: usize,
        to: usize,
        number: u64,
    },
    Dial(usize, usize),
    Connected(usize, usize),
    Client,
    /// Look whether all is at rest.
    Look,
}

struct World {
    rules: Rules,
    rng: SmallRng,
    now: SimTime,
    events: Events<Happening>,
    network: Roughness,
    streams: Streams,
    nodes: Vec<Node>,
    keys: Keys,
    books: Books,
    drained: Drained,
    next_request: RequestId,
    report: RoughReport,
    is_over: bool,
    verbose: bool,
    /// The messages of this shard are printed, too.
    watch: Option<u16>,
}

/// Plays one seed; with a bug, if one is given.
#[must_use]
pub fn run_rough(
    seed: u64,
    bug: Option<RoughBug>,
    verbose: bool,
    watch: Option<u16>,
) -> RoughReport {
    let rules = Rules::from_seed(seed, bug);
    let mut rng = SmallRng::seed_from_u64(seed);
    let network = Roughness::new(seed, rules.hosts, &mut rng);
    let keys = Keys::new();
    let mut world = World {
        rules,
        now: 0,
        events: Events::new(),
        network,
        streams: Streams::default(),
        nodes: Vec::new(),
        books: Books::new(keys.targets.len(), keys.draining_from),
        drained: Drained::default(),
        keys,
        rng,
        next_request: 0,
        report: RoughReport::default(),
        is_over: false,
        verbose,
        watch,
    };
    world.play();
    world.report
}

impl World {
    fn play(&mut self) {
        self.say(|it| format!("{:?}, {:?}", it.rules, it.network));
        for host in 0..self.rules.hosts {
            let node = self.node(host);
            self.nodes.push(node);
            self.at(0, Happening::Tick(host));
            self.at(0, Happening::Flush(host));
            for other in 0..host {
                self.at(host as SimTime * 50 * MILLIS, Happening::Dial(other, host));
            }
        }
        self.at(CLIENTS_FROM, Happening::Client);
        self.at(CLIENTS_UNTIL, Happening::Look);
        while let Some((time, happening)) = self.events.next_until(SimTime::MAX)
            && !self.is_over
        {
            self.now = time;
            self.happen(happening);
        }
    }

    fn node(&mut self, host: usize) -> Node {
        let me = replica(host);
        let contact = Contact {
            cluster: format!("host {host}"),
            ..Contact::default()
        };
        let member = Member {
            name: format!("host-{host}"),
            incarnation: 1,
            replica: me,
            standing: Standing::Joined,
            contact,
        };
        let acknowledge = match self.rules.replicated {
            true => Acknowledge::Replicated,
            false => Acknowledge::Fast { max_lag: MAX_LAG },
        };
        let settings = Settings {
            fault: self.rules.bug.map(RoughBug::of_the_shard),
            anti_entropy_every: Nanos::from_secs(4),
            max_skew: MAX_SKEW,
            lent_keys: 1,
            ..Settings::lan(2, self.rules.partition)
        };
        let skew = self.rng.random_range(0..=SKEW) as i64;
        let rules = node::Rules {
            settings,
            acknowledge,
            // As a day is to the hour of the default: nobody is dead for so long.
            forget_after: None,
            epoch: EPOCH,
            bug: None,
        };
        Node::new(host, member, 0, skew, host != 0, rules)
    }

    fn at(&mut self, time: SimTime, happening: Happening) {
        self.events.plan(time, happening);
    }

    fn say(&self, what: impl FnOnce(&Self) -> String) {
        if self.verbose {
            eprintln!("{:>9.3}s {}", self.now as f64 / 1e9, what(self));
        }
    }

    fn say_watched(&self, what: &str, from: usize, to: usize, payload: &Payload) {
        if let Payload::Shard(shard, message) = payload
            && self.watch == Some(shard.0)
        {
            self.say(|_| format!("shard {shard}: {from} -> {to} {what}: {message:?}"));
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Tick(host) => {
                self.nodes[host].on_tick(now);
                let jitter = self.rng.random_range(0..5 * MILLIS);
                self.at(now + 20 * MILLIS + jitter, Happening::Tick(host));
                self.after(host);
            }
            Happening::Flush(host) => {
                self.nodes[host].on_flush(now);
                self.at(now + 5 * MILLIS, Happening::Flush(host));
                self.after(host);
            }
            Happening::Deliver {
                from,
                to,
                number,
                payload,
            } => {
                if self.streams.stands(from, to, number) {
                    self.say_watched("arrives", from, to, &payload);
                    let node = &mut self.nodes[to];
                    node.on_payload(now, replica(from), payload, &self.keys.targets);
                    self.after(to);
                }
            }
            Happening::Unacknowledged { by, to, number } => {
                if self.streams.stands(by, to, number) {
                    self.end_stream(by, to);
                }
            }
            Happening::Dial(a, b) => {
                let (at, is_connected) = dial(&mut self.rng, &self.network, now, a, b);
                let next = match is_connected {
                    true => Happening::Connected(a, b),
                    false => Happening::Dial(a, b),
                };
                self.at(at, next);
            }
            Happening::Connected(a, b) => self.connect(a, b),
            Happening::Client => self.client(),
            Happening::Look => self.look(),
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        self.say(|_| format!("{a} and {b} are connected"));
        self.streams.connect(self.now, a, b);
        for (host, other) in [(a, b), (b, a)] {
            let member = self.nodes[other].membership.me().clone();
            self.nodes[host].on_connected(self.now, member, &self.keys.targets);
            self.after(host);
        }
    }

    /// Both ends are told: the other by a reset, or at the latest by the next connection.
    fn end_stream(&mut self, a: usize, b: usize) {
        self.say(|_| format!("the stream of {a} and {b} ends"));
        self.report.resets += 1;
        self.streams.end(a, b);
        for (host, other) in [(a, b), (b, a)] {
            self.nodes[host].on_disconnected(self.now, replica(other));
            self.after(host);
        }
        let pause = self.rng.random_range(20 * MILLIS..40 * MILLIS);
        self.at(self.now + pause, Happening::Dial(a, b));
    }

    fn client(&mut self) {
        if CLIENTS_UNTIL <= self.now {
            return;
        }
        let gap = SECONDS / RATE;
        let jitter = self.rng.random_range(0..=gap);
        self.at(self.now + gap / 2 + jitter, Happening::Client);
        let host = self.rng.random_range(0..self.nodes.len());
        let key = self.keys.next(&mut self.rng);
        let cost = 1 + u32::from(self.rng.random_bool(0.1));
        self.next_request += 1;
        let request = self.next_request;
        self.books.on_asked(request, key, cost);
        let hit = Operation::Hit(Cost::new(cost));
        self.nodes[host].on_request(self.now, request, key, hit, None, &self.keys.targets);
        self.after(host);
    }

    /// Carries out what a node's machines left behind.
    fn after(&mut self, host: usize) {
        loop {
            let events = self.nodes[host].take_events();
            if events.is_empty() {
                return self.look_at_draining(host);
            }
            for event in events {
                self.on_event(host, event);
            }
        }
    }

    fn look_at_draining(&mut self, host: usize) {
        let node = &self.nodes[host];
        let now = node.clocks(self.now).wall;
        for key in self.keys.draining_from..self.keys.targets.len() {
            let target = self.keys.targets[key].key;
            let shard = &node.shards[usize::from(target.shard(SHARDS))];
            let cell = shard.cells().get(target);
            self.drained
                .on_held(host, key, now, cell, shard.is_synced());
        }
    }

    fn on_event(&mut self, host: usize, event: Event) {
        match event {
            Event::Send { to, payload } => self.send(host, to, payload),
            Event::Decided {
                request,
                key,
                decision,
                wall,
                term,
                is_new,
                slot,
                ..
            } => {
                self.say(|it| {
                    let shard = it.keys.targets[key].key.shard(SHARDS);
                    format!(
                        "host {host}: request {request} key {key} of shard {shard} is decided under {term:?}, new: {is_new}: {:?}",
                        decision.verdict
                    )
                });
                if decision.verdict != Verdict::Allow {
                    self.books.on_denied(request, host);
                }
                if let Some(slot) = slot.filter(|_| self.keys.draining_from <= key) {
                    let units = self.books.units(request);
                    self.drained.on_counted(request, key, slot, units);
                }
                if is_new && !self.books.on_counted(request, host, wall) {
                    self.break_promise("T1", told_wrong(request));
                }
            }
            Event::Answered {
                request, decision, ..
            } => {
                self.say(|_| format!("host {host}: request {request} is answered"));
                self.books.on_answered(request, decision.verdict);
            }
            Event::GaveUp { request, error, .. } => {
                self.say(|_| format!("host {host}: request {request}: {error}"));
                if !self.books.on_given_up(request, error.is_uncounted()) {
                    self.break_promise("T1", told_wrong(request));
                }
            }
            Event::StateLost { shard } => {
                let story = format!(
                    "host {host} takes the state of shard {shard} for lost, and nobody has died"
                );
                self.break_promise("F2", story);
            }
            Event::Opened { shard } => self.say(|_| format!("host {host} opened shard {shard}")),
            Event::Evicted { .. } | Event::Forgotten { .. } | Event::Fenced => {}
        }
    }

    fn send(&mut self, from: usize, to: ReplicaId, payload: Payload) {
        let Some(to) = (0..self.nodes.len()).find(|&host| replica(host) == to) else {
            return;
        };
        let passage = self
            .streams
            .send(&mut self.rng, &self.network, self.now, from, to);
        self.say_watched("sent", from, to, &payload);
        let Some(passage) = passage else {
            if let Payload::Forward(attempt) = &payload {
                self.nodes[from].on_unsent(self.now, attempt);
            }
            return;
        };
        let number = passage.number;
        if let Some(at) = passage.ends {
            let by = from;
            self.at(at, Happening::Unacknowledged { by, to, number });
        }
        if let Some(at) = passage.arrives {
            let deliver = Happening::Deliver {
                from,
                to,
                number,
                payload,
            };
            self.at(at, deliver);
        }
    }

    fn look(&mut self) {
        if self.books.are_closed() && self.is_settled() {
            self.is_over = true;
            self.settle_books();
        } else if ENDS + SETTLES_WITHIN < self.now {
            self.is_over = true;
            let within = SETTLES_WITHIN / SECONDS;
            let unlike = (0..self.keys.draining_from).map(|key| (key, self.readings(key)));
            let unlike: Vec<_> = unlike
                .filter(|(_, readings)| readings.iter().any(|reading| *reading != readings[0]))
                .collect();
            let story = format!("not at rest {within} s after the heal; read unlike: {unlike:?}");
            self.break_promise("F4", story);
        } else {
            self.at(self.now + 100 * MILLIS, Happening::Look);
        }
    }

    /// Everybody sees everybody, and every shard has one owner with all its copies, which say the same of every key.
    fn is_settled(&self) -> bool {
        let nodes = &self.nodes;
        let sees_all = |node: &Node| node.membership.view().members().len() == nodes.len();
        let shard_settled = |shard: usize| {
            let record = nodes[0].shards[shard].record();
            let owners = nodes
                .iter()
                .filter(|node| node.shards[shard].role() == Role::Open);
            let is_known = nodes.iter().all(|node| {
                let it = &node.shards[shard];
                it.record() == record && it.is_synced()
            });
            let has_copies = |node: &Node| !node.shards[shard].is_under_replicated(nodes.len());
            is_known && owners.clone().count() == 1 && owners.clone().all(has_copies)
        };
        let reads_alike = |key: usize| {
            let mut readings = self.readings(key).into_iter();
            let first = readings.next();
            readings.all(|reading| Some(reading) == first)
        };
        nodes.iter().all(sees_all)
            && (0..usize::from(SHARDS)).all(shard_settled)
            && (0..self.keys.draining_from).all(reads_alike)
    }

    /// What every holder of a key says is left of it.
    fn readings(&self, key: usize) -> Vec<u32> {
        let target = self.keys.targets[key];
        let shard = usize::from(target.key.shard(SHARDS));
        let held = |node: &&Node| {
            let record = node.shards[shard].record();
            record.is_some_and(|record| record.held_by(node.me))
        };
        let read = |node: &Node| {
            let now = self.nodes[0].clocks(self.now).wall;
            let cells = node.shards[shard].cells();
            cells.peek(now, target.key, &target.limit).remaining
        };
        self.nodes.iter().filter(held).map(read).collect()
    }

    fn settle_books(&mut self) {
        let accounts = self.books.accounts();
        for (key, account) in accounts.into_iter().enumerate() {
            let target = self.keys.targets[key];
            let shard = usize::from(target.key.shard(SHARDS));
            let is_open = |node: &&Node| node.shards[shard].role() == Role::Open;
            let Some(owner) = self.nodes.iter().find(is_open) else {
                continue;
            };
            let now = owner.clocks(self.now);
            let cells = owner.shards[shard].cells();
            let counted = cells.used(now.wall, target.key, &target.limit);
            let seen = cells.peek(now.wall, target.key, &target.limit).remaining;
            let story = format!(
                "key {key} ({:?}): {counted} counted, {account:?}",
                target.limit
            );
            self.say(|_| story.clone());
            self.report.admitted += account.admitted;
            self.report.unknown += account.unknown;
            if self.keys.draining_from <= key {
                let cell = cells.get(target.key);
                let is_known = |request| !self.drained.is_unknown(request, cell.as_ref());
                let one = self.books.count_of_one_node(key, &target.limit, is_known);
                let by = now.wall + Nanos::new(2 * SKEW);
                let most = target.limit.peek(by, one.as_ref()).remaining;
                if most < seen {
                    let story =
                        format!("{story}: {seen} are left, and one node would leave {most}");
                    self.break_promise("F4", story);
                }
                continue;
            }
            let forgotten = account.admitted.saturating_sub(counted);
            if 0 < forgotten {
                self.report.forgotten += forgotten;
                self.break_promise("F3", format!("{story}: {forgotten} are forgotten"));
            }
            self.report.twice += account.twice;
            let beyond = counted.saturating_sub(account.admitted + account.unknown);
            if !may_be_stricter(&target.limit) {
                self.report.beyond += beyond;
            }
            if account.twice < beyond && !may_be_stricter(&target.limit) {
                self.break_promise("F1", format!("{story}: {beyond} too many"));
            }
            let left = u64::from(target.limit.burst()).saturating_sub(counted);
            if u64::from(seen) != left {
                let story = format!("{story}: {left} are left, the owner says {seen}");
                self.break_promise("F4", story);
            }
        }
    }

    fn break_promise(&mut self, promise: &'static str, story: String) {
        self.say(|_| format!("{promise} broken: {story}"));
        Violation::first_of(&mut self.report.violations, promise, self.now, story);
    }
}

fn told_wrong(request: RequestId) -> String {
    format!("request {request} is counted, and its client is told that it is not")
}

fn replica(host: usize) -> ReplicaId {
    ReplicaId((host as u32 + 1) * 1_000 + 1)
}
