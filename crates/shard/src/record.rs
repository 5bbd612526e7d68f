//! Who owns a shard, as everyone who holds it writes it down.

use std::fmt;

use delta_crdt::{ReplicaId, Term};

/// A partition of the key space, numbered from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The term under which a shard is decided, and who holds its state.
///
/// A higher term fences a lower one. Within a term only its owner changes the holders, and counts the
/// changes in `epoch`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The owner's term; names the owner.
    pub term: Term,
    /// How often the holders changed within the term.
    pub epoch: u32,
    /// The owner and the replicas, in no order.
    pub holders: Vec<ReplicaId>,
}

impl Record {
    /// Below every term: nobody has owned the shard.
    pub(crate) const NO_TERM: Term = Term {
        number: 0,
        replica: ReplicaId(0),
    };

    /// The node that decides.
    #[must_use]
    pub fn owner(&self) -> ReplicaId {
        self.term.replica
    }

    /// The holders besides the owner.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> {
        let owner = self.owner();
        self.holders
            .iter()
            .copied()
            .filter(move |&holder| holder != owner)
    }

    /// Whether `replica` holds the state.
    #[must_use]
    pub fn held_by(&self, replica: ReplicaId) -> bool {
        self.holders.contains(&replica)
    }

    pub(crate) fn newer_than(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| (other.term, other.epoch) < (self.term, self.epoch))
    }
}
