//! One hit: decided, repeated, read.

use delta_crdt::{Dot, ReplicaId};
use quota::{BootNanos, Cost, Decision, KeyHash, Limit, Now, Verdict};

use super::tenure::FOR_EVER;
use super::{Shard, State, owner_term};
use crate::admitted::HitId;
use crate::effect::{Effect, Note};
use crate::record::Record;
use crate::settings::{Fault, Partition};
use crate::surroundings::Surroundings;

/// What a hit does to its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Decide, and count when admitted.
    Hit(Cost),
    /// Give back what an earlier hit took.
    Refund(Cost),
    /// Let the key start anew.
    Reset,
}

/// What became of a hit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Decided here.
    Decided {
        /// The answer.
        decision: Decision,
        /// The write that a replica must confirm before a `replicated` answer. `None`: nothing was
        /// written, or nobody is there to confirm it.
        written: Option<u64>,
    },
    /// Not counted: this node does not own the shard.
    NotHere {
        /// Who owns it, as far as is known here.
        owner: Option<ReplicaId>,
    },
    /// Not counted: a claim, a handoff or a lease is under way. Try again after the next effect.
    Wait,
}

impl Shard {
    /// Whether [`Self::look`] has to come before the next hit, although the surroundings are the same as at the last look.
    #[inline]
    #[must_use]
    pub fn must_look(&self, now: BootNanos) -> bool {
        self.decides_until <= now
    }

    /// Looks whether this node decides, and until when, for the hits to come: those that find the same surroundings, and no
    /// other call in between that changes what this node is to the shard, need not look again.
    pub fn look(&mut self, around: Surroundings<'_>) {
        self.decides_until = match &self.state {
            State::Open(reign) if reign.handoff.is_some() => BootNanos::ZERO,
            State::Open(_) if self.settings.has(Fault::IgnoresLease) => FOR_EVER,
            State::Open(_) => self.leased_until(around),
            State::Idle | State::Claiming(..) => BootNanos::ZERO,
        };
    }

    /// Decides one hit against what this node knows now. Comes after [`Self::look`] where that is wanted: without, it waits.
    ///
    /// A hit with the `id` of one that was admitted is admitted again without being counted again.
    #[inline]
    pub fn on_hit(
        &mut self,
        now: Now,
        key: KeyHash,
        limit: &Limit,
        operation: Operation,
        id: Option<HitId>,
    ) -> Outcome {
        let decides = !self.must_look(now.boot);
        let reign = match &mut self.state {
            State::Open(reign) if decides => reign,
            State::Open(_) | State::Claiming(..) => return Outcome::Wait,
            State::Idle => {
                let owner = self.record.as_ref().map(Record::owner);
                return Outcome::NotHere {
                    owner: owner.filter(|&owner| owner != self.me),
                };
            }
        };
        if !self.unmeasured.is_empty() && self.unmeasured.remove(&key) {
            let units = self.cells.overshoot(now.wall, key, limit);
            if 0 < units {
                let note = Note::Overshoot { units };
                self.effects.push_back(Effect::Note(note));
            }
        }
        let follows = !reign.peers.is_empty() || self.settings.partition == Partition::Quorum;
        if id.is_some_and(|id| self.admitted.contains(id))
            && !self.settings.has(Fault::RetryCountsTwice)
        {
            let mut decision = self.cells.peek(now.wall, key, limit);
            decision.verdict = Verdict::Allow;
            return Outcome::Decided {
                decision,
                written: follows.then(|| reign.seq()),
            };
        }
        let term = owner_term(self.record.as_ref());
        let dot = Dot {
            actor: term,
            counter: reign.written() + 1,
        };
        let written = match operation {
            Operation::Hit(cost) => self.cells.hit(now.wall, key, limit, cost, dot),
            Operation::Refund(cost) => self.cells.refund(now.wall, key, limit, cost, dot),
            Operation::Reset => self.cells.reset(now.wall, key, limit, dot),
        };
        if written.changed {
            let told = match self.settings.has(Fault::NamesStayWithTheOwner) {
                true => id.filter(|id| !id.is_of_client()),
                false => id,
            };
            reign.wrote(now.boot, key, told);
            self.written = reign.written();
            if let Some(id) = id {
                self.admitted
                    .insert(now.boot, now.boot + self.settings.remember_ids, id);
            }
        }
        let written_seq = (written.changed && follows).then(|| reign.seq());
        Outcome::Decided {
            decision: written.decision,
            written: written_seq,
        }
    }

    /// A hit of this node, which it had forwarded under `sequence`, was admitted by the shard's owner, and its client told.
    pub fn on_answered(&mut self, now: BootNanos, sequence: u64) {
        self.answered.insert(now, sequence);
    }

    /// Reads a key without changing it, wherever a copy is.
    #[must_use]
    pub fn peek(&self, now: Now, key: KeyHash, limit: &Limit) -> Decision {
        self.cells.peek(now.wall, key, limit)
    }
}
