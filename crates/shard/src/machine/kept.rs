//! What a disk of this node has of the shard, from before it started and for the next time.
//!
//! What comes from a disk is a copy that was away, as after a partition: its cells say which writes they know of, so that
//! joining them with what others have counts nothing twice and brings nothing back that they know to be gone. A claimant
//! joins what all who promise have; a node that finds the shard open offers what it has to the owner. Under `quorum` only
//! what the holders of the newest record have counts; disks do where nobody has heard of an owner since all nodes started.

use delta_crdt::{Cell, KeptChanges};
use quota::{KeyHash, Now};

use super::Shard;
use crate::record::Record;

impl Shard {
    /// Takes in what this node had kept before it started. Comes before anything else, and may come in parts.
    ///
    /// No term is promised from then on that is below one of which this node has writes.
    pub fn load_kept(&mut self, now: Now, cells: Vec<(KeyHash, Cell)>) {
        for (key, cell) in cells {
            let slots = cell.versions().iter().flat_map(|version| version.slots());
            // Not above: an owner that still has the term would have to claim anew.
            let newest = slots.map(|slot| slot.term).max();
            self.promised = self.promised.max(newest.unwrap_or(Record::NO_TERM));
            let _joined = self.cells.join(now.wall, key, cell);
        }
    }

    /// From now on what changes of keys that are kept is listed, for [`Self::take_kept_changes`].
    pub fn list_kept_changes(&mut self) {
        self.cells.list_kept_changes();
    }

    /// What has changed of the keys that are kept since this was last asked.
    pub fn take_kept_changes(&mut self) -> KeptChanges {
        self.cells.take_kept_changes()
    }
}
