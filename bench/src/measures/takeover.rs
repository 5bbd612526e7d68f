//! What clients notice when a node dies or stalls: how long its keys wait, and which hits are forgotten.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehearsal::{Account, Client};
use rustix::process::Signal;

use crate::server::{Nodes, open};
use crate::spread::Rounds;

const RUNS: usize = 3;
/// Keys of the lost node that are asked for at the same time.
const PROBES: usize = 16;
/// Hits per second while the node is lost: 30 clients, ten each.
const CLIENTS: usize = 30;
const PACE: Duration = Duration::from_millis(100);
const LOAD: Duration = Duration::from_secs(5);
/// Into the load, a node is lost.
const LOST_AFTER: Duration = Duration::from_millis(2_500);
const KEYS: usize = 60;

/// One run under load.
struct Run {
    /// Milliseconds until each probe was answered.
    answered_ms: Rounds,
    told: u64,
    /// Told as admitted, but not in the count at the end.
    forgotten: u64,
    /// In the count, but nobody was told so: the answer died with the node.
    untold: u64,
    /// Answers of survivors that were neither allowed nor denied.
    failed: u64,
}

pub(crate) fn measure() -> Result<String> {
    let cases = [
        ("`kill -9`", Signal::KILL, "fast"),
        ("`kill -9`", Signal::KILL, "replicated"),
        ("SIGSTOP", Signal::STOP, "fast"),
        ("SIGSTOP", Signal::STOP, "replicated"),
        ("SIGTERM", Signal::TERM, "fast"),
        ("SIGTERM", Signal::TERM, "replicated"),
    ];
    let mut table = "| | ack | first answer, ms | last of 16 keys, ms | admitted | forgotten | counted but not told | failed on survivors |\n\
                     |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (name, signal, ack) in cases {
        let runs = (0..RUNS)
            .map(|_| lose_owner(signal, ack))
            .collect::<Result<Vec<_>>>()?;
        let times = |fraction: f64| {
            runs.iter()
                .map(|run| run.answered_ms.quantile(fraction))
                .collect::<Rounds>()
                .show(0)
        };
        let counts = |count: fn(&Run) -> u64| {
            runs.iter()
                .map(|run| count(run).to_string())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let row = [
            times(0.0),
            times(1.0),
            counts(|run| run.told),
            counts(|run| run.forgotten),
            counts(|run| run.untold),
            counts(|run| run.failed),
        ];
        eprintln!("{name}, {ack}: {}", row.join(" | "));
        table += &format!("| {name} | `{ack}` | {} |\n", row.join(" | "));
    }
    Ok(format!(
        "Three nodes, 300 hits a second by turns through all of them, on {KEYS} keys that one node owns; after {:.1} s that node \
         is lost, and a survivor is asked at once for {PROBES} others of its keys over connections that are open. {RUNS} runs, \
         each with a cluster of its own; times are medians (least to most) of the runs, counts one per run.\n\n{table}",
        LOST_AFTER.as_secs_f64()
    ))
}

fn lose_owner(signal: Signal, ack: &str) -> Result<Run> {
    let cluster = Nodes::start(3, ack)?;
    let [survivor, other, lost] = &cluster.nodes[..] else {
        unreachable!("three nodes were started")
    };
    let mut keys = cluster.keys_of(&lost.name, "count", KEYS + PROBES, survivor)?;
    let probes = keys.split_off(KEYS);
    let addresses = [survivor.address, other.address, lost.address];

    let told = Mutex::new(vec![0_u64; KEYS]);
    let failed = Mutex::new(0);
    let start = Instant::now();
    let answered_ms = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (keys, told, failed) = (&keys, &told, &failed);
            scope.spawn(move || {
                thread::sleep(PACE * client as u32 / CLIENTS as u32);
                one_client(client, start, addresses, keys, told, failed);
            });
        }
        let connections = open_all(&vec![survivor.address; PROBES])?;
        thread::sleep(LOST_AFTER.saturating_sub(start.elapsed()));
        let lost_at = Instant::now();
        lost.signal(signal)?;
        let probing: Vec<_> = connections
            .into_iter()
            .zip(&probes)
            .map(|(mut connection, probe)| {
                scope.spawn(move || {
                    let status = connection.check("count", probe, 1)?.status;
                    ensure!(status == 200, "status {status} for a key of the lost node");
                    Ok(lost_at.elapsed().as_secs_f64() * 1e3)
                })
            })
            .collect();
        probing
            .into_iter()
            .map(|probe| probe.join().expect("probes do not panic"))
            .collect::<Result<Rounds>>()
    })?;

    let told = told.into_inner().expect("clients do not panic");
    let mut connection = open(survivor.address)?;
    let (mut forgotten, mut untold) = (0, 0);
    for (key, &told) in keys.iter().zip(&told) {
        let left = connection.check("count", key, 0)?.json();
        let account = Account {
            admitted: told,
            counted: 1_000_000 - left["remaining"].as_u64().context("remaining")?,
            ..Account::default()
        };
        forgotten += account.forgotten();
        untold += account.untold();
    }
    let failed = failed.into_inner().expect("clients do not panic");
    Ok(Run {
        answered_ms,
        told: told.iter().sum(),
        forgotten,
        untold,
        failed,
    })
}

/// Ten hits a second, through each node in turn, and from the loss on through the survivors.
fn one_client(
    client: usize,
    start: Instant,
    addresses: [SocketAddr; 3],
    keys: &[String],
    told: &Mutex<Vec<u64>>,
    failed: &Mutex<u64>,
) {
    let Ok(mut connections) = open_all(&addresses) else {
        *failed.lock().expect("clients do not panic") += 1;
        return;
    };
    for turn in 0.. {
        if LOAD <= start.elapsed() {
            return;
        }
        let due = start + PACE * turn as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let places = if start.elapsed() < LOST_AFTER { 3 } else { 2 };
        let place = (client + turn) % places;
        let key = (client * 7 + turn) % keys.len();
        let answer = connections[place].check("count", &keys[key], 1);
        match answer.map(|answer| answer.status) {
            Ok(200) => told.lock().expect("clients do not panic")[key] += 1,
            // The lost node's own clients were told nothing, and nothing is promised to them.
            Ok(_) | Err(_) if place == 2 => {}
            Ok(_) | Err(_) => *failed.lock().expect("clients do not panic") += 1,
        }
    }
}

fn open_all(addresses: &[SocketAddr]) -> std::io::Result<Vec<Client>> {
    addresses.iter().map(|&address| open(address)).collect()
}
