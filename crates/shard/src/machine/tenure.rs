//! How an owner goes on owning: leases, its choice of holders, and the handoff to a better placed one.

use delta_crdt::ReplicaId;
use quota::BootNanos;

use super::{Shard, State};
use crate::effect::{Effect, Note};
use crate::message::Message;
use crate::record::Record;
use crate::reign::{ALL_BUCKETS, Handoff, Reign};
use crate::settings::{Fault, Partition};
use crate::surroundings::Surroundings;

impl Shard {
    pub(super) fn step_open(&mut self, around: Surroundings<'_>) {
        let now = around.now.boot;
        if !self.is_leased(around) && !self.settings.has(Fault::IgnoresLease) {
            self.effects.push_back(Effect::Note(Note::LeaseLapsed));
            self.state = State::Idle;
            return self.start_claim(around, None);
        }
        let (State::Open(reign), Some(record)) = (&mut self.state, &mut self.record) else {
            return;
        };
        if self.settings.partition == Partition::Available {
            for member in around.view.others(self.me) {
                let lease = around.leases.from_holder(member);
                if now < lease.until {
                    reign.meet(member, lease);
                }
            }
        }
        if reign
            .handoff
            .is_some_and(|handoff| self.settings.handoff_patience <= now - handoff.since)
        {
            // The successor may hold promises by now: only a higher term is safe.
            self.state = State::Idle;
            self.effects.push_back(Effect::Changed);
            return self.start_claim(around, None);
        }
        let wanted = &around.order[..around.order.len().min(self.settings.replicas + 1)];
        if self.settings.partition == Partition::Quorum {
            // Whoever has been silent for a lease may have started again, and forgotten what it had taken note of.
            let before = reign.known_by.len();
            let is_heard = |&replica: &ReplicaId| now < around.leases.from_holder(replica).until;
            reign.known_by.retain(is_heard);
            if reign.known_by.len() != before {
                let soon = now + self.settings.ask_again_after;
                reign.announce_at = reign.announce_at.min(soon);
            }
        }
        let changed = rearrange(
            self.me,
            self.settings.partition,
            around,
            wanted,
            reign,
            record,
        );
        if changed {
            reign.announce_at = now;
            reign.known_by.clear();
            // Answers that waited for a holder who is none any more may have nobody left to wait for.
            self.effects.push_back(Effect::Changed);
        }
        let successor = wanted.first().copied();
        let successor = successor.filter(|&it| it != self.me && around.view.may_open(it));
        let settled = wanted
            .iter()
            .all(|&holder| holder == self.me || record.held_by(holder));
        if let Some(successor) = successor
            && settled
            && reign.handoff.is_none()
            && reign
                .progress(successor)
                .is_some_and(|progress| progress.acked().is_some())
        {
            reign.handoff = Some(Handoff {
                successor,
                since: now,
                said_at: None,
            });
            self.effects.push_back(Effect::Changed);
        }
        self.say_handoff(now);
        self.say_synced();
        self.announce(around);
    }

    /// Tells the successor to claim once it has confirmed every write.
    pub(super) fn say_handoff(&mut self, now: BootNanos) {
        let (State::Open(reign), Some(record)) = (&mut self.state, &self.record) else {
            return;
        };
        let seq = reign.seq();
        let Some(handoff) = reign.handoff else { return };
        let acked = reign
            .progress(handoff.successor)
            .and_then(|progress| progress.acked());
        let complete = acked == Some(seq) || self.settings.has(Fault::HandoffForgets);
        let due = handoff
            .said_at
            .is_none_or(|at| self.settings.resend_after <= now - at);
        if complete && due {
            reign.handoff = Some(Handoff {
                said_at: Some(now),
                ..handoff
            });
            let message = Message::Handoff { term: record.term };
            self.send(handoff.successor, message);
        }
    }

    /// Whether every node whose lease is required still gives it, without a break since the claim.
    pub(super) fn is_leased(&self, around: Surroundings<'_>) -> bool {
        around.now.boot < self.leased_until(around)
    }

    /// Until when the leases that are required run, if none of them is renewed, exclusive: a time that is past where one
    /// has run out, or has broken since the claim.
    pub(super) fn leased_until(&self, around: Surroundings<'_>) -> BootNanos {
        let (State::Open(reign), Some(record)) = (&self.state, &self.record) else {
            return BootNanos::ZERO;
        };
        let runs_until = |holder: ReplicaId| {
            let lease = around.leases.from_holder(holder);
            let is_unbroken = reign.lease_epochs.contains(&(holder, lease.epoch));
            if is_unbroken {
                lease.until
            } else {
                BootNanos::ZERO
            }
        };
        match self.settings.partition {
            Partition::Available => {
                let mut replicas = record.replicas().peekable();
                if replicas.peek().is_some() || self.settings.has(Fault::OwesNobody) {
                    return replicas.map(runs_until).min().unwrap_or(FOR_EVER);
                }
                // Without a copy anywhere the others may open the shard, too, once this node is silent. Each that
                // promises it has let this node's lease run out first, so that the lease of one is enough.
                let met = reign.lease_epochs.iter().map(|&(member, _)| member);
                let met = met.filter(|&member| around.view.contains(member));
                met.map(runs_until).max().unwrap_or(FOR_EVER)
            }
            // The lease that ends first of those that run: another majority may last longer, which is seen then.
            Partition::Quorum => {
                let now = around.now.boot;
                let mut until = FOR_EVER;
                let is_majority = reign.is_majority(|voter| {
                    let ends = runs_until(voter);
                    let runs = now < ends;
                    if runs {
                        until = until.min(ends);
                    }
                    runs
                });
                if is_majority { until } else { BootNanos::ZERO }
            }
        }
    }
}

/// Nobody's lease is required.
pub(super) const FOR_EVER: BootNanos = BootNanos::new(u64::MAX);

fn rearrange(
    me: ReplicaId,
    partition: Partition,
    around: Surroundings<'_>,
    wanted: &[ReplicaId],
    reign: &mut Reign,
    record: &mut Record,
) -> bool {
    let before = record.holders.len();
    // A holder whose process is gone leaves the record; a silent one has let the lease lapse instead.
    record
        .holders
        .retain(|&holder| around.view.contains(holder));
    let mut changed = record.holders.len() != before;
    for &holder in wanted.iter().filter(|&&holder| holder != me) {
        reign.follow(holder, ALL_BUCKETS);
        let confirmed = acked_by(reign, holder).is_some();
        let lease = around.leases.from_holder(holder);
        // It must have whatever has been answered: from now on it may be the one that is asked.
        let complete =
            reign.confirmed(record, partition) <= acked_by(reign, holder).unwrap_or_default();
        if confirmed && complete && !record.held_by(holder) && around.now.boot < lease.until {
            if partition == Partition::Available {
                // From here on its lease is required. What it may have promised to another before cannot
                // lead to a second owner, for that other needs our holders, too.
                reign.lease_epochs.retain(|&(known, _)| known != holder);
                reign.lease_epochs.push((holder, lease.epoch));
            }
            record.holders.push(holder);
            changed = true;
        }
    }
    // The confirmed writes of the slowest replacement; where nobody can replace, nobody is waited for.
    let replacements = wanted
        .iter()
        .filter(|&&holder| holder != me)
        .map(|&holder| acked_by(reign, holder));
    let replaced = replacements.min().unwrap_or(Some(u64::MAX));
    if let Some(replaced) = replaced
        && wanted
            .iter()
            .all(|&holder| holder == me || record.held_by(holder))
    {
        let before = record.holders.len();
        record.holders.retain(|&holder| {
            holder == me
                || wanted.contains(&holder)
                || acked_by(reign, holder).is_some_and(|acked| replaced < acked)
        });
        changed |= record.holders.len() != before;
    }
    let unwanted: Vec<ReplicaId> = reign
        .peers
        .iter()
        .map(|progress| progress.peer)
        .filter(|&peer| {
            !wanted.contains(&peer) && !record.held_by(peer) || !around.view.contains(peer)
        })
        .collect();
    for peer in unwanted {
        reign.unfollow(peer);
    }
    record.epoch += u32::from(changed);
    changed
}

fn acked_by(reign: &Reign, holder: ReplicaId) -> Option<u64> {
    reign.progress(holder).and_then(|progress| progress.acked())
}
