//! What this node has promised, and what may be promised to another.
//!
//! A promise binds until its claimant has opened, or has given the claim up, or cannot decide any more. The last is known
//! from the lease that this node gave it: when that has run out, or the process is gone. Where links are cut and not nodes
//! dead, a lease may go on for ever between two that see each other, although the one of them neither owns nor claims. So
//! who decides no longer says so, and who has given a claim up is asked.

use delta_crdt::{ReplicaId, Term};
use quota::BootNanos;

use super::{Shard, owner_term};
use crate::message::Message;
use crate::record::Record;
use crate::settings::Partition;
use crate::surroundings::Surroundings;

/// A promise whose claimant has not yet opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pledge {
    pub(super) term: Term,
    pub(super) given_at: BootNanos,
    /// When the claimant was told last.
    pub(super) told_at: BootNanos,
}

impl Pledge {
    pub(super) fn new(term: Term, now: BootNanos) -> Self {
        Self {
            term,
            given_at: now,
            told_at: now,
        }
    }

    /// Whether it was given to `claimant`, and still stands in the way of others.
    pub(super) fn is_for(&self, claimant: ReplicaId) -> bool {
        self.term.replica == claimant
    }
}

impl Shard {
    /// Whether whoever was to decide under `term` cannot decide any more, as far as this node has a say.
    pub(super) fn is_over(&self, around: Surroundings<'_>, term: Term) -> bool {
        term == Record::NO_TERM
            || term.replica == self.me
            || self.released == Some(term)
            || around
                .leases
                .may_promise_against(around.now.boot, term.replica)
    }

    /// `from` has given up its claim of that term, or decides no longer under it.
    pub(super) fn on_release(&mut self, from: ReplicaId, term: Term) {
        if self.pledged.is_some_and(|pledge| pledge.term == term) {
            self.pledged = None;
        }
        let quorum = self.settings.partition == Partition::Quorum;
        if quorum && term.replica == from && owner_term(self.record.as_ref()) == term {
            self.released = Some(term);
        }
        if term < owner_term(self.record.as_ref()) {
            // Whoever owns it now may not reach who asks.
            self.refuse(from, term, true);
        }
    }

    /// A node that owned the shard and decides no longer, nor has been followed by another, says so: others may have to
    /// claim it who do not reach this node, from some who do and go on giving it a lease.
    ///
    /// Under `quorum` alone, where nobody opens without a holder: elsewhere it may have what nobody else has, and whoever
    /// does not reach it would open without.
    ///
    /// Not at once: a handoff is over within two round trips.
    pub(super) fn say_released(&mut self, around: Surroundings<'_>, since: BootNanos) {
        let now = around.now.boot;
        let term = owner_term(self.record.as_ref());
        let due = self.release_said_at.map_or_else(
            || since + self.settings.ask_again_after,
            |said_at| said_at + self.settings.resend_after,
        );
        let quorum = self.settings.partition == Partition::Quorum;
        if !quorum || term.replica != self.me || now < due {
            return;
        }
        self.release_said_at = Some(now);
        for other in around.view.others(self.me) {
            self.send(other, Message::Release { term });
        }
    }

    /// Tells a claimant again what it was promised, until something comes of it: it may have given the claim up, and its
    /// word of that was lost, or came before the claim.
    pub(super) fn remind_claimant(&mut self, around: Surroundings<'_>) {
        let (now, me) = (around.now.boot, self.me);
        let resend_after = self.settings.resend_after;
        let Some(pledge) = &mut self.pledged else {
            return;
        };
        let is_there = !pledge.is_for(me) && around.view.contains(pledge.term.replica);
        if !is_there || now - pledge.told_at < resend_after {
            return;
        }
        pledge.told_at = now;
        let term = pledge.term;
        self.say_promise(term, Vec::new());
    }

    pub(super) fn say_promise(&mut self, term: Term, answered: Vec<u64>) {
        let digest = (!self.cells.is_empty()).then(|| self.cells.digest());
        let record = self.record.clone();
        self.send(
            term.replica,
            Message::Promise {
                term,
                record,
                digest,
                answered,
            },
        );
    }
}
