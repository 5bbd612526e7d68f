//! Limits that people make at run time: by name, and for single keys.

use std::sync::atomic::Ordering::Relaxed;

use axum::http::StatusCode;
use catalogue::{ChangeError, NotChanged};
use coordinator::Readiness;
use serde_json::{Value, json};

use crate::client::{Front, front};

fn hourly() -> Value {
    json!({"algorithm": "token_bucket", "limit": 2, "per": "60m"})
}

async fn check(front: &Front, limit: &str) -> StatusCode {
    let body = json!({"limit": limit, "key": "ada"});
    front.post("/v1/check", body.to_string()).await.status
}

#[tokio::test]
async fn a_limit_is_made_changed_and_removed() {
    let front = front();
    let made = front.put("/v1/limits/hourly", hourly().to_string()).await;
    let stored = json!({"name": "hourly", "algorithm": "token_bucket", "limit": 2, "per": "1h", "burst": 2, "strategy": "owner", "on_failure": "deny", "keep": true});
    assert_eq!((made.status.as_u16(), made.json()), (201, stored.clone()));
    assert!(!made.headers.contains_key("weir-pending"));
    assert_eq!(front.get("/v1/limits/hourly").await.json(), stored);
    for expected in [200, 200, 429] {
        assert_eq!(check(&front, "hourly").await, expected);
    }

    let more = json!({"name": "hourly", "algorithm": "fixed_window", "limit": 3, "per": "1h", "anchor": "first_hit", "strategy": "local", "on_failure": "allow"});
    let changed = front.put("/v1/limits/hourly", more.to_string()).await;
    assert_eq!((changed.status.as_u16(), changed.json()), (200, more));

    let removed = front.method("DELETE", "/v1/limits/hourly").await;
    assert_eq!((removed.status.as_u16(), &*removed.body), (204, ""));
    assert_eq!(check(&front, "hourly").await, 404);
    let again = front.method("DELETE", "/v1/limits/hourly").await;
    again.problem(404, "unknown-limit");
}

#[tokio::test]
async fn what_is_kept_is_said_or_follows_from_the_period() {
    let front = front();
    for (per, given, kept) in [
        ("1h", None, true),
        ("59m", None, false),
        ("1m", Some(true), true),
        ("7d", Some(false), false),
    ] {
        let mut body = json!({"algorithm": "gcra", "limit": 2, "per": per});
        if let Some(keep) = given {
            body["keep"] = json!(keep);
        }
        let reply = front.put("/v1/limits/quota", body.to_string()).await;
        assert!(reply.status.is_success(), "{}", reply.body);
        assert_eq!(front.get("/v1/limits/quota").await.json()["keep"], kept);
    }
    let local =
        json!({"algorithm": "gcra", "limit": 2, "per": "1d", "strategy": "local", "keep": true});
    let reply = front.put("/v1/limits/quota", local.to_string()).await;
    let problem = reply.problem(400, "invalid-request");
    assert_eq!(problem["field"], "keep");
}

#[tokio::test]
async fn a_limit_of_a_calendar_has_a_zone_in_place_of_a_period() {
    let front = front();
    let given =
        json!({"algorithm": "fixed_window", "limit": 1, "anchor": "day", "zone": "Europe/Vienna"});
    let made = front.put("/v1/limits/daily", given.to_string()).await;
    let stored = json!({"name": "daily", "algorithm": "fixed_window", "limit": 1, "anchor": "day", "zone": "Europe/Vienna", "strategy": "owner", "keep": true, "on_failure": "deny"});
    assert_eq!((made.status.as_u16(), made.json()), (201, stored.clone()));
    assert_eq!(front.get("/v1/limits/daily").await.json(), stored);
    for expected in [200, 429] {
        assert_eq!(check(&front, "daily").await, expected);
    }
    let zoneless = json!({"algorithm": "fixed_window", "limit": 1, "anchor": "month"});
    let made = front
        .put("/v1/limits/monthly", zoneless.to_string())
        .await
        .json();
    assert_eq!((&made["zone"], &made["per"]), (&json!("UTC"), &Value::Null));

    for (field, value, accepted) in [
        (
            "zone",
            json!("Europe/Viena"),
            "the nearest is \"Europe/Vienna\"",
        ),
        ("per", json!("1d"), "as long as the calendar says"),
        ("anchor", json!("noon"), "month or year"),
    ] {
        let mut body = given.clone();
        body[field] = value;
        let reply = front.put("/v1/limits/daily", body.to_string()).await;
        let problem = reply.problem(400, "invalid-request");
        assert_eq!(problem["field"], field);
        let told = problem["accepted"].as_str().unwrap();
        assert!(told.contains(accepted), "{told}");
    }
    let rule = json!({"rule": given, "key": "ada"});
    for expected in [200, 429] {
        let reply = front.post("/v1/check", rule.to_string()).await;
        assert_eq!(reply.status, expected, "its counter is its own");
    }
}

#[tokio::test]
async fn who_has_not_confirmed_a_change_is_named() {
    let front = front();
    *front.node.pending.lock().unwrap() = vec!["oskar2".into(), "oskar3".into()];
    let key_limit = json!({"key": "u", "limit": 2, "interval": "1m", "algorithm": "gcra"});
    for reply in [
        front.put("/v1/limits/hourly", hourly().to_string()).await,
        front.method("DELETE", "/v1/limits/hourly").await,
        front.post("/api/limits", key_limit.to_string()).await,
        front.method("DELETE", "/api/limits?key=u").await,
    ] {
        assert!(reply.status.is_success());
        assert_eq!(reply.header("weir-pending"), "oskar2, oskar3");
    }
}

#[tokio::test]
async fn fields_of_a_limit_are_held_to_their_values() {
    let front = front();
    front.node.has_redis.store(false, Relaxed);
    for (field, value) in [
        ("algorithm", json!("magic")),
        ("limit", json!(0)),
        ("limit", json!("5")),
        ("per", json!("0s")),
        ("burst", json!(0)),
        ("anchor", json!("epoch")),
        ("strategy", json!("redis")),
        ("strategy", json!("magic")),
        ("on_failure", json!("owner")),
        ("on_failure", json!("hope")),
        ("keep", json!("yes")),
        ("name", json!("another")),
        ("more", json!(1)),
    ] {
        let mut body = hourly();
        body[field] = value;
        let reply = front.put("/v1/limits/hourly", body.to_string()).await;
        assert_eq!(reply.problem(400, "invalid-request")["field"], field);
    }
    for name in ["", "%40rule", "a%2Fb", &"n".repeat(65)] {
        let reply = front
            .put(&format!("/v1/limits/{name}"), hourly().to_string())
            .await;
        assert!(reply.status.is_client_error(), "{name}: {}", reply.status);
    }
    assert_eq!(front.get("/v1/limits/hourly").await.status, 404);
}

#[tokio::test]
async fn a_limit_may_name_any_strategy_that_its_node_can_count_by() {
    let front = front();
    for (strategy, on_failure) in [
        ("owner", "deny"),
        ("local", "allow"),
        ("raft", "deny"),
        ("redis", "owner"),
    ] {
        let mut body = hourly();
        body["strategy"] = json!(strategy);
        body["on_failure"] = json!(on_failure);
        let reply = front.put("/v1/limits/hourly", body.to_string()).await;
        assert!(reply.status.is_success(), "{strategy}: {}", reply.body);
        let stored = front.get("/v1/limits/hourly").await.json();
        assert_eq!(stored["strategy"], strategy);
        assert_eq!(stored["on_failure"], on_failure);
    }
    front.node.has_redis.store(false, Relaxed);
    let mut body = hourly();
    body["strategy"] = json!("redis");
    let reply = front.put("/v1/limits/hourly", body.to_string()).await;
    let problem = reply.problem(400, "invalid-request");
    let accepted = problem["accepted"].as_str().unwrap();
    assert!(accepted.contains("[redis]"), "{accepted}");
}

#[tokio::test]
async fn what_could_not_be_changed_says_so() {
    for (error, name, retry_after) in [
        (NotChanged::NoRoom(ChangeError::Busy), "overloaded", "1"),
        (NotChanged::NoRoom(ChangeError::Full), "overloaded", "60"),
        (NotChanged::NoQuorum, "no-quorum", "1"),
        (NotChanged::Joining, "no-decision", "1"),
        (NotChanged::Older, "no-decision", "60"),
        (NotChanged::Draining, "draining", "1"),
    ] {
        let front = front();
        *front.node.unchangeable.lock().unwrap() = Some(error);
        let reply = front.put("/v1/limits/hourly", hourly().to_string()).await;
        assert_eq!(reply.header("retry-after"), retry_after);
        let problem = reply.problem(503, name);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("nothing was changed"), "{detail}");
    }
}

#[tokio::test]
async fn a_node_that_joins_does_not_say_that_there_is_no_such_limit() {
    let front = front();
    *front.node.readiness.lock().unwrap() = Readiness::Joining;
    assert_eq!(check(&front, "hourly").await, 503);
    front
        .get("/v1/limits/hourly")
        .await
        .problem(503, "no-decision");
    front
        .get("/api/limits?key=u")
        .await
        .problem(503, "no-decision");
}

#[tokio::test]
async fn the_limit_of_a_key_is_told_and_removed() {
    let front = front();
    let limit = json!({"key": "u", "limit": 2, "interval": "1m", "algorithm": "token_bucket"});
    front
        .get("/api/limits?key=u")
        .await
        .problem(404, "not-found");
    front
        .method("DELETE", "/api/limits?key=u")
        .await
        .problem(404, "not-found");
    front.post("/api/limits", limit.to_string()).await;
    assert_eq!(front.get("/api/limits?key=u").await.json(), limit);
    let removed = front.method("DELETE", "/api/limits?key=u").await;
    assert_eq!((removed.status.as_u16(), &*removed.body), (204, ""));
    front
        .get("/api/check?key=u")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let front = front();
    for key in ["a", "b", "c"] {
        let limit = json!({"key": key, "limit": 2, "interval": "1m", "algorithm": "gcra"});
        front.post("/api/limits", limit.to_string()).await;
        front
            .put(&format!("/v1/limits/{key}"), hourly().to_string())
            .await;
    }
    let keys = |reply: &Value, field: &str| -> Vec<String> {
        let list = if field == "key" { "items" } else { "limits" };
        let limits = reply[list].as_array().unwrap().iter();
        limits
            .map(|limit| limit[field].as_str().unwrap().to_owned())
            .collect()
    };
    let first = front.get("/api/limits?count=2").await.json();
    assert_eq!(
        (keys(&first, "key"), &first["next"]),
        (vec!["a".into(), "b".into()], &json!("b"))
    );
    let second = front.get("/api/limits?count=2&after=b").await.json();
    assert_eq!(
        (keys(&second, "key"), &second["next"]),
        (vec!["c".into()], &Value::Null)
    );

    let all = front.get("/v1/limits").await.json();
    let names = keys(&all, "name");
    assert_eq!(names.len(), 11);
    assert_eq!(names[8..], ["a", "b", "c"]);
    let last = front.get("/v1/limits?after=b").await.json();
    assert_eq!(
        (keys(&last, "name"), &last["next"]),
        (vec!["c".into()], &Value::Null)
    );
    for count in ["0", "1001", "many"] {
        let reply = front.get(&format!("/api/limits?count={count}")).await;
        assert_eq!(reply.problem(400, "invalid-request")["field"], "count");
    }
}
