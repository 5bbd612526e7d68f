//! What this node is to the shard, and how safe is what it holds.

use std::collections::BTreeMap;

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

use super::{Shard, State};
use crate::settings::Partition;

/// What this node is to the shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Decides nothing; may hold a copy.
    Idle,
    /// Asks the others for their promises.
    Claiming,
    /// Owns and decides while its leases run.
    Open,
    /// Owns, and has frozen the shard to hand it over.
    HandingOff,
}

impl Shard {
    /// What this node is to the shard.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.state {
            State::Idle => Role::Idle,
            State::Claiming(..) => Role::Claiming,
            State::Open(reign) if reign.handoff.is_some() => Role::HandingOff,
            State::Open(_) => Role::Open,
        }
    }

    /// The newest write that a replica has confirmed; under [`Partition::Quorum`], every replica.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        match (&self.state, &self.record) {
            (State::Open(reign), Some(record)) => reign.confirmed(record, self.settings.partition),
            _ => 0,
        }
    }

    /// How long the oldest write has waited that no replica has confirmed. Zero without a replica.
    #[must_use]
    pub fn lag(&self, now: BootNanos) -> Nanos {
        match (&self.state, &self.record) {
            (State::Open(reign), Some(record)) => reign.lag(now, record, self.settings.partition),
            _ => Nanos::ZERO,
        }
    }

    /// For each replica of a shard that this node owns, the age of the oldest write that it has not confirmed, where that
    /// is older than what `behind` says already. A replica that has everything is not named.
    pub fn behind(&self, now: BootNanos, behind: &mut BTreeMap<ReplicaId, Nanos>) {
        if let (State::Open(reign), Some(record)) = (&self.state, &self.record) {
            reign.behind(now, record, behind);
        }
    }

    /// Whether an answer must wait for a replica: there is one, or a majority has to know that there is none.
    ///
    /// True where the shard is not open, too: an owner whose lease ran out and that claims anew cannot say
    /// that its earlier writes need nobody, for another may be opening the shard without them.
    #[must_use]
    pub fn has_replica(&self) -> bool {
        let (State::Open(reign), Some(record)) = (&self.state, &self.record) else {
            return true;
        };
        let waits_for_majority =
            || self.settings.partition == Partition::Quorum && !reign.is_known();
        1 < record.holders.len() || waits_for_majority()
    }

    /// Whether all that this node holds is known to be with the owner, or it is the owner.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let synced = self
            .record
            .as_ref()
            .is_some_and(|record| self.synced == Some(record.term));
        let quorum = self.settings.partition == Partition::Quorum;
        quorum || matches!(self.state, State::Open(_)) || synced || self.cells.is_empty()
    }

    /// Whether this node owns the shard with fewer confirmed copies than it should have among
    /// `members` live ones.
    #[must_use]
    pub fn is_under_replicated(&self, members: usize) -> bool {
        let (State::Open(reign), Some(record)) = (&self.state, &self.record) else {
            return false;
        };
        let wanted = self.settings.replicas.min(members.saturating_sub(1));
        let copies = record
            .replicas()
            .filter(|&replica| reign.progress(replica).is_some_and(|p| p.acked().is_some()));
        copies.count() < wanted
    }

    /// Whether a leaving node may go: it neither owns the shard nor holds state that nobody else has.
    #[must_use]
    pub fn may_leave(&self) -> bool {
        let held = self
            .record
            .as_ref()
            .is_some_and(|record| record.held_by(self.me));
        matches!(self.state, State::Idle) && !held && self.is_synced()
    }
}
