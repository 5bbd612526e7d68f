//! How a node comes into a cluster: it is given an incarnation by a live node, or founds a cluster.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use delta_crdt::ReplicaId;
use membership::{Membership, Message, Settings, Status};
use quota::{BootNanos, KeyHasher};
use store::Store;
use supervisor::Supervisor;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::assets::Assets;
use super::calls::Calls;
use super::catalogue::Records;
use super::counts::Counts;
use super::disk::{self, Disk};
use super::files::Files;
use super::flush;
use super::forward::Forwarder;
use super::heard::LastHeard;
use super::liveness::member_of;
use super::lookups::Lookups;
use super::memory::Memory;
use super::metrics::NodeMetrics;
use super::pulse::{self, Pulse};
use super::questions::Gatekeeper;
use super::quorum::QuorumWatch;
use super::series::Series;
use super::skew::Skew;
use super::slots::{SHARDS, Slots};
use super::{Cluster, ClusterConfig, Inner, PASSING_ON_MAX, RELAYING_MAX, WAITING_MAX};
use crate::clock::Clock;
use crate::control::{Control, ControlError};
use crate::discovery::{Announcement, Neighbours};
use crate::wire;
use transport::Transport;
use transport::handshake::{Hello, Refusal};

/// How long a node waits for every shard to have an owner before it says that it is ready anyway.
const SETTLE: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(40);

/// Between two ticks of the membership machine: a quarter of a heartbeat.
const HEARTBEAT_TICK: Duration = Duration::from_millis(25);

/// Between two looks for members that have been dead for long. Short beside the hour after which one is let go of.
const LOOK_FOR_THE_DEAD: Duration = Duration::from_secs(1);

/// Why a node could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nothing was started.
    #[error("taking over the listener for other nodes")]
    Listen(#[source] std::io::Error),
    /// Nothing was joined, or it was left again.
    #[error("told to stop before the cluster was joined")]
    Stopped,
    /// Nothing was started, and the directory is as it was.
    #[error(transparent)]
    Data(#[from] store::OpenError),
    /// Nothing was joined.
    #[error("starting the control plane")]
    Control(#[from] ControlError),
    /// Nothing was joined: another node answers under this name, or was started with it at the same moment.
    #[error("a node named {name} is already in the cluster and answers, at {at}")]
    NameTaken {
        /// The name wanted.
        name: String,
        /// Who said so.
        at: String,
    },
    /// Nothing was joined: the address given with `--join` belongs to another cluster.
    #[error("the node at {at} refuses this one: {reason}")]
    Refused {
        /// The address.
        at: String,
        /// Why.
        reason: Refusal,
    },
}

/// What came of looking for a cluster.
pub(super) enum Found {
    Granted {
        incarnation: u64,
        roster: Vec<u8>,
        dead: Vec<ReplicaId>,
    },
    /// Nobody: it founds a cluster, in which these count.
    Nobody { founders: Vec<String> },
}

impl Cluster {
    /// Starts a node that serves the others on `listener`: joins whom it can find, and returns when every shard has an
    /// owner.
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    pub async fn start(
        config: ClusterConfig,
        listener: std::net::TcpListener,
    ) -> Result<Self, JoinError> {
        Self::start_unless(config, listener, std::future::pending()).await
    }

    /// As [`Self::start`], unless `stopped` resolves before: then nothing of it is left.
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    pub async fn start_unless(
        config: ClusterConfig,
        listener: std::net::TcpListener,
        stopped: impl Future<Output = ()> + Send,
    ) -> Result<Self, JoinError> {
        let mut stopped = pin!(stopped);
        let (config, opened) = disk::open(config).await?;
        let supervisor = Supervisor::start();
        let transport = transport_on(listener, &config, &supervisor)
            .inspect_err(|_| supervisor.cut_off())
            .map_err(JoinError::Listen)?;
        let me = Hello {
            name: config.name.clone(),
            incarnation: 0,
            replica: fresh_replica(),
            cluster: transport.advertised().to_owned(),
            http: config.http.clone(),
            zone: config.zone.clone(),
            asks: config.asks,
        };
        let cluster = Self::assemble(
            config,
            transport.clone(),
            supervisor,
            me.replica,
            opened.store,
        );
        let aside = cluster.load(opened.kept);
        let last = opened.counts.members().to_vec();
        let loaded = cluster.clone();
        disk::blocking(move || loaded.load_counts(opened.counts)).await;
        let control = Control::start(
            &transport,
            &cluster.inner.supervisor,
            Arc::new(Gatekeeper(cluster.clone())),
        )
        .await?;
        let _first = cluster.inner.control.set(control);
        let (admits, reads) = (cluster.clone(), cluster.clone());
        let events = transport.start(
            me.clone(),
            Arc::new(move |peer: &Hello| admits.admit(peer)),
            Arc::new(move |from: ReplicaId, frame: Bytes| reads.on_frame(from, &frame)),
        );
        let events = Arc::new(tokio::sync::Mutex::new(events));
        cluster.run("connections", move |cluster| {
            cluster.follow_connections(Arc::clone(&events))
        });
        let (neighbours, announcement) = announce(&cluster.inner.config, &me);
        *cluster
            .inner
            .announcement
            .lock()
            .expect("nothing panics under this lock") = announcement;
        let found = tokio::select! {
            found = cluster.look_for_cluster(neighbours.as_ref(), &me.cluster, &last) => found,
            () = &mut stopped => Err(JoinError::Stopped),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                // Others must not wait for a node that has given up.
                cluster.go_silent().await;
                return Err(error);
            }
        };
        let founds = matches!(found, Found::Nobody { .. });
        let dead = match &found {
            Found::Granted { dead, .. } => dead.clone(),
            Found::Nobody { .. } => Vec::new(),
        };
        if founds {
            cluster.load_all(aside);
        } else {
            cluster.forget_all(aside).await;
        }
        cluster.take_part(me, found).await?;
        if founds && !cluster.inner.config.join.is_empty() {
            cluster.run("seeds", Self::look_on);
        }
        let has_all = async {
            cluster.settle(&dead).await;
            cluster.catch_up().await;
        };
        tokio::select! {
            () = has_all => Ok(cluster),
            () = stopped => {
                cluster.stop().await;
                Err(JoinError::Stopped)
            }
        }
    }

    fn assemble(
        config: ClusterConfig,
        transport: Transport,
        supervisor: Supervisor,
        me: ReplicaId,
        store: Option<Store>,
    ) -> Self {
        let secret = config.cookie.secret("keys");
        let mut key_secret = [0; 16];
        key_secret.copy_from_slice(&secret[..16]);
        let keys = KeyHasher::new(key_secret);
        let clock = Arc::new(Clock::start());
        let inner = Inner {
            clock: Arc::clone(&clock),
            keys,
            me,
            slots: Slots::new(me, clock, config.shards, config.acknowledge),
            copies: super::copies::CopyWindows::default(),
            under_way: flush::UnderWay::default(),
            forwarder: Forwarder::new(transport.clone()),
            calls: Calls::default(),
            local: OnceLock::new(),
            transport,
            control: OnceLock::new(),
            announcement: Mutex::new(None),
            membership: Mutex::new(None),
            heard: LastHeard::default(),
            view_changes: watch::Sender::new(()),
            pulse: Pulse::default(),
            supervisor,
            records: Records::new(me, keys),
            disk: Disk::new(store),
            counts: Counts::new(),
            files: Files::default(),
            lookups: Lookups::default(),
            series: Series::default(),
            assets: Assets::default(),
            memory: Memory::new(config.max_keys, config.max_memory),
            metrics: NodeMetrics::new(),
            skew: Skew::new(config.shards.max_skew),
            founding: Mutex::new(None),
            beginning: Mutex::new(None),
            silence: Mutex::new(None),
            differing: Mutex::default(),
            quorum_watch: QuorumWatch::default(),
            waiting: Semaphore::new(WAITING_MAX),
            relaying: Semaphore::new(RELAYING_MAX),
            passing_on: Arc::new(Semaphore::new(PASSING_ON_MAX)),
            detours: Mutex::default(),
            joined: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            fenced: watch::Sender::new(false),
            config,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(super) fn name_taken(&self, at: String) -> JoinError {
        let name = self.inner.config.name.clone();
        JoinError::NameTaken { name, at }
    }

    /// Becomes a member: from here on others hear of this node.
    async fn take_part(&self, me: Hello, found: Found) -> Result<(), JoinError> {
        let (incarnation, joins) = match &found {
            Found::Granted { incarnation, .. } => (*incarnation, true),
            Found::Nobody { .. } => (1, false),
        };
        let me = Hello { incarnation, ..me };
        let now = self.inner.clock.now().boot;
        let settings = Settings {
            forget_after: self.inner.config.forget_after,
            quorum: self.inner.config.shards.partition == shard::Partition::Quorum,
            ..Settings::lan()
        };
        let mut membership = Membership::new(now, member_of(&me), settings, joins);
        if let Found::Nobody { founders } = &found {
            membership.on_founding(founders.iter().cloned());
        }
        if joins {
            membership.on_aside(true);
            self.inner.skew.on_joining();
        }
        if let Found::Granted { roster, .. } = &found
            && let Ok(members) = wire::decode_roster(roster)
        {
            membership.on_message(now, me.replica, Message::Roster(members));
        }
        self.inner.joined.store(!joins, Ordering::Release);
        *self
            .inner
            .membership
            .lock()
            .expect("the machine does not panic") = Some(membership);
        self.inner.transport.introduce(me);
        self.with_membership(|membership, _| self.dial(membership));
        self.keep_shards();
        self.with_membership(|membership, now| self.tick(membership, now));
        self.run("heartbeats", Self::tick_forever);
        self.run("clock", Self::keep_time);
        self.run("flush", flush::flush_forever);
        self.run("catalogue", Self::look_after_catalogue);
        self.run("files", Self::compare_files);
        if self.inner.config.data_dir.is_some() {
            self.run("disk", Self::keep_records);
            self.run("counts", Self::keep_counts);
        }
        Ok(())
    }

    /// Runs a task that lives as long as the node.
    pub(super) fn run<F>(
        &self,
        name: &'static str,
        task: impl Fn(Self) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let cluster = self.clone();
        self.inner
            .supervisor
            .run(name, move || task(cluster.clone()));
    }

    fn tick(&self, membership: &mut Membership, now: BootNanos) {
        membership.on_tick(now);
        self.inner.heard.publish(membership);
    }

    async fn tick_forever(self) {
        let mut timer = tokio::time::interval(HEARTBEAT_TICK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        while !self.inner.is_stopped() {
            timer.tick().await;
            let of_the_shards = self.facts_of_the_shards();
            let ticked = self.with_membership(|membership, now| {
                if let Some((chair, recalled)) = of_the_shards {
                    membership.on_chair(chair);
                    membership.on_recalled(recalled);
                }
                self.tick(membership, now);
            });
            self.watch_quorum();
            if ticked.is_some() {
                self.inner
                    .pulse
                    .beat(pulse::Part::Heartbeats, self.inner.clock.now().boot);
            }
            if LOOK_FOR_THE_DEAD <= looked.elapsed() {
                looked = Instant::now();
                self.let_go();
            }
        }
    }

    /// Waits until every member is heard of, but for those that whoever let this node in holds for `dead`, every shard has a
    /// live owner, and that one has what this node had on its disk.
    async fn settle(&self, dead: &[ReplicaId]) {
        let started = Instant::now();
        while started.elapsed() < SETTLE {
            if SETTLE / 2 < started.elapsed() {
                // Whoever let this node in has gone since: go on alone.
                self.inner.joined.store(true, Ordering::Release);
            }
            let all_heard = self.with_membership(|membership, _| {
                let known = membership.roster().iter().filter(|member| member.belongs());
                let mut expected = known.filter(|member| !dead.contains(&member.replica));
                expected.all(|member| membership.status(member.replica) != Some(Status::Dead))
            });
            let patience = started.elapsed() < Duration::from_secs(2);
            let world = self.inner.slots.world.load();
            let owned = (0..SHARDS).all(|shard| {
                self.inner
                    .slots
                    .owner(shard::ShardId(shard))
                    .is_some_and(|owner| world.view.contains(owner))
            });
            let counts = self.inner.config.asks || world.view.counts(self.inner.me);
            let counts = counts && self.no_quorum().is_none();
            let is_settled = owned && counts && (all_heard == Some(true) || !patience);
            if is_settled && self.is_what_was_kept_known() {
                return;
            }
            tokio::time::sleep(PAUSE / 4).await;
        }
        tracing::warn!("not every shard has an owner yet, serving anyway");
    }

    fn admit(&self, peer: &Hello) -> Result<(), Refusal> {
        let newer = self.with_membership(|membership, _| {
            membership
                .roster()
                .get(&peer.name)
                .is_some_and(|known| peer.incarnation < known.incarnation)
        });
        if newer == Some(true) {
            Err(Refusal::Fenced)
        } else {
            Ok(())
        }
    }

    pub(crate) fn control(&self) -> &Control {
        self.inner
            .control
            .get()
            .expect("the control plane is started before anything uses it")
    }
}

/// Takes the listener over: it is never closed and bound again, so that nobody else gets its port in between.
fn transport_on(
    listener: std::net::TcpListener,
    config: &ClusterConfig,
    supervisor: &Supervisor,
) -> io::Result<Transport> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    Transport::listening(
        listener,
        Some(config.advertise.clone()),
        config.cookie.clone(),
        supervisor,
    )
}

/// Tells the nodes of this host where this one is. A node works without.
fn announce(config: &ClusterConfig, me: &Hello) -> (Option<Neighbours>, Option<Announcement>) {
    let Some(directory) = &config.neighbours else {
        return (None, None);
    };
    let neighbours = match Neighbours::below(directory, &config.cookie) {
        Ok(neighbours) => neighbours,
        Err(error) => {
            tracing::warn!(error = %error, "no directory of live nodes, so those of this host are not found without --join");
            return (None, None);
        }
    };
    match neighbours.announce(&me.name, &me.cluster) {
        Ok(announcement) => (Some(neighbours), Some(announcement)),
        Err(error) => {
            tracing::warn!(error = %error, "could not announce this node to others of this host");
            (Some(neighbours), None)
        }
    }
}

/// A replica id that no other incarnation of any node has: random, and never 0, which stands for nobody.
fn fresh_replica() -> ReplicaId {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    ReplicaId(u32::from_ne_bytes(bytes).max(1))
}
