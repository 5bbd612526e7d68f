//! A claim under way: who was asked, and what they said.

use std::collections::BTreeMap;

use delta_crdt::{Cell, Digest, ReplicaId, Term};
use quota::{BootNanos, KeyHash};

use crate::admitted::HitId;
use crate::message::Buckets;
use crate::record::Record;
use crate::reign::ALL_BUCKETS;

#[derive(Debug)]
pub(crate) enum Asked {
    /// Has not promised yet.
    Waiting,
    /// Has promised. Whether what it holds counts is known when a majority has ([`Partition::Quorum`]).
    ///
    /// [`Partition::Quorum`]: crate::Partition::Quorum
    Promised { digest: Option<Digest> },
    /// Has promised; holds buckets that we must join first.
    Pulling { digest: Digest, buckets: Buckets },
    /// Has promised, and has nothing that we lack.
    Ready { digest: Option<Digest> },
}

#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) term: Term,
    pub(crate) consent: Option<Term>,
    pub(crate) asked: BTreeMap<ReplicaId, Asked>,
    /// Leases as they were when the claim was made: one that lapses before the end does not count.
    pub(crate) lease_epochs: Vec<(ReplicaId, u64)>,
    pub(crate) ask_again_at: BootNanos,
    pub(crate) pull_again_at: BootNanos,
    /// Under `quorum`: the record, by term and epoch, whose holders are pulled from.
    pub(crate) gathers_for: Option<(Term, u32)>,
    /// What those were pulled for who are no holders themselves. Joined when the shard opens, in the place of what the
    /// claimant has.
    pub(crate) gathered: Option<Gathered>,
    /// Hits that the last owner admitted, as those who forwarded them say, and when they said so.
    pub(crate) answered: Vec<(BootNanos, HitId)>,
}

/// What the holders of a record have, as far as it has come in.
#[derive(Default, Debug)]
pub(crate) struct Gathered {
    pub(crate) cells: Vec<(KeyHash, Cell)>,
    pub(crate) admitted: Vec<HitId>,
}

impl Claim {
    pub(crate) fn is_ready(&self) -> bool {
        self.asked
            .values()
            .all(|asked| matches!(asked, Asked::Ready { .. }))
    }

    /// Whether it has promised, and has nothing that the claimant lacks.
    pub(crate) fn is_ready_with(&self, other: ReplicaId) -> bool {
        matches!(self.asked.get(&other), Some(Asked::Ready { .. }))
    }

    /// Who has promised.
    pub(crate) fn promised_by(&self) -> Vec<ReplicaId> {
        let promised = self
            .asked
            .iter()
            .filter(|(_, asked)| !matches!(asked, Asked::Waiting));
        promised.map(|(&other, _)| other).collect()
    }

    /// Whom to pull which buckets from, when only what the holders of `record` have counts.
    pub(crate) fn gather(&mut self, record: &Record, mine: &Digest) -> Vec<(ReplicaId, Buckets)> {
        let newest = (record.term, record.epoch);
        let is_other = self.gathers_for.replace(newest) != Some(newest);
        let mut pulls = Vec::new();
        for (&other, asked) in &mut self.asked {
            let digest = match asked {
                Asked::Promised { digest } => digest.take(),
                Asked::Ready { digest } if is_other => digest.take(),
                Asked::Pulling { digest, .. } if is_other => Some(digest.clone()),
                _ => continue,
            };
            let counts = digest.as_ref().filter(|_| record.held_by(other));
            let buckets = counts.map_or(0, |theirs| worth_pulling(mine, theirs));
            *asked = match digest {
                Some(digest) if buckets != 0 => {
                    pulls.push((other, buckets));
                    Asked::Pulling { digest, buckets }
                }
                // Kept, of whoever is no holder, too: by a newer record, heard of later, it may be one.
                digest => Asked::Ready { digest },
            };
        }
        pulls
    }

    /// Whom to pull which buckets from, when nobody has heard of an owner: what there is comes from disks, and all of it
    /// counts.
    pub(crate) fn gather_kept(&mut self, mine: &Digest) -> Vec<(ReplicaId, Buckets)> {
        let mut pulls = Vec::new();
        for (&other, asked) in &mut self.asked {
            let Asked::Promised { digest } = asked else {
                continue;
            };
            let digest = digest.take();
            let buckets = digest
                .as_ref()
                .map_or(0, |theirs| worth_pulling(mine, theirs));
            *asked = match digest {
                Some(digest) if buckets != 0 => {
                    pulls.push((other, buckets));
                    Asked::Pulling { digest, buckets }
                }
                digest => Asked::Ready { digest },
            };
        }
        pulls
    }

    pub(crate) fn ready(&self) -> usize {
        self.asked
            .values()
            .filter(|asked| matches!(asked, Asked::Ready { .. }))
            .count()
    }
}

/// The buckets in which `theirs` has something that differs from `mine`: what is worth pulling.
pub(crate) fn worth_pulling(mine: &Digest, theirs: &Digest) -> Buckets {
    let empty = Digest::default();
    mine.differing(theirs) & empty.differing(theirs)
}

/// The buckets that must be sent to somebody who holds `theirs`.
pub(crate) fn worth_sending(mine: &Digest, theirs: Option<&Digest>) -> Buckets {
    theirs.map_or(ALL_BUCKETS, |theirs| mine.differing(theirs))
}
