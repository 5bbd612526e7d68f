//! What a member does with a hit that another asks it to pass on.

use delta_crdt::ReplicaId;
use quota::Nanos;
use shard::ShardId;

use crate::{Outlook, Said};

/// How long a member waits for the owner that it passed a hit on to. Shorter than the [`ATTEMPT`](crate::ATTEMPT) of whom
/// it does it for, so that its word arrives in time.
pub const RELAY_ATTEMPT: Nanos = Nanos::from_millis(400);

/// What a member does with a hit that another asks it to pass on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relay {
    /// Decide it here, under the id that its origin gave it.
    DecideHere,
    /// Pass it on to the owner, under the id that its origin gave it, and say what the owner says. Nobody passes it on
    /// once more.
    PassOn(ReplicaId),
    /// Say this at once.
    Say(Said),
}

/// What this member does with a hit of `origin` on `shard` that `origin` asks it to pass on.
#[must_use]
pub fn relay(outlook: &impl Outlook, origin: ReplicaId, shard: ShardId) -> Relay {
    match outlook.owner(shard) {
        Some(owner) if owner == outlook.me() => Relay::DecideHere,
        Some(owner) if owner == origin => Relay::Say(Said::Elsewhere(Some(owner))),
        Some(owner) if outlook.reaches(owner) => Relay::PassOn(owner),
        Some(_) => Relay::Say(Said::Unreached),
        None => Relay::Say(Said::Elsewhere(None)),
    }
}
