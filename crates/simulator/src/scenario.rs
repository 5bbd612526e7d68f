//! What is simulated, and what came of it.

use shard::Partition;

use crate::bug::Bug;
use crate::links::Links;
use crate::oracle::{EPOCH, SimTime, Violation};
use crate::workload::Midnight;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes at the start, 1 to 9.
    pub nodes: usize,
    /// Whether one host more runs a node that asks the others and owns nothing.
    pub asks: bool,
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
    /// Whether single links are ever cut, so that not everybody reaches everybody.
    pub cuts: bool,
    /// Links to cut from the fourth to the ninth second.
    pub cut: Links,
    /// How long all must come to rest after the faulty part, in seconds; clients go on for three fifths of it.
    pub quiet: u64,
    /// Whether clients give back and reset. A key that saw either is no longer checked.
    pub refunds: bool,
    /// Whether clients name one hit in three, and ask it again, of any node, for as long as its name is remembered.
    pub names: bool,
    /// Whether nodes have room for fewer keys than are hit, each for as many as its host has memory.
    pub is_tight: bool,
    /// What each direction of each link carries, in bytes a second: one in three worlds is narrow, none of them tight.
    /// `None`: whatever there is.
    pub bandwidth: Option<u64>,
    /// Whether a midnight falls into the run, on or next to a day on which clocks change, and fixed windows are days.
    pub has_midnight: bool,
    /// A bug to switch on.
    pub bug: Option<Bug>,
    /// Print what happens.
    pub verbose: bool,
    /// Print the messages of this shard, too.
    pub watch: Option<u16>,
}

/// What a narrow link carries, in bytes a second.
pub const NARROW: u64 = 1_000_000;

/// How long clients ask again what they have named: as `client::Remote` does.
pub(crate) const ASKED_AGAIN_WITHIN: SimTime = 4_000_000_000;

impl Scenario {
    /// The default workload, varied by the seed: both acknowledgements, both partition modes.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self {
            seed,
            nodes: match seed % 64 {
                17 => 1,
                6 => 2,
                2 | 3 | 34 | 35 => 3,
                54 => 4,
                45 => 7,
                62 => 9,
                _ => 5,
            },
            asks: seed % 7 == 5 && seed % 64 != 62,
            // Fast, available and never split: what is lost with an owner is excused, and nothing else.
            replicas: if seed % 16 == 9 { 0 } else { 2 },
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
            cuts: seed / 8 % 2 == 1,
            cut: Links::NONE,
            quiet: 25,
            refunds: seed.is_multiple_of(5),
            // Both partition modes.
            names: matches!(seed % 64, 3 | 4),
            is_tight: seed.is_multiple_of(3),
            bandwidth: (seed % 3 == 1).then_some(NARROW),
            has_midnight: seed % 8 == 7,
            bug: None,
            verbose: false,
            watch: None,
        }
    }

    pub(crate) fn midnight(&self) -> Option<Midnight> {
        self.has_midnight.then(|| Midnight::of(self.seed / 8))
    }

    /// Wall time at the start.
    pub(crate) fn epoch(&self) -> u64 {
        self.midnight().map_or(EPOCH, Midnight::epoch)
    }

    /// When clients ask no more.
    pub(crate) fn clients_end(&self) -> SimTime {
        (self.seconds + self.quiet * 3 / 5) * 1_000_000_000
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
