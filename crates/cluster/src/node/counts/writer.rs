//! What writes the log: from what has changed, and now and then from all there is.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use delta_crdt::{Cell, KeptChanges};
use membership::Member;
use quota::KeyHash;
use shard::ShardId;
use store::{Entry, Log, LogError};

use super::super::Cluster;
use super::super::slots::SHARDS;
use crate::wire;

/// About so many bytes are put together before they are written. Of all keys of a node, which all change when it gets a copy
/// of everything, so much is in memory twice.
const WRITTEN_AT_ONCE: usize = 8 << 20;

/// So much of a new log is written between two writes of what has changed: at 16 MiB a second, a million keys in five.
const REWRITTEN_AT_ONCE: usize = 8 << 20;

/// A log is written anew when it is so many times as long as it was then, and not below [`REWRITE_FROM`].
const REWRITE_AT: u64 = 4;
const REWRITE_FROM: u64 = 16 << 20;

/// Keys of a shard whose cells are copied under its lock at once: some ten microseconds.
const COPIED_AT_ONCE: usize = 128;

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

/// The log, and how far it has been written.
pub(super) struct Writer {
    log: Log,
    /// How long it was when it was last written anew.
    bytes: u64,
    /// The members that it names, as they stand there.
    members: Bytes,
    /// The shard that comes next in the new log, while one is written.
    next: Option<u16>,
    /// Something was not written: all of it has to be written anew.
    is_behind: bool,
    /// While something is being written. A panic leaves it so.
    is_writing: bool,
}

impl Writer {
    /// `bytes`: how long the log would be without what has changed since; `members`: those that it names.
    pub(super) fn new(log: Log, bytes: u64, members: &[Member]) -> Self {
        Self {
            log,
            bytes,
            members: wire::encode_roster(members),
            next: None,
            is_behind: false,
            is_writing: false,
        }
    }

    /// Whether a new log is being written, a part with each [`Self::write`].
    pub(super) fn is_rewriting(&self) -> bool {
        self.next.is_some()
    }

    /// Adds what has changed to the log, and goes on with the new one if there is one. Blocks.
    pub(super) fn write(&mut self, cluster: &Cluster) -> Result<(), LogError> {
        if std::mem::replace(&mut self.is_writing, true) {
            self.give_up();
        }
        let written = self
            .append_changes(cluster)
            .and_then(|()| self.rewrite(cluster));
        if written.is_err() {
            self.give_up();
        }
        self.is_writing = false;
        written
    }

    /// What was taken from the shards is not on the disk, and nobody knows which of it.
    fn give_up(&mut self) {
        self.is_behind = true;
        self.next = None;
        self.log.abandon_rewrite();
    }

    fn append_changes(&mut self, cluster: &Cluster) -> Result<(), LogError> {
        let members = cluster.members_to_keep();
        if let Some(members) = members.filter(|members| *members != self.members) {
            if self.takes_changes() {
                self.log.append([Entry::Set(MEMBERS, &members)])?;
            }
            self.members = members;
        }
        // Whoever leaves has handed over what it had, and its successor may lose its disk.
        let is_leaving = cluster.inner.draining.load(Ordering::Acquire);
        let mut batch = Batch::default();
        for shard in (0..SHARDS).map(ShardId) {
            let changes = cluster.inner.slots.with_counts(shard, |shard, _| {
                let has_some = shard.cells().has_kept_changes();
                has_some.then(|| shard.take_kept_changes())
            });
            let Some(KeptChanges { all_gone, cells }) = changes.flatten() else {
                continue;
            };
            if all_gone && !is_leaving {
                batch.changes.push(Change::RemovedAll(prefix_of(shard)));
            }
            for (key, cell) in cells {
                batch.push(shard, key, cell.as_ref());
            }
            if WRITTEN_AT_ONCE <= batch.bytes.len() {
                self.append(&batch)?;
                batch.clear();
            }
        }
        self.append(&batch)
    }

    /// Not once something is missing: what changes is written with the rest then.
    fn takes_changes(&self) -> bool {
        !self.is_behind || self.log.is_rewriting()
    }

    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        match batch.changes.is_empty() || !self.takes_changes() {
            true => Ok(()),
            false => self.log.append(batch.entries()),
        }
    }

    /// Writes a part of the new log, if one is to be written.
    fn rewrite(&mut self, cluster: &Cluster) -> Result<(), LogError> {
        let is_long = REWRITE_FROM.max(REWRITE_AT * self.bytes) < self.log.bytes();
        let is_leaving = cluster.inner.draining.load(Ordering::Acquire);
        if is_leaving && !self.is_behind {
            // What this node has handed over is to stay.
            self.next = None;
            self.log.abandon_rewrite();
            return Ok(());
        }
        if self.next.is_none() {
            if !is_long && !self.is_behind {
                return Ok(());
            }
            self.log.begin_rewrite()?;
            self.log.rewrite([Entry::Set(MEMBERS, &self.members)])?;
            self.next = Some(0);
        }
        let mut written = 0;
        while let Some(next) = self.next
            && written < REWRITTEN_AT_ONCE
        {
            if next == SHARDS {
                self.log.end_rewrite()?;
                self.next = None;
                self.is_behind = false;
                self.bytes = self.log.bytes();
                break;
            }
            written += self.rewrite_shard(cluster, ShardId(next))?;
            self.next = Some(next + 1);
        }
        Ok(())
    }

    /// Adds all that is kept of one shard to the new log; about how many bytes.
    fn rewrite_shard(&mut self, cluster: &Cluster, shard: ShardId) -> Result<usize, LogError> {
        let slots = &cluster.inner.slots;
        let now = cluster.inner.clock.now().wall;
        let keys = slots.read(shard, |shard| {
            let keys: Vec<KeyHash> = shard.cells().kept_keys().collect();
            keys
        });
        let mut written = 0;
        for keys in keys.unwrap_or_default().chunks(COPIED_AT_ONCE) {
            let cells = slots.read(shard, |shard| {
                let cells = keys.iter().map(|&key| (key, shard.cells().get(key)));
                let cells: Vec<_> = cells.collect();
                cells
            });
            let mut batch = Batch::default();
            for (key, cell) in cells.unwrap_or_default() {
                if let Some(cell) = cell.filter(|cell| now < cell.expires_at()) {
                    batch.push(shard, key, Some(&cell));
                }
            }
            written += batch.bytes.len();
            self.log.rewrite(batch.entries())?;
        }
        Ok(written)
    }
}

/// What is written at once, put together without an allocation for each key.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    /// The cells, one behind the other.
    bytes: BytesMut,
}

enum Change {
    /// The cell is so long.
    Set(Place, usize),
    Removed(Place),
    RemovedAll([u8; 3]),
}

impl Batch {
    /// `None`: it is not to be kept any more.
    fn push(&mut self, shard: ShardId, key: KeyHash, cell: Option<&Cell>) {
        let place = place_of(shard, key);
        self.changes.push(match cell {
            Some(cell) => {
                let before = self.bytes.len();
                wire::put_kept(&mut self.bytes, key, cell);
                Change::Set(place, self.bytes.len() - before)
            }
            None => Change::Removed(place),
        });
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &self.bytes[..];
        self.changes.iter().map(move |change| match change {
            Change::Set(place, length) => {
                let (cell, others) = rest.split_at(*length);
                rest = others;
                Entry::Set(place, cell)
            }
            Change::Removed(place) => Entry::Removed(place),
            Change::RemovedAll(prefix) => Entry::RemovedAll(prefix),
        })
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.bytes.clear();
    }
}
