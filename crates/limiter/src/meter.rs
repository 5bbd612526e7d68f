//! What a front was told, counted: the same names for every front and strategy, so that a dashboard adds them up.

use coordinator::{Answer, NoDecision, Strategy};
use metrics::{Counter, counter};
use quota::Verdict;

use crate::Front;

/// Counters of what one front was told, by strategy. Handles are made once: counting only adds.
pub(crate) struct Meters([Meter; Strategy::ALL.len()]);

impl Meters {
    /// `weir_decisions_total` and `weir_fail_open_answers_total` of `front`.
    pub(crate) fn new(front: Front) -> Self {
        Self(Strategy::ALL.map(|strategy| Meter::new(front, strategy)))
    }

    /// The front was told this of one hit on a limit of `strategy`.
    #[inline]
    pub(crate) fn count(&self, strategy: Strategy, told: &Result<Answer, NoDecision>) {
        self.0[strategy as usize].count(told);
    }
}

struct Meter {
    allowed: Counter,
    denied: Counter,
    never_conforms: Counter,
    none: Counter,
    by_fail_open: Counter,
}

impl Meter {
    fn new(front: Front, strategy: Strategy) -> Self {
        let (front, strategy) = (front.name(), strategy.name());
        let decisions = |decision: &'static str| counter!("weir_decisions_total", "decision" => decision, "strategy" => strategy, "front" => front);
        Self {
            allowed: decisions("allow"),
            denied: decisions("deny"),
            never_conforms: decisions("never_conforms"),
            none: decisions("none"),
            by_fail_open: counter!("weir_fail_open_answers_total", "strategy" => strategy, "front" => front),
        }
    }

    #[inline]
    fn count(&self, told: &Result<Answer, NoDecision>) {
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
    fn a_strategy_has_its_own_place() {
        for (place, strategy) in Strategy::ALL.into_iter().enumerate() {
            assert_eq!(strategy as usize, place);
        }
    }
}
