//! What is sent: the same hits for every strategy.

use std::time::Duration;

use coordinator::FailMode;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

use crate::cli::CompareArgs;

/// What is sent, for how long, and what may pass of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Workload {
    /// Hits a second over all clients. 0: each sends its next when the last is answered.
    pub(crate) rate: u32,
    pub(crate) clients: u32,
    /// Of each strategy.
    pub(crate) seconds: u32,
    pub(crate) keys: u32,
    /// Zipf's exponent: the key of rank k is hit in proportion to `k.powf(-skew)`.
    pub(crate) skew: f64,
    /// Units of each key; none come back while this runs.
    pub(crate) limit: u32,
    /// Of the limit. Only `redis` can fall back on the owner; elsewhere that is `deny`.
    pub(crate) on_failure: FailMode,
}

impl From<&CompareArgs> for Workload {
    fn from(args: &CompareArgs) -> Self {
        Self {
            rate: args.rate,
            clients: args.clients,
            seconds: args.seconds,
            keys: args.keys,
            skew: args.skew,
            limit: args.limit,
            on_failure: args.on_failure,
        }
    }
}

impl Workload {
    /// How long hits are sent.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// When the quiet part begins: a tenth is for connections to open and caches to fill.
    pub(crate) fn warm_at(&self) -> Duration {
        self.length() / 10
    }

    /// When something is killed.
    pub(crate) fn fault_at(&self) -> Duration {
        self.length() * 2 / 5
    }

    /// When what was killed is started again.
    pub(crate) fn back_at(&self) -> Duration {
        self.length() * 3 / 5
    }

    /// Between two hits of one client; `None` without a rate.
    pub(crate) fn pause(&self) -> Option<Duration> {
        (0 < self.rate).then(|| Duration::from_secs(1) * self.clients / self.rate)
    }

    /// The keys, by rank from 0, that a client hits one after the other. The same in every run.
    pub(crate) fn keys_of(&self, client: u32) -> impl Iterator<Item = usize> + Send + use<> {
        let ranks = Zipf::new(f64::from(self.keys), self.skew);
        let ranks = ranks.expect("the command line has checked keys and skew");
        let most = self.keys as usize;
        ranks
            .sample_iter(SmallRng::seed_from_u64(client.into()))
            .map(move |rank| (rank as usize).clamp(1, most) - 1)
    }
}

/// The name of the key of that rank.
pub(crate) fn key_name(rank: usize) -> String {
    format!("user{rank}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const WORKLOAD: Workload = Workload {
        rate: 0,
        clients: 4,
        seconds: 10,
        keys: 100,
        skew: 1.0,
        limit: 10,
        on_failure: FailMode::Deny,
    };

    fn hits_of(workload: &Workload, rank: usize) -> usize {
        let keys = workload.keys_of(0).take(10_000);
        keys.filter(|&key| key == rank).count()
    }

    #[test]
    fn a_client_hits_the_same_keys_in_every_run_and_another_hits_others() {
        let keys = |client| -> Vec<usize> { WORKLOAD.keys_of(client).take(50).collect() };
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
        assert!(WORKLOAD.keys_of(3).take(10_000).all(|key| key < 100));
    }

    #[test]
    fn skew_tells_how_much_hotter_the_first_keys_are() {
        let even = Workload {
            skew: 0.0,
            ..WORKLOAD
        };
        // A hundredth each, within six standard deviations.
        assert!((40..=160).contains(&hits_of(&even, 0)));
        // 1 / (1 + 1/2 + … + 1/100) is 19 %.
        assert!((1_700..=2_150).contains(&hits_of(&WORKLOAD, 0)));
        assert!((850..=1_080).contains(&hits_of(&WORKLOAD, 1)));
    }

    #[test]
    fn the_rate_is_shared_by_the_clients() {
        let paced = Workload {
            rate: 200,
            ..WORKLOAD
        };
        assert_eq!(paced.pause(), Some(Duration::from_millis(20)));
        assert_eq!(WORKLOAD.pause(), None);
    }
}
