//! Several versions of one cell, counted as one.
//!
//! Versions of a fork share a past and differ in what each side added since. Each version's count is brought up to
//! date with what the others added beyond it, and the strictest of these counts is the answer. What the others added
//! is told by the slots: of each term the newest slot of all versions, less what this version has of that term.
//!
//! - Fixed windows: exact. The units left are the limit less the past, less what each side added. A window that had
//!   ended when another began says nothing beside it, whatever the clock here says.
//! - Logs unite by stamp: exact. An entry that one side knew and no longer has was given back, and stays so; of an
//!   entry that two sides gave back in part, the smaller rest counts.
//! - GCRA and leaky bucket: never less than a single node would count that knew all hits, as long as each side's cell is
//!   held and none of them was full again by itself and then went on. Where slots tell exactly what each side added, the
//!   least strict of the counts that have this property ([`draining`]). Both sides drained at the full rate, so after a
//!   long partition the sum would be a debt as long as the partition: at most one burst is counted for each further
//!   side. Refunds on both sides that together exceed what the past left count in full.
//! - Sliding counters: what another side added since the fork is no more than what its two windows hold, and what its
//!   current window does not hold goes into the previous. Exact for hits.
//! - Versions of different algorithms or periods, after a change of the limit during the fork: what the others added
//!   counts as added now.

use quota::{Algorithm, Count, Limit, Log, LogEntry, SlidingCounter, Stamp, UnixNanos};
use smallvec::SmallVec;

use crate::cell::Cell;
use crate::cells::Fault;
use crate::version::{Slot, Slots, Version};
use draining::drain_together;
pub(crate) use draining::{had_drained, strictest};
use merged::Merged;

mod draining;
mod merged;

/// A cell as one version would say it.
pub(crate) struct Folded {
    pub(crate) count: Count,
    pub(crate) slots: Slots,
    pub(crate) forgiven: Vec<Slot>,
}

/// Who writes a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// One owner after another, but for forks.
    Owners,
    /// Many at once. Their slots go on from one fill to the next, and say less exactly who added what since when.
    Many,
}

/// What the versions of `cell` come to; `None` if that is nothing any more.
pub(crate) fn fold(
    cell: Cell,
    limit: &Limit,
    now: UnixNanos,
    writers: Writers,
    fault: Option<Fault>,
) -> Option<Folded> {
    let cell = match cell.into_only() {
        Ok(version) => {
            let is_live = version.is_live(now);
            let (count, slots, forgiven) = version.into_parts();
            return is_live.then_some(Folded {
                count,
                slots,
                forgiven,
            });
        }
        Err(cell) => cell,
    };
    if cell.is_draining_fork() && fault.is_none() {
        return drain_together(cell.versions(), limit, now, writers);
    }
    let live = cell.into_versions().filter(|v| v.is_live(now)).collect();
    fold_live(live, limit, now, fault)
}

/// What versions that are not expired come to; `None` if there are none.
fn fold_live(
    mut live: SmallVec<[Version; 2]>,
    limit: &Limit,
    now: UnixNanos,
    fault: Option<Fault>,
) -> Option<Folded> {
    let all = Merged::of(&live);
    let latest = live
        .iter()
        .map(Version::count)
        .max_by_key(|count| count.expires_at())?
        .clone();
    // Over for whoever began the next window by a clock that is ahead.
    live.retain(|version| !version.count().ended_before(&latest));
    let merged = Merged::of(&live);
    let count = unite_logs(&live).or_else(|| {
        let counts = live.iter().map(|version| {
            let units = match fault {
                Some(Fault::FoldCountsPastTwice) => total(&live, version),
                None => merged.missing_from(version),
            };
            with_missing(version, &live, units, limit, now)
        });
        counts.reduce(|a, b| a.stricter(b, limit, now))
    })?;
    Some(Folded {
        count,
        slots: all.slots,
        forgiven: all.forgiven,
    })
}

/// All that the versions of `cell` know of, those that are full again too, and what was forgiven of it.
pub(crate) fn whole_context(cell: &Cell) -> (Slots, Vec<Slot>) {
    let merged = Merged::of(cell.versions());
    (merged.slots, merged.forgiven)
}

/// The fault: everything that the others ever added.
fn total(live: &[Version], version: &Version) -> i64 {
    let others = live.iter().filter(|other| *other != version);
    others
        .flat_map(Version::slots)
        .map(|slot| slot.added.units())
        .sum()
}

/// The count of `version` with `units` that only the others have.
fn with_missing(
    version: &Version,
    live: &[Version],
    units: i64,
    limit: &Limit,
    now: UnixNanos,
) -> Count {
    let count = version.count();
    if let (Algorithm::Gcra | Algorithm::LeakyBucket, 0..) = (limit.algorithm(), units) {
        let others = live.len() as i64 - 1;
        let most = others.saturating_mul(i64::from(limit.burst()));
        return count.plus(limit, now, units.min(most));
    }
    let Some((theirs, end)) = windows_of_others(version, live) else {
        return count.plus(limit, now, units);
    };
    let Ok(units) = u64::try_from(units) else {
        return count.plus(limit, now, units);
    };
    let to_current = units.min(theirs.current);
    let to_previous = (units - to_current).min(theirs.previous);
    match count {
        Count::SlidingCounter(counter) => {
            let ours = Windows::at(counter, end);
            let current = narrow(ours.current + to_current);
            let previous = narrow(ours.previous + to_previous);
            let counter = SlidingCounter::new(end, current, previous, counter.period());
            Count::SlidingCounter(counter.expect("the period comes from a counter"))
        }
        _ => {
            let units = i64::from(narrow(to_current + to_previous));
            count.plus(limit, now, units)
        }
    }
}

/// Units in the current window and in the one before.
#[derive(Default)]
struct Windows {
    current: u64,
    previous: u64,
}

impl Windows {
    /// What `counter` has in the window that ends at `end`, its own or a later one, and in the one before.
    fn at(counter: &SlidingCounter, end: UnixNanos) -> Self {
        let (current, previous) = (u64::from(counter.current()), u64::from(counter.previous()));
        let (current, previous) = match (end - counter.end()).get() / counter.period().get() {
            0 => (current, previous),
            1 => (0, current),
            _ => (0, 0),
        };
        Self { current, previous }
    }
}

fn narrow(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// What the other versions' sliding counters hold, told from the newest window, and where that ends.
///
/// `None` unless all that is not a reset is a sliding counter, of one period, and some other version's is.
fn windows_of_others(version: &Version, live: &[Version]) -> Option<(Windows, UnixNanos)> {
    let counters: Vec<(&Version, SlidingCounter)> = live
        .iter()
        .filter(|side| !matches!(side.count(), Count::Reset { .. }))
        .map(|side| match side.count() {
            Count::SlidingCounter(counter) => Some((side, *counter)),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let period = counters.first()?.1.period();
    if counters
        .iter()
        .any(|(_, counter)| counter.period() != period)
    {
        return None;
    }
    let end = counters.iter().map(|(_, counter)| counter.end()).max()?;
    let others = counters.iter().filter(|(side, _)| *side != version);
    let theirs = others.fold(Windows::default(), |sum, (_, counter)| {
        let windows = Windows::at(counter, end);
        Windows {
            current: sum.current + windows.current,
            previous: sum.previous + windows.previous,
        }
    });
    Some((theirs, end))
}

/// The logs of all versions as one; `None` unless each is a log or a reset, and one is a log.
fn unite_logs(live: &[Version]) -> Option<Count> {
    let logs: Vec<(&Version, Option<&Log>)> = live
        .iter()
        .map(|version| match version.count() {
            Count::SlidingLog(log) => Some((version, Some(&**log))),
            Count::Reset { .. } => Some((version, None)),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let period = logs
        .iter()
        .filter_map(|(_, log)| Some(log.as_ref()?.period()))
        .max()?;

    let mut entries: Vec<(Stamp, usize, LogEntry)> = Vec::new();
    for (side, (_, log)) in logs.iter().enumerate() {
        let own = log.iter().flat_map(|log| log.entries());
        entries.extend(own.map(|&entry| (entry.stamp, side, entry)));
    }
    entries.sort_unstable_by_key(|&(stamp, side, _)| (stamp, side));
    let united = entries.chunk_by(|a, b| a.0 == b.0).filter_map(|copies| {
        let stamp = copies[0].0;
        let gone = |(side, (version, _)): (usize, &(&Version, _))| {
            version.knows(stamp) && copies.iter().all(|copy| copy.1 != side)
        };
        if logs.iter().enumerate().any(gone) {
            return None;
        }
        copies
            .iter()
            .map(|copy| copy.2)
            .min_by_key(|entry| entry.cost)
    });
    let log = Log::from_entries(period, united).expect("the period comes from a log");
    Some(Count::SlidingLog(Box::new(log)))
}
