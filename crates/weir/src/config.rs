//! What a node is told: flags, variables and a file, checked together.
//!
//! Whoever holds a [`Config`] holds one that was checked. What is wrong is reported all at once, each problem with
//! its place, what was found there and what is accepted.

mod address;
pub(crate) mod node;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ::node::config::{self, EXAMPLE, Problems, Source, Table, Variables};
use anyhow::Context;

use self::node::NodeConfig;
use crate::cli::NodeArgs;

/// Everything a node was told, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) node: NodeConfig,
    /// What all nodes of the cluster are told alike.
    pub(crate) shared: config::Config,
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

/// The file that a node was started with.
pub(crate) struct ConfigFile {
    args: NodeArgs,
    surroundings: fn() -> Surroundings<'static>,
    /// What the node was told of itself.
    told: BTreeMap<&'static str, String>,
}

impl ConfigFile {
    /// The file that `args` or a variable names. `None`: neither does.
    pub(crate) fn of(
        args: &NodeArgs,
        surroundings: fn() -> Surroundings<'static>,
        config: &Config,
    ) -> Option<Self> {
        path(args, &surroundings())?;
        Some(Self {
            args: args.clone(),
            surroundings,
            told: config.node.told.clone(),
        })
    }

    /// What it says now of what all nodes share, and the keys of `[node]` of which it says something else than before.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub(crate) fn read_again(&self) -> Result<(config::Config, Vec<String>), Problems> {
        let around = (self.surroundings)();
        let config = Config::load(&self.args, &around).map_err(as_problems)?;
        let keys = self.told.keys().chain(config.node.told.keys());
        let keys: BTreeSet<_> = keys.copied().collect();
        let changed = keys
            .into_iter()
            .filter(|key| self.told.get(key) != config.node.told.get(key));
        let changed = changed.map(|key| format!("node.{key}"));
        Ok((config.shared, changed.collect()))
    }
}

fn as_problems(error: anyhow::Error) -> Problems {
    error.downcast().unwrap_or_else(|error| {
        let mut problems = Problems::default();
        problems.add("--config", format!("{error:#}"), "a file that can be read");
        problems
    })
}

/// The file that is named.
fn path(args: &NodeArgs, around: &Surroundings<'_>) -> Option<PathBuf> {
    let named = args.config.clone();
    named.or_else(|| (around.variable)("WEIR_CONFIG").map(PathBuf::from))
}

impl Config {
    /// Reads the file, if one is named, and checks everything.
    ///
    /// # Errors
    ///
    /// [`Problems`], or the failure to read the file.
    pub(crate) fn load(args: &NodeArgs, around: &Surroundings<'_>) -> anyhow::Result<Self> {
        let Some(path) = path(args, around) else {
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
        let service = root.has("service").then(|| root.place_of_key("service"));
        let node = node::read(
            args,
            around,
            root.table("node", &mut problems),
            service,
            &mut problems,
        );
        let variables = Variables {
            redis_url: (around.variable)(config::redis::VARIABLE),
            stripe_key_file: (around.variable)(config::billing::VARIABLE),
        };
        let shared = config::Config::read(&mut root, variables, &mut problems);
        root.finish(&mut problems);
        match node {
            Some(node) if problems.is_empty() => Ok(Self { node, shared }),
            _ => Err(problems),
        }
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("reading the configuration {}", path.display()))
}
