//! What it costs when the node that is asked is not the one that decides.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cluster::discovery::Seed;
use cluster::node::Cluster;
use coordinator::{Coordinator as _, Hit};
use quota::Cost;

use super::in_process;
use crate::server::{self, Node, Nodes};
use crate::spread::Rounds;
use crate::wrk::{self, Request};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const CALLERS: usize = 64;
/// Keys of each owner: more than callers, so that these do not queue for one.
const KEYS: usize = 1_000;
/// Hits of one batch, where batches are measured.
const BATCH: usize = 100;

pub(crate) fn measure() -> Result<String> {
    let dir = tempfile::tempdir()?;
    let cluster = Nodes::start(2, "fast")?;
    let [asked, other] = &cluster.nodes[..] else {
        unreachable!("two nodes were started")
    };
    let sides = [
        (
            "decided there",
            cluster.keys_of(&other.name, "admit", KEYS, asked)?,
        ),
        (
            "decided here",
            cluster.keys_of(&asked.name, "admit", KEYS, asked)?,
        ),
    ];
    let mut table = "| | one caller, p50 µs | one caller, p99 µs | 64 callers, thousand/s | CPU of both nodes, µs/request | batches of 100, thousand hits/s |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    let mut results = vec![<[Rounds; 5]>::default(); sides.len()];
    for _ in 0..ROUNDS {
        for ((_, keys), result) in sides.iter().zip(&mut results) {
            let latency = one_caller(asked, "admit", keys)?;
            result[0].push(latency.quantile(0.5));
            result[1].push(latency.quantile(0.99));
            let pids = [asked.pids(), other.pids()].concat();
            let request = |key: &String| Request {
                method: "POST",
                path: "/v1/check".to_owned(),
                body: format!(r#"{{"limit":"admit","key":"{key}"}}"#),
            };
            let file = dir.path().join("requests");
            wrk::write_requests(&file, keys.iter().map(request))?;
            let before = crate::machine::cpu_time(&pids)?;
            let load = wrk::run(asked, &file, ROUND, Some(true))?;
            let cpu = crate::machine::cpu_time(&pids)? - before;
            result[2].push(load.per_second / 1e3);
            result[3].push(cpu.as_secs_f64() * 1e6 / (load.per_second * ROUND.as_secs_f64()));
            let batch = |keys: &[String]| {
                let checks: Vec<String> = keys
                    .iter()
                    .map(|key| format!(r#"{{"limit":"admit","key":"{key}"}}"#))
                    .collect();
                let body = format!(r#"{{"checks":[{}]}}"#, checks.join(","));
                Request {
                    method: "POST",
                    path: "/v1/check/batch".to_owned(),
                    body,
                }
            };
            wrk::write_requests(&file, keys.chunks(BATCH).map(batch))?;
            let load = wrk::run(asked, &file, ROUND, Some(true))?;
            result[4].push(load.per_second * BATCH as f64 / 1e3);
        }
    }
    for ((name, _), [p50, p99, per_second, cpu, batch]) in sides.iter().zip(&results) {
        let row = [
            p50.show(0),
            p99.show(0),
            per_second.show(0),
            cpu.show(1),
            batch.show(0),
        ];
        table += &format!("| {name} | {} |\n", row.join(" | "));
    }
    drop(cluster);

    let callers = callers_inside()?;
    Ok(format!(
        "Two nodes; one is asked over HTTP for {KEYS} keys that the other owns, then for as many of its own. One caller: one \
         connection, one request after the other. 64 callers: `wrk -t1 -c64`. {ROUNDS} rounds of {} s; median (least to most).\n\n\
         {table}\n\
         The same without HTTP: {CALLERS} tasks inside one node call `Cluster::hit` for keys of another process: \
         {} thousand hits a second one by one, {} thousand in batches of {BATCH}; one task alone: p50 {} µs.\n",
        ROUND.as_secs(),
        callers[0].show(0),
        callers[1].show(0),
        callers[2].show(0),
    ))
}

/// Microseconds that each request of one connection took.
pub(super) fn one_caller(asked: &Node, limit: &str, keys: &[String]) -> Result<Rounds> {
    let mut connection = server::open(asked.address)?;
    let (start, mut latency) = (Instant::now(), Vec::new());
    for key in keys.iter().cycle() {
        let sent = Instant::now();
        let status = connection.check(limit, key, 1)?.status;
        latency.push(sent.elapsed().as_secs_f64() * 1e6);
        ensure!(status == 200, "status {status}");
        if ROUND <= start.elapsed() {
            break;
        }
    }
    Ok(latency.into_iter().collect())
}

/// Hits a second of 64 tasks, of 64 tasks with batches, and the median of one task, each of three rounds.
fn callers_inside() -> Result<[Rounds; 3]> {
    let mut results = <[Rounds; 3]>::default();
    for _ in 0..ROUNDS {
        let cluster = Nodes::start(1, "fast")?;
        let output = Command::new(std::env::current_exe()?)
            .args(["--callers", &cluster.nodes[0].cluster])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success(),
            "callers: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        eprintln!("callers inside a node: {}", text.trim());
        for (result, number) in results.iter_mut().zip(text.split_whitespace()) {
            result.push(number.parse()?);
        }
    }
    Ok(results)
}

/// Joins the node at `seed` as a node of this process, and calls it. Prints thousands a second, twice, and a median.
pub(crate) fn call_from_inside(seed: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let results = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut config = in_process::node_config("caller", listener.local_addr()?);
        config.join = vec![Seed::Node(seed.to_owned())];
        let node = Cluster::start(config, listener).await?;
        let policy = in_process::policy()?;
        while node.status().unsettled_shards != 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let is_remote = |key: &String| {
            node.owner_of(&policy, key)
                .is_some_and(|owner| owner.owner != "caller")
        };
        let keys: Arc<[String]> = (0..100 * KEYS)
            .map(server::key)
            .filter(is_remote)
            .take(KEYS)
            .collect();
        ensure!(keys.len() == KEYS, "the other node owns too few keys");
        let one_by_one = many_callers(&node, &keys, 1).await?;
        let in_batches = many_callers(&node, &keys, BATCH).await?;
        let mut latency = Vec::new();
        let start = Instant::now();
        for key in keys.iter().cycle().take_while(|_| start.elapsed() < ROUND) {
            let sent = Instant::now();
            node.hit(&policy, key, Cost::ONE).await?;
            latency.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        let latency: Rounds = latency.into_iter().collect();
        anyhow::Ok([one_by_one, in_batches, latency.median()])
    })?;
    println!("{:.1} {:.1} {:.1}", results[0], results[1], results[2]);
    Ok(())
}

/// Thousand hits a second of 64 tasks, each with `batch` hits on their way.
async fn many_callers(node: &Cluster, keys: &Arc<[String]>, batch: usize) -> Result<f64> {
    let (start, hits) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let policy = in_process::policy()?;
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (node, keys, hits, policy) = (
                node.clone(),
                Arc::clone(keys),
                Arc::clone(&hits),
                policy.clone(),
            );
            tokio::spawn(async move {
                let mut next = caller * KEYS / CALLERS;
                while start.elapsed() < ROUND {
                    let mut key = || {
                        next = (next + 1) % KEYS;
                        &keys[next]
                    };
                    if batch == 1 {
                        node.hit(&policy, key(), Cost::ONE).await?;
                    } else {
                        let hit = |_| Hit {
                            policy: &policy,
                            key: key(),
                            cost: Cost::ONE,
                        };
                        let batch: Vec<_> = (0..batch).map(hit).collect();
                        let answers = node.hits(&batch).await;
                        answers.into_iter().collect::<Result<Vec<_>, _>>()?;
                    }
                    hits.fetch_add(batch as u64, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await?.context("a caller")?;
    }
    Ok(hits.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64() / 1e3)
}
