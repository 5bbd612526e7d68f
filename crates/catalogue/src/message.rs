//! What catalogues say to each other.

use crate::record::{Address, Record};

/// One message. Each may be lost, repeated and reordered; what it was for is then done again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// What the sender has, in short: does the receiver have the same?
    Ask {
        /// Counts the sender's exchanges.
        exchange: u64,
        /// The sum over all records.
        root: u64,
    },
    /// No: these are the receiver's sums, at most 4 096, those of buckets without a record left out.
    Differs {
        /// Of the question.
        exchange: u64,
        /// Bucket and sum.
        sums: Vec<(u16, u64)>,
    },
    /// These buckets differ. The asker sends what it has in them, and wants what the other has.
    Wanted {
        /// Of the question.
        exchange: u64,
        /// At most 4 096.
        buckets: Vec<u16>,
    },
    /// The asker has all that the sender had when it was asked, and has confirmed it.
    Done {
        /// Of the question.
        exchange: u64,
    },
    /// Records, some 64 KiB of them, or one.
    Piece {
        /// Counts the sender's pieces to this receiver.
        number: u64,
        /// Which lane it travels on.
        urgency: Urgency,
        /// No address twice.
        records: Vec<(Address, Record)>,
    },
    /// The receiver of a piece has joined it.
    Receipt {
        /// Of the piece.
        number: u64,
    },
}

/// Who waits for a piece.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Urgency {
    /// Somebody who has changed something, and wants to hear that it is in force.
    Change,
    /// Nobody, or a newcomer: it makes way for hits.
    Repair,
}

impl Message {
    /// Who waits for it.
    #[must_use]
    pub const fn urgency(&self) -> Urgency {
        match self {
            Self::Piece { urgency, .. } => *urgency,
            // Short, and a change may wait for the receipt.
            Self::Receipt { .. } => Urgency::Change,
            Self::Ask { .. } | Self::Differs { .. } | Self::Wanted { .. } | Self::Done { .. } => {
                Urgency::Repair
            }
        }
    }
}
