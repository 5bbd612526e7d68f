//! What the node counts about itself. Handles are made once: the path of a hit only adds.

use coordinator::{Answer, NoDecision};
use metrics::{Counter, Histogram, counter, histogram};
use quota::Verdict;
use shard::Note;

/// Counters of all shards together. What each says, and what it cannot know, stands in `docs/metrics.md`.
pub(crate) struct ShardMetrics {
    pub(crate) unreplicated: Counter,
    terms_opened: Counter,
    takeovers: Counter,
    handoffs: Counter,
    claim_seconds: Histogram,
    stepped_down: Counter,
    leases_lapsed: Counter,
    state_lost: Counter,
    keys_folded: Counter,
    overshoot_units: Counter,
    forgotten_hits: Counter,
}

impl ShardMetrics {
    pub(crate) fn new() -> Self {
        Self {
            unreplicated: counter!("weir_unreplicated_answers_total"),
            terms_opened: counter!("weir_terms_opened_total"),
            takeovers: counter!("weir_takeovers_total"),
            handoffs: counter!("weir_handoffs_total"),
            claim_seconds: histogram!("weir_claim_seconds"),
            stepped_down: counter!("weir_shards_stepped_down_total"),
            leases_lapsed: counter!("weir_leases_lapsed_total"),
            state_lost: counter!("weir_shard_states_lost_total"),
            keys_folded: counter!("weir_keys_folded_total"),
            overshoot_units: counter!("weir_overshoot_units_total"),
            forgotten_hits: counter!("weir_forgotten_hits_total"),
        }
    }

    pub(crate) fn count(&self, note: Note) {
        match note {
            Note::Opened {
                after,
                handed_over,
                taken_over,
                ..
            } => {
                self.terms_opened.increment(1);
                self.claim_seconds
                    .record(std::time::Duration::from(after).as_secs_f64());
                if handed_over {
                    self.handoffs.increment(1);
                } else if taken_over {
                    self.takeovers.increment(1);
                }
            }
            Note::SteppedDown { .. } => self.stepped_down.increment(1),
            Note::LeaseLapsed => self.leases_lapsed.increment(1),
            Note::StateLost => self.state_lost.increment(1),
            Note::Forked { keys } => self.keys_folded.increment(keys as u64),
            Note::Overshoot { units } => self.overshoot_units.increment(units),
            Note::Forgotten { hits } => self.forgotten_hits.increment(hits as u64),
        }
    }
}

/// Counters of what this node's fronts were told.
pub(crate) struct DecisionMetrics {
    allowed: Counter,
    denied: Counter,
    never_conforms: Counter,
    none: Counter,
    by_fail_open: Counter,
}

impl DecisionMetrics {
    /// Counters of the decisions by one strategy.
    pub(crate) fn new(strategy: &'static str) -> Self {
        let decisions = |decision: &'static str| counter!("weir_decisions_total", "decision" => decision, "strategy" => strategy);
        Self {
            allowed: decisions("allow"),
            denied: decisions("deny"),
            never_conforms: decisions("never_conforms"),
            none: decisions("none"),
            by_fail_open: counter!("weir_fail_open_answers_total", "strategy" => strategy),
        }
    }

    pub(crate) fn count(&self, told: &Result<Answer, NoDecision>) {
        match told {
            Err(_) => self.none.increment(1),
            Ok(answer) if answer.by_fail_mode => self.by_fail_open.increment(1),
            Ok(answer) => match answer.decision.verdict {
                Verdict::Allow => self.allowed.increment(1),
                Verdict::Deny { .. } => self.denied.increment(1),
                Verdict::NeverConforms => self.never_conforms.increment(1),
            },
        }
    }
}

/// Counters of forwarding.
pub(crate) struct ForwardMetrics {
    pub(crate) forwarded: Counter,
    pub(crate) retried: Counter,
    pub(crate) shed: Counter,
    pub(crate) batch_hits: Histogram,
}

impl ForwardMetrics {
    pub(crate) fn new() -> Self {
        Self {
            forwarded: counter!("weir_forwarded_hits_total"),
            retried: counter!("weir_retried_hits_total"),
            shed: counter!("weir_shed_hits_total"),
            batch_hits: histogram!("weir_forward_batch_hits"),
        }
    }
}
