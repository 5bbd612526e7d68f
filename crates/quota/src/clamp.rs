//! Counts from a clock that was ahead.

use crate::count::Count;
use crate::fixed_window::window_end;
use crate::limit::{Anchor, Limit};
use crate::sliding_log::{Log, LogEntry};
use crate::time::UnixNanos;

impl Count {
    /// The count as it would be had every hit later than `latest` been admitted at `latest`: for what a node wrote whose
    /// clock was ahead, which would else deny everybody until that time comes.
    ///
    /// `sides` is how many may have counted at once: after a fork, a key that drains owes up to one burst for each. What
    /// no clock ahead is needed to explain stays as it is. An instant that drains says nothing about single hits, so
    /// that up to the burst of `latest` stays, and all of what was written under another rate.
    ///
    /// What `now` explains stays, too, when that is past `latest`: a fold tells counts as of the instant it is made.
    #[must_use]
    pub fn no_later_than(
        self,
        limit: &Limit,
        now: UnixNanos,
        latest: UnixNanos,
        sides: u32,
    ) -> Self {
        let explained = latest.max(now);
        match self {
            Self::Gcra(tat) | Self::LeakyBucket(tat) => {
                let most = u64::from(limit.burst().max(limit.units())) * u64::from(sides);
                let is_ahead = most < self.used(limit, explained) && tat.rate() == limit.rate;
                if !is_ahead {
                    return self;
                }
                let excess = self.used(limit, latest).saturating_sub(most);
                let excess = u32::try_from(excess).unwrap_or(u32::MAX);
                self.minus(limit, latest, excess)
            }
            Self::FixedWindow(window) if let Anchor::Calendar(calendar) = limit.anchor() => {
                if window.start() <= explained {
                    return self;
                }
                Self::FixedWindow(window.no_later_than(calendar, latest))
            }
            Self::FixedWindow(window) => {
                let is_epoch = limit.anchor() == Anchor::Epoch && limit.period() == window.period();
                let end = |now| match is_epoch {
                    true => window_end(now, window.period()),
                    false => now + window.period(),
                };
                if window.end() <= end(explained) {
                    return self;
                }
                Self::FixedWindow(window.ending_by(end(latest)))
            }
            Self::SlidingCounter(counter) => {
                let end = |now| window_end(now, counter.period());
                if counter.end() <= end(explained) {
                    return self;
                }
                Self::SlidingCounter(counter.ending_by(end(latest)))
            }
            Self::SlidingLog(log) => {
                let is_ahead = log.entries().last().is_some_and(|last| explained < last.at);
                if !is_ahead {
                    return Self::SlidingLog(log);
                }
                let entries = log.entries().iter().map(|&entry| LogEntry {
                    at: entry.at.min(latest),
                    ..entry
                });
                let log = Log::from_entries(log.period(), entries);
                Self::SlidingLog(Box::new(log.expect("the period comes from a log")))
            }
            Self::Reset { .. } => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Stamp;
    use crate::decision::Cost;
    use crate::limit::Algorithm;
    use crate::time::Nanos;

    const ALL: [Algorithm; 5] = [
        Algorithm::Gcra,
        Algorithm::LeakyBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingCounter,
        Algorithm::SlidingLog,
    ];

    fn spent(algorithm: Algorithm, at: UnixNanos) -> (Limit, Option<Count>) {
        let limit = Limit::new(algorithm, 10, Nanos::from_secs(60)).expect("within bounds");
        let mut count = None;
        for seq in 1..=10 {
            let stamp = Stamp { term: 1, seq };
            let _taken = limit.hit(at, &mut count, Cost::ONE, stamp);
        }
        (limit, count)
    }

    #[test]
    fn what_was_counted_an_hour_ahead_is_back_within_the_limits_own_time() {
        let now = UnixNanos::new(1_700_000_000_000_000_000);
        for algorithm in ALL {
            let (limit, count) = spent(algorithm, now + Nanos::from_secs(3_600));
            let count = count.expect("counted").no_later_than(&limit, now, now, 1);
            assert_eq!(
                count.used(&limit, now),
                10,
                "{algorithm:?}: nothing is let off"
            );
            let two_periods = now + Nanos::from_secs(120);
            assert!(
                count.expires_at() <= two_periods,
                "{algorithm:?}: {count:?}"
            );
        }
    }

    #[test]
    fn what_no_clock_ahead_is_needed_to_explain_stays_as_it_is() {
        let now = UnixNanos::new(1_700_000_000_000_000_000);
        for algorithm in ALL {
            let (limit, count) = spent(algorithm, now);
            let count = count.expect("counted");
            assert_eq!(count.clone().no_later_than(&limit, now, now, 1), count);
            let owing = count.plus(&limit, now, 10);
            assert_eq!(
                owing.clone().no_later_than(&limit, now, now, 2),
                owing,
                "two sides"
            );
        }
    }

    /// The simulator, seed 389: a fold rolls a counter to the window of the hit, and the bound, long past, rolled it back.
    #[test]
    fn what_is_looked_at_after_the_bound_stays_as_it_is() {
        let now = UnixNanos::new(1_700_000_000_000_000_000);
        let long_ago = now - Nanos::from_secs(3_600);
        for algorithm in ALL {
            let (limit, count) = spent(algorithm, now);
            let count = count.expect("counted");
            let looked_at = count.clone().no_later_than(&limit, now, long_ago, 1);
            assert_eq!(looked_at, count);
        }
    }
}
