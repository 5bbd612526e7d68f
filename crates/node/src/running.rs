//! A node that runs: joining, serving, stopping in order.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::cookie::Cookie;
use cluster::node::{Acknowledge, Cluster, ClusterConfig};
use coordinator::Strategy;
use quota::Nanos;
use tokio::sync::watch;

use crate::builder::StartError;
use crate::config::Config;
use crate::config::cluster::Ack;
use crate::config::memory::MemoryMax;
use crate::metrics::Metrics;
use crate::node::Failure;
use crate::reload::define;
use crate::served::{Served, Started};
use crate::strategies::Strategies;
use crate::tasks::Tasks;

/// How far a node has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    Joining,
    Serves,
    /// It cannot go on, and waits to be stopped.
    Failed(Failure),
    /// Nothing of it runs any more.
    Ended,
}

/// What joining starts from.
pub(crate) struct Joining {
    pub(crate) config: ClusterConfig,
    pub(crate) listener: TcpListener,
    pub(crate) limits: Config,
    pub(crate) strategies: Vec<Strategy>,
    pub(crate) metrics: Metrics,
    pub(crate) cookie: Cookie,
    /// Whether a front serves routes, and one rules: only then does what the file says of them matter.
    pub(crate) has_routes: bool,
    pub(crate) has_rules: bool,
}

/// The task of a node, from its first moment to its last.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) drain_wait: Duration,
    pub(crate) served: Arc<Served>,
    pub(crate) tasks: Tasks,
    pub(crate) told: watch::Receiver<bool>,
    pub(crate) life: watch::Sender<Life>,
    /// Why it did not start, until somebody asks.
    pub(crate) refused: Arc<Mutex<Option<StartError>>>,
}

/// How a node was told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Drain,
    /// Nobody holds it any more.
    Leave,
}

impl Running {
    pub(crate) async fn run(mut self, joining: Joining) {
        match join_cluster(joining, told(self.told.clone())).await {
            Ok(started) => self.serve(started).await,
            Err(error) => {
                self.served.begin_drain();
                tracing::info!(node = %self.name, reason = %error, "not joined, stopping");
                self.note(error);
                self.tasks.stop().await;
            }
        }
        self.served.end();
        self.life.send_replace(Life::Ended);
    }

    async fn serve(&mut self, started: Started) {
        self.served.start(started.clone());
        if let Some(live) = self.tasks.live() {
            started
                .cluster
                .answer_series_by(move |asked| live.answer(asked));
        }
        started.cluster.answer_assets_by(dashboard::asset);
        self.life.send_replace(Life::Serves);
        let told_to = tokio::select! {
            told_to = told(self.told.clone()) => told_to,
            () = started.cluster.fenced() => {
                let name = self.name.clone();
                self.life.send_replace(Life::Failed(Failure::NameTaken { name }));
                told(self.told.clone()).await
            }
        };
        self.served.begin_drain();
        if told_to == Told::Drain {
            tracing::info!(node = %self.name, drain_wait_ms = self.drain_wait.as_millis(), "told to stop, draining");
            // Whoever sends requests here learns from /ready that this must end, and needs a while to learn it.
            tokio::time::sleep(self.drain_wait).await;
        }
        self.tasks.stop().await;
        let handed_off = told_to == Told::Drain && started.cluster.hand_off().await;
        tracing::info!(node = %self.name, handed_off, "stopping");
        started.strategies.stop().await;
        started.cluster.stop().await;
    }

    /// For whoever asks why it did not start.
    fn note(&self, error: StartError) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = Some(error);
    }
}

/// Runs a node, and does what it has left undone should it panic: nobody waits for a node that is no more, and what it had
/// once it had joined ends.
pub(crate) async fn watch_over(
    running: impl Future<Output = ()> + Send + 'static,
    served: Arc<Served>,
    life: watch::Sender<Life>,
) {
    let Err(panicked) = tokio::spawn(running).await else {
        return;
    };
    served.begin_drain();
    served.end();
    tracing::error!(error = %panicked, "what runs the node has panicked, stopping it");
    life.send_replace(Life::Failed(Failure::Panicked));
    if let Some(started) = served.started() {
        started.strategies.stop().await;
        started.cluster.stop().await;
    }
    // With `life` end those who wait until it has stopped.
}

/// Resolves when the node is told to stop.
async fn told(mut told: watch::Receiver<bool>) -> Told {
    match told.wait_for(|&told| told).await {
        Ok(_) => Told::Drain,
        Err(_) => Told::Leave,
    }
}

/// Joins whom it can find, and starts what the limits need, unless it is told to stop.
async fn join_cluster(
    joining: Joining,
    stop: impl Future<Output = Told> + Send,
) -> Result<Started, StartError> {
    let Joining {
        config,
        listener,
        limits,
        strategies,
        metrics,
        cookie,
        has_routes,
        has_rules,
    } = joining;
    let mut stop = std::pin::pin!(stop);
    let stopped = async {
        stop.as_mut().await;
    };
    let cluster = Cluster::start_unless(config, listener, stopped).await?;
    let redis_secret = half(cookie.secret("redis"));
    match Strategies::start(&limits, &strategies, &cluster, redis_secret, metrics).await {
        Ok(strategies) => {
            define(&cluster, &limits, has_routes, has_rules);
            Ok(Started {
                cluster,
                strategies,
            })
        }
        Err(error) => {
            // Others must not count on a node that has given up.
            cluster.stop().await;
            Err(error)
        }
    }
}

/// What the cluster is told of what all nodes share. The rest is this node's own.
pub(crate) fn cluster_config(config: &Config, cookie: Cookie) -> ClusterConfig {
    let shared = &config.cluster;
    ClusterConfig {
        name: String::new(),
        cookie,
        advertise: String::new(),
        http: String::new(),
        zone: None,
        asks: false,
        join: Vec::new(),
        neighbours: None,
        data_dir: None,
        start_wait: shared.start_wait.into(),
        expect: None,
        shards: shard::Settings::lan(usize::from(shared.replicas), shared.partition),
        acknowledge: match shared.ack {
            Ack::Fast => Acknowledge::Fast {
                max_lag: shared.max_lag.into(),
            },
            Ack::Replicated => Acknowledge::Replicated,
        },
        forget_after: config.forget_after().map(Nanos::from),
        max_keys: shared.max_keys,
        max_memory: max_memory(shared.max_memory),
    }
}

/// What keys may take on this machine.
pub(crate) fn max_memory(configured: MemoryMax) -> u64 {
    match (configured, crate::machine::memory()) {
        (MemoryMax::Bytes(bytes), _) => bytes,
        (MemoryMax::Percent(percent), Some(memory)) => memory / 100 * u64::from(percent),
        (MemoryMax::Percent(_), None) => {
            tracing::warn!(
                "the machine does not say how much memory it has, only max_keys bounds what keys take"
            );
            u64::MAX
        }
    }
}

/// As much of a secret as a keyed hash takes.
fn half(secret: [u8; 32]) -> [u8; 16] {
    std::array::from_fn(|place| secret[place])
}
