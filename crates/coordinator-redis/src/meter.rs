//! What is counted about decisions that Redis did not make. Handles are made once: the path of a hit only adds.

use coordinator::{Answer, NoDecision};
use metrics::{Counter, counter};

/// Who answered when Redis was away.
pub(crate) struct Meter {
    fell_back_to_deny: Counter,
    fell_back_to_allow: Counter,
    fell_back_to_owner: Counter,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let fallbacks = |answer: &'static str| counter!("weir_redis_fallback_decisions_total", "answer" => answer);
        Self {
            fell_back_to_deny: fallbacks("deny"),
            fell_back_to_allow: fallbacks("allow"),
            fell_back_to_owner: fallbacks("owner"),
        }
    }

    /// Told by Redis, or by the fail mode.
    pub(crate) fn count(&self, told: &Result<Answer, NoDecision>) {
        match told {
            Err(_) => self.fell_back_to_deny.increment(1),
            Ok(answer) if answer.by_fail_mode => self.fell_back_to_allow.increment(1),
            Ok(_) => {}
        }
    }

    /// Told by the cluster in place of Redis.
    pub(crate) fn count_owner(&self) {
        self.fell_back_to_owner.increment(1);
    }
}
