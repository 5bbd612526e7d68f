//! The keys that are hit, and how.

use quota::{Algorithm, Calendar, CalendarUnit, Cost, KeyHash, KeyHasher, Limit, Nanos};
use rand::Rng;
use rand::rngs::SmallRng;
use shard::Operation;

/// A key and its limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Its identity in the cluster.
    pub(crate) key: KeyHash,
    /// Its limit.
    pub(crate) limit: Limit,
}

impl Target {
    /// The limit by a calendar without summer time, for a bug: each zone above is as far from UTC in winter as this one.
    pub(crate) fn in_winter(&self) -> Limit {
        let Some(calendar) = self.limit.anchor().calendar() else {
            return self.limit;
        };
        let zone = match calendar.zone.name() {
            "Asia/Beirut" => "Etc/GMT-2",
            _ => "Etc/GMT-1",
        };
        let calendar = Calendar {
            zone: zone.parse().expect("the database has it"),
            ..calendar
        };
        Limit::of_calendar(self.limit.units(), calendar).expect("as it was")
    }
}

/// A midnight within a run, at the end or the beginning of a day on which clocks change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Midnight {
    zone: &'static str,
    /// In seconds since the Unix epoch.
    at: u64,
}

/// So long after the start of a run.
const MIDNIGHT_AFTER: u64 = 30;

const MIDNIGHTS: [Midnight; 4] = [
    // The end of a day of 23 hours, and of one of 25.
    Midnight {
        zone: "Europe/Vienna",
        at: 1_774_821_600,
    },
    Midnight {
        zone: "Europe/Vienna",
        at: 1_792_969_200,
    },
    // Clocks skip this one: the day begins at one o'clock.
    Midnight {
        zone: "Asia/Beirut",
        at: 1_774_735_200,
    },
    // This one comes again, an hour after clocks were set back from it.
    Midnight {
        zone: "Asia/Beirut",
        at: 1_792_879_200,
    },
];

impl Midnight {
    /// One of them, in turn.
    pub(crate) fn of(number: u64) -> Self {
        MIDNIGHTS[(number % MIDNIGHTS.len() as u64) as usize]
    }

    /// Wall time at the start of a run that it is within.
    pub(crate) fn epoch(self) -> u64 {
        (self.at - MIDNIGHT_AFTER) * 1_000_000_000
    }

    fn days(self) -> Calendar {
        Calendar {
            unit: CalendarUnit::Day,
            zone: self.zone.parse().expect("the database has it"),
        }
    }
}

/// One key of so many is not to be evicted. Of those that are, there are enough to have no room.
const SPARED_SHARE: usize = 7;

/// `count` keys, the algorithms in turn, with limits that are spent and come back within a run. With a midnight, fixed windows
/// are days.
#[must_use]
pub(crate) fn targets(count: usize, midnight: Option<Midnight>) -> Vec<Target> {
    let hasher = KeyHasher::new([7; 16]);
    let algorithms = [
        Algorithm::Gcra,
        Algorithm::SlidingLog,
        Algorithm::FixedWindow,
        Algorithm::LeakyBucket,
        Algorithm::SlidingCounter,
    ];
    (0..count)
        .map(|index| {
            let algorithm = algorithms[index % algorithms.len()];
            let units = [5, 12, 30][index / algorithms.len() % 3];
            let period = Nanos::from_secs([4, 15, 60][index / 3 % 3]);
            let limit = match midnight {
                Some(midnight) if algorithm == Algorithm::FixedWindow => {
                    Limit::of_calendar(units, midnight.days())
                }
                _ => Limit::new(algorithm, units, period),
            };
            let limit = limit.expect("the limits above are within bounds");
            let key = hasher.hash("", "simulated", &index.to_string());
            Target {
                key: match index % SPARED_SHARE {
                    0 => key.spared(),
                    _ => key,
                },
                limit,
            }
        })
        .collect()
}

/// What the next request asks for.
pub(crate) fn operation(rng: &mut SmallRng, with_refunds: bool) -> Operation {
    match rng.random_range(0..1_000) {
        0..=1 if with_refunds => Operation::Refund(Cost::ONE),
        2 if with_refunds => Operation::Reset,
        3..=40 => Operation::Hit(Cost::PEEK),
        41..=120 => Operation::Hit(Cost::new(2)),
        _ => Operation::Hit(Cost::ONE),
    }
}

#[cfg(test)]
mod tests {
    use quota::UnixNanos;

    use super::*;

    /// Lengths of the windows before and after, in hours.
    #[test]
    fn each_midnight_is_next_to_a_day_on_which_clocks_change() {
        let lengths = MIDNIGHTS.map(|midnight| {
            let at = midnight.at * 1_000_000_000;
            let before = midnight.days().window(UnixNanos::new(at - 1));
            let after = midnight.days().window(UnixNanos::new(at));
            let hours = |length: Nanos| length.get() / 3_600_000_000_000;
            (hours(before.length()), hours(after.length()))
        });
        assert_eq!(lengths, [(23, 24), (25, 24), (24, 23), (25, 24)]);
    }
}
