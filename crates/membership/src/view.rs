//! The members that a node believes alive.

use std::hash::{DefaultHasher, Hash, Hasher};

use delta_crdt::ReplicaId;

/// What a node believes of a member, from its own evidence alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Answers.
    Alive,
    /// Its connection closed, or it has been silent for a while. Still in the view.
    Suspect,
    /// Answers, and hands its shards off.
    Leaving,
    /// Gone, or silent for longer than a lease.
    Dead,
}

impl Status {
    /// Whether a member of this status is asked and waited for.
    #[must_use]
    pub fn in_view(self) -> bool {
        self != Self::Dead
    }
}

/// A member of a view.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Seen {
    /// Which incarnation.
    pub replica: ReplicaId,
    /// Its name; places it on the ring.
    pub name: String,
    /// Its zone, if zones are named.
    pub zone: Option<String>,
    /// Whether shards should be placed on it.
    pub takes_shards: bool,
}

/// The live members, this node included, in the order of their replica ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    members: Vec<Seen>,
    /// How many members a decision of the cluster needs in a `quorum` cluster.
    majority: usize,
}

impl View {
    pub(crate) fn new(mut members: Vec<Seen>, belonging: usize) -> Self {
        members.sort_by_key(|seen| seen.replica);
        Self {
            members,
            majority: belonging / 2 + 1,
        }
    }

    /// The live members.
    #[must_use]
    pub fn members(&self) -> &[Seen] {
        &self.members
    }

    /// Whether `replica` is believed alive.
    #[must_use]
    pub fn contains(&self, replica: ReplicaId) -> bool {
        self.members
            .binary_search_by_key(&replica, |seen| seen.replica)
            .is_ok()
    }

    /// The live members other than `me`.
    pub fn others(&self, me: ReplicaId) -> impl Iterator<Item = ReplicaId> {
        self.members
            .iter()
            .map(|seen| seen.replica)
            .filter(move |&replica| replica != me)
    }

    /// How many of all members, the dead counted, make a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.majority
    }

    /// Names the view: equal views have equal digests.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.members.hash(&mut hasher);
        hasher.finish()
    }
}
