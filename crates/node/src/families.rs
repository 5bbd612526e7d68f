//! What each family of metrics is, in a line: what Prometheus shows as its help. `docs/metrics.md` has the rest.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use quota::Zone;

/// Every family of the product, sorted: its kind, its name, and what it counts. A test holds the list against the source.
const FAMILIES: &str = "\
counter weir_api_key_refusals_total API keys that were brought and not taken, by why.
gauge weir_billing_drift_requests Requests by which counts of the biller differ from those of days that are over.
gauge weir_build_info 1, with the version of this node and of its time zone database.
counter weir_catalogue_changes_total Changes of records made at this node at run time.
counter weir_catalogue_conflicts_total Changes of one record that met here of which neither had seen the other.
counter weir_catalogue_pending_changes_total Changes answered while a live member had not confirmed them.
gauge weir_catalogue_pending_members Members that changes made at this node wait for just now.
gauge weir_catalogue_records By kind: limits made at run time, tenants, API keys and people that this node knows, with their sessions and the audit.
counter weir_catalogue_restarts_total Panics of the catalogue, which went on with its records.
gauge weir_catalogue_tombstones Removed records that are remembered, so that nobody brings them back.
histogram weir_claim_seconds How long it took to claim a shard.
gauge weir_clock_outvoted 1 while this node stands aside for its clock.
gauge weir_clock_skew_seconds The cluster's median clock minus that of this node.
gauge weir_config_differs Limits, routes, rules, plans and keys of [cluster] and [service] that the files of members say differently.
gauge weir_config_differs_in One for each of the first of them: 1 while files differ in it, by section, name and nodes.
counter weir_control_busy_total Questions of the control plane refused, since too many are being answered.
counter weir_control_full_total Words of the control plane not sent, since too many wait to be written.
counter weir_counts_write_failures_total Times that the data directory took no counts.
counter weir_counts_writes_total Times that counts which are kept were written to the data directory.
counter weir_deaths_disproved_total Members held for gone that proved to live.
counter weir_decisions_total What the fronts of this node were told of hits.
counter weir_evicted_keys_total Keys forgotten at a cap before they were full again.
counter weir_fail_open_answers_total Hits allowed uncounted by on_failure, since no decision could be had.
counter weir_forgotten_hits_total Admitted hits of dead owners that no live holder knew of.
histogram weir_forward_batch_hits Hits that left for their owner in one frame.
gauge weir_forward_queue_hits Hits that wait to leave for their owners.
counter weir_forwarded_hits_total Hits sent to the owners of their shards.
counter weir_grpc_descriptors_total Descriptors that Envoy asked about and a rule is for.
counter weir_handoffs_total Shards that this node handed over.
counter weir_handshakes_evicted_total Connections that had proven nothing, closed for newer ones.
counter weir_handshakes_total Connections of others to this node, by what became of them.
counter weir_hit_ids_crowded_out_total Ids of admitted hits that were forgotten before their time, for want of room.
gauge weir_key_bytes Bytes that the keys held for shards take.
gauge weir_key_bytes_max The most bytes that keys may take.
gauge weir_keys Keys held for shards of this node, its own and its copies.
counter weir_keys_folded_total Keys found to have been counted apart.
gauge weir_keys_max The most keys that this node may hold.
counter weir_layer_denials_total Requests that a layer in a program limited.
counter weir_leases_lapsed_total Times that a lease had run out and a shard was claimed again.
counter weir_limit_decisions_total What the fronts of this node were told of hits, by limit.
gauge weir_live_streams Streams of GET /v1/live that this node serves.
counter weir_local_heard_cells_total Keys of the strategy local heard from others.
gauge weir_local_keys Keys held for the strategy local.
histogram weir_local_overshoot_units Units by which a key of the strategy local was found beyond its limit.
counter weir_local_told_cells_total Keys of the strategy local told to others.
counter weir_local_untaken_frames_total News of the strategy local that a peer could not be sent.
counter weir_malformed_frames_total Frames of proven peers that make no sense, ignored.
gauge weir_members Live members, this one counted.
counter weir_members_let_go_total Dead members let go of after forget_after.
counter weir_membership_restarts_total Panics of the membership machine, which went on with what it knew.
gauge weir_no_quorum 1 while this node, under partition = quorum, reaches no majority.
counter weir_overshoot_units_total Units beyond the limit that the sides of a partition had admitted.
counter weir_quota_denials_total Requests of tenants refused, since those of the day are used up.
gauge weir_raft_applied_index The last log entry in this node's state of raft.
histogram weir_raft_batch_hits Hits that one log entry of raft took.
counter weir_raft_elections_total Elections of raft that this node won.
counter weir_raft_fail_mode_answers_total Hits of raft that no decision could be had for in time.
counter weir_raft_forwarded_hits_total Hits of raft sent to the leader, or to one who reaches it.
counter weir_raft_groups_dissolved_total Groups of raft that this node left for another.
counter weir_raft_groups_formed_total Groups of raft that this node formed.
counter weir_raft_groups_joined_total Groups of raft that this node joined.
gauge weir_raft_is_leader 1 while this node leads the group of raft.
gauge weir_raft_keys Keys counted by raft.
gauge weir_raft_learners Learners of the group of raft.
gauge weir_raft_log_bytes Bytes that the log of raft holds in memory.
gauge weir_raft_log_entries Entries that the log of raft holds in memory.
counter weir_raft_proposals_total Log entries that this node proposed to raft.
counter weir_raft_relayed_hits_total Hits of other nodes handed on to a leader that they could not reach.
counter weir_raft_retried_hits_total Hits of raft asked again under their id.
counter weir_raft_snapshots_installed_total Snapshots of raft that this node was sent.
counter weir_raft_snapshots_total Snapshots of raft that this node made.
gauge weir_raft_term The term of the group of raft.
gauge weir_raft_voters Voters of the group of raft.
counter weir_redis_breaker_changes_total How often the circuit breaker before Redis became what.
gauge weir_redis_breaker_state The circuit breaker before Redis: 0 closed, 1 half-open, 2 open.
counter weir_redis_failures_total Calls of Redis that failed, by why.
counter weir_redis_fallback_decisions_total Hits answered by on_failure, since Redis could not be asked.
counter weir_relayed_hits_total Hits of other nodes passed on to an owner that they do not reach.
gauge weir_replica_staleness_seconds The age of the oldest write that a copy on this node may lack.
gauge weir_replication_lag_seconds The age of the oldest write of this node that no replica has confirmed.
histogram weir_request_seconds How long requests of a front took.
counter weir_retried_hits_total Attempts of hits after which they were asked again under the same id.
counter weir_shard_states_lost_total Shards opened with no holder of the old record alive.
counter weir_shards_out_of_reach_total Shards opened while the holders of the old record were silent.
gauge weir_shards_owned Shards that this node decides.
counter weir_shards_poisoned_total Shards in which something panicked.
counter weir_shards_stepped_down_total Shards that this node ceased to decide for a higher term.
counter weir_shed_hits_total Hits refused as overloaded, uncounted.
counter weir_spans_dropped_total Spans of recorded requests that nobody was sent, or nobody took.
counter weir_spans_sent_total Spans of recorded requests that the receiver took.
counter weir_store_write_failures_total Times that the data directory took no changes.
counter weir_store_writes_total Times that changes were written to the data directory.
counter weir_stripe_calls_total Calls of Stripe, by what came of them.
counter weir_takeovers_total Shards that this node took over from an owner that was gone.
counter weir_task_restarts_total Tasks that panicked and were started again.
counter weir_term_leaps_total Messages ignored, since they named a term that nobody can have reached.
counter weir_terms_opened_total Shards that this node began to decide.
gauge weir_transport_links Peers that are connected.
counter weir_transport_panics_total Connections on which something panicked.
counter weir_transport_queue_full_total Frames that the queue to a peer had no room for.
counter weir_transport_received_bytes_total Bytes that came from peers.
counter weir_transport_received_frames_total Frames that came from peers.
counter weir_transport_sent_bytes_total Bytes that went to peers.
counter weir_transport_sent_frames_total Frames that went to peers.
counter weir_unanswered_calls_total Questions of other nodes dropped unanswered, since too many are being answered.
gauge weir_under_replicated_shards Shards without an owner, or with fewer live copies than replicas asks for.
counter weir_unmeasured_keys_total Keys counted apart whose overshoot is not measured.
counter weir_unreplicated_answers_total Hits admitted while there was no replica to tell.
gauge weir_unsettled_shards Shards without an owner, or whose copies are on their way.
gauge weir_usage_backlog_requests Requests of tenants that were answered and are still to be counted.
counter weir_usage_uncertain_requests_total Requests of tenants that may not have been counted.
gauge weir_waiting_hits Hits of this node that wait for a forward, a claim or a replica.
counter weir_webhook_events_total Events of Stripe that were signed, by what became of them.
";

/// Tells the recorder what the families are, and which build tells it.
pub(crate) fn describe() {
    for family in FAMILIES.lines() {
        let mut words = family.splitn(3, ' ');
        let (Some(kind), Some(name), Some(help)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let unit = match name.trim_end_matches("_total").trim_end_matches("_max") {
            name if name.ends_with("_seconds") => Unit::Seconds,
            name if name.ends_with("_bytes") => Unit::Bytes,
            _ => Unit::Count,
        };
        match kind {
            "counter" => describe_counter!(name, unit, help),
            "histogram" => describe_histogram!(name, unit, help),
            _ => describe_gauge!(name, unit, help),
        }
    }
    let (version, database) = (env!("CARGO_PKG_VERSION"), Zone::DATABASE);
    gauge!("weir_build_info", "version" => version, "tzdb" => database).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_sorted_by_name() {
        let names = FAMILIES.lines().map(|family| family.split(' ').nth(1));
        assert!(names.is_sorted());
    }
}
