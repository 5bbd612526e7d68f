//! What a node is told: flags, variables and a file, checked together.
//!
//! Whoever holds a [`Config`] holds one that was checked. What is wrong is reported all at once, each problem with
//! its place, what was found there and what is accepted.

pub(crate) mod cluster;
mod limits;
pub(crate) mod memory;
pub(crate) mod node;
mod problem;
pub(crate) mod raft;
pub(crate) mod redis;
pub(crate) mod routes;
mod span;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Context;
use coordinator::Policy;

use self::cluster::ClusterConfig;
use self::node::NodeConfig;
pub(crate) use self::problem::Problems;
use self::raft::RaftConfig;
use self::redis::RedisConfig;
use self::routes::Route;
use self::table::{Source, Table};
use crate::cli::NodeArgs;

/// Everything a node was told, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) node: NodeConfig,
    pub(crate) cluster: ClusterConfig,
    /// In the order of the file.
    pub(crate) limits: Vec<Policy>,
    /// Where limits with `strategy = "redis"` are counted. `Some` if there are any.
    pub(crate) redis: Option<RedisConfig>,
    /// What limits with `strategy = "raft"` share.
    pub(crate) raft: RaftConfig,
    /// In the order of the file.
    pub(crate) routes: Vec<Route>,
}

/// What a configuration depends on beside flags and file.
pub(crate) struct Surroundings<'a> {
    /// Reads an environment variable.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The default of `--name`.
    pub(crate) host_name: String,
    /// Where the default cookie file lies. `None`: this user has no home.
    pub(crate) home: Option<PathBuf>,
}

/// The namespace of every limit of this version, in which there is one tenant.
pub(crate) const NAMESPACE: &str = "default";

/// The file in force without `--config`.
const EXAMPLE: &str = include_str!("example.toml");

impl Config {
    /// Reads the file, if one is named, and checks everything.
    ///
    /// # Errors
    ///
    /// [`Problems`], or the failure to read the file.
    pub(crate) fn load(args: &NodeArgs, around: &Surroundings<'_>) -> anyhow::Result<Self> {
        let path = args
            .config
            .clone()
            .or_else(|| (around.variable)("WEIR_CONFIG").map(PathBuf::from));
        let Some(path) = path else {
            let source = Source {
                name: "built-in example",
                text: EXAMPLE,
            };
            return Ok(Self::check(source, args, around)?);
        };
        let text = read_text(&path)?;
        let name = path.display().to_string();
        Ok(Self::check(
            Source {
                name: &name,
                text: &text,
            },
            args,
            around,
        )?)
    }

    fn check(
        source: Source<'_>,
        args: &NodeArgs,
        around: &Surroundings<'_>,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let parsed = source.parse(&mut problems);
        if !problems.is_empty() {
            // What could not be parsed would only be reported again, as missing.
            return Err(problems);
        }
        let mut root = Table::root(source, parsed.get_ref());
        let node = node::read(
            args,
            around,
            root.table("node", &mut problems),
            &mut problems,
        );
        let cluster = cluster::read(root.table("cluster", &mut problems), &mut problems);
        let redis_variable = (around.variable)(redis::VARIABLE);
        let has_redis = root.has("redis") || redis_variable.is_some();
        let (limits, names) = limits::read(
            root.tables("limit", &mut problems),
            has_redis,
            &mut problems,
        );
        let routes = routes::read(root.tables("route", &mut problems), &names, &mut problems);
        let redis = redis::read(
            root.table("redis", &mut problems),
            redis_variable,
            &mut problems,
        );
        let raft = raft::read(root.table("raft", &mut problems), &mut problems);
        root.finish(&mut problems);
        match node {
            Some(node) if problems.is_empty() => Ok(Self {
                node,
                cluster,
                limits,
                redis,
                raft,
                routes,
            }),
            _ => Err(problems),
        }
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("reading the configuration {}", path.display()))
}

/// What [`valid_name`] takes.
const NAME_ACCEPTED: &str = "1 to 64 letters, digits, dots, dashes and underscores";

/// A name as nodes, zones and limits have it: safe in a URL, in a header, in a log and on a label.
fn valid_name(text: &str) -> Option<String> {
    let fits = (1..=64).contains(&text.len());
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (fits && plain).then(|| text.to_owned())
}
