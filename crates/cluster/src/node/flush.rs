//! Sends deltas to the replicas.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use delta_crdt::ReplicaId;
use shard::{Baseline, Message, ShardId};
use tokio::sync::Notify;

use super::Cluster;
use super::slots::Outbox;

/// How long writes gather at most, with `ack = "fast"`, while deltas before them are unconfirmed.
///
/// They leave at once when nothing is under way, and otherwise when the receipts are there: a tenth of a millisecond later on
/// loopback. This is for the replica that is slow or silent, so that it does not hold up the others: what they may
/// forget (P2) grows to this, and no further. With `replicated` nobody waits: writes gather while the last ones are sent.
const GATHER_MAX: Duration = Duration::from_millis(5);

/// Deltas that replicas have not confirmed.
#[derive(Default)]
pub(crate) struct UnderWay {
    deltas: Mutex<BTreeMap<ReplicaId, usize>>,
    /// The last of them was confirmed.
    all_confirmed: Notify,
}

impl UnderWay {
    /// These messages leave for `to`.
    pub(crate) fn on_sent(&self, to: ReplicaId, messages: &[(ShardId, Message)]) {
        let is_delta = |(_, message): &&(ShardId, Message)| {
            matches!(
                message,
                Message::Delta {
                    baseline: Baseline::After(_),
                    ..
                }
            )
        };
        let sent = messages.iter().filter(is_delta).count();
        if sent != 0 {
            *self.lock().entry(to).or_default() += sent;
        }
    }

    /// `from` has confirmed so many.
    pub(crate) fn on_confirmed(&self, from: ReplicaId, confirmed: usize) {
        let mut deltas = self.lock();
        if let Some(left) = deltas.get_mut(&from) {
            *left = left.saturating_sub(confirmed);
            if *left == 0 {
                deltas.remove(&from);
            }
            if deltas.is_empty() {
                self.all_confirmed.notify_waiters();
            }
        }
    }

    /// What was under way to `peer` is lost.
    pub(crate) fn on_disconnected(&self, peer: ReplicaId) {
        self.on_confirmed(peer, usize::MAX);
    }

    /// Waits until nothing is under way, but no longer than [`GATHER_MAX`].
    async fn gather(&self) {
        let all_confirmed = self.all_confirmed.notified();
        if self.lock().is_empty() {
            return;
        }
        if tokio::time::timeout(GATHER_MAX, all_confirmed)
            .await
            .is_err()
        {
            // Lost, or slower than that: not waited for again. A receipt that comes after all confirms nothing here.
            self.lock().clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, usize>> {
        // Nothing that holds it leaves it half changed.
        self.deltas
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Flushes written shards until the node stops.
pub(crate) async fn flush_forever(cluster: Cluster) {
    while !cluster.inner.is_stopped() {
        cluster.inner.slots.has_dirty.notified().await;
        if !cluster.inner.slots.holds_answers() {
            cluster.inner.under_way.gather().await;
        }
        cluster.flush_dirty();
    }
}

impl Cluster {
    /// Sends the writes since the last flush.
    pub(crate) fn flush_dirty(&self) {
        let mut out = Outbox::default();
        for shard in self.inner.slots.take_dirty() {
            self.inner.slots.with(shard, &mut out, |shard, around| {
                shard.flush(around.now.boot)
            });
        }
        self.ship(out);
    }
}

#[cfg(test)]
mod tests {
    use delta_crdt::Term;
    use tokio::time::Instant;

    use super::*;

    const REPLICAS: [ReplicaId; 2] = [ReplicaId(1), ReplicaId(2)];

    fn delta() -> (ShardId, Message) {
        let delta = Message::Delta {
            term: Term {
                number: 1,
                replica: ReplicaId(9),
            },
            baseline: Baseline::After(1),
            through: 2,
            cells: vec![],
            admitted: vec![],
        };
        (ShardId(0), delta)
    }

    #[tokio::test(start_paused = true)]
    async fn writes_leave_at_once_when_nothing_is_under_way() {
        let under_way = UnderWay::default();
        let began = Instant::now();
        under_way.gather().await;
        under_way.on_sent(REPLICAS[0], &[delta()]);
        under_way.on_confirmed(REPLICAS[0], 1);
        under_way.on_sent(REPLICAS[0], &[]);
        under_way.gather().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn writes_gather_until_all_that_is_under_way_is_confirmed() {
        let under_way = UnderWay::default();
        under_way.on_sent(REPLICAS[0], &[delta(), delta()]);
        under_way.on_sent(REPLICAS[1], &[delta()]);
        let began = Instant::now();
        let confirm = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            under_way.on_confirmed(REPLICAS[0], 2);
            tokio::time::sleep(Duration::from_millis(1)).await;
            under_way.on_confirmed(REPLICAS[1], 1);
        };
        tokio::join!(under_way.gather(), confirm);
        assert_eq!(began.elapsed(), Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_replica_holds_writes_up_once_and_for_a_bounded_time() {
        let under_way = UnderWay::default();
        under_way.on_sent(REPLICAS[0], &[delta()]);
        let began = Instant::now();
        under_way.gather().await;
        assert_eq!(began.elapsed(), GATHER_MAX);
        under_way.gather().await;
        assert_eq!(began.elapsed(), GATHER_MAX);
        under_way.on_sent(REPLICAS[1], &[delta()]);
        under_way.on_disconnected(REPLICAS[1]);
        under_way.gather().await;
        assert_eq!(began.elapsed(), GATHER_MAX);
    }
}
