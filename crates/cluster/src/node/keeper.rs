//! The actors that own the shards: they tick, expire, evict and recover them, and start again when
//! they fail. A hit does not wait for them; it takes the shard's lock.

use std::time::Duration;

use quota::Now;
use shard::{Role, Shard, ShardId};
use tokio::time::Instant;

use super::Cluster;
use super::memory::{Excess, Held, KEEPERS_MAX, Part};
use super::pulse;
use super::slots::{Outbox, SHARDS};

/// Their name in logs and metrics.
pub(super) const KEEPER: &str = "keeper";

/// Keepers of a node. Few, since each is an actor; more than the cores of a small machine, so
/// that the work of one tick spreads.
const KEEPERS: u16 = KEEPERS_MAX as u16;

/// Between two ticks. A claim is repeated so late at the most.
const TICK: Duration = Duration::from_millis(25);

/// Every so many ticks, each shard is looked at, and not only those in motion: 1 024 short locks each
/// 100 ms cost half a percent of a core. A lease that lapsed is noticed earlier by the next hit.
const FULL_TICK: u32 = 4;

/// One cell of this many is looked at for expiry at each full tick, so that all have been after 26 s.
const EXPIRY_SHARE: usize = 256;

impl Cluster {
    /// Starts the keepers. Each finds what it needs in the node, so that one that starts again goes on with the next tick.
    pub(super) fn keep_shards(&self) {
        for index in 0..KEEPERS {
            self.run(KEEPER, move |cluster| cluster.keep(index));
        }
    }

    /// Ticks until the node stops, and looks at every shard at once when the view changes.
    async fn keep(self, index: u16) {
        let mut view = self.inner.view_changes.subscribe();
        let mut kept = Kept {
            cluster: self,
            index,
            ticks: 0,
            excess: None,
        };
        // The keeper before it may have gone with a change that it had not looked at.
        view.mark_changed();
        let mut tick_at = Instant::now();
        while !kept.cluster.inner.is_stopped() {
            tokio::select! {
                () = tokio::time::sleep_until(tick_at) => {
                    kept.tick();
                    // From the end of this one: a keeper that was held up does not make up for it.
                    tick_at = Instant::now() + TICK;
                }
                changed = view.changed() => match changed {
                    Ok(()) => kept.view_changed(),
                    Err(_) => return,
                },
            }
        }
    }
}

/// What a keeper of a range of shards has in mind.
struct Kept {
    cluster: Cluster,
    index: u16,
    ticks: u32,
    /// What these shards have to give up, as of the last full tick.
    excess: Option<Excess>,
}

impl Kept {
    fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let each = SHARDS / KEEPERS;
        (self.index * each..(self.index + 1) * each).map(ShardId)
    }

    /// The shards in the order in which they are looked at.
    fn shards_in_turn(&self) -> Vec<ShardId> {
        let Some(excess) = &self.excess else {
            return self.shards().collect();
        };
        let slots = &self.cluster.inner.slots;
        excess.largest_first(self.shards().map(|shard| {
            let size = slots.read(shard, |shard| {
                (shard.cells().evictable(), shard.cells().evictable_bytes())
            });
            let (keys, bytes) = size.unwrap_or_default();
            (shard, keys, bytes)
        }))
    }

    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        let is_full = self.ticks.is_multiple_of(FULL_TICK);
        let inner = &self.cluster.inner;
        let mut held = Held::default();
        let mut out = Outbox::default();
        let mut evicted = 0;
        for shard in self.shards_in_turn() {
            if inner.slots.recover_if_poisoned(shard, &mut out) {
                inner.metrics.poisoned.increment(1);
                tracing::error!(%shard, "a decision panicked, the shard starts again from a replica");
            }
            inner.slots.with(shard, &mut out, |shard, around| {
                let moves = matches!(shard.role(), Role::Claiming | Role::HandingOff);
                if !is_full && !moves && !shard.wants_flush() {
                    return;
                }
                shard.on_tick(around);
                // More while there are too many, so that floods of short-lived keys go by expiry.
                let keys = shard.cells().len();
                let evictable = shard.cells().evictable();
                let floods = match &self.excess {
                    Some(excess) if excess.room(evictable, 0).keys < evictable => keys / 16,
                    _ => 0,
                };
                shard.expire(around.now, 1 + keys / EXPIRY_SHARE + floods);
                if let Some(excess) = &mut self.excess {
                    evicted += evict(shard, around.now, excess);
                }
                held.add(shard.cells().evictable(), shard.cells().evictable_bytes());
            });
        }
        if is_full {
            self.excess = inner.memory.note(Part::Keeper(self.index), held);
        }
        if 0 < evicted {
            inner.metrics.evicted.increment(evicted as u64);
        }
        self.cluster.ship(out);
        let now = inner.clock.now();
        self.cluster.repeat_pieces(now);
        inner.pulse.beat(pulse::Part::Keeper(self.index), now.boot);
    }

    fn view_changed(&self) {
        let inner = &self.cluster.inner;
        let world = inner.slots.world.load();
        inner.copies.retain(|peer| world.view.contains(peer));
        let mut out = Outbox::default();
        for shard in self.shards() {
            inner
                .slots
                .with(shard, &mut out, |shard, around| shard.on_view(around));
        }
        self.cluster.ship(out);
    }
}

/// Lets a shard give up its part of what is too much; how many keys that is.
fn evict(shard: &mut Shard, now: Now, excess: &mut Excess) -> usize {
    let (keys, bytes) = (shard.cells().evictable(), shard.cells().evictable_bytes());
    let evicted = shard.evict(now, excess.room(keys, bytes));
    let gone = |before: usize, after: usize| before.saturating_sub(after);
    excess.give_up(
        gone(keys, shard.cells().evictable()),
        gone(bytes, shard.cells().evictable_bytes()),
    );
    evicted.len()
}
