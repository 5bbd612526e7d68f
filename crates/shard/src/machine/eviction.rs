//! What a holder does that runs out of room: an owner forgets for all holders, a replica for itself.

use delta_crdt::{Cell, Evicted, KEY_BYTES};
use quota::{KeyHash, Now};

use super::{Shard, State};
use crate::settings::Fault;

/// What a node may keep of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Most keys, beside [those that are spared](KeyHash::is_spared).
    pub keys: usize,
    /// Most bytes, as [`Cells::evictable_bytes`](delta_crdt::Cells::evictable_bytes) has them.
    pub bytes: usize,
}

/// An owner that has more than its room frees one part of so many beyond what it must: then evictions come by the
/// hundred, and looking for what loses least, which looks at thousands of keys, is done once for all of them.
const FREED_SHARE: usize = 32;

/// A replica may have one part of so many more than its room: where the owner has no more room than it, the owner evicts
/// first, and says so before its replicas have to.
const LENT_SHARE: usize = 8;

impl Room {
    fn less(self) -> Self {
        Self {
            keys: self.keys - self.keys / FREED_SHARE,
            bytes: self.bytes - self.bytes / FREED_SHARE,
        }
    }

    /// With so many more keys of the usual size.
    fn lent(self, keys: usize) -> Self {
        let bytes = keys * KEY_BYTES;
        Self {
            keys: self.keys.saturating_add(keys + self.keys / LENT_SHARE),
            bytes: self.bytes.saturating_add(bytes + self.bytes / LENT_SHARE),
        }
    }
}

impl Shard {
    /// Evicts what loses least if it is forgotten, when more is held than there is room for; which keys went.
    ///
    /// An owner evicts for every holder: its replicas are told with the next flush. A replica that has no room although
    /// its owner does evicts for itself alone, later, and keeps a copy with holes: what it lacks is lost if it has to
    /// take over. A shard that is being claimed or handed over is left alone, for the few milliseconds that takes.
    pub fn evict(&mut self, now: Now, room: Room) -> Vec<KeyHash> {
        let tells = !self.settings.has(Fault::EvictsAlone);
        let (most, left) = match &self.state {
            State::Claiming(..) => return Vec::new(),
            State::Open(reign) if reign.handoff.is_some() => return Vec::new(),
            State::Open(_) => (room, room.less()),
            State::Idle => {
                let lent = room.lent(self.settings.lent_keys);
                (lent, lent)
            }
        };
        let (keys, bytes) = (self.cells.evictable(), self.cells.evictable_bytes());
        if keys <= most.keys && bytes <= most.bytes {
            return Vec::new();
        }
        let (keys, bytes) = (
            keys.saturating_sub(left.keys),
            bytes.saturating_sub(left.bytes),
        );
        let evicted = self.cells.evict(now.wall, keys, bytes);
        let gone = evicted.iter().map(Evicted::key).collect();
        match &mut self.state {
            State::Open(reign) if tells => {
                for evicted in evicted {
                    reign.evicted(now.boot, evicted);
                }
                self.written = reign.written();
            }
            _ if evicted.is_empty() => {}
            _ => {
                self.has_holes = true;
                self.pieces.on_evicted();
            }
        }
        gone
    }

    /// Whether this node wrote, under the term in which it owns the shard, what another brings back here as `cell`, and has
    /// let it go since: it is no news, and whoever has it must let it go as well. Of what others wrote as well, it cannot
    /// say that there is nothing new in it.
    pub(super) fn has_let_go(&self, key: KeyHash, cell: &Cell) -> bool {
        let State::Open(reign) = &self.state else {
            return false;
        };
        let is_mine = cell.versions().iter().all(|version| match version.slots() {
            [slot] => slot.term.replica == self.me && reign.has_written(slot.seq),
            _ => false,
        });
        is_mine && !self.cells.contains(key) && !self.settings.has(Fault::EvictsAlone)
    }
}
