//! What one decision costs without any network, Weir beside governor.
//!
//! Every cell of the table is measured in a process of its own, so that its memory is that of one contender alone.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cluster::clock::Clock;
use cluster::node::{Acknowledge, Cluster, ClusterConfig, SHARDS};
use coordinator::{Coordinator as _, FailMode, Policy, Strategy};
use delta_crdt::{Cells, Dot, ReplicaId, Term};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use quota::{Algorithm, Cost, KeyHasher, Limit, Nanos, Verdict};
use rehearsal::memory_of;

use crate::machine;
use crate::spread::Rounds;

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(1);
/// Decisions between two looks at the time.
const BATCH: usize = 1_000;
const KEYS: [usize; 3] = [1, 100_000, 1_000_000];
const THREADS: [usize; 2] = [1, 2];

/// Admits for as long as a measurement lasts, and keys do not expire meanwhile: one unit in 43.2 µs, and a burst that
/// lasts a day.
const UNITS: u32 = 2_000_000_000;
const PERIOD: Nanos = Nanos::from_secs(86_400);

const CONTENDERS: [(&str, &str); 4] = [
    (
        "cells",
        "**Weir**, `Cells::hit` in shards behind a mutex, key hashed, clock read",
    ),
    ("node", "**Weir**, `Cluster::hit`: all that a front calls"),
    ("governor", "governor 0.10.4, keyed (DashMap)"),
    (
        "loop",
        "the loop alone: a key of 14 bytes written, a random number drawn",
    ),
];

pub(crate) fn measure() -> Result<String> {
    let columns: Vec<(usize, usize)> = THREADS
        .iter()
        .flat_map(|&threads| KEYS.map(|keys| (threads, keys)))
        .collect();
    let mut results =
        vec![vec![(Rounds::default(), Rounds::default()); columns.len()]; CONTENDERS.len()];
    for _ in 0..ROUNDS {
        for (column, (threads, keys)) in columns.iter().enumerate() {
            for (row, (contender, _)) in CONTENDERS.iter().enumerate() {
                let output = Command::new(std::env::current_exe()?)
                    .args([
                        "--in-process",
                        contender,
                        &keys.to_string(),
                        &threads.to_string(),
                    ])
                    .output()?;
                let text = String::from_utf8(output.stdout)?;
                ensure!(
                    output.status.success(),
                    "{contender}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                let (nanos, bytes) = text.trim().split_once(' ').context("two numbers")?;
                eprintln!(
                    "{contender}, {threads} threads, {keys} keys: {nanos} ns, {bytes} bytes per key"
                );
                results[row][column].0.push(nanos.parse()?);
                results[row][column].1.push(bytes.parse()?);
            }
        }
    }
    let mut table =
        "| | 1T hot | 1T 100 k | 1T 1 M | 2T hot | 2T 100 k | 2T 1 M | bytes/key at 1 M |\n\
                     |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for ((_, name), cells) in CONTENDERS.iter().zip(&results) {
        let nanos: String = cells
            .iter()
            .map(|(nanos, _)| format!(" | {}", nanos.show(0)))
            .collect();
        table += &format!("| {name}{nanos} | {} |\n", cells[2].1.show(0));
    }
    Ok(format!(
        "Nanoseconds per decision and thread (1T: CPU time; 2T: wall time), `gcra`, all admitted; keys in random order; {ROUNDS} rounds of {} s, \
         contenders in turn within each round; median (least to most). Bytes are resident memory before and after a million keys.\n\n{table}",
        ROUND.as_secs()
    ))
}

/// One cell of the table, in this process: nanoseconds and bytes per key.
pub(crate) fn run(contender: &str, keys: usize, threads: usize) -> Result<(f64, f64)> {
    match contender {
        "loop" => time(keys, threads, || {
            |key: &String| std::hint::black_box(key).len() == 14
        }),
        "governor" => {
            let every = Duration::from(PERIOD) / UNITS;
            let quota = Quota::with_period(every).context("a period")?;
            let quota = quota.allow_burst(NonZeroU32::new(UNITS).context("a burst")?);
            let limiter: DefaultKeyedRateLimiter<String> = RateLimiter::keyed(quota);
            time(keys, threads, || {
                |key: &String| limiter.check_key(key).is_ok()
            })
        }
        "cells" => {
            let shards = Shards::new()?;
            time(keys, threads, || |key: &String| shards.hit(key))
        }
        "node" => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            let node = runtime.block_on(lone_node())?;
            let policy = policy()?;
            let hit = |key: &String| {
                // Polled once: a local decision never waits.
                let hit = std::pin::pin!(node.hit(&policy, key, Cost::ONE));
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                let answer = hit.poll(&mut context);
                matches!(answer, std::task::Poll::Ready(Ok(answer)) if answer.decision.verdict == Verdict::Allow)
            };
            time(keys, threads, || hit)
        }
        _ => bail!("no contender {contender:?}"),
    }
}

/// The local part of a node: what `Slots` does for a shard of its own, without leases and replicas.
struct Shards {
    shards: Vec<Mutex<(Cells, u64)>>,
    hasher: KeyHasher,
    clock: Clock,
    limit: Limit,
}

impl Shards {
    fn new() -> Result<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Ok(Self {
            shards,
            hasher: KeyHasher::new([7; 16]),
            clock: Clock::start(),
            limit: policy()?.limit,
        })
    }

    fn hit(&self, key: &str) -> bool {
        let hash = self.hasher.hash("default", "admit", key);
        let now = self.clock.now();
        let mut shard = self.shards[usize::from(hash.shard(SHARDS))]
            .lock()
            .expect("nothing panics under this lock");
        let (cells, written) = &mut *shard;
        *written += 1;
        let dot = Dot {
            actor: Term {
                number: 1,
                replica: ReplicaId(1),
            },
            counter: *written,
        };
        cells
            .hit(now.wall, hash, &self.limit, Cost::ONE, dot)
            .decision
            .verdict
            == Verdict::Allow
    }
}

pub(crate) fn policy() -> Result<Policy> {
    let limit = Limit::new(Algorithm::Gcra, UNITS, PERIOD)?;
    Ok(Policy {
        namespace: "default".into(),
        name: "admit".into(),
        limit,
        strategy: Strategy::Owner,
        on_failure: FailMode::Deny,
        top_keys: false,
    })
}

/// A node that has nobody to talk to.
async fn lone_node() -> Result<Cluster> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let config = node_config("alone", listener.local_addr()?);
    Ok(Cluster::start(config, listener).await?)
}

pub(crate) fn node_config(name: &str, advertise: SocketAddr) -> ClusterConfig {
    ClusterConfig {
        name: name.to_owned(),
        cookie: cluster::cookie::Cookie::new(crate::server::COOKIE),
        advertise: advertise.to_string(),
        http: String::new(),
        zone: None,
        asks: false,
        data_dir: None,
        start_wait: Nanos::ZERO,
        expect: None,
        join: Vec::new(),
        neighbours: None,
        shards: shard::Settings::lan(2, shard::Partition::Available),
        acknowledge: Acknowledge::Fast {
            max_lag: Nanos::from_millis(250),
        },
        forget_after: None,
        max_keys: 20_000_000,
        max_memory: 4 << 30,
    }
}

/// Makes every key known, then hits them in random order from all threads for a while.
fn time<H: FnMut(&String) -> bool + Send>(
    keys: usize,
    threads: usize,
    hit: impl Fn() -> H,
) -> Result<(f64, f64)> {
    let resident = memory_of(std::process::id()).context("this process runs")?;
    let mut fill = hit();
    let mut key = String::with_capacity(14);
    for number in 0..keys {
        write_key(&mut key, number);
        ensure!(fill(&key), "denied");
    }
    let bytes = memory_of(std::process::id())
        .context("this process runs")?
        .saturating_sub(resident);

    let barrier = Arc::new(Barrier::new(threads));
    let nanos = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, mut hit) = (Arc::clone(&barrier), hit());
                scope.spawn(move || {
                    barrier.wait();
                    hammer(keys, thread, threads, &mut hit)
                })
            })
            .collect();
        let each: Vec<f64> = threads
            .into_iter()
            .map(|thread| thread.join().expect("threads do not panic"))
            .collect();
        each.iter().sum::<f64>() / each.len() as f64
    });
    Ok((nanos, bytes as f64 / keys as f64))
}

/// Nanoseconds per hit of one thread: CPU time if it is alone, which others on this machine disturb least; else all the
/// time there was, since waiting for one another counts.
fn hammer(
    keys: usize,
    thread: usize,
    threads: usize,
    hit: &mut impl FnMut(&String) -> bool,
) -> f64 {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ (thread as u64 + 1);
    let mut key = String::with_capacity(14);
    let (start, cpu, mut hits, mut admitted) = (Instant::now(), machine::thread_cpu_time(), 0, 0);
    while start.elapsed() < ROUND {
        for _ in 0..BATCH {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Multiplying and shifting is a remainder without a division.
            let number = (u128::from(random) * keys as u128) >> 64;
            write_key(&mut key, number as usize);
            admitted += usize::from(hit(&key));
        }
        hits += BATCH;
    }
    assert_eq!(hits, admitted, "a hit was denied");
    let spent = match threads {
        1 => machine::thread_cpu_time() - cpu,
        _ => start.elapsed(),
    };
    spent.as_nanos() as f64 / hits as f64
}

/// The same keys as `server::key`, without the cost of formatting.
fn write_key(key: &mut String, mut number: usize) {
    let mut digits = [b'0'; 9];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    key.clear();
    key.push_str("user:");
    key.push_str(std::str::from_utf8(&digits).expect("digits are text"));
}
