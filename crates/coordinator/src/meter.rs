//! What fronts are told, counted: the same names for every strategy, so that a dashboard adds them up.

use metrics::{Counter, counter};
use quota::Verdict;

use crate::{Answer, NoDecision, Strategy};

/// Counters of what this node's fronts were told by one strategy. Handles are made once: counting only adds.
pub struct DecisionMeter {
    allowed: Counter,
    denied: Counter,
    never_conforms: Counter,
    none: Counter,
    by_fail_open: Counter,
}

impl DecisionMeter {
    /// `weir_decisions_total` and `weir_fail_open_answers_total` of `strategy`.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        let strategy = strategy.name();
        let decisions = |decision: &'static str| counter!("weir_decisions_total", "decision" => decision, "strategy" => strategy);
        Self {
            allowed: decisions("allow"),
            denied: decisions("deny"),
            never_conforms: decisions("never_conforms"),
            none: decisions("none"),
            by_fail_open: counter!("weir_fail_open_answers_total", "strategy" => strategy),
        }
    }

    /// A front is told this of one hit.
    #[inline]
    pub fn count(&self, told: &Result<Answer, NoDecision>) {
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
