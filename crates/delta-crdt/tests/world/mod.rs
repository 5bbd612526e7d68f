//! A few replicas of one shard, and a network that loses, repeats and reorders what they send each other.
//!
//! Histories are made through the public API alone, under the rules that the shard keeps: one owner writes at a time,
//! under a term of its own, unless there is a fork; then each side does.

#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(unreachable_pub, reason = "shared by test binaries")]

use std::collections::BTreeMap;

use delta_crdt::{Cell, Cells, Dot, ReplicaId, Term};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use quota::{Algorithm, Anchor, Cost, Decision, KeyHash, Limit, Nanos, UnixNanos};

pub const REPLICAS: usize = 3;
pub const START: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

/// One limit of each kind; the burst is small, so that denials happen.
pub fn limits() -> Vec<Limit> {
    let minute = Nanos::from_secs(60);
    let limit = |algorithm, units| Limit::new(algorithm, units, minute).unwrap();
    vec![
        limit(Algorithm::Gcra, 20),
        limit(Algorithm::LeakyBucket, 7),
        limit(Algorithm::FixedWindow, 20),
        limit(Algorithm::FixedWindow, 20)
            .with_anchor(Anchor::FirstHit)
            .unwrap(),
        limit(Algorithm::SlidingCounter, 20),
        limit(Algorithm::SlidingLog, 20),
    ]
}

pub fn key(number: usize) -> KeyHash {
    let bits = (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    KeyHash::new(bits)
}

/// What is held, as it would be sent.
pub fn exchange_form(cells: &Cells) -> BTreeMap<KeyHash, Cell> {
    cells.iter().collect()
}

/// `cases` of each law, or as many as `PROPTEST_CASES` asks for.
pub fn config(file: &'static str, cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: asked.map_or(cases, |asked| asked.parse().expect("a number of cases")),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..ProptestConfig::default()
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Hit {
        side: usize,
        key: usize,
        cost: u32,
    },
    Refund {
        side: usize,
        key: usize,
        cost: u32,
    },
    Reset {
        side: usize,
        key: usize,
    },
    /// The message at this place among those under way arrives.
    Deliver {
        which: usize,
    },
    /// A message is lost.
    Lose {
        which: usize,
    },
    /// A message arrives, and will arrive again.
    Repeat {
        which: usize,
    },
    Wait {
        ms: u64,
    },
    /// The clock that writes are stamped with runs back: another node's, or a step.
    SetBack {
        ms: u64,
    },
    /// From here on every side writes, under a term of its own.
    Fork,
    /// One side hears everything from all, and goes on alone under a new term; the others hear from it.
    Takeover {
        by: usize,
    },
}

/// Histories of `length` steps. With `clock`, time passes and keys expire.
pub fn steps(length: usize, clock: bool) -> impl Strategy<Value = Vec<Step>> {
    let (side, key, cost) = (0..REPLICAS, 0..limits().len(), 0..6_u32);
    let ms = if clock { 0..40_000_u64 } else { 0..1 };
    let back = if clock { 0..2_000_u64 } else { 0..1 };
    let which = 0..1_000_usize;
    let step = prop_oneof![
        12 => (side.clone(), key.clone(), cost.clone())
            .prop_map(|(side, key, cost)| Step::Hit { side, key, cost }),
        3 => (side.clone(), key.clone(), cost)
            .prop_map(|(side, key, cost)| Step::Refund { side, key, cost }),
        1 => (side.clone(), key).prop_map(|(side, key)| Step::Reset { side, key }),
        8 => which.clone().prop_map(|which| Step::Deliver { which }),
        2 => which.clone().prop_map(|which| Step::Lose { which }),
        2 => which.prop_map(|which| Step::Repeat { which }),
        2 => ms.prop_map(|ms| Step::Wait { ms }),
        1 => back.prop_map(|ms| Step::SetBack { ms }),
        1 => Just(Step::Fork),
        1 => side.prop_map(|by| Step::Takeover { by }),
    ];
    prop::collection::vec(step, 1..length)
}

pub struct Side {
    pub cells: Cells,
    pub term: Term,
    pub seq: u64,
}

pub struct World {
    pub limits: Vec<Limit>,
    pub sides: Vec<Side>,
    pub now: UnixNanos,
    /// Who writes; `None` in a fork.
    pub owner: Option<usize>,
    pub under_way: Vec<(usize, KeyHash, Cell)>,
    /// Every delta that was ever made.
    pub deltas: Vec<(KeyHash, Cell)>,
    terms: u32,
}

impl World {
    pub fn new() -> Self {
        let side = |replica: usize| Side {
            cells: Cells::new(),
            term: Term {
                number: 1,
                replica: ReplicaId(replica as u32),
            },
            seq: 0,
        };
        Self {
            limits: limits(),
            sides: (0..REPLICAS).map(side).collect(),
            now: START,
            owner: Some(0),
            under_way: Vec::new(),
            deltas: Vec::new(),
            terms: 1,
        }
    }

    pub fn run(steps: &[Step]) -> Self {
        let mut world = Self::new();
        for step in steps {
            world.step(step);
        }
        world
    }

    pub fn step(&mut self, step: &Step) {
        match *step {
            Step::Hit { side, key, cost } => {
                self.hit(side, key, cost);
            }
            Step::Refund { side, key, cost } => {
                self.refund(side, key, cost);
            }
            Step::Reset { side, key } => self.reset(side, key),
            Step::Deliver { which } => self.deliver(which, true),
            Step::Repeat { which } => self.deliver(which, false),
            Step::Lose { which } => {
                if !self.under_way.is_empty() {
                    let which = which % self.under_way.len();
                    self.under_way.swap_remove(which);
                }
            }
            Step::Wait { ms } => self.now = self.now + Nanos::from_millis(ms),
            Step::SetBack { ms } => self.now = self.now - Nanos::from_millis(ms),
            Step::Fork => self.fork(),
            Step::Takeover { by } => self.take_over(by),
        }
    }

    pub fn hit(&mut self, side: usize, number: usize, cost: u32) -> Decision {
        let (limit, now) = (self.limits[number], self.now);
        self.write(side, number, |cells, dot| {
            cells.hit(now, key(number), &limit, Cost::new(cost), dot)
        })
    }

    pub fn refund(&mut self, side: usize, number: usize, cost: u32) -> Decision {
        let (limit, now) = (self.limits[number], self.now);
        self.write(side, number, |cells, dot| {
            cells.refund(now, key(number), &limit, Cost::new(cost), dot)
        })
    }

    pub fn reset(&mut self, side: usize, number: usize) {
        let (limit, now) = (self.limits[number], self.now);
        self.write(side, number, |cells, dot| {
            cells.reset(now, key(number), &limit, dot)
        });
    }

    pub fn peek(&self, side: usize, number: usize) -> Decision {
        self.sides[side]
            .cells
            .peek(self.now, key(number), &self.limits[number])
    }

    fn write(
        &mut self,
        side: usize,
        number: usize,
        operation: impl FnOnce(&mut Cells, Dot) -> delta_crdt::Written,
    ) -> Decision {
        let writer = self.owner.unwrap_or(side);
        let side = &mut self.sides[writer];
        let dot = Dot::new(side.term, side.seq + 1);
        let before = side.cells.get(key(number));
        let written = operation(&mut side.cells, dot);
        let after = side.cells.get(key(number));
        assert_eq!(written.changed, before != after, "changed, and says so");
        if let (true, Some(delta)) = (written.changed, after) {
            side.seq += 1;
            assert_eq!(delta.versions().len(), 1, "a write leaves one version");
            self.deltas.push((key(number), delta.clone()));
            let others = (0..REPLICAS).filter(|&other| other != writer);
            self.under_way
                .extend(others.map(|other| (other, key(number), delta.clone())));
        }
        written.decision
    }

    fn deliver(&mut self, which: usize, once: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let which = which % self.under_way.len();
        let (to, key, cell) = self.under_way[which].clone();
        if once {
            self.under_way.swap_remove(which);
        }
        let _ = self.sides[to].cells.join(self.now, key, cell);
    }

    pub fn fork(&mut self) {
        self.owner = None;
        for side in 0..REPLICAS {
            self.begin_term(side);
        }
    }

    pub fn take_over(&mut self, by: usize) {
        self.exchange_all();
        self.begin_term(by);
        self.owner = Some(by);
    }

    /// Full states meet, each with each.
    pub fn exchange_all(&mut self) {
        for _ in 0..2 {
            for to in 0..REPLICAS {
                for from in 0..REPLICAS {
                    let cells: Vec<_> = self.sides[from].cells.iter().collect();
                    for (key, cell) in cells {
                        let _ = self.sides[to].cells.join(self.now, key, cell);
                    }
                }
            }
        }
    }

    fn begin_term(&mut self, side: usize) {
        self.terms += 1;
        let side = &mut self.sides[side];
        side.term.number = self.terms;
    }
}
