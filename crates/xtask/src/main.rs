//! The project's own chores: `cargo xtask test` checks everything and changes nothing, `cargo xtask fix`
//! repairs what a machine can repair, `bench` and `simulate` run what they are named after.
//!
//! Kept to the standard library, `anyhow` and what `rehearsal` brings: it is compiled before everything else.

mod bench;
mod bill;
mod browse;
mod clients;
mod demo;
mod deploy;
mod lock;
mod package;
mod steps;
mod stripe;
mod supply;
mod tally;
mod tools;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
the project's own chores

usage: cargo xtask COMMAND

  test [--quick] [STEP ...]  check everything, change nothing; stops at the first step that fails
                             --quick  100 simulated clusters in place of 1000, and no clients, Stripe or end-to-end tests
                             STEP     only these, by the names in the headings, such as: clippy tests
  fix                        repair what a machine can repair: formatting, clippy's suggestions
  bench [--now] [NAME ...]   measure beside peers, which it installs, and write the tables of bench/README.md
                             --now    do not wait until the machine is quiet
  browse                     walk through the pages in a real browser, which it installs, and leave pictures in target/pages
  pictures                   take those of README's front page anew, docs/pictures: seven minutes
  demo ACTION DEMO           try a strategy on three nodes in the background: start, test, logs, health or stop, and
                             raft or redis; demo redis-keys
  package [BINARY]           make what is handed out in target/package/out, of a binary that is there or of one that it builds for old systems:
                             a Debian package, which it tries, as root, an archive, a bill of materials, and their checksums
  bill FOLDER                write what the binary is made of, weir.cdx.json, and its notices, THIRD-PARTY
  advisories CLONE           record what is known against the crates in Cargo.lock, from a clone of RustSec's advisory-db
  simulate [ARGS]            play simulated clusters; `cargo xtask simulate --help` says how
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one chore. `false` is a chore that ran and found something wrong, and has said so.
fn run(mut args: Vec<String>) -> Result<bool> {
    if args.is_empty()
        || args
            .iter()
            .take(1)
            .any(|arg| ["-h", "--help", "help"].contains(&arg.as_str()))
    {
        print!("{USAGE}");
        return Ok(true);
    }
    let command = args.remove(0);
    std::env::set_current_dir(tools::workspace_root()?).context("entering the workspace")?;
    match command.as_str() {
        "test" => steps::test(&steps::Selection::parse(args)?),
        "fix" if args.is_empty() => fix(),
        "fix" => bail!("fix takes no arguments, given: {}", args.join(" ")),
        "bench" => bench::bench(&args),
        "browse" => browse::browse(),
        "pictures" => browse::pictures(),
        "package" if args.len() < 2 => package::package(args.first().map(String::as_str)),
        "package" => bail!("package takes one binary, given: {}", args.join(" ")),
        "bill" if args.len() == 1 => bill::write(&args[0]).map(|()| true),
        "bill" => bail!("bill takes one folder, given: {}", args.join(" ")),
        "advisories" if args.len() == 1 => supply::take(&args[0]),
        "advisories" => bail!("advisories takes one clone, given: {}", args.join(" ")),
        "demo" => demo::demo(&args),
        "simulate" => Ok(tools::simulator().args(args).status()?.success()),
        _ => bail!("unknown command {command:?}\n\n{USAGE}"),
    }
}

fn fix() -> Result<bool> {
    let clippy = tools::cargo([
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
    ])
    .status()?;
    // Formatting comes last: clippy's suggestions are not formatted.
    let fmt = tools::cargo(["fmt", "--all"]).status()?;
    Ok(clippy.success() && fmt.success())
}
