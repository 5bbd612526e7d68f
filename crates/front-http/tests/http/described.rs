//! The API is what its description says, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::{config, front, front_with};

async fn description() -> Value {
    front().get("/openapi.json").await.json()
}

fn operations(api: &Value) -> BTreeSet<(String, String)> {
    let paths = api["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        methods
            .as_object()
            .unwrap()
            .keys()
            .map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[tokio::test]
async fn everything_described_is_served() {
    for (method, path) in operations(&description().await) {
        let path = path
            .replace("{limit}", "login")
            .replace("{key}", "k")
            .replace("{name}", "login");
        let path = path.replace("/odd/:path", "/odd/:{path}");
        let reply = front().method(&method, &path).await;
        let kind = serde_json::from_str::<Value>(&reply.body).unwrap_or_default()["type"].clone();
        let detail =
            serde_json::from_str::<Value>(&reply.body).unwrap_or_default()["detail"].clone();
        assert!(kind != "/problems/method-not-allowed", "{method} {path}");
        assert!(
            detail != "nothing is served at this path",
            "{method} {path}"
        );
    }
}

/// That no whole path is left out is tested beside the router, which has the list.
#[tokio::test]
async fn every_method_of_a_described_path_is_described() {
    let described = operations(&description().await);
    for (_, template) in &described {
        let path = template
            .replace("{limit}", "login")
            .replace("{key}", "k")
            .replace("{name}", "login");
        let reply = front().method("BREW", &path).await;
        if reply.status != 405 {
            continue;
        }
        for method in reply
            .header("allow")
            .split(',')
            .filter(|method| *method != "HEAD")
        {
            assert!(
                described.contains(&(method.into(), template.clone())),
                "{method} {template}"
            );
        }
    }
}

/// 431 stood nowhere, and 503 where only a decision may fail.
#[tokio::test]
async fn what_every_request_may_be_answered_stands_with_every_operation() {
    let api = description().await;
    let paths = api["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            for status in ["400", "431", "503"] {
                let response = &operation["responses"][status];
                assert!(response.is_object(), "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn references_lead_somewhere() {
    fn check(api: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref") {
                    let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
                    assert!(api.pointer(pointer).is_some(), "{pointer}");
                }
                members.values().for_each(|value| check(api, value));
            }
            Value::Array(items) => items.iter().for_each(|value| check(api, value)),
            _ => {}
        }
    }
    let api = description().await;
    assert_eq!(api["openapi"], "3.1.0");
    check(&api, &api);
}

#[tokio::test]
async fn routes_of_the_file_are_described() {
    let api = description().await;
    for route in config().routes {
        let get = &api["paths"][&route.path]["get"];
        assert!(get["responses"]["200"].is_object(), "{}", route.path);
    }
    let without = front_with(front_http::HttpConfig {
        routes: vec![],
        ..config()
    });
    assert!(without.get("/openapi.json").await.json()["paths"]["/user_home"].is_null());
}

#[tokio::test]
async fn the_page_shows_every_operation_and_needs_no_network() {
    let page = front().get("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"));
    for (_, path) in operations(&description().await) {
        assert!(page.body.contains(&path), "{path}");
    }
    for foreign in ["http://", "https://", "<script", "@import", "src="] {
        assert!(!page.body.contains(foreign), "{foreign}");
    }
}
