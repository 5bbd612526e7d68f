//! Plays seeds, and prints how to replay each that breaks a promise; then bugs, each of which must break one.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use clap::error::ErrorKind;
use simulator::{
    AnyBug, Bug, NARROW, Outcome, Played, Scenario, is_repeatable, play_kept, play_owner,
    play_rough,
};

/// Seeds within which a bug must be caught.
const SEEDS_PER_BUG: u64 = 400;

#[derive(Parser)]
#[command(
    about = "A whole Weir cluster in one process, from one seed: faults in, broken promises out"
)]
struct Arguments {
    /// How many seeds to play of the strategy owner; of the others, a tenth or less.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Play only this strategy, as many seeds as asked for.
    #[arg(long)]
    strategy: Option<Played>,
    /// Play this one alone, and tell what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: print the messages of this shard, too.
    #[arg(long, requires = "seed")]
    watch: Option<u16>,
    /// Switch a bug on, in every seed that is played: of the strategy owner, if none is given.
    #[arg(long)]
    bug: Option<String>,
    /// After the seeds, play every bug until a checker catches it.
    #[arg(long)]
    bugs: bool,
    /// Nodes at the start, 1 to 9, of the strategy owner. Five by default.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
    /// Links that carry 1 MB a second, in each direction, for the strategy owner.
    #[arg(long)]
    narrow: bool,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let one = arguments.strategy.unwrap_or(Played::Owner);
    let bug = arguments
        .bug
        .as_deref()
        .map(|name| one.bug(name).unwrap_or_else(|| refuse(one, name)));
    if let Some(seed) = arguments.seed {
        let outcome = play_one(&arguments, one, bug, seed);
        print(&arguments, one, &outcome);
        return ExitCode::from(u8::from(!outcome.violations.is_empty()));
    }
    let played: Vec<Played> = arguments
        .strategy
        .map_or(Played::ALL.to_vec(), |it| vec![it]);
    let (mut total, mut failed) = (0, 0);
    for &strategy in played.iter().filter(|_| bug.is_none()) {
        let seeds = match arguments.strategy {
            Some(_) => arguments.seeds,
            None => strategy.share(arguments.seeds),
        };
        let outcomes = play(&arguments, arguments.from, seeds, |seed| {
            let outcome = play_one(&arguments, strategy, None, seed);
            if !outcome.violations.is_empty() {
                print(&arguments, strategy, &outcome);
            }
            (outcome, false)
        });
        total += outcomes.len();
        failed += summarise(strategy, &outcomes);
        if strategy == Played::Raft && !outcomes.is_empty() {
            total += 1;
            failed += usize::from(!is_played_twice_the_same(arguments.from));
        }
    }
    let bugs: Vec<(AnyBug, u64)> = match bug {
        Some(bug) => vec![(bug, arguments.from)],
        // Wherever the seeds begin, the same ones that are known to catch each.
        None if arguments.bugs => {
            let bugs = played.iter().flat_map(|it| it.bugs());
            bugs.map(|bug| (bug, bug.begins_at())).collect()
        }
        None => Vec::new(),
    };
    total += bugs.len();
    failed += bugs
        .into_iter()
        .filter(|&(bug, from)| !is_caught(&arguments, bug, from))
        .count();
    // Read by the command that runs every check.
    println!("{} passed, {failed} failed", total - failed);
    ExitCode::from(u8::from(failed != 0))
}

fn refuse(strategy: Played, name: &str) -> ! {
    let known: Vec<_> = strategy.bugs().into_iter().map(AnyBug::name).collect();
    let story = format!(
        "{} has no bug {name:?}, only {}\n",
        strategy.name(),
        known.join(", ")
    );
    clap::Error::raw(ErrorKind::InvalidValue, story).exit()
}

/// Plays one seed, and tells what happens if it was asked for alone.
fn play_one(arguments: &Arguments, strategy: Played, bug: Option<AnyBug>, seed: u64) -> Outcome {
    if strategy == Played::Rough && arguments.seed.is_some() {
        let bug = match bug {
            Some(AnyBug::Rough(bug)) => Some(bug),
            _ => None,
        };
        return play_rough(seed, bug, true, arguments.watch);
    }
    if strategy == Played::Kept && arguments.seed.is_some() {
        let bug = match bug {
            Some(AnyBug::Kept(bug)) => Some(bug),
            _ => None,
        };
        return play_kept(seed, bug, true);
    }
    if strategy != Played::Owner {
        return strategy.play(seed, bug);
    }
    let scenario = Scenario::from_seed(seed);
    play_owner(Scenario {
        nodes: arguments.nodes.map_or(scenario.nodes, usize::from),
        verbose: arguments.seed.is_some(),
        watch: arguments.watch,
        bandwidth: match arguments.narrow || bug == Some(AnyBug::Owner(Bug::CopiesHoldUpHits)) {
            true => Some(NARROW),
            false => scenario.bandwidth,
        },
        bug: bug.and_then(AnyBug::of_owner),
        ..scenario
    })
}

/// Plays so many seeds, or until `one` says that it is enough.
fn play(
    arguments: &Arguments,
    from: u64,
    seeds: u64,
    one: impl Fn(u64) -> (Outcome, bool) + Sync,
) -> Vec<Outcome> {
    let end = from + seeds;
    let next = AtomicU64::new(from);
    let outcomes = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if end <= seed {
                break;
            }
            let (outcome, is_enough) = one(seed);
            if is_enough {
                next.store(end, Ordering::Relaxed);
            }
            outcomes
                .lock()
                .expect("no thread panics while it holds the lock")
                .push(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.unwrap_or(cores) {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().expect("all threads have ended")
}

/// A seed of `raft` passes through two libraries that draw at random: whether it can be played again.
fn is_played_twice_the_same(seed: u64) -> bool {
    let is_repeatable = is_repeatable(seed);
    let told = match is_repeatable {
        Some(true) => "the same",
        Some(false) => "not the same",
        None => "not tried: built without --cfg tokio_unstable",
    };
    println!("seed {seed} of raft played twice: {told}");
    is_repeatable != Some(false)
}

fn is_caught(arguments: &Arguments, bug: AnyBug, from: u64) -> bool {
    let outcomes = play(arguments, from, SEEDS_PER_BUG, |seed| {
        let outcome = play_one(arguments, bug.strategy(), Some(bug), seed);
        let is_caught = bug.catch(&outcome).is_some();
        (outcome, is_caught)
    });
    let caught = outcomes
        .iter()
        .filter_map(|outcome| Some((outcome.seed, bug.catch(outcome)?)))
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

/// Prints the sums; how many broke a promise.
fn summarise(strategy: Played, outcomes: &[Outcome]) -> usize {
    let is_broken = |outcome: &&Outcome| !outcome.violations.is_empty();
    let broken = outcomes.iter().filter(is_broken).count();
    let Some(first) = outcomes.first() else {
        return broken;
    };
    let sum = |place: usize| outcomes.iter().map(|it| it.counts[place].1).sum::<u64>();
    let counts = first.counts.iter().enumerate();
    let counts = counts.map(|(place, (what, _))| format!("{} {what}", sum(place)));
    println!(
        "{} seeds of {}: {}; {broken} broke a promise",
        outcomes.len(),
        strategy.name(),
        counts.collect::<Vec<_>>().join(", ")
    );
    broken
}

fn print(arguments: &Arguments, strategy: Played, outcome: &Outcome) {
    let (name, seed) = (strategy.name(), outcome.seed);
    println!("seed {seed} of {name}: {:?}", outcome.counts);
    for violation in &outcome.violations {
        let at = violation.at as f64 / 1e9;
        let (promise, story) = (violation.promise, &violation.story);
        println!("  {promise} broken at {at:.3} s: {story}");
    }
    if !outcome.violations.is_empty() {
        let nodes = arguments.nodes.filter(|_| strategy == Played::Owner);
        let nodes = nodes.map_or_else(String::new, |nodes| format!(" --nodes {nodes}"));
        let bug = arguments
            .bug
            .iter()
            .map(|bug| format!(" --bug {bug}"))
            .collect::<String>();
        let narrow = match arguments.narrow {
            true => " --narrow",
            false => "",
        };
        println!(
            "  replay: cargo xtask simulate --strategy {name} --seed {seed}{nodes}{narrow}{bug}"
        );
    }
}
