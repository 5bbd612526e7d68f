//! How a node and its cluster are, as fronts tell it. One set of types from the node that knows to the front that tells.

use quota::Nanos;

/// The cluster as one node sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterStatus {
    /// This node's name.
    pub node: String,
    /// Digest of the members that this node believes alive, in hex; equal on all nodes while the cluster is stable.
    pub view: String,
    /// Everybody who belongs, the dead and this node included.
    pub members: Vec<Member>,
    /// Shards without an owner, or with fewer live copies that are confirmed than are configured: also because fewer
    /// nodes live than it takes.
    pub under_replicated_shards: u32,
    /// Shards without an owner, or whose copies are still on their way to the nodes that there are.
    pub unsettled_shards: u32,
    /// Whether only those decide who reach a majority: `partition = "quorum"`.
    pub needs_quorum: bool,
    /// Age of the oldest write of this node that no replica has confirmed.
    pub replication_lag: Nanos,
    /// Keys that this node holds, its own and its copies.
    pub keys: usize,
    /// What this node lacks to decide anything. `None`: nothing.
    pub no_quorum: Option<NoQuorum>,
    /// Whom it was to join, and serves alone without. `None`: it has met somebody, or was to join nobody.
    pub silent_seeds: Option<SilentSeeds>,
    /// Limits that files of nodes define differently. `None`: they agree.
    pub config_differs: Option<ConfigDiffers>,
    /// The group that counts limits with the strategy `raft`. `None` if no limit has it.
    pub raft: Option<RaftStatus>,
    /// The Redis that counts limits with the strategy `redis`. `None` if no limit has it.
    pub redis: Option<RedisStatus>,
}

/// A node that reaches too few members to decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoQuorum {
    /// For how long.
    pub lasts: Nanos,
    /// Members that make a majority, this one counted.
    pub needed: u32,
    /// Who does not answer.
    pub missing: Vec<Missing>,
}

/// A member that does not answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// For how long.
    pub silent: Nanos,
}

/// Addresses at which nobody answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SilentSeeds {
    /// As they were given.
    pub addresses: Vec<String>,
    /// For how long.
    pub lasts: Nanos,
}

/// What the file of one node and those of others say differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigDiffers {
    /// For how long files have differed.
    pub lasts: Nanos,
    /// Limits, by their names.
    pub limits: Vec<DifferingLimit>,
    /// Of other sections, by section and name. Not empty if no limit differs.
    pub entries: Vec<DifferingEntry>,
}

/// A route, a rule, a plan or a key of `[cluster]` or `[service]` that files of nodes say differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DifferingEntry {
    /// As a file has it: `[[route]]`.
    pub section: String,
    /// Which entry or key of that section.
    pub name: String,
    /// What each says. Two at least.
    pub definitions: Vec<Definition>,
}

/// A limit that files of nodes define differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DifferingLimit {
    /// Its name.
    pub limit: String,
    /// What each definition says. Two at least.
    pub definitions: Vec<Definition>,
}

/// How some nodes define a limit, or another entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Their names, in order.
    pub nodes: Vec<String>,
    /// What their files say of it. `None`: nothing.
    pub says: Option<String>,
}

/// A group of raft, in names of nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RaftStatus {
    /// Who leads. `None`: nobody is known to.
    pub leader: Option<String>,
    /// The term of that leader; 0 before the first.
    pub term: u64,
    /// Those of whom a majority must have a hit.
    pub voters: Vec<String>,
    /// Those who follow without a vote.
    pub learners: Vec<String>,
}

/// What a node believes of its Redis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisStatus {
    /// `closed`: it is asked; `open`: it is not; `half-open`: one probe asks whether it is back.
    pub breaker: String,
    /// What went wrong last, however long ago.
    pub last_failure: Option<String>,
}

/// One member of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Unique in the cluster.
    pub name: String,
    /// What this node believes of it.
    pub status: MemberStatus,
    /// Grows with every start of the member.
    pub incarnation: u64,
    /// Shards that it owns.
    pub shards: u32,
    /// Of those, how many have fewer live, confirmed copies than are configured.
    pub under_replicated_shards: u32,
    /// Whether it owns and holds no shard, ever: it asks the others.
    pub asks: bool,
    /// `ADDR:PORT` of its HTTP front. Empty while unknown.
    pub http: String,
    /// `ADDR:PORT` of its node-to-node traffic. Empty while unknown.
    pub cluster: String,
    /// For how long it has given no sign of life. Zero: of this node itself.
    pub silent: Nanos,
}

/// What came of forgetting a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forgotten {
    /// It no longer counts.
    Done,
    /// It answers: nothing was changed.
    Alive,
    /// Nobody has that name.
    Unknown,
    /// This node has not joined: it knows nobody yet.
    Joining,
}

/// What a node believes of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberStatus {
    /// Answers.
    Alive,
    /// Silent, but not for long enough to be called dead.
    Suspect,
    /// Is handing off its shards.
    Leaving,
    /// Gone without a word.
    Dead,
}

impl MemberStatus {
    /// Its name in answers and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Leaving => "leaving",
            Self::Dead => "dead",
        }
    }
}

/// Who holds a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// The shard.
    pub shard: u16,
    /// Number of the term that the owner holds it under.
    pub term: u64,
    /// Name of the node that decides.
    pub owner: String,
    /// Names of the other nodes that hold its state.
    pub replicas: Vec<String>,
}

/// All shards as one node sees them, in columns.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Shards {
    /// Names of those that own some, by the number that stands for each.
    pub members: Vec<String>,
    /// Who owns each shard. `None`: nobody is known to.
    pub owners: Vec<Option<u16>>,
    /// Number of the term that it is held under; 0 before the first.
    pub terms: Vec<u64>,
    /// How many other live members hold its state.
    pub copies: Vec<u8>,
}

/// Whether a node takes hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// Has joined and serves.
    Ready,
    /// Is still joining.
    Joining,
    /// Reaches no majority, under `partition = "quorum"` or of the group that counts by raft: hits get their limits' fail mode.
    NoQuorum,
    /// Is stopping.
    Draining,
}
