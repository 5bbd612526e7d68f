//! What a shard says to one attempt.

use delta_crdt::ReplicaId;
use quota::Decision;

/// What came of one attempt, as the node that was asked tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// Decided, counted if the decision says so, and confirmed as far as the acknowledgement asks.
    Decided(Decision),
    /// Not counted by this attempt: the node does not own the shard. Who does, as far as it knows.
    Elsewhere(Option<ReplicaId>),
    /// Not counted by this attempt: a claim, a handoff or a lease is under way, or too many answers are held.
    Busy,
    /// Perhaps counted: it was decided, and then the term ended before a replica had it, or the owner that it was
    /// passed on to did not answer. Asked again under the same id it counts once.
    Unsure,
    /// Not counted by this attempt: the node was to pass it on, and does not reach the owner either.
    Unreached,
}
