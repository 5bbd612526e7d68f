//! The keys that are hit, and how.

use quota::{Algorithm, Cost, KeyHash, KeyHasher, Limit, Nanos};
use rand::Rng;
use rand::rngs::SmallRng;
use shard::Operation;

/// A key and its limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Its identity in the cluster.
    pub(crate) key: KeyHash,
    /// Its limit.
    pub(crate) limit: Limit,
}

/// `count` keys, the algorithms in turn, with limits that are spent and come back within a run.
#[must_use]
pub(crate) fn targets(count: usize) -> Vec<Target> {
    let hasher = KeyHasher::new([7; 16]);
    let algorithms = [
        Algorithm::Gcra,
        Algorithm::SlidingLog,
        Algorithm::FixedWindow,
        Algorithm::LeakyBucket,
        Algorithm::SlidingCounter,
    ];
    (0..count)
        .map(|index| {
            let algorithm = algorithms[index % algorithms.len()];
            let units = [5, 12, 30][index / algorithms.len() % 3];
            let period = Nanos::from_secs([4, 15, 60][index / 3 % 3]);
            let limit =
                Limit::new(algorithm, units, period).expect("the limits above are within bounds");
            Target {
                key: hasher.hash("", "simulated", &index.to_string()),
                limit,
            }
        })
        .collect()
}

/// What the next request asks for.
pub(crate) fn operation(rng: &mut SmallRng, with_refunds: bool) -> Operation {
    match rng.random_range(0..1_000) {
        0..=1 if with_refunds => Operation::Refund(Cost::ONE),
        2 if with_refunds => Operation::Reset,
        3..=40 => Operation::Hit(Cost::PEEK),
        41..=120 => Operation::Hit(Cost::new(2)),
        _ => Operation::Hit(Cost::ONE),
    }
}
