//! What a tenant sees of its limits while they decide.

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use fake_node::TENANT;
use http_body_util::BodyExt as _;
use limiter::Sampler;
use serde_json::{Value, json};
use series::{NamedTotal, Point, Sample, Told, Total};
use tower::ServiceExt as _;

use crate::client::{Front, Reply, request};
use crate::service::{Who, free, service, service_with_people, signed};

fn asked(path: &str, who: Who) -> Request<Body> {
    signed(request("GET", path, &[]), who)
}

async fn picture(front: &Front, query: &str) -> Reply {
    front
        .send(asked(&format!("/v1/series{query}"), Who::Tenant))
        .await
}

async fn check(front: &Front, body: Value) {
    let mut asked = request("POST", "/v1/check", &[("content-type", "application/json")]);
    *asked.body_mut() = body.to_string().into();
    let reply = front.send(signed(asked, Who::Tenant)).await;
    assert!(
        [200, 429].contains(&reply.status.as_u16()),
        "{}",
        reply.body
    );
}

/// Three of five hits pass, and a peek counts nothing; one of another limit passes.
async fn hit(front: &Front) {
    let limit = json!({ "algorithm": "sliding_log", "limit": 3, "per": "1h" });
    let mut asked = request(
        "PUT",
        "/v1/limits/login",
        &[("content-type", "application/json")],
    );
    *asked.body_mut() = limit.to_string().into();
    let made = front.send(signed(asked, Who::Tenant)).await;
    assert!(made.status.is_success(), "{}", made.body);
    for _ in 0..5 {
        check(front, json!({ "limit": "login", "key": "ada" })).await;
    }
    check(front, json!({ "limit": "login", "key": "ada", "cost": 0 })).await;
    let rule = json!({ "algorithm": "gcra", "limit": 10, "per": "1m" });
    check(front, json!({ "rule": rule, "key": "ada" })).await;
}

fn sum(json: &Value, column: &str) -> u64 {
    let rows = json[column].as_array().expect(column);
    rows.iter().map(|row| row.as_u64().expect(column)).sum()
}

#[tokio::test]
async fn a_picture_shows_what_was_decided() {
    let front = service(free(), Who::Tenant).await;
    hit(&front).await;
    let before = picture(&front, "").await.json();
    assert_eq!(sum(&before, "allowed"), 0, "that second is not over");
    front.limiter.gather();
    for (window, rows) in [("10m", 600), ("1h", 60), ("24h", 1_440), ("35d", 840)] {
        let all = picture(&front, &format!("?window={window}")).await.json();
        assert_eq!((sum(&all, "allowed"), sum(&all, "denied")), (4, 2), "{all}");
        for column in ["at", "allowed", "denied", "p50_us", "p99_us"] {
            assert_eq!(all[column].as_array().unwrap().len(), rows, "{column}");
        }
        assert_eq!(all["limits"]["login"], json!([3, 2]), "{all}");
        let one = picture(&front, &format!("?limit=login&window={window}"))
            .await
            .json();
        assert_eq!((sum(&one, "allowed"), sum(&one, "denied")), (3, 2));
        assert_eq!(one["limits"], json!({}));
        assert_eq!(
            (&one["window"], &one["missing"]),
            (&json!(window), &json!([]))
        );
    }
    let none = picture(&front, "?limit=other").await.json();
    assert_eq!((sum(&none, "allowed"), sum(&none, "denied")), (0, 0));
    let wrong = picture(&front, "?window=2h")
        .await
        .problem(400, "invalid-request");
    assert_eq!(wrong["field"], "window");
}

#[tokio::test]
async fn who_may_not_see_usage_sees_no_picture() {
    let front = service(free(), Who::Checker).await;
    for path in ["/v1/series", "/v1/live"] {
        let refused = front.send(asked(path, Who::Checker)).await;
        assert_eq!(refused.problem(403, "forbidden")["scope"], "usage.read");
        front
            .send(asked(path, Who::Nobody))
            .await
            .problem(401, "unauthorized");
    }
}

async fn stream(front: &Front, who: Who) -> Response {
    let router = front.router.clone();
    router.oneshot(asked("/v1/live", who)).await.unwrap()
}

/// The next text of a stream. `None`: it has ended.
async fn next(stream: &mut Response) -> Option<String> {
    let frame = stream.body_mut().frame().await?.unwrap();
    let text = frame.into_data().unwrap().to_vec();
    Some(String::from_utf8(text).unwrap())
}

/// The next text of a stream, which is a sample.
async fn sample(stream: &mut Response) -> Value {
    let told = next(stream).await.unwrap();
    let data = told.strip_prefix("event: sample\ndata: ").expect(&told);
    serde_json::from_str(data.trim_end()).unwrap()
}

/// Another member has allowed and denied so many by the limit `login`.
fn decided(allowed: u64, denied: u64) -> NamedTotal {
    NamedTotal {
        name: "login".into(),
        total: Total {
            allowed,
            denied,
            ..Total::default()
        },
    }
}

#[tokio::test]
async fn what_all_nodes_have_decided_is_told_and_who_has_not_told() {
    let front = service(free(), Who::Tenant).await;
    let others = |told: Told| {
        let mut others = front.node.others.lock().unwrap();
        others.insert("berta".to_owned(), Some(told));
        others.insert("carla".to_owned(), None);
    };
    let mut live = stream(&front, Who::Tenant).await;
    next(&mut live).await;
    hit(&front).await;
    front.limiter.gather();
    let limit = decided(70, 20);
    let all = limit.total;
    others(Told::Since {
        until: 5,
        samples: vec![Sample {
            all,
            limits: vec![limit.clone()],
        }],
    });
    Sampler::new(front.limiter.clone()).tell().await;
    let told = sample(&mut live).await;
    assert_eq!(
        (&told["allowed"], &told["denied"]),
        (&json!(74), &json!(22))
    );
    assert_eq!(told["limits"]["login"], json!([73, 22]));
    let who = json!({ "from": 2, "of": 3, "missing": ["carla"] });
    for (field, value) in who.as_object().unwrap() {
        assert_eq!(&told[field], value, "{field}");
    }
    let before = picture(&front, "?window=1h").await.json();
    let minutes = before["at"].as_array().unwrap();
    let at = minutes.last().unwrap().as_u64().unwrap() as u32;
    let key = NamedTotal {
        name: "key_3fK9mQ2bXw7L".into(),
        total: all,
    };
    others(Told::Points {
        points: vec![Point { at, total: all }],
        limits: vec![limit],
        api_keys: vec![key],
    });
    let told = picture(&front, "?window=24h").await.json();
    assert_eq!((sum(&told, "allowed"), sum(&told, "denied")), (74, 22));
    assert_eq!(told["limits"]["login"], json!([73, 22]));
    // That by which this node was asked.
    assert_eq!(told["api_keys"]["key_3fK9mQ2bXw7L"], json!([74, 22]));
    for (field, value) in who.as_object().unwrap() {
        assert_eq!(&told[field], value, "{field}");
    }
}

#[tokio::test]
async fn a_stream_tells_the_cap_as_it_is_now() {
    let front = service(free(), Who::Tenant).await;
    let mut live = stream(&front, Who::Tenant).await;
    next(&mut live).await;
    let mut sampler = Sampler::new(front.limiter.clone());
    sampler.tell().await;
    assert_eq!(sample(&mut live).await["today"]["cap"], 10_000);
    let mut asked = request(
        "PATCH",
        &format!("/v1/tenants/{TENANT}"),
        &[("content-type", "application/json")],
    );
    *asked.body_mut() = json!({ "requests_per_day": 20_000 }).to_string().into();
    let mut operator = signed(asked, Who::Operator);
    operator.headers_mut().remove("weir-tenant");
    let changed = front.send(operator).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    // A request of the tenant comes by.
    picture(&front, "").await;
    sampler.tell().await;
    assert_eq!(sample(&mut live).await["today"]["cap"], 20_000);
}

#[tokio::test]
async fn a_stream_tells_each_second_and_that_it_ends() {
    let front = service(free(), Who::Tenant).await;
    let mut live = stream(&front, Who::Tenant).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(live.headers()[name], value);
    }
    assert_eq!(next(&mut live).await.as_deref(), Some("retry: 500\n\n"));
    hit(&front).await;
    front.limiter.gather();
    let mut sampler = Sampler::new(front.limiter.clone());
    sampler.tell().await;
    let sample = sample(&mut live).await;
    assert_eq!(
        (&sample["allowed"], &sample["denied"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(sample["limits"]["login"], json!([3, 2]));
    assert_eq!(sample["today"]["requests"], 4);
    assert_eq!(sample["today"]["cap"], 10_000);
    let described = front.get("/openapi.json").await.json();
    let schema = &described["components"]["schemas"]["Sample"];
    let validator = jsonschema::validator_for(schema).unwrap();
    assert!(validator.is_valid(&sample), "{sample}");
    front.limiter.live().end();
    assert_eq!(
        next(&mut live).await.as_deref(),
        Some("event: bye\ndata: {}\n\n")
    );
    assert_eq!(next(&mut live).await, None);
    let refused = front.send(asked("/v1/live", Who::Tenant)).await;
    assert_eq!(refused.status, 503);
}

#[tokio::test]
async fn the_fifth_stream_of_a_session_is_refused_until_one_has_ended() {
    let front = service_with_people(free(), Who::Owner).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(stream(&front, Who::Owner).await);
    }
    let fifth = front.send(asked("/v1/live", Who::Owner)).await;
    fifth.problem(429, "tenant-rate");
    assert_eq!(fifth.header("retry-after"), "5");
    let other = stream(&front, Who::Tenant).await;
    assert_eq!(other.status(), 200, "that one is of an API key");
    streams.pop();
    assert_eq!(stream(&front, Who::Owner).await.status(), 200);
}

/// What may not be seen any more is not told any more, though the stream began when it was allowed.
#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_tenant_is_suspended() {
    let front = service(free(), Who::Tenant).await;
    let mut live = stream(&front, Who::Tenant).await;
    next(&mut live).await;
    assert_eq!(next(&mut live).await.as_deref(), Some(": here\n\n"));
    front.node.suspend_tenant();
    assert_eq!(next(&mut live).await, None);
}
