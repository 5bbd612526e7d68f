//! The circuit breaker: when to stop asking, and when to ask again.

use std::time::{Duration, Instant};

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
/// Calls report [`Self::on_success`] and [`Self::on_failure`], in any order and also late: what calls report counts only
/// while it is closed, so that a straggler from before does not undo what a probe found. One prober asks
/// [`Self::probe_due`] and, when told so, must report [`Self::on_probe`]. `now` may not go back.
#[derive(Debug)]
pub(crate) struct Breaker {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Closed { failures: u32 },
    Open { probe_at: Instant },
    HalfOpen,
}

impl Breaker {
    pub(crate) const fn closed() -> Self {
        Self {
            phase: Phase::Closed { failures: 0 },
        }
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

    /// Failures since the last success, while it is closed.
    pub(crate) const fn failures(&self) -> u32 {
        match self.phase {
            Phase::Closed { failures } => failures,
            Phase::Open { .. } | Phase::HalfOpen => 0,
        }
    }

    /// A call was answered.
    pub(crate) fn on_success(&mut self) {
        if let Phase::Closed { failures } = &mut self.phase {
            *failures = 0;
        }
    }

    /// A call failed. Whether that opened the breaker.
    pub(crate) fn on_failure(&mut self, now: Instant) -> bool {
        let Phase::Closed { failures } = &mut self.phase else {
            return false;
        };
        *failures += 1;
        if *failures < FAILURES_TO_OPEN {
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
            Phase::Closed { failures: 0 }
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
                "success" => breaker.on_success(),
                "failure" => drop(breaker.on_failure(now)),
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
            0ms failure : closed
            1ms failure : closed
            2ms failure : closed
            3ms failure : closed
            4ms success : closed
            5ms failure : closed
            6ms failure : closed
            7ms failure : closed
            8ms failure : closed
            9ms failure : open
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
              5ms success : open
              5ms failure : open
            104ms asks    : half_open
            105ms failure : half_open
            106ms success : half_open
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
            106ms failure : closed
            "
        ));
    }

    const OPENED: &str = "
            0ms failure : closed
            1ms failure : closed
            2ms failure : closed
            3ms failure : closed
            4ms failure : open";
}
