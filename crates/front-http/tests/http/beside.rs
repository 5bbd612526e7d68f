//! `/auth` and `/throttle`: what stands beside a proxy, and throttlecrab's HTTP.

use axum::body::Body;
use front_http::HttpConfig;
use quota::Nanos;
use serde_json::json;

use crate::client::{Front, Reply, config, front, front_with, request};

async fn auth(front: &Front, query: &str, headers: &[(&str, &str)]) -> Reply {
    front
        .get_with(&format!("/auth/login?{query}"), headers)
        .await
}

/// How often each of these requests passes until one is denied.
async fn admitted(front: &Front, query: &str, headers: &[(&str, &str)]) -> usize {
    for passed in 0..=20 {
        let reply = auth(front, query, headers).await;
        match reply.status.as_u16() {
            200 => {}
            429 => return passed,
            _ => panic!("{}", reply.body),
        }
    }
    panic!("never denied");
}

#[tokio::test]
async fn a_proxy_is_told_by_status_and_headers_alone() {
    let front = front();
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let asked = request(method, "/auth/login?by=peer", &[]);
        let reply = front.send(asked).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (200, ""), "{method}");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.header("x-ratelimit-limit"), "10");
    }
    assert_eq!(admitted(&front, "by=peer", &[]).await, 4);
    let denied = auth(&front, "by=peer", &[]).await;
    assert_eq!((denied.status.as_u16(), &*denied.body), (429, ""));
    assert_eq!(denied.header("retry-after"), "6");
    assert_eq!(denied.header("ratelimit"), r#""login";r=0;t=6"#);
    assert_eq!(denied.header("ratelimit-policy"), r#""login";q=10;w=60"#);
}

#[tokio::test]
async fn a_hit_beside_a_proxy_and_one_over_the_api_are_one_count() {
    let front = front();
    let ada = [("x-user-id", "ada")];
    auth(&front, "by=header:X-User-Id&cost=4", &ada).await;
    let peek = front.post("/v1/check", r#"{"limit":"login","key":"ada","cost":0}"#);
    assert_eq!(peek.await.json()["remaining"], 6);
    let peeked = auth(&front, "by=header:x-user-id&cost=0", &ada).await;
    assert_eq!(peeked.header("x-ratelimit-remaining"), "6");
}

#[tokio::test]
async fn who_is_counted_is_the_first_that_the_client_brings() {
    let front = front();
    let by = "by=header:X-User-Id&by=cookie:sid&by=query:name&by=peer";
    for (headers, key) in [
        (vec![("x-user-id", "ada"), ("cookie", "sid=1")], "ada"),
        (vec![("cookie", "sid=1")], "cookie:sid=1"),
        (
            vec![("x-forwarded-uri", "/a?name=bo%20b&x=y#?name=z")],
            "bo b",
        ),
        (vec![("x-original-uri", "/a?name=cy")], "cy"),
        (
            vec![("x-forwarded-uri", ""), ("x-original-uri", "/?name=di")],
            "di",
        ),
        (
            vec![
                ("x-forwarded-uri", "/?name=ed"),
                ("x-original-uri", "/?name=ed"),
            ],
            "ed",
        ),
        (vec![("x-forwarded-uri", "/a")], "peer:192.0.2.1"),
        (
            vec![("peer", "10.0.0.9"), ("x-forwarded-for", "198.51.100.7")],
            "peer:198.51.100.7",
        ),
        (vec![("x-user-id", "")], "peer:192.0.2.1"),
    ] {
        let reply = auth(&front, by, &headers).await;
        assert_eq!(reply.status.as_u16(), 200, "{key}: {}", reply.body);
        let counted = front.node.counted();
        assert!(
            counted.iter().any(|(_, counted)| counted == key),
            "{key} in {counted:?}"
        );
    }
    // The proxy's own query is no client's.
    let reply = auth(&front, "by=query:name&name=eve", &[]).await;
    reply.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_proxy_that_asks_wrongly_is_told_what_is_wrong() {
    let front = front();
    let nine = ["by=peer"; 9].join("&");
    for (query, field) in [
        ("", "by"),
        ("by=", "by"),
        ("by=browser", "by"),
        ("by=header", "by"),
        ("by=header:", "by"),
        ("by=header:a%20b", "by"),
        ("by=cookie:", "by"),
        ("by=cookie:a%3Db", "by"),
        ("by=cookie:a%3Bb", "by"),
        ("by=query:", "by"),
        ("by=Peer", "by"),
        ("by=%ff", "by"),
        ("by=peer&by=nobody", "by"),
        (&nine, "by"),
        ("by=peer&cost=", "cost"),
        ("by=peer&cost=-1", "cost"),
        ("by=peer&cost=%2B1", "cost"),
        ("by=peer&cost=1.5", "cost"),
        ("by=peer&cost=4294967296", "cost"),
        ("by=peer&cost=1&cost=1", "cost"),
    ] {
        let problem = auth(&front, query, &[])
            .await
            .problem(400, "invalid-request");
        assert_eq!(problem["field"], field, "{query}");
    }
    let by = "by=header:X-User-Id&by=query:name";
    let long = "k".repeat(1025);
    for (headers, field) in [
        (vec![("x-user-id", "a"), ("x-user-id", "a")], "x-user-id"),
        (vec![("x-user-id", &*long)], "key"),
        (vec![("x-original-uri", "/?name=%ff")], "name"),
        (vec![("x-original-uri", "/?name=a&name=a")], "name"),
        (
            vec![
                ("x-original-uri", "/?name=a"),
                ("x-original-uri", "/?name=b"),
            ],
            "x-original-uri",
        ),
        (
            vec![
                ("x-forwarded-uri", "/?name=a"),
                ("x-original-uri", "/?name=b"),
            ],
            "x-original-uri",
        ),
        (vec![("x-forwarded-uri", "/?name=é")], "x-forwarded-uri"),
    ] {
        let problem = auth(&front, by, &headers)
            .await
            .problem(400, "invalid-request");
        assert_eq!(problem["field"], field, "{headers:?}");
    }
    let problem = auth(&front, by, &[]).await.problem(401, "unauthorized");
    assert_eq!(
        problem["accepted"],
        "the header x-user-id, or the query parameter name"
    );
    front
        .get("/auth/nobody?by=peer")
        .await
        .problem(404, "unknown-limit");
    front
        .get("/auth/%ff?by=peer")
        .await
        .problem(400, "invalid-request");
    front.get("/auth/").await.problem(404, "not-found");
    auth(&front, "by=peer&cost=11", &[])
        .await
        .problem(422, "never-conforms");
    assert_eq!(front.node.counted().len(), 0);
}

async fn throttle(front: &Front, body: &serde_json::Value) -> Reply {
    front.post("/throttle", body.to_string()).await
}

#[tokio::test]
async fn throttlecrabs_question_has_its_answer() {
    let front = front();
    let asked = |quantity: u32| {
        json!({
            "key": "ada", "max_burst": 3, "count_per_period": 2, "period": 3, "quantity": quantity,
        })
    };
    let told = |allowed: bool, remaining: u32, reset_after: u32, retry_after: i32| {
        json!({
            "allowed": allowed, "limit": 3, "remaining": remaining,
            "reset_after": reset_after, "retry_after": retry_after,
        })
    };
    for (quantity, expected) in [
        (0, told(true, 3, 0, 0)),
        (1, told(true, 2, 1, 0)),
        (2, told(true, 0, 4, 0)),
        (1, told(false, 0, 4, 1)),
        (2, told(false, 0, 4, 3)),
        (0, told(true, 0, 4, 0)),
        (4, told(false, 0, 4, -1)),
    ] {
        let reply = throttle(&front, &asked(quantity)).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (200, expected));
    }
    front.node.advance(Nanos::from_millis(1_500));
    let mut once = asked(1);
    once.as_object_mut().unwrap().remove("quantity");
    assert_eq!(throttle(&front, &once).await.json(), told(true, 0, 4, 0));
    // The same counter as the inline rule that it is.
    let rule = json!({"algorithm": "gcra", "limit": 2, "per": "3s", "burst": 3});
    let check = json!({"rule": rule, "key": "ada", "cost": 1});
    let reply = front.post("/v1/check", check.to_string()).await;
    assert_eq!(reply.status.as_u16(), 429);
}

#[tokio::test]
async fn a_throttle_that_makes_no_sense_is_told_so_in_both_ways() {
    let front = front();
    for (field, value) in [
        ("key", json!("")),
        ("key", json!(1)),
        ("max_burst", json!(0)),
        ("max_burst", json!(-1)),
        ("max_burst", json!(4_000_000_000_u32)),
        ("count_per_period", json!(0)),
        ("count_per_period", json!("2")),
        ("period", json!(0)),
        ("period", json!(31_622_401)),
        ("period", json!(1.5)),
        ("quantity", json!(-1)),
        ("quantities", json!(1)),
    ] {
        let mut body = json!({
            "key": "ada", "max_burst": 3, "count_per_period": 2, "period": 3,
        });
        body[field] = value;
        let problem = throttle(&front, &body)
            .await
            .problem(400, "invalid-request");
        assert_eq!(problem["field"], field);
        assert_eq!(problem["error"], problem["detail"]);
    }
    let mut plain = request("POST", "/throttle", &[("content-type", "text/plain")]);
    *plain.body_mut() = Body::from("{}");
    let problem = front
        .send(plain)
        .await
        .problem(415, "unsupported-media-type");
    assert!(problem["error"].is_string());
    assert_eq!(front.node.counted().len(), 0);
}

#[tokio::test]
async fn a_proxy_proves_the_token_as_well_as_it_can() {
    let front = front_with(HttpConfig {
        access: limiter::Access::with_token("s3cret:x"),
        ..config()
    });
    for (authorization, status) in [
        ("", 401),
        ("Bearer s3cret:x", 200),
        ("Bearer wrong", 403),
        // Traefik can give a name and a password in the address that it asks, and no header.
        ("Basic d2VpcjpzM2NyZXQ6eA==", 200),
        ("basic d2VpcjpzM2NyZXQ6eA==", 200),
        ("Basic d2VpcjpzM2NyZXQ6eQ==", 403),
        ("Basic czNjcmV0", 401),
        ("Basic %%%%", 401),
    ] {
        let headers = [("authorization", authorization)];
        let headers = match authorization {
            "" => &[],
            _ => &headers[..],
        };
        let reply = auth(&front, "by=peer", headers).await;
        assert_eq!(reply.status.as_u16(), status, "{authorization}");
    }
    throttle(&front, &json!({}))
        .await
        .problem(401, "unauthorized");
}
