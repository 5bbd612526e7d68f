//! One decision per call of Envoy's rate limit service, Weir beside a service that decides nothing, and beside throttlecrab's
//! own service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use self::throttle::{Reply, Throttle};

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

/// What a server is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    /// Envoy's rate limit service.
    RateLimit,
    /// Throttlecrab's, which has its limit from the request.
    Throttle,
}

/// What is measured.
struct Contender {
    name: &'static str,
    pids: Vec<u32>,
    address: SocketAddr,
    service: Service,
    /// Whether it decides, so that it is checked.
    decides: bool,
}

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
    let throttlecrab = Server::throttlecrab_grpc()?;
    let contender = |name, pids, address, service, decides| Contender {
        name,
        pids,
        address,
        service,
        decides,
    };
    let contenders = [
        contender(
            "**Weir**, one node",
            node.pids(),
            grpc,
            Service::RateLimit,
            true,
        ),
        contender(
            "tonic, decides nothing",
            empty.pids(),
            empty.address,
            Service::RateLimit,
            false,
        ),
        contender(
            "throttlecrab-server 0.4.40, a service of its own",
            throttlecrab.pids(),
            throttlecrab.address,
            Service::Throttle,
            true,
        ),
    ];
    let mut table =
        "| | case | server CPU, µs/call | thousand calls/s |\n|---|---|---|---|\n".to_owned();
    for (case, limit, keys) in CASES {
        let mut results = [(); 3].map(|()| <(Rounds, Rounds)>::default());
        for contender in &contenders {
            let mut warm_up = WARM_UP;
            while load(contender, limit, keys, warm_up, None)?.calls < keys as u64 {
                warm_up *= 2;
            }
        }
        let mut ratios = Rounds::default();
        for _ in 0..ROUNDS {
            let mut cpu = [0.0; 3];
            for (index, contender) in contenders.iter().enumerate() {
                let expected = contender.decides.then_some(limit == "admit");
                let load = load(contender, limit, keys, ROUND, expected)?;
                eprintln!(
                    "{}, {case}: {:.0}/s, {:.2} µs",
                    contender.name, load.per_second, load.cpu_us
                );
                cpu[index] = load.cpu_us;
                results[index].0.push(load.cpu_us);
                results[index].1.push(load.per_second / 1e3);
            }
            ratios.push(cpu[0] / cpu[1]);
        }
        for (contender, (cpu, per_second)) in contenders.iter().zip(&results) {
            table += &format!(
                "| {} | {case} | {} | {} |\n",
                contender.name,
                cpu.show(2),
                per_second.show(0)
            );
        }
        table += &format!(
            "| Weir beside the empty tonic in the same round | {case} | {} | |\n",
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
    contender: &Contender,
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
            let endpoint = Channel::from_shared(format!("http://{}", contender.address))?;
            let channel = endpoint.tcp_nodelay(true).connect().await?;
            callers.push((caller, channel));
        }
        // Made before, so that it is not measured.
        let names = (0..keys).map(|number| server::key(number * 7_919 % KEYS));
        let names: Arc<Vec<String>> = Arc::new(names.collect());
        let before = machine::cpu_time(&contender.pids)?;
        let start = Instant::now();
        let (service, end) = (contender.service, start + time);
        let tasks = callers.into_iter().map(|(caller, channel)| {
            let names = Arc::clone(&names);
            tokio::spawn(async move {
                match service {
                    Service::RateLimit => ask_weir(channel, caller, limit, &names, end).await,
                    Service::Throttle => {
                        ask_throttlecrab(channel, caller, limit, &names, end).await
                    }
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let (mut calls, mut over) = (0, 0);
        for task in tasks {
            let (made, denied) = task.await??;
            calls += made;
            over += denied;
        }
        let took = start.elapsed();
        let cpu = machine::cpu_time(&contender.pids)? - before;
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
async fn ask_weir(
    channel: Channel,
    caller: usize,
    limit: &str,
    keys: &[String],
    end: Instant,
) -> Result<(u64, u64)> {
    let mut client = RateLimitServiceClient::new(channel);
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

/// The same of throttlecrab, whose limit stands in the request.
async fn ask_throttlecrab(
    channel: Channel,
    caller: usize,
    limit: &str,
    keys: &[String],
    end: Instant,
) -> Result<(u64, u64)> {
    let mut client = tonic::client::Grpc::new(channel);
    let units = if limit == "admit" { 2_000_000 } else { 1 };
    let (mut calls, mut over) = (0, 0);
    while Instant::now() < end {
        let key = &keys[(caller + calls as usize * CONNECTIONS) % keys.len()];
        let request = Throttle {
            key: key.clone(),
            max_burst: units,
            count_per_period: units,
            period: 86_400,
            quantity: 1,
        };
        client.ready().await?;
        let path = PathAndQuery::from_static("/throttlecrab.RateLimiter/Throttle");
        let codec = ProstCodec::<Throttle, Reply>::default();
        let answer = client.unary(tonic::Request::new(request), path, codec);
        calls += 1;
        over += u64::from(!answer.await?.into_inner().allowed);
    }
    Ok((calls, over))
}

/// The messages of throttlecrab-server 0.4.40, `proto/throttlecrab.proto`.
mod throttle {
    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Throttle {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(int32, tag = "2")]
        pub(super) max_burst: i32,
        #[prost(int32, tag = "3")]
        pub(super) count_per_period: i32,
        #[prost(int32, tag = "4")]
        pub(super) period: i32,
        #[prost(int32, tag = "5")]
        pub(super) quantity: i32,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct Reply {
        #[prost(bool, tag = "1")]
        pub(super) allowed: bool,
        #[prost(int32, tag = "2")]
        pub(super) limit: i32,
        #[prost(int32, tag = "3")]
        pub(super) remaining: i32,
        #[prost(int32, tag = "4")]
        pub(super) retry_after: i32,
        #[prost(int32, tag = "5")]
        pub(super) reset_after: i32,
    }
}
