//! The spans and numbers that a shard works by.

use quota::Nanos;

/// What a side does that cannot hear the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Partition {
    /// Every side goes on by itself: with p sides, at most p times the limit.
    Available,
    /// Only a side with a majority of all members decides.
    Quorum,
}

/// A bug to switch on, so that a checker can be seen to catch it. For the simulator alone.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An owner decides although its lease has run out.
    IgnoresLease,
    /// An owner without a replica decides without anybody's lease.
    OwesNobody,
    /// A takeover opens after the first promise.
    AsksOneHolder,
    /// A retried hit is counted again.
    RetryCountsTwice,
    /// Replicas are not told which hits were admitted that their clients had named.
    NamesStayWithTheOwner,
    /// A handoff sends no tail, and the old owner forgets at once.
    HandoffForgets,
    /// The common past is added again when the sides of a fork meet.
    CommonPastTwice,
    /// A newcomer promises and claims before it has heard what a majority knows.
    VotesUnheard,
    /// A takeover on the smaller side of a split starts with nothing.
    MinorityForgets,
    /// An owner evicts without a word to its replicas.
    EvictsAlone,
    /// Whoever has promised takes what it holds for known to the claimant, and drops it.
    PromiseIsReceipt,
    /// Holders that are silent are taken for gone with all that they hold.
    SilentIsLost,
    /// Who comes back keeps to itself what it has counted.
    OffersNothing,
    /// A replica that a panic left without its copy asks nobody for another.
    PoisonedAsksNobody,
    /// Under `quorum`, a claimant that is no holder forgets at once what it has.
    ClaimantForgets,
    /// Under `quorum`, who has promised and told what it holds drops that when it hears of an older owner.
    DropsWhatItTold,
    /// A copy tells the ids of hits whose counts follow it.
    IdsAheadOfCounts,
    /// Under `quorum`, who has yet to hear what a majority knows is not asked for what is on its disk.
    AsksWhoRemembers,
    /// Under `quorum`, what others have of a shard that nobody has owned since all nodes started is not asked for.
    IgnoresDisks,
}

/// How a shard behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Copies besides the owner's.
    pub replicas: usize,
    /// What to do without the others.
    pub partition: Partition,
    /// A delta or copy that is not confirmed for so long is sent again. Longer than a round trip under
    /// load, shorter than a lease.
    pub resend_after: Nanos,
    /// A claim asks again whoever has not promised. A promise that waits for a grant to run out, or for
    /// evidence of a death, is given this much later at the most.
    pub ask_again_after: Nanos,
    /// A handoff whose successor does not claim is called off. A claim takes two round trips.
    pub handoff_patience: Nanos,
    /// How often an owner says its record and digest again.
    pub anti_entropy_every: Nanos,
    /// How long the ids of admitted hits are remembered: longer than an origin retries.
    pub remember_ids: Nanos,
    /// Most by which a clock may be off. What others counted later than that is taken for counted then.
    pub max_skew: Nanos,
    /// A replica that has no room may keep so many keys of a shard more, and an eighth, before it evicts what its owner has
    /// not: long enough for the owner's word in a flood of 100 000 fresh keys a second over all shards.
    pub lent_keys: usize,
    /// A bug to switch on.
    #[doc(hidden)]
    #[cfg(feature = "faults")]
    pub fault: Option<Fault>,
}

impl Settings {
    /// For nodes whose round trips stay well below 100 ms.
    #[must_use]
    pub const fn lan(replicas: usize, partition: Partition) -> Self {
        Self {
            replicas,
            partition,
            resend_after: Nanos::from_millis(250),
            ask_again_after: Nanos::from_millis(20),
            handoff_patience: Nanos::from_millis(1_500),
            anti_entropy_every: Nanos::from_secs(30),
            remember_ids: Nanos::from_secs(8),
            max_skew: Nanos::from_millis(500),
            lent_keys: 16,
            #[cfg(feature = "faults")]
            fault: None,
        }
    }

    #[cfg(feature = "faults")]
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// None: what serves has no bug that could be switched on.
    #[cfg(not(feature = "faults"))]
    pub(crate) const fn has(&self, _: Fault) -> bool {
        false
    }
}
