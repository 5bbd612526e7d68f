//! Who counts the hits of a limit.

use quota::Algorithm;

/// Who counts the hits of a limit. All four take the same hits and give the same decisions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Strategy {
    /// The owner of the key's shard. Gives up a hop for keys of other nodes; while the cluster is split, each side
    /// admits up to the limit unless the cluster wants a quorum.
    #[default]
    Owner,
    /// Every node on its own count, of which it tells all others. Gives up exactness: overshoots by what the others
    /// admit before this node hears of it.
    Local,
    /// A script in a Redis that all nodes share. Gives up a network hop, and decisions while Redis is away.
    Redis,
    /// A log that a majority of voters has to have. Gives up latency, and decisions on the smaller side of a split.
    Raft,
}

impl Strategy {
    /// All of them, in the order in which they are documented.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Local, Self::Redis, Self::Raft];

    /// Its name in files, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Local => "local",
            Self::Redis => "redis",
            Self::Raft => "raft",
        }
    }

    /// Whether it remembers the ids that clients give their hits, so that one that is asked again counts once.
    ///
    /// The others would need what they do not have: `local` another node's word before it counts, `redis` and `raft` an
    /// entry beside each count, in the script and in the log.
    #[must_use]
    pub const fn remembers_ids(self) -> bool {
        match self {
            Self::Owner => true,
            Self::Local | Self::Redis | Self::Raft => false,
        }
    }

    /// Whether it can count by `algorithm`.
    ///
    /// Each strategy does every algorithm of this version. One that a strategy cannot do is refused when the file is
    /// read, by name, rather than counted in another way.
    #[must_use]
    pub const fn counts_by(self, algorithm: Algorithm) -> bool {
        match (self, algorithm) {
            (
                Self::Owner | Self::Local | Self::Redis | Self::Raft,
                Algorithm::Gcra
                | Algorithm::SlidingLog
                | Algorithm::SlidingCounter
                | Algorithm::FixedWindow
                | Algorithm::LeakyBucket,
            ) => true,
        }
    }
}

/// Not the name of a strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no strategy has that name; accepted: owner, local, redis, raft")]
pub struct UnknownStrategy;

impl std::str::FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let named = Self::ALL.into_iter().find(|known| known.name() == name);
        named.ok_or(UnknownStrategy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_is_read_by_its_name() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.name().parse(), Ok(strategy));
        }
        assert_eq!("Owner".parse::<Strategy>(), Err(UnknownStrategy));
    }
}
