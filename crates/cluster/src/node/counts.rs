//! Counts that outlive all nodes, in the data directory of this one.
//!
//! A shard lists which of its kept keys have changed; one task takes these lists twice a second and adds the cells to a log,
//! whether this node owns the shard or has a copy. When the log is mostly about what has changed since, a new one is written
//! beside it, shard by shard. A hit waits for none of that: a shard is locked for as long as it takes to copy what changed.
//!
//! A disk that is full or broken stops no decision. What could not be written is written again from what the shards have, so
//! that nothing is gathered meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use delta_crdt::{Cell, KeptChanges};
use membership::Member;
use metrics::{Counter, counter};
use quota::KeyHash;
use shard::{Shard, ShardId};
use store::{Entry, Log, LogError, OpenError, Places};

use super::Cluster;
use super::disk::blocking;
use super::slots::SHARDS;
use crate::wire;

/// Between two writes. A node that is killed has lost what it counted since the last one began: less than a second, with the
/// time that a write takes.
const EVERY: Duration = Duration::from_millis(500);

/// After the first write that failed, and twice as long after each further one.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(16);

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
const MEMBERS: &[u8] = b"m";

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

/// What a node found of counts in its directory.
#[derive(Default)]
pub(super) struct KeptCounts {
    log: Option<Log>,
    /// How long the log would be without what has changed since.
    bytes: u64,
    cells: Vec<(KeyHash, Cell)>,
    members: Vec<Member>,
}

impl KeptCounts {
    /// Who counted when this was last written.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }
}

/// Makes sense of what a log says.
pub(super) fn read(log: Log, places: &Places) -> Result<KeptCounts, OpenError> {
    let corrupt = |error: &wire::WireError| log.corrupt(error.to_string());
    let mut kept = KeptCounts::default();
    for (place, bytes) in places {
        kept.bytes += (place.len() + bytes.len()) as u64;
        match &**place {
            MEMBERS => {
                kept.members = wire::decode_roster(bytes).map_err(|error| corrupt(&error))?;
            }
            _ => kept
                .cells
                .push(wire::decode_kept(bytes).map_err(|error| corrupt(&error))?),
        }
    }
    kept.log = Some(log);
    Ok(kept)
}

/// The log of this node, and how far it has been written.
pub(crate) struct Counts {
    /// Held by whoever writes, for as long as that takes; by nobody else but at start and end.
    writer: Mutex<Option<Writer>>,
    /// Nothing is left that this node had kept and the owners of its shards do not have.
    has_told: AtomicBool,
    writes: Counter,
    failures: Counter,
}

struct Writer {
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

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            writer: Mutex::new(None),
            has_told: AtomicBool::new(true),
            writes: counter!("weir_counts_writes_total"),
            failures: counter!("weir_counts_write_failures_total"),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the directory. Nothing is written any more.
    pub(super) fn close(&self) {
        drop(self.writer().take());
    }
}

impl Cluster {
    /// Takes in what this node kept, before it hears of anybody.
    pub(super) fn load_counts(&self, kept: KeptCounts) {
        let KeptCounts {
            log,
            bytes,
            cells,
            members,
        } = kept;
        let Some(log) = log else { return };
        let slots = &self.inner.slots;
        let now = self.inner.clock.now();
        let mut loaded = 0;
        for (key, cell) in cells {
            if cell.expires_at() <= now.wall {
                continue;
            }
            loaded += 1;
            let shard = ShardId(key.shard(SHARDS));
            slots.with_counts(shard, |shard, now| {
                shard.load_kept(now, vec![(key, cell)]);
            });
        }
        for shard in (0..SHARDS).map(ShardId) {
            slots.with_counts(shard, |shard, _| shard.list_kept_changes());
        }
        if 0 < loaded {
            self.inner.counts.has_told.store(false, Ordering::Relaxed);
            tracing::info!(keys = loaded, "what was counted is back");
        }
        *self.inner.counts.writer() = Some(Writer {
            log,
            bytes,
            members: wire::encode_roster(&members),
            next: None,
            is_behind: false,
            is_writing: false,
        });
    }

    /// Whether the owners of all shards have what this node had kept.
    pub(super) fn is_what_was_kept_known(&self) -> bool {
        let counts = &self.inner.counts;
        if counts.has_told.load(Ordering::Relaxed) {
            return true;
        }
        let is_known = |shard| self.inner.slots.read(ShardId(shard), Shard::is_synced);
        let all_known = (0..SHARDS).all(|shard| is_known(shard) != Some(false));
        counts.has_told.store(all_known, Ordering::Relaxed);
        all_known
    }

    /// Writes what has changed, as long as the node lives.
    pub(super) async fn keep_counts(self) {
        let mut retry = RETRY;
        let mut failed = false;
        while !self.inner.is_stopped() {
            let written = self.write_counts().await;
            let counts = &self.inner.counts;
            match written {
                Ok(()) => {
                    counts.writes.increment(1);
                    retry = RETRY;
                    if std::mem::take(&mut failed) {
                        tracing::info!("the data directory takes counts again");
                    }
                    tokio::time::sleep(EVERY).await;
                }
                Err(error) => {
                    counts.failures.increment(1);
                    if !std::mem::replace(&mut failed, true) {
                        note_failure(&error);
                    }
                    tokio::time::sleep(retry).await;
                    retry = (2 * retry).min(RETRY_MAX);
                }
            }
        }
    }

    /// Writes what has changed for the last time: nothing is decided any more.
    pub(super) async fn keep_last_counts(&self) {
        loop {
            if let Err(error) = self.write_counts().await {
                self.inner.counts.failures.increment(1);
                return note_failure(&error);
            }
            // What had to be written anew is written to its end.
            let writer = self.inner.counts.writer();
            if writer.as_ref().is_none_or(|writer| writer.next.is_none()) {
                return;
            }
        }
    }

    async fn write_counts(&self) -> Result<(), LogError> {
        let cluster = self.clone();
        blocking(move || match &mut *cluster.inner.counts.writer() {
            Some(writer) => writer.write(&cluster),
            None => Ok(()),
        })
        .await
    }

    /// Who counts, as it is written down. `None`: that is not known, or no longer of interest: those who go at the same time
    /// as this node may come back with what it lacks.
    fn members_to_keep(&self) -> Option<Bytes> {
        if self.inner.draining.load(Ordering::Acquire) {
            return None;
        }
        // Who has just founded a cluster does not know yet who comes into it.
        if self.inner.slots.world.load().orders.is_empty() {
            return None;
        }
        let mut members = self.with_membership(|membership, _| membership.counting())?;
        // Nobody has to wait for who has nothing.
        let asking = self.asking();
        members.retain(|member| !asking.contains(&member.replica));
        Some(wire::encode_roster(&members))
    }
}

impl Writer {
    /// Blocks.
    fn write(&mut self, cluster: &Cluster) -> Result<(), LogError> {
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

fn note_failure(error: &LogError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(
        %error,
        cause = cause.unwrap_or_default(),
        "the data directory takes no counts: they are counted and not kept, trying again"
    );
}
