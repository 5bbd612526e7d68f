//! `weir compare`: one workload over the four ways to count, each with a fault in the middle.
//!
//! [`trial`] runs one strategy on a [`stage`] of real processes; what its clients were told becomes [`facts`] and
//! [`books`], without a socket or a clock; [`table`], [`report`] and [`plot`] show them.

mod books;
mod facts;
mod load;
mod plot;
mod redis;
mod report;
mod stage;
mod table;
mod targets;
mod trial;
mod workload;

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use coordinator::Strategy;

use self::redis::NotInstalled;
use self::trial::Trial;
use self::workload::Workload;
use crate::cli::CompareArgs;
use crate::stop::Stop;

/// All that was found out, and on what.
#[derive(Debug)]
pub(crate) struct Comparison {
    workload: Workload,
    machine: Machine,
    rows: Vec<Row>,
}

/// One strategy.
#[derive(Debug)]
pub(crate) struct Row {
    strategy: Strategy,
    /// Why it was not compared, where it was not.
    outcome: Result<Trial, String>,
}

/// What the numbers depend on besides the workload.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    /// Processes that wanted to run in the minute before, where the system tells it.
    load_before: Option<f64>,
}

impl Comparison {
    /// Whether every strategy that was asked for was compared.
    fn is_complete(&self) -> bool {
        self.rows.iter().all(|row| row.outcome.is_ok())
    }
}

/// Compares the strategies. Success: all that were asked for.
///
/// # Errors
///
/// When there is no runtime to be had, or the results cannot be written.
pub(crate) fn compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    crate::node::allow_many_files();
    let svg = args.svg.as_ref().map(|path| {
        // Tried before minutes are spent.
        let file = fs::File::create(path).with_context(|| format!("writing {}", path.display()))?;
        anyhow::Ok((file, path))
    });
    let svg = svg.transpose()?;
    // Processes are started on the thread that waits here: the kernel ends them with the thread that did.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let comparison = runtime.block_on(async {
        let mut stop = Stop::new()?;
        tokio::select! {
            comparison = run(args) => Ok(comparison),
            () = stop.next() => Err(anyhow::anyhow!("stopped, all processes have ended")),
        }
    })?;
    if let Some((mut file, path)) = svg {
        file.write_all(plot::svg(&comparison).as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let text = match args.json {
        true => report::json(&comparison),
        false => table::text(&comparison),
    };
    // Whoever reads may have left, as `head` does: that is no failure of the command.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(match comparison.is_complete() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn run(args: &CompareArgs) -> Comparison {
    let workload = Workload::from(args);
    let machine = Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        load_before: load_average(),
    };
    let mut rows = Vec::new();
    for &strategy in &args.strategies {
        eprintln!(
            "{}: three nodes, {} s of hits, a fault after {:.1} s",
            strategy.name(),
            workload.seconds,
            workload.fault_at().as_secs_f64()
        );
        let outcome = trial::run(strategy, &workload).await.map_err(|error| {
            match error.is::<NotInstalled>() {
                true => NotInstalled.to_string(),
                false => format!("{error:#}"),
            }
        });
        if let Err(why) = &outcome {
            eprintln!("{}: not compared: {why}", strategy.name());
        }
        rows.push(Row { strategy, outcome });
    }
    Comparison {
        workload,
        machine,
        rows,
    }
}

fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::books::Totals;
    use super::facts::tests::{MOMENTS, samples};
    use super::facts::{Facts, Outcome};
    use super::stage::Victim;
    use super::workload::tests::WORKLOAD;
    use super::*;

    /// `owner`, whose node was away for half a second, and no `redis`.
    pub(super) fn comparison() -> Comparison {
        let dead = |at| (1_000..1_500).contains(&at).then_some(Outcome::Unanswered);
        let owner = Trial {
            victim: Victim::Node(0),
            moments: MOMENTS,
            facts: Facts::of(samples(dead), MOMENTS),
            totals: Totals {
                sent: 29,
                admitted: 16,
                ideal: 14,
                over: 3,
                under: 1,
                forgotten: Some(2),
            },
            by_owner: 0,
            cpu: Some(Duration::from_micros(21)),
        };
        Comparison {
            workload: Workload {
                seconds: 3,
                ..WORKLOAD
            },
            machine: Machine {
                cores: 2,
                load_before: None,
            },
            rows: vec![
                Row {
                    strategy: Strategy::Owner,
                    outcome: Ok(owner),
                },
                Row {
                    strategy: Strategy::Redis,
                    outcome: Err("redis-server is away".to_owned()),
                },
            ],
        }
    }

    #[test]
    fn a_comparison_without_one_that_was_asked_for_is_not_complete() {
        let mut comparison = comparison();
        assert!(!comparison.is_complete());
        comparison.rows.pop();
        assert!(comparison.is_complete());
    }
}
