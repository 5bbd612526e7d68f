//! The `weir` command: reads what it is told, starts a node or asks one.

mod api;
mod cli;
mod client;
mod commands;
mod compare;
mod config;
mod demo;
mod draft;
mod node;
mod process;
mod secret;
mod service_manager;
mod signals;
mod stop;
mod telemetry;
mod units;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use ::node::config::Problems;
use ::node::{JoinError, ListenError, StartError};
use clap::Parser as _;

use self::api::ApiError;
use self::cli::{Cli, Command};
use self::commands::NotReloaded;
use self::config::{Config, ConfigFile, Surroundings};
use self::service_manager::ServiceManager;

/// Gives free memory back to the system within a second, as `.cargo/config.toml` has it
/// (`docs/decisions/0044-the-command-brings-an-allocator.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of what cannot be started as it was asked for; the code of `clap`, too.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let failed = match command {
        Command::Check(_) | Command::Config(_) => ExitCode::from(MISUSED),
        _ => ExitCode::FAILURE,
    };
    let outcome = match command {
        Command::Node(args) => {
            process::end_with_the_starter();
            return start_node(&args);
        }
        Command::Demo(args) => return play(demo::demo(&args)),
        Command::Compare(args) => return play(compare::compare(&args)),
        Command::Become(args) => {
            eprintln!("weir: {}", process::become_other(&args.program));
            return ExitCode::FAILURE;
        }
        Command::Status(args) if args.watch => Ok(commands::watch(&args)),
        Command::Status(args) => commands::status(&args).map_err(anyhow::Error::from),
        Command::Check(args) => commands::check(&args).map_err(anyhow::Error::from),
        Command::Limits(command) => commands::limits(&command),
        Command::Explain(args) => commands::explain(&args).map_err(anyhow::Error::from),
        Command::Reset(args) => commands::reset(&args).map_err(anyhow::Error::from),
        Command::Reload(args) => commands::reload(&args),
        Command::Tenant(command) => commands::tenant(&command),
        Command::Key(command) => commands::key(&command),
        Command::Usage(args) => commands::usage(&args),
        Command::Operator(command) => commands::operator(&command),
        Command::User(command) => commands::user(&command),
        Command::Billing(command) => commands::billing(&command),
        Command::Service(command) => commands::service(&command),
        Command::Forget(args) => commands::forget(&args).map_err(anyhow::Error::from),
        Command::Health(args) => commands::health(&args).map_err(anyhow::Error::from),
        Command::Config(command) => commands::config(&command, &surroundings()),
        Command::Completions(args) => Ok(commands::completions(&args)),
        Command::Man(args) => commands::man(&args),
    };
    match outcome {
        Ok(outcome) => {
            // Whoever reads may have left, as `head` does: that is no failure of the command.
            let _ = std::io::stdout().write_all(outcome.text.as_bytes());
            outcome.exit
        }
        Err(error) => fail(&error, failed),
    }
}

fn start_node(args: &cli::NodeArgs) -> ExitCode {
    let around = surroundings();
    let neighbours = neighbours(&around);
    let started = Config::load(args, &around).and_then(|config| {
        let file = ConfigFile::of(args, surroundings, &config);
        let manager = ServiceManager::at(std::env::var_os(service_manager::VARIABLE));
        node::run(config, neighbours, file, &manager)
    });
    match started {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

/// Says why not. A file with mistakes is misuse, whatever was to be done with it.
fn fail(error: &anyhow::Error, failed: ExitCode) -> ExitCode {
    if error.is::<Problems>() || error.is::<NotReloaded>() {
        // Each has a place of its own.
        eprintln!("{error}");
        return ExitCode::from(MISUSED);
    }
    eprintln!("weir: {error:#}{}", remedy(error));
    match is_about_data(error) || is_exposed(error) {
        true => ExitCode::from(MISUSED),
        false => failed,
    }
}

fn surroundings() -> Surroundings<'static> {
    Surroundings {
        variable: &|name| std::env::var(name).ok(),
        host_name: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
    }
}

/// Whether a token would have been sent where others can read it.
fn is_exposed(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<ApiError>();
    matches!(refused, Some(ApiError::Exposed(_)))
}

/// What to change on the command line, which the library that failed does not know.
fn remedy(error: &anyhow::Error) -> String {
    match error.downcast_ref::<StartError>() {
        Some(StartError::Listen(
            ListenError::InUse { what, .. } | ListenError::Bind { what, .. },
        )) => {
            format!("; choose another address with --{what}")
        }
        Some(StartError::Join(JoinError::NameTaken { .. })) => {
            "; choose another with --name".to_owned()
        }
        _ => String::new(),
    }
}

/// Whether a node was given a data directory that is not for it.
fn is_about_data(error: &anyhow::Error) -> bool {
    let started = error.downcast_ref::<StartError>();
    matches!(started, Some(StartError::Join(JoinError::Data(_))))
}

/// Below this directory nodes of this host and user find each other: one that goes when the user logs out, else one in
/// his home.
fn neighbours(around: &Surroundings<'_>) -> Option<PathBuf> {
    let below = |variable: &str, folder: &str| {
        let base = (around.variable)(variable).filter(|base| !base.is_empty())?;
        Some(PathBuf::from(base).join(folder))
    };
    below("XDG_RUNTIME_DIR", "weir").or_else(|| below("HOME", ".weir"))
}

fn play(ended: anyhow::Result<ExitCode>) -> ExitCode {
    ended.unwrap_or_else(|error| fail(&error, ExitCode::FAILURE))
}
