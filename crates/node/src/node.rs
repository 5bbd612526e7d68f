//! A node that runs: joining, serving, stopping in order.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use cluster::cookie::Cookie;
use cluster::discovery::Seed;
use cluster::node::{Acknowledge, Cluster, ClusterConfig};
use coordinator::Strategy;
use front_resp::RespConfig;
use limiter::Limiter;
use quota::Nanos;
use tokio::sync::watch;

use crate::builder::{Builder, StartError};
use crate::config::cluster::Ack;
use crate::config::memory::MemoryMax;
use crate::config::{Config, NAMESPACE};
use crate::front::{Front, grpc_config, http_config};
use crate::listeners::{ListenError, advertised};
use crate::metrics::Metrics;
use crate::served::{Me, Served, Started};
use crate::strategies::Strategies;

/// A node that runs in this process, until [`Self::stop`]. Clones are the same node.
///
/// When the last clone and the last limit of it are dropped without that, it stops as well, and does not wait for the
/// others to take its shards: they take them over as if it had been killed.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    name: String,
    http: Option<SocketAddr>,
    redis: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    cluster: SocketAddr,
    pub(crate) limiter: Limiter<Served>,
    /// Those that it runs.
    pub(crate) strategies: Vec<Strategy>,
    metrics: Metrics,
    /// What its task is told. Closed with the last handle.
    told: watch::Sender<bool>,
    life: watch::Receiver<Life>,
    /// Why it did not start, until somebody asks.
    refused: Arc<Mutex<Option<StartError>>>,
}

/// How far a node has come.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Life {
    Joining,
    Serves,
    /// It cannot go on, and waits to be stopped.
    Failed(Failure),
    /// Nothing of it runs any more.
    Ended,
}

/// Why a node cannot go on. It is to be stopped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// It decides nothing any more.
    #[error("another node has taken the name {name} in this cluster")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Nobody can ask it in one of the ways that it was to serve.
    #[error("the {name} front has ended by itself")]
    Front {
        /// What people call that way.
        name: &'static str,
    },
    /// It was stopped.
    #[error("the node was stopped")]
    Stopped,
}

impl Node {
    /// A node to be told what it needs.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn open(
        builder: Builder,
        cookie: Cookie,
        join: Vec<Seed>,
    ) -> Result<Self, StartError> {
        let http = builder.http.map(|http| http.open("http")).transpose()?;
        let redis = builder.redis.map(|redis| redis.open("redis")).transpose()?;
        let grpc = builder.grpc.map(|grpc| grpc.open("grpc")).transpose()?;
        let (listener, cluster) = builder.cluster.open("cluster")?;
        let advertise = advertised(builder.advertise, cluster);
        let metrics = builder.metrics.unwrap_or_else(Metrics::prometheus);
        let http_address = http.as_ref().map(|&(_, address)| address);
        let told = http_address.map(|address| address.to_string());
        let me = Me {
            name: builder.name.clone(),
            http: told.unwrap_or_default(),
            cluster: advertise.to_string(),
        };
        let config = ClusterConfig {
            name: builder.name.clone(),
            advertise: me.cluster.clone(),
            http: me.http.clone(),
            zone: builder.zone,
            join,
            neighbours: builder.neighbours,
            data_dir: builder.data_dir,
            expect: builder.expect,
            ..cluster_config(&builder.config, cookie.clone())
        };
        let served = Arc::new(Served::new(me, metrics.clone(), NAMESPACE.into()));
        let limits = builder.config.limits.iter().cloned();
        let limiter = metrics.scope(|| {
            let node = Arc::clone(&served);
            Limiter::new(node, NAMESPACE.into(), limits, limiter::Front::Program)
        });
        let mut fronts = Vec::new();
        let redis_address = redis.as_ref().map(|&(_, address)| address);
        if let Some((listener, _)) = redis {
            let config = RespConfig {
                api_token: builder.api_token.clone(),
            };
            let front =
                metrics.scope(|| Front::redis(listener, limiter.of(limiter::Front::Resp), config));
            let what = "redis";
            fronts.push(front.map_err(|source| ListenError::TakeOver { what, source })?);
        }
        let grpc_address = grpc.as_ref().map(|&(_, address)| address);
        if let Some((listener, _)) = grpc {
            let config = grpc_config(&builder.config, builder.api_token.clone());
            let front =
                metrics.scope(|| Front::grpc(listener, limiter.of(limiter::Front::Grpc), config));
            let what = "grpc";
            fronts.push(front.map_err(|source| ListenError::TakeOver { what, source })?);
        }
        if let Some((listener, _)) = http {
            let http = http_config(&builder.config, builder.api_token, cookie.secret("browser"));
            let front =
                metrics.scope(|| Front::http(listener, limiter.of(limiter::Front::Http), http));
            let what = "http";
            fronts.push(front.map_err(|source| ListenError::TakeOver { what, source })?);
        }
        let (told, is_told) = watch::channel(false);
        let (lives, life) = watch::channel(Life::Joining);
        let refused = Arc::default();
        let running = Running {
            name: builder.name.clone(),
            drain_wait: builder.drain_wait,
            served: Arc::clone(&served),
            fronts,
            told: is_told,
            life: lives,
            refused: Arc::clone(&refused),
        };
        let mut strategies = builder.strategies;
        strategies.push(Strategy::Owner);
        strategies.extend(builder.config.limits.iter().map(|limit| limit.strategy));
        let joining = Joining {
            config,
            listener,
            limits: builder.config,
            strategies: strategies.clone(),
            metrics: metrics.clone(),
            cookie,
        };
        tokio::spawn(metrics.within(running.run(joining)));
        Ok(Self {
            inner: Arc::new(Inner {
                name: builder.name,
                http: http_address,
                redis: redis_address,
                grpc: grpc_address,
                cluster,
                limiter,
                strategies,
                metrics,
                told,
                life,
                refused,
            }),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Where it serves HTTP. `None`: it does not.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.inner.http
    }

    /// Where it serves the Redis protocol. `None`: it does not.
    #[must_use]
    pub fn redis(&self) -> Option<SocketAddr> {
        self.inner.redis
    }

    /// Where it serves Envoy's rate limit service. `None`: it does not.
    #[must_use]
    pub fn grpc(&self) -> Option<SocketAddr> {
        self.inner.grpc
    }

    /// Where it serves other nodes.
    #[must_use]
    pub fn cluster(&self) -> SocketAddr {
        self.inner.cluster
    }

    /// Live members, this one counted. Zero before it has joined.
    #[must_use]
    pub fn members(&self) -> usize {
        self.inner.limiter.node().members()
    }

    /// Its metrics, as `/metrics` shows them.
    #[must_use]
    pub fn metrics(&self) -> String {
        limiter::Node::metrics(self.inner.limiter.node())
    }

    /// Where its metrics go.
    #[must_use]
    pub fn recorder(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Resolves when the node has joined whom it could find, and decides hits.
    ///
    /// # Errors
    ///
    /// Why it will not: the first who asks is told, others that it has [`StartError::NotStarted`].
    pub async fn joined(&self) -> Result<(), StartError> {
        let mut life = self.inner.life.clone();
        let joined = life.wait_for(|life| *life != Life::Joining).await;
        if joined.is_ok_and(|life| *life != Life::Ended) {
            return Ok(());
        }
        let refused = &self.inner.refused;
        let refused = refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Err(refused.unwrap_or(StartError::NotStarted))
    }

    /// Resolves when the node cannot go on, or was stopped.
    pub async fn failed(&self) -> Failure {
        let mut life = self.inner.life.clone();
        let failed = life.wait_for(|life| matches!(life, Life::Failed(_) | Life::Ended));
        match failed.await.as_deref() {
            Ok(Life::Failed(failure)) => failure.clone(),
            _ => Failure::Stopped,
        }
    }

    /// Stops in order: first the balancers are told, then the clients, then the other nodes. Returns when nothing of it
    /// runs any more. May be called again.
    ///
    /// Limits of it answer that it is stopping from then on.
    pub async fn stop(&self) {
        self.inner.told.send_replace(true);
        let mut life = self.inner.life.clone();
        // An error means that its task has ended, too: with its runtime.
        let _ended = life.wait_for(|life| *life == Life::Ended).await;
    }
}

/// What joining starts from.
struct Joining {
    config: ClusterConfig,
    listener: TcpListener,
    limits: Config,
    strategies: Vec<Strategy>,
    metrics: Metrics,
    cookie: Cookie,
}

/// The task of a node, from its first moment to its last.
struct Running {
    name: String,
    drain_wait: Duration,
    served: Arc<Served>,
    fronts: Vec<Front>,
    told: watch::Receiver<bool>,
    life: watch::Sender<Life>,
    refused: Arc<Mutex<Option<StartError>>>,
}

/// How a node was told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Drain,
    /// Nobody holds it any more.
    Leave,
}

impl Running {
    async fn run(mut self, joining: Joining) {
        match join_cluster(joining, told(self.told.clone())).await {
            Ok(started) => self.serve(started).await,
            Err(error) => {
                self.served.begin_drain();
                tracing::info!(node = %self.name, reason = %error, "not joined, stopping");
                self.note(error);
                self.stop_fronts().await;
            }
        }
        self.served.end();
        self.life.send_replace(Life::Ended);
    }

    async fn serve(&mut self, started: Started) {
        self.served.start(started.clone());
        self.life.send_replace(Life::Serves);
        let told_to = tokio::select! {
            told_to = told(self.told.clone()) => told_to,
            failure = failure(&started.cluster, &mut self.fronts, &self.name) => {
                self.life.send_replace(Life::Failed(failure));
                told(self.told.clone()).await
            }
        };
        self.served.begin_drain();
        if told_to == Told::Drain {
            tracing::info!(node = %self.name, drain_wait_ms = self.drain_wait.as_millis(), "told to stop, draining");
            // Whoever sends requests here learns from /ready that this must end, and needs a while to learn it.
            tokio::time::sleep(self.drain_wait).await;
        }
        self.stop_fronts().await;
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

    /// All at once: each takes as long as its slowest client, up to ten seconds.
    async fn stop_fronts(&mut self) {
        self.fronts.iter_mut().for_each(Front::begin_stop);
        for front in &mut self.fronts {
            front.stop().await;
        }
    }
}

/// Resolves when the node is told to stop.
async fn told(mut told: watch::Receiver<bool>) -> Told {
    match told.wait_for(|&told| told).await {
        Ok(_) => Told::Drain,
        Err(_) => Told::Leave,
    }
}

/// Resolves when the node cannot go on.
async fn failure(cluster: &Cluster, fronts: &mut [Front], name: &str) -> Failure {
    let ended = poll_fn(|cx| {
        let ended = fronts
            .iter_mut()
            .find_map(|front| front.poll_ended(cx).is_ready().then(|| front.name()));
        ended.map_or(Poll::Pending, Poll::Ready)
    });
    tokio::select! {
        () = cluster.fenced() => Failure::NameTaken { name: name.to_owned() },
        name = ended => Failure::Front { name },
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
    } = joining;
    let mut stop = std::pin::pin!(stop);
    let stopped = async {
        stop.as_mut().await;
    };
    let cluster = Cluster::start_unless(config, listener, stopped).await?;
    let redis_secret = half(cookie.secret("redis"));
    match Strategies::start(&limits, &strategies, &cluster, redis_secret, metrics).await {
        Ok(strategies) => Ok(Started {
            cluster,
            strategies,
        }),
        Err(error) => {
            // Others must not count on a node that has given up.
            cluster.stop().await;
            Err(error)
        }
    }
}

/// What the cluster is told of what all nodes share. The rest is this node's own.
fn cluster_config(config: &Config, cookie: Cookie) -> ClusterConfig {
    let shared = &config.cluster;
    ClusterConfig {
        name: String::new(),
        cookie,
        advertise: String::new(),
        http: String::new(),
        zone: None,
        data_dir: None,
        join: Vec::new(),
        neighbours: None,
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
fn max_memory(configured: MemoryMax) -> u64 {
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
