//! The strategy `local`, played: nodes that each count for themselves and tell each other.
//!
//! Runs the very [`Tally`] of the product, and around it what `cluster` does with it: news every 5 ms, digests when
//! something may have been missed. The stated bound is checked at every decision, in the words of `docs/strategies.md`:
//!
//! | promise | says |
//! | --- | --- |
//! | L1 | a hit passes only if it conforms with all hits that its node has heard of (checked for windows and logs, whose counts add up exactly) |
//! | L2 | while nothing is wrong, a node has heard of every hit that is older than one broadcast and one trip |
//! | L3 | after the faults, all nodes know and answer the same |

use std::collections::BTreeSet;

use coordinator::Tally;
use delta_crdt::{Cell, Digest, ReplicaId};
use quota::{Algorithm, Cost, Count, KeyHash, Limit, Stamp, UnixNanos, Verdict};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::events::Events;
use crate::network::Network;
use crate::oracle::{SimTime, Violation};
use crate::workload::{Target, targets};

const MILLISECOND: SimTime = 1_000_000;
const SECOND: SimTime = 1_000 * MILLISECOND;

/// When a run begins, in cluster time.
const EPOCH: SimTime = 1_800_000_000 * SECOND;
/// How long faults happen, and then how long none do.
const PLAYED: SimTime = 40 * SECOND;
const QUIET: SimTime = 10 * SECOND;
/// As in `cluster`.
const TELL_EVERY: SimTime = 5 * MILLISECOND;
const REPAIR_EVERY: SimTime = 250 * MILLISECOND;
/// How long after the last fault everything missed has been repaired: each of up to four others has been asked, over
/// ways that may lose a question.
const CALM_AFTER: SimTime = 4 * SECOND;
const KEYS: usize = 20;
const HITS_PER_SECOND: u64 = 200;
const FAULT_EVERY: SimTime = 5 * SECOND;

/// A bug of the driver that somebody could have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum LocalBug {
    /// What was lost is never asked for.
    NeverRepairs,
    /// A node tells the others, and does not listen.
    HearsNothing,
    /// A restarted node goes on under the replica id of its earlier life.
    ReusedReplicaId,
}

impl LocalBug {
    /// Every one.
    pub const ALL: [Self; 3] = [
        Self::NeverRepairs,
        Self::HearsNothing,
        Self::ReusedReplicaId,
    ];
}

/// What came of one run.
#[derive(Debug, Default)]
pub struct LocalReport {
    /// Hits decided.
    pub decisions: u64,
    /// Units by which nodes found keys beyond their limits when they heard of others' hits.
    pub overshoot: u64,
    /// The first of each promise that was broken.
    pub violations: Vec<Violation>,
}

/// What happens to a node.
enum Event {
    Hit,
    Tell(usize),
    Repair(usize),
    News {
        to: usize,
        news: News,
    },
    Digest {
        from: usize,
        to: usize,
        digest: Digest,
    },
    Fault,
}

/// Cells on their way, and which hits they include: told beside them, for the oracle alone.
#[derive(Clone)]
struct News {
    cells: Vec<(KeyHash, Cell)>,
    /// Of each key.
    hits: Vec<(usize, BTreeSet<usize>)>,
}

/// One admitted hit.
#[derive(Clone, Copy)]
struct Admitted {
    at: SimTime,
    target: usize,
    units: u32,
    /// When somebody else could hear of it. Of a node that died before, nobody ever does.
    lost: bool,
}

struct Node {
    tally: Tally,
    /// Of each key, places in the list of admitted hits.
    known: Vec<BTreeSet<usize>>,
    /// Own hits that nobody was told of.
    untold: BTreeSet<usize>,
    replica: u32,
}

/// The nodes, what is under way between them, and what the checkers know.
struct World {
    rng: SmallRng,
    bug: Option<LocalBug>,
    now: SimTime,
    events: Events<Event>,
    network: Network,
    nodes: Vec<Node>,
    targets: Vec<Target>,
    admitted: Vec<Admitted>,
    last_fault: SimTime,
    next_replica: u32,
    report: LocalReport,
}

/// Plays one seed.
#[must_use]
pub fn run_local(seed: u64, bug: Option<LocalBug>) -> LocalReport {
    let mut rng = SmallRng::seed_from_u64(seed);
    let nodes = rng.random_range(2..=5);
    let mut world = World {
        bug,
        now: 0,
        events: Events::new(),
        network: Network::new(nodes),
        nodes: Vec::new(),
        targets: targets(KEYS, None),
        admitted: Vec::new(),
        last_fault: 0,
        next_replica: 1,
        report: LocalReport::default(),
        rng,
    };
    for node in 0..nodes {
        let newcomer = world.newcomer();
        world.nodes.push(newcomer);
        world.after(TELL_EVERY, Event::Tell(node));
        world.after(REPAIR_EVERY, Event::Repair(node));
    }
    world.after(0, Event::Hit);
    world.after(FAULT_EVERY, Event::Fault);
    world.play();
    world.check_converged();
    world.report
}

impl World {
    fn newcomer(&mut self) -> Node {
        let replica = self.next_replica;
        self.next_replica += 1;
        Node {
            tally: Tally::new(ReplicaId(replica)),
            known: vec![BTreeSet::new(); KEYS],
            untold: BTreeSet::new(),
            replica,
        }
    }

    fn wall(&self, at: SimTime) -> UnixNanos {
        UnixNanos::new(EPOCH + at)
    }

    fn after(&mut self, span: SimTime, event: Event) {
        self.at(self.now + span, event);
    }

    fn at(&mut self, at: SimTime, event: Event) {
        self.events.plan(at, event);
    }

    fn play(&mut self) {
        while let Some((at, event)) = self.events.next_until(PLAYED + QUIET) {
            self.now = at;
            self.on(event);
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Hit => self.on_hit(),
            Event::Tell(node) => self.on_tell(node),
            Event::Repair(node) => self.on_repair(node),
            Event::News { to, news } => self.on_news(to, news),
            Event::Digest { from, to, digest } => self.on_digest(from, to, &digest),
            Event::Fault => self.on_fault(),
        }
    }

    fn on_hit(&mut self) {
        if PLAYED < self.now {
            return;
        }
        self.after(SECOND / HITS_PER_SECOND, Event::Hit);
        let node = self.rng.random_range(0..self.nodes.len());
        let target = self.rng.random_range(0..self.targets.len());
        let units = self.rng.random_range(1..=2);
        let Target { key, limit } = self.targets[target];
        let now = self.wall(self.now);
        let conforms = self.conforms(node, target, units);
        let decided = self.nodes[node]
            .tally
            .hit(now, key, &limit, Cost::new(units));
        self.report.decisions += 1;
        self.report.overshoot += decided.overshoot;
        self.check_heard(node, target);
        if decided.decision.verdict != Verdict::Allow {
            return;
        }
        if conforms == Some(false) {
            let story = format!(
                "node {node} admits {units} of {limit:?} that do not conform with what it has heard"
            );
            self.violate("L1", story);
        }
        let place = self.admitted.len();
        self.admitted.push(Admitted {
            at: self.now,
            target,
            units,
            lost: false,
        });
        self.nodes[node].known[target].insert(place);
        self.nodes[node].untold.insert(place);
    }

    fn on_tell(&mut self, node: usize) {
        self.after(TELL_EVERY, Event::Tell(node));
        let cells = self.nodes[node].tally.untold();
        if cells.is_empty() {
            return;
        }
        self.nodes[node].untold.clear();
        let news = self.news(node, cells);
        for to in (0..self.nodes.len()).filter(|&to| to != node) {
            self.send(node, to, |to| Event::News {
                to,
                news: news.clone(),
            });
        }
    }

    /// What these cells of a node include: all that it knows of their keys.
    fn news(&self, node: usize, cells: Vec<(KeyHash, Cell)>) -> News {
        let told = |target: &usize| {
            let key = self.targets[*target].key;
            cells.iter().any(|(told, _)| *told == key)
        };
        let known = &self.nodes[node].known;
        let hits = (0..KEYS)
            .filter(told)
            .map(|target| (target, known[target].clone()));
        let hits = hits.collect();
        News { cells, hits }
    }

    fn on_news(&mut self, to: usize, news: News) {
        for (target, hits) in news.hits {
            self.nodes[to].known[target].extend(hits);
        }
        if self.bug == Some(LocalBug::HearsNothing) {
            // The oracle takes it for heard: that it is not counted is the bug.
            return;
        }
        let now = self.wall(self.now);
        for (key, cell) in news.cells {
            self.nodes[to].tally.on_told(now, key, cell);
        }
    }

    /// Asks one other node for what was missed.
    fn on_repair(&mut self, node: usize) {
        self.after(REPAIR_EVERY, Event::Repair(node));
        let now = self.wall(self.now);
        self.nodes[node].tally.expire(now, 8);
        if self.bug == Some(LocalBug::NeverRepairs) {
            return;
        }
        let to = self.rng.random_range(0..self.nodes.len());
        if to != node {
            let digest = self.nodes[node].tally.digest();
            self.send(node, to, |to| Event::Digest {
                from: node,
                to,
                digest: digest.clone(),
            });
        }
    }

    fn on_digest(&mut self, from: usize, to: usize, digest: &Digest) {
        let differing = self.nodes[to].tally.digest().differing(digest);
        for (teller, hearer) in [(to, from), (from, to)] {
            let cells: Vec<_> = self.nodes[teller].tally.buckets(differing).collect();
            if cells.is_empty() {
                continue;
            }
            let news = self.news(teller, cells);
            self.send(teller, hearer, |to| Event::News {
                to,
                news: news.clone(),
            });
        }
    }

    fn send(&mut self, from: usize, to: usize, event: impl Fn(usize) -> Event) {
        for at in self.network.deliveries(&mut self.rng, self.now, from, to) {
            self.at(at, event(to));
        }
    }

    fn on_fault(&mut self) {
        self.network.loss = 0.0;
        self.network.sides.fill(0);
        self.last_fault = self.now;
        if PLAYED <= self.now + FAULT_EVERY {
            return;
        }
        self.after(FAULT_EVERY, Event::Fault);
        match self.rng.random_range(0..4) {
            0 => self.network.loss = 0.2,
            1 => {
                for side in &mut self.network.sides {
                    *side = self.rng.random_range(0..2);
                }
            }
            2 => self.restart(),
            // Calm, so that the bound of calm times is looked at.
            _ => {}
        }
    }

    /// A node dies, and what it told nobody with it. It comes back with nothing.
    fn restart(&mut self) {
        let node = self.rng.random_range(0..self.nodes.len());
        let newcomer = self.newcomer();
        let old = std::mem::replace(&mut self.nodes[node], newcomer);
        for place in old.untold {
            self.admitted[place].lost = true;
        }
        if self.bug == Some(LocalBug::ReusedReplicaId) {
            self.nodes[node].replica = old.replica;
            self.nodes[node].tally = Tally::new(ReplicaId(old.replica));
        }
    }

    fn violate(&mut self, promise: &'static str, story: String) {
        Violation::first_of(&mut self.report.violations, promise, self.now, story);
    }

    /// L1: whether `units` more conform with all that `node` has heard of. `None`: this algorithm does not add up exactly.
    fn conforms(&self, node: usize, target: usize, units: u32) -> Option<bool> {
        let limit = self.targets[target].limit;
        let is_exact = matches!(
            limit.algorithm(),
            Algorithm::SlidingLog | Algorithm::FixedWindow
        );
        let used = is_exact.then(|| self.counted(&limit, &self.nodes[node].known[target]))?;
        Some(used + u64::from(units) <= u64::from(limit.burst()))
    }

    /// What one node would count now that had admitted these hits: of a window or a log, each counts by itself.
    fn counted(&self, limit: &Limit, places: &BTreeSet<usize>) -> u64 {
        let now = self.wall(self.now);
        let since = self.now.saturating_sub(limit.period().get());
        let hits = places.iter().rev().map(|&place| self.admitted[place]);
        let recent = hits.take_while(|hit| since <= hit.at);
        let stamp = Stamp { term: 1, seq: 1 };
        let used = recent.map(|hit| {
            let mut count: Option<Count> = None;
            let _taken = limit.hit(self.wall(hit.at), &mut count, Cost::new(hit.units), stamp);
            count.map_or(0, |count| count.used(limit, now))
        });
        used.sum()
    }

    /// L2: in calm times, what a node has not heard of is younger than one broadcast and one trip.
    fn check_heard(&mut self, node: usize, target: usize) {
        if self.now < self.last_fault + CALM_AFTER
            || self.network.is_split()
            || self.network.loss != 0.0
        {
            return;
        }
        let oldest = self.now.saturating_sub(TELL_EVERY + self.network.delay.1);
        let since = self.last_fault + CALM_AFTER;
        let known = &self.nodes[node].known[target];
        let places = (0..self.admitted.len()).rev();
        let mut recent = places.take_while(|&place| since <= self.admitted[place].at);
        let unheard = recent.find(|&place| {
            let hit = self.admitted[place];
            let is_due = hit.at < oldest && !hit.lost && hit.target == target;
            is_due && !known.contains(&place)
        });
        if let Some(place) = unheard {
            let age_ms = (self.now - self.admitted[place].at) / MILLISECOND;
            self.violate(
                "L2",
                format!("node {node} has not heard of a hit {age_ms} ms old"),
            );
        }
    }

    /// L3: all nodes know and answer the same.
    fn check_converged(&mut self) {
        let now = self.wall(self.now);
        for target in 0..self.targets.len() {
            let Target { key, limit } = self.targets[target];
            let told: Vec<_> = self
                .nodes
                .iter_mut()
                .map(|node| node.tally.hit(now, key, &limit, Cost::PEEK).decision)
                .collect();
            if told.iter().any(|decision| *decision != told[0]) {
                self.violate(
                    "L3",
                    format!("nodes answer differently for {limit:?}: {told:?}"),
                );
            }
        }
    }
}
