//! What a receiver of spans is sent by nodes that are asked.

mod receiver;
#[path = "../../../coordinator-redis/tests/redis/server.rs"]
mod redis_server;

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use node::{Builder, Node};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::Request;

use self::receiver::{CLIENT, FAILED, Received, Receiver, SERVER};

/// How long what must happen may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

const LIMITS: &str = r#"
    [[limit]]
    name = "three"
    algorithm = "gcra"
    limit = 3
    per = "7d"

    [[limit]]
    name = "four"
    algorithm = "fixed_window"
    limit = 4
    per = "7d"
    strategy = "local"

    [[route]]
    path = "/welcome"
    limit = "three"
    identify = [{ query = "who" }]

    [[rule]]
    domain = "edge"
    match = [{ key = "key" }]
    limit = "three"
"#;

/// The example of W3C Trace Context, up to its flags.
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";
const TRACE: [u8; 16] = [
    0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c,
];
const SPAN: [u8; 8] = [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31];

/// A node that asks `receiver` to take the spans of this part of its requests.
fn traced(name: &str, receiver: SocketAddr, sample: f64) -> Builder {
    let telemetry = format!(
        "[telemetry]\notlp = \"http://{receiver}\"\nsample = {sample}\nservice_name = \"edge\"\n"
    );
    builder(name, &(LIMITS.to_owned() + &telemetry))
}

fn builder(name: &str, limits: &str) -> Builder {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = Node::builder().name(name).cookie("traces").limits(limits);
    builder.unwrap().http(any)
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("not seen: {what}"));
}

/// Sends `request` on a connection of its own, and reads all that is answered.
async fn exchange(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Status and body of what HTTP answers to a method and path; `headers` are whole lines.
async fn http(node: &Node, what: &str, headers: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let length = body.len();
    let request = format!(
        "{what} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let answer = exchange(node.http().unwrap(), &request).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

async fn check(node: &Node, headers: &str, key: &str) -> (u16, Value) {
    let body = json!({ "limit": "three", "key": key });
    http(node, "POST /v1/check", headers, body).await
}

fn traceparent(flags: &str) -> String {
    format!("traceparent: {PARENT}{flags}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_and_its_hop_to_the_owner_are_one_trace() {
    let (receiver, address) = Receiver::serve().await;
    let anna = traced("anna", address, 1.0).start().await.unwrap();
    let bert = traced("bert", address, 1.0).join(anna.cluster().to_string());
    let bert = bert.start().await.unwrap();
    // Bert gets his shards in a while, and half of the keys are his then.
    let mut keys = (0..).map(|number| format!("key-{number}"));
    until("a hit that bert decided", async || {
        let key = keys.next().unwrap();
        assert_eq!(check(&anna, "", &key).await.0, 200);
        receiver.names().contains(&"forward".to_owned())
    })
    .await;
    anna.stop().await;

    let spans = receiver.spans();
    let hops: Vec<_> = spans.iter().filter(|it| it.span.kind == CLIENT).collect();
    for hop in hops {
        assert_eq!(hop.span.name, "forward");
        assert_eq!(hop.origin, ("edge".to_owned(), "anna".to_owned()));
        assert_eq!(hop.attribute("weir.peer"), Some("bert"));
        assert!(hop.attribute("weir.attempts").is_some());
        assert!(hop.attribute("weir.shard").is_some());
        let request = spans
            .iter()
            .find(|it| it.span.span_id == hop.span.parent_span_id);
        let request = request.expect("it is sent as well");
        assert_eq!(request.span.name, "POST /v1/check");
        assert_eq!(request.span.kind, SERVER);
        assert_eq!(request.span.trace_id, hop.span.trace_id);
        assert!(request.span.parent_span_id.is_empty());
        assert!(request.span.start_time_unix_nano <= hop.span.start_time_unix_nano);
        assert!(hop.span.end_time_unix_nano <= request.span.end_time_unix_nano);
    }
    bert.stop().await;
    // What bert decides for anna is no request of his.
    assert!(receiver.spans().iter().all(|it| it.origin.1 == "anna"));
}

/// Whoever counts, the way there is a part of the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_to_redis_and_the_way_through_a_log_are_parts_of_their_requests() {
    let redis = redis_server::Server::start();
    let (receiver, address) = Receiver::serve().await;
    let limit = |name| {
        format!(
            "[[limit]]\nname = \"{name}\"\nalgorithm = \"gcra\"\nlimit = 3\nper = \"7d\"\nstrategy = \"{name}\"\n"
        )
    };
    let limits = format!(
        "[redis]\nurl = \"{}\"\n[telemetry]\notlp = \"http://{address}\"\nsample = 1.0\n{}{}",
        redis.url(),
        limit("redis"),
        limit("raft"),
    );
    let node = builder("anna", &limits).start().await.unwrap();
    let asked = async |limit: &str| {
        let body = json!({ "limit": limit, "key": "a" });
        http(&node, "POST /v1/check", "", body).await.0
    };
    assert_eq!(asked("redis").await, 200);
    until("a group of one", async || asked("raft").await == 200).await;
    redis.pause();
    assert_eq!(asked("redis").await, 503);
    node.stop().await;

    let spans = receiver.spans();
    let has_failed = |it: &Received| {
        let status = it.span.status.as_ref();
        status.is_some_and(|status| status.code == FAILED)
    };
    for strategy in ["redis", "raft"] {
        let ways: Vec<_> = spans.iter().filter(|it| it.span.name == strategy).collect();
        assert!(!ways.is_empty(), "{spans:?}");
        for way in ways {
            assert_eq!(way.span.kind, CLIENT);
            let request = spans
                .iter()
                .find(|it| it.span.span_id == way.span.parent_span_id)
                .expect("it is sent as well");
            assert_eq!(request.attribute("weir.strategy"), Some(strategy));
            let is_answered = request.attribute("http.response.status_code") == Some("200");
            assert_eq!(has_failed(way), !is_answered);
        }
    }
    let of_redis = spans.iter().filter(|it| it.span.name == "redis");
    assert_eq!(of_redis.map(has_failed).collect::<Vec<_>>(), [false, true]);
    let agreed = spans.iter().find(|it| it.span.name == "raft").unwrap();
    assert_eq!(agreed.attribute("weir.hits"), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_says_whether_its_trace_is_recorded_and_goes_on_in_ours() {
    for (sample, recorded) in [(0.0, ["01"].as_slice()), (1.0, &["", "01"])] {
        let (receiver, address) = Receiver::serve().await;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let node = traced("anna", address, sample).grpc(any);
        let node = node.start().await.unwrap();
        let channel = format!("http://{}", node.grpc().unwrap());
        let mut grpc = RateLimitServiceClient::connect(channel).await.unwrap();
        for flags in ["", "00", "01"] {
            let header = if flags.is_empty() {
                String::new()
            } else {
                traceparent(flags)
            };
            assert_eq!(check(&node, &header, "http").await.0, 200);
            let mut request = Request::new(descriptor("grpc"));
            if !flags.is_empty() {
                let parent = format!("{PARENT}{flags}").parse().unwrap();
                request.metadata_mut().insert("traceparent", parent);
            }
            grpc.should_rate_limit(request).await.unwrap();
        }
        drop(grpc);
        // What waits is sent by then.
        node.stop().await;
        let spans = receiver.spans();
        assert_eq!(spans.len(), 2 * recorded.len(), "{spans:?}");
        let goes_on = spans.iter().filter(|it| it.span.trace_id == TRACE);
        let goes_on: Vec<_> = goes_on.collect();
        assert_eq!(goes_on.len(), 2);
        for span in goes_on {
            assert_eq!(span.span.parent_span_id, SPAN);
            assert_eq!(span.attribute("weir.decision"), Some("allow"));
        }
    }
}

fn descriptor(key: &str) -> RateLimitRequest {
    let entry = Entry {
        key: "key".to_owned(),
        value: key.to_owned(),
    };
    RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: vec![RateLimitDescriptor {
            entries: vec![entry],
            ..RateLimitDescriptor::default()
        }],
        hits_addend: 1,
    }
}

/// Every front names its requests by what is done and not by whom, and says what became of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_says_what_was_asked_and_decided_and_never_by_whom() {
    const KEY: &str = "ada-at-example";
    let (receiver, address) = Receiver::serve().await;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let node = traced("anna", address, 1.0).grpc(any).redis(any);
    let node = node.start().await.unwrap();
    for _ in 0..4 {
        check(&node, "", KEY).await;
    }
    let rule = json!({ "algorithm": "gcra", "limit": 1, "per": "1h" });
    let inline = json!({ "rule": rule, "key": KEY });
    let checks = json!({ "checks": [
        { "limit": "three", "key": KEY },
        { "limit": "four", "key": KEY },
        inline,
    ] });
    let reset = format!("DELETE /v1/keys/three/{KEY}");
    let welcome = format!("GET /welcome?who={KEY}");
    let nowhere = format!("GET /{KEY}");
    let refused = format!("{KEY} /v1/check");
    for (what, body) in [
        ("POST /v1/check", inline),
        ("POST /v1/check/batch", checks),
        (&reset, Value::Null),
        (&welcome, Value::Null),
        (&nowhere, Value::Null),
        (&refused, Value::Null),
    ] {
        http(&node, what, "", body).await;
    }
    let ask = format!("WEIR.CHECK four {KEY}\r\nWEIR.CHECK four {KEY}\r\nQUIT\r\n");
    exchange(node.redis().unwrap(), &ask).await;
    let channel = format!("http://{}", node.grpc().unwrap());
    let mut grpc = RateLimitServiceClient::connect(channel).await.unwrap();
    grpc.should_rate_limit(descriptor(KEY)).await.unwrap();
    drop(grpc);
    node.stop().await;

    let spans = receiver.spans();
    assert!(!format!("{spans:?}").contains(KEY), "{spans:#?}");
    let grpc = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    let mut expected = [
        [("POST /v1/check", "http", "three allow 1 owner 200"); 3].as_slice(),
        &[
            ("POST /v1/check", "http", "three deny 1 owner 429"),
            ("POST /v1/check", "http", "other allow 1 owner 200"),
            ("POST /v1/check/batch", "http", "several deny 3 several 200"),
            ("DELETE /v1/keys/{limit}/{*key}", "http", "- - - - 204"),
            ("GET /welcome", "http", "three allow 1 owner 200"),
            ("GET", "http", "- - - - 404"),
            ("HTTP", "http", "- - - - 405"),
            ("hits", "resp", "four allow 2 local -"),
            (grpc, "grpc", "three allow 1 owner 0"),
        ],
    ]
    .concat();
    expected.sort();
    let mut told: Vec<_> = spans
        .iter()
        .map(|it| {
            let code = ["http.response.status_code", "rpc.grpc.status_code"];
            let code = code.iter().find_map(|code| it.attribute(code));
            let of_hits = ["limit", "decision", "hits", "strategy"].map(|it| format!("weir.{it}"));
            let said = of_hits.iter().map(|key| it.attribute(key)).chain([code]);
            let said: Vec<_> = said.map(|said| said.unwrap_or("-")).collect();
            let front = it.attribute("weir.front").unwrap();
            (it.span.name.clone(), front, said.join(" "))
        })
        .collect();
    told.sort();
    let told: Vec<_> = told
        .iter()
        .map(|(name, front, said)| (&**name, *front, &**said))
        .collect();
    assert_eq!(told, expected);
}

/// Also of a client that wants its trace recorded: nobody has said where to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_receiver_nothing_is_recorded() {
    let node = builder("anna", LIMITS).start().await.unwrap();
    assert_eq!(check(&node, &traceparent("01"), "a").await.0, 200);
    let metrics = node.metrics();
    assert!(metrics.contains("weir_request_seconds_count"), "{metrics}");
    assert!(!metrics.contains("weir_spans"), "{metrics}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_changes_no_answer_and_what_is_lost_is_counted() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    // And one that is silent: the system accepts for it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [address, silent.local_addr().unwrap()] {
        let node = traced("anna", address, 1.0).start().await.unwrap();
        for expected in [(200, 2), (200, 1), (200, 0), (429, 0)] {
            let (status, told) = check(&node, "", "a").await;
            assert_eq!((status, told["remaining"].as_u64().unwrap()), expected);
        }
        node.stop().await;
        if address != silent.local_addr().unwrap() {
            let metrics = node.metrics();
            assert!(metrics.contains("weir_spans_dropped_total 4"), "{metrics}");
        }
    }
}
