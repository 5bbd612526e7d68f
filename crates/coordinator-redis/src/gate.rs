//! The breaker, shared by all callers, with its logs and metrics.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, gauge};

use crate::breaker::{Breaker, BreakerState};
use crate::failure::{Evidence, Failure, Reason};

/// Lets calls through to Redis, or not.
///
/// The usual call touches two flags and no lock.
pub(crate) struct Gate {
    closed: AtomicBool,
    /// Whether there are failures that a success has to wipe out.
    troubled: AtomicBool,
    inner: Mutex<Inner>,
    state: Gauge,
    /// By reason, and by the state that the breaker changes to.
    failures: [Counter; Reason::ALL.len()],
    changes: [Counter; BREAKER_STATES.len()],
}

/// All of them, each at its own number.
const BREAKER_STATES: [BreakerState; 3] = [
    BreakerState::Closed,
    BreakerState::Open,
    BreakerState::HalfOpen,
];

struct Inner {
    breaker: Breaker,
    last_failure: Option<String>,
}

impl Gate {
    /// With an open breaker if Redis is away from the start, and the reason.
    pub(crate) fn new(away: Option<&Failure>, now: Instant) -> Self {
        let breaker = match away {
            None => Breaker::closed(),
            Some(_) => Breaker::open(now),
        };
        let gate = Self {
            closed: AtomicBool::new(away.is_none()),
            troubled: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                breaker,
                last_failure: away.map(Failure::to_string),
            }),
            state: gauge!("weir_redis_breaker_state"),
            failures: Reason::ALL
                .map(|reason| counter!("weir_redis_failures_total", "reason" => reason.name())),
            changes: BREAKER_STATES
                .map(|state| counter!("weir_redis_breaker_changes_total", "to" => state.name())),
        };
        gate.state.set(level(gate.lock().breaker.state()));
        gate
    }

    /// Whether hits ask Redis.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.lock().breaker.state()
    }

    pub(crate) fn last_failure(&self) -> Option<String> {
        self.lock().last_failure.clone()
    }

    /// How long until Redis is asked again. `None` while it is asked.
    pub(crate) fn probe_in(&self, now: Instant) -> Option<Duration> {
        self.lock().breaker.probe_in(now)
    }

    /// A call was answered; `evidence` says how.
    pub(crate) fn on_success(&self, evidence: Evidence, now: Instant) {
        if self.troubled.load(Relaxed) {
            self.change(|inner| inner.breaker.on_call(now, evidence));
        }
    }

    /// Whether this failure opened the breaker.
    pub(crate) fn on_failure(&self, failure: &Failure, now: Instant) -> bool {
        self.failures[failure.reason as usize].increment(1);
        self.change(|inner| {
            inner.last_failure = Some(failure.to_string());
            inner.breaker.on_call(now, failure.reason.evidence())
        })
    }

    /// Whether to probe now. Who is told so must report [`Self::on_probe`].
    pub(crate) fn probe_due(&self, now: Instant) -> bool {
        self.change(|inner| inner.breaker.probe_due(now))
    }

    pub(crate) fn on_probe(&self, probed: Result<(), &Failure>, now: Instant) {
        if let Err(failure) = probed {
            self.failures[failure.reason as usize].increment(1);
        }
        self.change(|inner| {
            if let Err(failure) = probed {
                inner.last_failure = Some(failure.to_string());
            }
            inner.breaker.on_probe(now, probed.is_ok());
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics with the breaker")
    }

    /// Changes the breaker, and tells of the change once.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let before = inner.breaker.state();
        let outcome = change(&mut inner);
        let after = inner.breaker.state();
        self.closed.store(after == BreakerState::Closed, Relaxed);
        self.troubled.store(inner.breaker.failures() != 0, Relaxed);
        if before != after {
            self.state.set(level(after));
            self.changes[after as usize].increment(1);
            tell(before, after, inner.last_failure.as_deref());
        }
        outcome
    }
}

const fn level(state: BreakerState) -> f64 {
    match state {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    }
}

/// A probe comes and goes ten times a second while Redis is away: only what it changes is worth a line.
fn tell(before: BreakerState, after: BreakerState, failure: Option<&str>) {
    match (before, after) {
        (_, BreakerState::Closed) => tracing::info!("redis is back, its limits are counted there"),
        (BreakerState::Closed, _) => {
            tracing::warn!(
                error = failure,
                "redis is away, its limits are answered by their fail modes"
            );
        }
        _ => tracing::debug!(to = after.name(), "redis breaker changed"),
    }
}

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;
    use crate::breaker::{FAILURES_TO_OPEN, PROBE_EVERY};

    /// Every metric with its labels, in a line each.
    fn told(snapshot: metrics_util::debugging::Snapshot) -> Vec<String> {
        let metrics = snapshot.into_vec().into_iter();
        let mut lines: Vec<String> = metrics
            .map(|(key, _, _, value)| {
                let labels = key.key().labels();
                let labels: Vec<_> = labels.map(|label| label.value()).collect();
                let value = match value {
                    DebugValue::Counter(n) => n as f64,
                    DebugValue::Gauge(n) => n.0,
                    DebugValue::Histogram(_) => panic!("no histogram is recorded"),
                };
                format!("{} {} {value}", key.key().name(), labels.join(","))
            })
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn each_change_of_the_breaker_is_counted_once() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let start = Instant::now();
        metrics::with_local_recorder(&recorder, || {
            let gate = Gate::new(None, start);
            for _ in 0..2 * FAILURES_TO_OPEN {
                gate.on_failure(&Failure::timeout(), start);
            }
            assert!(!gate.is_closed());
            let later = start + PROBE_EVERY;
            assert!(gate.probe_due(later));
            gate.on_probe(Err(&Failure::not_connected()), later);
        });
        let told = told(snapshotter.snapshot());
        let changed: Vec<_> = told.iter().filter(|line| !line.ends_with(" 0")).collect();
        assert_eq!(
            changed,
            [
                "weir_redis_breaker_changes_total half_open 1",
                "weir_redis_breaker_changes_total open 2",
                "weir_redis_breaker_state  2",
                "weir_redis_failures_total connection 1",
                "weir_redis_failures_total timeout 10",
            ]
        );
        let never = "weir_redis_breaker_changes_total closed 0";
        assert!(told.iter().any(|line| line == never), "{told:?}");
    }

    #[test]
    fn a_success_wipes_out_the_failures_before_it() {
        let now = Instant::now();
        let gate = Gate::new(None, now);
        for _ in 0..3 * FAILURES_TO_OPEN {
            assert!(!gate.on_failure(&Failure::timeout(), now));
            gate.on_success(Evidence::Answers, now);
        }
        assert!(gate.is_closed());
        assert!(gate.last_failure().is_some());
    }

    /// Once the type of one key opened the breaker for all.
    #[test]
    fn the_trouble_of_one_counter_is_told_and_opens_nothing() {
        let now = Instant::now();
        let gate = Gate::new(None, now);
        for _ in 0..3 * FAILURES_TO_OPEN {
            assert!(!gate.on_failure(&Failure::foreign_value(), now));
        }
        assert!(gate.is_closed());
        assert!(gate.last_failure().is_some());
    }
}
