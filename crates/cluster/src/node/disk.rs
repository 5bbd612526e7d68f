//! The data directory of this node: what is kept there, and what waits for it.
//!
//! What people change is written by one task, everything that has come up since its last write at once. What confirms a
//! change waits until the change is on the disk: receipts to other nodes, and answers to whoever changed something. How
//! much may wait is bounded by the windows of the peers, which get no receipts, and by the changes that may be pending.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::catalogue::{Address, Message, Place, Record, TOMBSTONES_LIVE};
use delta_crdt::ReplicaId;
use metrics::{Counter, counter};
use store::{Change, OpenError, Store, WriteError};
use tokio::sync::{Notify, oneshot};

use super::counts::{self, KeptCounts};
use super::{Cluster, ClusterConfig};
use crate::wire;

/// After a write that failed. A disk that is full stays so for a while; a change made meanwhile is answered by the next try.
const RETRY: Duration = Duration::from_secs(1);

/// The directory is written to so often although nothing has changed, so that it tells how long its node was away: short
/// beside the 30 days after which it takes the others' records for its own.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60 * 60);

/// What may be said once what came before it is on the disk.
pub(super) enum Word {
    Receipt {
        to: ReplicaId,
        message: Message,
    },
    Answer {
        waiting: oneshot::Sender<Vec<ReplicaId>>,
        /// Who has not confirmed the change.
        unconfirmed: Vec<ReplicaId>,
    },
}

/// Where this node keeps things, and what is still to be written.
pub(crate) struct Disk {
    /// `None`: it keeps nothing, or has stopped.
    store: Mutex<Option<Store>>,
    /// `None`: it keeps nothing.
    queue: Option<Mutex<Queue>>,
    has_work: Notify,
    writes: Counter,
    failures: Counter,
}

#[derive(Default)]
struct Queue {
    /// Where records have changed, each place once however often.
    places: BTreeSet<Place>,
    /// Those that are being written.
    writing: BTreeSet<Place>,
    /// What waits for all of these.
    words: Vec<Word>,
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.places.is_empty() && self.writing.is_empty()
    }
}

impl Disk {
    pub(super) fn new(store: Option<Store>) -> Self {
        Self {
            queue: store.is_some().then(Mutex::default),
            store: Mutex::new(store),
            has_work: Notify::new(),
            writes: counter!("weir_store_writes_total"),
            failures: counter!("weir_store_write_failures_total"),
        }
    }

    /// Takes note of what is to be written, and of what may be said afterwards. Returns what may be said now.
    pub(super) fn keep(&self, places: Vec<Place>, words: Vec<Word>) -> Vec<Word> {
        let Some(mut queue) = self.queue() else {
            return words;
        };
        queue.places.extend(places);
        if queue.is_idle() {
            return words;
        }
        queue.words.extend(words);
        drop(queue);
        self.has_work.notify_one();
        Vec::new()
    }

    fn queue(&self) -> Option<MutexGuard<'_, Queue>> {
        let queue = self.queue.as_ref()?;
        Some(queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written next, and what waits for it.
    fn take(&self) -> (BTreeSet<Place>, Vec<Word>) {
        let Some(mut queue) = self.queue() else {
            return Default::default();
        };
        queue.writing = mem::take(&mut queue.places);
        (queue.writing.clone(), mem::take(&mut queue.words))
    }

    fn is_idle(&self) -> bool {
        self.queue().is_none_or(|queue| queue.is_idle())
    }

    fn has_written(&self) {
        if let Some(mut queue) = self.queue() {
            queue.writing.clear();
        }
    }

    /// What was being written is to be written still.
    fn take_back(&self) {
        if let Some(mut queue) = self.queue() {
            let mut writing = mem::take(&mut queue.writing);
            queue.places.append(&mut writing);
        }
    }

    /// Lets go of the directory, so that another may open it. Nothing is written any more.
    pub(super) fn close(&self) {
        drop(self.store().take());
    }
}

/// What a node starts with.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) store: Option<Store>,
    pub(super) kept: Kept,
    pub(super) counts: KeptCounts,
}

/// What a node found in its directory.
#[derive(Default)]
pub(super) struct Kept {
    records: Vec<(Address, Record)>,
    /// When it was last written to, in milliseconds since the Unix epoch.
    written_at: Option<u64>,
}

/// Opens the data directory of a node that has one, and gives back what it was asked with.
pub(super) async fn open(config: ClusterConfig) -> Result<(ClusterConfig, Opened), OpenError> {
    blocking(move || {
        let Some(path) = &config.data_dir else {
            return Ok((config, Opened::default()));
        };
        let secret = config.cookie.secret("data directory");
        let cluster = std::array::from_fn(|place| secret[place]);
        let (store, log, kept) = Store::open(path, cluster)?;
        let counts = counts::read(log, &kept.counts)?;
        let records = kept.records.iter().map(|bytes| wire::decode_record(bytes));
        let records = records.collect::<Result<_, _>>();
        let records = records.map_err(|error| store.corrupt(error.to_string()))?;
        let kept = Kept {
            records,
            written_at: kept.written_at,
        };
        let opened = Opened {
            store: Some(store),
            kept,
            counts,
        };
        Ok((config, opened))
    })
    .await
}

impl Cluster {
    /// Takes in what this node kept, before it hears of anybody. Returns what it is to take in if nobody else is there: it
    /// was away for so long that others may have forgotten what they removed.
    pub(super) fn load(&self, kept: Kept) -> Kept {
        let live = TOMBSTONES_LIVE.get() / 1_000_000;
        let now = self.millis();
        if kept.written_at.is_some_and(|at| at + live < now) {
            return kept;
        }
        self.load_all(kept);
        Kept::default()
    }

    /// Takes in what this node kept.
    pub(super) fn load_all(&self, kept: Kept) {
        if kept.records.is_empty() {
            return;
        }
        let count = kept.records.len();
        self.with_records(|state, now| {
            for (address, record) in kept.records {
                self.inner.records.on_limit(record.content());
                state.catalogue.load(now, address, record);
            }
        });
        tracing::info!(records = count, "what was set at run time is back");
    }

    /// This node joins others, who know better than what it kept.
    pub(super) async fn forget_all(&self, kept: Kept) {
        if kept.records.is_empty() {
            return;
        }
        tracing::warn!(
            records = kept.records.len(),
            "away for longer than it is remembered what was removed, taking what the others have"
        );
        let cluster = self.clone();
        let cleared = blocking(move || match &mut *cluster.inner.disk.store() {
            Some(store) => store.clear(cluster.millis()),
            None => Ok(()),
        });
        if let Err(error) = cleared.await {
            note_failure(&error);
        }
    }

    fn millis(&self) -> u64 {
        self.inner.clock.now().wall.get() / 1_000_000
    }

    /// Writes what comes up, as long as the node lives.
    pub(super) async fn keep_records(self) {
        let disk = &self.inner.disk;
        // A task before may have failed while it wrote.
        disk.take_back();
        let mut failed = false;
        while !self.inner.is_stopped() || !disk.is_idle() {
            let (places, mut words) = disk.take();
            if places.is_empty() && !failed {
                // They came while what they rest on was written.
                self.confirm(mem::take(&mut words));
                let has_work = disk.has_work.notified();
                if tokio::time::timeout(SIGN_OF_LIFE, has_work).await.is_ok() {
                    continue;
                }
            }
            let cluster = self.clone();
            let written = blocking(move || cluster.write(&places)).await;
            match written {
                Ok(()) => {
                    disk.has_written();
                    disk.writes.increment(1);
                    if mem::take(&mut failed) {
                        tracing::info!("the data directory takes changes again");
                    }
                    self.confirm(words);
                }
                Err(error) => {
                    disk.take_back();
                    if !mem::replace(&mut failed, true) {
                        note_failure(&error);
                    }
                    disk.failures.increment(1);
                    self.confirm_unwritten(words);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Writes what lies at these places now. Blocks.
    fn write(&self, places: &BTreeSet<Place>) -> Result<(), WriteError> {
        let changes: Vec<Change> = {
            let state = self.inner.records.read();
            let change = |place: &Place| Change {
                place: place.to_bytes().to_vec(),
                bytes: state
                    .catalogue
                    .record_at(*place)
                    .map(|(address, record)| wire::encode_record(address, record).to_vec()),
            };
            places.iter().map(change).collect()
        };
        match &mut *self.inner.disk.store() {
            Some(store) => store.write(&changes, self.millis()),
            None => Ok(()),
        }
    }

    /// Others get no receipts, so that they say it again; whoever changed something hears that this node has not kept it.
    fn confirm_unwritten(&self, mut words: Vec<Word>) {
        words.retain_mut(|word| match word {
            Word::Receipt { .. } => false,
            Word::Answer { unconfirmed, .. } => {
                unconfirmed.push(self.inner.me);
                true
            }
        });
        self.confirm(words);
    }
}

fn note_failure(error: &WriteError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(
        %error,
        cause = cause.unwrap_or_default(),
        "the data directory takes no changes: they are in force and not kept, trying again every second"
    );
}

/// Does what blocks where that is allowed, and panics if it panics.
pub(super) async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(act).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
