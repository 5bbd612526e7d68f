//! What a shard leaves behind for its driver.

use delta_crdt::{ReplicaId, Term};
use quota::Nanos;

use crate::message::Message;

/// Work for the driver, to be done in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send to another node. May be lost.
    Send {
        /// Where to.
        to: ReplicaId,
        /// What.
        message: Message,
    },
    /// A piece of a copy waits for its turn to leave: [`Copies`](crate::Copies) says when. Repeated while one waits.
    PieceWaits {
        /// Where to.
        to: ReplicaId,
        /// Before others: a claim waits for it, a replica has everything and has to be told so, or has a part of the copy.
        first: bool,
    },
    /// The piece of a copy that was under way has arrived.
    PieceArrived {
        /// Where.
        at: ReplicaId,
    },
    /// The owner, the role or the confirmed writes changed: waiting hits and answers look again.
    Changed,
    /// For logs and metrics.
    Note(Note),
}

/// Something that an operator would want to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// This node began to decide.
    Opened {
        /// Its term.
        term: Term,
        /// How long the claim took.
        after: Nanos,
        /// The old owner agreed.
        handed_over: bool,
        /// Somebody had owned it before.
        taken_over: bool,
    },
    /// This node decides no longer: `by` has a higher term.
    SteppedDown {
        /// The higher term.
        by: Term,
    },
    /// A lease had run out: the shard is claimed again before it is decided again.
    LeaseLapsed,
    /// No holder of the old record can be reached, and one at least may come back: until then this node counts without
    /// what they have, and then both are joined.
    OutOfReach,
    /// No holder of the old record lives, nor can come back: what it had counted is lost.
    StateLost,
    /// Two sides had counted apart; their counts were joined.
    Forked {
        /// How many keys.
        keys: usize,
    },
    /// Of keys found forked, so many will not be measured for overshoot: too many others are.
    Unmeasured {
        /// How many keys.
        keys: usize,
    },
    /// The sides of a fork, taken together, had admitted more than the limit of a key. Found when the owner is first
    /// asked for the key after the fork.
    Overshoot {
        /// Units beyond the limit.
        units: u64,
    },
    /// The ids of admitted hits were forgotten for newer ones before their time: asked again now, such a hit counts again.
    CrowdedOut {
        /// How many ids.
        ids: usize,
    },
    /// A message of `from` named a term that nobody can have reached. It was ignored.
    TermLeapt {
        /// Who is broken.
        from: ReplicaId,
        /// The number of the term.
        number: u32,
    },
    /// The last owner had admitted hits, and told those who forwarded them, that no live holder knows of. Those of the
    /// owner's own clients are not among them: nobody who lives knows of these.
    Forgotten {
        /// How many hits.
        hits: usize,
    },
}
