//! How strategies begin: with the node, with a file that is read again, or with a limit made at run time.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cluster::node::Cluster;
use coordinator::Strategy;
use supervisor::Supervisor;
use tokio::sync::watch;

use super::{Others, Strategies, raft, redis};
use crate::builder::{RedisError, StartError};
use crate::config::Config;
use crate::config::raft::RaftConfig;
use crate::config::redis::RedisConfig;
use crate::metrics::Metrics;

/// How long a hit waits for its strategy to start: a node that begins to count by `local` waits a second for what another
/// knows.
const HIT_WAITS: Duration = Duration::from_millis(1_100);

/// Before one that could not be started is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Between two looks at a group of raft that was started at run time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What starting takes, and how far it has come.
pub(super) struct Starting {
    settings: Mutex<Settings>,
    redis_secret: [u8; 16],
    /// One is started at a time, and none once the node stops.
    turn: tokio::sync::Mutex<Turn>,
    /// Those that hits were asked of.
    wanted: watch::Sender<Vec<Strategy>>,
    /// Something was started, or could not be.
    news: watch::Sender<()>,
    /// Those that could not be started, a bit for each.
    failing: AtomicU8,
    has_raft_settled: AtomicBool,
    /// Above what this node does for them besides.
    supervisor: Supervisor,
    metrics: Metrics,
}

/// What the file says of them.
#[derive(Clone)]
struct Settings {
    redis: Option<RedisConfig>,
    raft: RaftConfig,
}

#[derive(Default)]
struct Turn {
    is_over: bool,
}

impl Settings {
    fn of(config: &Config) -> Self {
        Self {
            redis: config.redis.clone(),
            raft: config.raft.clone(),
        }
    }
}

impl Starting {
    pub(super) fn has_raft_settled(&self) -> bool {
        self.has_raft_settled.load(Ordering::Acquire)
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_failing(&self, strategy: Strategy) -> bool {
        self.failing.load(Ordering::Acquire) & bit(strategy) != 0
    }
}

fn bit(strategy: Strategy) -> u8 {
    1 << strategy as u8
}

impl Strategies {
    /// Starts `strategies`, and those that limits made at run time name, and returns when hits can be decided.
    ///
    /// # Errors
    ///
    /// A Redis that cannot be used, or a snapshot of raft that cannot be read, where `strategies` name it.
    pub(crate) async fn start(
        config: &Config,
        strategies: &[Strategy],
        cluster: &Cluster,
        redis_secret: [u8; 16],
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let settings = Settings::of(config);
        let all = Self {
            owner: cluster.clone(),
            others: Arc::new(Others {
                local: OnceLock::new(),
                redis: OnceLock::new(),
                raft: OnceLock::new(),
                starting: Starting {
                    settings: Mutex::new(settings.clone()),
                    redis_secret,
                    turn: tokio::sync::Mutex::default(),
                    wanted: watch::Sender::default(),
                    news: watch::Sender::default(),
                    failing: AtomicU8::new(0),
                    has_raft_settled: AtomicBool::new(false),
                    supervisor: Supervisor::start(),
                    metrics,
                },
            }),
        };
        for &strategy in strategies {
            // Redis needs its section, without which no limit of a file names it.
            let is_told = strategy != Strategy::Redis || settings.redis.is_some();
            if is_told && let Err(error) = all.begin(strategy, &settings).await {
                all.stop().await;
                return Err(error);
            }
        }
        let named = cluster.strategies_named();
        let made = named.borrow().clone();
        all.begin_at_run_time(&made).await;
        let starting = &all.others.starting;
        if let Some(raft) = all.others.raft.get() {
            raft::first_vote(raft).await;
            starting.has_raft_settled.store(true, Ordering::Release);
        }
        let begins = all.clone();
        starting.supervisor.run("strategies", move || {
            begins.clone().begin_when_named(named.clone())
        });
        Ok(all)
    }

    /// Starts those that the limits of `config` name, for a node that runs.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); those of before go on.
    pub(crate) async fn start_for(&self, config: &Config) -> Result<(), StartError> {
        let settings = Settings::of(config);
        for policy in &config.limits {
            if !self.runs(policy.strategy) {
                self.begin(policy.strategy, &settings).await?;
            }
        }
        *self.others.starting.settings() = settings;
        Ok(())
    }

    /// Whether it runs, or would once a limit names it.
    pub(crate) fn may_run(&self, strategy: Strategy) -> bool {
        self.runs(strategy)
            || strategy != Strategy::Redis
            || self.others.starting.settings().redis.is_some()
    }

    /// Ends what was started, once no more hits come.
    pub(crate) async fn stop(&self) {
        self.others.starting.turn.lock().await.is_over = true;
        if let Some(redis) = self.others.redis.get() {
            redis.stop().await;
        }
        if let Some(raft) = self.others.raft.get() {
            raft.stop().await;
        }
        self.others.starting.supervisor.stop().await;
    }

    async fn begin(&self, strategy: Strategy, settings: &Settings) -> Result<(), StartError> {
        let starting = &self.others.starting;
        let turn = starting.turn.lock().await;
        if turn.is_over || self.runs(strategy) {
            return Ok(());
        }
        match strategy {
            Strategy::Owner => {}
            Strategy::Local => {
                let local = starting.metrics.within(self.owner.start_local()).await;
                let _first = self.others.local.set(local);
            }
            Strategy::Redis => {
                let settings = settings.redis.as_ref().ok_or(RedisError::NotTold)?;
                let connect = redis::connect(settings, starting.redis_secret, self.owner.clone());
                let redis = starting.metrics.within(connect).await?;
                let _first = self.others.redis.set(redis);
            }
            Strategy::Raft => {
                // Before it has any: one that is let go of meanwhile would take its vote with it.
                self.owner.give_the_dead_votes();
                let begin = || raft::start(&settings.raft, &self.owner, &starting.supervisor);
                let raft = starting.metrics.scope(begin)?;
                let _first = self.others.raft.set(raft);
            }
        }
        starting.news.send_replace(());
        Ok(())
    }

    /// Starts those that limits made at run time name, and warns of those that cannot be. Whether all run.
    async fn begin_at_run_time(&self, strategies: &[Strategy]) -> bool {
        let starting = &self.others.starting;
        let mut settings = starting.settings().clone();
        if let Some(redis) = &mut settings.redis {
            // The node serves already, and goes on without: each limit has its fail mode.
            redis.start_without_redis = true;
        }
        let mut all_run = true;
        for &strategy in strategies {
            if self.runs(strategy) {
                continue;
            }
            match self.begin(strategy, &settings).await {
                Ok(()) => {
                    starting.failing.fetch_and(!bit(strategy), Ordering::AcqRel);
                    tracing::info!(
                        strategy = strategy.name(),
                        "started, since a limit names it"
                    );
                }
                Err(error) => {
                    all_run = false;
                    let before = starting.failing.fetch_or(bit(strategy), Ordering::AcqRel);
                    if before & bit(strategy) == 0 {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            strategy = strategy.name(),
                            error,
                            "a limit names it and it cannot be started: hits get their fail mode, and it is tried again"
                        );
                    }
                    starting.news.send_replace(());
                }
            }
        }
        all_run
    }

    /// Starts what limits made at run time name, as they come.
    async fn begin_when_named(self, mut named: watch::Receiver<Vec<Strategy>>) {
        let starting = &self.others.starting;
        let mut wanted = starting.wanted.subscribe();
        loop {
            let mut all = named.borrow_and_update().clone();
            all.extend(wanted.borrow_and_update().iter());
            let all_run = self.begin_at_run_time(&all).await;
            let raft = self.others.raft.get();
            let settles = raft.filter(|_| !starting.has_raft_settled());
            if settles.is_some_and(|raft| raft.is_settled() && raft.decides()) {
                starting.has_raft_settled.store(true, Ordering::Release);
            }
            let look_again = async {
                match (all_run, raft.is_some() && !starting.has_raft_settled()) {
                    (_, true) => tokio::time::sleep(LOOK_EVERY).await,
                    (false, false) => tokio::time::sleep(AGAIN_AFTER).await,
                    (true, false) => std::future::pending().await,
                }
            };
            tokio::select! {
                // Neither ends before this does: both senders are held here.
                _ = named.changed() => {}
                _ = wanted.changed() => {}
                () = look_again => {}
            }
        }
    }

    /// A hit needs this strategy: waits until it has begun, or is known not to, or is late.
    #[inline]
    pub(super) async fn start_by_hit(&self, strategy: Strategy) {
        if !self.runs(strategy) {
            self.wait_for(strategy).await;
        }
    }

    #[cold]
    async fn wait_for(&self, strategy: Strategy) {
        let starting = &self.others.starting;
        let mut news = starting.news.subscribe();
        starting.wanted.send_if_modified(|wanted| {
            let is_news = !wanted.contains(&strategy);
            if is_news {
                wanted.push(strategy);
            }
            is_news
        });
        let begun = async {
            while !self.runs(strategy) && !starting.is_failing(strategy) {
                if news.changed().await.is_err() {
                    return;
                }
            }
        };
        let _late = tokio::time::timeout(HIT_WAITS, begun).await;
    }
}
