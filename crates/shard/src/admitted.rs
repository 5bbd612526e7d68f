//! The ids of forwarded hits that were admitted, remembered as long as their origin may retry.

use std::collections::{HashSet, VecDeque};

use delta_crdt::ReplicaId;
use quota::BootNanos;

/// Names one hit of one origin. A retry carries the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HitId {
    /// The incarnation of the node that forwards.
    pub origin: ReplicaId,
    /// Counts that node's forwarded hits.
    pub sequence: u64,
}

/// Most ids remembered by one shard; the oldest go first. 65 536 ids are 1 MiB, and eight seconds of
/// 8 000 forwarded hits a second on this one shard: eight million on all of them.
const REMEMBERED_MAX: usize = 65_536;

#[derive(Default, Debug)]
pub(crate) struct AdmittedHits {
    ids: HashSet<HitId>,
    by_age: VecDeque<(BootNanos, HitId)>,
}

impl AdmittedHits {
    pub(crate) fn contains(&self, id: HitId) -> bool {
        self.ids.contains(&id)
    }

    /// Remembers `id` until `until`; earlier ids that are due, or too many, are forgotten.
    pub(crate) fn insert(&mut self, now: BootNanos, until: BootNanos, id: HitId) {
        while let Some(&(due, oldest)) = self.by_age.front()
            && (due <= now || REMEMBERED_MAX <= self.by_age.len())
        {
            self.by_age.pop_front();
            self.ids.remove(&oldest);
        }
        if self.ids.insert(id) {
            self.by_age.push_back((until, id));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = HitId> {
        self.by_age.iter().map(|&(_, id)| id)
    }
}
