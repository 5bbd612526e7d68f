//! Exchanges: how a node finds out what it missed, and a newcomer gets everything.
//!
//! ```text
//! asker                              asked
//!   Ask(sum over all) ─────────────▶   the same: Done
//!   ◀───────────────── Differs(sums of all buckets)
//!   Wanted(those that differ) ─────▶
//!   its records in them ◀──────────▶ its records in them, in pieces, each with a receipt
//!   ◀────────────────────────── Done   once all its pieces are confirmed
//! ```
//!
//! A node has one exchange of its own at a time, so that a newcomer fetches everything from one member and then from each
//! other what that one lacked. Any message lost ends an exchange after a second without one of those above, and it begins
//! again. Whatever else the peer says meanwhile, changes and receipts, says nothing of the exchange.

use std::collections::VecDeque;

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

use super::Catalogue;
use crate::bucket::Bucket;
use crate::message::Message;
use crate::peer::{Peer, Standing};

/// An exchange is begun again when nothing of it has come for so long.
const SILENCE: Nanos = Nanos::from_millis(1_000);

/// Between two exchanges with members that should have missed nothing, in turn. It costs two messages of 20 bytes, and
/// bounds how long something stays missed that nobody knows was: for N members N seconds.
const LOOK_AROUND_EVERY: Nanos = Nanos::from_millis(1_000);

/// The exchanges of this node.
#[derive(Default)]
pub(super) struct Exchange {
    /// Those to exchange with, the first next.
    behind: VecDeque<ReplicaId>,
    current: Option<Current>,
    number: u64,
    /// Whom it was begun with last, to take turns.
    turn: Option<ReplicaId>,
    looked_around: BootNanos,
    /// See [`Catalogue::exchanged`].
    pub(super) brought: u64,
    /// Has records of its own disk, which others may lack.
    pub(super) has_loaded: bool,
    /// Has had an exchange, or is alone. Until then it has nothing else that others lack, and asks them itself.
    pub(super) has_joined: bool,
}

#[derive(Clone, Copy)]
struct Current {
    with: ReplicaId,
    number: u64,
    /// When something of it last came.
    heard: BootNanos,
}

impl Exchange {
    pub(super) fn is_behind(&mut self, replica: ReplicaId) {
        if !self.behind.contains(&replica) {
            self.behind.push_back(replica);
        }
    }

    pub(super) fn on_disconnected(&mut self, replica: ReplicaId) {
        self.behind.retain(|behind| *behind != replica);
        self.current = self.current.filter(|current| current.with != replica);
    }

    /// A part of the current exchange has come from this peer.
    pub(super) fn on_progress(&mut self, now: BootNanos, from: ReplicaId) {
        if let Some(current) = self.current.as_mut().filter(|current| current.with == from) {
            current.heard = now;
        }
    }

    fn is_current(&self, with: ReplicaId, number: u64) -> bool {
        let current = self.current;
        current.is_some_and(|current| current.with == with && current.number == number)
    }
}

impl Catalogue {
    /// Whether this node has all that each live member had when it was met. A newcomer waits for it before it is ready.
    #[must_use]
    pub fn has_caught_up(&self) -> bool {
        let lacks = |peer: &Peer| peer.standing == Standing::Live && !peer.has_told_all;
        self.exchange.has_joined && !self.peers.values().any(lacks)
    }

    /// Grows by each record that exchanges have brought and that was news, and by each exchange that came to its end.
    ///
    /// As long as it grows, a newcomer is still being told. What people change meanwhile does not count: they may go on for
    /// ever.
    #[must_use]
    pub fn exchanged(&self) -> u64 {
        self.exchange.brought
    }

    pub(super) fn begin_exchange(&mut self, now: BootNanos) {
        if self.exchange.current.is_some() {
            return;
        }
        let Some(with) = self.exchange.behind.pop_front() else {
            return;
        };
        self.exchange.number += 1;
        let number = self.exchange.number;
        self.exchange.turn = Some(with);
        self.exchange.current = Some(Current {
            with,
            number,
            heard: now,
        });
        let root = self.records.sums().root();
        self.send(
            with,
            Message::Ask {
                exchange: number,
                root,
            },
        );
    }

    /// Gives an exchange up whose other end is silent, and looks now and then whether somebody has something else.
    pub(super) fn look_around(&mut self, now: BootNanos) {
        if let Some(silent) = self
            .exchange
            .current
            .filter(|current| current.heard + SILENCE <= now)
        {
            self.exchange.current = None;
            self.exchange.is_behind(silent.with);
        }
        if now < self.exchange.looked_around + LOOK_AROUND_EVERY {
            return;
        }
        self.exchange.looked_around = now;
        if let Some(next) = self.next_in_turn() {
            self.exchange.is_behind(next);
        }
    }

    /// The connected member after the one whose turn was last.
    fn next_in_turn(&self) -> Option<ReplicaId> {
        let is_member = |peer: &Peer| peer.is_connected && peer.standing == Standing::Live;
        let members = self.peers.iter().filter(|(_, peer)| is_member(peer));
        let mut members = members.map(|(replica, _)| *replica);
        let first = members.clone().next();
        members
            .find(|replica| self.exchange.turn < Some(*replica))
            .or(first)
    }

    pub(super) fn on_asked(&mut self, from: ReplicaId, exchange: u64, root: u64) {
        let sums = self.records.sums();
        let has_something = self.exchange.has_joined || self.exchange.has_loaded;
        let answer = if sums.root() == root || !has_something {
            Message::Done { exchange }
        } else {
            let sums = sums.told();
            Message::Differs { exchange, sums }
        };
        self.send(from, answer);
    }

    pub(super) fn on_differs(
        &mut self,
        now: BootNanos,
        from: ReplicaId,
        exchange: u64,
        sums: &[(u16, u64)],
    ) {
        if !self.exchange.is_current(from, exchange) {
            return;
        }
        self.exchange.on_progress(now, from);
        let differing = self.records.sums().differing(sums);
        let buckets = differing.iter().map(|bucket| bucket.number()).collect();
        self.send(from, Message::Wanted { exchange, buckets });
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.repairs.owe_buckets(differing);
        }
    }

    pub(super) fn on_wanted(&mut self, from: ReplicaId, exchange: u64, buckets: &[u16]) {
        if let Some(peer) = self.peers.get_mut(&from) {
            let buckets = buckets.iter().filter_map(|&number| Bucket::new(number));
            peer.repairs.owe_buckets(buckets);
            peer.asked = Some(exchange);
        }
    }

    pub(super) fn on_done(&mut self, from: ReplicaId, exchange: u64) {
        if !self.exchange.is_current(from, exchange) {
            return;
        }
        self.exchange.current = None;
        self.exchange.has_joined = true;
        self.exchange.brought += 1;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.has_told_all = true;
        }
    }
}
