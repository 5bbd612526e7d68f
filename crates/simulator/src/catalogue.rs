//! The catalogue, played: what people change, told to every node.
//!
//! Runs the very [`Catalogue`] of the product, in nodes that are cut off, die, come back with clocks hours off, and lose,
//! repeat and reorder what they say to each other. The oracle keeps its own books of which write had seen which:
//!
//! | promise | says |
//! | --- | --- |
//! | C1 | an answered change is at every live member that the answer does not name |
//! | C2 | no change is lost: who has one answered keeps it, or a later one, and in the end all have it |
//! | C3 | of two changes in sequence the later stands; where neither had seen the other, of limits the newer, of rights what they say together |
//! | C4 | a newcomer that is ready has every change that was answered |
//! | C5 | after the faults, all nodes have the same, and all are ready |
//! | C6 | a tenant, a seat or an API key is never granted more than by any change that is there and that no other has seen |
//! | C7 | an API key whose revocation was answered is revoked wherever the answer says and on every newcomer, and nowhere valid again |
//! | C8 | what was used of a day is told as the largest that any change that is there has said, and never as less again |
//!
//! Limits of single keys stand for what is taken whole. Tenants, seats and API keys are rights: whoever edits one starts from what
//! the node says of it, renames it, suspends, resumes, closes or restores a tenant, gives a seat another role or takes it away,
//! and narrows, ends earlier or revokes an API key. The books note what each write grants by itself, and work out what must stand from those that no other has seen.
//! What tenants have used only grows, by whichever node counts more of it.

mod books;
mod bug;
mod look;
mod rights;
mod traffic;
mod used;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalogue::{Address, Catalogue, ChangeId, Content, Effect, KeyLimit, Kind, Message, SERVICE};
use delta_crdt::ReplicaId;
use quota::{Algorithm, BootNanos, KeyHasher, Limit, Nanos, Now, UnixNanos};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::events::Events;
use crate::network::Network;
use crate::oracle::{SimTime, Violation};

use books::Books;
pub use bug::CatalogueBug;

const MILLISECOND: SimTime = 1_000_000;
const SECOND: SimTime = 1_000 * MILLISECOND;

/// When a run begins, in cluster time.
const EPOCH: SimTime = 1_800_000_000 * SECOND;
/// How long faults happen, and then how long none do.
const PLAYED: SimTime = 40 * SECOND;
const QUIET: SimTime = 10 * SECOND;
/// As in `cluster`.
const TICK_EVERY: SimTime = 50 * MILLISECOND;
const FAULT_EVERY: SimTime = 5 * SECOND;
/// Half of them of limits.
const CHANGES_PER_SECOND: u64 = 40;
/// Names are numbers: first those of limits of single keys, then of tenants, of seats, of what is used, and of API keys.
const NAMES: usize = KEY_LIMITS + TENANTS + SEATS + MONTHS + API_KEYS;
const KEY_LIMITS: usize = 12;
const TENANTS: usize = 6;
const SEATS: usize = 2;
const MONTHS: usize = 2;
const FIRST_SEAT: usize = KEY_LIMITS + TENANTS;
const FIRST_MONTH: usize = FIRST_SEAT + SEATS;
const FIRST_API_KEY: usize = FIRST_MONTH + MONTHS;
/// More than are made in the time.
const API_KEYS: usize = 100;
/// Of the limits, and of the API keys the newest, that are changed all the time.
const OFTEN: usize = 4;
/// Most by which the clock of an incarnation is off: what was set by hand is often off by a time zone.
const CLOCK_OFF: SimTime = 2 * 3_600 * SECOND;
const NAMESPACE: &str = "default";

/// What came of one run.
#[derive(Debug, Default)]
pub struct CatalogueReport {
    /// Changes answered.
    pub changes: u64,
    /// Of those, with members named that had not confirmed.
    pub pending: u64,
    /// Of those, of API keys that are revoked.
    pub revocations: u64,
    /// Faults.
    pub faults: u64,
    /// The first of each promise that was broken.
    pub violations: Vec<Violation>,
}

/// What happens.
enum Event {
    Change,
    Tick(usize),
    Look(usize),
    Start(usize),
    Deliver {
        from: ReplicaId,
        to: usize,
        message: Message,
        /// Of each record of a piece, the writes that it holds: told beside it, for the books alone.
        writes: Vec<BTreeSet<usize>>,
    },
    Fault,
}

/// One incarnation of a node.
struct Node {
    me: ReplicaId,
    catalogue: Catalogue,
    /// How far its wall clock is ahead of the epoch's.
    ahead: SimTime,
    /// Of each name, every write that has come to it.
    known: [BTreeSet<usize>; NAMES],
    /// API keys that it has said are revoked.
    revoked: BTreeSet<usize>,
    /// What it said of rights before the last news of them came, and the writes that it had seen then: for a bug alone.
    stale: BTreeMap<usize, (Content, BTreeSet<usize>)>,
    /// Whom it has a connection with, and when that was last seen to work.
    links: BTreeMap<ReplicaId, SimTime>,
    view: BTreeSet<ReplicaId>,
    /// Everybody who ever was in its view.
    met: BTreeSet<ReplicaId>,
    started: SimTime,
    is_ready: bool,
    waiting: BTreeMap<ChangeId, usize>,
}

/// The nodes, what is under way between them, and the books.
struct World {
    rng: SmallRng,
    bug: Option<CatalogueBug>,
    now: SimTime,
    events: Events<Event>,
    network: Network,
    /// `None` while it is down.
    nodes: Vec<Option<Node>>,
    books: Books,
    next_replica: u32,
    last_split: SimTime,
    report: CatalogueReport,
}

/// Plays one seed.
#[must_use]
pub fn run_catalogue(seed: u64, bug: Option<CatalogueBug>) -> CatalogueReport {
    let mut rng = SmallRng::seed_from_u64(seed);
    let hosts = rng.random_range(2..=5);
    let mut world = World {
        bug,
        now: 0,
        events: Events::new(),
        network: Network::new(hosts),
        nodes: (0..hosts).map(|_| None).collect(),
        books: Books::default(),
        next_replica: 1,
        last_split: 0,
        report: CatalogueReport::default(),
        rng,
    };
    for host in 0..hosts {
        world.after(host as SimTime * 100 * MILLISECOND, Event::Start(host));
    }
    world.after(SECOND, Event::Change);
    world.after(FAULT_EVERY, Event::Fault);
    world.play();
    world.check_converged();
    world.report
}

impl World {
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
            Event::Change => self.on_change(),
            Event::Tick(host) => self.on_tick(host),
            Event::Look(host) => self.on_look(host),
            Event::Start(host) => self.start(host),
            Event::Deliver {
                from,
                to,
                message,
                writes,
            } => self.on_delivery(from, to, message, &writes),
            Event::Fault => self.on_fault(),
        }
    }

    fn start(&mut self, host: usize) {
        let me = ReplicaId(self.next_replica);
        self.next_replica += 1;
        let is_first = self.nodes.iter().all(Option::is_none) && self.now == 0;
        self.nodes[host] = Some(Node {
            me,
            catalogue: Catalogue::new(me, KeyHasher::new([7; 16])),
            ahead: self.rng.random_range(0..CLOCK_OFF),
            known: [const { BTreeSet::new() }; NAMES],
            revoked: BTreeSet::new(),
            stale: BTreeMap::new(),
            links: BTreeMap::new(),
            view: BTreeSet::new(),
            met: BTreeSet::new(),
            started: self.now,
            is_ready: is_first,
            waiting: BTreeMap::new(),
        });
        if is_first {
            self.with(host, |catalogue, now| catalogue.on_members(now, &[]));
        }
        let phase = self.rng.random_range(0..TICK_EVERY);
        self.after(phase, Event::Tick(host));
        self.after(phase, Event::Look(host));
    }

    /// Lets a catalogue take something in, and does what it leaves. Nothing happens while the node is down.
    fn with<R>(&mut self, host: usize, act: impl FnOnce(&mut Catalogue, Now) -> R) -> Option<R> {
        let now = self.now;
        let node = self.nodes[host].as_mut()?;
        let reading = Now {
            boot: BootNanos::new(now),
            wall: UnixNanos::new(EPOCH + now + node.ahead),
        };
        let result = act(&mut node.catalogue, reading);
        let mut effects = Vec::new();
        while let Some(effect) = node.catalogue.next_effect() {
            effects.push(effect);
        }
        for effect in effects {
            match effect {
                // No disk is played: who restarts comes back with nothing.
                Effect::Keep { .. } => {}
                Effect::Send { to, message } => self.send(host, to, message),
                Effect::Settled {
                    change,
                    unconfirmed,
                } => self.on_settled(host, change, &unconfirmed),
            }
        }
        Some(result)
    }

    fn on_tick(&mut self, host: usize) {
        if self.nodes[host].is_some() {
            self.after(TICK_EVERY, Event::Tick(host));
            self.with(host, Catalogue::on_tick);
        }
    }

    fn host_of(&self, replica: ReplicaId) -> Option<usize> {
        let is_it = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.me == replica);
        self.nodes.iter().position(is_it)
    }

    fn on_fault(&mut self) {
        let was_split = self.network.is_split();
        self.network.loss = 0.0;
        self.network.sides.fill(0);
        if was_split {
            self.last_split = self.now;
        }
        if PLAYED <= self.now + FAULT_EVERY {
            return;
        }
        self.after(FAULT_EVERY, Event::Fault);
        self.report.faults += 1;
        match self.rng.random_range(0..4) {
            0 => self.network.loss = 0.2,
            1 => {
                for side in &mut self.network.sides {
                    *side = self.rng.random_range(0..2);
                }
            }
            _ => self.restart(),
        }
    }

    /// A node dies, and comes back with nothing. The last one stays: what only it has would be gone.
    fn restart(&mut self) {
        let ready = self.nodes.iter().flatten().filter(|node| node.is_ready);
        if ready.count() < 2 {
            return;
        }
        let host = self.rng.random_range(0..self.nodes.len());
        if self.nodes[host].take().is_some() {
            let down = self.rng.random_range(SECOND / 2..3 * SECOND);
            self.after(down, Event::Start(host));
        }
    }

    fn violate(&mut self, promise: &'static str, story: String) {
        Violation::first_of(&mut self.report.violations, promise, self.now, story);
    }
}

fn kind(name: usize) -> Kind {
    match name {
        0..KEY_LIMITS => Kind::KeyLimit,
        KEY_LIMITS..FIRST_SEAT => Kind::Tenant,
        FIRST_SEAT..FIRST_MONTH => Kind::Seat,
        FIRST_MONTH..FIRST_API_KEY => Kind::Usage,
        _ => Kind::ApiKey,
    }
}

fn address(name: usize) -> Address {
    let kind = kind(name);
    let namespace = match kind {
        Kind::KeyLimit => NAMESPACE,
        _ => SERVICE,
    };
    Address {
        kind,
        namespace: namespace.into(),
        name: Arc::from(name.to_string()),
    }
}

/// Which of the names it is.
fn place(address: &Address) -> usize {
    address.name.parse().expect("names are numbers")
}

fn content(units: u32) -> Content {
    let limit = Limit::new(Algorithm::Gcra, units, Nanos::from_secs(60));
    Content::KeyLimit(KeyLimit {
        limit: limit.expect("a limit of some units a minute"),
        as_token_bucket: false,
    })
}
