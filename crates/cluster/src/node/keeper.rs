//! The actors that own the shards: they tick, expire, evict and recover them, and are restarted when
//! they fail. A hit does not pass their mailboxes; it takes the shard's lock.

use std::ops::Range;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use ractor_cluster::RactorMessage;
use shard::{Role, ShardId};

use super::Cluster;
use super::slots::{Outbox, SHARDS};

/// Keepers of a node. Few, since each is a mailbox and a task; more than the cores of a small machine, so
/// that the work of one tick spreads.
const KEEPERS: u16 = 8;

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
    /// Time has passed. Lost with the keeper; its successor starts its own timer.
    Tick,
    /// The view changed: look at every shard at once.
    ViewChanged,
}

/// What wakes the warden.
#[derive(RactorMessage)]
pub(crate) enum WardenMsg {
    /// Tell every keeper. May be repeated.
    ViewChanged,
}

/// The handle on the keepers.
pub(crate) struct Keepers {
    warden: ActorRef<WardenMsg>,
}

impl Keepers {
    /// Starts the keepers under their warden.
    pub(crate) async fn start(cluster: Cluster) -> Result<Self, ractor::SpawnErr> {
        let (warden, _ended) = Actor::spawn(None, Warden, cluster).await?;
        Ok(Self { warden })
    }

    /// The view changed.
    pub(crate) fn view_changed(&self) {
        // Without a warden the node is stopping.
        let _stopped = self.warden.cast(WardenMsg::ViewChanged);
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
    keepers: Vec<ActorRef<KeeperMsg>>,
}

impl Wards {
    async fn start(
        &mut self,
        me: &ActorRef<WardenMsg>,
        index: u16,
    ) -> Result<ActorRef<KeeperMsg>, ActorProcessingErr> {
        let each = SHARDS / KEEPERS;
        let shards = index * each..(index + 1) * each;
        let (keeper, _ended) =
            Actor::spawn_linked(None, Keeper, (self.cluster.clone(), shards), me.get_cell())
                .await?;
        Ok(keeper)
    }
}

impl Actor for Warden {
    type Msg = WardenMsg;
    type State = Wards;
    type Arguments = Cluster;

    async fn pre_start(
        &self,
        me: ActorRef<WardenMsg>,
        cluster: Cluster,
    ) -> Result<Wards, ActorProcessingErr> {
        let mut wards = Wards {
            cluster,
            keepers: Vec::new(),
        };
        for index in 0..KEEPERS {
            let keeper = wards.start(&me, index).await?;
            wards.keepers.push(keeper);
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
                for keeper in &wards.keepers {
                    let _restarting = keeper.cast(KeeperMsg::ViewChanged);
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
                .position(|keeper| keeper.get_id() == failed.get_id());
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
    shards: Range<u16>,
    ticks: u32,
}

impl Actor for Keeper {
    type Msg = KeeperMsg;
    type State = Kept;
    type Arguments = (Cluster, Range<u16>);

    async fn pre_start(
        &self,
        me: ActorRef<KeeperMsg>,
        (cluster, shards): Self::Arguments,
    ) -> Result<Kept, ActorProcessingErr> {
        let _timer = me.send_interval(TICK, || KeeperMsg::Tick);
        Ok(Kept {
            cluster,
            shards,
            ticks: 0,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<KeeperMsg>,
        message: KeeperMsg,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            KeeperMsg::Tick => kept.tick(),
            KeeperMsg::ViewChanged => kept.view_changed(),
        }
        Ok(())
    }
}

impl Kept {
    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        let is_full = self.ticks.is_multiple_of(FULL_TICK);
        let inner = &self.cluster.inner;
        let now = inner.clock.now();
        let share = usize::try_from(inner.config.max_keys / u64::from(SHARDS))
            .unwrap_or(usize::MAX)
            .max(1);
        let mut out = Outbox::default();
        let mut evicted = 0;
        for shard in self.shards.clone().map(ShardId) {
            if inner.slots.recover_if_poisoned(now, shard, &mut out) {
                metrics::counter!("weir_shards_poisoned_total").increment(1);
                tracing::error!(%shard, "a decision panicked, the shard starts again from a replica");
            }
            inner.slots.with(now, shard, &mut out, |shard, around| {
                let moves = matches!(shard.role(), Role::Claiming | Role::HandingOff);
                if !is_full && !moves && !shard.wants_flush() {
                    return;
                }
                shard.on_tick(around);
                // More while there are too many, so that floods of short-lived keys go by expiry.
                let held = shard.cells().len();
                let floods = if share < held { held / 16 } else { 0 };
                shard.expire(now, 1 + held / EXPIRY_SHARE + floods);
                if share < shard.cells().len() {
                    evicted += shard.evict(now, shard.cells().len() - share);
                }
            });
        }
        if 0 < evicted {
            metrics::counter!("weir_evicted_keys_total").increment(evicted as u64);
        }
        self.cluster.ship(out);
    }

    fn view_changed(&self) {
        let inner = &self.cluster.inner;
        let now = inner.clock.now();
        let mut out = Outbox::default();
        for shard in self.shards.clone().map(ShardId) {
            inner
                .slots
                .with(now, shard, &mut out, |shard, around| shard.on_view(around));
        }
        self.cluster.ship(out);
    }
}
