//! `weir completions` and `weir man`: made from the command line itself, so that they say what it takes.

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::Outcome;
use crate::cli::{Cli, CompletionsArgs, ManArgs};

/// What the shell needs.
pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "weir", &mut text);
    Outcome::success(String::from_utf8_lossy(&text).into_owned())
}

/// Writes `weir.1` and one page for each command, `weir-status.1`, into a directory.
///
/// # Errors
///
/// When they cannot be written.
pub(crate) fn man(args: &ManArgs) -> anyhow::Result<Outcome> {
    let dir = &args.dir;
    let write = || {
        std::fs::create_dir_all(dir)?;
        clap_mangen::generate_to(Cli::command(), dir)
    };
    write().with_context(|| format!("writing manual pages to {}", dir.display()))?;
    Ok(Outcome::success(format!(
        "manual pages are in {}\n",
        dir.display()
    )))
}
