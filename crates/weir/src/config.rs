//! What a node is told: flags, variables and a file, checked together.
//!
//! Whoever holds a [`Config`] holds one that was checked. What is wrong is reported all at once, each problem with
//! its place, what was found there and what is accepted.

pub(crate) mod node;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use ::node::config::{self, EXAMPLE, Problems, Source, Table};
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
        let redis_url = (around.variable)(config::redis::VARIABLE);
        let shared = config::Config::read(&mut root, redis_url, &mut problems);
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
