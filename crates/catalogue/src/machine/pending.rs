//! Changes that wait to be confirmed by everybody.

use std::collections::BTreeSet;

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

use super::{Catalogue, ChangeId, Effect};
use crate::clock::Stamp;
use crate::peer::Peer;

/// How long a change waits for members that do not confirm it.
const CHANGE_DEADLINE: Nanos = Nanos::from_millis(1_000);

/// A change that waits to be confirmed.
pub(super) struct Pending {
    stamp: Stamp,
    unconfirmed: BTreeSet<ReplicaId>,
    /// Members that have gone silent meanwhile, and had not confirmed it: they are not waited for, and named.
    silent: BTreeSet<ReplicaId>,
    until: BootNanos,
}

impl Pending {
    pub(super) fn new(now: BootNanos, stamp: Stamp, unconfirmed: BTreeSet<ReplicaId>) -> Self {
        Self {
            stamp,
            unconfirmed,
            silent: BTreeSet::new(),
            until: now + CHANGE_DEADLINE,
        }
    }

    /// Whom it waits for.
    pub(super) fn unconfirmed(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.unconfirmed.iter().copied()
    }

    /// It has waited for long enough.
    pub(super) fn expire(&mut self) {
        self.until = BootNanos::ZERO;
    }
}

impl Catalogue {
    pub(super) fn on_receipt(&mut self, from: ReplicaId, number: u64) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let mut confirmed = peer.changes.on_receipt(number);
        confirmed.append(&mut peer.repairs.on_receipt(number));
        for (place, stamp) in confirmed {
            let of_place = (place, ChangeId(0))..=(place, ChangeId(u64::MAX));
            for (_, pending) in self.pending.range_mut(of_place) {
                if pending.stamp <= stamp {
                    pending.unconfirmed.remove(&from);
                    pending.silent.remove(&from);
                }
            }
        }
    }

    /// Somebody has come for whom changes wait: those that are not answered yet, too.
    pub(super) fn await_confirmation(&mut self, now: BootNanos, replica: ReplicaId) {
        let Some(peer) = self
            .peers
            .get_mut(&replica)
            .filter(|peer| peer.is_audience())
        else {
            return;
        };
        for ((place, _), pending) in &mut self.pending {
            pending.unconfirmed.insert(replica);
            if peer.is_connected {
                peer.changes.owe(*place);
            }
        }
        self.send_pieces(now, replica);
    }

    /// Waits for nobody any more who is gone.
    pub(super) fn await_nobody_who_left(&mut self) {
        for pending in self.pending.values_mut() {
            let is_gone = |replica: &ReplicaId| {
                let peer = self.peers.get(replica);
                !peer.is_some_and(Peer::is_audience)
            };
            let gone = pending.unconfirmed.extract_if(.., is_gone);
            pending.silent.extend(gone);
        }
    }

    /// Answers the changes that everybody has confirmed, or that have waited for long enough.
    pub(super) fn settle(&mut self, now: BootNanos) {
        let is_settled = |pending: &Pending| pending.unconfirmed.is_empty() || pending.until <= now;
        let settled = self
            .pending
            .extract_if(.., |_, pending| is_settled(pending));
        for ((_, change), pending) in settled {
            let unconfirmed = pending.unconfirmed.union(&pending.silent);
            let unconfirmed = unconfirmed.copied().collect();
            self.effects.push_back(Effect::Settled {
                change,
                unconfirmed,
            });
        }
    }
}
