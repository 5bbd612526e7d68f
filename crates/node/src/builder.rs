//! What a node is told before it starts.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Rule;
use cluster::cookie::Cookie;
use cluster::discovery::{Seed, SeedError};
use cluster::node::JoinError;
use coordinator::{FailMode, Policy, Strategy};

use crate::config::{Config, NAME_ACCEPTED, NAMESPACE, Problems, Source, valid_name};
use crate::listeners::{Listen, ListenError};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::reload::ReadAgain;

/// What a node is told before it starts. Made by [`Node::builder`].
///
/// [`Self::name`] and [`Self::cookie`] are needed; everything else has a default. Nodes of one cluster have the same
/// cookie and the same limits, and each a name of its own.
#[must_use]
pub struct Builder {
    pub(crate) name: String,
    pub(crate) cookie: String,
    pub(crate) config: Config,
    pub(crate) http: Option<Listen>,
    pub(crate) redis: Option<Listen>,
    pub(crate) grpc: Option<Listen>,
    pub(crate) metrics_listen: Option<Listen>,
    pub(crate) cluster: Listen,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) join: Vec<String>,
    pub(crate) expect: Option<usize>,
    pub(crate) neighbours: Option<PathBuf>,
    pub(crate) zone: Option<String>,
    pub(crate) role: Role,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) drain_wait: Duration,
    pub(crate) api_token: Option<String>,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) strategies: Vec<Strategy>,
    pub(crate) read_again: Option<ReadAgain>,
}

/// The part that a node has in its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Role {
    /// It owns a share of the keys, and holds copies of others.
    #[default]
    Owns,
    /// It owns and holds nothing, and has no vote: each hit on a shared limit is decided by another node. For programs that
    /// come and go often: no key moves when one does.
    ///
    /// It joins a cluster and never founds one: [`Builder::start`] waits until it has met a node that owns.
    Asks,
}

/// Why a node did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not a name that nodes can have.
    #[error("no node can be called {given:?}; accepted: {NAME_ACCEPTED}")]
    Name {
        /// The name.
        given: String,
    },
    /// Not a name that limits can have.
    #[error("no limit can be called {given:?}; accepted: {NAME_ACCEPTED}")]
    LimitName {
        /// The name.
        given: String,
    },
    /// There is no cookie, or it is blank.
    #[error("a node needs a cookie, which all nodes of its cluster share")]
    NoCookie,
    /// Not an address of another node.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// See [`ListenError`].
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// See [`JoinError`].
    #[error(transparent)]
    Join(#[from] JoinError),
    /// What limits with `strategy = "redis"` need.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// What limits with `strategy = "raft"` need.
    #[error("starting the strategy raft")]
    Raft(#[from] coordinator_raft::StartError),
    /// It was stopped before it had joined, or somebody else was told why it did not start.
    #[error("the node did not start")]
    NotStarted,
}

/// Why the Redis of the limits cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// A limit names it, and nothing says where it is.
    #[error(
        "a limit has the strategy redis, and the file of this node has no section [redis] that says where it is"
    )]
    NotTold,
    /// Its certificates could not be read.
    #[error("reading redis.ca_file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no certificate in the file.
    #[error("redis.ca_file {}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: coordinator_redis::RedisConfigError,
    },
    /// Something about it cannot be used.
    #[error(transparent)]
    Config(#[from] coordinator_redis::RedisConfigError),
    /// It cannot be used now.
    #[error(transparent)]
    Connect(#[from] coordinator_redis::ConnectError),
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            name: String::new(),
            cookie: String::new(),
            config: Config::empty(),
            http: None,
            redis: None,
            grpc: None,
            metrics_listen: None,
            cluster: Listen::At(SocketAddr::from(([127, 0, 0, 1], 0))),
            advertise: None,
            join: Vec::new(),
            expect: None,
            neighbours: None,
            zone: None,
            role: Role::Owns,
            data_dir: None,
            drain_wait: Duration::ZERO,
            api_token: None,
            metrics: None,
            strategies: Vec::new(),
            read_again: None,
        }
    }

    /// Name of the node, unique in the cluster: 1 to 64 letters, digits, dots, dashes and underscores.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The secret that all nodes of the cluster share, without the white space around it. Not blank.
    pub fn cookie(mut self, cookie: &str) -> Self {
        self.cookie = cookie.trim().to_owned();
        self
    }

    /// Limits and whatever else a file says that all nodes of a cluster share: everything but `[node]`. What an earlier
    /// call said is replaced.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the text, with its lines.
    pub fn limits(mut self, toml: &str) -> Result<Self, Problems> {
        self.config = Config::parse(Source {
            name: "limits",
            text: toml,
        })?;
        Ok(self)
    }

    /// What reads the configuration again, for [`Node::reload`] and `POST /v1/reload`: what it says now, and the keys of which it
    /// says something else that only a restart changes. Default none: the node was started without a file.
    ///
    /// It may block.
    pub fn read_again(
        mut self,
        read: impl Fn() -> Result<(Config, Vec<String>), Problems> + Send + Sync + 'static,
    ) -> Self {
        self.read_again = Some(Arc::new(read));
        self
    }

    /// One limit more, as one of the text: nodes that share it count together. It replaces one of the same name. When nobody
    /// can decide, a hit on it is denied.
    pub fn limit(mut self, name: &str, rule: Rule) -> Self {
        self.config.limits.retain(|known| &*known.name != name);
        self.config.limits.push(Policy {
            namespace: NAMESPACE.into(),
            name: name.into(),
            limit: *rule.limit(),
            strategy: rule.strategy(),
            on_failure: FailMode::Deny,
            top_keys: false,
        });
        self
    }

    /// Everything that all nodes share, as it was read and checked. What an earlier call said is replaced.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Serves HTTP at this address, port 0 for any. Without it and [`Self::http_on`] the node serves no HTTP.
    ///
    /// Whoever reaches it may ask, unless there is an [`Self::api_token`].
    pub fn http(mut self, address: SocketAddr) -> Self {
        self.http = Some(Listen::At(address));
        self
    }

    /// Serves HTTP on this listener.
    pub fn http_on(mut self, listener: TcpListener) -> Self {
        self.http = Some(Listen::On(listener));
        self
    }

    /// Serves the Redis protocol at this address, port 0 for any. Without it and [`Self::redis_on`] the node does not.
    ///
    /// Whoever reaches it may ask, unless there is an [`Self::api_token`].
    pub fn redis(mut self, address: SocketAddr) -> Self {
        self.redis = Some(Listen::At(address));
        self
    }

    /// Serves the Redis protocol on this listener.
    pub fn redis_on(mut self, listener: TcpListener) -> Self {
        self.redis = Some(Listen::On(listener));
        self
    }

    /// Serves Envoy's rate limit service at this address, port 0 for any, for the rules of [`Self::config`]. Without it and
    /// [`Self::grpc_on`] the node does not.
    ///
    /// Whoever reaches it may ask, unless there is an [`Self::api_token`] or certificates are asked for.
    pub fn grpc(mut self, address: SocketAddr) -> Self {
        self.grpc = Some(Listen::At(address));
        self
    }

    /// Serves Envoy's rate limit service on this listener.
    pub fn grpc_on(mut self, listener: TcpListener) -> Self {
        self.grpc = Some(Listen::On(listener));
        self
    }

    /// Serves `/metrics`, `/health` and `/ready` alone at this address, port 0 for any, to whoever reaches it: without the API
    /// token. Without it and [`Self::metrics_on`] they are served with the rest of HTTP only.
    pub fn metrics_at(mut self, address: SocketAddr) -> Self {
        self.metrics_listen = Some(Listen::At(address));
        self
    }

    /// Serves `/metrics`, `/health` and `/ready` alone on this listener.
    pub fn metrics_on(mut self, listener: TcpListener) -> Self {
        self.metrics_listen = Some(Listen::On(listener));
        self
    }

    /// Serves the other nodes at this address, port 0 for any. Default `127.0.0.1:0`.
    pub fn cluster(mut self, address: SocketAddr) -> Self {
        self.cluster = Listen::At(address);
        self
    }

    /// Serves the other nodes on this listener.
    pub fn cluster_on(mut self, listener: TcpListener) -> Self {
        self.cluster = Listen::On(listener);
        self
    }

    /// What other nodes dial, port 0 standing for the port that was bound. Default: the address that was bound.
    pub fn advertise(mut self, address: SocketAddr) -> Self {
        self.advertise = Some(address);
        self
    }

    /// One more live node to join by, as `ADDR:PORT` or `dns:NAME:PORT`; any one is enough.
    pub fn join(mut self, seed: impl Into<String>) -> Self {
        self.join.push(seed.into());
        self
    }

    /// Where no cluster is found, so many nodes found one together. Default: the first founds it alone.
    pub fn expect(mut self, nodes: usize) -> Self {
        self.expect = Some(nodes);
        self
    }

    /// Below this directory, nodes of this host, user and cookie find each other without [`Self::join`]. Default none. For
    /// nodes of the `weir` command it is `$XDG_RUNTIME_DIR/weir`, else `~/.weir`.
    pub fn neighbours(mut self, directory: impl Into<PathBuf>) -> Self {
        self.neighbours = Some(directory.into());
        self
    }

    /// Where the node stands. Replicas prefer another zone.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Its part in the cluster. Default [`Role::Owns`].
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Where limits made at run time, and counts of limits that are kept, outlive this process, in a directory of this node's own
    /// that is made if there is none. Default none: they live in memory, and are gone when all nodes are.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(directory.into());
        self
    }

    /// How long requests are served as before once the node was told to stop and `/ready` says so. Default zero.
    pub fn drain_wait(mut self, wait: Duration) -> Self {
        self.drain_wait = wait;
        self
    }

    /// What clients of its fronts must prove. Default nothing.
    pub fn api_token(mut self, token: impl Into<String>) -> Self {
        self.api_token = Some(token.into());
        self
    }

    /// Runs this strategy although no limit names it, for rules that are given where they are asked. The owner always
    /// counts; [`Strategy::Redis`] needs its section in [`Self::limits`].
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategies.push(strategy);
        self
    }

    /// Where the metrics of this node go. Default [`Metrics::prometheus`]: in memory, for its own `/metrics`.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Starts the node, and returns when it has joined whom it could find and decides hits.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(self) -> Result<Node, StartError> {
        let node = self.open()?;
        node.joined().await?;
        Ok(node)
    }

    /// Starts the node, and returns while it joins: its listeners are bound, and HTTP is served. Hits are answered by their
    /// limits' fail modes until it has [`Node::joined`].
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(self) -> Result<Node, StartError> {
        if valid_name(&self.name).is_none() {
            return Err(StartError::Name { given: self.name });
        }
        if self.cookie.is_empty() {
            return Err(StartError::NoCookie);
        }
        let limits = &mut self.config.limits.iter();
        if let Some(limit) = limits.find(|limit| valid_name(&limit.name).is_none()) {
            let given = limit.name.to_string();
            return Err(StartError::LimitName { given });
        }
        let join = self.join.iter().map(|seed| seed.parse::<Seed>());
        let join = join.collect::<Result<Vec<_>, _>>()?;
        let cookie = Cookie::new(self.cookie.as_str());
        Node::open(self, cookie, join)
    }
}

impl fmt::Debug for Builder {
    // Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("http", &self.http)
            .field("redis", &self.redis)
            .field("cluster", &self.cluster)
            .field("join", &self.join)
            .finish_non_exhaustive()
    }
}
