//! How the strategy is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quota::{KeyHasher, UnixNanos};

/// What a node needs to know to take part.
#[derive(Clone)]
pub struct RaftConfig {
    /// The incarnation of this node. A node that starts again must have another.
    pub me: u32,
    /// Its name. The first of all names forms the first group.
    pub name: String,
    /// Cluster time. May stand still or go back: the log's time does not.
    pub clock: Arc<dyn Fn() -> UnixNanos + Send + Sync>,
    /// Hashes keys under the cluster's secret.
    pub hasher: KeyHasher,
    /// Where to keep the latest snapshot, for a restart of the whole cluster. Without one that starts empty.
    pub data_dir: Option<PathBuf>,
    /// How patient everybody is.
    pub timings: Timings,
}

/// How patient everybody is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timings {
    /// How often a leader makes itself heard when nothing else does.
    pub heartbeat: Duration,
    /// The least and the most that a follower waits, at random, before it wants to lead; the most is also the lease that
    /// followers give a leader, and that a leader without a majority goes on proposing for.
    pub election_min: Duration,
    /// See [`Self::election_min`].
    pub election_max: Duration,
    /// How long the members must stay the same before the first group is formed, so that nodes that start together
    /// form one group and not one each.
    pub settle: Duration,
    /// How long a group may be without a leader, its voters being gone for good, before the survivors form a new one.
    pub mourn: Duration,
    /// The log is not cut before it has this many bytes.
    pub log_bytes: usize,
    /// How often a snapshot is saved where there is a data directory.
    pub save_every: Duration,
}

impl Timings {
    /// For nodes in one data centre.
    ///
    /// A heartbeat every 75 ms: four may be late before a follower doubts. Elections after 300 to 600 ms: a
    /// hundred round trips, wide enough that two candidates rarely collide, and short enough that a failed leader is
    /// replaced within 1.2 s (its lease, then the candidate's patience), which leaves room for one more try within the 3 s
    /// that a hit may take.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            heartbeat: Duration::from_millis(75),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            settle: Duration::from_secs(1),
            mourn: Duration::from_secs(3),
            log_bytes: 32 * 1024 * 1024,
            save_every: Duration::from_secs(5),
        }
    }
}

/// Why the strategy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The timings contradict each other.
    #[error(
        "heartbeat, election_min and election_max must be at least 1 ms and rise in this order"
    )]
    Timings,
    /// The data directory cannot be used.
    #[error("{path}: {error}")]
    DataDir {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The saved snapshot cannot be used. Moving it away starts empty.
    #[error(
        "{path} holds no snapshot that can be used: {reason}; without the file the counts start empty"
    )]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}
