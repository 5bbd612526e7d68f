//! What keeping counts costs: the processor time of a lone node that is asked 50 000 times a second for 100 000 keys, with a
//! limit that is kept, with one that is not, and without a data directory, in turns.
//!
//! Hits come from this process, so that nothing is in the numbers but the node. Run it as
//! `cargo run --release -p cluster --example kept-cpu -- DIR`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster::cookie::Cookie;
use cluster::node::{Acknowledge, Cluster, ClusterConfig};
use coordinator::{Coordinator as _, FailMode, Hit, Policy, Strategy};
use quota::{Algorithm, Cost, Limit, Nanos};
use rustix::time::{ClockId, clock_gettime};

const KEYS: u64 = 100_000;
const RATE: u64 = 50_000;
const SPAN: Duration = Duration::from_secs(10);
const ROUNDS: usize = 5;

/// Hits that are sent at once: those of two milliseconds.
const AT_ONCE: u64 = RATE / 500;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    println!("us of processor time for each of {RATE} hits a second, on {KEYS} keys");
    println!("no directory  not kept  kept");
    for round in 0..ROUNDS {
        let path = PathBuf::from(&directory).join(round.to_string());
        let bare = runtime.block_on(cost(None, true))?;
        let not_kept = runtime.block_on(cost(Some(&path.join("not")), false))?;
        let kept = runtime.block_on(cost(Some(&path.join("kept")), true))?;
        println!("{bare:>12.2}  {not_kept:>8.2}  {kept:>4.2}");
    }
    Ok(())
}

/// Microseconds of processor time for each hit.
async fn cost(data_dir: Option<&Path>, keep: bool) -> Result<f64, Box<dyn Error>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let config = ClusterConfig {
        name: "alone".to_owned(),
        cookie: Cookie::new("of a measurement"),
        advertise: listener.local_addr()?.to_string(),
        http: String::new(),
        zone: None,
        asks: false,
        data_dir: data_dir.map(Path::to_owned),
        start_wait: Nanos::ZERO,
        join: Vec::new(),
        neighbours: None,
        expect: None,
        shards: shard::Settings::lan(2, shard::Partition::Available),
        acknowledge: Acknowledge::Fast {
            max_lag: Nanos::from_millis(250),
        },
        forget_after: None,
        max_keys: 20_000_000,
        max_memory: u64::MAX,
    };
    let node = Cluster::start(config, listener).await?;
    let limit = Limit::new(Algorithm::Gcra, 1_000_000, Nanos::from_secs(24 * 60 * 60))?;
    let policy = Policy {
        namespace: "".into(),
        name: "quota".into(),
        limit: limit.with_keep(keep),
        strategy: Strategy::Owner,
        on_failure: FailMode::Deny,
        top_keys: false,
    };
    let hit = |number: u64| {
        let key = format!("u{number}");
        let hit = Hit {
            policy: &policy,
            key: &key,
            cost: Cost::ONE,
        };
        node.try_hit(hit).is_some()
    };
    for number in 0..KEYS {
        hit(number);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (began, before) = (Instant::now(), processor_time());
    let (mut random, mut hits) = (7_u64, 0_u64);
    while began.elapsed() < SPAN {
        for _ in 0..AT_ONCE {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            hits += u64::from(hit((random >> 33) % KEYS));
        }
        let due = Duration::from_micros(hits * 1_000_000 / RATE);
        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
    }
    let spent = processor_time() - before;
    node.stop().await;
    Ok(spent.as_secs_f64() * 1e6 / hits as f64)
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
