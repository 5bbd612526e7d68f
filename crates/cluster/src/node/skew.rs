//! Keeps this node's wall clock with the others': counts are stamped with it, and others compare them.
//!
//! Every node asks the others for the time and slews towards the median, itself included, so that one
//! clock that is far off moves alone. While a majority agrees that it is beyond `max_skew`, its node decides nothing
//! that others can decide: see [`Clocks`].

use std::sync::Mutex;
use std::time::Duration;

use delta_crdt::ReplicaId;
use membership::{Bearing, Clocks};
use quota::{BootNanos, Nanos, Now, UnixNanos};

use super::Cluster;
use crate::wire::{self, Frame};
use transport::Lane;

/// Between two rounds of questions: as often as a clock may slew.
const ROUND: Duration = Duration::from_millis(100);

/// A question that took longer says too little: its answer may be off by half of that.
const ROUND_TRIP_MAX: Nanos = Nanos::from_millis(50);

/// The clocks of the others, as last measured.
pub(crate) struct Skew {
    clocks: Mutex<Clocks>,
    max_skew: Nanos,
}

impl Skew {
    /// Beyond `max_skew` the clock is off by more than limits of a second can bear.
    pub(crate) fn new(max_skew: Nanos) -> Self {
        Self {
            clocks: Mutex::new(Clocks::new(max_skew, false)),
            max_skew,
        }
    }

    /// This node joins others, and has not compared its clock with theirs.
    pub(crate) fn on_joining(&self) {
        *self.lock() = Clocks::new(self.max_skew, true);
    }

    /// A peer told its time in answer to a question of `asked`.
    pub(crate) fn on_told(&self, now: Now, from: ReplicaId, asked: BootNanos, wall: UnixNanos) {
        let round_trip = now.boot - asked;
        if asked.get() == 0 || ROUND_TRIP_MAX < round_trip {
            return;
        }
        // Told half a round trip ago, give or take that half.
        let then = now.wall - Nanos::new(round_trip.get() / 2);
        let offset = wall.get().wrapping_sub(then.get()).cast_signed();
        self.lock().on_measured(from, offset);
    }

    pub(crate) fn on_disconnected(&self, peer: ReplicaId) {
        self.lock().on_gone(peer);
    }

    /// The median of all clocks, and what it says of this one.
    fn bearing(&self) -> (i64, Bearing) {
        let mut clocks = self.lock();
        (clocks.median(), clocks.bearing())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Clocks> {
        self.clocks.lock().expect("nothing panics under this lock")
    }
}

impl Cluster {
    /// Asks for the time and slews until the node stops.
    pub(crate) async fn keep_time(self) {
        let mut last = None;
        while !self.inner.is_stopped() {
            let asked = wire::encode(&Frame::TimeAsked(self.inner.clock.now().boot));
            for peer in self.inner.transport.peers() {
                let _lost = self
                    .inner
                    .transport
                    .send(peer.replica, Lane::Urgent, asked.clone());
            }
            tokio::time::sleep(ROUND).await;
            let (median, bearing) = self.inner.skew.bearing();
            let meter = &self.inner.metrics;
            meter.skew_seconds.set(median as f64 / 1e9);
            meter.outvoted.set(f64::from(bearing == Bearing::Outvoted));
            let is_far = self.inner.skew.max_skew.get() < median.unsigned_abs();
            if last != Some(bearing) {
                let skew_ms = median / 1_000_000;
                match bearing {
                    Bearing::Outvoted if is_far => tracing::error!(
                        skew_ms,
                        "this node's clock is far from the cluster's, leaving decisions to the others until it has slewed"
                    ),
                    Bearing::Undecided => tracing::error!(
                        skew_ms,
                        "the clocks of the cluster differ and no majority of them agrees, limits shorter than that are not exact"
                    ),
                    // A newcomer: nothing is known against its clock, nor for it.
                    Bearing::Outvoted => tracing::info!(
                        skew_ms,
                        "clock not compared with enough others yet, which decide meanwhile"
                    ),
                    Bearing::Within => tracing::info!(skew_ms, "clock agrees with the cluster's"),
                }
            }
            let behind = self.inner.slots.behind(self.inner.clock.now().boot);
            self.with_membership(|membership, _| {
                membership.on_aside(bearing == Bearing::Outvoted);
                membership.on_behind(behind);
            });
            last = Some(bearing);
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
        let skew = Skew::new(Nanos::from_millis(500));
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
        assert_eq!(skew.bearing().0, 10, "the one in the middle");
        skew.on_disconnected(ReplicaId(3));
        assert_eq!(skew.bearing().0, 5, "of two, each goes half the way");
    }

    #[test]
    fn an_answer_that_took_long_says_nothing() {
        let skew = Skew::new(Nanos::from_millis(500));
        let late = now(ROUND_TRIP_MAX.get() + 1_002, 10_000_000_000);
        skew.on_told(late, ReplicaId(2), BootNanos::new(1_000), UnixNanos::new(1));
        assert_eq!(skew.bearing().0, 0);
    }
}
