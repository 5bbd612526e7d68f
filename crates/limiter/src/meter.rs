//! What a front was told, counted: the same names for every front and strategy, so that a dashboard adds them up.

use std::sync::Arc;

use coordinator::{Answer, NoDecision, Strategy};
use metrics::{Counter, counter, histogram};
use quota::Verdict;
use traces::Tracer;

use crate::{Front, Requests};

/// Where metrics go.
pub type Recorder = Arc<dyn metrics::Recorder + Send + Sync>;

/// Counters of what one front was told, by strategy. Handles are made once: counting only adds.
pub(crate) struct Meters {
    by_strategy: [Meter; Strategy::ALL.len()],
    requests: Requests,
}

impl Meters {
    /// `weir_decisions_total` and `weir_fail_open_answers_total` of `front`. `tracer`: by whom its requests are recorded.
    pub(crate) fn new(front: Front, tracer: Option<Tracer>) -> Self {
        let seconds = histogram!("weir_request_seconds", "front" => front.name());
        Self {
            by_strategy: Strategy::ALL.map(|strategy| Meter::of_front(front, strategy)),
            requests: Requests::new(front, seconds, tracer),
        }
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The front was told this of one hit on a limit of `strategy`.
    #[inline]
    pub(crate) fn count(&self, strategy: Strategy, told: &Result<Answer, NoDecision>) {
        self.by_strategy[strategy as usize].count(told);
    }
}

/// What one front was told of hits on limits of one strategy.
pub(crate) struct Meter {
    allowed: Counter,
    denied: Counter,
    never_conforms: Counter,
    none: Counter,
    by_fail_open: Counter,
}

impl Meter {
    /// Of all limits.
    fn of_front(front: Front, strategy: Strategy) -> Self {
        let (front, strategy) = (front.name(), strategy.name());
        let by_fail_open =
            counter!("weir_fail_open_answers_total", "strategy" => strategy, "front" => front);
        Self::new(
            by_fail_open,
            |decision| counter!("weir_decisions_total", "decision" => decision, "strategy" => strategy, "front" => front),
        )
    }

    /// Of one limit.
    pub(crate) fn of_limit(limit: &str, front: Front, strategy: Strategy) -> Self {
        let (front, strategy) = (front.name(), strategy.name());
        let of = |decision: &'static str| {
            counter!(
                "weir_limit_decisions_total",
                "limit" => limit.to_owned(), "decision" => decision, "strategy" => strategy, "front" => front
            )
        };
        Self::new(of("fail_open"), of)
    }

    fn new(by_fail_open: Counter, of: impl Fn(&'static str) -> Counter) -> Self {
        Self {
            allowed: of("allow"),
            denied: of("deny"),
            never_conforms: of("never_conforms"),
            none: of("none"),
            by_fail_open,
        }
    }

    #[inline]
    pub(crate) fn count(&self, told: &Result<Answer, NoDecision>) {
        let counter = match told {
            Err(_) => &self.none,
            Ok(answer) if answer.by_fail_mode => &self.by_fail_open,
            Ok(answer) => match answer.decision.verdict {
                Verdict::Allow => &self.allowed,
                Verdict::Deny { .. } => &self.denied,
                Verdict::NeverConforms => &self.never_conforms,
            },
        };
        counter.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_and_each_front_has_a_place_of_its_own() {
        for (place, strategy) in Strategy::ALL.into_iter().enumerate() {
            assert_eq!(strategy as usize, place);
        }
        for (place, front) in Front::ALL.into_iter().enumerate() {
            assert_eq!(front as usize, place);
        }
    }
}
