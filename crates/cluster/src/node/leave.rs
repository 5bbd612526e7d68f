//! How a node goes: it hands everything off first.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Cluster;
use super::slots::SHARDS;

/// How long the others may take to take over what this node holds. Longer than copying a million keys.
const HAND_OFF: Duration = Duration::from_secs(20);

/// How long peers have to read the last words.
const LAST_WORDS: Duration = Duration::from_millis(60);

/// Between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(10);

impl Cluster {
    /// Hands every shard to the others, waiting until they have confirmed. Goes on serving meanwhile.
    ///
    /// `false`: nobody could take them in time, or nobody is there.
    pub async fn hand_off(&self) -> bool {
        self.inner.draining.store(true, Ordering::Release);
        self.with_membership(|membership, now| membership.on_leave(now));
        let started = Instant::now();
        loop {
            let world = self.inner.slots.world.load_full();
            if !world.view.members().iter().any(|seen| seen.takes_shards) {
                return false;
            }
            let left = (0..SHARDS).filter(|&shard| {
                self.inner
                    .slots
                    .read(shard::ShardId(shard), |shard| !shard.may_leave())
                    .unwrap_or(false)
            });
            if left.count() == 0 {
                return true;
            }
            if HAND_OFF < started.elapsed() {
                tracing::warn!("the others did not take every shard in time");
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Says goodbye and ends every task. Decides nothing any more.
    pub async fn stop(&self) {
        self.tell_local();
        self.with_membership(|membership, now| membership.on_left(now));
        self.inner.stopped.store(true, Ordering::Release);
        self.inner.slots.wake_all();
        tokio::time::sleep(LAST_WORDS).await;
        self.go_silent().await;
    }

    /// Cannot be found any more, and closes every connection.
    pub(super) async fn go_silent(&self) {
        drop(
            self.inner
                .announcement
                .lock()
                .expect("nothing panics under this lock")
                .take(),
        );
        self.control().stop();
        self.inner.transport.shutdown().await;
        self.inner.supervisor.stop().await;
        self.keep_last_counts().await;
        self.inner.counts.close();
        self.inner.disk.close();
    }
}
