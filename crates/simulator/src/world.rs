//! The event loop: hosts, clocks, clients and faults, all from one seed.

mod checks;
mod crowd;
mod evictions;
mod faults;
mod life;
mod panics;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use delta_crdt::{ReplicaId, Term};
use membership::Founding;
use quota::{Cost, Limit, Verdict};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shard::{HitId, Operation, Partition};

use crate::bug::Bug;
use crate::events::Events;
use crate::lanes::{Lane, Lanes, weight};
use crate::links::{HOSTS, Links};
use crate::network::Network;
use crate::node::{Event, Node, Payload, SHARDS};
use crate::oracle::{Decided, Oracle, RequestId, SimTime};
use crate::scenario::{ASKED_AGAIN_WITHIN, Report, Scenario};
use crate::workload::{Target, operation, targets};

use evictions::Evictions;
use life::ASKING;

const MILLIS: SimTime = 1_000_000;
const SECONDS: SimTime = 1_000 * MILLIS;

/// When clients begin to ask. By then all who start together have met.
const CLIENTS_START: SimTime = 2 * SECONDS;

/// Of the membership's settings.
const HEARTBEAT: SimTime = 100 * MILLIS;

/// At the end, who has just compared what it holds may still be about to say so. Clocks differ, so that a key can be full
/// again for the one side of a comparison and not for the other, which takes a round trip to find out.
const AT_REST: SimTime = SECONDS;

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
    /// Connections from this host to the process of that replica are refused, although it lives.
    Refused {
        host: usize,
        replica: ReplicaId,
    },
    /// A name comes and goes, by way of this host.
    Pass(usize),
    Client,
    /// A client asks again what it has named.
    Again {
        request: RequestId,
        key: usize,
        operation: Operation,
    },
    Join(usize),
    Fault,
    /// Shards of some host panic once everybody has gone quiet.
    LatePanic,
    Resume(usize),
    /// These hosts are cut off from the others, for so many milliseconds.
    Split(Vec<usize>, Range<SimTime>),
    /// These links carry nothing any more.
    Cut(Links),
    Heal,
    Calm,
    Left(usize),
}

#[derive(Default)]
struct Host {
    node: Option<Node>,
    /// While it looks for a cluster.
    founding: Option<Founding>,
    incarnation: u64,
    paused: bool,
    leaving_since: Option<SimTime>,
    has_bad_clock: bool,
    /// Since when it reaches no majority. `None`: it does.
    cut_off_since: Option<SimTime>,
    /// When it last saw nobody.
    saw_nobody_at: SimTime,
    /// Up, running and reachable since.
    fit_since: SimTime,
    /// When its membership machine last started with nobody in sight.
    blind_at: SimTime,
    backlog: Vec<Happening>,
}

struct World {
    scenario: Scenario,
    rng: SmallRng,
    now: SimTime,
    events: Events<Happening>,
    hosts: Vec<Host>,
    network: Network,
    lanes: Lanes,
    /// The side of each host since the last split: who counted with whom.
    sides: Vec<usize>,
    apart: bool,
    targets: Vec<Target>,
    oracle: Oracle,
    host_of: BTreeMap<ReplicaId, usize>,
    gone: Vec<ReplicaId>,
    next_request: RequestId,
    /// Those that their clients have named.
    named: BTreeSet<RequestId>,
    answered: u64,
    faults: u64,
    last_split: SimTime,
    /// When the network was last healed of whatever it had.
    last_heal: SimTime,
    /// Names that came and went.
    passed: u32,
    /// When fewer nodes than a majority last ran: of two nodes, one is not enough.
    last_minority: SimTime,
    /// When the last node went down that takes shards: who only asks has nobody to ask until one is up again.
    last_ownerless: SimTime,
    /// Of each shard, the highest term under which a hit was decided whose decision stands, and since when.
    newest_terms: BTreeMap<u16, (Term, SimTime)>,
    /// When every holder of a shard may last have been killed at once.
    last_state_lost: SimTime,
    evictions: Evictions,
}

/// Plays a scenario to its end.
#[must_use]
pub fn run(scenario: Scenario) -> Report {
    let targets = targets(scenario.keys, scenario.midnight());
    let limits: Vec<Limit> = targets.iter().map(|target| target.limit).collect();
    let replicated = scenario.replicated || scenario.partition == Partition::Quorum;
    let mut world = World {
        scenario,
        rng: SmallRng::seed_from_u64(scenario.seed),
        now: 0,
        events: Events::new(),
        hosts: (0..HOSTS).map(|_| Host::default()).collect(),
        network: Network::new(HOSTS),
        lanes: Lanes::new(scenario.bandwidth),
        sides: vec![0; HOSTS],
        apart: false,
        targets,
        oracle: Oracle::new(&limits, replicated, scenario.epoch()),
        host_of: BTreeMap::new(),
        gone: Vec::new(),
        next_request: 0,
        named: BTreeSet::new(),
        answered: 0,
        faults: 0,
        last_split: 0,
        last_heal: 0,
        passed: 0,
        last_minority: 0,
        last_ownerless: 0,
        newest_terms: BTreeMap::new(),
        last_state_lost: 0,
        evictions: Evictions::default(),
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
        if self.scenario.asks {
            self.at(CLIENTS_START, Happening::Join(ASKING));
        }
        self.at(CLIENTS_START, Happening::Client);
        let first_fault = CLIENTS_START + self.scenario.fault_every * SECONDS;
        self.at(first_fault, Happening::Fault);
        let quiet_at = self.scenario.seconds * SECONDS;
        let end = quiet_at + self.scenario.quiet * SECONDS;
        self.at(quiet_at, Happening::Calm);
        self.at(self.scenario.clients_end() + SECONDS, Happening::LatePanic);
        if !self.scenario.cut.is_empty() {
            self.at(4 * SECONDS, Happening::Cut(self.scenario.cut));
        }
        while self.oracle.violations().is_empty()
            && let Some(at) = self.events.next_at()
        {
            let until = match end < at && self.is_settled() {
                true => end,
                false => end + AT_REST,
            };
            let Some((time, happening)) = self.events.next_until(until) else {
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

    fn at(&mut self, time: SimTime, happening: Happening) {
        self.events.plan(time, happening);
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
            Happening::Refused { host, replica } => self.connection_refused(host, replica),
            Happening::Pass(guide) => self.pass(guide),
            Happening::Client => self.client(),
            // What two sides count of one hit is a matter of the fold (decision 0030).
            Happening::Again { .. } if self.apart => {}
            Happening::Again {
                request,
                key,
                operation,
            } => {
                if let Some(host) = self.any_host() {
                    self.ask(host, request, key, operation);
                }
            }
            Happening::Join(host) => self.join(host),
            Happening::Fault => self.fault(),
            Happening::LatePanic => self.late_panic(),
            Happening::Resume(host) => self.resume(host),
            Happening::Split(hosts, millis) => {
                let sides = (0..HOSTS).map(|host| usize::from(hosts.contains(&host)));
                self.split(sides.collect(), millis);
            }
            Happening::Cut(links) => self.cut(links, 5_000..5_001),
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
        let now = self.now;
        if let Some((_, node)) = self.running(host, me) {
            node.on_tick(now);
            let jitter = self.rng.random_range(0..5 * MILLIS);
            self.at(now + 20 * MILLIS + jitter, Happening::Tick(host, me));
        }
        self.after(host);
        self.watch_majority(host);
        self.watch_reach(host);
        self.check_alive(host);
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
        let mut opened = Vec::new();
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
                    is_new: _,
                    slot: _,
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
                    self.evictions.on_decided(key);
                    let side = self.sides[host];
                    let decided = Decided {
                        request,
                        is_named: self.named.contains(&request),
                        key,
                        operation,
                        owner: me,
                        term,
                        side,
                        wall,
                        decision,
                    };
                    self.check_one_owner(&decided);
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
                    if decision.verdict == Verdict::Allow {
                        self.check_one_owner_answers(request, key);
                    }
                    self.oracle.answered(request, key, decision.verdict);
                }
                Event::GaveUp {
                    request,
                    key,
                    asked,
                    error,
                    has_left,
                } => {
                    self.say(|| format!("host {host}: request {request} key {key}: {error}"));
                    // Of one that is asked again, this is what came of one attempt of its client.
                    if !self.named.contains(&request) {
                        self.oracle.gave_up(self.now, request, error, has_left);
                    }
                    match self.now - asked < request::DEADLINE.get() {
                        true => self.refused(host, request, asked),
                        false => self.gave_up(host, request, asked),
                    }
                }
                Event::Opened { shard } => {
                    self.say(|| format!("host {host} opened shard {}", shard.0));
                    opened.push(shard.0);
                }
                Event::StateLost { shard } => {
                    self.say(|| format!("host {host} takes the state of shard {shard} for lost"));
                }
                Event::Evicted { keys } => self.evicted(host, &keys),
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
        // After what was decided in the same breath: a reset is no loss.
        for shard in opened {
            self.check_owner(host, shard);
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
        let (lane, bytes) = match weight(&payload) {
            (_, bytes) if self.scenario.bug == Some(Bug::CopiesHoldUpHits) => (Lane::Hits, bytes),
            weight => weight,
        };
        let left = self.lanes.carry(self.now, (host, target), lane, bytes);
        self.check_held_up(left, to, &payload);
        // A hit that a lossy link loses is sent again by its connection, and so is what is said of it.
        let is_stream = matches!(payload, Payload::Forward(_) | Payload::Reply { .. });
        let (network, rng) = (&self.network, &mut self.rng);
        let times = match is_stream {
            true => Vec::from_iter(network.stream_delivery(rng, left, host, target)),
            false => network.deliveries(rng, left, host, target),
        };
        for time in times {
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
        if self.now < self.scenario.clients_end() {
            let jitter = self.rng.random_range(0..=gap);
            self.at(self.now + gap / 2 + jitter, Happening::Client);
        }
        let Some(host) = self.any_host() else {
            return;
        };
        let key = self.rng.random_range(0..self.targets.len());
        let operation = operation(&mut self.rng, self.scenario.refunds);
        self.next_request += 1;
        let request = self.next_request;
        let counts = matches!(operation, Operation::Hit(cost) if cost != Cost::PEEK);
        if self.scenario.names && counts && request.is_multiple_of(3) {
            self.named.insert(request);
            let again = self.now + self.rng.random_range(0..ASKED_AGAIN_WITHIN);
            let asked = Happening::Again {
                request,
                key,
                operation,
            };
            self.at(again, asked);
        }
        self.ask(host, request, key, operation);
    }

    /// Any host that clients may ask.
    fn any_host(&mut self) -> Option<usize> {
        let candidates: Vec<usize> = (0..HOSTS)
            .filter(|&host| {
                let host = &self.hosts[host];
                !host.paused
                    && host.leaving_since.is_none()
                    && host.node.as_ref().is_some_and(|node| node.joined)
            })
            .collect();
        match candidates.is_empty() {
            true => None,
            false => Some(candidates[self.rng.random_range(0..candidates.len())]),
        }
    }

    fn ask(&mut self, host: usize, request: RequestId, key: usize, operation: Operation) {
        let now = self.now;
        let named = self.named.contains(&request);
        let name = named.then(|| HitId::of_client(u128::from(request)));
        let targets = std::mem::take(&mut self.targets);
        if let Some(node) = &mut self.hosts[host].node {
            node.on_request(now, request, key, operation, name, &targets);
        }
        self.targets = targets;
        self.after(host);
    }
}
