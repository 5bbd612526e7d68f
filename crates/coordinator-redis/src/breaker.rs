//! The circuit breaker: when to stop asking, and when to ask again.

use std::time::{Duration, Instant};

use crate::failure::Evidence;

/// Failures in a row that open the breaker.
///
/// One can be a lost packet or a connection that a proxy closed. Five callers at once, or one caller for five deadlines
/// (1.5 s), are a Redis that is away.
pub(crate) const FAILURES_TO_OPEN: u32 = 5;

/// From one probe to the next while the breaker is open.
///
/// What a hit can miss after Redis is back. Ten attempts a second from each node cost a healthy Redis nothing, and one
/// that is loading its data little.
pub(crate) const PROBE_EVERY: Duration = Duration::from_millis(100);

/// Whether Redis is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerState {
    /// Every hit asks Redis.
    Closed,
    /// No hit asks Redis: the limit's fail mode answers at once.
    Open,
    /// As open, while one probe asks.
    HalfOpen,
}

impl BreakerState {
    /// Its name in logs, metrics and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A circuit breaker. Pure: it is told what happened and when.
///
/// Calls report [`Self::on_call`], in any order and also late: what calls report counts only while it is closed, so that a
/// straggler from before does not undo what a probe found. One prober asks [`Self::probe_due`] and, when told so, must
/// report [`Self::on_probe`]. `now` may not go back.
///
/// Silence is wiped out by any answer, a refusal only by a write: a master that has become a replica goes on answering
/// peeks and denied hits, which write nothing.
#[derive(Debug)]
pub(crate) struct Breaker {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Closed { silences: u32, refusals: u32 },
    Open { probe_at: Instant },
    HalfOpen,
}

const UNTROUBLED: Phase = Phase::Closed {
    silences: 0,
    refusals: 0,
};

impl Breaker {
    pub(crate) const fn closed() -> Self {
        Self { phase: UNTROUBLED }
    }

    /// An open one, for a Redis that is known to be away. The first probe is due at once.
    pub(crate) const fn open(now: Instant) -> Self {
        Self {
            phase: Phase::Open { probe_at: now },
        }
    }

    pub(crate) const fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// Failures that nothing has wiped out yet, while it is closed.
    pub(crate) const fn failures(&self) -> u32 {
        match self.phase {
            Phase::Closed { silences, refusals } => silences + refusals,
            Phase::Open { .. } | Phase::HalfOpen => 0,
        }
    }

    /// A call ended. Whether that opened the breaker.
    pub(crate) fn on_call(&mut self, now: Instant, evidence: Evidence) -> bool {
        let Phase::Closed { silences, refusals } = &mut self.phase else {
            return false;
        };
        match evidence {
            Evidence::Silent => *silences += 1,
            Evidence::Refuses => *refusals += 1,
            Evidence::Answers => *silences = 0,
            Evidence::Writes => (*silences, *refusals) = (0, 0),
        }
        if *silences + *refusals < FAILURES_TO_OPEN {
            return false;
        }
        self.phase = Phase::Open {
            probe_at: now + PROBE_EVERY,
        };
        true
    }

    /// Whether to probe now. Says so once, and is half-open until [`Self::on_probe`].
    pub(crate) fn probe_due(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Open { probe_at } if probe_at <= now => {
                self.phase = Phase::HalfOpen;
                true
            }
            _ => false,
        }
    }

    /// The probe is back.
    pub(crate) fn on_probe(&mut self, now: Instant, passed: bool) {
        let Phase::HalfOpen = self.phase else {
            return;
        };
        self.phase = if passed {
            UNTROUBLED
        } else {
            Phase::Open {
                probe_at: now + PROBE_EVERY,
            }
        };
    }

    /// How long until the next probe is due; zero when one is due or under way. `None` while it is closed.
    pub(crate) fn probe_in(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { probe_at } => Some(probe_at.saturating_duration_since(now)),
            Phase::HalfOpen => Some(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays events at milliseconds and checks the state after each.
    fn check(story: &str) {
        let start = Instant::now();
        let mut breaker = Breaker::closed();
        for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (event, expected) = line.split_once(':').unwrap();
            let (at, what) = event.trim().split_once("ms ").unwrap();
            let now = start + Duration::from_millis(at.parse().unwrap());
            match what.trim() {
                "silent" => drop(breaker.on_call(now, Evidence::Silent)),
                "refuses" => drop(breaker.on_call(now, Evidence::Refuses)),
                "answers" => drop(breaker.on_call(now, Evidence::Answers)),
                "writes" => drop(breaker.on_call(now, Evidence::Writes)),
                "asks" => assert!(breaker.probe_due(now), "{line}"),
                "asks in vain" => assert!(!breaker.probe_due(now), "{line}"),
                "passed" => breaker.on_probe(now, true),
                "failed" => breaker.on_probe(now, false),
                other => panic!("{other}"),
            }
            assert_eq!(breaker.state().name(), expected.trim(), "{line}");
        }
    }

    #[test]
    fn failures_in_a_row_open_it() {
        check(
            "
            0ms silent  : closed
            1ms silent  : closed
            2ms silent  : closed
            3ms silent  : closed
            4ms answers : closed
            5ms silent  : closed
            6ms silent  : closed
            7ms silent  : closed
            8ms silent  : closed
            9ms silent  : open
            ",
        );
    }

    #[test]
    fn one_probe_at_a_time_finds_out() {
        check(&format!(
            "{OPENED}
            100ms asks in vain : open
            104ms asks         : half_open
            104ms asks in vain : half_open
            110ms failed       : open
            209ms asks in vain : open
            210ms asks         : half_open
            211ms passed       : closed
            212ms asks in vain : closed
            "
        ));
    }

    #[test]
    fn stragglers_change_nothing_while_it_is_not_closed() {
        check(&format!(
            "{OPENED}
              5ms answers : open
              5ms silent  : open
            104ms asks    : half_open
            105ms silent  : half_open
            106ms answers : half_open
            107ms passed  : closed
            "
        ));
    }

    #[test]
    fn closing_forgets_the_failures_that_opened_it() {
        check(&format!(
            "{OPENED}
            104ms asks    : half_open
            105ms passed  : closed
            106ms silent  : closed
            "
        ));
    }

    #[test]
    fn what_writes_nothing_wipes_out_no_refusal() {
        check(
            "
            0ms refuses : closed
            1ms answers : closed
            2ms refuses : closed
            3ms writes  : closed
            4ms refuses : closed
            5ms refuses : closed
            6ms answers : closed
            7ms refuses : closed
            8ms silent  : closed
            9ms answers : closed
           10ms silent  : closed
           11ms refuses : open
            ",
        );
    }

    const OPENED: &str = "
            0ms silent  : closed
            1ms silent  : closed
            2ms silent  : closed
            3ms silent  : closed
            4ms silent  : open";
}
