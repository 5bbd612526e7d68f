//! Which keys a limit of a tenant denies most.

use axum::body::Body;
use serde_json::{Value, json};
use series::{Told, TopKey, TopKeys};

use crate::client::{Front, Reply, front, request};
use crate::service::{Who, free, service, service_with_people, signed};

/// Text that a page, a script and a stream of events would each take for something else.
const HOSTILE: &str = "<b>\"x\"&\n\u{202e}";

async fn send(front: &Front, method: &str, path: &str, body: Option<Value>, who: Who) -> Reply {
    let mut asked = request(method, path, &[("content-type", "application/json")]);
    if let Some(body) = body {
        *asked.body_mut() = Body::from(body.to_string());
    }
    front.send(signed(asked, who)).await
}

async fn make(front: &Front, name: &str, top_keys: Option<bool>) -> Value {
    let mut limit = json!({ "algorithm": "fixed_window", "limit": 2, "per": "1h" });
    if let Some(top_keys) = top_keys {
        limit["top_keys"] = top_keys.into();
    }
    let path = format!("/v1/limits/{name}");
    let made = send(front, "PUT", &path, Some(limit), Who::Tenant).await;
    assert!(made.status.is_success(), "{}", made.body);
    send(front, "GET", &path, None, Who::Tenant).await.json()
}

async fn hit(front: &Front, limit: &str, key: &str, times: u32) {
    for _ in 0..times {
        let body = json!({ "limit": limit, "key": key });
        let answer = send(front, "POST", "/v1/check", Some(body), Who::Tenant).await;
        let status = answer.status.as_u16();
        assert!([200, 429].contains(&status), "{}", answer.body);
    }
}

async fn top(front: &Front, limit: &str, who: Who) -> Reply {
    send(front, "GET", &format!("/v1/top?limit={limit}"), None, who).await
}

fn row(key: &str, allowed: u64, denied: u64, error: u64) -> Value {
    json!({ "key": key, "allowed": allowed, "denied": denied, "error": error })
}

#[tokio::test]
async fn who_is_denied_most_is_told_in_order() {
    let front = service(free(), Who::Tenant).await;
    let limit = make(&front, "login", Some(true)).await;
    assert_eq!(limit["top_keys"], true, "{limit}");
    make(&front, "other", None).await;
    hit(&front, "login", "ada", 5).await;
    hit(&front, "login", HOSTILE, 3).await;
    hit(&front, "login", "eve", 2).await;
    hit(&front, "other", "eve", 5).await;
    // Each way to ask, and what is no denial of the limit: a look, and a limit given inline.
    let checks = vec![json!({ "limit": "login", "key": HOSTILE }); 3];
    let batch = json!({ "checks": checks });
    send(&front, "POST", "/v1/check/batch", Some(batch), Who::Tenant).await;
    let look = json!({ "limit": "login", "key": "ada", "cost": 0 });
    send(&front, "POST", "/v1/check", Some(look), Who::Tenant).await;
    let rule = json!({ "algorithm": "gcra", "limit": 1, "per": "1h" });
    for _ in 0..3 {
        let inline = json!({ "rule": rule, "key": "ada" });
        send(&front, "POST", "/v1/check", Some(inline), Who::Tenant).await;
    }
    let full = send(&front, "DELETE", "/v1/keys/login/ada", None, Who::Tenant).await;
    assert!(full.status.is_success(), "{}", full.body);
    hit(&front, "login", "ada", 1).await;
    let told = top(&front, "login", Who::Tenant).await.json();
    let expected = json!({
        "limit": "login",
        "keys": [row(HOSTILE, 0, 4, 0), row("ada", 1, 3, 0)],
        "from": 1, "of": 1, "missing": [],
    });
    assert_eq!(told, expected);
    let described = front.get("/openapi.json").await.json();
    let mut schema = described["components"]["schemas"]["MostDenied"].clone();
    schema["additionalProperties"] = false.into();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&told), "{told}");
}

#[tokio::test]
async fn a_hit_that_its_client_named_is_counted_by_its_key() {
    let front = service(free(), Who::Tenant).await;
    make(&front, "login", Some(true)).await;
    for name in ["a", "b", "c"] {
        let mut asked = request(
            "POST",
            "/v1/check",
            &[("content-type", "application/json"), ("weir-hit-id", name)],
        );
        *asked.body_mut() = json!({ "limit": "login", "key": "ada" }).to_string().into();
        front.send(signed(asked, Who::Tenant)).await;
    }
    let told = top(&front, "login", Who::Tenant).await.json();
    assert_eq!(told["keys"], json!([row("ada", 0, 1, 0)]));
}

/// What a node does not tell of was denied there as often as the least that it tells of, at most.
#[tokio::test]
async fn what_all_nodes_have_denied_is_added_up_with_its_error() {
    let front = service(free(), Who::Tenant).await;
    make(&front, "login", Some(true)).await;
    hit(&front, "login", "ada", 5).await;
    hit(&front, "login", "eve", 3).await;
    let key = |key: &str, allowed, denied, error| TopKey {
        key: key.into(),
        allowed,
        denied,
        error,
    };
    let told = TopKeys {
        keys: vec![key("ada", 7, 10, 2), key("zoe", 0, 4, 0)],
        rest: 3,
    };
    {
        let mut others = front.node.others.lock().unwrap();
        others.insert("berta".to_owned(), Some(Told::Top(told)));
        others.insert("carla".to_owned(), None);
    }
    let told = top(&front, "login", Who::Tenant).await.json();
    let rows = json!([
        row("ada", 7, 13, 2),
        row("zoe", 0, 4, 0),
        row("eve", 0, 4, 3)
    ]);
    assert_eq!(told["keys"], rows);
    let who = json!({ "from": 2, "of": 3, "missing": ["carla"] });
    for (field, value) in who.as_object().unwrap() {
        assert_eq!(&told[field], value, "{field}");
    }
}

#[tokio::test]
async fn twenty_keys_are_told_and_no_more() {
    let front = service(free(), Who::Tenant).await;
    make(&front, "login", Some(true)).await;
    for number in 0..25 {
        hit(&front, "login", &format!("key{number}"), 3).await;
    }
    let told = top(&front, "login", Who::Tenant).await.json();
    assert_eq!(told["keys"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn a_limit_tells_its_keys_if_it_says_so() {
    let front = service(free(), Who::Tenant).await;
    let limit = make(&front, "login", None).await;
    assert_eq!(limit["top_keys"], false, "{limit}");
    hit(&front, "login", "ada", 5).await;
    let refused = top(&front, "login", Who::Tenant).await;
    let problem = refused.problem(400, "invalid-request");
    assert_eq!(problem["field"], "limit");
    assert_eq!(problem["accepted"], "a limit with top_keys = true");
    make(&front, "login", Some(true)).await;
    hit(&front, "login", "ada", 1).await;
    let told = top(&front, "login", Who::Tenant).await.json();
    assert_eq!(told["keys"], json!([row("ada", 0, 1, 0)]), "from then on");
    let listed = send(&front, "GET", "/v1/limits", None, Who::Tenant).await;
    let listed = listed.json();
    let mut listed = listed["limits"].as_array().unwrap().iter();
    let login = listed.find(|limit| limit["name"] == "login").unwrap();
    assert_eq!(login["top_keys"], true);
    make(&front, "login", Some(false)).await;
    top(&front, "login", Who::Tenant)
        .await
        .problem(400, "invalid-request");
    top(&front, "none", Who::Tenant)
        .await
        .problem(404, "unknown-limit");
    let none = send(&front, "GET", "/v1/top", None, Who::Tenant).await;
    let problem = none.problem(400, "invalid-request");
    assert_eq!(problem["field"], "limit");
}

#[tokio::test]
async fn who_may_see_usage_sees_who_is_denied() {
    let front = service_with_people(free(), Who::Owner).await;
    make(&front, "login", Some(true)).await;
    for who in [Who::Tenant, Who::Owner, Who::Operator] {
        assert_eq!(top(&front, "login", who).await.status, 200, "{who:?}");
    }
    let front = service(free(), Who::Checker).await;
    let refused = top(&front, "login", Who::Checker).await;
    assert_eq!(refused.problem(403, "forbidden")["scope"], "usage.read");
    top(&front, "login", Who::Nobody)
        .await
        .problem(401, "unauthorized");
    let mut nowhere = signed(request("GET", "/v1/top?limit=login", &[]), Who::Operator);
    nowhere.headers_mut().remove("weir-tenant");
    front.send(nowhere).await.problem(400, "invalid-request");
}

/// Nobody would be told of them.
#[tokio::test]
async fn a_limit_that_is_no_tenants_tells_no_keys() {
    let front = front();
    let limit = |top_keys: bool| {
        json!({ "algorithm": "gcra", "limit": 1, "per": "1m", "top_keys": top_keys }).to_string()
    };
    let put = async |body: String| {
        let json = [("content-type", "application/json")];
        let mut asked = request("PUT", "/v1/limits/fresh", &json);
        *asked.body_mut() = body.into();
        front.send(asked).await
    };
    let problem = put(limit(true)).await.problem(400, "invalid-request");
    assert_eq!(
        (&problem["field"], &problem["given"]),
        (&json!("top_keys"), &json!(true))
    );
    let made = put(limit(false)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.json()["top_keys"], Value::Null, "not a question there");
    front
        .get("/v1/top?limit=fresh")
        .await
        .problem(404, "not-found");
}
