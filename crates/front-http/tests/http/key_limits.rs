//! Limits of single keys, and the quota of clients.

use coordinator::Readiness;
use quota::Nanos;
use serde_json::json;

use crate::client::front;

#[tokio::test]
async fn a_key_has_the_limit_it_was_given() {
    let front = front();
    front
        .get("/api/check?key=user123")
        .await
        .problem(404, "not-found");
    let limit =
        json!({"key": "user123", "limit": 2, "interval": "1m", "algorithm": "token_bucket"});
    let reply = front.post("/api/limits", limit.to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (201, limit));

    for remaining in [1, 0] {
        let reply = front.get("/api/check?key=user123").await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["remaining"].clone()),
            (200, json!(remaining))
        );
    }
    let reply = front.get("/api/check?key=user123").await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.json()["retry_after_ms"], 30_000);
    assert_eq!(reply.header("retry-after"), "30");
    assert_eq!(reply.header("ratelimit-policy"), r#""key";q=2;w=60"#);
    front
        .get("/api/check?key=user124")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_hit_on_the_limit_of_a_key_costs_what_it_says() {
    let front = front();
    let limit = json!({"key": "user123", "limit": 9, "interval": "1m", "algorithm": "gcra"});
    front.post("/api/limits", limit.to_string()).await;
    for (cost, status, remaining) in [
        ("", 200, 8),
        ("&cost=3", 200, 5),
        ("&cost=0", 200, 5),
        ("&cost=6", 429, 5),
    ] {
        let reply = front.get(&format!("/api/check?key=user123{cost}")).await;
        let told = (reply.status.as_u16(), reply.json()["remaining"].clone());
        assert_eq!(told, (status, json!(remaining)), "{cost}");
    }
    for cost in ["-1", "1.5", "", "4294967296", "1&cost=2"] {
        let path = format!("/api/check?key=user123&cost={cost}");
        front.get(&path).await.problem(400, "invalid-request");
    }
}

/// A client that was told "no limit has been set" would have gone without one.
#[tokio::test]
async fn before_the_others_have_told_their_limits_nobody_hears_that_there_is_none() {
    let front = front();
    *front.node.readiness.lock().unwrap() = Readiness::Joining;
    let reply = front.get("/api/check?key=user123").await;
    assert_eq!(reply.header("retry-after"), "1");
    reply.problem(503, "no-decision");
}

#[tokio::test]
async fn a_limit_is_told_as_it_is_stored() {
    let limit =
        json!({"key": "u", "limit": 2, "interval": "120s", "algorithm": "gcra", "burst": 5});
    let reply = front().post("/api/limits", limit.to_string()).await;
    let stored = json!({"key": "u", "limit": 2, "interval": "2m", "algorithm": "gcra", "burst": 5});
    assert_eq!(reply.json(), stored);
}

#[tokio::test]
async fn a_client_spends_its_quota() {
    let front = front();
    for left in (0..10).rev() {
        let reply = front.method("POST", "/rate/increment?client_id=c").await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.body),
            (200, r#"{"result":true}"#)
        );
        let quota = front.get("/rate/check?client_id=c").await;
        assert_eq!(
            quota.json(),
            json!({"remaining_quota": left, "result": 0 < left})
        );
    }
    let reply = front.method("POST", "/rate/increment?client_id=c").await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.body),
        (200, r#"{"result":false}"#)
    );
    let another = front.get("/rate/check?client_id=d").await;
    assert_eq!(another.body, r#"{"remaining_quota":10,"result":true}"#);
    front.node.advance(Nanos::from_secs(60));
    let later = front.get("/rate/check?client_id=c").await;
    assert_eq!(later.json()["remaining_quota"], 10);
}
