//! What all nodes of a cluster are told alike: the sections of a file but `[node]`, read and checked together.
//!
//! Whoever holds a [`Config`] that was read holds one that was checked. What is wrong is reported all at once, each
//! problem with its place, what was found there and what is accepted.

pub mod billing;
pub mod cluster;
pub mod grpc;
pub mod memory;
pub mod raft;
pub mod redis;
pub mod routes;
pub mod service;
pub mod span;
pub mod telemetry;

pub(crate) mod changes;
mod limits;
mod problem;
mod table;
mod windows;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Policy, Strategy};
pub(crate) use limiter::NAMESPACE;
use shard::Partition;

use self::billing::BillingConfig;
use self::cluster::ClusterConfig;
use self::grpc::GrpcConfig;
pub use self::problem::{Given, Problem, Problems};
use self::raft::RaftConfig;
use self::redis::RedisConfig;
use self::routes::Route;
use self::service::ServiceConfig;
pub use self::table::{Source, Table};
use self::telemetry::TelemetryConfig;

/// What all nodes of a cluster are told alike.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[cluster]`.
    pub cluster: ClusterConfig,
    /// In the order of the file.
    pub limits: Vec<Policy>,
    /// Those of them whose algorithm the file calls `token_bucket`.
    pub token_buckets: HashSet<Arc<str>>,
    /// Where limits with `strategy = "redis"` are counted. `Some` if there are any.
    pub redis: Option<RedisConfig>,
    /// What limits with `strategy = "raft"` share.
    pub raft: RaftConfig,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// `[[rule]]` and `[grpc]`.
    pub grpc: GrpcConfig,
    /// `[service]` and `[[plan]]`. `None`: it is no service for many.
    pub service: Option<ServiceConfig>,
    /// `[billing]`. `None`: operators give plans.
    pub billing: Option<BillingConfig>,
    /// `[telemetry]`. `None`: no request is recorded.
    pub telemetry: Option<TelemetryConfig>,
}

/// What takes the place of keys in the file. The default takes that of none.
#[derive(Clone, Default, Debug)]
pub struct Variables {
    /// In place of the addresses in `[redis]`: that of [`redis::VARIABLE`].
    pub redis_url: Option<String>,
    /// In place of `[billing] secret_key_file`: that of [`billing::VARIABLE`].
    pub stripe_key_file: Option<String>,
}

/// The file of a `weir node` that was given none: a good beginning of one's own.
pub const EXAMPLE: &str = include_str!("example.toml");

/// What [`valid_name`] takes.
pub const NAME_ACCEPTED: &str = "1 to 64 letters, digits, dots, dashes and underscores";

impl Config {
    /// No limits, and the default of everything else.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            cluster: cluster::read(None, &mut Problems::default()),
            limits: Vec::new(),
            token_buckets: HashSet::new(),
            redis: None,
            raft: RaftConfig::default(),
            routes: Vec::new(),
            grpc: grpc::read(Vec::new(), None, &[], &mut Problems::default()),
            service: None,
            billing: None,
            telemetry: None,
        }
    }

    /// The limit of that name.
    pub(crate) fn limit(&self, name: &str) -> Option<&Policy> {
        self.limits.iter().find(|policy| *policy.name == *name)
    }

    /// After how long without a sign of life a member is let go of. `None`: never.
    ///
    /// Under `quorum` and with the strategy `raft` the dead have a vote until an operator forgets them: one that were let go
    /// of by itself would take its vote with it, and of five nodes two could come to decide without the others.
    #[must_use]
    pub fn forget_after(&self) -> Option<Duration> {
        let is_raft = |limit: &Policy| limit.strategy == Strategy::Raft;
        let have_votes =
            self.cluster.partition == Partition::Quorum || self.limits.iter().any(is_raft);
        Some(self.cluster.forget_after).filter(|after| !have_votes && !after.is_zero())
    }

    /// Reads a file that has no other sections.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(source: Source<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let parsed = source.parse(&mut problems);
        if !problems.is_empty() {
            // What could not be parsed would only be reported again, as missing.
            return Err(problems);
        }
        let mut root = Table::root(source, parsed.get_ref());
        let config = Self::read(&mut root, Variables::default(), &mut problems);
        root.finish(&mut problems);
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }

    /// Reads these sections of a file. What is returned is complete only if there was no problem.
    ///
    /// `variables`: what takes the place of some of their keys.
    pub fn read(root: &mut Table<'_>, variables: Variables, problems: &mut Problems) -> Self {
        let Variables {
            redis_url,
            stripe_key_file,
        } = variables;
        let cluster = cluster::read(root.table("cluster", problems), problems);
        let has_redis = root.has("redis") || redis_url.is_some();
        let tables = root.tables("limit", problems);
        let (limits, names, token_buckets) = limits::read(tables, has_redis, problems);
        let is_service = root.has("service");
        let routes = root.tables("route", problems);
        let routes = routes::read(routes, &names, is_service, problems);
        let redis = redis::read(root.table("redis", problems), redis_url, problems);
        let raft = raft::read(root.table("raft", problems), problems);
        let rules = root.tables("rule", problems);
        let grpc = root.table("grpc", problems);
        let grpc = grpc::read(rules, grpc, &names, problems);
        let service = root.table("service", problems);
        let service = service::read(service, root.tables("plan", problems), problems);
        let telemetry = telemetry::read(root.table("telemetry", problems), problems);
        let billing = root.table("billing", problems);
        let billing = billing::read(billing, stripe_key_file, is_service, problems);
        Self {
            cluster,
            limits,
            token_buckets,
            redis,
            raft,
            routes,
            grpc,
            service,
            billing,
            telemetry,
        }
    }
}

/// A name as nodes, zones and limits have it: safe in a URL, in a header, in a log and on a label.
#[must_use]
pub fn valid_name(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len());
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (fits && plain).then(|| text.to_owned())
}
