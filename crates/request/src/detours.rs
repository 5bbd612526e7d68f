//! Who has lately said that it does not reach whom.

use std::collections::BTreeMap;

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

/// How long a member that does not reach an owner is not asked to again. When the owner's process died nobody reaches
/// it: then each waiting hit asks around ten times a second at the most, and all of them together once in this span,
/// instead of once in every 20 ms.
const UNREACHED_FOR: Nanos = Nanos::from_millis(100);

/// Pairs kept: ten nodes have ninety. Of more, the newest are not kept, and asked again.
const PAIRS_MAX: usize = 1_024;

/// Which members have lately said that they do not reach which owners.
#[derive(Clone, Default, Debug)]
pub struct Detours {
    until: BTreeMap<(ReplicaId, ReplicaId), BootNanos>,
}

impl Detours {
    /// `by` was asked to pass a hit on to `owner`, and does not reach it either.
    pub fn on_unreached(&mut self, now: BootNanos, owner: ReplicaId, by: ReplicaId) {
        self.until.retain(|_, &mut until| now < until);
        if self.until.len() < PAIRS_MAX {
            self.until.insert((owner, by), now + UNREACHED_FOR);
        }
    }

    /// Whether `by` may be asked to pass a hit on to `owner`.
    #[must_use]
    pub fn may_detour(&self, now: BootNanos, owner: ReplicaId, by: ReplicaId) -> bool {
        self.until
            .get(&(owner, by))
            .is_none_or(|&until| until <= now)
    }
}
