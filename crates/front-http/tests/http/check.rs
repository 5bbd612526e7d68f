//! `/v1/check` and its siblings.

use coordinator::NoDecision;
use quota::Nanos;
use serde_json::{Value, json};

use crate::client::{Front, Reply, front};

async fn check(front: &Front, body: Value) -> Reply {
    front.post("/v1/check", body.to_string()).await
}

fn rate_headers(reply: &Reply) -> [&str; 6] {
    [
        "ratelimit-policy",
        "ratelimit",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
    ]
    .map(|name| reply.header(name))
}

#[tokio::test]
async fn an_allowed_hit_tells_where_the_key_stands() {
    let reply = check(&front(), json!({"limit": "login", "key": "u1"})).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(
        reply.body,
        r#"{"allowed":true,"limit":10,"remaining":9,"retry_after_ms":null,"reset_after_ms":6000}"#
    );
    let expected = [
        r#""login";q=10;w=60"#,
        r#""login";r=9;t=6"#,
        "10",
        "9",
        "6",
        "",
    ];
    assert_eq!(rate_headers(&reply), expected);
}

#[tokio::test]
async fn a_denied_hit_tells_when_to_come_back() {
    let front = front();
    check(&front, json!({"limit": "login", "key": "u1", "cost": 10})).await;
    // All spans are rounded up, so that who waits as told does not come too early.
    front.node.advance(Nanos::new(100_999_999));
    let reply = check(&front, json!({"limit": "login", "key": "u1", "cost": 2})).await;
    assert_eq!(reply.status, 429);
    assert_eq!(
        reply.json(),
        json!({"allowed": false, "limit": 10, "remaining": 0, "retry_after_ms": 11900, "reset_after_ms": 59900})
    );
    let expected = [
        r#""login";q=10;w=60"#,
        r#""login";r=0;t=6"#,
        "10",
        "0",
        "60",
        "12",
    ];
    assert_eq!(rate_headers(&reply), expected);
}

#[tokio::test]
async fn a_burst_of_its_own_is_in_the_policy() {
    let reply = check(&front(), json!({"limit": "bursty", "key": "u1"})).await;
    assert_eq!(
        reply.header("ratelimit-policy"),
        r#""bursty";q=10;w=60;weir-burst=20"#
    );
    assert_eq!(reply.json()["remaining"], 19);
}

#[tokio::test]
async fn a_peek_is_200_and_counts_nothing() {
    let front = front();
    let peek = json!({"limit": "login", "key": "u1", "cost": 0});
    for _ in 0..3 {
        let reply = check(&front, peek.clone()).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["remaining"]),
            (200, &json!(10))
        );
    }
    check(&front, json!({"limit": "login", "key": "u1", "cost": 10})).await;
    let reply = check(&front, peek).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        (&reply.json()["allowed"], &reply.json()["retry_after_ms"]),
        (&json!(false), &json!(6000))
    );
    assert_eq!(reply.header("retry-after"), "");
}

#[tokio::test]
async fn a_cost_above_the_burst_never_conforms() {
    let front = front();
    let problem = check(&front, json!({"limit": "login", "key": "u1", "cost": 11})).await;
    let problem = problem.problem(422, "never-conforms");
    assert_eq!(
        (&problem["field"], &problem["given"]),
        (&json!("cost"), &json!(11))
    );
    let huge = check(
        &front,
        json!({"limit": "login", "key": "u1", "cost": u32::MAX}),
    )
    .await;
    huge.problem(422, "never-conforms");
    assert_eq!(front.node.counted().len(), 0);
}

#[tokio::test]
async fn an_inline_rule_counts_by_the_rule_and_the_key() {
    let front = front();
    let rule = |per: &str| json!({"algorithm": "token_bucket", "limit": 3, "per": per, "burst": 5});
    let reply = check(&front, json!({"rule": rule("1m"), "key": "u1"})).await;
    assert_eq!(reply.json()["remaining"], 4);
    assert_eq!(
        reply.header("ratelimit-policy"),
        r#""rule";q=3;w=60;weir-burst=5"#
    );
    let smaller = json!({"algorithm": "gcra", "limit": 3, "per": "1m", "burst": 4});
    assert_eq!(
        check(&front, json!({"rule": smaller, "key": "u1"}))
            .await
            .json()["remaining"],
        3
    );
    // The same rule, written otherwise.
    let same = json!({"algorithm": "gcra", "limit": 3, "per": "60s", "burst": 5});
    assert_eq!(
        check(&front, json!({"rule": same, "key": "u1"}))
            .await
            .json()["remaining"],
        3
    );
    assert_eq!(
        check(&front, json!({"rule": rule("2m"), "key": "u1"}))
            .await
            .json()["remaining"],
        4
    );
    assert_eq!(
        check(&front, json!({"rule": rule("1m"), "key": "u2"}))
            .await
            .json()["remaining"],
        4
    );
}

#[tokio::test]
async fn keys_may_be_any_text() {
    let front = front();
    for body in [
        "{\"limit\":\"login\",\"key\":\"\\u0061\\n€\"}",
        "{\"limit\":\"log\\u0069n\",\"key\":\"a\\n\u{20ac}\"}",
    ] {
        assert_eq!(front.post("/v1/check", body).await.status, 200, "{body}");
    }
    assert_eq!(front.node.counted(), [("login".into(), "a\n€".into())]);
}

#[tokio::test]
async fn json_may_say_so_in_several_ways() {
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.weir+json",
    ] {
        let mut request =
            crate::client::request("POST", "/v1/check", &[("content-type", content_type)]);
        *request.body_mut() = r#"{"limit":"login","key":"k"}"#.into();
        assert_eq!(front().send(request).await.status, 200, "{content_type}");
    }
    let mut request = crate::client::request("POST", "/v1/check", &[]);
    *request.body_mut() = r#"{"limit":"login","key":"k"}"#.into();
    assert_eq!(front().send(request).await.status, 200);
}

#[tokio::test]
async fn a_refund_gives_back_and_tells_the_state_after() {
    let front = front();
    check(&front, json!({"limit": "login", "key": "u1", "cost": 10})).await;
    let refund = |cost: u32| json!({"limit": "login", "key": "u1", "cost": cost}).to_string();
    let reply = front.post("/v1/refund", refund(3)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json(),
        json!({"allowed": true, "limit": 10, "remaining": 3, "retry_after_ms": null, "reset_after_ms": 42000})
    );
    // Never below empty, however much is given back.
    assert_eq!(
        front.post("/v1/refund", refund(100)).await.json()["remaining"],
        10
    );
    check(&front, json!({"limit": "login", "key": "u1", "cost": 10})).await;
    let reply = front.post("/v1/refund", refund(0)).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["allowed"]),
        (200, &json!(false))
    );
}

#[tokio::test]
async fn a_deleted_key_starts_anew() {
    let front = front();
    for (key, path) in [
        ("u1", "u1"),
        ("a/b c", "a%2Fb%20c"),
        ("a/b", "a/b"),
        ("a+b", "a+b"),
        ("€", "%E2%82%AC"),
    ] {
        let spend = json!({"limit": "login", "key": key, "cost": 10});
        assert_eq!(check(&front, spend.clone()).await.status, 200);
        assert_eq!(check(&front, spend.clone()).await.status, 429);
        let reply = front
            .method("DELETE", &format!("/v1/keys/login/{path}"))
            .await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (204, ""), "{path}");
        assert_eq!(check(&front, spend).await.status, 200);
    }
}

#[tokio::test]
async fn a_batch_answers_in_order() {
    let front = front();
    let checks = json!([
        {"limit": "login", "key": "a", "cost": 10},
        {"limit": "login", "key": "a"},
        {"limit": "nobody", "key": "a"},
        {"limit": "login", "key": "b", "cost": 11},
        {"limit": "login", "key": "b", "cost": -1},
        {"limit": "login", "key": "b", "kost": 1},
        "login",
        {"limit": "login", "key": "b", "cost": 0},
    ]);
    let reply = front
        .post("/v1/check/batch", json!({"checks": checks}).to_string())
        .await;
    assert_eq!(reply.status, 200);
    let json = reply.json();
    assert_eq!(json["allowed"], false);
    let told: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(
            |result| match (&result["allowed"], &result["error"]["type"]) {
                (Value::Null, name) => name.as_str().unwrap().to_owned(),
                (allowed, _) => allowed.to_string(),
            },
        )
        .collect();
    assert_eq!(
        told,
        [
            "true",
            "false",
            "/problems/unknown-limit",
            "/problems/never-conforms",
            "/problems/invalid-request",
            "/problems/invalid-request",
            "/problems/invalid-request",
            "true",
        ]
    );
    assert_eq!(json["results"][4]["error"]["field"], "cost");
}

#[tokio::test]
async fn a_batch_is_allowed_when_all_are() {
    let batch = |checks: Value| json!({"checks": checks}).to_string();
    let all = batch(json!([{"limit": "login", "key": "a"}, {"limit": "login", "key": "b"}]));
    let reply = front().post("/v1/check/batch", all).await;
    assert_eq!(reply.json()["allowed"], true);
    let denied =
        batch(json!([{"limit": "user_home", "key": "a"}, {"limit": "user_home", "key": "a"}]));
    assert_eq!(
        front().post("/v1/check/batch", denied).await.json()["allowed"],
        false
    );
    let none = front().post("/v1/check/batch", batch(json!([]))).await;
    assert_eq!(none.body, r#"{"allowed":true,"results":[]}"#);
}

#[tokio::test]
async fn a_batch_has_at_most_a_thousand_checks() {
    let front = front();
    let checks = |count: usize| {
        json!({"checks": vec![json!({"limit": "weekly", "key": "a"}); count]}).to_string()
    };
    let reply = front.post("/v1/check/batch", checks(1_000)).await;
    assert_eq!(reply.json()["results"].as_array().unwrap().len(), 1_000);
    front
        .post("/v1/check/batch", checks(1_001))
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn without_a_decision_the_fail_mode_answers() {
    let front = front();
    let retry_after = Nanos::from_millis(1_500);
    for (error, name, uncounted) in [
        (
            NoDecision::Unavailable { retry_after },
            "no-decision",
            "not counted",
        ),
        (
            NoDecision::Unknown { retry_after },
            "no-decision",
            "unknown",
        ),
        (
            NoDecision::Overloaded { retry_after },
            "overloaded",
            "not counted",
        ),
        (
            NoDecision::Draining { retry_after },
            "draining",
            "not counted",
        ),
    ] {
        front.node.fail(error);
        let closed = json!({"limit": "login", "key": "a"});
        let reply = check(&front, closed.clone()).await;
        assert_eq!(reply.header("retry-after"), "2");
        let problem = reply.problem(503, name);
        assert!(
            problem["detail"].as_str().unwrap().contains(uncounted),
            "{problem}"
        );
        // For programs, which once read it from the words.
        let counted = (uncounted == "unknown").then_some("unknown");
        assert_eq!(problem["counted"].as_str(), counted, "{problem}");

        let open = json!({"limit": "open", "key": "a"});
        let reply = check(&front, open.clone()).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["by_fail_mode"]),
            (200, &json!(true))
        );

        let reply = front
            .post(
                "/v1/check/batch",
                json!({"checks": [closed, open]}).to_string(),
            )
            .await;
        let json = reply.json();
        assert_eq!(
            json["results"][0]["error"]["type"],
            format!("/problems/{name}")
        );
        assert_eq!(json["results"][0]["error"]["counted"].as_str(), counted);
        assert_eq!(
            (&json["results"][1]["allowed"], &json["allowed"]),
            (&json!(true), &json!(false))
        );

        // There is no failing open about giving back.
        let refund = json!({"limit": "open", "key": "a"}).to_string();
        front.post("/v1/refund", refund).await.problem(503, name);
        front
            .method("DELETE", "/v1/keys/open/a")
            .await
            .problem(503, name);
    }
}
