//! The strategy `owner` where nobody dies and the network is rough, played: what is counted survives any number of forks.
//!
//! Runs the very machines of the product in three to five nodes, as the workload of `owner` does. Their links are streams, as
//! in `transport`: a lost packet holds up whatever comes after it, and a stream of which nothing is acknowledged for three
//! seconds ends, with all that was under way. Links lose from 1 to 60 % of their packets, come and go every two seconds, one
//! way or both, part the nodes again and again, come and go in each direction by itself, or are slow besides. Then all is well, clients fall silent, and the books are settled:
//!
//! | promise | says |
//! | --- | --- |
//! | F1 | no unit is counted twice, but for hits that were asked again and that two owners decided on sides of their own (decision 0030); of keys that drain more may be counted |
//! | F2 | no state is reported lost while its holder lives |
//! | F3 | what a client was told is counted is counted, under either acknowledgement |
//! | F4 | within 20 s of the heal every shard has one owner and all its copies, and every holder reads every key alike; a key that drains leaves no more than one node would that had decided every hit, but for those that a side had counted before it found the key full |
//!
//! T1 of the strategy `owner` is checked as well. Most keys have limits that nobody spends and that give nothing back while a run lasts, so that every unit is in the books.
//! Four in ten hits are on keys that are hit
//! once, where no other hit can hide that one is forgotten. Hits have costs of one and two; nobody resets or gives back.

mod books;
mod drained;
mod roughness;
mod streams;
mod world;

use std::ops::Range;

use quota::{Algorithm, KeyHasher, Limit, Nanos};
use rand::Rng;
use rand::rngs::SmallRng;
use shard::{Fault, Partition};

use crate::oracle::{SimTime, Violation};
use crate::workload::Target;

pub(crate) use books::may_be_stricter;
pub use world::run_rough;

const MILLIS: SimTime = 1_000_000;
const SECONDS: SimTime = 1_000 * MILLIS;

/// A bug that somebody could have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum RoughBug {
    /// The common past is added again when the sides of a fork meet.
    CommonPastTwice,
    /// A hit that is asked again is counted again.
    RetryCountsTwice,
    /// Whoever has promised takes what it holds for known to the claimant, and drops it.
    PromiseIsReceipt,
    /// Holders that are silent are taken for gone with all that they hold.
    SilentIsLost,
    /// Who comes back keeps to itself what it has counted.
    OffersNothing,
    /// Under `quorum`, a claimant that is no holder forgets at once what it has.
    ClaimantForgets,
    /// Under `quorum`, who has promised and told what it holds drops that when it hears of an older owner.
    DropsWhatItTold,
    /// A copy tells the ids of hits whose counts follow it.
    IdsAheadOfCounts,
}

impl RoughBug {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::CommonPastTwice,
        Self::RetryCountsTwice,
        Self::PromiseIsReceipt,
        Self::SilentIsLost,
        Self::OffersNothing,
        Self::ClaimantForgets,
        Self::DropsWhatItTold,
        Self::IdsAheadOfCounts,
    ];

    /// The promise that it is there to break.
    #[must_use]
    pub const fn must_break(self) -> &'static str {
        match self {
            Self::CommonPastTwice | Self::RetryCountsTwice => "F1",
            Self::SilentIsLost => "F2",
            Self::PromiseIsReceipt
            | Self::ClaimantForgets
            | Self::DropsWhatItTold
            | Self::IdsAheadOfCounts => "F3",
            Self::OffersNothing => "F4",
        }
    }

    const fn of_the_shard(self) -> Fault {
        match self {
            Self::CommonPastTwice => Fault::CommonPastTwice,
            Self::RetryCountsTwice => Fault::RetryCountsTwice,
            Self::PromiseIsReceipt => Fault::PromiseIsReceipt,
            Self::SilentIsLost => Fault::SilentIsLost,
            Self::OffersNothing => Fault::OffersNothing,
            Self::ClaimantForgets => Fault::ClaimantForgets,
            Self::DropsWhatItTold => Fault::DropsWhatItTold,
            Self::IdsAheadOfCounts => Fault::IdsAheadOfCounts,
        }
    }
}

/// What came of one run.
#[derive(Debug, Default)]
pub struct RoughReport {
    /// Units that clients were told are counted.
    pub admitted: u64,
    /// Units of which clients were told that nobody knows.
    pub unknown: u64,
    /// Streams that ended.
    pub resets: u64,
    /// Units that two owners counted for one hit, each on a side of its own.
    pub twice: u64,
    /// Units counted beyond what clients were told or not told, of keys that give nothing back.
    pub beyond: u64,
    /// Units that clients were told are counted and that are not.
    pub forgotten: u64,
    /// One of each promise that was broken.
    pub violations: Vec<Violation>,
}

/// What is played.
#[derive(Clone, Copy, Debug)]
struct Rules {
    hosts: usize,
    replicated: bool,
    partition: Partition,
    bug: Option<RoughBug>,
}

impl Rules {
    fn from_seed(seed: u64, bug: Option<RoughBug>) -> Self {
        let turn = seed / roughness::KINDS;
        let quorum = turn.is_multiple_of(2);
        Self {
            // Of three hosts each counts: what one of them does not know matters most.
            hosts: [3, 3, 4, 3, 3, 5][(turn / 2 % 6) as usize],
            // As the driver does it: under `quorum` answers always wait.
            replicated: quorum || (turn / 6).is_multiple_of(2),
            partition: match quorum {
                true => Partition::Quorum,
                false => Partition::Available,
            },
            bug,
        }
    }
}

/// The keys, and how they are hit: first those that are hit over and over, then those that are hit once.
struct Keys {
    targets: Vec<Target>,
    /// The next of those that are hit once: of one of them no other hit hides that it is forgotten.
    fresh: Range<usize>,
    /// Those from here on drain while a run lasts.
    draining_from: usize,
}

/// Keys that are hit over and over, and give nothing back.
const KEPT: usize = 40;

/// Keys that are hit once, more than are hit.
const FRESH: usize = 3_000;

impl Keys {
    fn new() -> Self {
        let hasher = KeyHasher::new([7; 16]);
        let target = |(place, limit): (usize, Limit)| Target {
            key: hasher.hash("", "rough", &place.to_string()),
            limit,
        };
        let limit = |algorithm, units, period| {
            let limit = Limit::new(algorithm, units, period);
            limit.expect("the limits here are within bounds")
        };
        let year = Nanos::from_secs(365 * 86_400);
        let kept = (0..KEPT + FRESH).map(|place| {
            let algorithm = ALGORITHMS[place % ALGORITHMS.len()];
            // Every fourth is spent after a while.
            limit(algorithm, if place % 4 == 3 { 60 } else { 9_000 }, year)
        });
        let draining = (0..10).map(|place| {
            let algorithm = [Algorithm::Gcra, Algorithm::LeakyBucket][place % 2];
            // One unit comes back in 50 s and 10 s, most of them longer than the network is rough, or in half a second.
            let (units, seconds) = [(12, 600), (60, 600), (12, 6)][place / 4];
            limit(algorithm, units, Nanos::from_secs(seconds))
        });
        let targets: Vec<Target> = kept.chain(draining).enumerate().map(target).collect();
        let draining_from = targets.len() - 10;
        Self {
            fresh: KEPT..draining_from,
            draining_from,
            targets,
        }
    }

    /// The next key to hit: one that drains less often, so that it is seldom spent.
    fn next(&mut self, rng: &mut SmallRng) -> usize {
        let often = |rng: &mut SmallRng| rng.random_range(0..KEPT);
        match rng.random_range(0..100) {
            0..=9 => rng.random_range(self.draining_from..self.targets.len()),
            10..=49 => self.fresh.next().unwrap_or_else(|| often(rng)),
            _ => often(rng),
        }
    }
}

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::Gcra,
    Algorithm::SlidingLog,
    Algorithm::FixedWindow,
    Algorithm::LeakyBucket,
    Algorithm::SlidingCounter,
];
