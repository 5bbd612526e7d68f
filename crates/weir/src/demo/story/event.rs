//! What the story is told, and what it asks for.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::ledger::Peek;
use super::NODES;

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A node serves. `run` tells its processes apart.
    Ready {
        node: usize,
        run: u32,
        pid: u32,
        http: SocketAddr,
    },
    /// A process has ended.
    Ended {
        node: usize,
        run: u32,
        last_words: Vec<String>,
    },
    /// A node logged something worth showing.
    Said { node: usize, text: String },
    /// What a node says of its cluster.
    Observed { node: usize, run: u32, seen: Seen },
    /// A hit was answered by `node`, which was asked at `sent_at`.
    Answered {
        node: usize,
        key: usize,
        sent_at: Duration,
        took: Duration,
        admitted: bool,
    },
    /// A hit was not: the connection broke, or the node could not say.
    Unanswered {
        node: usize,
        key: usize,
        sent_at: Duration,
        why: String,
    },
    /// Owner of each key, as one node knows it.
    Located { owners: Vec<Option<usize>> },
    /// A node was killed; at `dead_at` its process was no more.
    Killed {
        node: usize,
        killed_at: Duration,
        dead_at: Duration,
    },
    /// Every key was peeked at through every live node; `failed` peeks had no answer.
    Audited { peeks: Vec<Peek>, failed: usize },
    /// No hit is in flight, and none will be sent any more.
    Quiet,
}

/// What one node says of its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// Alive and shards, of each of [`NAMES`](super::NAMES).
    pub(crate) members: [(bool, u64); NODES],
    pub(crate) under_replicated: u64,
    /// In microseconds: how long the oldest write waits that a replica has not confirmed.
    pub(crate) lag_us: u64,
}

/// Work for the driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Start a process of this node; the first is run 0.
    Start { node: usize, run: u32 },
    /// Let clients hit every live node from now on.
    StartTraffic,
    /// Send no more hits, and say when none is in flight.
    StopTraffic,
    /// Ask who owns each key.
    Locate,
    /// `kill -9`.
    Kill { node: usize },
    /// Send one hit of each of these keys at once, through live nodes.
    Probe { keys: Vec<usize> },
    /// Ask every live node what is left of each key, when this much of it is known to be admitted.
    Audit { admitted: Vec<u64> },
}
