//! What is refused, and how it is told.

use axum::body::Body;
use serde_json::{Value, json};

use crate::client::{Front, front, request};

/// Asserts that `body` is refused at `path` because of `field`.
async fn check_field(path: &str, body: &str, field: &str) {
    let front = front();
    let problem = front
        .post(path, body.to_owned())
        .await
        .problem(400, "invalid-request");
    assert_eq!(problem["field"], field, "{body}: {problem}");
    assert_eq!(front.node.counted().len(), 0);
}

/// Asserts that `body` is refused as a whole.
async fn check_whole(path: &str, body: impl Into<Body>) {
    let problem = front()
        .post(path, body)
        .await
        .problem(400, "invalid-request");
    assert_eq!(problem["field"], Value::Null, "{problem}");
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    for path in ["/v1/check", "/v1/refund", "/v1/check/batch", "/api/limits"] {
        for body in [
            "",
            "{",
            "nonsense",
            "{}{}",
            "\u{feff}{}",
            "[1,2]",
            "\"text\"",
            "null",
            "1",
            "{\"key\":}",
        ] {
            check_whole(path, body).await;
        }
        check_whole(path, b"{\"limit\":\"login\",\"key\":\"\xff\"}".to_vec()).await;
        check_whole(path, "[".repeat(60_000)).await;
        check_whole(path, format!("{}1", "{\"key\":".repeat(9_000))).await;
    }
}

#[tokio::test]
async fn fields_of_a_check_are_held_to_their_values() {
    for (body, field) in [
        (r#"{}"#, "key"),
        (r#"{"limit":"login"}"#, "key"),
        (r#"{"key":"a"}"#, "limit"),
        (r#"{"limit":null,"key":"a"}"#, "limit"),
        (r#"{"limit":"login","key":"a","extra":1}"#, "extra"),
        (r#"{"limit":"login","key":"a","key":"b"}"#, "key"),
        (r#"{"limit":"login","limit":"login","key":"b"}"#, "limit"),
        (r#"{"limit":1,"key":"a"}"#, "limit"),
        (r#"{"limit":"login","key":1}"#, "key"),
        (r#"{"limit":"login","key":null}"#, "key"),
        (r#"{"limit":"login","key":["a"]}"#, "key"),
        (r#"{"limit":"login","key":""}"#, "key"),
        (r#"{"limit":"login","key":"a\u0000b"}"#, "key"),
        (r#"{"limit":"login","key":"\ud800"}"#, "key"),
        (r#"{"limit":"login","key":"a","cost":-1}"#, "cost"),
        (r#"{"limit":"login","key":"a","cost":1.0}"#, "cost"),
        (r#"{"limit":"login","key":"a","cost":0.5}"#, "cost"),
        (r#"{"limit":"login","key":"a","cost":1e2}"#, "cost"),
        (r#"{"limit":"login","key":"a","cost":1e999}"#, "cost"),
        (r#"{"limit":"login","key":"a","cost":4294967296}"#, "cost"),
        (
            r#"{"limit":"login","key":"a","cost":99999999999999999999999999}"#,
            "cost",
        ),
        (r#"{"limit":"login","key":"a","cost":"1"}"#, "cost"),
        (r#"{"limit":"login","key":"a","cost":null}"#, "cost"),
        (r#"{"limit":"login","key":"a","cost":true}"#, "cost"),
    ] {
        check_field("/v1/check", body, field).await;
        check_field("/v1/refund", body, field).await;
    }
    let key = |length| json!({"limit": "login", "key": "k".repeat(length)}).to_string();
    check_field("/v1/check", &key(1_025), "key").await;
    assert_eq!(front().post("/v1/check", key(1_024)).await.status, 200);
}

#[tokio::test]
async fn a_refusal_tells_what_was_given_and_what_is_accepted() {
    let reply = front()
        .post("/v1/check", r#"{"limit":"login","key":"a","cost":-1}"#)
        .await;
    let problem = reply.problem(400, "invalid-request");
    assert_eq!(
        (&problem["given"], &problem["accepted"]),
        (&json!(-1), &json!("a whole number from 0 to 4294967295"))
    );
    let reply = front()
        .post(
            "/v1/check",
            json!({"limit": "login", "key": "é".repeat(9_999)}).to_string(),
        )
        .await;
    assert_eq!(reply.json()["given"].as_str().unwrap().chars().count(), 101);
    let reply = front()
        .post("/v1/check", r#"{"limit":"login","key":"a","cost":1e999}"#)
        .await;
    assert_eq!(reply.json()["given"], "1e999");
}

#[tokio::test]
async fn fields_of_a_rule_are_held_to_their_values() {
    let base = json!({"algorithm": "gcra", "limit": 5, "per": "1m"});
    for (field, values) in [
        (
            "algorithm",
            vec![json!("gcrab"), json!("concurrency"), json!(1), json!("")],
        ),
        (
            "limit",
            vec![
                json!(0),
                json!(-1),
                json!(1.5),
                json!("5"),
                json!(3_000_000_000_u32),
                json!(1e30),
            ],
        ),
        (
            "per",
            vec![
                json!("0s"),
                json!(""),
                json!("1"),
                json!("-1m"),
                json!("1.5s"),
                json!("367d"),
                json!(60),
                json!("99999999999999999d"),
            ],
        ),
        (
            "burst",
            vec![json!(0), json!(-1), json!(3_000_000_000_u32), json!("1")],
        ),
        ("anchor", vec![json!("noon"), json!("epoch"), json!(1)]),
        ("zone", vec![json!("UTC"), json!(1)]),
        ("extra", vec![json!(1)]),
    ] {
        for value in values {
            let mut rule = base.clone();
            rule[field] = value;
            let body = json!({"rule": rule, "key": "a"}).to_string();
            check_field("/v1/check", &body, &format!("rule.{field}")).await;
        }
    }
    for field in ["algorithm", "limit", "per"] {
        let mut rule = base.clone();
        rule.as_object_mut().unwrap().remove(field);
        let body = json!({"rule": rule, "key": "a"}).to_string();
        check_field("/v1/check", &body, &format!("rule.{field}")).await;
    }
    let burst = json!({"algorithm": "sliding_log", "limit": 5, "per": "1m", "burst": 9});
    check_field(
        "/v1/check",
        &json!({"rule": burst, "key": "a"}).to_string(),
        "rule.burst",
    )
    .await;
    let long = json!({"algorithm": "sliding_log", "limit": 10_001, "per": "1m"});
    check_field(
        "/v1/check",
        &json!({"rule": long, "key": "a"}).to_string(),
        "rule.limit",
    )
    .await;
    let twice = r#"{"rule":{"algorithm":"gcra","limit":1,"limit":2,"per":"1m"},"key":"a"}"#;
    check_field("/v1/check", twice, "rule.limit").await;
    check_field("/v1/check", r#"{"rule":"gcra","key":"a"}"#, "rule").await;
    check_field(
        "/v1/check",
        &json!({"rule": base, "limit": "login", "key": "a"}).to_string(),
        "rule",
    )
    .await;
}

#[tokio::test]
async fn fields_of_a_batch_and_of_a_key_limit_are_held_to_their_values() {
    for (body, field) in [
        ("{}", "checks"),
        (r#"{"checks":{}}"#, "checks"),
        (r#"{"checks":[],"more":1}"#, "more"),
    ] {
        check_field("/v1/check/batch", body, field).await;
    }
    let base = json!({"key": "u", "limit": 5, "interval": "1m", "algorithm": "gcra"});
    for (field, value) in [
        ("key", json!("")),
        ("limit", json!(0)),
        ("limit", json!("5")),
        ("interval", json!("0s")),
        ("interval", json!("soon")),
        ("algorithm", json!("magic")),
        ("burst", json!(0)),
        ("per", json!("1m")),
    ] {
        let mut body = base.clone();
        body[field] = value;
        check_field("/api/limits", &body.to_string(), field).await;
    }
}

#[tokio::test]
async fn queries_are_held_to_their_values() {
    for (method, path, name) in [
        ("GET", "/api/check", "key"),
        ("POST", "/rate/increment", "client_id"),
        ("GET", "/rate/check", "client_id"),
        ("GET", "/v1/owner?limit=login", "key"),
    ] {
        let front = front();
        let join = if path.contains('?') { '&' } else { '?' };
        for value in [
            "",
            &format!("{name}="),
            &format!("{name}=%ff"),
            &format!("{name}=%zz"),
            &format!("{name}=%"),
            &format!("{name}=%00"),
            &format!("{name}={}", "k".repeat(1_025)),
            &format!("{name}=a&{name}=b"),
        ] {
            let problem = front
                .method(method, &format!("{path}{join}{value}"))
                .await
                .problem(400, "invalid-request");
            assert_eq!(problem["field"], name);
        }
        assert_eq!(front.node.counted().len(), 0);
    }
    assert_eq!(
        front()
            .get("/v1/owner?key=a")
            .await
            .problem(400, "invalid-request")["field"],
        "limit"
    );
}

#[tokio::test]
async fn paths_of_keys_are_held_to_their_values() {
    for path in [
        "login/",
        "login/%",
        "login/%zz",
        "login/%ff",
        "login/%00",
        "%ff/a",
        &format!("login/{}", "k".repeat(1_025)),
    ] {
        front()
            .method("DELETE", &format!("/v1/keys/{path}"))
            .await
            .problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn unknown_limits_are_refused_by_name() {
    let front = front();
    for body in [
        r#"{"limit":"nobody","key":"a"}"#,
        r#"{"limit":"","key":"a"}"#,
    ] {
        let problem = front
            .post("/v1/check", body)
            .await
            .problem(404, "unknown-limit");
        assert_eq!(problem["field"], "limit");
        front
            .post("/v1/refund", body)
            .await
            .problem(404, "unknown-limit");
    }
    for (method, path) in [
        ("DELETE", "/v1/keys/nobody/a"),
        ("GET", "/v1/owner?limit=nobody&key=a"),
        ("GET", "/v1/limits/nobody"),
        ("DELETE", "/v1/limits/nobody"),
    ] {
        front
            .method(method, path)
            .await
            .problem(404, "unknown-limit");
    }
    let without = crate::client::front_with(front_http::HttpConfig {
        rate_limit: "gone".into(),
        ..crate::client::config()
    });
    without
        .get("/rate/check?client_id=a")
        .await
        .problem(404, "unknown-limit");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let front = front();
    for path in [
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/chek",
        "/health/",
        "//",
        "/v1/keys",
        "/v1/check/",
        "/%2e%2e/etc",
    ] {
        front.get(path).await.problem(404, "not-found");
    }
    for (method, path, allow) in [
        ("GET", "/v1/check", "POST"),
        ("POST", "/health", "GET,HEAD"),
        ("POST", "/v1/limits/login", "GET,HEAD,PUT,DELETE"),
        ("DELETE", "/", "GET,HEAD"),
        ("OPTIONS", "/v1/check", "POST"),
        ("BREW", "/v1/check", "POST"),
    ] {
        let reply = front.method(method, path).await;
        let problem = reply.problem(405, "method-not-allowed");
        assert_eq!(
            (reply.header("allow"), &problem["given"]),
            (allow, &json!(method))
        );
    }
}

async fn post_as(front: &Front, content_type: &str, body: &'static str) -> crate::client::Reply {
    let mut request = request("POST", "/v1/check", &[("content-type", content_type)]);
    *request.body_mut() = body.into();
    front.send(request).await
}

#[tokio::test]
async fn bodies_must_be_json_by_name() {
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "application/jsonp",
        "text/json+json",
    ] {
        let reply = post_as(&front(), content_type, r#"{"limit":"login","key":"a"}"#).await;
        let problem = reply.problem(415, "unsupported-media-type");
        assert_eq!(
            (&problem["given"], &problem["accepted"]),
            (&json!(content_type), &json!("application/json"))
        );
    }
}

#[tokio::test]
async fn bodies_have_a_largest_size() {
    let padded = |size: usize| {
        let body = r#"{"limit":"login","key":"a"}"#;
        format!("{body}{}", " ".repeat(size - body.len()))
    };
    for (path, max) in [("/v1/check", 64 * 1024), ("/v1/refund", 64 * 1024)] {
        assert_eq!(front().post(path, padded(max)).await.status, 200);
        front()
            .post(path, padded(max + 1))
            .await
            .problem(413, "too-large");
    }
    let batch = |size: usize| format!(r#"{{"checks":[]}}{}"#, " ".repeat(size - 13));
    assert_eq!(
        front()
            .post("/v1/check/batch", batch(4 * 1024 * 1024))
            .await
            .status,
        200
    );
    front()
        .post("/v1/check/batch", batch(4 * 1024 * 1024 + 1))
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn bodies_of_unknown_length_have_a_largest_size_too() {
    use http_body_util::{BodyExt as _, StreamBody};
    let chunks = |count: usize| {
        let first = [r#"{"limit":"login","#, r#""key":"a"}"#].map(str::to_owned);
        let chunks = first
            .into_iter()
            .chain(std::iter::repeat_n(" ".repeat(1_024), count));
        let frames = chunks.map(|chunk| {
            Ok::<_, std::io::Error>(hyper::body::Frame::data(bytes::Bytes::from(chunk)))
        });
        Body::new(StreamBody::new(stream(frames.collect())).boxed())
    };
    assert_eq!(front().post("/v1/check", chunks(3)).await.status, 200);
    front()
        .post("/v1/check", chunks(64))
        .await
        .problem(413, "too-large");
}

/// The frames as a stream that is not ready each time it is asked first.
fn stream<T: Unpin>(items: Vec<T>) -> impl futures_core::Stream<Item = T> {
    struct Slow<T>(std::collections::VecDeque<T>, bool);
    impl<T: Unpin> futures_core::Stream for Slow<T> {
        type Item = T;
        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            let this = self.get_mut();
            this.1 = !this.1;
            if this.1 {
                cx.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(this.0.pop_front())
        }
    }
    Slow(items.into(), false)
}

#[tokio::test]
async fn limits_of_the_file_are_changed_there() {
    let front = front();
    for method in ["PUT", "DELETE"] {
        front
            .method(method, "/v1/limits/login")
            .await
            .problem(409, "defined-in-file");
    }
}
