//! Sliding log: every admitted hit, remembered for one period.

use std::fmt;

use crate::count::Stamp;
use crate::limit::Limit;
use crate::rate::Period;
use crate::time::{Nanos, UnixNanos};

/// One admitted hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// When it was admitted.
    pub at: UnixNanos,
    /// Units of it that still count: what it cost, less what was refunded.
    pub cost: u32,
    /// Which write it was, so that two hits of one nanosecond stay two when logs unite.
    pub stamp: Stamp,
}

/// Entries for which a log may keep room though it holds none: 512 bytes, which are not worth moving the rest for.
const SPARE_MAX: usize = 16;

/// The admitted hits of one key, oldest first.
///
/// A hit at `at` counts while `now < at + period`: the window is half open, `(now − period, now]`. Exact over every
/// window, also when clocks step back: a hit before the newest entry is entered at that entry's instant, because
/// what that entry's window no longer held has been dropped.
#[derive(Clone)]
pub struct Log {
    period: Period,
    /// Sum of the costs, so that a hit need not add them up.
    total: u64,
    /// `dropped` entries that are none any more, then the entries. Moving all of them to the front for each one
    /// that expires would make a hit on a full log of 10 000 cost microseconds.
    all: Vec<LogEntry>,
    dropped: usize,
}

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        (self.period, self.entries()) == (other.period, other.entries())
    }
}

impl Eq for Log {}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("period", &self.period())
            .field("entries", &self.entries())
            .finish()
    }
}

impl Log {
    /// A log of `entries` in any order, each of which counts for `period`.
    ///
    /// Sorts them by instant and stamp. Of several with one stamp it keeps the latest, and the costliest of those.
    /// Entries that cost nothing are left out. `None` unless `period` is in the range of [`Limit::new`].
    #[must_use]
    pub fn from_entries(
        period: Nanos,
        entries: impl IntoIterator<Item = LogEntry>,
    ) -> Option<Self> {
        let period = Period::new(period)?;
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_unstable_by_key(|e| (e.stamp, std::cmp::Reverse((e.at, e.cost))));
        entries.dedup_by_key(|e| e.stamp);
        entries.retain(|e| e.cost != 0);
        entries.sort_unstable_by_key(|e| (e.at, e.stamp));
        let total = entries.iter().map(|e| u64::from(e.cost)).sum();
        Some(Self {
            period,
            total,
            all: entries,
            dropped: 0,
        })
    }

    /// How long an entry counts.
    #[must_use]
    pub const fn period(&self) -> Nanos {
        self.period.get()
    }

    /// The entries, oldest first. Some may no longer count: they are dropped by the next admitted hit.
    #[must_use]
    pub fn entries(&self) -> &[LogEntry] {
        &self.all[self.dropped..]
    }

    /// The entries of both logs, each once, counting for the longer of the two periods.
    #[must_use]
    pub fn united(&self, other: &Self) -> Self {
        let entries = self.entries().iter().chain(other.entries()).copied();
        let period = self.period().max(other.period());
        Self::from_entries(period, entries).expect("the period comes from a log")
    }

    pub(crate) fn fresh(limit: &Limit, now: UnixNanos, units: u32, stamp: Stamp) -> Self {
        let mut log = Self {
            period: limit.rate.period(),
            total: 0,
            all: Vec::new(),
            dropped: 0,
        };
        log.push(now, units, stamp);
        log
    }

    pub(crate) fn expires_at(&self) -> UnixNanos {
        self.newest() + self.period()
    }

    fn newest(&self) -> UnixNanos {
        self.entries().last().map_or(UnixNanos::ZERO, |e| e.at)
    }

    /// How many of the oldest entries no longer count, if an entry counts for `period`.
    fn expired(&self, period: Nanos, now: UnixNanos) -> usize {
        self.entries()
            .iter()
            .take_while(|e| e.at + period <= now)
            .count()
    }

    pub(crate) fn used(&self, limit: &Limit, now: UnixNanos) -> u64 {
        self.used_within(self.shorter_period(limit), now)
    }

    /// Units that count at `now`, if an entry counts for as long as the log says.
    pub(crate) fn owed(&self, now: UnixNanos) -> u64 {
        self.used_within(self.period(), now)
    }

    fn used_within(&self, period: Nanos, now: UnixNanos) -> u64 {
        let expired = self.expired(period, now);
        let gone: u64 = self.entries()[..expired]
            .iter()
            .map(|e| u64::from(e.cost))
            .sum();
        self.total - gone
    }

    /// Bytes of the log, its entries and the room for more.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.all.capacity() * size_of::<LogEntry>()
    }

    /// The first instant with no more than `units` used.
    pub(crate) fn falls_to(&self, limit: &Limit, units: u32) -> UnixNanos {
        if units == 0 {
            return self.newest() + self.shorter_period(limit);
        }
        let mut left = self.total;
        for entry in self.entries() {
            if left <= u64::from(units) {
                break;
            }
            left -= u64::from(entry.cost);
            if left <= u64::from(units) {
                return entry.at + self.shorter_period(limit);
            }
        }
        UnixNanos::ZERO
    }

    /// A shorter period of a changed limit holds at once, since the log knows each hit's instant. A longer one
    /// waits for the next admitted hit: until then the log must expire when it said it would.
    fn shorter_period(&self, limit: &Limit) -> Nanos {
        self.period().min(limit.period())
    }

    /// Adds a hit. One before the newest is put at the newest's instant.
    pub(crate) fn push(&mut self, now: UnixNanos, cost: u32, stamp: Stamp) {
        let at = now.max(self.newest());
        self.total += u64::from(cost);
        let entry = LogEntry { at, cost, stamp };
        let place = self
            .entries()
            .partition_point(|e| (e.at, e.stamp) <= (at, stamp));
        self.all.insert(self.dropped + place, entry);
    }

    /// Removes up to `units`, the newest first.
    pub(crate) fn minus(&mut self, units: u32) {
        let mut left = units;
        while let Some(entry) = self.all[self.dropped..].last_mut()
            && left != 0
        {
            let taken = left.min(entry.cost);
            left -= taken;
            self.total -= u64::from(taken);
            entry.cost -= taken;
            if entry.cost == 0 {
                self.all.pop();
            }
        }
    }

    /// Takes over the period of `limit` and drops what no longer counts.
    pub(crate) fn carry(&mut self, limit: &Limit, now: UnixNanos) {
        let expired = self.expired(self.shorter_period(limit), now);
        for entry in &self.all[self.dropped..][..expired] {
            self.total -= u64::from(entry.cost);
        }
        self.dropped += expired;
        if self.all.len() < 2 * self.dropped {
            self.all.drain(..self.dropped);
            self.dropped = 0;
            // A key that once was busy and is not any more would keep room for all that it ever had.
            if SPARE_MAX + 4 * self.all.len() < self.all.capacity() {
                self.all.shrink_to(2 * self.all.len());
            }
        }
        self.period = limit.rate.period();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn dropped_entries_take_no_more_room_than_those_that_count() {
        let limit = Limit::new(Algorithm::SlidingLog, 10, Nanos::from_millis(10)).unwrap();
        let stamp = |seq| Stamp { term: 1, seq };
        let mut log = Log::fresh(&limit, UnixNanos::ZERO, 1, stamp(0));
        for millis in 1..1_000 {
            let now = UnixNanos::ZERO + Nanos::from_millis(millis);
            log.carry(&limit, now);
            log.push(now, 1, stamp(millis));
            assert!(log.all.len() <= 21, "{} entries", log.all.len());
        }
        assert_eq!(log.entries().len(), 10);
    }

    #[test]
    fn hits_that_expire_together_take_no_more_room_than_those_that_count() {
        let limit = Limit::new(Algorithm::SlidingLog, 10, Nanos::from_millis(10)).unwrap();
        let stamp = |seq| Stamp { term: 1, seq };
        let mut log = Log::fresh(&limit, UnixNanos::ZERO, 1, stamp(0));
        for seq in 1..1_000 {
            // Ten at once, then none for a period.
            let now = UnixNanos::ZERO + Nanos::from_millis(seq / 10 * 10);
            log.carry(&limit, now);
            log.push(now, 1, stamp(seq));
            assert!(log.all.len() <= 20, "{} entries", log.all.len());
        }
    }

    /// Else it would be given back and taken again with each hit.
    #[test]
    fn a_log_that_is_as_busy_as_before_keeps_its_room() {
        let limit = Limit::new(Algorithm::SlidingLog, 100, Nanos::from_millis(100)).unwrap();
        let stamp = |seq| Stamp { term: 1, seq };
        let mut log = Log::fresh(&limit, UnixNanos::ZERO, 1, stamp(0));
        let mut room = Vec::new();
        for millis in 1..1_000 {
            let now = UnixNanos::ZERO + Nanos::from_millis(millis);
            log.carry(&limit, now);
            log.push(now, 1, stamp(millis));
            room.push(log.all.capacity());
        }
        assert!(
            room[300..].iter().all(|then| *then == room[300]),
            "{room:?}"
        );
    }

    #[test]
    fn a_log_that_is_less_busy_than_before_has_room_for_twice_what_it_holds() {
        let limit = Limit::new(Algorithm::SlidingLog, 10_000, Nanos::from_secs(1)).unwrap();
        let stamp = |seq| Stamp { term: 1, seq };
        let mut log = Log::fresh(&limit, UnixNanos::ZERO, 1, stamp(0));
        for seq in 1..10_000 {
            let later = Nanos::from_millis(seq / 9_000);
            log.push(UnixNanos::ZERO + later, 1, stamp(seq));
        }
        log.carry(&limit, UnixNanos::ZERO + Nanos::from_secs(1));
        assert_eq!((log.entries().len(), log.all.len()), (1_000, 1_000));
        let room = log.all.capacity();
        assert!((2_000..3_000).contains(&room), "{room}");
    }

    /// Seen: a key kept the memory of its busiest second for as long as anybody asked for it at all.
    #[test]
    fn a_log_gives_back_the_room_of_what_it_no_longer_holds() {
        let limit = Limit::new(Algorithm::SlidingLog, 10_000, Nanos::from_secs(1)).unwrap();
        let stamp = |seq| Stamp { term: 1, seq };
        let mut log = Log::fresh(&limit, UnixNanos::ZERO, 1, stamp(0));
        for seq in 1..10_000 {
            log.push(UnixNanos::ZERO, 1, stamp(seq));
        }
        let full = log.heap_bytes();
        assert!(10_000 * size_of::<LogEntry>() < full);
        let later = UnixNanos::ZERO + Nanos::from_millis(900);
        log.push(later, 1, stamp(10_000));
        let now = UnixNanos::ZERO + Nanos::from_secs(1);
        log.carry(&limit, now);
        log.push(now, 1, stamp(10_001));
        assert_eq!(log.entries().len(), 2);
        assert!(
            log.heap_bytes() * 100 < full,
            "{} of {full}",
            log.heap_bytes()
        );
    }

    #[test]
    fn what_is_owed_is_what_still_counts_by_the_period_of_the_log() {
        let limit = Limit::new(Algorithm::SlidingLog, 10, Nanos::from_secs(1)).unwrap();
        let mut log = Log::fresh(&limit, UnixNanos::ZERO, 3, Stamp { term: 1, seq: 1 });
        let half = UnixNanos::ZERO + Nanos::from_millis(500);
        log.push(half, 2, Stamp { term: 1, seq: 2 });
        let at = |millis| log.owed(UnixNanos::ZERO + Nanos::from_millis(millis));
        assert_eq!([at(999), at(1_000), at(1_499), at(1_500)], [5, 2, 2, 0]);
    }
}
