//! What the node counts about itself. Handles are made once: the path of a hit only adds.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use quota::{Cost, Decision};
use shard::{Note, Operation};

/// Counters of all shards together. What each says, and what it cannot know, stands in `docs/metrics.md`.
pub(crate) struct ShardMetrics {
    unreplicated: Counter,
    terms_opened: Counter,
    takeovers: Counter,
    handoffs: Counter,
    claim_seconds: Histogram,
    stepped_down: Counter,
    leases_lapsed: Counter,
    out_of_reach: Counter,
    state_lost: Counter,
    keys_folded: Counter,
    unmeasured: Counter,
    overshoot_units: Counter,
    forgotten_hits: Counter,
    terms_leapt: Counter,
    crowded_out: Counter,
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
            out_of_reach: counter!("weir_shards_out_of_reach_total"),
            state_lost: counter!("weir_shard_states_lost_total"),
            keys_folded: counter!("weir_keys_folded_total"),
            unmeasured: counter!("weir_unmeasured_keys_total"),
            overshoot_units: counter!("weir_overshoot_units_total"),
            forgotten_hits: counter!("weir_forgotten_hits_total"),
            terms_leapt: counter!("weir_term_leaps_total"),
            crowded_out: counter!("weir_hit_ids_crowded_out_total"),
        }
    }

    /// Counts an answer of which no replica will hear: one to a hit that was admitted while there was none. Nobody is to hear
    /// of a denied hit or a peek, which write nothing.
    pub(crate) fn count_unwritten(&self, operation: Operation, decision: &Decision) {
        if is_admitted(operation, decision) {
            self.unreplicated.increment(1);
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
            Note::OutOfReach => self.out_of_reach.increment(1),
            Note::StateLost => self.state_lost.increment(1),
            Note::Forked { keys } => self.keys_folded.increment(keys as u64),
            Note::Unmeasured { keys } => self.unmeasured.increment(keys as u64),
            Note::Overshoot { units } => self.overshoot_units.increment(units),
            Note::TermLeapt { .. } => self.terms_leapt.increment(1),
            Note::CrowdedOut { ids } => self.crowded_out.increment(ids as u64),
            Note::Forgotten { hits } => self.forgotten_hits.increment(hits as u64),
        }
    }
}

fn is_admitted(operation: Operation, decision: &Decision) -> bool {
    matches!(operation, Operation::Hit(cost) if cost != Cost::PEEK) && decision.is_allowed()
}

/// Counters of forwarding.
pub(crate) struct ForwardMetrics {
    pub(crate) forwarded: Counter,
    pub(crate) retried: Counter,
    pub(crate) relayed: Counter,
    pub(crate) shed: Counter,
    pub(crate) batch_hits: Histogram,
}

impl ForwardMetrics {
    pub(crate) fn new() -> Self {
        Self {
            forwarded: counter!("weir_forwarded_hits_total"),
            retried: counter!("weir_retried_hits_total"),
            relayed: counter!("weir_relayed_hits_total"),
            shed: counter!("weir_shed_hits_total"),
            batch_hits: histogram!("weir_forward_batch_hits"),
        }
    }
}

/// What a node counts about itself, apart from its shards. Handles are made once, with the node: in a program with several
/// each has its own, which a macro that is called later would not find.
pub(crate) struct NodeMetrics {
    pub(crate) evicted: Counter,
    pub(crate) poisoned: Counter,
    pub(crate) disproved: Counter,
    pub(crate) restarted: Counter,
    pub(crate) let_go: Counter,
    pub(crate) malformed: Counter,
    pub(crate) unanswered_calls: Counter,
    pub(crate) skew_seconds: Gauge,
    pub(crate) outvoted: Gauge,
    pub(crate) local_keys: Gauge,
}

impl NodeMetrics {
    pub(crate) fn new() -> Self {
        Self {
            evicted: counter!("weir_evicted_keys_total"),
            poisoned: counter!("weir_shards_poisoned_total"),
            disproved: counter!("weir_deaths_disproved_total"),
            restarted: counter!("weir_membership_restarts_total"),
            let_go: counter!("weir_members_let_go_total"),
            malformed: counter!("weir_malformed_frames_total"),
            unanswered_calls: counter!("weir_unanswered_calls_total"),
            skew_seconds: gauge!("weir_clock_skew_seconds"),
            outvoted: gauge!("weir_clock_outvoted"),
            local_keys: gauge!("weir_local_keys"),
        }
    }
}

#[cfg(test)]
mod tests {
    use quota::{Nanos, Verdict};

    use super::*;

    /// Once two nodes that were well counted a hundred of these for a hundred denied hits.
    #[test]
    fn only_what_was_admitted_wanted_a_replica() {
        let decided = |verdict| Decision {
            verdict,
            remaining: 0,
            grows_after: Nanos::ZERO,
            reset_after: Nanos::ZERO,
        };
        let denied = decided(Verdict::Deny {
            retry_after: Nanos::from_secs(1),
        });
        let allowed = decided(Verdict::Allow);
        let hit = Operation::Hit(Cost::ONE);
        assert!(is_admitted(hit, &allowed));
        assert!(!is_admitted(hit, &denied));
        assert!(!is_admitted(hit, &decided(Verdict::NeverConforms)));
        assert!(!is_admitted(Operation::Hit(Cost::PEEK), &allowed));
        assert!(!is_admitted(Operation::Refund(Cost::ONE), &allowed));
    }
}
