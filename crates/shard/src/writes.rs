//! What an owner has written and its peers may not have yet, and how much of it one delta takes.

use std::collections::BTreeSet;

use delta_crdt::{Cell, Cells, Dot, Evicted, Term};
use quota::{BootNanos, KeyHash};

use crate::admitted::HitId;
use crate::transfer::{HIT_ID_BYTES, bytes_of};

/// One write of an owner.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) what: What,
    pub(crate) at: BootNanos,
}

const _: () = assert!(size_of::<Write>() <= 48, "as `reign::RECENT_MAX` has it");

/// What it did.
#[derive(Debug)]
pub(crate) enum What {
    /// Something was counted, or given back.
    Counted {
        key: KeyHash,
        admitted: Option<HitId>,
    },
    /// The key was let go. Boxed, for hits are the usual.
    Evicted(Box<Evicted>),
    /// Another node had admitted these hits: at least one, at most as many as one of its messages names.
    Remembered(Box<[HitId]>),
}

impl Write {
    /// The key that it changed. `None`: none.
    fn key(&self) -> Option<KeyHash> {
        match &self.what {
            What::Counted { key, .. } => Some(*key),
            What::Evicted(evicted) => Some(evicted.key()),
            What::Remembered(_) => None,
        }
    }

    fn admitted(&self) -> &[HitId] {
        match &self.what {
            What::Counted { admitted, .. } => admitted.as_slice(),
            What::Evicted(_) => &[],
            What::Remembered(ids) => ids,
        }
    }
}

/// Bytes of one delta. What has been written beyond leaves when it is confirmed.
///
/// Writes of one shard while one delta is under way are some kilobytes; only those of large `sliding_log` keys, whose
/// cells are sent whole, come near it. Well below the longest frame that peers take.
const DELTA_BYTES: usize = 512 * 1024;

/// What one delta holds of the writes that wait.
pub(crate) struct Delta {
    pub(crate) writes: u64,
    pub(crate) cells: Vec<(KeyHash, Cell)>,
    pub(crate) admitted: Vec<HitId>,
}

impl Delta {
    /// The cells that `writes`, the first of which is number `first`, changed: each as it is now, after what says that it was
    /// evicted meanwhile, if it was.
    ///
    /// An eviction is told even where the key has been counted anew: what was known before may have been written
    /// under an earlier term, of which the new count says nothing.
    ///
    /// `first` counts all writes of the owner, as its dots do.
    pub(crate) fn of<'a>(
        writes: impl Iterator<Item = &'a Write>,
        first: u64,
        term: Term,
        cells: &Cells,
    ) -> Self {
        let mut delta = Self {
            writes: 0,
            cells: Vec::new(),
            admitted: Vec::new(),
        };
        let (mut seen, mut changed) = (BTreeSet::new(), Vec::new());
        let mut bytes = 0;
        for (write, seq) in writes.zip(first..) {
            if DELTA_BYTES <= bytes {
                break;
            }
            delta.writes += 1;
            delta.admitted.extend(write.admitted());
            if let What::Remembered(ids) = &write.what {
                bytes += ids.len() * HIT_ID_BYTES;
            }
            let Some(key) = write.key() else { continue };
            if let What::Evicted(evicted) = &write.what {
                let cell = evicted.cell(Dot::new(term, seq));
                bytes += bytes_of(&cell);
                delta.cells.push((key, cell));
            }
            if seen.insert(key)
                && let Some(cell) = cells.get(key)
            {
                bytes += bytes_of(&cell);
                changed.push((key, cell));
            }
        }
        delta.cells.append(&mut changed);
        delta
    }
}
