//! Envoy's rate limit service, asked by a real Envoy and by tonic's own client.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::{Cluster, Envoy, Node, Options, Response, envoy_get, eventually};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use rehearsal::free_address;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";

/// `user` is held to `user`, 3 a minute.
const LIMITS: &str = r#"
[[limit]]
name = "user"
algorithm = "sliding_log"
limit = 3
per = "1m"

[[rule]]
domain = "edge"
match = [{ key = "user" }]
limit = "user"
"#;

/// A folder for a test, and what is in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(TempDir::with_prefix("weir-e2e-grpc-").expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("writing a file");
        path
    }

    /// A node with this file, whose rate limit service is at `grpc`.
    fn node(&self, config: &Path, grpc: SocketAddr) -> Node {
        let mut options = Options::new("oskar", "wojtyra");
        let config = config.to_str().expect("a path of text");
        options.args = ["--config", config, "--grpc", &grpc.to_string()]
            .map(str::to_owned)
            .to_vec();
        Node::start(self.path(), &options).unwrap_or_else(|ended| panic!("{ended:?}"))
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Envoy with two listeners in front of one service: while the limits cannot be asked, `opens` lets pass and `closes` refuses. It
/// asks them with this API key, if there is one.
fn envoy_config(
    opens: SocketAddr,
    closes: SocketAddr,
    weir: SocketAddr,
    api_key: Option<&str>,
) -> String {
    let demo = fs::read_to_string(demo("envoy.yaml")).expect("the demo's configuration");
    let demo = match api_key {
        Some(key) => {
            let begin = demo
                .find("# initial_metadata")
                .expect("how a token is brought");
            let line = demo[begin..].lines().next().expect("a line");
            let metadata = line.trim_start_matches("# ").replace("TOKEN", key);
            assert!(metadata.contains(key), "{metadata}");
            demo.replace(line, &metadata)
        }
        None => demo,
    };
    // Of the demo, what differs is where everything is; a second front is added to it.
    let service = free_address().expect("a free port");
    let moved = demo
        .replace("port_value: 10001", &format!("port_value: {}", service.port()))
        .replace("port_value: 4050", &format!("port_value: {}", weir.port()))
        .replace("timeout: 1s\n                      rate", "timeout: 5s\n                      enable_x_ratelimit_headers: DRAFT_VERSION_03\n                      rate");
    let health = moved
        .find("      # A node that drains")
        .expect("the demo's health checks");
    let after = moved[health..]
        .find("      load_assignment")
        .expect("what follows")
        + health;
    // A dead node is to be asked, and to fail.
    let moved = moved[..health].to_owned() + &moved[after..];
    let begin = moved
        .find("    - name: edge\n")
        .expect("the demo's listener");
    let end = moved
        .find("    # A service to protect")
        .expect("the demo's service");
    let edge = &moved[begin..end];
    let opening = edge.replace(
        "port_value: 10000",
        &format!("port_value: {}", opens.port()),
    );
    let closing = edge
        .replace(
            "    - name: edge\n      address",
            "    - name: closed\n      address",
        )
        .replace(
            "port_value: 10000",
            &format!("port_value: {}", closes.port()),
        )
        .replace("failure_mode_deny: false", "failure_mode_deny: true");
    format!("{}{opening}{closing}{}", &moved[..begin], &moved[end..])
}

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../demo/envoy")
        .join(name)
}

#[test]
fn envoy_is_told_and_a_dead_limiter_is_as_its_failure_mode_says() {
    let home = Home::new();
    let limits = home.write("weir.toml", LIMITS);
    let mut node = home.node(&limits, any_port());
    let grpc = node.grpc.expect("it serves gRPC");
    let [opens, closes] = [(); 2].map(|()| free_address().expect("a free port"));
    let config = home.write("envoy.yaml", &envoy_config(opens, closes, grpc, None));
    let _envoy = Envoy::start(&config, opens);

    let ada = [("x-user", "ada")];
    // One by HTTP, which is the same count.
    assert_eq!(node.check("user", "ada", 1).status, 200);
    let first = envoy_get(closes, "/", &ada);
    assert_eq!((first.status, first.body.as_str()), (200, "hello\n"));
    // Envoy's own, which it makes of `current_limit`, `limit_remaining` and `duration_until_reset`.
    let told = first
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    let told: Vec<String> = told.collect();
    assert!(
        told.contains(&r#"x-ratelimit-limit: 3, 3;w=60;name="user""#.to_owned()),
        "{told:#?}"
    );
    assert!(
        told.contains(&"x-ratelimit-remaining: 1".to_owned()),
        "{told:#?}"
    );
    // And those of HTTP.
    assert_eq!(first.header("ratelimit-policy"), Some(r#""user";q=3;w=60"#));
    assert_eq!(envoy_get(opens, "/", &ada).status, 200);
    let denied = envoy_get(opens, "/", &ada);
    assert_eq!(denied.status, 429);
    assert_eq!(denied.header("x-envoy-ratelimited"), Some("true"));
    assert!(denied.header("retry-after").is_some(), "{denied:?}");
    assert_eq!(node.counted("user", "ada"), 3);
    assert_eq!(
        envoy_get(opens, "/", &[]).status,
        200,
        "no descriptor, no limit"
    );

    node.kill();
    assert_eq!(envoy_get(opens, "/", &ada).status, 200);
    assert_eq!(envoy_get(closes, "/", &ada).status, 500);

    let node = home.node(&limits, grpc);
    eventually("envoy asks the node that is back", || {
        let answer = envoy_get(closes, "/", &[("x-user", "bob")]);
        match answer.status {
            200 => Ok(()),
            status => Err(format!("{status}")),
        }
    });
    assert_eq!(node.counted("user", "bob"), 1);
}

/// One request with an API key.
fn ask_with(node: &Node, key: &str, method: &str, path: &str, body: Option<&str>) -> Response {
    let bearer = format!("Bearer {key}");
    let headers = [("Authorization", &*bearer)];
    let answer = node.client().request(method, path, &headers, body);
    answer.expect("an answer")
}

/// By an API key in `initial_metadata`, as the demo says of a token: the rules are the file's, the limit and the day the tenant's.
#[test]
fn envoy_with_an_api_key_counts_in_its_tenant() {
    let config = format!("[service]\npublic_url = \"http://127.0.0.1:4000\"\n{LIMITS}");
    let mut cluster = Cluster::with_config(&config);
    let started = cluster.try_start(
        "oskar",
        Cluster::COOKIE,
        &["--ephemeral", "--grpc", "127.0.0.1:0"],
    );
    started.unwrap_or_else(|(status, log)| panic!("{status}:\n{log}"));
    let (_, key) = cluster.tenant("Acme", &["check", "limits.write", "usage.read"]);
    let node = &cluster.nodes[0];
    let grpc = node.grpc.expect("it serves gRPC");
    let limit = r#"{"algorithm":"fixed_window","anchor":"first_hit","limit":2,"per":"1h"}"#;
    let set = ask_with(node, &key, "PUT", "/v1/limits/user", Some(limit));
    assert_eq!(set.status, 201, "{set:?}");

    let home = Home::new();
    let [opens, closes] = [(); 2].map(|()| free_address().expect("a free port"));
    let config = envoy_config(opens, closes, grpc, Some(&key));
    let _envoy = Envoy::start(&home.write("known.yaml", &config), opens);
    let ada = [("x-user", "ada")];
    let first = envoy_get(closes, "/", &ada);
    assert_eq!(first.status, 200, "{first:?}");
    // The tenant's limit of that name, and not the file's of 3.
    assert_eq!(first.header("x-ratelimit-remaining"), Some("1"));
    assert_eq!(envoy_get(opens, "/", &ada).status, 200);
    for listener in [opens, closes] {
        let denied = envoy_get(listener, "/", &ada);
        assert_eq!(denied.status, 429, "{denied:?}");
    }
    let check = r#"{"limit":"user","key":"ada"}"#;
    let check = ask_with(node, &key, "POST", "/v1/check", Some(check));
    assert_eq!(check.status, 429, "one count, whatever asks: {check:?}");
    let usage = ask_with(node, &key, "GET", "/v1/usage", None).json();
    assert_eq!(usage["today"]["requests"], 2, "{usage}");

    // Well-formed, and of nobody.
    let unknown = "weir_key_3fK9mQ2bXw7L8hTq0sVfYcRzE1uGnAaB6dJkP4iWoN5v1wtbid";
    let [opens, closes] = [(); 2].map(|()| free_address().expect("a free port"));
    let config = envoy_config(opens, closes, grpc, Some(unknown));
    let _other = Envoy::start(&home.write("unknown.yaml", &config), opens);
    assert_eq!(envoy_get(opens, "/", &ada).status, 200, "it fails open");
    assert_eq!(envoy_get(closes, "/", &ada).status, 500, "it fails closed");
    let usage = ask_with(node, &key, "GET", "/v1/usage", None).json();
    assert_eq!(usage["today"]["requests"], 2, "{usage}");
}

/// What `demo/envoy` says at its top, at the ports that it names.
#[test]
fn the_demo_runs_as_written() {
    let home = Home::new();
    let _node = home.node(&demo("weir.toml"), SocketAddr::from(([127, 0, 0, 1], 4050)));
    let edge = SocketAddr::from(([127, 0, 0, 1], 10_000));
    let _envoy = Envoy::start(&demo("envoy.yaml"), edge);
    // Until its health check has passed, the limits are not asked.
    eventually("the limits are asked", || {
        let answer = envoy_get(edge, "/login", &[]);
        let limit = answer.header("x-ratelimit-limit").map(str::to_owned);
        limit.ok_or_else(|| format!("{answer:?}"))
    });
    let codes: Vec<u16> = (0..6)
        .map(|_| envoy_get(edge, "/", &[("x-user", "ada")]).status)
        .collect();
    assert_eq!(codes, [200, 200, 200, 200, 200, 429]);
    eventually(
        "the address has tried to log in often enough",
        || match envoy_get(edge, "/login", &[]).status {
            429 => Ok(()),
            status => Err(format!("{status}")),
        },
    );
}

/// One descriptor, asked on this channel.
fn ask(
    runtime: &Runtime,
    channel: &Channel,
    domain: &str,
    entries: &[(&str, &str)],
) -> RateLimitResponse {
    let entries = entries.iter().map(|(key, value)| Entry {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    });
    let request = RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: vec![RateLimitDescriptor {
            entries: entries.collect(),
            ..RateLimitDescriptor::default()
        }],
        hits_addend: 0,
    };
    let mut client = RateLimitServiceClient::new(channel.clone());
    let answer = runtime.block_on(client.should_rate_limit(request));
    answer.expect("an answer").into_inner()
}

fn connect(runtime: &Runtime, node: &Node) -> Channel {
    let grpc = node.grpc.expect("it serves gRPC");
    let endpoint = Channel::from_shared(format!("http://{grpc}")).expect("an address");
    runtime.block_on(endpoint.connect()).expect("connecting")
}

/// A file for each of 20 domains, with 200 limits in two levels: as many as a large gateway has.
#[test]
fn a_folder_of_envoyproxy_ratelimit_of_some_size_is_read_and_held_to() {
    let home = Home::new();
    let folder = home.path().join("config");
    fs::create_dir(&folder).expect("a folder");
    for domain in 0..20 {
        let mut text = format!("domain: domain{domain}\ndescriptors:\n");
        for tenant in 0..100 {
            write!(
                text,
                "  - key: tenant\n    value: t{tenant}\n    descriptors:\n      - key: path\n        value: /api/*/write\n        \
                 rate_limit:\n          unit: day\n          requests_per_unit: {}\n      - key: path\n        \
                 rate_limit: {{ unit: DAY, requests_per_unit: 1000, name: any }}\n",
                tenant + 1
            )
            .expect("a string takes everything");
        }
        fs::write(folder.join(format!("{domain:02}.yaml")), text).expect("writing a file");
    }
    let folder = folder.to_str().expect("a path of text");
    let config = home.write(
        "weir.toml",
        &format!("[grpc]\nratelimit_config = [{folder:?}]\n"),
    );
    let node = home.node(&config, any_port());
    let runtime = Runtime::new().expect("a runtime");
    let channel = connect(&runtime, &node);

    let write = [("tenant", "t1"), ("path", "/api/v1/write")];
    let codes: Vec<Code> = (0..3)
        .map(|_| ask(&runtime, &channel, "domain7", &write).overall_code())
        .collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::OverLimit]);
    let other = ask(&runtime, &channel, "domain8", &write);
    assert_eq!(
        other.statuses[0].limit_remaining, 1,
        "another domain, another count"
    );
    let read = ask(
        &runtime,
        &channel,
        "domain7",
        &[("tenant", "t1"), ("path", "/api/v1/read")],
    );
    let limit = read.statuses[0].current_limit.clone().expect("a limit");
    assert_eq!(
        (limit.name.as_str(), limit.requests_per_unit),
        ("any", 1_000)
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_line_before_anything_starts() {
    let home = Home::new();
    let yaml = home.write(
        "edge.yaml",
        "domain: edge\ndescriptors:\n  - key: a\n    quota_mode: true\n",
    );
    let yaml = yaml.to_str().expect("a path of text");
    let config = home.write(
        "weir.toml",
        &format!("[grpc]\nratelimit_config = [{yaml:?}]\n"),
    );
    let mut options = Options::new("oskar", "wojtyra");
    options.args = vec![
        "--config".to_owned(),
        config.to_str().expect("text").to_owned(),
    ];
    let (status, log) = Node::start(home.path(), &options).expect_err("it does not start");
    assert_eq!(status.code(), Some(2));
    let line = format!("{yaml}:4: descriptors[0].quota_mode: not in this version");
    assert!(log.contains(&line), "{log}");
}

fn health(runtime: &Runtime, channel: &Channel) -> Result<ServingStatus, String> {
    let mut client = HealthClient::new(channel.clone());
    let asked = HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    let told = runtime.block_on(client.check(asked));
    told.map(|told| told.into_inner().status())
        .map_err(|status| status.to_string())
}

#[test]
fn health_and_reflection_answer_and_a_drain_is_told_before_it_ends() {
    let home = Home::new();
    let limits = home.write("weir.toml", LIMITS);
    let mut options = Options::new("oskar", "wojtyra");
    let limits = limits.to_str().expect("a path of text");
    options.args = [
        "--config",
        limits,
        "--grpc",
        "127.0.0.1:0",
        "--drain-wait",
        "3s",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut node = Node::start(home.path(), &options).unwrap_or_else(|ended| panic!("{ended:?}"));
    let runtime = Runtime::new().expect("a runtime");
    let channel = connect(&runtime, &node);
    assert_eq!(health(&runtime, &channel), Ok(ServingStatus::Serving));

    let mut reflection = ServerReflectionClient::new(channel.clone());
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let listed = runtime.block_on(async {
        let asked = tokio_stream::once(list);
        let mut told = reflection.server_reflection_info(asked).await?.into_inner();
        told.message().await
    });
    let listed = listed
        .expect("an answer")
        .expect("an answer")
        .message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = listed else {
        panic!("{listed:?}");
    };
    assert!(listed.service.iter().any(|service| service.name == SERVICE));

    node.terminate();
    eventually("health says that it ends", || {
        match health(&runtime, &channel) {
            Ok(ServingStatus::NotServing) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    // Still answered: who has not heard of it yet goes on asking.
    let answer = ask(&runtime, &channel, "edge", &[("user", "ada")]);
    assert_eq!(answer.overall_code(), Code::Ok);
    let told = Instant::now();
    assert!(node.ended().success());
    assert!(
        told.elapsed() < Duration::from_secs(20),
        "the connection held it up"
    );
}
