//! Until when a majority can decide: this node with the leases it holds, or a member that it reaches.

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

use crate::leases::Leases;

/// What another member said last about its own quorum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// When it came in.
    pub(crate) at: BootNanos,
    /// How much longer it holds one if it hears nothing more. Zero: it holds none.
    pub(crate) left: Nanos,
}

/// How long this node has a majority: the moment at which so many leases of `members` have run out that the others are
/// too few. `needed` are the leases besides its own vote; with none needed, for ever.
pub(crate) fn held_until(
    leases: &Leases,
    members: impl Iterator<Item = ReplicaId>,
    needed: usize,
) -> BootNanos {
    let Some(last) = needed.checked_sub(1) else {
        return BootNanos::new(u64::MAX);
    };
    let mut ends: Vec<BootNanos> = members
        .map(|member| leases.from_holder(member).until)
        .collect();
    ends.sort_unstable_by(|a, b| b.cmp(a));
    ends.get(last).copied().unwrap_or_default()
}

/// How long a member that this node reaches has one: as it said, and no longer than it answers.
pub(crate) fn reached_until(
    leases: &Leases,
    heard: impl Iterator<Item = (ReplicaId, Heard)>,
) -> BootNanos {
    let reached = heard.map(|(member, heard)| {
        let answers = leases.from_holder(member).until;
        answers.min(heard.at + heard.left)
    });
    reached.max().unwrap_or_default()
}
