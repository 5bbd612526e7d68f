//! What an operator sees.

/// How this node sees its group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RaftStatus {
    /// The group, as operators and logs name it: its epoch and its founder's incarnation. `None` before one is formed
    /// or joined.
    pub group: Option<String>,
    /// Who leads, as far as this node knows.
    pub leader: Option<u32>,
    /// The term of that leader.
    pub term: u64,
    /// Whether this node leads, and a majority has lately confirmed it.
    pub leads: bool,
    /// Whether the group decides: this node leads with a majority, or has heard within the 3 s that a hit may take that
    /// the group does.
    pub decides: bool,
    /// Whether this node has had its vote since it started, or none was wanted of it. Before, the group may have lost the
    /// majority that decides if it loses another node.
    pub settled: bool,
    /// The voters. While voters are being exchanged, the old ones and the new ones.
    pub voters: Vec<u32>,
    /// Those that follow the log without a vote.
    pub learners: Vec<u32>,
    /// The last entry in this node's state.
    pub applied_index: u64,
    /// The last entry in this node's log.
    pub last_index: u64,
    /// The last entry in its latest snapshot; 0 before the first.
    pub snapshot_index: u64,
    /// Entries that the log holds.
    pub log_entries: usize,
    /// What they take.
    pub log_bytes: usize,
    /// Keys that are counted.
    pub keys: usize,
    /// Ids of hits whose decisions are remembered.
    pub remembered: usize,
}
