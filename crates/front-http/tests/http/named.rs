//! `Weir-Hit-Id`: hits that may be asked again.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use coordinator::{Policy, Strategy};
use front_http::router;
use serde_json::{Value, json};

use crate::client::{Front, Reply, config, front, limiter, limits};

async fn ask(front: &Front, path: &str, names: &[&str], body: Value) -> Reply {
    let mut request = Request::post(path).header("content-type", "application/json");
    for name in names {
        request = request.header("weir-hit-id", *name);
    }
    front
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

fn login(key: &str) -> Value {
    json!({"limit": "login", "key": key})
}

#[tokio::test]
async fn a_hit_that_is_asked_again_by_its_name_counts_once() {
    let front = front();
    for (name, remaining) in [("1", 9), ("1", 9), ("2", 8), ("1", 8)] {
        let reply = ask(&front, "/v1/check", &[name], login("a")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["remaining"], remaining, "{name}");
    }
    // Another key, another hit; and a peek is none, whatever it is called.
    let reply = ask(&front, "/v1/check", &["1"], login("b")).await;
    assert_eq!(reply.json()["remaining"], 9);
    let peek = json!({"limit": "login", "key": "a", "cost": 0});
    let reply = ask(&front, "/v1/check", &["3"], peek).await;
    assert_eq!(reply.json()["remaining"], 8);
    for (name, remaining) in [("1", 9), ("1", 9), ("2", 10)] {
        let reply = ask(&front, "/v1/refund", &[name], login("a")).await;
        assert_eq!(reply.json()["remaining"], remaining, "{name}");
    }
}

#[tokio::test]
async fn what_is_no_name_is_refused_and_nothing_is_counted() {
    let front = front();
    let too_long = "x".repeat(129);
    for names in [&[""][..], &["a b"], &[&too_long], &["1", "2"]] {
        for path in ["/v1/check", "/v1/refund", "/v1/check/batch"] {
            let reply = ask(&front, path, names, login("a")).await;
            let problem = reply.problem(400, "invalid-request");
            assert_eq!(problem["field"], "Weir-Hit-Id", "{problem}");
        }
    }
    let batch = json!({"checks": [login("a")]});
    let reply = ask(&front, "/v1/check/batch", &["1"], batch).await;
    assert_eq!(
        reply.problem(400, "invalid-request")["field"],
        "Weir-Hit-Id"
    );
    assert_eq!(front.node.counted().len(), 0);
}

/// What comes later is refused by its name: to look past it would count what was meant to count once, or enforce what was meant
/// to be tried.
#[tokio::test]
async fn what_comes_later_is_told_so_and_nothing_is_counted() {
    let front = front();
    for path in ["/v1/check", "/v1/refund", "/v1/check/batch"] {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.header("idempotency-key", "1");
        let body = Body::from(login("a").to_string());
        let reply = front.send(request.body(body).unwrap()).await;
        let problem = reply.problem(501, "not-implemented");
        assert_eq!(problem["field"], "Idempotency-Key", "{problem}");
    }
    let batch = json!({"checks": [login("a")], "all_or_nothing": true});
    let reply = ask(&front, "/v1/check/batch", &[], batch).await;
    let problem = reply.problem(501, "not-implemented");
    assert_eq!(problem["field"], "all_or_nothing", "{problem}");
    let limit = json!({"algorithm": "gcra", "limit": 5, "per": "1m", "shadow": true});
    let request = Request::put("/v1/limits/tried").header("content-type", "application/json");
    let reply = front
        .send(request.body(Body::from(limit.to_string())).unwrap())
        .await;
    let problem = reply.problem(501, "not-implemented");
    assert_eq!(problem["field"], "shadow", "{problem}");
    assert_eq!(front.node.counted().len(), 0);
}

/// They would count it again: it is refused before it is counted once.
#[tokio::test]
async fn limits_of_other_strategies_take_no_names() {
    for strategy in [Strategy::Local, Strategy::Redis, Strategy::Raft] {
        let front = front();
        let policy = Policy {
            strategy,
            ..limits()["login"].clone()
        };
        let limiter = limiter(Arc::clone(&front.node));
        limiter.replace_limits([policy]);
        let front = Front {
            router: router(limiter, config()),
            ..front
        };
        for path in ["/v1/check", "/v1/refund"] {
            let reply = ask(&front, path, &["1"], login("a")).await;
            let problem = reply.problem(400, "invalid-request");
            assert_eq!(problem["field"], "Weir-Hit-Id", "{problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                detail.contains(strategy.name()) && detail.contains("not counted"),
                "{detail}"
            );
        }
        assert_eq!(front.node.counted().len(), 0);
        assert_eq!(ask(&front, "/v1/check", &[], login("a")).await.status, 200);
    }
}
