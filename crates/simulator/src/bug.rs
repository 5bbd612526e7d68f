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
    /// Replicas are not told which hits were admitted that their clients had named.
    NamesStayWithTheOwner,
    /// A handoff sends no tail, and the old owner forgets at once.
    HandoffForgets,
    /// The common past is added again when the sides of a fork meet.
    CommonPastTwice,
    /// A restarted node goes on under the replica id of its earlier life.
    ReusedReplicaId,
    /// A node that has just joined votes before it has heard what a majority knows.
    VotesUnheard,
    /// A takeover on the smaller side of a split starts with nothing.
    MinorityForgets,
    /// A node whose clock is off goes on deciding.
    KeepsBadClock,
    /// An owner that has no room evicts without a word to its replicas.
    EvictsAlone,
    /// An owner without a replica decides without anybody's lease.
    OwesNobody,
    /// Hits of a node without a quorum wait for one.
    WaitsInMinority,
    /// Under `quorum`, a node that finds nobody where its cluster should be founds another.
    FoundsAlone,
    /// Under `quorum`, a newcomer counts as soon as it is met.
    CountsAtOnce,
    /// A node whose link to an owner is cut asks nobody else.
    AsksOwnerAlone,
    /// A hit whose owner does not answer is taken for one that was never sent.
    SilenceIsUnsent,
    /// Evidence of death is told again and again, whatever has disproved it.
    KeepsEvidence,
    /// What was once told of members is told again and again, whoever has left since.
    RepeatsOldRosters,
    /// Copies leave all at once, in the lane of hits.
    CopiesHoldUpHits,
    /// A shard in which something panicked goes on with what that left.
    GoesOnPoisoned,
    /// A replica that a panic left without its copy waits for somebody to find out.
    PoisonedAsksNobody,
    /// A node that only asks is met as one that takes its share.
    AsksAndOwns,
    /// Calendars of every second node know no summer time.
    ForgetsSummerTime,
}

impl Bug {
    /// Every one.
    pub const ALL: [Self; 24] = [
        Self::IgnoresLease,
        Self::AsksOneHolder,
        Self::RetryCountsTwice,
        Self::NamesStayWithTheOwner,
        Self::HandoffForgets,
        Self::CommonPastTwice,
        Self::ReusedReplicaId,
        Self::VotesUnheard,
        Self::MinorityForgets,
        Self::KeepsBadClock,
        Self::EvictsAlone,
        Self::OwesNobody,
        Self::WaitsInMinority,
        Self::FoundsAlone,
        Self::CountsAtOnce,
        Self::AsksOwnerAlone,
        Self::SilenceIsUnsent,
        Self::KeepsEvidence,
        Self::RepeatsOldRosters,
        Self::CopiesHoldUpHits,
        Self::GoesOnPoisoned,
        Self::PoisonedAsksNobody,
        Self::AsksAndOwns,
        Self::ForgetsSummerTime,
    ];

    /// The promise that the bug is there to break: it counts as caught when that one is seen broken. `None`: any.
    #[must_use]
    pub fn must_break(self) -> Option<&'static str> {
        match self {
            Self::NamesStayWithTheOwner => Some("P1"),
            Self::MinorityForgets => Some("P5"),
            Self::EvictsAlone => Some("memory"),
            Self::OwesNobody => Some("one owner"),
            Self::WaitsInMinority => Some("minority"),
            Self::FoundsAlone => Some("founded once"),
            Self::CountsAtOnce => Some("P4"),
            Self::AsksOwnerAlone => Some("P4"),
            Self::SilenceIsUnsent => Some("T1"),
            Self::KeepsEvidence => Some("alive"),
            Self::RepeatsOldRosters => Some("bounded"),
            Self::CopiesHoldUpHits => Some("lanes"),
            Self::GoesOnPoisoned => Some("P1/P2"),
            Self::PoisonedAsksNobody => Some("copies"),
            Self::AsksAndOwns => Some("asks"),
            _ => None,
        }
    }

    /// The bug of the shard; `None` for a bug of the driver.
    pub(crate) fn of_the_shard(self) -> Option<Fault> {
        match self {
            Self::IgnoresLease => Some(Fault::IgnoresLease),
            Self::AsksOneHolder => Some(Fault::AsksOneHolder),
            Self::RetryCountsTwice => Some(Fault::RetryCountsTwice),
            Self::NamesStayWithTheOwner => Some(Fault::NamesStayWithTheOwner),
            Self::HandoffForgets => Some(Fault::HandoffForgets),
            Self::CommonPastTwice => Some(Fault::CommonPastTwice),
            Self::VotesUnheard => Some(Fault::VotesUnheard),
            Self::MinorityForgets => Some(Fault::MinorityForgets),
            Self::EvictsAlone => Some(Fault::EvictsAlone),
            Self::OwesNobody => Some(Fault::OwesNobody),
            Self::PoisonedAsksNobody => Some(Fault::PoisonedAsksNobody),
            Self::ReusedReplicaId
            | Self::KeepsBadClock
            | Self::WaitsInMinority
            | Self::FoundsAlone
            | Self::CountsAtOnce
            | Self::AsksOwnerAlone
            | Self::SilenceIsUnsent
            | Self::KeepsEvidence
            | Self::RepeatsOldRosters
            | Self::CopiesHoldUpHits
            | Self::GoesOnPoisoned
            | Self::AsksAndOwns
            | Self::ForgetsSummerTime => None,
        }
    }
}
