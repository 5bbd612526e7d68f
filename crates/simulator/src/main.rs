//! Plays seeds, and prints how to replay each that breaks a promise; then bugs, each of which must break one.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use simulator::{Bug, LocalBug, Report, Scenario, Violation, run, run_local};

/// Seeds within which a bug must be caught. Most are caught by one of the first fifty today.
const SEEDS_PER_BUG: u64 = 400;

/// One seed of the strategy `local` is played for so many of the others: it has far fewer ways to go wrong.
const LOCAL_SHARE: u64 = 10;

#[derive(Parser)]
#[command(
    about = "A whole Weir cluster in one thread, from one seed: faults in, broken promises out"
)]
struct Arguments {
    /// How many seeds to play.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Play this one alone, and tell what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: print the messages of this shard, too.
    #[arg(long)]
    watch: Option<u16>,
    /// Switch a bug on, in every seed that is played.
    #[arg(long)]
    bug: Option<Bug>,
    /// After the seeds, play every bug until a checker catches it.
    #[arg(long)]
    bugs: bool,
    /// Nodes at the start, 1 to 7. Five by default.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=7))]
    nodes: Option<u8>,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let scenario = scenario(&arguments, arguments.bug, seed);
        let report = run(Scenario {
            verbose: true,
            watch: arguments.watch,
            ..scenario
        });
        print(&report);
        return ExitCode::from(u8::from(report.is_broken()));
    }
    let reports = match arguments.bug {
        Some(_) => Vec::new(),
        None => play(&arguments, None, arguments.from, arguments.seeds),
    };
    let broken = reports.iter().filter(|report| report.is_broken()).count();
    if !reports.is_empty() {
        summarise(&reports, broken);
    }
    let bugs = if arguments.bugs {
        Bug::ALL.to_vec()
    } else {
        Vec::from_iter(arguments.bug)
    };
    let missed = bugs
        .iter()
        .filter(|&&bug| !is_caught(&arguments, bug))
        .count();
    let locals = match arguments.bug {
        Some(_) => 0,
        None => arguments.seeds.div_ceil(LOCAL_SHARE),
    };
    let mut failed = broken + missed + play_local(arguments.from, locals);
    let mut played = reports.len() + bugs.len() + locals as usize;
    if arguments.bugs {
        played += LocalBug::ALL.len();
        let caught = |bug: &&LocalBug| is_caught_locally(**bug);
        failed += LocalBug::ALL.len() - LocalBug::ALL.iter().filter(caught).count();
    }
    // Read by the command that runs every check.
    println!("{} passed, {failed} failed", played - failed);
    ExitCode::from(u8::from(failed != 0))
}

/// Plays the strategy `local`; how many seeds broke a promise.
fn play_local(from: u64, seeds: u64) -> usize {
    let (mut broken, mut decisions, mut overshoot) = (0, 0, 0);
    for seed in from..from + seeds {
        let report = run_local(seed, None);
        decisions += report.decisions;
        overshoot += report.overshoot;
        broken += usize::from(!report.violations.is_empty());
        for violation in report.violations {
            let at = violation.at as f64 / 1e9;
            println!(
                "local seed {seed}: {} broken at {at:.3} s: {}",
                violation.promise, violation.story
            );
        }
    }
    if seeds != 0 {
        println!(
            "{seeds} seeds of local: {decisions} decisions, {overshoot} units found over; {broken} broke a promise"
        );
    }
    broken
}

fn is_caught_locally(bug: LocalBug) -> bool {
    let caught = (1..=SEEDS_PER_BUG).find_map(|seed| {
        let report = run_local(seed, Some(bug));
        Some((seed, report.violations.into_iter().next()?))
    });
    match &caught {
        Some((seed, violation)) => println!(
            "bug {bug:?} of local: caught by {} in seed {seed}: {}",
            violation.promise, violation.story
        ),
        None => println!("bug {bug:?} of local: not caught by {SEEDS_PER_BUG} seeds"),
    }
    caught.is_some()
}

fn scenario(arguments: &Arguments, bug: Option<Bug>, seed: u64) -> Scenario {
    let scenario = Scenario::from_seed(seed);
    Scenario {
        nodes: arguments.nodes.map_or(scenario.nodes, usize::from),
        bug,
        ..scenario
    }
}

/// Plays `seeds` from `from` on; with a bug, until one breaks a promise.
fn play(arguments: &Arguments, bug: Option<Bug>, from: u64, seeds: u64) -> Vec<Report> {
    let end = from + seeds;
    let next = AtomicU64::new(from);
    let reports = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if end <= seed {
                break;
            }
            let report = run(scenario(arguments, bug, seed));
            if report.is_broken() && bug.is_none() {
                print(&report);
            }
            if bug.is_some_and(|bug| catch(bug, &report).is_some()) {
                next.store(end, Ordering::Relaxed);
            }
            reports
                .lock()
                .expect("no thread panics while it holds the lock")
                .push(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.unwrap_or(cores) {
            scope.spawn(work);
        }
    });
    reports.into_inner().expect("all threads have ended")
}

/// How a checker caught the bug in this run.
fn catch(bug: Bug, report: &Report) -> Option<&Violation> {
    let mut violations = report.violations.iter();
    violations.find(|violation| {
        bug.must_break()
            .is_none_or(|promise| promise == violation.promise)
    })
}

fn is_caught(arguments: &Arguments, bug: Bug) -> bool {
    let reports = play(arguments, Some(bug), 1, SEEDS_PER_BUG);
    let caught = reports
        .iter()
        .filter_map(|report| Some((report.seed, catch(bug, report)?)))
        .min_by_key(|&(seed, _)| seed);
    match caught {
        Some((seed, violation)) => {
            println!(
                "bug {bug:?}: caught by {} in seed {seed}: {}",
                violation.promise, violation.story
            );
            true
        }
        None => {
            println!("bug {bug:?}: not caught by {SEEDS_PER_BUG} seeds");
            false
        }
    }
}

fn summarise(reports: &[Report], broken: usize) {
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    println!(
        "{} seeds: {} decisions, {} admitted, {} answers, {} faults; {broken} seeds broke a promise",
        reports.len(),
        sum(|report| report.decisions),
        sum(|report| report.admitted),
        sum(|report| report.answered),
        sum(|report| report.faults),
    );
}

fn print(report: &Report) {
    println!(
        "seed {}: {} decisions, {} faults",
        report.seed, report.decisions, report.faults
    );
    for violation in &report.violations {
        println!(
            "  {} broken at {:.3} s: {}",
            violation.promise,
            violation.at as f64 / 1e9,
            violation.story
        );
    }
    if report.is_broken() {
        println!("  replay: cargo xtask simulate --seed {}", report.seed);
    }
}
