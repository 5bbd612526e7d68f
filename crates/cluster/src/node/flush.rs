//! Sends deltas to the replicas.

use std::time::Duration;

use super::Cluster;
use super::slots::Outbox;

/// How long writes gather before they leave, with `ack = "fast"`.
///
/// Shorter narrows what is forgotten when an owner dies (P2), and costs that many more frames. With
/// `replicated` nobody waits for a timer: writes gather while the last ones are being sent.
const FLUSH_EVERY: Duration = Duration::from_millis(5);

/// Flushes written shards until the node stops.
pub(crate) async fn flush_forever(cluster: Cluster) {
    while !cluster.inner.is_stopped() {
        cluster.inner.slots.has_dirty.notified().await;
        if !cluster.inner.slots.holds_answers() {
            tokio::time::sleep(FLUSH_EVERY).await;
        }
        cluster.flush_dirty();
    }
}

impl Cluster {
    /// Sends the writes since the last flush.
    pub(crate) fn flush_dirty(&self) {
        let now = self.inner.clock.now();
        let mut out = Outbox::default();
        for shard in self.inner.slots.take_dirty() {
            self.inner
                .slots
                .with(now, shard, &mut out, |shard, around| {
                    shard.flush(around.now.boot)
                });
        }
        self.ship(out);
    }
}
