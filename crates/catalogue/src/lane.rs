//! What one peer is still to be sent, and what of it is under way.

use std::collections::{BTreeMap, BTreeSet};

use quota::{BootNanos, Nanos};

use crate::bucket::Bucket;
use crate::clock::Stamp;
use crate::record::{Address, Record};
use crate::records::{Place, Records};

/// Bytes of a piece, unless one record is longer. What comes behind it waits 10 ms at 50 Mbit/s.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes under way to one peer that it has not confirmed, in each lane: 42 ms at 50 Mbit/s. As for copies of shards
/// (decision 0022).
const WINDOW_BYTES: usize = 256 * 1024;

/// How long a receipt is waited for. A round trip and a moment of another's work are a few milliseconds.
const PATIENCE: Nanos = Nanos::from_millis(1_000);

/// And at most so long, where they come late: a window in this time is 16 KiB/s.
const PATIENCE_MAX: Nanos = Nanos::from_secs(16);

/// What of a lane a peer has confirmed.
pub(crate) type Confirmed = Vec<(Place, Stamp)>;

/// One lane to one peer: places owed, each once however often its record changes, and pieces that await a receipt.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Whole buckets, from which `owed` is filled when it is empty.
    buckets: BTreeSet<Bucket>,
    owed: BTreeSet<Place>,
    under_way: BTreeMap<u64, Flight>,
    bytes: usize,
    /// How often pieces were sent in vain since the last receipt.
    in_vain: u32,
}

#[derive(Debug)]
struct Flight {
    writes: Confirmed,
    bytes: usize,
    since: BootNanos,
}

impl Lane {
    /// This record is to be sent.
    pub(crate) fn owe(&mut self, place: Place) {
        self.owed.insert(place);
    }

    /// Everything in these buckets is to be sent.
    pub(crate) fn owe_buckets(&mut self, buckets: impl IntoIterator<Item = Bucket>) {
        self.buckets.extend(buckets);
    }

    /// Whether nothing is owed any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.owed.is_empty() && self.under_way.is_empty()
    }

    /// The next piece, if there is one and the window has room.
    pub(crate) fn next_piece(
        &mut self,
        now: BootNanos,
        records: &Records,
        number: u64,
    ) -> Option<Vec<(Address, Record)>> {
        let mut piece = Vec::new();
        let (mut writes, mut bytes) = (Vec::new(), 0);
        while bytes < PIECE_BYTES && self.bytes + bytes < WINDOW_BYTES {
            if self.owed.is_empty()
                && let Some(bucket) = self.buckets.pop_first()
            {
                self.owed.extend(records.places(bucket));
                continue;
            }
            let Some(place) = self.owed.first().copied() else {
                break;
            };
            let Some((address, record)) = records.get(place) else {
                // Swept since.
                self.owed.remove(&place);
                continue;
            };
            let weight = address.namespace.len() + address.name.len() + record.weight();
            if !piece.is_empty() && PIECE_BYTES < bytes + weight {
                break;
            }
            self.owed.remove(&place);
            bytes += weight;
            writes.push((place, record.stamp()));
            piece.push((address.clone(), record.clone()));
        }
        if piece.is_empty() {
            return None;
        }
        self.bytes += bytes;
        let flight = Flight {
            writes,
            bytes,
            since: now,
        };
        self.under_way.insert(number, flight);
        Some(piece)
    }

    /// A receipt: what the peer has now. Empty for a piece that is not under way any more: it has been sent again.
    pub(crate) fn on_receipt(&mut self, number: u64) -> Confirmed {
        let Some(flight) = self.under_way.remove(&number) else {
            return Vec::new();
        };
        self.bytes -= flight.bytes;
        self.in_vain = 0;
        flight.writes
    }

    /// Pieces whose receipt does not come are owed again.
    pub(crate) fn on_tick(&mut self, now: BootNanos) {
        let patience = PATIENCE.times(1 << self.in_vain.min(8)).min(PATIENCE_MAX);
        let is_late = |flight: &Flight| flight.since + patience <= now;
        let late: Vec<u64> = self
            .under_way
            .iter()
            .filter(|(_, flight)| is_late(flight))
            .map(|(number, _)| *number)
            .collect();
        for number in &late {
            if let Some(flight) = self.under_way.remove(number) {
                self.bytes -= flight.bytes;
                self.owed
                    .extend(flight.writes.into_iter().map(|(place, _)| place));
            }
        }
        self.in_vain += u32::from(!late.is_empty());
    }
}
