//! Who writes, and under which term.

use std::fmt;

use quota::Stamp;

/// One incarnation of a node. A node that starts again is a new replica: it must not count on under its old dots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplicaId(pub u32);

/// The reign of one owner over a shard: higher fences lower.
///
/// Ordered by number, then by replica. Every term has a single writer, its replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Term {
    /// One more than any that the claimant knew of. Starts at 1.
    pub number: u32,
    /// The owner.
    pub replica: ReplicaId,
}

/// Names one write: the term, and the how many-th write of the term's replica to the shard, from 1.
///
/// The counter goes on from one term of a replica to the next, and stays below [`SEQ_END`].
pub type Dot = crdts::Dot<Term>;

/// The sequence numbers of writes end here, 2^54: 500 years of a million writes a second to one shard. A map keeps
/// other things in the bits above.
pub const SEQ_END: u64 = 1 << 54;

impl Term {
    /// The term in one word, in the same order: the number in the high half.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        (self.number as u64) << 32 | self.replica.0 as u64
    }

    /// The term that [`to_u64`](Self::to_u64) made into `word`.
    #[must_use]
    pub const fn from_u64(word: u64) -> Self {
        Self {
            number: (word >> 32) as u32,
            replica: ReplicaId(word as u32),
        }
    }
}

/// How quota names the write of `dot`.
pub(crate) fn stamp(dot: Dot) -> Stamp {
    Stamp {
        term: dot.actor.to_u64(),
        seq: dot.counter,
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.number, self.replica)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_order_by_number_then_replica_as_words_too() {
        let term = |number, replica| Term {
            number,
            replica: ReplicaId(replica),
        };
        let ascending = [term(0, u32::MAX), term(1, 0), term(1, 7), term(2, 3)];
        assert!(ascending.is_sorted());
        assert!(ascending.map(Term::to_u64).is_sorted());
        assert_eq!(
            ascending.map(|term| Term::from_u64(term.to_u64())),
            ascending
        );
    }
}
