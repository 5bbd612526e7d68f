//! The breaker, shared by all callers, with its logs and metrics.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use metrics::{Gauge, counter, gauge};

use crate::breaker::{Breaker, BreakerState};
use crate::failure::Failure;

/// Lets calls through to Redis, or not.
///
/// The usual call touches two flags and no lock.
pub(crate) struct Gate {
    closed: AtomicBool,
    /// Whether there are failures that a success has to wipe out.
    troubled: AtomicBool,
    inner: Mutex<Inner>,
    state: Gauge,
}

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

    pub(crate) fn on_success(&self) {
        if self.troubled.load(Relaxed) {
            self.change(|inner| inner.breaker.on_success());
        }
    }

    /// Whether this failure opened the breaker.
    pub(crate) fn on_failure(&self, failure: &Failure, now: Instant) -> bool {
        counter!("weir_redis_failures_total", "reason" => failure.reason.name()).increment(1);
        self.change(|inner| {
            inner.last_failure = Some(failure.to_string());
            inner.breaker.on_failure(now)
        })
    }

    /// Whether to probe now. Who is told so must report [`Self::on_probe`].
    pub(crate) fn probe_due(&self, now: Instant) -> bool {
        self.change(|inner| inner.breaker.probe_due(now))
    }

    pub(crate) fn on_probe(&self, probed: Result<(), &Failure>, now: Instant) {
        if let Err(failure) = probed {
            counter!("weir_redis_failures_total", "reason" => failure.reason.name()).increment(1);
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
            counter!("weir_redis_breaker_changes_total", "to" => after.name()).increment(1);
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
