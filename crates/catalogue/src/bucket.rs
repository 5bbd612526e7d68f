//! What two nodes compare to find where their records differ.

use std::hash::Hasher as _;
use std::ops::RangeInclusive;

use quota::KeyHash;
use siphasher::sip::SipHasher13;

use crate::content::Kind;
use crate::record::Record;
use crate::records::Place;

/// One of [`Bucket::COUNT`] parts of all addresses, by the top bits of their hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bucket(u16);

/// Bits of a hash that name its bucket.
const BITS: u32 = 12;

impl Bucket {
    /// How many there are. Of a million records one that differs costs sending 250, 30 KiB; all sums are 40 KiB.
    pub const COUNT: u16 = 1 << BITS;

    /// The bucket of that number, if there is one.
    pub(crate) fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Where an address lies.
    pub(crate) fn of(place: Place) -> Self {
        Self((place.hash.get() >> (u128::BITS - BITS)) as u16)
    }

    pub(crate) fn number(self) -> u16 {
        self.0
    }

    /// The places in it, for each kind.
    pub(crate) fn places(self) -> [RangeInclusive<Place>; Kind::ALL.len()] {
        let first = u128::from(self.0) << (u128::BITS - BITS);
        let last = first | (u128::MAX >> BITS);
        Kind::ALL.map(|kind| {
            let place = |hash| Place {
                kind,
                hash: KeyHash::new(hash),
            };
            place(first)..=place(last)
        })
    }
}

/// For each bucket the wrapping sum of the hashes of its records, kept up to date with each change.
///
/// Two nodes with the same records have the same sums, however they came by them. What a record has seen counts as well:
/// two that hold the same write of an address, of which one has seen one more, are to exchange it. The arithmetic is part
/// of the peer protocol.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    buckets: Box<[u64]>,
    root: u64,
}

impl Sums {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; Bucket::COUNT.into()].into(),
            root: 0,
        }
    }

    /// The sum of all.
    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    pub(crate) fn add(&mut self, place: Place, record: &Record) {
        self.change(place, record_hash(place, record));
    }

    pub(crate) fn subtract(&mut self, place: Place, record: &Record) {
        self.change(place, record_hash(place, record).wrapping_neg());
    }

    fn change(&mut self, place: Place, by: u64) {
        let sum = &mut self.buckets[usize::from(Bucket::of(place).number())];
        *sum = sum.wrapping_add(by);
        self.root = self.root.wrapping_add(by);
    }

    /// Those that are not zero, which is what empty ones have.
    pub(crate) fn told(&self) -> Vec<(u16, u64)> {
        let sums = (0..Bucket::COUNT).zip(self.buckets.iter().copied());
        sums.filter(|&(_, sum)| sum != 0).collect()
    }

    /// The buckets whose sums are not as told.
    pub(crate) fn differing(&self, told: &[(u16, u64)]) -> Vec<Bucket> {
        let mut theirs = vec![0; usize::from(Bucket::COUNT)];
        for &(bucket, sum) in told {
            if let Some(bucket) = Bucket::new(bucket) {
                theirs[usize::from(bucket.number())] = sum;
            }
        }
        let pairs = self.buckets.iter().zip(&theirs);
        let differing = (0..Bucket::COUNT)
            .zip(pairs)
            .filter(|(_, (ours, theirs))| ours != theirs);
        differing.map(|(bucket, _)| Bucket(bucket)).collect()
    }
}

/// The hash of one record: of the writes that it holds, then of those that it has seen. Places are keyed hashes already, so that nobody outside can choose what meets here.
fn record_hash(place: Place, record: &Record) -> u64 {
    let mut hasher = SipHasher13::new();
    let place = place.hash.get();
    hasher.write_u64((place >> 64) as u64);
    hasher.write_u64(place as u64);
    for stamp in record.stamps().chain(record.seen().iter()) {
        hasher.write_u64(stamp.time());
        hasher.write_u32(stamp.incarnation().0);
    }
    hasher.finish()
}
