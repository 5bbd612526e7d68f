//! What a cluster of three costs while little happens: the CPU of one node while 100 000 keys are held.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehearsal::memory_of;

use crate::machine;
use crate::server::{self, Nodes};
use crate::spread::Rounds;

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(10);
const HELD: usize = 100_000;
const NEW_PER_SECOND: u32 = 100;
/// Keys of one request while the cluster is filled.
const BATCH: usize = 500;

pub(crate) fn measure() -> Result<String> {
    let cluster = Nodes::start(3, "fast")?;
    let mut next_key = 0;
    let empty = observe(&cluster, 0, &mut next_key)?;
    fill(&cluster, &mut next_key)?;
    let held = observe(&cluster, 0, &mut next_key)?;
    let arriving = observe(&cluster, NEW_PER_SECOND, &mut next_key)?;
    let mut keys = Vec::new();
    for node in &cluster.nodes {
        keys.push(memory_of(node.pids()[0]).context("a node runs")? as f64 / 1e6);
    }
    let keys: Rounds = keys.into_iter().collect();
    Ok(format!(
        "Three nodes with three copies of every key; each node's CPU in percent of one core, {ROUNDS} rounds of {} s, all nodes \
         and rounds together: median (least to most).\n\n\
         | no keys, no hits | 100 000 keys held, no hits | 100 000 keys held, 100 new keys a second |\n|---|---|---|\n\
         | {} | {} | {} |\n\nResident memory of a node at the end: {} MB.\n",
        ROUND.as_secs(),
        empty.show(1),
        held.show(1),
        arriving.show(1),
        keys.show(0),
    ))
}

/// Hits 100 000 keys once, so that every node has each as owner or as replica.
fn fill(cluster: &Nodes, next_key: &mut usize) -> Result<()> {
    let mut connection = server::open(cluster.nodes[0].address)?;
    while *next_key < HELD {
        let keys = (*next_key..*next_key + BATCH).map(server::key);
        let checks: Vec<String> = keys
            .map(|key| format!(r#"{{"limit":"count","key":"{key}"}}"#))
            .collect();
        let body = format!(r#"{{"checks":[{}]}}"#, checks.join(","));
        let answer = connection.request("POST", "/v1/check/batch", &[], Some(&body))?;
        ensure!(answer.status == 200, "{answer:?}");
        *next_key += BATCH;
    }
    // Copies go out and are confirmed.
    thread::sleep(Duration::from_secs(2));
    Ok(())
}

/// Percent of a core that each node used in each round, while new keys arrive at the nodes in turn.
fn observe(cluster: &Nodes, new_per_second: u32, next_key: &mut usize) -> Result<Rounds> {
    let mut connections = Vec::new();
    for node in &cluster.nodes {
        connections.push(server::open(node.address)?);
    }
    let mut percent = Rounds::default();
    for _ in 0..ROUNDS {
        let cpu = |node: &server::Node| machine::cpu_time(&node.pids());
        let before: Vec<Duration> = cluster.nodes.iter().map(cpu).collect::<Result<_>>()?;
        let start = Instant::now();
        let mut sent = 0;
        while start.elapsed() < ROUND {
            if new_per_second == 0 {
                thread::sleep(ROUND.saturating_sub(start.elapsed()));
                continue;
            }
            let due = start + Duration::from_secs(1) * sent / new_per_second;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let turn = *next_key % connections.len();
            connections[turn].check("count", &server::key(*next_key), 1)?;
            *next_key += 1;
            sent += 1;
        }
        let elapsed = start.elapsed().as_secs_f64();
        for (node, before) in cluster.nodes.iter().zip(before) {
            percent.push((cpu(node)? - before).as_secs_f64() / elapsed * 100.0);
        }
    }
    eprintln!(
        "CPU of a node with {next_key} keys, {new_per_second} new a second: {} %",
        percent.show(1)
    );
    Ok(percent)
}
