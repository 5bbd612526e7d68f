//! The handle on a node that runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use cluster::cookie::Cookie;
use cluster::discovery::Seed;
use cluster::node::ClusterConfig;
use coordinator::Strategy;
use front_resp::RespConfig;
use limiter::{Limiter, NotReloaded};
use shard::Partition;
use tokio::sync::watch;

use crate::builder::{Builder, Role, StartError};
use crate::config::{Config, NAMESPACE, Source};
use crate::families;
use crate::front::{access, grpc_config, http_config};
use crate::listeners::advertised;
use crate::metrics::Metrics;
use crate::reload::Reloader;
use crate::running::{Joining, Life, Running, cluster_config, watch_over};
use crate::served::{Me, Served};
use crate::tasks::Tasks;
use crate::traced;

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
    metrics_at: Option<SocketAddr>,
    cluster: SocketAddr,
    pub(crate) limiter: Limiter<Served>,
    reloader: Arc<Reloader>,
    /// Those that it runs.
    pub(crate) strategies: Vec<Strategy>,
    metrics: Metrics,
    /// What its task is told. Closed with the last handle.
    told: watch::Sender<bool>,
    life: watch::Receiver<Life>,
    /// Why it did not start, until somebody asks.
    refused: Arc<Mutex<Option<StartError>>>,
    /// Of its tasks.
    #[cfg(test)]
    supervisor: supervisor::Supervisor,
    /// Makes what runs it panic.
    #[cfg(test)]
    panic: Arc<tokio::sync::Notify>,
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
    /// What runs it has panicked, which is a mistake in Weir; a log line says where. What it served is cut off.
    #[error("what runs the node has panicked")]
    Panicked,
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
        let metrics_on = builder.metrics_listen.map(|it| it.open("metrics"));
        let metrics_on = metrics_on.transpose()?;
        let (listener, cluster) = builder.cluster.open("cluster")?;
        let advertise = advertised(builder.advertise, cluster);
        let metrics = builder.metrics.unwrap_or_else(Metrics::prometheus);
        metrics.scope(families::describe);
        let http_address = http.as_ref().map(|&(_, address)| address);
        let told = http_address.map(|address| address.to_string());
        let me = Me {
            name: builder.name.clone(),
            http: told.unwrap_or_default(),
            cluster: advertise.to_string(),
            asks: builder.role == Role::Asks,
            needs_quorum: builder.config.cluster.partition == Partition::Quorum,
        };
        let config = ClusterConfig {
            name: builder.name.clone(),
            advertise: me.cluster.clone(),
            http: me.http.clone(),
            zone: builder.zone,
            asks: builder.role == Role::Asks,
            join,
            neighbours: builder.neighbours,
            data_dir: builder.data_dir,
            expect: builder.expect,
            ..cluster_config(&builder.config, cookie.clone())
        };
        let served = Arc::new(Served::new(me, metrics.clone()));
        let limits = builder.config.limits.iter().cloned();
        let limiter = metrics.scope(|| {
            let node = Arc::clone(&served);
            Limiter::new(node, NAMESPACE.into(), limits, limiter::Front::Program)
        });
        limiter.call_token_buckets(builder.config.token_buckets.clone());
        limiter.count_by_limit(metrics.recorder());
        let access = access(
            &builder.config,
            builder.api_token.clone(),
            &builder.cookie,
            &builder.name,
        );
        let mut tasks = Tasks::start(metrics.clone());
        if let Some(telemetry) = &builder.config.telemetry {
            let (tracer, exporter) = metrics.scope(|| traced::start(telemetry, &builder.name));
            // Before there are fronts: theirs are the requests that are recorded.
            limiter.trace_by(tracer);
            tasks.export(exporter);
        }
        let mut reloader = Reloader {
            read_again: builder.read_again,
            current: tokio::sync::Mutex::new(builder.config.clone()),
            limiter: limiter.clone(),
            http: None,
            grpc: None,
            access: access.clone(),
            browser_key: cookie.secret("browser"),
            metrics: metrics.clone(),
        };
        if access.service().is_some() {
            tasks.look_after_usage(limiter.clone(), &access);
        }
        let redis_address = redis.as_ref().map(|&(_, address)| address);
        if let Some((listener, _)) = redis {
            let config = RespConfig {
                access: access.clone(),
            };
            let limiter = limiter.of(limiter::Front::Resp);
            tasks.serve(
                ("redis", "front-resp"),
                listener,
                move |listener, stopped| {
                    front_resp::serve(listener, limiter.clone(), config.clone(), stopped)
                },
            )?;
        }
        let grpc_address = grpc.as_ref().map(|&(_, address)| address);
        if let Some((listener, _)) = grpc {
            let config = grpc_config(&builder.config, access.clone());
            let front = limiter.of(limiter::Front::Grpc);
            let front = metrics.scope(|| front_grpc::Front::new(front, config));
            reloader.grpc = Some(front.clone());
            tasks.serve(
                ("grpc", "front-grpc"),
                listener,
                move |listener, stopped| front_grpc::serve(listener, front.clone(), stopped),
            )?;
        }
        let metrics_at = metrics_on.as_ref().map(|&(_, address)| address);
        if let Some((listener, _)) = metrics_on {
            let config = http_config(&builder.config, access.clone(), reloader.browser_key);
            let served = front_http::metrics_router(limiter.clone(), config);
            tasks.serve(
                ("metrics", "front-metrics"),
                listener,
                move |listener, stopped| front_http::serve(listener, served.clone(), stopped),
            )?;
        }
        if let Some((listener, _)) = http {
            let asked = Arc::clone(&served);
            let elsewhere = dashboard::Elsewhere::new(move |wanted| {
                let asked = Arc::clone(&asked);
                async move { asked.look_up_asset(&wanted).await }
            });
            let of_operators = limiter.clone();
            let has_operators = dashboard::HasOperators::new(move || of_operators.has_operators());
            let settings = access.service().map(|service| dashboard::Settings {
                public_url: service.public_url.as_str().into(),
                keys: Arc::clone(&service.keys),
                signup: service.signup.name(),
                has_operators,
                biller: biller(service),
                elsewhere,
                introduce: |of_page, asked| {
                    if let Some(peer) = of_page.get::<front_http::PeerAddr>() {
                        asked.insert(*peer);
                    }
                },
            });
            let config = http_config(&builder.config, access, reloader.browser_key);
            let front = limiter.of(limiter::Front::Http);
            let front = metrics.scope(|| front_http::Front::new(front, config));
            let front = match settings {
                Some(settings) => {
                    front.with_pages(move |api| dashboard::pages(api, settings.clone()))
                }
                None => front,
            };
            let served_now = front.served();
            reloader.http = Some(front);
            tasks.serve(
                ("http", "front-http"),
                listener,
                move |listener, stopped| front_http::serve(listener, served_now.clone(), stopped),
            )?;
        }
        let reloader = Arc::new(reloader);
        served.reload_by(&reloader);
        let (told, is_told) = watch::channel(false);
        let (lives, life) = watch::channel(Life::Joining);
        let refused = Arc::default();
        #[cfg(test)]
        let supervisor = tasks.supervisor().clone();
        let running = Running {
            name: builder.name.clone(),
            drain_wait: builder.drain_wait,
            served: Arc::clone(&served),
            tasks,
            told: is_told,
            life: lives.clone(),
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
            has_routes: http_address.is_some(),
            has_rules: grpc_address.is_some(),
        };
        let running = metrics.within(running.run(joining));
        #[cfg(test)]
        let panic: Arc<tokio::sync::Notify> = Arc::default();
        #[cfg(test)]
        let running = tests::may_panic(running, Arc::clone(&panic));
        tokio::spawn(watch_over(running, served, lives));
        Ok(Self {
            inner: Arc::new(Inner {
                name: builder.name,
                http: http_address,
                redis: redis_address,
                grpc: grpc_address,
                metrics_at,
                cluster,
                limiter,
                reloader,
                strategies,
                metrics,
                told,
                life,
                refused,
                #[cfg(test)]
                supervisor,
                #[cfg(test)]
                panic,
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

    /// Where it serves `/metrics`, `/health` and `/ready` alone. `None`: it does not.
    #[must_use]
    pub fn metrics_at(&self) -> Option<SocketAddr> {
        self.inner.metrics_at
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
        let has_joined = |life: &Life| match life {
            Life::Serves | Life::Failed(Failure::NameTaken { .. }) => true,
            Life::Joining | Life::Failed(_) | Life::Ended => false,
        };
        if joined.is_ok_and(|life| has_joined(&life)) {
            return Ok(());
        }
        let refused = &self.inner.refused;
        let refused = refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Err(refused.unwrap_or(StartError::NotStarted))
    }

    /// Reads its file again by [`Builder::read_again`], and tells what that has changed, each in a line. All that it says is in
    /// force then, and what was counted stays counted.
    ///
    /// # Errors
    ///
    /// [`NotReloaded`]: nothing was changed.
    pub async fn reload(&self) -> Result<Vec<String>, NotReloaded> {
        self.inner.reloader.read_again().await
    }

    /// Takes in what was given to [`Builder::limits`] as it is now, and tells what that has changed, each in a line. Limits of it
    /// that were found before are as they are now, too; one that is not there any more stays as it was found.
    ///
    /// # Errors
    ///
    /// [`NotReloaded`]: nothing was changed.
    pub async fn replace_limits(&self, toml: &str) -> Result<Vec<String>, NotReloaded> {
        let source = Source {
            name: "limits",
            text: toml,
        };
        let config = Config::parse(source);
        let config = config.map_err(|problems| NotReloaded::Wrong(problems.lines()))?;
        self.inner.reloader.take(config).await
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

/// Where plans are paid, if Stripe is a stand-in.
fn biller(service: &limiter::Service) -> Option<Arc<str>> {
    let url = service.billing.as_ref()?.stripe.url();
    (url != billing::API_URL).then(|| url.into())
}

#[cfg(test)]
mod tests;
