//! Copies of shards on their way to peers: whose turn it is, within the window of each peer.

use std::sync::{Mutex, MutexGuard};

use delta_crdt::ReplicaId;
use quota::Now;
use shard::{Copies, CopyForm, ShardId};

use super::Cluster;
use super::slots::{Outbox, PieceNews};
use crate::wire;

/// The window of every peer.
#[derive(Default)]
pub(crate) struct CopyWindows {
    copies: Mutex<Copies>,
}

impl CopyWindows {
    fn lock(&self) -> MutexGuard<'_, Copies> {
        // Nothing that holds it leaves it half changed.
        self.copies
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    // By itself, so that the lock is not held while the shard acts.
    fn next(&self) -> Option<(ReplicaId, ShardId)> {
        self.lock().next_turn()
    }

    /// Forgets all peers but these.
    pub(crate) fn retain(&self, is_member: impl Fn(ReplicaId) -> bool) {
        self.lock().retain(is_member);
    }
}

impl Cluster {
    /// Takes note of what happened to pieces, and lets those go that can.
    pub(super) fn on_pieces(&self, news: Vec<(ReplicaId, ShardId, PieceNews)>) {
        let now = self.inner.clock.now();
        self.note_pieces(now, news);
        self.send_pieces(now);
    }

    /// A peer is connected again: what was under way to it when it was lost leaves now.
    pub(super) fn on_pieces_lost(&self, peer: ReplicaId) {
        self.inner.copies.lock().lost(peer);
        self.send_pieces(self.inner.clock.now());
    }

    /// Time has passed: pieces whose receipt is overdue leave again.
    pub(super) fn repeat_pieces(&self, now: Now) {
        self.inner.copies.lock().on_tick(now.boot);
        self.send_pieces(now);
    }

    fn note_pieces(&self, now: Now, news: Vec<(ReplicaId, ShardId, PieceNews)>) {
        let mut copies = self.inner.copies.lock();
        for (peer, shard, news) in news {
            match news {
                PieceNews::Waits(first) => copies.wants(peer, shard, first),
                PieceNews::Arrived => copies.received(now.boot, peer, shard),
            }
        }
    }

    /// Lets pieces go until no shard waits for a peer that has room.
    fn send_pieces(&self, now: Now) {
        while let Some((to, shard)) = self.inner.copies.next() {
            let form = match self.inner.transport.version(to).map(wire::form_for) {
                Some(wire::VERSION_BEFORE) => CopyForm::Whole,
                _ => CopyForm::Pieces,
            };
            let mut out = Outbox::default();
            let sent = self
                .inner
                .slots
                .with(shard, &mut out, |shard, _| shard.send_piece(to, form));
            match sent.flatten() {
                Some(bytes) => self.inner.copies.lock().sent(now.boot, to, shard, bytes),
                None => self.inner.copies.lock().had_none(to, shard),
            }
            let Outbox { shards, pieces, .. } = out;
            for (to, messages) in shards {
                self.ship_shards(to, messages);
            }
            self.note_pieces(now, pieces);
        }
    }
}
