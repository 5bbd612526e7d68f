//! One node, from its sockets to its last answer.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context as _;
use cluster::cookie::Cookie;
use cluster::discovery::Seed;
use cluster::node::{Acknowledge, Cluster, ClusterConfig};
use coordinator::Policy;
use front_http::{HttpConfig, Identity, Route, RouteAnswer};
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use quota::Nanos;
use rustix::process::{Resource, getrlimit, setrlimit};
use shard::Partition;
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::cluster::Ack;
use crate::config::memory::MemoryMax;
use crate::config::routes::{Answer, Identify};
use crate::config::{Config, NAMESPACE};
use crate::secret::Secret;
use crate::served::{Me, Served, Started};
use crate::signals::Signals;
use crate::strategies::Strategies;
use crate::telemetry;

/// What the wiring of a node starts from: all that can fail before anybody is told that this node exists.
pub(crate) struct Parts {
    pub(crate) config: Config,
    /// The cluster's shared secret.
    pub(crate) cookie: Secret,
    /// What clients must prove, if anything.
    pub(crate) api_token: Option<Secret>,
    /// Bound and listening, not blocking.
    pub(crate) http: TcpListener,
    /// Bound and listening, not blocking.
    pub(crate) cluster: TcpListener,
    /// What other nodes dial.
    pub(crate) advertise: SocketAddr,
    /// Renders `/metrics`.
    pub(crate) metrics: PrometheusHandle,
}

/// Runs a node until it is told to stop and has drained.
///
/// # Errors
///
/// One clear reason why it could not start, or not stop in order.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    telemetry::start_logs(config.node.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let signals = {
        let _within = runtime.enter();
        Signals::new()?
    };
    allow_many_files();
    let cookie = Secret::load(&config.node.cookie).context("the cookie")?;
    let api_token = config
        .node
        .api_token
        .as_ref()
        .map(Secret::load)
        .transpose()
        .context("the API token")?;
    let metrics = telemetry::start_metrics()?;
    let http = bind(config.node.http, "http")?;
    let cluster = bind(config.node.cluster, "cluster")?;
    let advertise = advertised(config.node.advertise, cluster.local_addr()?);
    let parts = Parts {
        config,
        cookie,
        api_token,
        http,
        cluster,
        advertise,
        metrics,
    };
    let served = runtime.block_on(serve(parts, signals));
    // Not dropped, which would wait for work that nobody waits for any more.
    runtime.shutdown_background();
    served
}

/// Connections are files: takes as many as the operator's hard limit allows, up to what the fronts use.
pub(crate) fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.maximum.map_or(FILES, |maximum| maximum.min(FILES)));
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "could not raise the number of open files");
    }
}

/// 20 000 connections of the HTTP front, as many again for whatever comes beside it.
const FILES: u64 = 40_000;

/// Serves HTTP from the first moment, joins, says so, and stops in order: first the balancers are told, then the
/// clients, then the other nodes.
async fn serve(parts: Parts, mut signals: Signals) -> anyhow::Result<()> {
    let name = parts.config.node.name.clone();
    let http = parts.http.local_addr()?;
    let cluster = parts.cluster.local_addr()?;
    let drain_wait = parts.config.node.drain_wait;
    let (served, mut front, joining) = wire(parts)?;
    let started = tokio::select! {
        joined = joining => joined?,
        ended = front.ended() => return ended,
        () = signals.stop() => {
            tracing::info!(node = %name, "told to stop before it had joined");
            served.begin_drain();
            return front.stop().await;
        }
    };
    let members = started.cluster.live_members();
    let fenced = started.cluster.clone();
    let stopping = started.clone();
    served.start(started);
    announce(&format!(
        "weir {name} ready http={http} cluster={cluster} members={members}"
    ))?;

    tokio::select! {
        () = signals.stop() => {}
        ended = front.ended() => return ended,
        () = fenced.fenced() => anyhow::bail!("another node has taken the name {name} in this cluster"),
    }
    served.begin_drain();
    tracing::info!(node = %name, drain_wait_ms = drain_wait.as_millis(), "told to stop, draining");
    let drain = async {
        // Whoever sends requests here learns from /ready that this must end, and needs a while to learn it.
        tokio::time::sleep(drain_wait).await;
        let answered = front.stop().await;
        let handed_off = stopping.cluster.hand_off().await;
        tracing::info!(handed_off, "stopping");
        stopping.strategies.stop().await;
        stopping.cluster.stop().await;
        answered
    };
    tokio::select! {
        drained = drain => drained,
        () = signals.stop() => {
            tracing::warn!(node = %name, "told to stop again, not draining any longer");
            anyhow::bail!("stopped before it had drained");
        }
    }
}

/// The HTTP front while it serves.
struct Front {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Front {
    fn start(
        listener: TcpListener,
        served: Arc<Served>,
        config: HttpConfig,
    ) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = front_http::router(served, config);
        let (stop, stopped) = oneshot::channel();
        let serving = front_http::serve(listener, router, async {
            let _dropped = stopped.await;
        });
        Ok(Self {
            stop,
            serving: tokio::spawn(serving),
        })
    }

    /// Resolves when it has ended although nobody stopped it: nobody can ask this node anything any more.
    async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.serving).await.context("serving HTTP")?;
        anyhow::bail!("the HTTP front has ended by itself")
    }

    /// Answers those who have asked, and lets nobody else in.
    async fn stop(self) -> anyhow::Result<()> {
        let _gone = self.stop.send(());
        self.serving.await.context("finishing what is in flight")
    }
}

/// Puts a node together and serves its front. The node has joined whom it could find when the future that is returned
/// resolves.
fn wire(
    parts: Parts,
) -> anyhow::Result<(
    Arc<Served>,
    Front,
    impl Future<Output = anyhow::Result<Started>>,
)> {
    let Parts {
        config,
        cookie,
        api_token,
        http,
        cluster,
        advertise,
        metrics,
    } = parts;
    let cookie = Cookie::new(cookie.expose());
    let me = Me {
        name: config.node.name.clone(),
        http: http.local_addr()?.to_string(),
        cluster: advertise.to_string(),
    };
    let served = Arc::new(Served::new(me, metrics, NAMESPACE.into()));
    let http_config = http_config(&config, api_token.as_ref(), cookie.secret("browser"))?;
    let http_address = http.local_addr()?;
    let front = Front::start(http, Arc::clone(&served), http_config)?;
    let joining = join(config, cookie, cluster, advertise, http_address);
    Ok((served, front, joining))
}

/// Joins whom it can find, and starts what the limits need.
async fn join(
    config: Config,
    cookie: Cookie,
    cluster: TcpListener,
    advertise: SocketAddr,
    http: SocketAddr,
) -> anyhow::Result<Started> {
    let redis_secret = half(cookie.secret("redis"));
    // The transport binds it again: until now it was held, so that a port in use is told before anything else.
    let listen = cluster.local_addr()?;
    drop(cluster);
    let cluster = Cluster::start(ClusterConfig {
        name: config.node.name.clone(),
        cookie,
        listen,
        advertise: advertise.to_string(),
        http: http.to_string(),
        zone: config.node.zone.clone(),
        join: config.node.join.iter().map(seed).collect(),
        expect: config.node.expect,
        shards: shard::Settings::lan(
            usize::from(config.cluster.replicas),
            config.cluster.partition,
        ),
        acknowledge: match config.cluster.ack {
            Ack::Fast => Acknowledge::Fast {
                max_lag: config.cluster.max_lag.into(),
            },
            Ack::Replicated => Acknowledge::Replicated,
        },
        forget_after: match config.cluster.partition {
            Partition::Available => {
                Some(config.cluster.forget_after.into()).filter(|&after| after != Nanos::ZERO)
            }
            Partition::Quorum => None,
        },
        max_keys: config.cluster.max_keys,
        max_memory: max_memory(config.cluster.max_memory),
    })
    .await?;
    let strategies = Strategies::start(&config, &cluster, redis_secret).await?;
    Ok(Started {
        cluster,
        strategies,
    })
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

fn seed(seed: &crate::config::node::Seed) -> Seed {
    match seed {
        crate::config::node::Seed::Address(address) => Seed::Node(address.to_string()),
        crate::config::node::Seed::Dns { name, port } => Seed::Dns(format!("{name}:{port}")),
    }
}

/// What the HTTP front is told.
fn http_config(
    config: &Config,
    api_token: Option<&Secret>,
    browser_key: [u8; 32],
) -> anyhow::Result<HttpConfig> {
    let limits: HashMap<String, Policy> = config
        .limits
        .iter()
        .map(|policy| (policy.name.to_string(), policy.clone()))
        .collect();
    let mut routes = Vec::new();
    for route in &config.routes {
        let policy = limits
            .get(&route.limit)
            .with_context(|| format!("the limit of {}", route.path))?
            .clone();
        let identify = route
            .identify
            .iter()
            .map(identity)
            .collect::<anyhow::Result<_>>()?;
        let answer = match route.answer {
            Answer::Page => RouteAnswer::Page,
            Answer::Greeting => RouteAnswer::Greeting,
            Answer::Json => RouteAnswer::Json,
            Answer::Peek => RouteAnswer::Peek,
        };
        routes.push(Route {
            path: route.path.clone(),
            policy,
            identify,
            answer,
        });
    }
    let trusted_proxies = config.cluster.trusted_proxies.iter();
    let trusted_proxies =
        trusted_proxies.map(|network| IpNet::new(network.address, network.prefix));
    Ok(HttpConfig {
        namespace: NAMESPACE.into(),
        limits,
        rate_limit: "client".to_owned(),
        routes,
        api_token: api_token.map(|token| token.expose().to_owned()),
        trusted_proxies: trusted_proxies
            .collect::<Result<_, _>>()
            .context("trusted_proxies")?,
        browser_key,
    })
}

fn identity(identify: &Identify) -> anyhow::Result<Identity> {
    Ok(match identify {
        Identify::Header(name) => {
            Identity::Header(name.parse().with_context(|| format!("the header {name}"))?)
        }
        Identify::Query(name) => Identity::Query(name.clone()),
        Identify::Cookie(name) => Identity::Cookie(name.clone()),
        Identify::Browser => Identity::Browser,
        Identify::Peer => Identity::Peer,
    })
}

/// Connections that wait to be accepted. `std` takes 128, which a burst of clients overruns, and then theirs take a
/// second: the time until their kernel tries again.
const BACKLOG: i32 = 4_096;

fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    listen(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is in use by another program; choose another with --{what}")
        }
        _ => anyhow::Error::new(error).context(format!("listening on {address}, from --{what}")),
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A node that starts again at once finds its port held by connections that are ending.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What other nodes dial, port 0 standing for the one that was `bound`.
fn advertised(advertise: SocketAddr, bound: SocketAddr) -> SocketAddr {
    match advertise.port() {
        0 => SocketAddr::new(advertise.ip(), bound.port()),
        _ => advertise,
    }
}

/// Tells whoever started this node, who may be waiting for the line.
fn announce(line: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("telling that the node is ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_in_use_is_told_in_one_line() {
        let holder = bind(address("127.0.0.1:0"), "http").unwrap();
        let taken = holder.local_addr().unwrap();
        let error = bind(taken, "http").unwrap_err();
        let expected = format!("{taken} is in use by another program; choose another with --http");
        assert_eq!(format!("{error:#}"), expected);
    }

    #[test]
    fn port_0_is_advertised_as_the_port_that_was_bound() {
        let bound = address("0.0.0.0:4100");
        assert_eq!(
            advertised(address("10.0.0.1:0"), bound),
            address("10.0.0.1:4100")
        );
        assert_eq!(
            advertised(address("10.0.0.1:5000"), bound),
            address("10.0.0.1:5000")
        );
    }
}
