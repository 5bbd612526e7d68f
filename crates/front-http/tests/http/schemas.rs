//! What the description says of bodies is what is taken, and what is answered.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::client::{Front, Reply, front, request};
use crate::service::{Who, free, key_limit, service, service_with_people, signed};

async fn description() -> Value {
    front().get("/openapi.json").await.json()
}

fn resolve<'a>(api: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"].as_str();
    let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(value, |pointer| api.pointer(pointer).unwrap())
}

/// A request as the examples of an operation have it.
fn example(method: &str, path: &str, operation: &Value) -> Request<Body> {
    let (mut path, mut query) = (path.replace("/odd/:path", "/odd/:{path}"), String::new());
    let mut headers: Vec<(&str, String)> = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let values = match &parameter["example"] {
            Value::Null => vec![],
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        assert!(
            !values.is_empty() || parameter["required"] != true,
            "{path} {name}"
        );
        for value in &values {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            match parameter["in"].as_str().unwrap() {
                "path" => path = path.replace(&format!("{{{name}}}"), &value),
                "header" => headers.push((name, value)),
                _ => query += &format!("&{name}={value}"),
            }
        }
    }
    let target = format!("{path}?{query}");
    let content = &operation["requestBody"]["content"]["application/json"];
    let body = match content.is_null() {
        true => Body::empty(),
        false => {
            headers.push(("content-type", "application/json".to_owned()));
            let example = &content["example"];
            assert!(example.is_object(), "{target} has no example");
            Body::from(example.to_string())
        }
    };
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let mut asked = request(&method.to_uppercase(), &target, &headers);
    *asked.body_mut() = body;
    asked
}

/// Objects have the members that are described, and no others.
fn close(schema: &mut Value) {
    if let Some(members) = schema.as_object_mut() {
        if members.contains_key("properties") {
            members.insert("additionalProperties".into(), false.into());
        }
        members.values_mut().for_each(close);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(close);
    }
}

/// Holds an answer against what is described for its status.
#[track_caller]
fn check(api: &Value, operation: &Value, reply: &Reply) {
    let told = format!(
        "{} {}: {}",
        operation["operationId"], reply.status, reply.body
    );
    let described = &operation["responses"][reply.status.as_str()];
    assert!(!described.is_null(), "{told}");
    let described = resolve(api, described);
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let may_be_absent = header["required"] == false;
        assert!(
            may_be_absent || !reply.header(name).is_empty(),
            "{name}: {told}"
        );
    }
    let content = described["content"].as_object();
    // A proxy's question has an answer without a body when a limit denies, and a problem when a plan does.
    let may_be_empty = operation["operationId"] == "auth" && reply.status.as_u16() == 429;
    if content.is_none() || (may_be_empty && reply.body.is_empty()) {
        assert_eq!(reply.body, "", "{told}");
        return;
    }
    let mut kinds = content.into_iter().flatten();
    let is_told = |kind: &str| reply.header("content-type").split(';').next() == Some(kind);
    let Some((kind, content)) = kinds.find(|(kind, _)| is_told(kind)) else {
        panic!("{}: {told}", reply.header("content-type"));
    };
    if content["schema"].is_null() {
        return;
    }
    let mut schema = content["schema"].clone();
    schema["components"] = api["components"].clone();
    close(&mut schema);
    let schema = jsonschema::validator_for(&schema).unwrap();
    let answered = match kind.ends_with("json") {
        true => reply.json(),
        false => json!(reply.body),
    };
    if let Err(error) = schema.validate(&answered) {
        panic!("{error}: {told}");
    }
}

#[tokio::test]
async fn every_example_can_be_sent_and_is_answered_as_described() {
    let api = description().await;
    let mut answered = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let front = front();
            let of_one_key = ["checkKey", "getKeyLimit", "removeKeyLimit"];
            if of_one_key.iter().any(|id| operation["operationId"] == *id) {
                let limit = r#"{"key":"ada","limit":1,"interval":"1m","algorithm":"gcra"}"#;
                front.post("/api/limits", limit).await;
            }
            // Once more than any limit admits, so that denials are seen, too.
            for _ in 0..12 {
                let reply = front.send(example(method, path, operation)).await;
                if operation["tags"] != json!(["routes"]) {
                    assert_ne!(reply.status.as_u16(), 400, "{path}: {}", reply.body);
                    check(&api, operation, &reply);
                    answered += 1;
                }
            }
        }
    }
    assert!(200 < answered);
}

/// The statuses that the examples were answered, each held against what is described for it: each sent once more than any
/// limit admits, to a front of its own.
async fn answered(plan: &accounts::Plan, who: Who) -> BTreeMap<u16, usize> {
    let api = service(plan.clone(), who).await;
    let api = api.get("/openapi.json").await.json();
    let mut seen = BTreeMap::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let is_of_account = operation["tags"] == json!(["account"]);
            let is_of_session = is_of_account || operation["operationId"] == "acceptInvite";
            // Who brings a token is answered as who brings nothing, where it is about an account.
            let brings_token = ![Who::Nobody, Who::Owner].contains(&who);
            // A stream does not end by itself.
            let is_stream = operation["operationId"] == "live";
            let is_route = operation["tags"] == json!(["routes"]);
            if is_route || is_stream || (brings_token && is_of_session) {
                continue;
            }
            // Five attempts may fail, and each takes its time.
            let times = if is_of_account { 6 } else { 12 };
            let front = service_with_people(plan.clone(), who).await;
            front.send(key_limit(Who::Tenant)).await;
            for _ in 0..times {
                let asked = example(method, path, operation);
                let reply = front.send(signed(asked, who)).await;
                assert_ne!(reply.status.as_u16(), 400, "{path}: {}", reply.body);
                check(&api, operation, &reply);
                *seen.entry(reply.status.as_u16()).or_default() += 1;
            }
        }
    }
    seen
}

#[tokio::test]
async fn every_example_is_answered_as_described_whoever_asks() {
    let statuses = async |plan: &accounts::Plan, who| answered(plan, who).await;
    let seen = statuses(&free(), Who::Operator).await;
    for status in [200, 201, 204, 404, 409, 429] {
        assert!(seen.contains_key(&status), "{status}: {seen:?}");
    }
    assert!(
        !seen.contains_key(&401) && !seen.contains_key(&403),
        "{seen:?}"
    );
    let seen = statuses(&free(), Who::Tenant).await;
    assert!(
        seen.contains_key(&403) && seen.contains_key(&409),
        "{seen:?}"
    );
    let seen = statuses(&free(), Who::Owner).await;
    for status in [200, 201, 204, 401, 403, 404, 409, 410, 429] {
        assert!(seen.contains_key(&status), "{status}: {seen:?}");
    }
    let seen = statuses(&free(), Who::Checker).await;
    assert!(200 < seen[&403], "{seen:?}");
    let seen = statuses(&free(), Who::Nobody).await;
    assert!(300 < seen[&401] && !seen.contains_key(&403), "{seen:?}");
}

/// The day of a plan, and its ceiling, refuse as a problem what a limit would deny by a decision.
#[tokio::test]
async fn what_a_plan_refuses_is_described() {
    let day = accounts::Plan {
        requests_per_day: Some(5),
        ..free()
    };
    let second = accounts::Plan {
        per_second: 1,
        ..free()
    };
    for (plan, kind, operations) in [(day, "quota-exceeded", 5), (second, "tenant-rate", 20)] {
        let api = service(plan.clone(), Who::Tenant).await;
        let api = api.get("/openapi.json").await.json();
        let mut refused = Vec::new();
        for (path, methods) in api["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                if operation["tags"] == json!(["account"]) || operation["operationId"] == "live" {
                    continue;
                }
                let front = service(plan.clone(), Who::Tenant).await;
                front.send(key_limit(Who::Tenant)).await;
                let mut is_refused = false;
                for _ in 0..12 {
                    let asked = example(method, path, operation);
                    let reply = front.send(signed(asked, Who::Tenant)).await;
                    if reply.body.contains(&format!("/problems/{kind}\"")) {
                        check(&api, operation, &reply);
                        is_refused = reply.status.as_u16() == 429;
                    }
                }
                refused.extend(is_refused.then_some(path.as_str()));
            }
        }
        assert!(operations <= refused.len(), "{kind}: {refused:?}");
    }
}

/// What stands at `pointer` of `body` replaced, or taken away.
fn with(body: &Value, pointer: &[&str], value: Option<Value>) -> String {
    let mut body = body.clone();
    let (last, parents) = pointer.split_last().unwrap();
    let mut place = &mut body;
    for parent in parents {
        place = &mut place[*parent];
    }
    match value {
        Some(value) => place[*last] = value,
        None => drop(place.as_object_mut().unwrap().remove(*last)),
    }
    body.to_string()
}

/// Holds what the front takes of a body against its schema. `within`: where in `body` the schema is.
async fn check_taken(
    (front, who): (&Front, Who),
    (method, path): (&str, &str),
    body: &Value,
    within: &[&str],
    schema: &Value,
) {
    let send = async |body: String| {
        let mut asked = request(method, path, &[("content-type", "application/json")]);
        *asked.body_mut() = Body::from(body);
        front.send(signed(asked, who)).await
    };
    let required: Vec<_> = schema["required"].as_array().unwrap().iter().collect();
    let refused = async |pointer: &[&str], value: Option<Value>| {
        let body = with(body, pointer, value);
        let reply = send(body.clone()).await;
        let status = reply.status.as_u16();
        assert!(
            matches!(status, 400 | 404),
            "{path} {body}: {status} {}",
            reply.body
        );
    };
    let taken = async |pointer: &[&str], value: Value| {
        let body = with(body, pointer, Some(value));
        let reply = send(body.clone()).await;
        assert_ne!(reply.status.as_u16(), 400, "{path} {body}: {}", reply.body);
    };
    let unknown: Vec<_> = within.iter().copied().chain(["unknown"]).collect();
    assert_eq!(schema["additionalProperties"], false, "{path}");
    refused(&unknown, Some(json!(1))).await;
    for (name, property) in schema["properties"].as_object().unwrap() {
        let pointer: Vec<_> = within.iter().copied().chain([&**name]).collect();
        let wrong = match property["type"] == "array" {
            true => json!(1),
            false => json!([]),
        };
        refused(&pointer, Some(wrong)).await;
        if required.contains(&&json!(name)) {
            refused(&pointer, None).await;
        }
        if let Some(least) = property["minimum"].as_i64() {
            refused(&pointer, Some(json!(least - 1))).await;
            taken(&pointer, json!(least)).await;
        }
        if let Some(most) = property["maximum"].as_i64() {
            refused(&pointer, Some(json!(most + 1))).await;
        }
        if let Some(most) = property["maxLength"].as_u64() {
            refused(&pointer, Some(json!(""))).await;
            refused(&pointer, Some(json!("k".repeat(most as usize + 1)))).await;
            taken(&pointer, json!("k".repeat(most as usize))).await;
        }
        if !property["pattern"].is_null() {
            refused(&pointer, Some(json!("?"))).await;
        }
        if let Some(values) = property["enum"].as_array() {
            refused(&pointer, Some(json!("?"))).await;
            for value in values {
                let reply = send(with(body, &pointer, Some(value.clone()))).await;
                let problem = serde_json::from_str::<Value>(&reply.body).unwrap();
                // It may not go with the rest, but it is known.
                let accepted = problem["accepted"].as_str().unwrap_or_default();
                let blamed = problem["field"] == pointer.join(".");
                assert!(
                    !blamed || !accepted.contains(value.as_str().unwrap()),
                    "{value}: {problem}"
                );
            }
        }
    }
}

/// Who may do this of what a service for many serves.
fn asker(path: &str, operation: &Value) -> Who {
    match operation["tags"][0].as_str() {
        Some("account" | "team") => Who::Owner,
        _ if path == "/v1/tenant" => Who::Owner,
        _ => Who::Operator,
    }
}

/// Holds the bodies of all operations to their schemas, and says how many there are.
async fn check_bodies(front: &Front, who: Option<Who>) -> usize {
    let api = front.get("/openapi.json").await.json();
    let mut seen = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let content = &operation["requestBody"]["content"]["application/json"];
            if !content.is_null() {
                let schema = resolve(&api, &content["schema"]);
                let id = match path.split('/').nth(2) {
                    Some("api-keys") => "key_3fK9mQ2bXw7L",
                    Some("team") => "us_0123456789abcdef",
                    _ => "tn_0123456789abcdef",
                };
                let who = who.unwrap_or_else(|| asker(path, operation));
                let path = path.replace("{name}", "trial").replace("{id}", id);
                let path = path.replace("{token}", &"0".repeat(48));
                let asked = (&*method.to_uppercase(), &*path);
                check_taken((front, who), asked, &content["example"], &[], schema).await;
                seen += 1;
            }
        }
    }
    seen
}

#[tokio::test]
async fn bodies_of_a_service_for_many_are_held_to_what_is_described() {
    let front = service_with_people(free(), Who::Operator).await;
    assert_eq!(check_bodies(&front, None).await, 35);
}

#[tokio::test]
async fn bodies_are_held_to_what_is_described() {
    let (api, front) = (description().await, front());
    let schemas = &api["components"]["schemas"];
    assert_eq!(check_bodies(&front, Some(Who::Nobody)).await, 6);
    let rule = json!({"key": "ada", "rule": {"algorithm": "gcra", "limit": 5, "per": "1m"}});
    check_taken(
        (&front, Who::Nobody),
        ("POST", "/v1/check"),
        &rule,
        &["rule"],
        &schemas["Rule"],
    )
    .await;
    // One of both.
    for body in [
        json!({"key": "ada"}),
        json!({"key": "ada", "limit": "login", "rule": rule["rule"]}),
    ] {
        let reply = front.post("/v1/check", body.to_string()).await;
        reply.problem(400, "invalid-request");
    }
    assert_eq!(schemas["Check"]["oneOf"].as_array().unwrap().len(), 2);
}
