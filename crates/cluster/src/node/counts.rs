//! Counts that outlive all nodes, in the data directory of this one.
//!
//! What is written and what is taken back, `kept_counts` decides. Here one task has it write twice a second; a hit waits for
//! none of that: a shard is locked for as long as it takes to copy what changed. A disk that is full or broken stops no
//! decision.

mod log;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delta_crdt::Cell;
use kept_counts::{Kept, Rules, Shards, Writer};
use membership::Member;
use metrics::{Counter, counter};
use quota::{Count, KeyHash, Nanos, Now};
use shard::{Shard, ShardId};
use store::{Log, LogError, OpenError, Places};

use self::log::{CountsLog, MEMBERS};
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
    kept: Kept,
}

impl KeptCounts {
    /// Who counted when this was last written.
    pub(super) fn members(&self) -> &[Member] {
        &self.kept.members
    }
}

/// Makes sense of what a log says.
pub(super) fn read(log: Log, places: &Places) -> Result<KeptCounts, OpenError> {
    let corrupt = |error: &wire::WireError| log.corrupt(error.to_string());
    let mut kept = Kept::default();
    let mut length = 0;
    for (place, bytes) in places {
        length += (place.len() + bytes.len()) as u64;
        match &**place {
            MEMBERS => {
                kept.members = wire::decode_roster(bytes).map_err(|error| corrupt(&error))?;
            }
            _ => kept
                .cells
                .push(wire::decode_kept(bytes).map_err(|error| corrupt(&error))?),
        }
    }
    let before = spared_since(&kept.cells);
    kept.cells.extend(before);
    Ok(KeptCounts {
        log: Some(log),
        bytes: length,
        kept,
    })
}

/// How long the day of a tenant is remembered, which is the period of its limit.
const DAY_KEPT: Nanos = Nanos::from_secs(40 * 24 * 60 * 60);

/// What an earlier version may have counted of the days of tenants, under the keys that they have been counted under since they are
/// [spared](KeyHash::spared). By its period alone such a count cannot be told from one of somebody's own limit of 40 days: of that
/// there is a copy then which nobody asks for, until it would have ended.
fn spared_since(cells: &[(KeyHash, Cell)]) -> Vec<(KeyHash, Cell)> {
    let known: HashSet<KeyHash> = cells
        .iter()
        .map(|(key, _)| *key)
        .filter(|key| key.is_spared())
        .collect();
    let is_day = |cell: &Cell| {
        cell.versions().iter().all(|version| match version.count() {
            Count::FixedWindow(window) => window.period() == DAY_KEPT,
            _ => false,
        })
    };
    let before = cells
        .iter()
        .filter(|(key, cell)| !known.contains(&key.spared()) && is_day(cell));
    before
        .map(|(key, cell)| (key.spared(), cell.clone()))
        .collect()
}

/// The log, and what is to be written to it.
struct Writing {
    writer: Writer,
    log: CountsLog,
}

/// The log of this node, and how far it has been written.
pub(crate) struct Counts {
    /// Held by whoever writes, for as long as that takes; by nobody else but at start and end.
    writing: Mutex<Option<Writing>>,
    /// Nothing is left that this node had kept and the owners of its shards do not have.
    has_told: AtomicBool,
    writes: Counter,
    failures: Counter,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            writing: Mutex::new(None),
            has_told: AtomicBool::new(true),
            writes: counter!("weir_counts_writes_total"),
            failures: counter!("weir_counts_write_failures_total"),
        }
    }

    fn writing(&self) -> MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the directory. Nothing is written any more.
    pub(super) fn close(&self) {
        drop(self.writing().take());
    }
}

impl Cluster {
    /// Takes in what this node kept, before it hears of anybody.
    pub(super) fn load_counts(&self, kept: KeptCounts) {
        let KeptCounts { log, bytes, kept } = kept;
        let Some(log) = log else { return };
        let Kept { members, cells } = kept;
        let loaded = kept_counts::take_back(&mut OfNode(self), cells);
        if 0 < loaded {
            self.inner.counts.has_told.store(false, Ordering::Relaxed);
            tracing::info!(keys = loaded, "what was counted is back");
        }
        *self.inner.counts.writing() = Some(Writing {
            writer: Writer::new(Rules::usual(), bytes, members),
            log: CountsLog::new(log),
        });
    }

    /// Whether the owners of all shards have what this node had kept.
    pub(super) fn is_what_was_kept_known(&self) -> bool {
        let counts = &self.inner.counts;
        if counts.has_told.load(Ordering::Relaxed) {
            return true;
        }
        let all_known = kept_counts::is_known(&mut OfNode(self));
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
            let writing = self.inner.counts.writing();
            if !writing.as_ref().is_some_and(|it| it.writer.is_rewriting()) {
                return;
            }
        }
    }

    async fn write_counts(&self) -> Result<(), LogError> {
        let cluster = self.clone();
        blocking(move || match &mut *cluster.inner.counts.writing() {
            Some(Writing { writer, log }) => writer.write(log, &mut OfNode(&cluster)),
            None => Ok(()),
        })
        .await
    }
}

/// What this node has, as it is written down.
struct OfNode<'a>(&'a Cluster);

impl Shards for OfNode<'_> {
    fn count(&self) -> u16 {
        SHARDS
    }

    fn with<R>(&mut self, shard: ShardId, act: impl FnOnce(&mut Shard, Now) -> R) -> Option<R> {
        self.0.inner.slots.with_counts(shard, act)
    }

    fn is_leaving(&self) -> bool {
        self.0.inner.draining.load(Ordering::Acquire)
    }

    fn members(&self) -> Option<Vec<Member>> {
        // Who has just founded a cluster does not know yet who comes into it.
        if self.0.inner.slots.world.load().orders.is_empty() {
            return None;
        }
        let counting = |membership: &mut membership::Membership, _| membership.counting();
        let mut members = self.0.with_membership(counting)?;
        // Nobody has to wait for who has nothing.
        let asking = self.0.asking();
        members.retain(|member| !asking.contains(&member.replica));
        Some(members)
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

#[cfg(test)]
mod tests {
    use delta_crdt::{Cells, Dot, ReplicaId, Term};
    use quota::{Algorithm, Cost, KeyHasher, Limit, UnixNanos};

    use super::*;

    #[test]
    fn the_days_of_an_earlier_version_are_found_under_the_keys_of_this_one() {
        let keys = KeyHasher::new([7; 16]);
        let key = |name: &str| keys.hash("@service", "@requests", name);
        let days = |days: u64| {
            let period = Nanos::from_secs(days * 24 * 60 * 60);
            Limit::new(Algorithm::FixedWindow, 9, period).unwrap()
        };
        let mut cells = Cells::new();
        let term = Term {
            number: 1,
            replica: ReplicaId(1),
        };
        let now = UnixNanos::new(1_790_000_000_000_000_000);
        for (number, (key, limit)) in (1..).zip([
            (key("before"), days(40)),
            (key("shorter"), days(39)),
            (key("both"), days(40)),
            (key("both").spared(), days(40)),
            (key("since").spared(), days(40)),
        ]) {
            let dot = Dot::new(term, number);
            let _counted = cells.hit(now, key, &limit, Cost::ONE, dot);
        }
        let kept: Vec<_> = cells.iter().collect();
        let before = cells.get(key("before")).unwrap();
        assert_eq!(spared_since(&kept), [(key("before").spared(), before)]);
    }
}
