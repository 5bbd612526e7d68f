//! What two replicas compare to find where they differ.

use quota::KeyHash;

use crate::cell::Cell;
use crate::version::Slot;

/// A summary of a map: 64 bits for each of 16 buckets of its keys.
///
/// Two maps that hold the same versions have the same digest, however they came by them; two that differ have the
/// same digest once in 2^64. Kept up to date with each write, so that asking costs nothing.
///
/// A version is told by the writes that it knows of, which its count follows from. The arithmetic is part of the peer
/// protocol: nodes compare what they computed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// For each bucket, the wrapping sum of the hashes of its cells.
    pub buckets: [u64; Self::BUCKETS],
}

impl Digest {
    /// How many buckets there are. With 1 000 keys a shard, a difference of one key costs sending 60.
    pub const BUCKETS: usize = 16;

    /// The bucket of `key`: four bits that choose neither the shard nor the place in a table.
    #[must_use]
    pub const fn bucket_of(key: KeyHash) -> u8 {
        (key.get() as u64 >> 60) as u8
    }

    /// The buckets that differ from those of `other`; bucket n is bit n.
    #[must_use]
    pub fn differing(&self, other: &Self) -> u16 {
        let pairs = self.buckets.iter().zip(&other.buckets);
        pairs.enumerate().fold(0, |set, (bucket, (ours, theirs))| {
            set | u16::from(ours != theirs) << bucket
        })
    }

    #[inline]
    pub(crate) fn add(&mut self, key: KeyHash, hash: u64) {
        let bucket = &mut self.buckets[usize::from(Self::bucket_of(key))];
        *bucket = bucket.wrapping_add(hash);
    }

    #[inline]
    pub(crate) fn subtract(&mut self, key: KeyHash, hash: u64) {
        self.add(key, hash.wrapping_neg());
    }
}

/// The hash of a cell: the sum over the slots of all its versions.
///
/// A sum, so that a write under a known term need not look at the other slots. That it does not say which slots stand
/// together costs nothing: the newest slot of all is a write, and that write says which others its version has.
pub(crate) fn cell_hash(key: KeyHash, cell: &Cell) -> u64 {
    let hashes = cell.versions().iter().map(|v| slots_hash(key, v.slots()));
    hashes.fold(0, u64::wrapping_add)
}

pub(crate) fn slots_hash(key: KeyHash, slots: &[Slot]) -> u64 {
    let hashes = slots.iter().map(|slot| slot_hash(key, slot));
    hashes.fold(0, u64::wrapping_add)
}

/// The hash of one write of one key. Keys are keyed hashes already, so a client cannot choose what meets here.
#[inline]
pub(crate) fn slot_hash(key: KeyHash, slot: &Slot) -> u64 {
    let (high, low) = ((key.get() >> 64) as u64, key.get() as u64);
    let written = multiply(slot.term.to_u64() ^ TERM, slot.seq ^ low ^ SEQ);
    multiply(written ^ high, low ^ KEY)
}

/// Digits of π in hexadecimal.
const SEQ: u64 = 0x243f_6a88_85a3_08d3;
const TERM: u64 = 0x1319_8a2e_0370_7344;
const KEY: u64 = 0xa409_3822_299f_31d0;

/// Both halves of the 128-bit product, one upon the other: the mixing step of wyhash.
#[inline]
const fn multiply(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::{ReplicaId, Term};
    use crate::version::Added;

    /// Checked against a second implementation. When this fails, nodes of two builds resend everything to each other for ever.
    #[test]
    fn the_hash_of_a_write_never_changes() {
        let slot = Slot {
            term: Term {
                number: 3,
                replica: ReplicaId(7),
            },
            seq: 11,
            added: Added::new(5),
        };
        let hash = slot_hash(
            KeyHash::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
            &slot,
        );
        assert_eq!(hash, 12_579_844_752_543_802_249);
    }
}
