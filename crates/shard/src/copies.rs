//! Which shard may send a piece of a copy to a peer next: the window that all copies to one peer share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

use crate::record::ShardId;

/// Bytes under way to one peer that it has not confirmed.
///
/// Whatever is under way, a hit may have to wait behind: at 50 Mbit/s 256 KiB are 42 ms. They fill a link of 50 Mbit/s
/// up to round trips of as much, and one of 1 Gbit/s up to 2 ms; a copy over a longer way takes longer.
const WINDOW_BYTES: usize = 256 * 1024;

/// How long the first pieces to a peer wait for their receipts, before it is known how long these take.
const PATIENCE_FIRST: Nanos = Nanos::from_millis(1_000);

/// A receipt is waited for at least so long: a piece on a link that is otherwise quiet must not be sent twice because
/// the other end was busy for a moment.
const PATIENCE_MIN: Nanos = Nanos::from_millis(250);

/// And at most so long: on a link that carries less than a window in this time, copies come to no end anyway.
const PATIENCE_MAX: Nanos = Nanos::from_secs(16);

/// What copies to all peers are under way, and which wait.
///
/// A shard says with [`Effect::PieceWaits`](crate::Effect::PieceWaits) that it has a piece for a peer: tell
/// [`Self::wants`]. Then, until [`Self::next_turn`] is `None`, let that shard [send its
/// piece](crate::Shard::send_piece) and tell [`Self::sent`]. Call [`Self::on_tick`] every few tens of milliseconds.
#[derive(Debug, Default)]
pub struct Copies {
    peers: BTreeMap<ReplicaId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// What somebody waits for; before the others.
    first: VecDeque<ShardId>,
    waiting: VecDeque<ShardId>,
    /// Those in either.
    listed: BTreeSet<ShardId>,
    under_way: BTreeMap<ShardId, UnderWay>,
    bytes: usize,
    patience: Patience,
    /// How often each shard's piece has been sent in vain, where it has.
    repeats: BTreeMap<ShardId, u32>,
}

#[derive(Debug)]
struct UnderWay {
    bytes: usize,
    since: BootNanos,
}

/// How long receipts take, as TCP estimates round trips (RFC 6298): the mean and the mean deviation, both smoothed.
#[derive(Debug, Default)]
struct Patience {
    known: Option<(Nanos, Nanos)>,
}

impl Patience {
    fn learn(&mut self, took: Nanos) {
        self.known = Some(match self.known {
            None => (took, Nanos::new(took.get() / 2)),
            Some((mean, deviation)) => {
                let off = Nanos::new(mean.get().abs_diff(took.get()));
                (smooth(mean, took, 8), smooth(deviation, off, 4))
            }
        });
    }

    /// For a piece that has been sent `repeats` times in vain.
    fn after(&self, repeats: u32) -> Nanos {
        let once = match self.known {
            None => PATIENCE_FIRST,
            Some((mean, deviation)) => mean + deviation.times(4),
        };
        once.max(PATIENCE_MIN)
            .times(1 << repeats.min(6))
            .min(PATIENCE_MAX)
    }
}

fn smooth(old: Nanos, new: Nanos, share: u64) -> Nanos {
    Nanos::new(old.get() - old.get() / share + new.get() / share)
}

impl Copies {
    /// `shard` has a piece for `to`, which goes before those that nobody waits for if it is to be the `first`. May be
    /// repeated; nothing while one of its pieces is under way there.
    pub fn wants(&mut self, to: ReplicaId, shard: ShardId, first: bool) {
        let peer = self.peers.entry(to).or_default();
        if peer.under_way.contains_key(&shard) || !peer.listed.insert(shard) {
            return;
        }
        match first {
            true => peer.first.push_back(shard),
            false => peer.waiting.push_back(shard),
        }
    }

    /// The shard whose turn it is, and to whom it sends its piece. `None`: none waits for a peer that has room.
    #[must_use]
    pub fn next_turn(&mut self) -> Option<(ReplicaId, ShardId)> {
        let waits = |peer: &Peer| !peer.listed.is_empty() && peer.bytes < WINDOW_BYTES;
        let (&to, peer) = self.peers.iter_mut().find(|(_, peer)| waits(peer))?;
        let shard = peer
            .first
            .pop_front()
            .or_else(|| peer.waiting.pop_front())?;
        peer.listed.remove(&shard);
        Some((to, shard))
    }

    /// `shard` has sent a piece of `bytes` bytes to `to`.
    pub fn sent(&mut self, now: BootNanos, to: ReplicaId, shard: ShardId, bytes: usize) {
        let peer = self.peers.entry(to).or_default();
        peer.bytes += bytes;
        let replaced = peer.under_way.insert(shard, UnderWay { bytes, since: now });
        peer.bytes -= replaced.map_or(0, |replaced| replaced.bytes);
    }

    /// `shard` had no piece for `to` any more when its turn came.
    pub fn had_none(&mut self, to: ReplicaId, shard: ShardId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.repeats.remove(&shard);
        }
    }

    /// The piece of `shard` that was under way to `to` has arrived.
    pub fn received(&mut self, now: BootNanos, to: ReplicaId, shard: ShardId) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        let repeats = peer.repeats.remove(&shard);
        if let Some(arrived) = peer.under_way.remove(&shard) {
            peer.bytes -= arrived.bytes;
            // Of a piece that was sent twice nobody knows which one the receipt is for (Karn).
            if repeats.is_none() {
                peer.patience.learn(now - arrived.since);
            }
        }
    }

    /// Time has passed: pieces whose receipt is overdue are to be sent again, before others.
    pub fn on_tick(&mut self, now: BootNanos) {
        for peer in self.peers.values_mut() {
            let repeats = |shard| peer.repeats.get(shard).copied().unwrap_or_default();
            let overdue: Vec<ShardId> = peer
                .under_way
                .iter()
                .filter(|(shard, under_way)| {
                    peer.patience.after(repeats(shard)) <= now - under_way.since
                })
                .map(|(&shard, _)| shard)
                .collect();
            for shard in overdue {
                if let Some(lost) = peer.under_way.remove(&shard) {
                    peer.bytes -= lost.bytes;
                }
                *peer.repeats.entry(shard).or_default() += 1;
                if peer.listed.insert(shard) {
                    peer.first.push_back(shard);
                }
            }
        }
    }

    /// Whatever was under way to `to` is lost: a connection has ended. It leaves again, before others.
    pub fn lost(&mut self, to: ReplicaId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            for shard in std::mem::take(&mut peer.under_way).into_keys() {
                if peer.listed.insert(shard) {
                    peer.first.push_back(shard);
                }
            }
            peer.bytes = 0;
            peer.repeats.clear();
        }
    }

    /// Bytes that are under way to `to`.
    #[must_use]
    pub fn bytes_under_way(&self, to: ReplicaId) -> usize {
        self.peers.get(&to).map_or(0, |peer| peer.bytes)
    }

    /// Forgets all peers but these.
    pub fn retain(&mut self, is_member: impl Fn(ReplicaId) -> bool) {
        self.peers.retain(|&peer, _| is_member(peer));
    }
}
