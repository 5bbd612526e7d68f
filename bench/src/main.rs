//! Measures Weir beside its peers and writes the tables of `bench/README.md`.
//!
//! Started by `cargo xtask bench`, which builds and installs what is measured. Each file under `measures` is one table.

mod machine;
mod measures;
mod report;
mod server;
mod spread;
mod wrk;

use anyhow::{Context as _, Result, bail};

use measures::{
    forward, grpc, http as http_check, in_process, layer, resp, rough, service, strategies,
    takeover, upkeep,
};

/// A measurement: its name, and what makes its table.
type Measure = (&'static str, fn() -> Result<String>);

const MEASURES: [Measure; 11] = [
    ("http", http_check::measure),
    ("resp", resp::measure),
    ("grpc", grpc::measure),
    ("layer", layer::measure),
    ("service", service::measure),
    ("in-process", in_process::measure),
    ("forward", forward::measure),
    ("upkeep", upkeep::measure),
    ("takeover", takeover::measure),
    ("rough", rough::measure),
    ("strategies", strategies::measure),
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        // Parts of a measurement that want a process of their own.
        ["--in-process", contender, keys, threads] => {
            let (nanos, bytes) = in_process::run(contender, keys.parse()?, threads.parse()?)?;
            println!("{nanos:.1} {bytes:.1}");
            Ok(())
        }
        ["--callers", seed] => forward::call_from_inside(seed),
        ["--now", ref names @ ..] => chosen(names)?.into_iter().try_for_each(run),
        ref names => chosen(names)?.into_iter().try_for_each(|measure| {
            machine::wait_until_quiet();
            run(measure)
        }),
    }
}

/// The measurements of these names; without any, all.
fn chosen(names: &[&str]) -> Result<Vec<&'static Measure>> {
    match names {
        [] => Ok(MEASURES.iter().collect()),
        names => names.iter().map(|name| find(name)).collect(),
    }
}

fn find(name: &str) -> Result<&'static Measure> {
    let names: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).collect();
    match MEASURES.iter().find(|measure| measure.0 == name) {
        Some(measure) => Ok(measure),
        None => bail!("no measurement {name:?}; there are: {}", names.join(", ")),
    }
}

fn run((name, measure): &Measure) -> Result<()> {
    let load = machine::load();
    eprintln!("== {name}, load {load}");
    let result = measure().with_context(|| format!("measuring {name}"))?;
    println!("{result}");
    report::write(name, load, &result)
}
