//! What a counter's value in Redis says, as a count of `quota` and back.

use quota::{
    Anchor, Count, FixedWindow, Limit, Log, LogEntry, Nanos, SlidingCounter, Stamp, Tat, UnixNanos,
};

use crate::scripts::{SIGNATURE, calendar_signature, signature};

/// Nanoseconds in a microsecond, which is what Redis counts in.
const MICRO: u64 = 1_000;

/// Later than anything.
const NEVER: UnixNanos = UnixNanos::new(u64::MAX);

/// The count that `state` holds. `None` for the empty state, and an error for bytes that no script of ours wrote.
pub(crate) fn decoded(state: &[u8]) -> Result<Option<Count>, Malformed> {
    if state.is_empty() {
        return Ok(None);
    }
    let count = count(state, NEVER).ok_or(Malformed)?;
    Ok(Some(count))
}

/// The count that `state` holds as of `now`: what was written while the clock was ahead is taken for written now, so that
/// it drains in no more time than a spent key takes.
pub(crate) fn decoded_by(state: &[u8], now: UnixNanos) -> Result<Option<Count>, Malformed> {
    if state.is_empty() {
        return Ok(None);
    }
    count(state, now).ok_or(Malformed).map(Some)
}

/// Not a state: a value that somebody else wrote, or another version of Weir.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// What is from after `latest` is taken for that instant's, or for its window's.
fn count(state: &[u8], latest: UnixNanos) -> Option<Count> {
    let (signature, numbers) = state.split_at_checked(SIGNATURE)?;
    let kind = signature[0];
    let units = u32::from_le_bytes(signature[1..5].try_into().ok()?);
    let period_ms = u64::from_le_bytes(signature[5..].try_into().ok()?);
    let period = Nanos::from_millis(period_ms);
    let (numbers, &[]) = numbers.as_chunks::<8>() else {
        return None;
    };
    let numbers: Vec<u64> = numbers
        .iter()
        .map(|n| f64::from_le_bytes(*n) as u64)
        .collect();
    match (kind, &numbers[..]) {
        (b'g', numbers) => tat(numbers, units, period, latest).map(Count::Gcra),
        (b'b', numbers) => tat(numbers, units, period, latest).map(Count::LeakyBucket),
        (b'w', &[end, used]) => {
            let end = instant(end).min(latest + period);
            FixedWindow::new(end, clamped(used), period).map(Count::FixedWindow)
        }
        (b'k', &[end, used, length]) => {
            let length = Nanos::new(length.saturating_mul(MICRO));
            let end = instant(end).min(latest + length);
            FixedWindow::new(end, clamped(used), length).map(Count::FixedWindow)
        }
        (b'c', &[end, current, previous]) => {
            let end = instant(end).min(window_end(latest, period)?);
            SlidingCounter::new(end, clamped(current), clamped(previous), period)
                .map(Count::SlidingCounter)
        }
        (b'l', [dropped, from, entries @ ..]) => {
            let log = log(*dropped, *from, entries, period, latest)?;
            Some(Count::SlidingLog(Box::new(log)))
        }
        _ => None,
    }
}

/// When the epoch-aligned window that holds `now` ends.
fn window_end(now: UnixNanos, period: Nanos) -> Option<UnixNanos> {
    let into = now.get().checked_rem(period.get())?;
    Some(now - Nanos::new(into) + period)
}

fn tat(numbers: &[u64], units: u32, period: Nanos, latest: UnixNanos) -> Option<Tat> {
    let &[at, whole, ticks, rest] = numbers else {
        return None;
    };
    // In ticks of 1 / units of a nanosecond, of which a unit has `period`.
    let (units_wide, unit) = (u128::from(units), u128::from(period.get()));
    let level = u128::from(whole) * unit + u128::from(ticks) * u128::from(MICRO) + u128::from(rest);
    let at = instant(at).min(latest);
    let all = u128::from(at.get()) * units_wide + level;
    let at = u64::try_from(all.checked_div(units_wide)?).unwrap_or(u64::MAX);
    Tat::new(UnixNanos::new(at), (all % units_wide) as u32, units, period)
}

fn log(dropped: u64, from: u64, entries: &[u64], period: Nanos, latest: UnixNanos) -> Option<Log> {
    let (entries, &[]) = entries.as_chunks::<2>() else {
        return None;
    };
    let mut before = from;
    let live = entries.get(usize::try_from(dropped).ok()?..)?;
    let entries = live.iter().enumerate().map(|(i, &[at, sum])| {
        let cost = clamped(sum.saturating_sub(before));
        before = sum;
        LogEntry {
            at: instant(at).min(latest),
            cost,
            // Not all zero, and another for each: a log keeps one entry of a stamp.
            stamp: Stamp {
                term: 1,
                seq: i as u64,
            },
        }
    });
    Log::from_entries(period, entries)
}

/// The state that holds `count` at `now`, and the milliseconds until it says nothing more. `None` for a count of nothing.
pub(crate) fn encoded(count: &Count, limit: &Limit, now: UnixNanos) -> Option<(Vec<u8>, u64)> {
    if count.used(limit, now) == 0 {
        return None;
    }
    let (kind, units, period, numbers) = match count {
        Count::Gcra(tat) => (b'g', tat.units(), tat.period(), level(tat, now)),
        Count::LeakyBucket(tat) => (b'b', tat.units(), tat.period(), level(tat, now)),
        Count::FixedWindow(window) => {
            let mut numbers = vec![micros(window.end()), u64::from(window.used())];
            if let Anchor::Calendar(calendar) = limit.anchor()
                && calendar.unit.may_last(window.period())
            {
                numbers.push(window.period().get() / MICRO);
                let state = written(calendar_signature(calendar.unit), &numbers);
                return Some((state, (window.end() - now).ceil_millis()));
            }
            (b'w', 0, window.period(), numbers)
        }
        Count::SlidingCounter(counter) => {
            let numbers = vec![
                micros(counter.end()),
                u64::from(counter.current()),
                u64::from(counter.previous()),
            ];
            (b'c', 0, counter.period(), numbers)
        }
        Count::SlidingLog(log) => (b'l', 0, log.period(), sums(log)),
        Count::Reset { .. } => return None,
    };
    let state = written(signature(kind, units, period.ceil_millis()), &numbers);
    Some((state, (count.expires_at() - now).ceil_millis()))
}

fn written(signature: [u8; SIGNATURE], numbers: &[u64]) -> Vec<u8> {
    let mut state = signature.to_vec();
    state.extend(numbers.iter().flat_map(|&n| (n as f64).to_le_bytes()));
    state
}

/// As `gcra.lua` keeps it.
fn level(tat: &Tat, now: UnixNanos) -> Vec<u64> {
    let units = u128::from(tat.units());
    let all = u128::from(tat.at().get()) * units + u128::from(tat.fraction());
    let level = all.saturating_sub(u128::from(now.get()) * units);
    let unit = u128::from(tat.period().get());
    let started = (level % unit) as u64;
    let whole = u64::try_from(level / unit).unwrap_or(u64::MAX);
    vec![micros(now), whole, started / MICRO, started % MICRO]
}

/// As `sliding_log.lua` keeps it.
fn sums(log: &Log) -> Vec<u64> {
    let mut numbers = vec![0, 0];
    let mut sum = 0;
    for entry in log.entries() {
        sum += u64::from(entry.cost);
        numbers.extend([micros(entry.at), sum]);
    }
    numbers
}

pub(crate) fn instant(micros: u64) -> UnixNanos {
    UnixNanos::new(micros.saturating_mul(MICRO))
}

const fn micros(instant: UnixNanos) -> u64 {
    instant.get() / MICRO
}

fn clamped(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}
