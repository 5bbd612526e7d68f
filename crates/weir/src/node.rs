//! One node, from its sockets to its last answer.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use cluster::cookie::Cookie;
use cluster::discovery::Seed;
use cluster::node::{Acknowledge, Cluster, ClusterConfig};
use coordinator::Policy;
use front_http::{HttpConfig, Identity, Route, RouteAnswer};
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::cluster::Ack;
use crate::config::memory::MemoryMax;
use crate::config::routes::{Answer, Identify};
use crate::config::{Config, NAMESPACE};
use crate::secret::Secret;
use crate::served::Served;
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

/// A node that has joined whom it could find, and serves.
pub(crate) struct Running {
    /// Live members, this one included.
    pub(crate) members: usize,
    /// Resolves when another node has taken this one's name: nothing may be decided any more.
    pub(crate) fenced: Pin<Box<dyn Future<Output = ()>>>,
    /// Hands the shards over and finishes what is in flight, once it is polled.
    pub(crate) drain: Pin<Box<dyn Future<Output = anyhow::Result<()>>>>,
}

/// Runs a node until it is told to stop and has drained.
///
/// # Errors
///
/// One clear reason why it could not start, or not stop in order.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    telemetry::start_logs(config.node.log)?;
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let served = runtime.block_on(serve(parts));
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

async fn serve(parts: Parts) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let name = parts.config.node.name.clone();
    let http = parts.http.local_addr()?;
    let cluster = parts.cluster.local_addr()?;
    let running = tokio::select! {
        running = wire(parts) => running?,
        () = stop.next() => return Ok(()),
    };
    announce(&format!(
        "weir {name} ready http={http} cluster={cluster} members={}",
        running.members
    ))?;

    tokio::select! {
        () = stop.next() => {}
        () = running.fenced => anyhow::bail!("another node has taken the name {name} in this cluster"),
    }
    tracing::info!(node = %name, "told to stop, draining");
    tokio::select! {
        drained = running.drain => drained,
        () = stop.next() => {
            tracing::warn!(node = %name, "told to stop again, not draining any longer");
            anyhow::bail!("stopped before it had drained");
        }
    }
}

/// Starts everything a node is made of, joins whom it can find, and returns when it serves.
async fn wire(parts: Parts) -> anyhow::Result<Running> {
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
    let browser_key = cookie.secret("browser");
    let redis_secret = half(cookie.secret("redis"));
    let http_address = http.local_addr()?;
    // The transport binds it again: until now it was held, so that a port in use is told before anything else.
    let listen = cluster.local_addr()?;
    drop(cluster);
    let cluster = Cluster::start(ClusterConfig {
        name: config.node.name.clone(),
        cookie,
        listen,
        advertise: advertise.to_string(),
        http: http_address.to_string(),
        zone: config.node.zone.clone(),
        join: config.node.join.iter().map(seed).collect(),
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
        max_keys: config.cluster.max_keys,
        max_memory: max_memory(config.cluster.max_memory),
    })
    .await?;
    let strategies = Strategies::start(&config, &cluster, redis_secret).await?;
    let served = Arc::new(Served {
        cluster: cluster.clone(),
        strategies: strategies.clone(),
        metrics,
        ready: AtomicBool::new(true),
        namespace: NAMESPACE.into(),
    });
    let front = http_config(&config, api_token.as_ref(), browser_key)?;
    let (stop_serving, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = tokio::net::TcpListener::from_std(http)?;
    let serving = tokio::spawn(front_http::serve(
        listener,
        front_http::router(served, front),
        async {
            let _dropped = stopped.await;
        },
    ));
    let members = cluster.live_members();
    let fenced = cluster.clone();
    let drain = async move {
        let handed_off = cluster.hand_off().await;
        tracing::info!(handed_off, "stopping");
        let _gone = stop_serving.send(());
        let served = serving.await.context("finishing what is in flight");
        strategies.stop().await;
        cluster.stop().await;
        served
    };
    Ok(Running {
        members,
        fenced: Box::pin(async move { fenced.fenced().await }),
        drain: Box::pin(drain),
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

/// SIGTERM and Ctrl-C.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
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
