//! Keeps this node's wall clock with the others': counts are stamped with it, and others compare them.
//!
//! Every node asks the others for the time and slews towards the median, itself included, so that one
//! clock that is far off moves alone.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos, Now, UnixNanos};

use super::Cluster;
use crate::transport::Lane;
use crate::wire::{self, Frame};

/// Between two rounds of questions: as often as a clock may slew.
const ROUND: Duration = Duration::from_millis(100);

/// Beyond this the clock is off by more than limits of a second can bear, and the operator hears of it.
const SKEW_MAX: Nanos = Nanos::from_millis(500);

/// A question that took longer says too little: its answer may be off by half of that.
const ROUND_TRIP_MAX: Nanos = Nanos::from_millis(50);

/// How far the clocks of the others are ahead of this one, in nanoseconds, as last measured.
#[derive(Default)]
pub(crate) struct Skew {
    offsets: Mutex<BTreeMap<ReplicaId, i64>>,
}

impl Skew {
    /// A peer told its time in answer to a question of `asked`.
    pub(crate) fn on_told(&self, now: Now, from: ReplicaId, asked: BootNanos, wall: UnixNanos) {
        let round_trip = now.boot - asked;
        if asked.get() == 0 || ROUND_TRIP_MAX < round_trip {
            return;
        }
        // Told half a round trip ago, give or take that half.
        let then = now.wall - Nanos::new(round_trip.get() / 2);
        let offset = wall.get().wrapping_sub(then.get()).cast_signed();
        self.lock().insert(from, offset);
    }

    pub(crate) fn on_disconnected(&self, peer: ReplicaId) {
        self.lock().remove(&peer);
    }

    /// The median of all clocks, this one's offset being zero; of two, the middle between them.
    fn median(&self) -> i64 {
        let mut offsets: Vec<i64> = self.lock().values().copied().chain([0]).collect();
        offsets.sort_unstable();
        match offsets.len() {
            2 => (offsets[0] + offsets[1]) / 2,
            len => offsets[len / 2],
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ReplicaId, i64>> {
        self.offsets.lock().expect("nothing panics under this lock")
    }
}

impl Cluster {
    /// Asks for the time and slews until the node stops.
    pub(crate) async fn keep_time(self) {
        let mut was_off = false;
        while !self.inner.is_stopped() {
            let asked = wire::encode(&Frame::TimeAsked(self.inner.clock.now().boot));
            for peer in self.inner.transport.peers() {
                let _lost = self
                    .inner
                    .transport
                    .send(peer.replica, Lane::Urgent, asked.clone());
            }
            tokio::time::sleep(ROUND).await;
            let median = self.inner.skew.median();
            metrics::gauge!("weir_clock_skew_seconds").set(median as f64 / 1e9);
            let is_off = SKEW_MAX.get() < median.unsigned_abs();
            if is_off && !was_off {
                tracing::error!(
                    skew_ms = median / 1_000_000,
                    "this node's clock is far from the cluster's, limits shorter than that are not exact until it has slewed"
                );
            }
            was_off = is_off;
            self.inner.clock.slew_towards(median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(boot: u64, wall: u64) -> Now {
        Now {
            boot: BootNanos::new(boot),
            wall: UnixNanos::new(wall),
        }
    }

    #[test]
    fn one_wrong_clock_does_not_move_the_others() {
        let skew = Skew::default();
        skew.on_told(
            now(2_000, 10_000),
            ReplicaId(2),
            BootNanos::new(1_000),
            UnixNanos::new(9_510),
        );
        skew.on_told(
            now(2_000, 10_000),
            ReplicaId(3),
            BootNanos::new(1_000),
            UnixNanos::new(900_000),
        );
        assert_eq!(skew.median(), 10, "the one in the middle");
        skew.on_disconnected(ReplicaId(3));
        assert_eq!(skew.median(), 5, "of two, each goes half the way");
    }

    #[test]
    fn an_answer_that_took_long_says_nothing() {
        let skew = Skew::default();
        let late = now(ROUND_TRIP_MAX.get() + 1_002, 10_000_000_000);
        skew.on_told(late, ReplicaId(2), BootNanos::new(1_000), UnixNanos::new(1));
        assert_eq!(skew.median(), 0);
    }
}
