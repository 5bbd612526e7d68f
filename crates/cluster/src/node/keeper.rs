//! The actors that own the shards: they tick, expire, evict and recover them, and are restarted when
//! they fail. A hit does not pass their mailboxes; it takes the shard's lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quota::Now;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use ractor_cluster::RactorMessage;
use shard::{Role, Shard, ShardId};

use super::Cluster;
use super::memory::{Excess, Held, KEEPERS_MAX, Part};
use super::slots::{Outbox, SHARDS};

/// Keepers of a node. Few, since each is a mailbox and a task; more than the cores of a small machine, so
/// that the work of one tick spreads.
const KEEPERS: u16 = KEEPERS_MAX as u16;

/// Between two ticks. A claim is repeated so late at the most.
const TICK: Duration = Duration::from_millis(25);

/// Every so many ticks, each shard is looked at, and not only those in motion: 1 024 short locks each
/// 100 ms cost half a percent of a core. A lease that lapsed is noticed earlier by the next hit.
const FULL_TICK: u32 = 4;

/// One cell of this many is looked at for expiry at each full tick, so that all have been after 26 s.
const EXPIRY_SHARE: usize = 256;

/// What wakes a keeper.
#[derive(RactorMessage)]
pub(crate) enum KeeperMsg {
    /// Time has passed. Lost with the keeper; its successor starts its own timer. One is under way at a time: the next is
    /// asked for when this one has been done, so that a keeper that was held up finds one waiting and not hundreds.
    Tick,
    /// The view changed: look at every shard at once. At most one waits.
    ViewChanged,
}

/// What wakes the warden.
#[derive(RactorMessage)]
pub(crate) enum WardenMsg {
    /// Tell every keeper. May be repeated. At most one waits.
    ViewChanged,
}

/// The handle on the keepers.
pub(crate) struct Keepers {
    warden: ActorRef<WardenMsg>,
    is_told: Told,
}

/// Whether a word is waiting in a mailbox: a second one would say nothing more.
type Told = Arc<AtomicBool>;

impl Keepers {
    /// Starts the keepers under their warden.
    pub(crate) async fn start(cluster: Cluster) -> Result<Self, ractor::SpawnErr> {
        let is_told = Told::default();
        let (warden, _ended) = Actor::spawn(None, Warden, (cluster, is_told.clone())).await?;
        Ok(Self { warden, is_told })
    }

    /// The view changed.
    pub(crate) fn view_changed(&self) {
        if !self.is_told.swap(true, Ordering::AcqRel) {
            // Without a warden the node is stopping.
            let _stopped = self.warden.cast(WardenMsg::ViewChanged);
        }
    }

    /// Ends all of them.
    pub(crate) fn stop(&self) {
        self.warden.stop(None);
    }
}

/// Starts keepers, and starts them again.
struct Warden;

struct Wards {
    cluster: Cluster,
    is_told: Told,
    keepers: Vec<Ward>,
}

struct Ward {
    keeper: ActorRef<KeeperMsg>,
    is_told: Told,
}

impl Wards {
    async fn start(
        &mut self,
        me: &ActorRef<WardenMsg>,
        index: u16,
    ) -> Result<Ward, ActorProcessingErr> {
        let is_told = Told::default();
        let arguments = (self.cluster.clone(), index, is_told.clone());
        let (keeper, _ended) = Actor::spawn_linked(None, Keeper, arguments, me.get_cell()).await?;
        Ok(Ward { keeper, is_told })
    }
}

impl Actor for Warden {
    type Msg = WardenMsg;
    type State = Wards;
    type Arguments = (Cluster, Told);

    async fn pre_start(
        &self,
        me: ActorRef<WardenMsg>,
        (cluster, is_told): Self::Arguments,
    ) -> Result<Wards, ActorProcessingErr> {
        let mut wards = Wards {
            cluster,
            is_told,
            keepers: Vec::new(),
        };
        for index in 0..KEEPERS {
            let ward = wards.start(&me, index).await?;
            wards.keepers.push(ward);
        }
        Ok(wards)
    }

    async fn handle(
        &self,
        _: ActorRef<WardenMsg>,
        message: WardenMsg,
        wards: &mut Wards,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WardenMsg::ViewChanged => {
                // Before they are told: whoever changes the view from here on tells again.
                wards.is_told.store(false, Ordering::Release);
                for ward in &wards.keepers {
                    if !ward.is_told.swap(true, Ordering::AcqRel) {
                        let _restarting = ward.keeper.cast(KeeperMsg::ViewChanged);
                    }
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<WardenMsg>,
        event: SupervisionEvent,
        wards: &mut Wards,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(failed, error) = event {
            tracing::error!(error = %error, "a keeper of shards failed, starting it again");
            metrics::counter!("weir_keeper_restarts_total").increment(1);
            let place = wards
                .keepers
                .iter()
                .position(|ward| ward.keeper.get_id() == failed.get_id());
            if let Some(place) = place {
                let index = u16::try_from(place).expect("there are eight keepers");
                wards.keepers[place] = wards.start(&me, index).await?;
            }
        }
        Ok(())
    }
}

/// Looks after a range of shards.
struct Keeper;

struct Kept {
    cluster: Cluster,
    index: u16,
    is_told: Told,
    ticks: u32,
    /// What these shards have to give up, as of the last full tick.
    excess: Option<Excess>,
}

impl Actor for Keeper {
    type Msg = KeeperMsg;
    type State = Kept;
    type Arguments = (Cluster, u16, Told);

    async fn pre_start(
        &self,
        me: ActorRef<KeeperMsg>,
        (cluster, index, is_told): Self::Arguments,
    ) -> Result<Kept, ActorProcessingErr> {
        me.send_after(TICK, || KeeperMsg::Tick);
        Ok(Kept {
            cluster,
            index,
            is_told,
            ticks: 0,
            excess: None,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<KeeperMsg>,
        message: KeeperMsg,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            KeeperMsg::Tick => {
                kept.tick();
                me.send_after(TICK, || KeeperMsg::Tick);
            }
            KeeperMsg::ViewChanged => {
                kept.is_told.store(false, Ordering::Release);
                kept.view_changed();
            }
        }
        Ok(())
    }
}

impl Kept {
    fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let each = SHARDS / KEEPERS;
        (self.index * each..(self.index + 1) * each).map(ShardId)
    }

    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        let is_full = self.ticks.is_multiple_of(FULL_TICK);
        let inner = &self.cluster.inner;
        let mut held = Held::default();
        let mut out = Outbox::default();
        let mut evicted = 0;
        for shard in self.shards() {
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
                let floods = match &self.excess {
                    Some(excess) if excess.room(keys, 0).keys < keys => keys / 16,
                    _ => 0,
                };
                shard.expire(around.now, 1 + keys / EXPIRY_SHARE + floods);
                if let Some(excess) = &mut self.excess {
                    evicted += evict(shard, around.now, excess);
                }
                held.add(shard.cells().len(), shard.cells().held_bytes());
            });
        }
        if is_full {
            self.excess = inner.memory.note(Part::Keeper(self.index), held);
        }
        if 0 < evicted {
            inner.metrics.evicted.increment(evicted as u64);
        }
        self.cluster.ship(out);
        self.cluster.repeat_pieces(inner.clock.now());
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
    let (keys, bytes) = (shard.cells().len(), shard.cells().held_bytes());
    let evicted = shard.evict(now, excess.room(keys, bytes));
    let gone = |before: usize, after: usize| before.saturating_sub(after);
    excess.give_up(
        gone(keys, shard.cells().len()),
        gone(bytes, shard.cells().held_bytes()),
    );
    evicted.len()
}
