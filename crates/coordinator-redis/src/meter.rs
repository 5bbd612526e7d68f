//! What is counted about decisions. Handles are made once: the path of a hit only adds.

use coordinator::{Answer, DecisionMeter, NoDecision, Strategy};
use metrics::{Counter, counter};

/// Counters of what this node's fronts were told, and by whom when Redis was away.
pub(crate) struct Meter {
    told: DecisionMeter,
    fell_back_to_deny: Counter,
    fell_back_to_allow: Counter,
    fell_back_to_owner: Counter,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let fallbacks = |answer: &'static str| counter!("weir_redis_fallback_decisions_total", "answer" => answer);
        Self {
            told: DecisionMeter::new(Strategy::Redis),
            fell_back_to_deny: fallbacks("deny"),
            fell_back_to_allow: fallbacks("allow"),
            fell_back_to_owner: fallbacks("owner"),
        }
    }

    /// Told by Redis, or by the fail mode.
    pub(crate) fn count(&self, told: &Result<Answer, NoDecision>) {
        self.told.count(told);
        match told {
            Err(_) => self.fell_back_to_deny.increment(1),
            Ok(answer) if answer.by_fail_mode => self.fell_back_to_allow.increment(1),
            Ok(_) => {}
        }
    }

    /// Told by the cluster in place of Redis, which counts its decisions itself.
    pub(crate) fn count_owner(&self) {
        self.fell_back_to_owner.increment(1);
    }
}
