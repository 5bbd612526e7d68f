//! Units of time as Envoy names them.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit;
use quota::{CalendarUnit, Limit, Nanos};

/// A unit of time that has a name on the wire, by that name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unit {
    wire: rate_limit::Unit,
    seconds: u64,
}

const HOUR: u64 = 60 * 60;

/// A month has 30 days and a year 365, as in envoyproxy/ratelimit (`src/utils/utilities.go`).
const UNITS: [Unit; 7] = [
    unit(rate_limit::Unit::Second, 1),
    unit(rate_limit::Unit::Minute, 60),
    unit(rate_limit::Unit::Hour, HOUR),
    unit(rate_limit::Unit::Day, 24 * HOUR),
    unit(rate_limit::Unit::Week, 7 * 24 * HOUR),
    unit(rate_limit::Unit::Month, 30 * 24 * HOUR),
    unit(rate_limit::Unit::Year, 365 * 24 * HOUR),
];

const fn unit(wire: rate_limit::Unit, seconds: u64) -> Unit {
    Unit { wire, seconds }
}

impl Unit {
    /// The names that [`Self::named`] takes.
    pub(crate) const NAMES: &str = "second, minute, hour, day, week, month, year";

    /// The unit of this name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        UNITS
            .into_iter()
            .find(|unit| unit.wire.as_str_name() == name)
    }

    /// The unit of this number on the wire.
    pub(crate) fn numbered(number: i32) -> Option<Self> {
        UNITS.into_iter().find(|unit| unit.wire as i32 == number)
    }

    /// The number on the wire of the unit that is so long; of a period that is no unit, `UNKNOWN`.
    pub(crate) fn number_of(period: Nanos) -> i32 {
        let unit = UNITS.into_iter().find(|unit| unit.period() == period);
        unit.map_or(rate_limit::Unit::Unknown, |unit| unit.wire) as i32
    }

    /// The number on the wire of the unit of a limit: of its calendar, or of its period.
    pub(crate) fn number_for(limit: &Limit) -> i32 {
        let Some(calendar) = limit.anchor().calendar() else {
            return Self::number_of(limit.period());
        };
        match calendar.unit {
            CalendarUnit::Day => rate_limit::Unit::Day.into(),
            CalendarUnit::Week => rate_limit::Unit::Week.into(),
            CalendarUnit::Month => rate_limit::Unit::Month.into(),
            CalendarUnit::Year => rate_limit::Unit::Year.into(),
        }
    }

    /// How long it is.
    pub(crate) const fn period(self) -> Nanos {
        Nanos::from_secs(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_known_by_name_number_and_length() {
        for (name, number, seconds) in [
            ("second", 1, 1),
            ("MINUTE", 2, 60),
            ("Hour", 3, 3_600),
            ("day", 4, 86_400),
            ("week", 7, 604_800),
            ("month", 5, 2_592_000),
            ("year", 6, 31_536_000),
        ] {
            let unit = Unit::named(name).unwrap();
            assert_eq!(Some(unit), Unit::numbered(number), "{name}");
            assert_eq!(unit.period(), Nanos::from_secs(seconds), "{name}");
            assert_eq!(Unit::number_of(unit.period()), number, "{name}");
        }
        assert_eq!((Unit::named("unknown"), Unit::numbered(0)), (None, None));
        assert_eq!(Unit::number_of(Nanos::from_secs(10)), 0);
    }
}
