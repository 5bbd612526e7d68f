//! Snapshots of the state: made beside the machine, kept in memory, sent in parts, and saved when there is a directory.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use openraft::RaftSnapshotBuilder;

use super::types::{Snapshot, SnapshotMeta, Types};
use crate::machine::Frozen;
use crate::meter::SnapshotMeter;
use crate::saved::Saver;

/// The latest snapshot. Clones share it.
#[derive(Clone)]
pub(crate) struct Shelf {
    latest: Arc<Mutex<Option<Snapshot>>>,
    saver: Option<Saver>,
    pub(super) meter: SnapshotMeter,
}

impl Shelf {
    pub(crate) fn new(saver: Option<Saver>, meter: SnapshotMeter) -> Self {
        Self {
            latest: Arc::default(),
            saver,
            meter,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Snapshot>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn latest(&self) -> Option<Snapshot> {
        self.lock().clone()
    }

    /// What the latest snapshot takes, and the last index in it.
    pub(crate) fn size(&self) -> (usize, u64) {
        self.lock().as_ref().map_or((0, 0), |snapshot| {
            let bytes = snapshot.snapshot.iter().map(Bytes::len).sum();
            (bytes, snapshot.meta.last_log_id.map_or(0, |id| id.index))
        })
    }

    /// Keeps `snapshot`, unless a newer one is there.
    pub(crate) async fn put(&self, snapshot: Snapshot) {
        {
            let mut latest = self.lock();
            if let Some(latest) = &*latest
                && snapshot.meta.last_log_id < latest.meta.last_log_id
            {
                return;
            }
            *latest = Some(snapshot.clone());
        }
        if let Some(saver) = &self.saver {
            let index = snapshot.meta.last_log_id.map_or(0, |id| id.index);
            saver.save(index, snapshot.snapshot).await;
        }
    }
}

impl Shelf {
    /// Waits until the latest snapshot is in its file.
    pub(crate) async fn saved(&self) {
        if let (Some(saver), Some(snapshot)) = (&self.saver, self.latest()) {
            let index = snapshot.meta.last_log_id.map_or(0, |id| id.index);
            saver.save(index, snapshot.snapshot).await;
        }
    }
}

/// Makes one snapshot, of the state as it was when this was made.
pub(crate) struct Builder {
    pub(super) meta: SnapshotMeta,
    pub(super) frozen: Option<Frozen>,
    pub(super) shelf: Shelf,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Vec<Bytes>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let frozen = self
            .frozen
            .take()
            .ok_or_else(|| io::Error::other("built twice"))?;
        let snapshot = Snapshot {
            meta: self.meta.clone(),
            snapshot: frozen.parts().await,
        };
        self.shelf.meter.built.increment(1);
        self.shelf.put(snapshot.clone()).await;
        Ok(snapshot)
    }
}
