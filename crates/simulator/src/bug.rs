//! Bugs to switch on, so that each checker can be seen to catch one.

use shard::Fault;

/// A bug that somebody could have written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Bug {
    /// An owner decides although its lease has run out.
    IgnoresLease,
    /// A takeover opens after the first promise, without the others' counts.
    AsksOneHolder,
    /// A retried hit is counted again.
    RetryCountsTwice,
    /// A handoff sends no tail, and the old owner forgets at once.
    HandoffForgets,
    /// The common past is added again when the sides of a fork meet.
    CommonPastTwice,
    /// A restarted node goes on under the replica id of its earlier life.
    ReusedReplicaId,
}

impl Bug {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::IgnoresLease,
        Self::AsksOneHolder,
        Self::RetryCountsTwice,
        Self::HandoffForgets,
        Self::CommonPastTwice,
        Self::ReusedReplicaId,
    ];

    /// The bug of the shard; `None` for a bug of the driver.
    pub(crate) fn of_the_shard(self) -> Option<Fault> {
        match self {
            Self::IgnoresLease => Some(Fault::IgnoresLease),
            Self::AsksOneHolder => Some(Fault::AsksOneHolder),
            Self::RetryCountsTwice => Some(Fault::RetryCountsTwice),
            Self::HandoffForgets => Some(Fault::HandoffForgets),
            Self::CommonPastTwice => Some(Fault::CommonPastTwice),
            Self::ReusedReplicaId => None,
        }
    }
}
