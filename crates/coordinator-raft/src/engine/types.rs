//! What openraft is told about our types.

use std::fmt;

use bytes::Bytes;
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use serde::{Deserialize, Serialize};

use crate::ask::Outcome;

openraft::declare_raft_types!(
    /// A node is one incarnation, named by its replica id: a node that starts again is another one, so that a log in
    /// memory is safe.
    pub(crate) Types:
        D = Proposal,
        R = Outcomes,
        NodeId = u32,
        Node = openraft::EmptyNode,
        AsyncRuntime = Runtime,
);

/// Tokio, with the patience of elections drawn from a seed: what starts raft gives one, within [`Runtime::scope`].
pub(crate) type Runtime = DeterministicRng<TokioRuntime>;

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Vec<Bytes>>;

/// An encoded [`crate::ask::Command`]. Encoded once by the leader; whoever applies it decodes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What became of the hits of one entry. Stays on the leader.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Outcomes {
    #[serde(skip)]
    pub(crate) all: Vec<Outcome>,
}
