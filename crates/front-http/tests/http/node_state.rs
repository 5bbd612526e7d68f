//! How the node and its cluster are.

use std::sync::atomic::Ordering::Relaxed;

use coordinator::Readiness;
use serde_json::json;

use crate::client::front;

#[tokio::test]
async fn the_cluster_is_told_as_the_node_sees_it() {
    let reply = front().get("/v1/cluster").await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(
        reply.json(),
        json!({
            "node": "oskar",
            "view": "9f3c",
            "partition": "quorum",
            "members": [{
                "name": "oskar",
                "status": "suspect",
                "incarnation": 3,
                "shards": 341,
                "under_replicated_shards": 7,
                "role": "owns",
                "http": "127.0.0.1:4000",
                "cluster": "127.0.0.1:5000",
                "silent_ms": 400.0,
            }],
            "under_replicated_shards": 7,
            "unsettled_shards": 3,
            "replication_lag_ms": 1.5,
            "no_quorum": {
                "lasts_ms": 2_000.0,
                "needed": 2,
                "missing": [{"name": "oskar2", "silent_ms": 3_000.0}],
            },
            "silent_seeds": {"addresses": ["10.0.0.1:4100"], "lasts_ms": 7_000.0},
            "config_differs": {
                "count": 2,
                "lasts_ms": 4_000.0,
                "limits": [{
                    "limit": "login",
                    "definitions": [
                        {"nodes": ["oskar"], "says": "gcra, 10 per 1m"},
                        {"nodes": ["oskar2"], "says": null},
                    ],
                }],
                "entries": [{
                    "section": "[[route]]",
                    "name": "/login",
                    "definitions": [
                        {"nodes": ["oskar"], "says": "limit login, by peer"},
                        {"nodes": ["oskar2"], "says": "limit login, by browser"},
                    ],
                }],
            },
            "raft": {"leader": "oskar", "term": 2, "voters": ["oskar"], "learners": []},
        })
    );
}

#[tokio::test]
async fn only_a_dead_member_is_forgotten() {
    let front = front();
    assert_eq!(front.method("DELETE", "/v1/members/gone").await.status, 204);
    front
        .method("DELETE", "/v1/members/oskar")
        .await
        .problem(409, "member-alive");
    front
        .method("DELETE", "/v1/members/nobody")
        .await
        .problem(404, "not-found");
    let reply = front.method("DELETE", "/v1/members/early").await;
    assert_eq!(reply.header("retry-after"), "1");
    reply.problem(503, "no-decision");
}

#[tokio::test]
async fn the_owner_of_a_key_is_told() {
    let front = front();
    let reply = front.get("/v1/owner?limit=login&key=a%20b").await;
    assert_eq!(
        reply.json(),
        json!({"shard": 12, "term": 4, "owner": "oskar", "replicas": ["oskar2", "oskar3"]})
    );
    front.node.has_owner.store(false, Relaxed);
    let reply = front.get("/v1/owner?limit=login&key=a").await;
    assert_eq!(reply.header("retry-after"), "1");
    reply.problem(503, "no-decision");
}

#[tokio::test]
async fn a_node_is_ready_or_says_why_not() {
    let front = front();
    for (readiness, status, body) in [
        (Readiness::Ready, 200, r#"{"status":"ready"}"#),
        (Readiness::Joining, 503, r#"{"status":"joining"}"#),
        (Readiness::NoQuorum, 503, r#"{"status":"no-quorum"}"#),
        (Readiness::Draining, 503, r#"{"status":"draining"}"#),
    ] {
        *front.node.readiness.lock().unwrap() = readiness;
        let reply = front.get("/ready").await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (status, body));
        assert_eq!(front.get("/health").await.body, r#"{"status":"ok"}"#);
    }
}

/// Its machines were behind a poisoned lock, and whoever watched it was told that all is well.
#[tokio::test]
async fn a_node_that_has_stopped_working_says_so() {
    let front = front();
    front.node.is_well.store(false, Relaxed);
    let reply = front.get("/health").await;
    let told = (reply.status.as_u16(), &*reply.body);
    assert_eq!(told, (503, r#"{"status":"failing"}"#));
}

#[tokio::test]
async fn metrics_are_the_nodes() {
    let reply = front().get("/metrics").await;
    assert_eq!(reply.body, "weir_hits_total 1\n");
    assert!(
        reply
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
}

#[tokio::test]
async fn limits_of_the_file_are_listed() {
    let front = front();
    let reply = front.get("/v1/limits").await;
    let names: Vec<_> = reply.json()["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|limit| limit["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "api",
            "bursty",
            "client",
            "login",
            "open",
            "page",
            "user_home",
            "weekly"
        ]
    );
    assert_eq!(
        front.get("/v1/limits/bursty").await.json(),
        json!({"name": "bursty", "algorithm": "gcra", "limit": 10, "per": "1m", "burst": 20, "strategy": "owner", "on_failure": "deny", "keep": false})
    );
    assert_eq!(
        front.get("/v1/limits/weekly").await.json(),
        json!({"name": "weekly", "algorithm": "fixed_window", "limit": 5, "per": "7d", "anchor": "epoch", "strategy": "owner", "on_failure": "deny", "keep": true})
    );
    assert_eq!(
        front.get("/v1/limits/open").await.json()["on_failure"],
        "allow"
    );
}
