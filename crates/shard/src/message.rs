//! What the nodes of a cluster say to each other about one shard.

use delta_crdt::{Cell, Digest, ReplicaId, Term};
use quota::KeyHash;

use crate::admitted::HitId;
use crate::record::Record;

/// The buckets of a shard, as a set of bits; bucket n is bit n.
pub type Buckets = u16;

/// What a delta adds to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Baseline {
    /// Everything of the term up to and including this write.
    After(u64),
    /// Nothing: these buckets are sent whole, and the others are known to be equal. To and from nodes that know no
    /// [`Message::Copy`].
    Whole {
        /// The buckets that are sent.
        buckets: Buckets,
        /// Who holds the shard; a receiver that is to become a holder learns it here.
        record: Record,
    },
}

/// Names a copy among all between two nodes about one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyId {
    /// The owner's copies to a node that is to follow it, counted by the owner.
    Base(u32),
    /// The answer to a pull, under the number that the asker gave it.
    Answer(u32),
}

impl CopyId {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Base(number) | Self::Answer(number) => number,
        }
    }

    pub(crate) fn is_of_kind(self, other: Self) -> bool {
        matches!(self, Self::Base(_)) == matches!(other, Self::Base(_))
    }
}

/// A piece of a copy: whole buckets, cut between keys so that no piece holds a link for long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The number of its copy.
    pub number: u32,
    /// Counts the pieces of the copy, from 0.
    pub index: u32,
    /// No piece follows.
    pub is_last: bool,
    /// What the whole copy covers.
    pub buckets: Buckets,
    /// In the order of their keys.
    pub cells: Vec<(KeyHash, Cell)>,
    /// Of the admitted hits that the sender remembers.
    pub admitted: Vec<HitId>,
}

/// Every message may be lost, repeated, delayed and reordered; each says what repairs a loss.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// The sender wants to own the shard under `term`. Asked again until answered.
    Claim {
        /// Higher than any term that the sender knows.
        term: Term,
        /// The term whose owner agrees to hand the shard over.
        consent: Option<Term>,
        /// Who has promised this term already: under lower terms they decide nothing any more.
        promised_by: Vec<ReplicaId>,
        /// What the claimant knows of the ownership: the asked may know less.
        record: Option<Record>,
    },
    /// Lower terms are refused from here on. Answers a claim.
    Promise {
        /// The claim's.
        term: Term,
        /// What the promiser knew of the ownership.
        record: Option<Record>,
        /// What it holds. `None`: nothing.
        digest: Option<Digest>,
        /// The hits that it forwarded to the last owner and that were admitted a moment ago, by their sequence:
        /// whichever of them nobody remembers is forgotten.
        answered: Vec<u64>,
    },
    /// Answers a claim, a delta or an announcement of a term that is too low, or too early.
    Refuse {
        /// The refused message's.
        term: Term,
        /// The highest term that the refuser has promised.
        promised: Term,
        /// What the refuser knows of the ownership.
        record: Option<Record>,
        /// A promise may come later: what was granted to the last owner has not run out.
        wait: bool,
    },
    /// The sender gives its claim up, so that another may have the promise, or under `quorum` it decides no longer under
    /// this term, so that another may be promised the next. Whoever has promised asks for the first by promising again; the
    /// second is repeated until somebody else decides.
    Release {
        /// The claim's, or the last that it decided under.
        term: Term,
    },
    /// The owner says that it decides, and what it holds. Said again until answered, and on the
    /// anti-entropy timer.
    Announce {
        /// The ownership.
        record: Record,
        /// The newest write that `digest` covers.
        through: u64,
        /// What the owner holds; only compared by who has joined up to exactly `through`. `None`: the owner sends nothing
        /// to the receiver.
        digest: Option<Digest>,
    },
    /// The sender has taken note of the ownership. Answers an announcement.
    Known {
        /// The record's.
        term: Term,
        /// The record's.
        epoch: u32,
    },
    /// Writes of the owner. Sent again until confirmed by [`Message::Have`].
    Delta {
        /// The owner's.
        term: Term,
        /// What the receiver must have.
        baseline: Baseline,
        /// What the receiver has afterwards.
        through: u64,
        /// The cells as they are now.
        cells: Vec<(KeyHash, Cell)>,
        /// Forwarded hits that were admitted by these writes.
        admitted: Vec<HitId>,
    },
    /// The sender has joined every write of the term up to `through`.
    Have {
        /// The delta's.
        term: Term,
        /// Inclusive. 0: nothing yet.
        through: u64,
        /// The delta did not connect to what the sender had: send what follows `through`.
        gap: bool,
    },
    /// The sender holds state that the owner may lack. Repeated until [`Message::Synced`].
    Offer {
        /// The owner's.
        term: Term,
        /// What the sender holds.
        digest: Digest,
    },
    /// Send me these buckets. A claimant and an owner ask; repeated, under the same number, until the answer is there.
    Pull {
        /// The asker's.
        term: Term,
        /// Which.
        buckets: Buckets,
        /// Counts what the asker pulls.
        number: u32,
    },
    /// A piece of what the owner has, for a node that is to follow it: it has everything up to `through` once it has the
    /// last piece. One piece at a time is under way; it is sent again until confirmed by [`Message::Received`].
    Copy {
        /// The owner's.
        term: Term,
        /// Who holds the shard; a receiver that is to become a holder learns it here.
        record: Record,
        /// The newest write that the copy covers.
        through: u64,
        /// Cells.
        piece: Piece,
    },
    /// A piece of what was asked for by [`Message::Pull`]. Sent and confirmed like a copy.
    Answer {
        /// The pull's.
        term: Term,
        /// Cells.
        piece: Piece,
    },
    /// The sender has this piece of a copy and all before it.
    Received {
        /// The piece's.
        term: Term,
        /// Which copy.
        copy: CopyId,
        /// Which piece.
        index: u32,
        /// It does not: the pieces before this one are not there, so start again.
        gap: bool,
    },
    /// Whole buckets, as asked. To and from nodes that know no [`Message::Answer`].
    State {
        /// The pull's.
        term: Term,
        /// Which.
        buckets: Buckets,
        /// Their cells.
        cells: Vec<(KeyHash, Cell)>,
        /// Every admitted hit that the sender remembers.
        admitted: Vec<HitId>,
    },
    /// The owner has everything that was offered.
    Synced {
        /// The owner's.
        term: Term,
    },
    /// The sender has just joined and knows nothing of the shard: what does the receiver know? Asked again until answered.
    Recall,
    /// Answers a recall.
    Recalled {
        /// What the sender knows of the ownership.
        record: Option<Record>,
        /// Whether it would know: it has not just joined itself, or has heard enough since.
        remembers: bool,
    },
    /// The owner has frozen the shard and sent all of it: claim it with my consent.
    Handoff {
        /// The owner's, to be given as the consent.
        term: Term,
    },
}

impl Message {
    /// The highest number of a term that the receiver would take note of. 0: there is none.
    pub(crate) fn highest_term_number(&self) -> u32 {
        let of = |record: &Record| record.term.number;
        let of_known = |record: &Option<Record>| record.as_ref().map_or(0, of);
        match self {
            Self::Claim { term, record, .. } | Self::Promise { term, record, .. } => {
                term.number.max(of_known(record))
            }
            Self::Refuse {
                term,
                promised,
                record,
                ..
            } => term.number.max(promised.number).max(of_known(record)),
            Self::Delta { term, baseline, .. } => match baseline {
                Baseline::After(_) => term.number,
                Baseline::Whole { record, .. } => term.number.max(of(record)),
            },
            Self::Copy { term, record, .. } => term.number.max(of(record)),
            Self::Announce { record, .. } => of(record),
            Self::Recalled { record, .. } => of_known(record),
            Self::Release { term }
            | Self::Known { term, .. }
            | Self::Have { term, .. }
            | Self::Offer { term, .. }
            | Self::Pull { term, .. }
            | Self::Answer { term, .. }
            | Self::Received { term, .. }
            | Self::State { term, .. }
            | Self::Synced { term }
            | Self::Handoff { term } => term.number,
            Self::Recall => 0,
        }
    }
}
