//! Who lives and who does not: evidence of death, and the proofs of life that take it back.
//!
//! Evidence is as good as the network between: a firewall that rejects, or a proxy in front of nothing, refuses a
//! connection as the host of a dead process does. So it is never the last word. A connection that the member has proven,
//! or its answer to something that was asked after the evidence came, disproves it.
//!
//! What evidence allowed in between cannot be taken back: the shards of the member may have been promised to others
//! while its lease went on. That is why it gets no lease, and is not alive, before the one it had has run out. It then
//! finds itself without, and claims its shards anew, as after any lapse.

use delta_crdt::ReplicaId;
use quota::BootNanos;

use super::{Effect, Membership, Message, Peer};
use crate::roster::Member;
use crate::view::Status;

impl Membership {
    /// A proven connection to `member` stands: learn of it and greet it. Disproves that its process is gone.
    pub fn on_introduced(&mut self, now: BootNanos, member: &Member) {
        self.let_go.forgive(member);
        self.join_fact(now, member);
        self.disprove(member.replica);
        if self.roster.by_replica(member.replica).is_some() {
            // Also to one that was forgotten: it has to hear of it.
            self.send(member.replica, Message::Roster(self.roster.facts()));
        }
        if self.peers.contains_key(&member.replica) {
            if let Some(council) = self.council.clone() {
                self.send(member.replica, Message::Council(council));
            }
            self.send_heartbeat(now, member.replica);
        }
    }

    /// The connection to a member closed. A suspicion, no evidence.
    pub fn on_disconnected(&mut self, replica: ReplicaId) {
        if let Some(peer) = self.peers.get_mut(&replica)
            && peer.status == Status::Alive
        {
            peer.status = Status::Suspect;
        }
    }

    /// There is evidence that the process of `replica` is gone: its live host refuses connections again and again, or
    /// another process listens at its address. Whether that was news. May be repeated.
    ///
    /// Of an incarnation that has been replaced, too: what it was granted need not be waited for.
    pub fn on_process_gone(&mut self, now: BootNanos, replica: ReplicaId) -> bool {
        let exchange = self.leases.peers.get_mut(&replica);
        let is_news = exchange.as_ref().is_some_and(|exchange| !exchange.gone);
        let granted_until = exchange.map(|exchange| {
            exchange.gone = true;
            exchange.granted_until
        });
        let Some(peer) = self.peers.get_mut(&replica) else {
            if is_news {
                // The members are the same, and what may be promised is not.
                self.effects.push_back(Effect::ViewChanged);
            }
            return is_news;
        };
        let is_news = peer.gone_at.is_none();
        peer.gone_at = Some(now);
        peer.barred_until = granted_until.unwrap_or_default();
        self.leases.peers.entry(replica).or_default().gone = true;
        if peer.status != Status::Dead {
            peer.status = Status::Dead;
            self.refresh_view();
        } else if is_news {
            self.effects.push_back(Effect::ViewChanged);
        }
        is_news
    }

    /// The members that belong, and that a newcomer need not wait for: their processes are gone, or they have been silent
    /// for a lease since this node held them for dead.
    #[must_use]
    pub fn presumed_dead(&self, now: BootNanos) -> Vec<ReplicaId> {
        let is_dead = |peer: &Peer| {
            peer.status == Status::Dead
                && (peer.gone_at.is_some() || self.settings.lease <= now - peer.alive_at)
        };
        let peers = self.peers.iter().filter(|(_, peer)| is_dead(peer));
        peers.map(|(&replica, _)| replica).collect()
    }

    /// A member answered a heartbeat of this node that was `sent` then.
    pub(super) fn on_answer(
        &mut self,
        now: BootNanos,
        from: ReplicaId,
        sent: BootNanos,
        granted: bool,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        if now < sent || peer.answered.is_some_and(|newest| sent < newest) {
            return;
        }
        if peer.gone_at.is_some_and(|gone_at| sent <= gone_at) {
            // It may have answered, and died before the answer was read.
            return;
        }
        peer.answered = Some(sent);
        self.disprove(from);
        let exchange = self.leases.peers.entry(from).or_default();
        if granted {
            exchange.lease.renew(now, sent + self.settings.lease);
        }
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let is_fresh = now - sent < self.settings.lease;
        if is_fresh && peer.barred_until <= now && peer.status != Status::Alive {
            let was_dead = peer.status == Status::Dead;
            peer.status = Status::Alive;
            peer.alive_at = now;
            if was_dead {
                self.refresh_view();
            }
        }
    }

    /// The process of `replica` lives, whatever evidence said.
    fn disprove(&mut self, replica: ReplicaId) {
        let Some(peer) = self.peers.get_mut(&replica) else {
            return;
        };
        if peer.gone_at.take().is_some() {
            if let Some(exchange) = self.leases.peers.get_mut(&replica) {
                exchange.gone = false;
            }
            self.effects.push_back(Effect::Disproved { replica });
        }
    }
}
