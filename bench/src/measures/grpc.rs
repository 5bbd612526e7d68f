//! One decision per call of Envoy's rate limit service, Weir beside a service that decides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tonic::transport::Channel;

use crate::machine;
use crate::server::{self, Nodes, Server};
use crate::spread::Rounds;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// Longer if not every key is hit by then: a key must be spent to be denied.
const WARM_UP: Duration = Duration::from_secs(2);
const KEYS: usize = 100_000;
/// Connections, with one call at a time on each.
const CONNECTIONS: usize = 64;

/// What is asked: the limit, which is also the key of the entry, and how many of its keys.
const CASES: [(&str, &str, usize); 3] = [
    ("hot key, admit", "admit", 1),
    ("100 k keys, admit", "admit", KEYS),
    ("100 k keys, deny", "deny", KEYS),
];

/// A domain with an entry for each limit.
const RULES: &str = r#"
[node]
grpc = "127.0.0.1:0"

[[rule]]
domain = "bench"
match = [{ key = "admit" }]
limit = "admit"

[[rule]]
domain = "bench"
match = [{ key = "deny" }]
limit = "deny"
"#;

/// What a round came to.
struct Load {
    calls: u64,
    per_second: f64,
    cpu_us: f64,
}

pub(crate) fn measure() -> Result<String> {
    let weir = Nodes::start_with(1, "fast", RULES)?;
    let node = &weir.nodes[0];
    let empty = Server::tonic_empty()?;
    let grpc = node.grpc.context("the node serves gRPC")?;
    let contenders = [
        ("**Weir**, one node", node.pids(), grpc, true),
        ("tonic, decides nothing", empty.pids(), empty.address, false),
    ];
    let mut table =
        "| | case | server CPU, µs/call | thousand calls/s |\n|---|---|---|---|\n".to_owned();
    for (case, limit, keys) in CASES {
        let mut results = [(); 2].map(|()| <(Rounds, Rounds)>::default());
        for (_, pids, address, _) in &contenders {
            let mut warm_up = WARM_UP;
            while load(pids, *address, limit, keys, warm_up, None)?.calls < keys as u64 {
                warm_up *= 2;
            }
        }
        let mut ratios = Rounds::default();
        for _ in 0..ROUNDS {
            let mut cpu = [0.0; 2];
            for (index, (name, pids, address, decides)) in contenders.iter().enumerate() {
                let expected = decides.then_some(limit == "admit");
                let load = load(pids, *address, limit, keys, ROUND, expected)?;
                eprintln!(
                    "{name}, {case}: {:.0}/s, {:.2} µs",
                    load.per_second, load.cpu_us
                );
                cpu[index] = load.cpu_us;
                results[index].0.push(load.cpu_us);
                results[index].1.push(load.per_second / 1e3);
            }
            ratios.push(cpu[0] / cpu[1]);
        }
        for ((name, ..), (cpu, per_second)) in contenders.iter().zip(&results) {
            table += &format!(
                "| {name} | {case} | {} | {} |\n",
                cpu.show(2),
                per_second.show(0)
            );
        }
        table += &format!(
            "| ratio in the same round | {case} | {} | |\n",
            ratios.show(2)
        );
    }
    Ok(format!(
        "{CONNECTIONS} connections with one call each, from one thread, 14-byte keys, {ROUNDS} rounds of {} s, servers in turn \
         within each round; median (least to most). Weir's answers have a status with its limit and five headers.\n\n{table}",
        ROUND.as_secs()
    ))
}

/// Calls for so long, and checks that (nearly) all were admitted if `admitted`, else (nearly) none.
fn load(
    pids: &[u32],
    address: SocketAddr,
    limit: &'static str,
    keys: usize,
    time: Duration,
    admitted: Option<bool>,
) -> Result<Load> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut callers = Vec::new();
        for caller in 0..CONNECTIONS {
            let endpoint = Channel::from_shared(format!("http://{address}"))?;
            let channel = endpoint.tcp_nodelay(true).connect().await?;
            callers.push((caller, RateLimitServiceClient::new(channel)));
        }
        // Made before, so that it is not measured.
        let names = (0..keys).map(|number| server::key(number * 7_919 % KEYS));
        let names: Arc<Vec<String>> = Arc::new(names.collect());
        let before = machine::cpu_time(pids)?;
        let start = Instant::now();
        let tasks = callers.into_iter().map(|(caller, client)| {
            tokio::spawn(call(
                client,
                caller,
                limit,
                Arc::clone(&names),
                start + time,
            ))
        });
        let tasks: Vec<_> = tasks.collect();
        let (mut calls, mut over) = (0, 0);
        for task in tasks {
            let (made, denied) = task.await??;
            calls += made;
            over += denied;
        }
        let took = start.elapsed();
        let cpu = machine::cpu_time(pids)? - before;
        if let Some(admitted) = admitted {
            let denied = over as f64 / calls as f64;
            let wrong = if admitted { denied } else { 1.0 - denied };
            ensure!(
                wrong < 0.01,
                "{:.0} % of {calls} calls were denied",
                denied * 100.0
            );
        }
        Ok(Load {
            calls,
            per_second: calls as f64 / took.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / calls as f64,
        })
    })
}

/// Calls one after the other until `end`: how often, and how often it was over.
async fn call(
    mut client: RateLimitServiceClient<Channel>,
    caller: usize,
    limit: &str,
    keys: Arc<Vec<String>>,
    end: Instant,
) -> Result<(u64, u64)> {
    let (mut calls, mut over) = (0, 0);
    while Instant::now() < end {
        let key = &keys[(caller + calls as usize * CONNECTIONS) % keys.len()];
        let request = RateLimitRequest {
            domain: "bench".to_owned(),
            descriptors: vec![RateLimitDescriptor {
                entries: vec![Entry {
                    key: limit.to_owned(),
                    value: key.clone(),
                }],
                ..RateLimitDescriptor::default()
            }],
            hits_addend: 0,
        };
        let answer = client.should_rate_limit(request).await?.into_inner();
        calls += 1;
        over += u64::from(answer.overall_code() == Code::OverLimit);
    }
    Ok((calls, over))
}
