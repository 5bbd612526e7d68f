//! One decision per command of the Redis protocol, Weir beside its peers and a server that only says PONG.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::machine;
use crate::server::{Nodes, Server};
use crate::spread::Rounds;

const ROUNDS: usize = 3;
const KEYS: &str = "100000";
/// Commands of one round: about three seconds of what the fastest does, with and without a pipeline.
const SINGLE: u64 = 300_000;
const PIPELINED: u64 = 2_000_000;
/// Of those that take ten times as long.
const SLOW_FRACTION: u64 = 10;

/// A load that every server gets.
struct Case {
    name: &'static str,
    pipeline: &'static str,
    is_hot: bool,
    admit: bool,
}

const fn case(name: &'static str, pipeline: &'static str, is_hot: bool, admit: bool) -> Case {
    Case {
        name,
        pipeline,
        is_hot,
        admit,
    }
}

const CASES: [Case; 5] = [
    case("P1, hot, admit", "1", true, true),
    case("P16, hot, admit", "16", true, true),
    case("P16, 100 k keys, admit", "16", false, true),
    case("P16, hot, deny", "16", true, false),
    case("P16, 100 k keys, deny", "16", false, false),
];

/// A server, and how it is asked.
struct Contender<'a> {
    name: &'static str,
    pids: Vec<u32>,
    address: SocketAddr,
    command: fn(&str, &Case, &str) -> Vec<String>,
    /// What the command is given besides.
    given: &'a str,
    is_slow: bool,
    results: Vec<(Rounds, Rounds)>,
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Burst and rate of a case: one that never denies, one that always does.
fn numbers(case: &Case) -> &'static str {
    match case.admit {
        true => "2000000000 2000000000 86400",
        false => "1 1 86400",
    }
}

fn throttle(key: &str, case: &Case, _: &str) -> Vec<String> {
    words(&format!("THROTTLE {key} {}", numbers(case)))
}

fn script(key: &str, case: &Case, sha: &str) -> Vec<String> {
    words(&format!("EVALSHA {sha} 1 {key} {}", numbers(case)))
}

fn ping(_: &str, _: &Case, _: &str) -> Vec<String> {
    words("PING")
}

pub(crate) fn measure() -> Result<String> {
    let dir = tempfile::tempdir()?;
    let nodes = Nodes::start(1, "fast")?;
    let weir = &nodes.nodes[0];
    let (throttlecrab, redis, pong) = (
        Server::throttlecrab_redis()?,
        Server::redis(dir.path())?,
        Server::pong()?,
    );
    let sha = load_script(redis.address)?;
    let contender = |name, server: &Server, command, given, is_slow| Contender {
        name,
        pids: server.pids(),
        address: server.address,
        command,
        given,
        is_slow,
        results: vec![],
    };
    let mut contenders = [
        Contender {
            address: weir.redis,
            ..contender("**Weir**, one node, `THROTTLE`", weir, throttle, "", false)
        },
        contender(
            "a server that only says PONG, `PING`",
            &pong,
            ping,
            "",
            false,
        ),
        contender(
            "Redis 7.0, a GCRA script, `EVALSHA`",
            &redis,
            script,
            &sha,
            true,
        ),
        contender(
            "throttlecrab-server 0.4.40, `THROTTLE`",
            &throttlecrab,
            throttle,
            "",
            true,
        ),
    ];
    for case in &CASES {
        for contender in &mut contenders {
            // A key must be there, or spent.
            load(contender, case)?;
            contender.results.push(Default::default());
        }
        for _ in 0..ROUNDS {
            for contender in &mut contenders {
                let (per_second, cpu_us) = load(contender, case)?;
                eprintln!(
                    "{}, {}: {per_second:.0}/s, {cpu_us:.2} µs",
                    contender.name, case.name
                );
                let results = contender.results.last_mut().expect("pushed above");
                results.0.push(per_second / 1e3);
                results.1.push(cpu_us);
            }
        }
    }
    Ok(report(&contenders))
}

/// One run of the load generator: commands a second, and server CPU for each in microseconds.
fn load(contender: &Contender<'_>, case: &Case) -> Result<(f64, f64)> {
    let key = if case.is_hot {
        // A hot key of its own for each case.
        format!("user:{}", case.name.replace([' ', ','], ""))
    } else {
        "user:__rand_int__".to_owned()
    };
    let commands = match (case.pipeline, contender.is_slow) {
        ("1", _) => SINGLE,
        (_, false) => PIPELINED,
        (_, true) => PIPELINED / SLOW_FRACTION,
    };
    let mut command = Command::new("redis-benchmark");
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &contender.address.port().to_string(),
    ]);
    command.args([
        "-c",
        "64",
        "-P",
        case.pipeline,
        "-n",
        &commands.to_string(),
        "-q",
    ]);
    if !case.is_hot {
        command.args(["-r", KEYS]);
    }
    command.args((contender.command)(&key, case, contender.given));
    let before = machine::cpu_time(&contender.pids)?;
    let output = command.output().context("starting redis-benchmark")?;
    let cpu = machine::cpu_time(&contender.pids)? - before;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "redis-benchmark failed: {text}");
    // Progress is written over itself.
    let last = text
        .rsplit(['\r', '\n'])
        .find(|line| line.contains(" requests per second"));
    let last = last.with_context(|| format!("redis-benchmark reports a rate: {text}"))?;
    let (before_unit, _) = last
        .split_once(" requests per second")
        .expect("found above");
    let per_second = before_unit
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok());
    Ok((
        per_second.with_context(|| format!("a rate in {last:?}"))?,
        cpu.as_secs_f64() * 1e6 / commands as f64,
    ))
}

fn load_script(address: SocketAddr) -> Result<String> {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &address.port().to_string(), "SCRIPT", "LOAD"]);
    let output = command.arg(include_str!("../../gcra.lua")).output()?;
    let sha = String::from_utf8(output.stdout)?.trim().to_owned();
    ensure!(sha.len() == 40, "Redis does not take the script: {sha}");
    Ok(sha)
}

fn report(contenders: &[Contender<'_>]) -> String {
    let titles: String = CASES
        .iter()
        .map(|case| format!(" | {}", case.name))
        .collect();
    let table = |cell: &dyn Fn(&(Rounds, Rounds)) -> String| {
        let mut table = format!("| {titles} |\n|---{}|\n", "|---".repeat(CASES.len()));
        for contender in contenders {
            let cells = contender
                .results
                .iter()
                .map(|result| format!(" | {}", cell(result)));
            let cells: String = cells.collect();
            table += &format!("| {}{cells} |\n", contender.name);
        }
        table
    };
    let cpu = table(&|(_, cpu_us)| cpu_us.show(2));
    let per_second = table(&|(per_second, _)| per_second.show(0));
    format!(
        "`redis-benchmark -c 64`, {ROUNDS} rounds, servers in turn within each; median (least to most).\n\n\
         Server CPU, µs per command:\n\n{cpu}\nThousand commands a second:\n\n{per_second}"
    )
}
