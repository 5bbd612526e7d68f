//! A node that runs: joining, serving, stopping in order.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use cluster::cookie::Cookie;
use cluster::discovery::Seed;
use cluster::node::{Acknowledge, Cluster, ClusterConfig};
use limiter::Limiter;
use quota::Nanos;
use shard::Partition;
use tokio::task::JoinHandle;

use crate::builder::{Builder, StartError};
use crate::config::cluster::Ack;
use crate::config::memory::MemoryMax;
use crate::config::{Config, NAMESPACE};
use crate::front::{Front, http_config};
use crate::listeners::{ListenError, advertised};
use crate::metrics::Metrics;
use crate::served::{Me, Served, Started};
use crate::strategies::Strategies;

/// A node that runs in this process, until [`Self::stop`].
///
/// One that is dropped is cut off: its connections close, and the others take its shards over as if it had been killed.
pub struct Node {
    name: String,
    http: Option<SocketAddr>,
    cluster: SocketAddr,
    served: Arc<Served>,
    front: Option<Front>,
    /// `None` once its end was seen.
    joining: Option<JoinHandle<Result<Started, StartError>>>,
    started: Option<Started>,
    drain_wait: Duration,
}

/// Why a node cannot go on. It should be stopped, or dropped.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It decides nothing any more.
    #[error("another node has taken the name {name} in this cluster")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Nobody can ask it over HTTP any more.
    #[error("the HTTP front has ended by itself")]
    Front,
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
            expect: builder.expect,
            ..cluster_config(&builder.config, cookie.clone())
        };
        let served = Arc::new(Served::new(me, metrics.clone(), NAMESPACE.into()));
        let front = match http {
            Some((listener, _)) => {
                let http =
                    http_config(&builder.config, builder.api_token, cookie.secret("browser"));
                let front = metrics.scope(|| {
                    let limits = builder.config.limits.iter().cloned();
                    let node = Arc::clone(&served);
                    let limiter =
                        Limiter::new(node, NAMESPACE.into(), limits, limiter::Front::Http);
                    Front::start(listener, limiter, http)
                });
                let what = "http";
                Some(front.map_err(|source| ListenError::TakeOver { what, source })?)
            }
            None => None,
        };
        let joining = join_cluster(config, listener, builder.config, cookie);
        Ok(Self {
            name: builder.name,
            http: http_address,
            cluster,
            served,
            front,
            joining: Some(tokio::spawn(metrics.within(joining))),
            started: None,
            drain_wait: builder.drain_wait,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves HTTP. `None`: it does not.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where it serves other nodes.
    #[must_use]
    pub fn cluster(&self) -> SocketAddr {
        self.cluster
    }

    /// Live members, this one counted. Zero before it has joined.
    #[must_use]
    pub fn members(&self) -> usize {
        let started = self.started.as_ref();
        started.map_or(0, |started| started.cluster.live_members())
    }

    /// Resolves when the node has joined whom it could find, and decides hits.
    ///
    /// # Errors
    ///
    /// See [`StartError`]: it will not join.
    pub async fn joined(&mut self) -> Result<(), StartError> {
        let Some(joining) = &mut self.joining else {
            return Ok(());
        };
        let joined = joining.await;
        self.joining = None;
        let started = joined.unwrap_or(Err(StartError::CutOff))?;
        self.served.start(started.clone());
        self.started = Some(started);
        Ok(())
    }

    /// Resolves when the node cannot go on.
    pub async fn failed(&mut self) -> Failure {
        let name = self.name.clone();
        let fenced = async {
            match &self.started {
                Some(started) => started.cluster.fenced().await,
                None => std::future::pending().await,
            }
        };
        let ended = async {
            match &mut self.front {
                Some(front) => front.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = fenced => Failure::NameTaken { name },
            () = ended => Failure::Front,
        }
    }

    /// Stops in order: first the balancers are told, then the clients, then the other nodes.
    pub async fn stop(mut self) {
        self.served.begin_drain();
        let Some(started) = self.started.take() else {
            tracing::info!(node = %self.name, "told to stop before it had joined");
            if let Some(joining) = self.joining.take() {
                joining.abort();
            }
            self.stop_front().await;
            return;
        };
        tracing::info!(node = %self.name, drain_wait_ms = self.drain_wait.as_millis(), "told to stop, draining");
        // Whoever sends requests here learns from /ready that this must end, and needs a while to learn it.
        tokio::time::sleep(self.drain_wait).await;
        self.stop_front().await;
        let handed_off = started.cluster.hand_off().await;
        tracing::info!(handed_off, "stopping");
        started.strategies.stop().await;
        started.cluster.stop().await;
    }

    async fn stop_front(&mut self) {
        if let Some(front) = &mut self.front {
            front.stop().await;
        }
    }
}

/// Joins whom it can find, and starts what the limits need.
async fn join_cluster(
    config: ClusterConfig,
    listener: TcpListener,
    limits: Config,
    cookie: Cookie,
) -> Result<Started, StartError> {
    let redis_secret = half(cookie.secret("redis"));
    let cluster = Cluster::start(config, listener).await?;
    let strategies = Strategies::start(&limits, &cluster, redis_secret).await?;
    Ok(Started {
        cluster,
        strategies,
    })
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
        forget_after: match shared.partition {
            Partition::Available => {
                Some(shared.forget_after.into()).filter(|&after| after != Nanos::ZERO)
            }
            Partition::Quorum => None,
        },
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
