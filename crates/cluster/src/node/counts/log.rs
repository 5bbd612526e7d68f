//! The log of kept counts on a disk: what [`kept_counts`] says, in bytes.

use bytes::BytesMut;
use quota::KeyHash;
use shard::ShardId;
use store::{Entry, Log, LogError};

use crate::wire;

/// About so many bytes are put together before they are written. Of all keys of a node, which all change when it gets a copy
/// of everything, so much is in memory twice.
const WRITTEN_AT_ONCE: usize = 8 << 20;

/// Where the last members of the cluster are named.
pub(super) const MEMBERS: &[u8] = b"m";

/// The place of a key: a tag, its shard, itself.
type Place = [u8; 19];

fn place_of(shard: ShardId, key: KeyHash) -> Place {
    let mut place = [b'c'; 19];
    place[1..3].copy_from_slice(&shard.0.to_be_bytes());
    place[3..].copy_from_slice(&key.get().to_be_bytes());
    place
}

/// What all places of a shard begin with.
fn prefix_of(shard: ShardId) -> [u8; 3] {
    let [high, low] = shard.0.to_be_bytes();
    [b'c', high, low]
}

/// A log, and what is to be added to it.
pub(super) struct CountsLog {
    log: Log,
    batch: Batch,
}

impl CountsLog {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log,
            batch: Batch::default(),
        }
    }
}

impl kept_counts::Log for CountsLog {
    type Error = LogError;

    fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    fn append(&mut self, entry: kept_counts::Entry<'_>) -> Result<(), LogError> {
        self.batch.push(entry);
        match WRITTEN_AT_ONCE <= self.batch.bytes.len() {
            true => self.sync(),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if self.batch.changes.is_empty() {
            return Ok(());
        }
        self.log.append(self.batch.entries())?;
        self.batch.clear();
        Ok(())
    }

    fn begin_rewrite(&mut self) -> Result<(), LogError> {
        self.log.begin_rewrite()
    }

    fn is_rewriting(&self) -> bool {
        self.log.is_rewriting()
    }

    fn rewrite(&mut self, entries: &[kept_counts::Entry<'_>]) -> Result<usize, LogError> {
        let mut batch = Batch::default();
        for &entry in entries {
            batch.push(entry);
        }
        self.log.rewrite(batch.entries())?;
        Ok(batch.bytes.len())
    }

    fn end_rewrite(&mut self) -> Result<(), LogError> {
        self.log.end_rewrite()
    }

    fn give_up(&mut self) {
        self.batch.clear();
        self.log.abandon_rewrite();
    }
}

/// What is written at once, put together without an allocation for each key.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    /// The cells, and the members, one behind the other.
    bytes: BytesMut,
}

enum Change {
    /// The members are so long.
    Members(usize),
    /// The cell is so long.
    Set(Place, usize),
    Removed(Place),
    RemovedAll([u8; 3]),
}

impl Batch {
    fn push(&mut self, entry: kept_counts::Entry<'_>) {
        let before = self.bytes.len();
        self.changes.push(match entry {
            kept_counts::Entry::Members(members) => {
                self.bytes.extend_from_slice(&wire::encode_roster(members));
                Change::Members(self.bytes.len() - before)
            }
            kept_counts::Entry::Set(shard, key, cell) => {
                wire::put_kept(&mut self.bytes, key, cell);
                Change::Set(place_of(shard, key), self.bytes.len() - before)
            }
            kept_counts::Entry::Removed(shard, key) => Change::Removed(place_of(shard, key)),
            kept_counts::Entry::RemovedAll(shard) => Change::RemovedAll(prefix_of(shard)),
        });
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &self.bytes[..];
        let mut next = move |length: usize| {
            let (bytes, others) = rest.split_at(length);
            rest = others;
            bytes
        };
        self.changes.iter().map(move |change| match change {
            Change::Members(length) => Entry::Set(MEMBERS, next(*length)),
            Change::Set(place, length) => Entry::Set(place, next(*length)),
            Change::Removed(place) => Entry::Removed(place),
            Change::RemovedAll(prefix) => Entry::RemovedAll(prefix),
        })
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.bytes.clear();
    }
}
