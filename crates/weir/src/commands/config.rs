//! `weir config`: a file, looked at before a node is started with it.

use super::Outcome;
use crate::cli::{ConfigCommand, NodeArgs};
use crate::config::{Config, Surroundings};

/// Reads a file as `weir node --config FILE` would, with the variables that are set now.
///
/// # Errors
///
/// [`Problems`](node::config::Problems) of the file, or the failure to read it.
pub(crate) fn config(
    command: &ConfigCommand,
    around: &Surroundings<'_>,
) -> anyhow::Result<Outcome> {
    let ConfigCommand::Check { file } = command;
    let args = NodeArgs {
        config: Some(file.clone()),
        // Whether it has a data directory may be said where it is started.
        ephemeral: true,
        ..NodeArgs::default()
    };
    let config = Config::load(&args, around)?.shared;
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    };
    Ok(Outcome::success(format!(
        "{}: well, with {} and {}\n",
        file.display(),
        count(config.limits.len(), "limit"),
        count(config.routes.len(), "route"),
    )))
}
