//! One node of a cluster: the actors, tasks and handlers around its machines.
//!
//! [`Cluster`] is the handle that fronts hold. A hit of this node's fronts goes through `decide`; what
//! other nodes say comes in through `inbound`; `liveness` and the `keeper` actors drive the machines
//! in between; `join` and `leave` are the two ends of a node's life.

mod assets;
mod calls;
mod catalogue;
mod coordinate;
mod copies;
mod counts;
mod decide;
mod disk;
mod files;
mod flush;
mod forward;
mod heard;
mod hop;
mod inbound;
mod join;
mod keeper;
mod keys;
mod leave;
mod liveness;
mod local;
mod look;
mod lookups;
mod memory;
mod metrics;
mod news;
mod pulse;
mod questions;
mod quorum;
mod series;
mod skew;
mod slots;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use delta_crdt::ReplicaId;
use membership::{Founding, Membership};
use quota::KeyHasher;
use supervisor::Supervisor;
use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::control::Control;
use crate::discovery::{Announcement, Seed};
use transport::Transport;
use transport::cookie::Cookie;

pub use calls::{CallError, CallHandler, Peer};
pub use join::JoinError;
pub use local::LocalCoordinator;
pub use request::Acknowledge;
pub use slots::SHARDS;

use self::catalogue::Records;
use assets::Assets;
use calls::Calls;
use copies::CopyWindows;
use counts::Counts;
use disk::Disk;
use files::Files;
use forward::Forwarder;
use heard::LastHeard;
use local::Local;
use lookups::Lookups;
use memory::Memory;
use metrics::NodeMetrics;
use pulse::Pulse;
use quorum::QuorumWatch;
use series::Series;
use skew::Skew;
use slots::Slots;

/// Hits of this node that wait for something at the same time: a forward, a claim, a replica.
///
/// Each holds some 2 KiB of task and buffers, so this bounds them at 64 MiB; at a round trip of a
/// millisecond it is room for 32 million hits a second, beyond which the oldest are late anyway. The next
/// hit is shed and told so.
const WAITING_MAX: usize = 32_768;

/// Hits of this node that another member is asked to pass on at the same time. They travel alone, not in batches: at a
/// round trip of a millisecond, 256 are 256 000 a second. The next one waits 20 ms and tries again.
const RELAYING_MAX: usize = 256;

/// Hits of others that this node passes on at the same time: those of four members that lost the same link. Beyond, the
/// asker is told that this node is busy, and asks again.
const PASSING_ON_MAX: usize = 1_024;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Unique in the cluster.
    pub name: String,
    /// What all nodes share.
    pub cookie: Cookie,
    /// What others dial.
    pub advertise: String,
    /// Where this node's HTTP front listens; told to others.
    pub http: String,
    /// Where the node stands.
    pub zone: Option<String>,
    /// Whether it owns and holds no shard: it asks the others, and never founds a cluster.
    pub asks: bool,
    /// Where what people change at run time, and what is counted under limits that are kept, outlives this process. `None`:
    /// nowhere.
    pub data_dir: Option<PathBuf>,
    /// How long a node whose disk names the last members waits for them, where nobody else has a cluster.
    pub start_wait: quota::Nanos,
    /// Live nodes to join.
    pub join: Vec<Seed>,
    /// Below this directory nodes of one host, user and cookie find each other. It is made when it is not there. `None`:
    /// this node neither looks for neighbours nor tells them of itself.
    pub neighbours: Option<PathBuf>,
    /// Where no cluster is found, so many nodes found one together. `None`: the first founds it alone; under
    /// [`shard::Partition::Quorum`] only one that has nobody to join.
    pub expect: Option<usize>,
    /// How shards behave.
    pub shards: shard::Settings,
    /// When admitted hits are answered.
    pub acknowledge: Acknowledge,
    /// Members that have been dead for so long, and that no shard names, are let go of. `None`: never, as it must be where
    /// the dead count towards a majority.
    pub forget_after: Option<quota::Nanos>,
    /// Most keys that this node holds; beyond it those go of which least is lost.
    pub max_keys: u64,
    /// Most bytes that its keys take, in the same way. Copies may take an eighth more for a while.
    pub max_memory: u64,
}

/// A handle on this node. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: ClusterConfig,
    clock: Arc<Clock>,
    keys: KeyHasher,
    me: ReplicaId,
    slots: Slots,
    copies: CopyWindows,
    under_way: flush::UnderWay,
    forwarder: Forwarder,
    calls: Calls,
    /// Empty unless some limit has the strategy `local`.
    local: OnceLock<Local>,
    transport: Transport,
    control: OnceLock<Control>,
    announcement: Mutex<Option<Announcement>>,
    membership: Mutex<Option<Membership>>,
    heard: LastHeard,
    /// Wakes the keepers. Several changes at once wake them once.
    view_changes: watch::Sender<()>,
    pulse: Pulse,
    /// Above every task that lives as long as the node.
    supervisor: Supervisor,
    records: Records,
    disk: Disk,
    counts: Counts,
    files: Files,
    lookups: Lookups,
    series: Series,
    assets: Assets,
    memory: Memory,
    metrics: NodeMetrics,
    skew: Skew,
    /// While this node looks for a cluster.
    founding: Mutex<Option<Founding>>,
    /// While it waits for others to come into the cluster with it.
    beginning: Mutex<Option<membership::Beginning>>,
    /// For how long a node that serves alone has looked for those that it was to join, and when it said so last.
    silence: Mutex<Option<membership::Silence>>,
    /// What the metrics have said that files differ in.
    differing: Mutex<BTreeSet<status::Differing>>,
    quorum_watch: QuorumWatch,
    waiting: Semaphore,
    relaying: Semaphore,
    passing_on: Arc<Semaphore>,
    detours: Mutex<request::Detours>,
    /// Has seen another member, or founded the cluster: before, this node claims nothing.
    joined: AtomicBool,
    draining: AtomicBool,
    stopped: AtomicBool,
    /// Whether this node must stop at once.
    fenced: watch::Sender<bool>,
}

impl Inner {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

impl Cluster {
    /// Resolves when this node must stop at once: its name belongs to a newer incarnation, or an operator
    /// has declared it gone. It decides nothing any more.
    pub async fn fenced(&self) {
        let mut fenced = self.inner.fenced.subscribe();
        let _closed = fenced.wait_for(|&fenced| fenced).await;
    }
}
