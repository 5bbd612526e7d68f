//! The file, read again while the front serves.

use std::sync::Arc;

use front_http::{Front, HttpConfig, Route, RouteAnswer, serve};
use limiter::{Identity, NotReloaded};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{config, front, limiter, limits};
use fake_node::FakeNode;

#[tokio::test]
async fn what_has_changed_is_told_or_why_nothing_has() {
    let front = front();
    *front.node.reloaded.lock().unwrap() = Ok(vec!["limit login: limit 5 → 10".to_owned()]);
    let reply = front.post("/v1/reload", "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json(),
        json!({"changes": ["limit login: limit 5 → 10"]})
    );
    let lines = vec!["weir.toml:3: limit[1].limit: found 0".to_owned()];
    for (error, status, name) in [
        (NotReloaded::NoFile, 409, "not-reloaded"),
        (NotReloaded::Wrong(lines.clone()), 409, "not-reloaded"),
        (
            NotReloaded::NeedsRestart(lines.clone()),
            409,
            "not-reloaded",
        ),
        (NotReloaded::Late, 503, "no-decision"),
        (NotReloaded::Joining, 503, "no-decision"),
        (NotReloaded::Stopping, 503, "draining"),
    ] {
        *front.node.reloaded.lock().unwrap() = Err(error.clone());
        let reply = front.post("/v1/reload", "").await;
        assert_eq!(reply.header("retry-after") == "1", status == 503);
        let problem = reply.problem(status, name);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.ends_with("; nothing was changed"), "{detail}");
        match error.lines() {
            [] => assert!(problem["problems"].is_null()),
            _ => assert_eq!(problem["problems"], json!(lines)),
        }
    }
}

/// Status of `GET path` on a connection that stays.
async fn get(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let mut bytes = [0; 65_536];
        let count = stream.read(&mut bytes).await.unwrap();
        assert_ne!(count, 0, "the connection has ended");
        answer.extend_from_slice(&bytes[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if length.is_none_or(|length| length.parse() == Ok(body.len())) {
            return text.into_owned();
        }
    }
}

#[tokio::test]
async fn routes_come_and_go_on_connections_that_stay() {
    let front = Front::new(limiter(Arc::new(FakeNode::new())), config());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, front.served(), std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert!(
        get(&mut stream, "/api/data")
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(get(&mut stream, "/added").await.starts_with("HTTP/1.1 404"));
    let added = Route {
        path: "/added".into(),
        policy: limits()["login"].clone(),
        identify: vec![Identity::Peer],
        answer: RouteAnswer::Json,
    };
    front.replace(HttpConfig {
        routes: vec![added],
        ..config()
    });
    assert!(get(&mut stream, "/added").await.starts_with("HTTP/1.1 200"));
    assert!(
        get(&mut stream, "/api/data")
            .await
            .starts_with("HTTP/1.1 404")
    );
    let described = get(&mut stream, "/openapi.json").await;
    assert!(described.contains("\"/added\"") && !described.contains("\"/api/data\""));
    serving.abort();
}

#[tokio::test]
async fn a_limit_is_told_as_the_file_writes_it() {
    let front = crate::client::front();
    let algorithm = async |name: &str| {
        let limit = front.get(&format!("/v1/limits/{name}")).await.json();
        limit["algorithm"].clone()
    };
    assert_eq!(algorithm("login").await, "gcra");
    front.limiter.call_token_buckets(["login".into()].into());
    assert_eq!(algorithm("login").await, "token_bucket");
    assert_eq!(algorithm("bursty").await, "gcra");
    let all = front.get("/v1/limits").await.json();
    let all = all["limits"].as_array().unwrap().iter();
    let called = all.filter(|limit| limit["algorithm"] == "token_bucket");
    assert_eq!(called.count(), 1);
}
