//! What is counted about decisions. Handles are made once: the path of a hit only adds.

use coordinator::{Answer, NoDecision};
use metrics::{Counter, counter};
use quota::Verdict;

/// Counters of what this node's fronts were told, and by whom when Redis was away.
pub(crate) struct DecisionMetrics {
    allowed: Counter,
    denied: Counter,
    never_conforms: Counter,
    none: Counter,
    by_fail_open: Counter,
    fell_back_to_deny: Counter,
    fell_back_to_allow: Counter,
    fell_back_to_owner: Counter,
}

impl DecisionMetrics {
    pub(crate) fn new() -> Self {
        // The same names as for limits of other strategies: a dashboard adds them up.
        let decisions = |decision: &'static str| counter!("weir_decisions_total", "decision" => decision, "strategy" => "redis");
        let fallbacks = |answer: &'static str| counter!("weir_redis_fallback_decisions_total", "answer" => answer);
        Self {
            allowed: decisions("allow"),
            denied: decisions("deny"),
            never_conforms: decisions("never_conforms"),
            none: decisions("none"),
            by_fail_open: counter!("weir_fail_open_answers_total", "strategy" => "redis"),
            fell_back_to_deny: fallbacks("deny"),
            fell_back_to_allow: fallbacks("allow"),
            fell_back_to_owner: fallbacks("owner"),
        }
    }

    /// Told by Redis.
    pub(crate) fn count(&self, verdict: Verdict) {
        match verdict {
            Verdict::Allow => self.allowed.increment(1),
            Verdict::Deny { .. } => self.denied.increment(1),
            Verdict::NeverConforms => self.never_conforms.increment(1),
        }
    }

    /// Told by the fail mode.
    pub(crate) fn count_fail_mode(&self, told: &Result<Answer, NoDecision>) {
        match told {
            Err(_) => {
                self.none.increment(1);
                self.fell_back_to_deny.increment(1);
            }
            Ok(_) => {
                self.by_fail_open.increment(1);
                self.fell_back_to_allow.increment(1);
            }
        }
    }

    /// Told by the cluster in place of Redis, which counts its decisions itself.
    pub(crate) fn count_owner(&self) {
        self.fell_back_to_owner.increment(1);
    }
}
