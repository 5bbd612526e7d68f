//! One attempt at the shard that may decide it, and its answer until a replica has what it tells.

use std::collections::VecDeque;

use delta_crdt::Term;
use quota::{BootNanos, Decision, Nanos, Now};
use shard::{HitId, Outcome, Role, Shard};

use crate::{Said, Subject};

/// Most answers of one shard that wait for a replica: at a round trip of a millisecond, four million hits a second on
/// this one shard. Beyond, a hit is not decided and asked again 20 ms later. Some 100 bytes each are 0.4 MiB; all shards
/// together hold no more than what the nodes of a cluster may have waiting at once, 32 768 each.
pub const HELD_MAX: usize = 4_096;

/// When an admitted hit may be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledge {
    /// At once, as long as the oldest unconfirmed write is younger than `max_lag`. Zero never waits.
    Fast {
        /// Beyond it, answers wait for a replica.
        max_lag: Nanos,
    },
    /// When a replica has it.
    Replicated,
}

impl Acknowledge {
    /// Whether an answer of `shard` that tells a new write has to wait.
    fn holds(self, shard: &Shard, now: BootNanos) -> bool {
        match self {
            Self::Replicated => shard.has_replica(),
            Self::Fast {
                max_lag: Nanos::ZERO,
            } => false,
            // A node alone asks no further: the first question is the cheap one.
            Self::Fast { max_lag } => shard.has_replica() && max_lag < shard.lag(now),
        }
    }
}

/// What came of an attempt at this node's shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Said at once; nothing was written that a replica waits for.
    Said(Said),
    /// Decided and written, and said at once.
    Written(Decision),
    /// Decided and written. What is said comes out of [`Held::settle`].
    Held,
}

/// The answers of one shard that wait for a replica. `R` is where each goes.
#[derive(Clone, Debug)]
pub struct Held<R> {
    waiting: VecDeque<Waiting<R>>,
}

#[derive(Clone, Debug)]
struct Waiting<R> {
    term: Option<Term>,
    written: u64,
    decision: Decision,
    reply: R,
}

impl<R> Default for Held<R> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }
}

/// Puts one attempt to the shard that may decide it.
///
/// Without an `id` the answer cannot wait, since it could not be asked again: where it would have to, nothing is decided
/// and [`Said::Busy`] says to come with one. `reply` is called where the answer is held. The shard has
/// [looked](Shard::look) at its surroundings, as it wants to before a hit.
#[inline]
pub fn decide<R>(
    shard: &mut Shard,
    held: &mut Held<R>,
    now: Now,
    acknowledge: Acknowledge,
    subject: &Subject,
    id: Option<HitId>,
    reply: impl FnOnce() -> R,
) -> Heard {
    let cannot_hold = id.is_none() || HELD_MAX <= held.waiting.len();
    if cannot_hold && acknowledge.holds(shard, now.boot) {
        return Heard::Said(Said::Busy);
    }
    match shard.on_hit(now, subject.key, &subject.limit, subject.operation, id) {
        Outcome::NotHere { owner } => Heard::Said(Said::Elsewhere(owner)),
        Outcome::Wait => Heard::Said(Said::Busy),
        Outcome::Decided {
            decision,
            written: None,
        } => Heard::Said(Said::Decided(decision)),
        Outcome::Decided {
            decision,
            written: Some(written),
        } => {
            // What is asked again may have been written long ago.
            if written <= shard.confirmed() || !acknowledge.holds(shard, now.boot) {
                return Heard::Written(decision);
            }
            held.waiting.push_back(Waiting {
                term: shard.record().map(|record| record.term),
                written,
                decision,
                reply: reply(),
            });
            Heard::Held
        }
    }
}

impl<R> Held<R> {
    /// Gives out what waits no longer: because a replica has it, because there is none to wait for, or because the term
    /// ended, and nobody here knows whether it survives. Call it whenever the shard has left
    /// [`Effect::Changed`](shard::Effect::Changed).
    pub fn settle(&mut self, shard: &Shard, mut give: impl FnMut(R, Said)) {
        if self.waiting.is_empty() {
            return;
        }
        let decides = shard.role() != Role::Idle;
        let term = shard.record().map(|record| record.term);
        let confirmed = shard.confirmed();
        let nobody_to_wait_for = !shard.has_replica();
        // In the order of their writes, and all of an ended term before the first of the next.
        while let Some(first) = self.waiting.front() {
            let survives = decides && first.term == term;
            if survives && confirmed < first.written && !nobody_to_wait_for {
                return;
            }
            if let Some(Waiting {
                decision, reply, ..
            }) = self.waiting.pop_front()
            {
                let said = match survives {
                    true => Said::Decided(decision),
                    false => Said::Unsure,
                };
                give(reply, said);
            }
        }
    }

    /// What was decided last of those that wait.
    #[must_use]
    pub fn newest(&self) -> Option<Decision> {
        self.waiting.back().map(|waiting| waiting.decision)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
