//! Points in time as records have them.

use std::fmt;
use std::ops::Add;
use std::str::FromStr;

use jiff::Timestamp;

/// Whole seconds since the Unix epoch, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UnixSecs(u64);

/// The last second that jiff tells: 9999-12-30T22:00:00Z, so that every zone has a four-digit year.
const SECS_MAX: u64 = 253_402_207_200;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

impl UnixSecs {
    /// So many seconds after the epoch; what lies beyond the year 9999 is at its end.
    #[must_use]
    pub const fn new(secs: u64) -> Self {
        Self(if secs < SECS_MAX { secs } else { SECS_MAX })
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The days since the epoch that are over.
    #[must_use]
    pub const fn days(self) -> u64 {
        self.0 / DAY
    }

    /// The first second of that day since the epoch.
    #[must_use]
    pub const fn of_day(day: u64) -> Self {
        Self::new(day.saturating_mul(DAY))
    }

    /// The first second of a day such as `2026-11-21`. `None`: there is no such day.
    #[must_use]
    pub fn of_date(date: &str) -> Option<Self> {
        let midnight: Self = format!("{date}T00:00:00Z").parse().ok()?;
        // Other spellings are read as well.
        (midnight.date() == date).then_some(midnight)
    }

    /// Its day, such as `2026-11-21`.
    #[must_use]
    pub fn date(self) -> String {
        let mut text = self.to_string();
        text.truncate("2026-11-21".len());
        text
    }

    /// Seconds from `earlier` until this; 0 if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for UnixSecs {
    type Output = Self;

    fn add(self, secs: u64) -> Self {
        Self::new(self.0.saturating_add(secs))
    }
}

/// RFC 3339, such as `2026-11-21T10:00:00Z`.
impl fmt::Display for UnixSecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = i64::try_from(self.0).expect("it is below the year 10000");
        let timestamp = Timestamp::from_second(secs).map_err(|_| fmt::Error)?;
        timestamp.fmt(f)
    }
}

/// Not a time as RFC 3339 has it, or one before 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a time such as 2026-11-21T10:00:00Z")]
pub struct NoTime;

impl FromStr for UnixSecs {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let timestamp: Timestamp = text.parse().map_err(|_| NoTime)?;
        let secs = u64::try_from(timestamp.as_second()).map_err(|_| NoTime)?;
        Ok(Self::new(secs))
    }
}

/// The earlier of two, of which `None` never comes.
pub(crate) fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_it_is_read() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-21T10:00:00Z",
            "9999-12-30T22:00:00Z",
        ] {
            assert_eq!(text.parse::<UnixSecs>().unwrap().to_string(), text);
        }
        let elsewhere: UnixSecs = "2026-11-21T11:00:00+01:00".parse().unwrap();
        assert_eq!(elsewhere.to_string(), "2026-11-21T10:00:00Z");
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T10:00:00",
            "1969-12-31T23:59:59Z",
            "tomorrow",
        ] {
            assert_eq!(text.parse::<UnixSecs>(), Err(NoTime), "{text}");
        }
        assert_eq!(UnixSecs::new(u64::MAX).to_string(), "9999-12-30T22:00:00Z");
    }

    #[test]
    fn a_day_begins_at_midnight() {
        let noon: UnixSecs = "2026-11-21T12:00:00Z".parse().unwrap();
        assert_eq!(
            UnixSecs::of_day(noon.days()).to_string(),
            "2026-11-21T00:00:00Z"
        );
        assert_eq!(UnixSecs::of_day(noon.days() + 1).since(noon), DAY / 2);
        assert_eq!(noon.since(noon + 1), 0);
        assert_eq!(noon.date(), "2026-11-21");
        assert_eq!(
            UnixSecs::of_date("2026-11-21"),
            Some(UnixSecs::of_day(noon.days()))
        );
        for none in [
            "",
            "2026-02-30",
            "2026-11-21T",
            "20261121",
            "2026-1-1",
            "1969-12-31",
        ] {
            assert_eq!(UnixSecs::of_date(none), None, "{none}");
        }
    }
}
