//! Cells: what is counted for a key, and which writes that includes.

use delta_crdt::{Added, Cell, ReplicaId, Slot, Term, Version};
use quota::{
    Count, FixedWindow, KeyHash, Log, LogEntry, Nanos, SlidingCounter, Stamp, Tat, UnixNanos,
};
use serde::{Deserialize, Serialize};

use super::encoding::{Reader, Writer};
use super::{VERSION, WireError};

/// Number, replica, sequence and added units.
const SLOT_BYTES_MIN: usize = 4;
/// A reset, one slot, and nothing forgiven.
const VERSION_BYTES_MIN: usize = 2 + 1 + SLOT_BYTES_MIN + 1;
/// A key and one version.
pub(super) const CELL_BYTES_MIN: usize = 16 + 1 + VERSION_BYTES_MIN;
/// Instant, cost and stamp.
const ENTRY_BYTES_MIN: usize = 4;

/// Joining a cell compares each of its versions with each. More sides than this never counted one key apart.
const VERSIONS_MAX: usize = 256;

pub(super) fn put_cells(out: &mut Writer<'_>, version: u8, cells: &[(KeyHash, Cell)]) {
    out.list(cells, |out, (key, cell)| put_cell(out, version, *key, cell));
}

pub(super) fn put_cell(out: &mut Writer<'_>, version: u8, key: KeyHash, cell: &Cell) {
    out.raw(&key.get().to_le_bytes());
    if VERSION <= version {
        out.raw(&[u8::from(cell.is_kept())]);
    }
    out.list(cell.versions(), |out, version| {
        put_count(out, version.count());
        for slots in [version.slots(), version.forgiven()] {
            out.list(slots, |out, slot| out.item(&WireSlot::from(slot)));
        }
    });
}

pub(super) fn cells(
    input: &mut Reader<'_>,
    version: u8,
) -> Result<Vec<(KeyHash, Cell)>, WireError> {
    input.list("cells", CELL_BYTES_MIN, |input| cell(input, version))
}

/// A key and its cell.
pub(super) fn cell(input: &mut Reader<'_>, form: u8) -> Result<(KeyHash, Cell), WireError> {
    let key = KeyHash::new(u128::from_le_bytes(input.raw("key")?));
    let is_kept = VERSION <= form && flag(input, "kept")?;
    let versions = input.list("versions", VERSION_BYTES_MIN, version)?;
    let out_of_bounds = WireError::OutOfBounds { what: "cell" };
    if VERSIONS_MAX < versions.len() {
        return Err(out_of_bounds);
    }
    let cell = Cell::new(versions).ok_or(out_of_bounds)?;
    Ok((key, cell.with_kept(is_kept)))
}

/// A byte that says yes or no.
pub(super) fn flag(input: &mut Reader<'_>, what: &'static str) -> Result<bool, WireError> {
    match input.byte(what)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Malformed { what }),
    }
}

fn version(input: &mut Reader<'_>) -> Result<Version, WireError> {
    let count = count(input)?;
    let written = slots(input)?;
    let forgiven = slots(input)?;
    Version::new(count, written, forgiven).ok_or(WireError::OutOfBounds { what: "version" })
}

fn slots(input: &mut Reader<'_>) -> Result<Vec<Slot>, WireError> {
    input.list("slots", SLOT_BYTES_MIN, |input| {
        Ok(input.item::<WireSlot>("slot")?.into())
    })
}

fn put_count(out: &mut Writer<'_>, count: &Count) {
    out.item(&WireCount::from(count));
    if let Count::SlidingLog(log) = count {
        let mut before = UnixNanos::ZERO;
        out.list(log.entries(), |out, entry| {
            out.item(&WireEntry {
                after_ns: (entry.at - before).get(),
                cost: entry.cost,
                term: entry.stamp.term,
                seq: entry.stamp.seq,
            });
            before = entry.at;
        });
    }
}

fn count(input: &mut Reader<'_>) -> Result<Count, WireError> {
    let what = "count";
    let count = match input.item::<WireCount>(what)? {
        WireCount::Gcra(tat) => tat.to_tat().map(Count::Gcra),
        WireCount::LeakyBucket(tat) => tat.to_tat().map(Count::LeakyBucket),
        WireCount::FixedWindow {
            end_ns,
            used,
            period_ms,
        } => FixedWindow::new(UnixNanos::new(end_ns), used, Nanos::from_millis(period_ms))
            .map(Count::FixedWindow),
        WireCount::SlidingCounter {
            end_ns,
            current,
            previous,
            period_ms,
        } => {
            let (end, period) = (UnixNanos::new(end_ns), Nanos::from_millis(period_ms));
            SlidingCounter::new(end, current, previous, period).map(Count::SlidingCounter)
        }
        WireCount::SlidingLog { period_ms } => {
            Log::from_entries(Nanos::from_millis(period_ms), entries(input)?)
                .map(|log| Count::SlidingLog(Box::new(log)))
        }
        WireCount::Reset { until_ns } => Some(Count::Reset {
            until: UnixNanos::new(until_ns),
        }),
    };
    count.ok_or(WireError::OutOfBounds { what })
}

fn entries(input: &mut Reader<'_>) -> Result<Vec<LogEntry>, WireError> {
    let mut before = UnixNanos::ZERO;
    input.list("log", ENTRY_BYTES_MIN, |input| {
        let entry: WireEntry = input.item("log entry")?;
        let at = before + Nanos::new(entry.after_ns);
        before = at;
        Ok(LogEntry {
            at,
            cost: entry.cost,
            stamp: Stamp {
                term: entry.term,
                seq: entry.seq,
            },
        })
    })
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireTerm {
    number: u32,
    replica: u32,
}

impl From<Term> for WireTerm {
    fn from(term: Term) -> Self {
        Self {
            number: term.number,
            replica: term.replica.0,
        }
    }
}

impl From<WireTerm> for Term {
    fn from(wire: WireTerm) -> Self {
        Self {
            number: wire.number,
            replica: ReplicaId(wire.replica),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WireSlot {
    term: WireTerm,
    seq: u64,
    /// [`Added::bits`].
    added: i64,
}

impl From<&Slot> for WireSlot {
    fn from(slot: &Slot) -> Self {
        Self {
            term: slot.term.into(),
            seq: slot.seq,
            added: slot.added.bits(),
        }
    }
}

impl From<WireSlot> for Slot {
    fn from(wire: WireSlot) -> Self {
        Self {
            term: wire.term.into(),
            seq: wire.seq,
            added: Added::from_bits(wire.added),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum WireCount {
    Gcra(WireTat),
    LeakyBucket(WireTat),
    FixedWindow {
        end_ns: u64,
        used: u32,
        period_ms: u64,
    },
    SlidingCounter {
        end_ns: u64,
        current: u32,
        previous: u32,
        period_ms: u64,
    },
    /// A list of [`WireEntry`] follows.
    SlidingLog {
        period_ms: u64,
    },
    Reset {
        until_ns: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct WireTat {
    at_ns: u64,
    fraction: u32,
    units: u32,
    period_ms: u64,
}

/// One hit of a log.
#[derive(Serialize, Deserialize)]
struct WireEntry {
    /// Since the entry before, which halves a log: an instant takes nine bytes.
    after_ns: u64,
    cost: u32,
    term: u64,
    seq: u64,
}

impl From<&Count> for WireCount {
    fn from(count: &Count) -> Self {
        match count {
            Count::Gcra(tat) => Self::Gcra(tat.into()),
            Count::LeakyBucket(tat) => Self::LeakyBucket(tat.into()),
            Count::FixedWindow(window) => Self::FixedWindow {
                end_ns: window.end().get(),
                used: window.used(),
                period_ms: window.period().ceil_millis(),
            },
            Count::SlidingCounter(counter) => Self::SlidingCounter {
                end_ns: counter.end().get(),
                current: counter.current(),
                previous: counter.previous(),
                period_ms: counter.period().ceil_millis(),
            },
            Count::SlidingLog(log) => Self::SlidingLog {
                period_ms: log.period().ceil_millis(),
            },
            Count::Reset { until } => Self::Reset {
                until_ns: until.get(),
            },
        }
    }
}

impl From<&Tat> for WireTat {
    fn from(tat: &Tat) -> Self {
        Self {
            at_ns: tat.at().get(),
            fraction: tat.fraction(),
            units: tat.units(),
            period_ms: tat.period().ceil_millis(),
        }
    }
}

impl WireTat {
    fn to_tat(&self) -> Option<Tat> {
        let (at, period) = (
            UnixNanos::new(self.at_ns),
            Nanos::from_millis(self.period_ms),
        );
        Tat::new(at, self.fraction, self.units, period)
    }
}
