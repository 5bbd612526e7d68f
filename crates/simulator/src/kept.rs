//! Counts that outlive all nodes, played: everything is stopped or killed, and started again.
//!
//! Runs the machines of the product in three to five nodes with disks, among them [`kept_counts`], which says what is written
//! and what is taken back. Each seed plays three rounds: nodes start, clients hit, and then all nodes are stopped at once or
//! one after another, or killed. Before some rounds a disk is lost, in some one node comes long after the others or long
//! before, and in some disks are full for a while. A write takes a while to reach the disk; of one that a kill cuts short,
//! any part from its beginning on is there.
//!
//! | promise | says |
//! | --- | --- |
//! | K1 | a stop of all nodes forgets nothing |
//! | K2 | a kill of all nodes forgets nothing of which a client was told more than a second before |
//! | K3 | nothing is counted twice |
//! | K4 | one lost disk changes nothing about that |
//! | K5 | who remembers others waits for them, `start_wait` long; under `quorum` until a majority of them is there that remembers; nobody founds a cluster beside another |
//! | K6 | a reset stays one |
//! | K7 | whoever is started is ready soon, and in the end all holders read every key alike |
//!
//! K1, K2, K4 and K6 are looked at whenever a shard opens, not only in the end.
//!
//! Keys have limits that give nothing back while a run lasts, so that every unit is in the books.

mod books;
mod disk;
mod life;
mod world;

use quota::{Algorithm, KeyHasher, Limit, Nanos};
use shard::{Fault, Partition};

use crate::oracle::{SimTime, Violation};
use crate::workload::Target;

pub use world::run_kept;

const MILLIS: SimTime = 1_000_000;
const SECONDS: SimTime = 1_000 * MILLIS;

/// A bug that somebody could have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum KeptBug {
    /// A node that stops does not write what has changed last.
    StopsUnwritten,
    /// What has changed is written every five seconds.
    WritesSeldom,
    /// The common past is added again when disks differ.
    CommonPastTwice,
    /// What a node has as a copy is not written.
    KeepsOwnedAlone,
    /// A node that remembers others founds a cluster without them.
    WaitsForNobody,
    /// Under `quorum`, a minority founds a cluster after a while.
    MinorityFounds,
    /// A reset is not written: nothing is counted that would have to be kept.
    SkipsResets,
    /// A disk that is full takes a write without a word.
    FullIsSilent,
    /// What changes while a log is written anew is not in the new one.
    NewLogLacksChanges,
    /// Under `quorum`, who has yet to hear what a majority knows is not asked for what is on its disk.
    AsksWhoRemembers,
    /// Under `quorum`, what is on disks is not asked for.
    IgnoresDisks,
    /// What a node took back is told to nobody.
    OffersNothing,
}

impl KeptBug {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::StopsUnwritten,
        Self::WritesSeldom,
        Self::CommonPastTwice,
        Self::KeepsOwnedAlone,
        Self::WaitsForNobody,
        Self::MinorityFounds,
        Self::SkipsResets,
        Self::FullIsSilent,
        Self::NewLogLacksChanges,
        Self::AsksWhoRemembers,
        Self::IgnoresDisks,
        Self::OffersNothing,
    ];

    /// The promise that it is there to break. `None`: any.
    #[must_use]
    pub const fn must_break(self) -> Option<&'static str> {
        match self {
            Self::StopsUnwritten | Self::AsksWhoRemembers => Some("K1"),
            Self::WritesSeldom => Some("K2"),
            Self::CommonPastTwice => Some("K3"),
            Self::KeepsOwnedAlone => Some("K4"),
            Self::WaitsForNobody | Self::MinorityFounds => Some("K5"),
            Self::SkipsResets => Some("K6"),
            Self::OffersNothing => Some("K7"),
            Self::FullIsSilent | Self::NewLogLacksChanges | Self::IgnoresDisks => None,
        }
    }

    const fn of_the_shard(self) -> Option<Fault> {
        match self {
            Self::CommonPastTwice => Some(Fault::CommonPastTwice),
            Self::AsksWhoRemembers => Some(Fault::AsksWhoRemembers),
            Self::IgnoresDisks => Some(Fault::IgnoresDisks),
            Self::OffersNothing => Some(Fault::OffersNothing),
            _ => None,
        }
    }
}

/// What came of one run.
#[derive(Debug, Default)]
pub struct KeptReport {
    /// Units that clients were told are counted.
    pub admitted: u64,
    /// Units of which clients were told nothing for certain.
    pub unknown: u64,
    /// Units that a kill made forgotten, told within a second before it.
    pub forgotten: u64,
    /// Keys that were taken back from disks.
    pub taken_back: u64,
    /// Logs that were written anew.
    pub rewritten: u64,
    /// One of each promise that was broken.
    pub violations: Vec<Violation>,
}

/// What is played.
#[derive(Clone, Copy, Debug)]
struct Rules {
    hosts: usize,
    replicated: bool,
    partition: Partition,
    bug: Option<KeptBug>,
}

impl Rules {
    fn from_seed(seed: u64, bug: Option<KeptBug>) -> Self {
        let quorum = seed % 2 == 1;
        Self {
            hosts: 3 + (seed / 2 % 3) as usize,
            replicated: quorum || seed % 4 == 2,
            partition: match quorum {
                true => Partition::Quorum,
                false => Partition::Available,
            },
            bug,
        }
    }

    fn has(&self, bug: KeptBug) -> bool {
        self.bug == Some(bug)
    }
}

/// The last ones, which are reset now and then.
const RESET_FROM: usize = 40;

/// From here on up to those, keys are hit only while a disk may be full.
const SELDOM_FROM: usize = 30;

/// Limits of a year: 40 keys, every fourth of which is spent after a while, and five that are reset.
fn targets() -> Vec<Target> {
    let hasher = KeyHasher::new([7; 16]);
    let year = Nanos::from_secs(365 * 86_400);
    let target = |place: usize| {
        let algorithm = ALGORITHMS[place % ALGORITHMS.len()];
        let units = if place % 4 == 3 { 60 } else { 9_000 };
        Target {
            key: hasher.hash("", "kept", &place.to_string()),
            limit: Limit::new(algorithm, units, year).expect("within bounds"),
        }
    };
    (0..RESET_FROM + ALGORITHMS.len()).map(target).collect()
}

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::Gcra,
    Algorithm::SlidingLog,
    Algorithm::FixedWindow,
    Algorithm::LeakyBucket,
    Algorithm::SlidingCounter,
];
