//! The layer before services of axum, of gRPC and of no framework, over limits that are played here.

mod grpc;
mod plain;
mod played;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use client::{Limit, Limits as _};
use http::{Request, Response, StatusCode};
use layer::{Clues, Cookie, Header, MatchedPath, Missing, OnFailure, Peer, Query, RateLimitLayer};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower::ServiceExt as _;

use self::played::Played;

fn app(layer: RateLimitLayer<Played>) -> Router {
    let hello = get(async || "Hello");
    Router::new()
        .route("/users/{id}", hello.clone())
        .route("/home", hello)
        .layer(layer)
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

async fn status(app: &Router, request: Request<Body>) -> StatusCode {
    app.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_request_that_is_limited_never_reaches_the_service() {
    let played = Played::default();
    let app = app(RateLimitLayer::new(played.limit("1").unwrap()).by(Header("X-User-Id")));
    let ask = || request("/home", &[("x-user-id", "ada")]);
    let first = app.clone().oneshot(ask()).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(first.headers()["ratelimit-policy"], r#""1";q=1;w=60"#);
    assert_eq!(first.headers()["ratelimit"], r#""1";r=0;t=2"#);
    assert_eq!(first.headers()["x-ratelimit-remaining"], "0");
    assert!(!first.headers().contains_key("retry-after"));

    let second = app.clone().oneshot(ask()).await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.headers()["retry-after"], "42");
    assert_eq!(second.headers()["x-ratelimit-reset"], "60");
    let body = axum::body::to_bytes(Body::new(second.into_body()), 100)
        .await
        .unwrap();
    assert_eq!(body, "Too Many Requests");
    assert_eq!(
        status(&app, request("/home", &[("X-User-Id", "bob")])).await,
        StatusCode::OK
    );
}

/// Each with two requests that are one, and one that is another.
#[tokio::test]
async fn clients_are_told_apart_by_what_their_requests_bring() {
    let from = |address: &str, mut request: Request<Body>| {
        let address: std::net::SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        request
    };
    let by = |layer: fn(RateLimitLayer<Played>) -> RateLimitLayer<Played>| {
        app(layer(RateLimitLayer::new(
            Played::default().limit("1").unwrap(),
        )))
    };
    let forwarded = |client| request("/home", &[("x-forwarded-for", client)]);
    let cases: [(Router, [Request<Body>; 3]); 7] = [
        (
            by(|layer| layer.by(Query("name"))),
            ["/home?name=a+b", "/home?x=1&name=a%20b", "/home?name=c"]
                .map(|path| request(path, &[])),
        ),
        (
            by(|layer| layer.by(Cookie("sid"))),
            ["sid=1", "x=2; sid=1", "sid=2"].map(|cookie| request("/home", &[("cookie", cookie)])),
        ),
        (
            by(|layer| layer.by(Peer::direct())),
            ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"].map(|peer| from(peer, forwarded("9.9.9.9"))),
        ),
        (
            by(|layer| layer.by(Peer::behind(["10.0.0.0/8".parse().unwrap()]))),
            ["1.1.1.1", "1.1.1.1", "2.2.2.2"].map(|client| from("10.0.0.1:1", forwarded(client))),
        ),
        (
            by(|layer| layer.by(MatchedPath)),
            ["/users/1", "/users/2", "/home"].map(|path| request(path, &[])),
        ),
        (
            by(|layer| layer.by(|clues: &Clues<'_>| Some(clues.uri.path().to_lowercase()))),
            ["/users/a", "/users/A", "/users/b"].map(|path| request(path, &[])),
        ),
        (
            by(|layer| layer.by(Header("a")).by((MatchedPath, Header("b")))),
            [[("b", "x")], [("b", "x")], [("a", "x")]].map(|headers| request("/home", &headers)),
        ),
    ];
    for (case, (app, [one, same, other])) in cases.into_iter().enumerate() {
        assert_eq!(status(&app, one).await, StatusCode::OK, "{case}");
        assert_eq!(
            status(&app, same).await,
            StatusCode::TOO_MANY_REQUESTS,
            "{case}"
        );
        assert_eq!(status(&app, other).await, StatusCode::OK, "{case}");
    }
}

#[tokio::test]
async fn what_one_limit_denied_is_given_back_to_the_others() {
    let played = Played::default();
    let layer = RateLimitLayer::new(played.limit("5").unwrap())
        .by(Header("a"))
        .cost(2)
        .and(played.limit("1").unwrap())
        .by(Header("b"));
    let app = app(layer);
    let ask = |a, b| request("/home", &[("a", a), ("b", b)]);
    let passed = app.clone().oneshot(ask("a", "b")).await.unwrap();
    assert_eq!(passed.status(), StatusCode::OK);
    assert_eq!(passed.headers()["ratelimit"], r#""5";r=3;t=2, "1";r=0;t=2"#);
    for _ in 0..5 {
        assert_eq!(
            status(&app, ask("a", "b")).await,
            StatusCode::TOO_MANY_REQUESTS
        );
    }
    assert_eq!(played.used("5", "a"), 2);
    assert_eq!(status(&app, ask("a", "c")).await, StatusCode::OK);
}

#[tokio::test]
async fn who_cannot_be_told_is_refused_or_passes_as_the_layer_says() {
    let limit = Played::default().limit("1").unwrap();
    let layer = RateLimitLayer::new(limit).by(Header("x-user-id"));
    let denies = app(layer.clone());
    assert_eq!(
        status(&denies, request("/home", &[])).await,
        StatusCode::UNAUTHORIZED
    );
    let twice = [("x-user-id", "a"), ("x-user-id", "b")];
    assert_eq!(
        status(&denies, request("/home", &twice)).await,
        StatusCode::BAD_REQUEST
    );
    let passes = app(layer.missing(Missing::Pass));
    for _ in 0..3 {
        assert_eq!(status(&passes, request("/home", &[])).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn without_a_decision_the_layer_says_what_happens() {
    let played = Played::default();
    let layer = RateLimitLayer::new(played.limit("5").unwrap()).and(played.limit("away").unwrap());
    let denied = app(layer.clone())
        .oneshot(request("/home", &[]))
        .await
        .unwrap();
    assert_eq!(denied.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(denied.headers()["retry-after"], "3");
    assert_eq!(played.used("5", "everybody"), 0, "given back");
    let allows = app(layer.on_failure(OnFailure::Allow));
    assert_eq!(status(&allows, request("/home", &[])).await, StatusCode::OK);
}

/// A request that costs too much once passed under `OnFailure::Allow`, and was counted nowhere.
#[tokio::test]
async fn what_never_passes_is_refused_whatever_the_layer_says_of_failures() {
    for on_failure in [OnFailure::Deny, OnFailure::Allow] {
        let played = Played::default();
        let layer = RateLimitLayer::new(played.limit("5").unwrap())
            .and(played.limit("away").unwrap())
            .and(played.limit("7").unwrap())
            .cost(100)
            .on_failure(on_failure);
        let app = app(layer);
        let refused = app.clone().oneshot(request("/home", &[])).await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!refused.headers().contains_key("retry-after"));
        assert_eq!(played.used("5", "everybody"), 0, "given back");
        let grpc = [("content-type", "application/grpc")];
        let refused = app.oneshot(request("/home", &grpc)).await.unwrap();
        assert_eq!(refused.headers()["grpc-status"], "9");
    }
}

/// Nor may a mistake in the program, or in its token, let everybody pass.
#[tokio::test]
async fn a_limit_that_cannot_be_asked_lets_nobody_pass() {
    let played = Played::default();
    let layer = RateLimitLayer::new(played.limit("5").unwrap()).and(played.limit("none").unwrap());
    let app = app(layer.on_failure(OnFailure::Allow));
    for _ in 0..2 {
        let refused = app.clone().oneshot(request("/home", &[])).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(played.used("5", "everybody"), 0, "given back");
    let denied = RateLimitLayer::new(played.limit("0").unwrap()).and(played.limit("none").unwrap());
    let denied = self::app(denied);
    assert_eq!(
        status(&denied, request("/home", &[])).await,
        StatusCode::TOO_MANY_REQUESTS
    );
}

/// What the metric of denials has counted: the limit, whether in the shadow, and how often.
fn denials(recorder: &DebuggingRecorder) -> Vec<String> {
    let snapshot = recorder.snapshotter().snapshot().into_vec();
    let counted = snapshot.into_iter().filter_map(|(key, _, _, value)| {
        let DebugValue::Counter(count @ 1..) = value else {
            return None;
        };
        assert_eq!(key.key().name(), "weir_layer_denials_total");
        let labels = key.key().labels();
        let labels: Vec<_> = labels
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        Some(format!("{} {count}", labels.join(" ")))
    });
    let mut counted: Vec<_> = counted.collect();
    counted.sort();
    counted
}

/// A limit that was added once the layer was in the shadow counted as if it had denied.
#[tokio::test]
async fn in_the_shadow_nobody_is_denied_and_the_metric_tells_what_would_have_been() {
    let in_shadow = ["limit=1 shadow=true 3", "limit=2 shadow=true 2"];
    type Layer = fn(Limit<Played>, Limit<Played>) -> RateLimitLayer<Played>;
    let cases: [(Layer, _, &[_]); 3] = [
        (
            |one, two| RateLimitLayer::new(one).and(two).shadow(),
            4,
            &in_shadow,
        ),
        (
            |one, two| RateLimitLayer::new(one).shadow().and(two),
            4,
            &in_shadow,
        ),
        (
            |one, two| RateLimitLayer::new(one).and(two),
            1,
            &["limit=1 shadow=false 3"],
        ),
    ];
    for (layer, passing, counted) in cases {
        let (recorder, played) = (DebuggingRecorder::new(), Played::default());
        let [one, two] = ["1", "2"].map(|name| played.limit(name).unwrap());
        let app = app(metrics::with_local_recorder(&recorder, || layer(one, two)));
        for asked in 0..4 {
            let is_passed = status(&app, request("/home", &[])).await == StatusCode::OK;
            assert_eq!(is_passed, asked < passing);
        }
        assert_eq!(denials(&recorder), counted);
    }
}

#[tokio::test]
async fn a_program_may_say_it_in_its_own_words() {
    let layer = RateLimitLayer::new(Played::default().limit("0").unwrap()).denied(|denied| {
        let said = format!(
            "{} waits {:?}",
            denied.clues.uri, denied.limited.retry_after
        );
        let mut response = Response::new(Bytes::from(said));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    let denied = app(layer).oneshot(request("/home", &[])).await.unwrap();
    assert_eq!(denied.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(denied.headers()["retry-after"], "42");
    let body = axum::body::to_bytes(Body::new(denied.into_body()), 100)
        .await
        .unwrap();
    assert_eq!(body, "/home waits 41.001s");
}

#[tokio::test]
async fn grpc_is_answered_in_its_own_way() {
    let grpc = [("content-type", "application/grpc+proto")];
    for (limit, code) in [("0", "8"), ("away", "14")] {
        let app = app(RateLimitLayer::new(Played::default().limit(limit).unwrap()));
        let denied = app.oneshot(request("/home", &grpc)).await.unwrap();
        assert_eq!(denied.status(), StatusCode::OK);
        assert_eq!(denied.headers()["content-type"], "application/grpc");
        assert_eq!(denied.headers()["grpc-status"], code);
        assert!(denied.headers().contains_key("retry-after"));
    }
}
