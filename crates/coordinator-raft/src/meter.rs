//! What the strategy counts about itself. Handles are made once.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

pub(crate) struct Meter {
    pub(crate) term: Gauge,
    pub(crate) is_leader: Gauge,
    pub(crate) voters: Gauge,
    pub(crate) learners: Gauge,
    pub(crate) applied_index: Gauge,
    pub(crate) log_entries: Gauge,
    pub(crate) log_bytes: Gauge,
    pub(crate) keys: Gauge,
    /// Hits of one entry.
    pub(crate) batch_hits: Histogram,
    pub(crate) proposals: Counter,
    /// Hits sent to another node.
    pub(crate) forwarded: Counter,
    /// Hits of others handed on to the leader that they could not reach.
    pub(crate) relayed: Counter,
    /// Hits asked again under their id.
    pub(crate) retried: Counter,
    /// Elections that this node won.
    pub(crate) elections: Counter,
    /// Groups that this node formed, joined, and left for another.
    pub(crate) formed: Counter,
    pub(crate) joined: Counter,
    pub(crate) dissolved: Counter,
    /// Hits that no decision could be had for, whatever was then answered.
    pub(crate) by_fail_mode: Counter,
}

/// What snapshots count. Clones share it: every group that this node is in counts together.
#[derive(Clone)]
pub(crate) struct SnapshotMeter {
    pub(crate) built: Counter,
    pub(crate) installed: Counter,
}

impl SnapshotMeter {
    pub(crate) fn new() -> Self {
        Self {
            built: counter!("weir_raft_snapshots_total"),
            installed: counter!("weir_raft_snapshots_installed_total"),
        }
    }
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            term: gauge!("weir_raft_term"),
            is_leader: gauge!("weir_raft_is_leader"),
            voters: gauge!("weir_raft_voters"),
            learners: gauge!("weir_raft_learners"),
            applied_index: gauge!("weir_raft_applied_index"),
            log_entries: gauge!("weir_raft_log_entries"),
            log_bytes: gauge!("weir_raft_log_bytes"),
            keys: gauge!("weir_raft_keys"),
            batch_hits: histogram!("weir_raft_batch_hits"),
            proposals: counter!("weir_raft_proposals_total"),
            forwarded: counter!("weir_raft_forwarded_hits_total"),
            relayed: counter!("weir_raft_relayed_hits_total"),
            retried: counter!("weir_raft_retried_hits_total"),
            elections: counter!("weir_raft_elections_total"),
            formed: counter!("weir_raft_groups_formed_total"),
            joined: counter!("weir_raft_groups_joined_total"),
            dissolved: counter!("weir_raft_groups_dissolved_total"),
            by_fail_mode: counter!("weir_raft_fail_mode_answers_total"),
        }
    }
}
