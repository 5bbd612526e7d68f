//! The log, in memory.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};

use super::types::{Entry, LogId, Types, Vote};

/// Entries of one append request are cut at this size, so that it stays below the 1 MiB of a call: one entry is
/// at most half of that.
const APPEND_BYTES_MAX: usize = 384 * 1024;

/// Besides its payload.
const ENTRY_BYTES: usize = 64;

/// A log that lives as long as the incarnation that its node id names. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct LogStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Without gaps, from the one after `purged`.
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl LogStore {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the entries take.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// What the entries after `index` take: those that no snapshot has.
    pub(crate) fn bytes_after(&self, index: u64) -> usize {
        self.lock().range(index + 1..).map(bytes_of).sum()
    }

    /// How many entries are held.
    pub(crate) fn entries(&self) -> usize {
        self.lock().entries.len()
    }

    /// Term and index of the last entry.
    pub(crate) fn last(&self) -> (u64, u64) {
        let last = self.lock().last();
        last.map_or((0, 0), |id| (id.leader_id.term, id.index))
    }

    /// The payloads after `applied`, whether or not they are known to be committed.
    pub(crate) fn proposals_after(&self, applied: Option<u64>) -> Vec<bytes::Bytes> {
        let inner = self.lock();
        let entries = inner.entries.iter();
        entries
            .filter(|entry| applied.is_none_or(|applied| applied < entry.log_id.index))
            .filter_map(|entry| match &entry.payload {
                EntryPayload::Normal(proposal) => Some(proposal.0.clone()),
                _ => None,
            })
            .collect()
    }
}

impl Inner {
    fn first(&self) -> u64 {
        self.purged.as_ref().map_or(0, |id| id.index + 1)
    }

    fn last(&self) -> Option<LogId> {
        self.entries
            .back()
            .map(|entry| entry.log_id)
            .or(self.purged)
    }

    fn range(&self, range: impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let first = self.first();
        let from = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => first,
        };
        let to = match range.end_bound() {
            Bound::Included(&index) => index + 1,
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        let len = self.entries.len() as u64;
        let from = from.saturating_sub(first).min(len);
        let to = to.saturating_sub(first).min(len).max(from);
        self.entries.range(from as usize..to as usize)
    }
}

fn bytes_of(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.0.len(),
        _ => 0,
    };
    ENTRY_BYTES + payload
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.lock().range(range).cloned().collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let inner = self.lock();
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes += bytes_of(entry);
            is_first || bytes <= APPEND_BYTES_MAX
        };
        Ok(inner.range(start..end).take_while(fits).cloned().collect())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let inner = self.lock();
        Ok(LogState {
            last_purged_log_id: inner.purged,
            last_log_id: inner.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        {
            let mut inner = self.lock();
            for entry in entries {
                inner.bytes += bytes_of(&entry);
                inner.entries.push_back(entry);
            }
        }
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let mut inner = self.lock();
        let keep = last.map_or(0, |id| id.index + 1);
        while let Some(entry) = inner.entries.back()
            && keep <= entry.log_id.index
        {
            inner.bytes -= bytes_of(entry);
            inner.entries.pop_back();
        }
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut inner = self.lock();
        while let Some(entry) = inner.entries.front()
            && entry.log_id.index <= upto.index
        {
            inner.bytes -= bytes_of(entry);
            inner.entries.pop_front();
        }
        inner.purged = inner.purged.max(Some(upto));
        Ok(())
    }
}
