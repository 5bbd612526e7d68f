//! Counts that outlive all nodes, in the data directory of this one.
//!
//! A shard lists which of its kept keys have changed; one task takes these lists twice a second and adds the cells to a log,
//! whether this node owns the shard or has a copy. When the log is mostly about what has changed since, a new one is written
//! beside it, shard by shard. A hit waits for none of that: a shard is locked for as long as it takes to copy what changed.
//!
//! A disk that is full or broken stops no decision. What could not be written is written again from what the shards have, so
//! that nothing is gathered meanwhile.

mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use delta_crdt::Cell;
use membership::Member;
use metrics::{Counter, counter};
use quota::KeyHash;
use shard::{Shard, ShardId};
use store::{Log, LogError, OpenError, Places};

use self::writer::{MEMBERS, Writer};
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
        *self.inner.counts.writer() = Some(Writer::new(log, bytes, &members));
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
            if !writer.as_ref().is_some_and(Writer::is_rewriting) {
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

fn note_failure(error: &LogError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(
        %error,
        cause = cause.unwrap_or_default(),
        "the data directory takes no counts: they are counted and not kept, trying again"
    );
}
