//! The ways in which a node can be asked, each with its words.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use client::{Counted, Error, Limit, Limits};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::google::protobuf::UInt64Value;
use http::{Request, Response};
use layer::{Clues, RateLimitLayer};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tonic::transport::Channel;
use tower_layer::Layer as _;
use tower_service::Service as _;

use super::{Ask, PATIENCE, Told};

/// One way to ask.
pub(crate) trait Way {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// What it is told. `None`: that cannot be asked this way.
    fn ask(&self, limit: &str, key: &str, ask: Ask) -> Option<Told>;

    /// What this way has to say for that, where its protocol has fewer words.
    fn words(&self, told: Told) -> Told {
        told
    }
}

/// Sends a request on a connection of its own, and reads all that is answered.
fn exchange(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Status and body of what HTTP answers.
fn http(at: SocketAddr, request: &str) -> (u16, Value) {
    let answer = exchange(at, request);
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// The JSON at that path.
pub(crate) fn get(at: SocketAddr, path: &str) -> Value {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    http(at, &request).1
}

/// By HTTP and JSON.
pub(crate) struct Http(pub(crate) SocketAddr);

impl Way for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn ask(&self, limit: &str, key: &str, ask: Ask) -> Option<Told> {
        let (path, cost) = match ask {
            Ask::Hit(cost) => ("/v1/check", cost),
            Ask::Peek => ("/v1/check", 0),
            Ask::Refund(cost) => ("/v1/refund", cost),
        };
        let body = json!({ "limit": limit, "key": key, "cost": cost }).to_string();
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let (status, told) = http(self.0, &request);
        Some(match status {
            200 if told["by_fail_mode"] == true => Told::Open,
            200 if told["allowed"] == true => Told::Left(left(&told["remaining"])),
            200 | 429 => Told::Denied,
            422 => Told::NeverConforms,
            404 => Told::UnknownLimit,
            503 if told["counted"].is_null() => Told::NoDecision,
            _ => panic!("{status} {told}"),
        })
    }
}

fn left(told: &Value) -> u32 {
    told.as_u64().unwrap().try_into().unwrap()
}

/// By the Redis protocol.
pub(crate) struct Redis(pub(crate) SocketAddr);

impl Way for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn ask(&self, limit: &str, key: &str, ask: Ask) -> Option<Told> {
        let (command, cost) = match ask {
            Ask::Hit(cost) => ("WEIR.CHECK", cost),
            Ask::Peek => ("WEIR.CHECK", 0),
            Ask::Refund(cost) => ("WEIR.REFUND", cost),
        };
        let cost = cost.to_string();
        let words = [command, limit, key, &cost];
        let words = words.map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let request = format!("*4\r\n{}*1\r\n$4\r\nQUIT\r\n", words.concat());
        let answer = exchange(self.0, &request);
        let first = answer.strip_suffix("+OK\r\n").unwrap();
        if let Some(error) = first.strip_prefix('-') {
            return Some(match error.split(' ').next().unwrap() {
                "UNKNOWNLIMIT" => Told::UnknownLimit,
                "NODECISION" if error.contains("not counted") => Told::NoDecision,
                _ => panic!("{error}"),
            });
        }
        let numbers = first.split("\r\n").filter_map(|it| it.strip_prefix(':'));
        let numbers: Vec<i64> = numbers.map(|number| number.parse().unwrap()).collect();
        let [
            allowed,
            _limit,
            remaining,
            retry_after,
            _reset_after,
            by_fail_mode,
        ] = numbers[..]
        else {
            panic!("{answer}");
        };
        Some(match (allowed, retry_after) {
            _ if by_fail_mode == 1 => Told::Open,
            (1, _) => Told::Left(remaining.try_into().unwrap()),
            (_, -2) => Told::NeverConforms,
            _ => Told::Denied,
        })
    }
}

/// By Envoy's rate limit service: the limit is its domain's.
pub(crate) struct Grpc {
    handle: Handle,
    client: RateLimitServiceClient<Channel>,
}

impl Grpc {
    pub(crate) fn connect(handle: &Handle, at: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{at}")).unwrap();
        let channel = handle.block_on(channel.connect()).unwrap();
        Self {
            handle: handle.clone(),
            client: RateLimitServiceClient::new(channel),
        }
    }
}

impl Way for Grpc {
    fn name(&self) -> &'static str {
        "grpc"
    }

    fn ask(&self, limit: &str, key: &str, ask: Ask) -> Option<Told> {
        let (cost, is_negative_hits) = match ask {
            Ask::Hit(cost) => (cost, false),
            Ask::Peek => (0, false),
            Ask::Refund(cost) => (cost, true),
        };
        let entry = Entry {
            key: "key".to_owned(),
            value: key.to_owned(),
        };
        let request = RateLimitRequest {
            domain: limit.to_owned(),
            descriptors: vec![RateLimitDescriptor {
                entries: vec![entry],
                hits_addend: Some(UInt64Value { value: cost.into() }),
                is_negative_hits,
                ..RateLimitDescriptor::default()
            }],
            hits_addend: 0,
        };
        let answer = self
            .handle
            .block_on(self.client.clone().should_rate_limit(request));
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                let is_sure = status.message().contains("not counted");
                let is_unavailable = status.code() == tonic::Code::Unavailable;
                assert!(is_unavailable && is_sure, "{status}");
                return Some(Told::NoDecision);
            }
        };
        let status = &answer.statuses[0];
        Some(match answer.overall_code() {
            // It passes, and is held to nothing.
            Code::Ok if status.current_limit.is_none() => Told::UnknownLimit,
            Code::Ok if limit == "open" => Told::Open,
            Code::Ok => Told::Left(status.limit_remaining),
            Code::OverLimit => Told::Denied,
            Code::Unknown => panic!("{answer:?}"),
        })
    }

    fn words(&self, told: Told) -> Told {
        match told {
            Told::NeverConforms => Told::Denied,
            told => told,
        }
    }
}

/// By a program that has a node in it, or asks one elsewhere.
pub(crate) struct Program<L> {
    name: &'static str,
    handle: Handle,
    limits: L,
}

impl<L: Limits> Program<L> {
    pub(crate) fn new(name: &'static str, handle: &Handle, limits: L) -> Self {
        Self {
            name,
            handle: handle.clone(),
            limits,
        }
    }

    async fn told(&self, limit: &str, key: &str, ask: Ask) -> Result<Told, Error> {
        let limit = self.limits.limit(limit)?;
        Ok(match ask {
            Ask::Hit(cost) => match limit.key(key).cost(cost).check().await? {
                Ok(pass) if pass.by_fail_mode => Told::Open,
                Ok(pass) => Told::Left(pass.remaining),
                Err(_) => Told::Denied,
            },
            Ask::Peek => Told::Left(limit.key(key).peek().await?.remaining),
            Ask::Refund(cost) => Told::Left(limit.key(key).cost(cost).refund().await?.remaining),
        })
    }
}

impl<L: Limits> Way for Program<L> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn ask(&self, limit: &str, key: &str, ask: Ask) -> Option<Told> {
        let told = self.handle.block_on(self.told(limit, key, ask));
        Some(told.unwrap_or_else(|error| match error {
            Error::UnknownLimit { .. } => Told::UnknownLimit,
            Error::NeverConforms { .. } => Told::NeverConforms,
            Error::NoDecision {
                counted: Counted::No,
                ..
            } => Told::NoDecision,
            error => panic!("{error}"),
        }))
    }
}

/// By requests to a service behind the layer. It hits, and nothing else.
pub(crate) struct Layer<L>(Program<L>);

impl<L: Limits> Layer<L> {
    pub(crate) fn new(name: &'static str, handle: &Handle, limits: L) -> Self {
        Self(Program::new(name, handle, limits))
    }

    fn send(&self, limit: Limit<L>, key: &str, cost: u32) -> Response<()> {
        let key = key.to_owned();
        let layer = RateLimitLayer::new(limit)
            .by(move |_: &Clues<'_>| Some(key.clone()))
            .cost(cost);
        let served =
            tower::service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
        let answer = layer.layer(served).call(Request::new(()));
        self.0.handle.block_on(answer).unwrap().map(drop)
    }
}

impl<L: Limits> Way for Layer<L> {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn ask(&self, name: &str, key: &str, ask: Ask) -> Option<Told> {
        let Ask::Hit(cost) = ask else {
            return None;
        };
        let Ok(limit) = self.0.limits.limit(name) else {
            return Some(Told::UnknownLimit);
        };
        let response = self.send(limit, key, cost);
        let remaining = response.headers().get("x-ratelimit-remaining");
        let left = || remaining.unwrap().to_str().unwrap().parse().unwrap();
        Some(match response.status().as_u16() {
            200 if name == "open" => Told::Open,
            200 => Told::Left(left()),
            429 => Told::Denied,
            422 => Told::NeverConforms,
            503 => Told::NoDecision,
            status => panic!("{status}"),
        })
    }

    fn words(&self, told: Told) -> Told {
        match told {
            // Only a node elsewhere knows: it cannot be asked, and lets nobody pass.
            Told::UnknownLimit if self.0.name == "layer on remote" => Told::NoDecision,
            told => told,
        }
    }
}
