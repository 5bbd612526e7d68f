//! The four strategies beside each other, through the same nodes.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rehearsal::check;

use super::forward::one_caller;
use crate::machine;
use crate::server::{Nodes, Server, key, open, until};
use crate::spread::Rounds;
use crate::wrk::{self, Request};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const KEYS: usize = 1_000;

/// One that never denies, for each strategy but `owner`, which the common configuration has.
const LIMITS: &str = r#"
[[limit]]
name = "local"
strategy = "local"
algorithm = "gcra"
limit = 2_000_000_000
per = "1d"

[[limit]]
name = "redis"
strategy = "redis"
algorithm = "gcra"
limit = 2_000_000_000
per = "1d"

[[limit]]
name = "raft"
strategy = "raft"
algorithm = "gcra"
limit = 2_000_000_000
per = "1d"

[redis]
url = "redis://REDIS"
"#;

pub(crate) fn measure() -> Result<String> {
    let dir = tempfile::tempdir()?;
    let redis = Server::redis(dir.path())?;
    let limits = LIMITS.replace("REDIS", &redis.address.to_string());
    let cluster = Nodes::start_with(3, "fast", &limits)?;
    let asked = &cluster.nodes[0];
    let own = cluster.keys_of(&asked.name, "admit", KEYS, asked)?;
    let all: Vec<String> = (0..KEYS).map(key).collect();
    let rows = [
        ("`owner`, keys of the node that is asked", "admit", &own),
        ("`owner`, keys of all three", "admit", &all),
        ("`local`", "local", &all),
        ("`redis`", "redis", &all),
        ("`raft`", "raft", &all),
    ];
    for (_, limit, keys) in rows {
        let mut connection = open(asked.address)?;
        until("a hit is admitted", || {
            Ok(connection.check(limit, &keys[0], 1)?.status == 200)
        })?;
    }
    let mut pids: Vec<u32> = cluster.nodes.iter().flat_map(|node| node.pids()).collect();
    pids.extend(redis.pids());
    let mut results = vec![<[Rounds; 5]>::default(); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, limit, keys), result) in rows.iter().zip(&mut results) {
            let latency = one_caller(asked, limit, keys)?;
            result[0].push(latency.quantile(0.5));
            result[1].push(latency.quantile(0.99));
            let request = |key: &String| Request {
                method: "POST",
                path: "/v1/check".to_owned(),
                body: check(limit, key, 1),
            };
            let file = dir.path().join("requests");
            wrk::write_requests(&file, keys.iter().map(request))?;
            let before = machine::cpu_time(&pids)?;
            let load = wrk::run(asked, &file, ROUND, Some(true))?;
            let cpu = machine::cpu_time(&pids)? - before;
            result[2].push(load.per_second / 1e3);
            result[3].push(load.cpu_us);
            result[4].push(cpu.as_secs_f64() * 1e6 / load.requests as f64);
        }
    }
    drop(cluster);
    let mut table = "| | one caller, p50 µs | one caller, p99 µs | 64 callers, thousand/s | CPU of the node that is asked, µs/request \
                     | CPU of all three and Redis, µs/request |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for ((name, _, _), [p50, p99, per_second, cpu, cpu_of_all]) in rows.iter().zip(&results) {
        let row = [
            p50.show(0),
            p99.show(0),
            per_second.show(0),
            cpu.show(1),
            cpu_of_all.show(1),
        ];
        table += &format!("| {name} | {} |\n", row.join(" | "));
    }
    let raft = raft_in_process()?;
    let [ours, theirs, ratio] = redis_benchmark()?;
    Ok(format!(
        "Three nodes and one `redis-server`; one node is asked over HTTP for {KEYS} keys, with each strategy in turn. One \
         caller: one connection, one request after the other. 64 callers: `wrk -t1 -c64`. {ROUNDS} rounds of {} s; median \
         (least to most).\n\n{table}\n\
         `raft` without HTTP or sockets, three nodes in one process, 1 024 callers: {} thousand decisions a second.\n\n\
         `redis` without HTTP, 64 callers: {ours:.0} thousand hits a second; `redis-benchmark` with the same script over 64 \
         connections: {theirs:.0} thousand. Ratio of the medians of five turns: {ratio:.2}.\n",
        ROUND.as_secs(),
        raft.show(0),
    ))
}

/// Thousand decisions a second.
fn raft_in_process() -> Result<Rounds> {
    let one = |_| {
        let told = example("raft-throughput")?;
        let lines = told.lines().find(|line| line.starts_with("1024 callers"));
        let before = lines.and_then(|line| line.split_once(" decisions/s"));
        let number = before.and_then(|(before, _)| before.rsplit(' ').next());
        let number: f64 = number.context("decisions a second")?.parse()?;
        anyhow::Ok(number / 1e3)
    };
    (0..ROUNDS).map(one).collect()
}

/// Thousand hits a second of ours, and of `redis-benchmark`; their ratio.
fn redis_benchmark() -> Result<[f64; 3]> {
    let told: serde_json::Value = serde_json::from_str(&example("redis-throughput")?)?;
    let number = |field: &str| told[field].as_f64().context("a number");
    Ok([
        number("weir_per_second")? / 1e3,
        number("redis_benchmark_per_second")? / 1e3,
        number("ratio")?,
    ])
}

/// What an example prints that was built beside this program.
fn example(name: &str) -> Result<String> {
    let path = std::env::current_exe()?.with_file_name("examples");
    let output = Command::new(path.join(name)).output();
    let output = output.with_context(|| format!("starting the example {name}"))?;
    let told = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprint!("{name}: {told}");
    Ok(told)
}
