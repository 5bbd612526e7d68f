//! What an owner has written and its peers may not have yet, and how much of it one delta takes.

use std::collections::BTreeSet;

use delta_crdt::{Cell, Cells, Dot, Evicted, Term};
use quota::{BootNanos, KeyHash};

use crate::admitted::HitId;
use crate::message::Buckets;
use crate::reign::ALL_BUCKETS;
use crate::transfer::{HIT_ID_BYTES, bytes_of, is_in};

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

    /// The ids that came with it, if it is not sure that whoever gets these buckets gets what was counted.
    pub(crate) fn ids_beside(&self, buckets: Buckets) -> &[HitId] {
        match self.key() {
            Some(key) if is_in(buckets, key) => &[],
            // What an outsider brought was written before, and is in a copy of all.
            None if buckets == ALL_BUCKETS => &[],
            _ => self.admitted(),
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

#[cfg(test)]
mod tests {
    use delta_crdt::{Digest, ReplicaId};
    use quota::{Algorithm, Cost, Limit, Nanos, UnixNanos};

    use super::*;

    const NOW: UnixNanos = UnixNanos::new(1_700_000_000_000_000_000);
    const TERM: Term = Term {
        number: 2,
        replica: ReplicaId(1),
    };

    fn key(number: u128) -> KeyHash {
        KeyHash::new(number)
    }

    fn write(what: What) -> Write {
        let at = BootNanos::ZERO;
        Write { what, at }
    }

    fn counted(number: u128) -> Write {
        let (key, admitted) = (key(number), None);
        write(What::Counted { key, admitted })
    }

    fn remembered(ids: u64) -> Write {
        let id = |sequence| HitId {
            origin: TERM.replica,
            sequence,
        };
        write(What::Remembered((0..ids).map(id).collect()))
    }

    #[test]
    fn the_ids_beside_a_copy_are_those_whose_counts_it_may_lack() {
        let id = HitId {
            origin: TERM.replica,
            sequence: 7,
        };
        let hit = write(What::Counted {
            key: key(1),
            admitted: Some(id),
        });
        let its = 1 << Digest::bucket_of(key(1));
        let none: &[HitId] = &[];
        assert_eq!(hit.ids_beside(ALL_BUCKETS), none);
        assert_eq!(hit.ids_beside(its), none);
        assert_eq!(hit.ids_beside(ALL_BUCKETS - its), [id]);
        // What an outsider brought: nobody knows which keys it is of.
        assert_eq!(remembered(1).ids_beside(ALL_BUCKETS), none);
        assert_eq!(remembered(1).ids_beside(its).len(), 1);
    }

    /// So many units, counted in each of two keys.
    fn counts(units: u64) -> Cells {
        let limit = Limit::new(Algorithm::SlidingLog, 10_000, Nanos::from_secs(60));
        let limit = limit.expect("within bounds");
        let mut cells = Cells::new();
        for seq in 1..=units {
            for number in [1, 2] {
                let dot = Dot::new(TERM, seq);
                let _written = cells.hit(NOW, key(number), &limit, Cost::ONE, dot);
            }
        }
        cells
    }

    fn told(writes: &[Write], cells: &Cells) -> (u64, Vec<KeyHash>, usize) {
        let delta = Delta::of(writes.iter(), 5, TERM, cells);
        let keys = delta.cells.iter().map(|&(key, _)| key);
        (delta.writes, keys.collect(), delta.admitted.len())
    }

    #[test]
    fn a_delta_tells_a_key_once_and_of_every_write() {
        let cells = counts(1);
        let writes = [
            counted(1),
            remembered(3),
            counted(1),
            counted(9),
            counted(2),
        ];
        assert_eq!(told(&writes, &cells), (5, vec![key(1), key(2)], 3));
    }

    #[test]
    fn an_eviction_is_told_under_the_number_of_its_write_before_what_was_counted_since() {
        let mut cells = counts(1);
        let evicted = cells.evict(NOW, 1, 0).remove(0);
        let gone = evicted.key();
        let eviction = write(What::Evicted(Box::new(evicted)));
        let anew = counts(1);
        let writes = [counted(1), eviction, counted(2)];
        let delta = Delta::of(writes.iter(), 5, TERM, &anew);
        let [(first, cell), rest @ ..] = &delta.cells[..] else {
            panic!("{:?}", delta.cells);
        };
        assert_eq!((*first, cell.expires_at()), (gone, UnixNanos::ZERO));
        let slots = cell.versions()[0].slots();
        assert_eq!((slots[0].term, slots[0].seq), (TERM, 6));
        let mut keys: Vec<KeyHash> = rest.iter().map(|&(key, _)| key).collect();
        keys.sort_unstable();
        assert_eq!(keys, [key(1), key(2)]);
    }

    /// 512 KiB, 8 bytes to an id and 16 to an entry of a log.
    #[test]
    fn a_delta_ends_with_the_write_that_fills_it() {
        let cells = counts(1);
        let filled = [remembered(65_536), counted(1)];
        assert_eq!(told(&filled, &cells), (1, vec![], 65_536));
        let nearly = [remembered(65_535), counted(1), counted(2)];
        assert_eq!(told(&nearly, &cells), (2, vec![key(1)], 65_535));
        // A log of a thousand entries takes 16 045 bytes, and the cell of an eviction 45.
        let large = counts(1_000);
        let logs = |ids| told(&[remembered(ids), counted(1), counted(2)], &large).0;
        assert_eq!((logs(63_531), logs(63_530)), (2, 3));
        let evictions = |ids| {
            let evicted = counts(1).evict(NOW, 2, 0).into_iter();
            let evicted = evicted.map(|it| write(What::Evicted(Box::new(it))));
            let writes: Vec<Write> = [remembered(ids)].into_iter().chain(evicted).collect();
            told(&writes, &Cells::new()).0
        };
        assert_eq!((evictions(65_531), evictions(65_530)), (2, 3));
    }
}
