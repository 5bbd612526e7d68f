//! The API is what its description says, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::{Front, config, front, front_with};
use crate::service::{Who, free, service};

async fn description() -> Value {
    front().get("/openapi.json").await.json()
}

/// One without tenants, and one with.
async fn fronts() -> [Front; 2] {
    [front(), service(free(), Who::Tenant).await]
}

async fn description_of(front: &Front) -> Value {
    front.get("/openapi.json").await.json()
}

/// The path of an operation, of things that there are.
fn filled(template: &str) -> String {
    template
        .replace("{limit}", "login")
        .replace("{key}", "k")
        .replace("{name}", "login")
        .replace("{id}", "tn_0123456789abcdef")
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
    for front in fronts().await {
        check_that_everything_is_served(&front).await;
    }
}

async fn check_that_everything_is_served(front: &Front) {
    for (method, path) in operations(&description_of(front).await) {
        let path = filled(&path).replace("/odd/:path", "/odd/:{path}");
        let reply = front.method(&method, &path).await;
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
    for front in fronts().await {
        check_methods(&front).await;
    }
}

async fn check_methods(front: &Front) {
    let described = operations(&description_of(front).await);
    for (_, template) in &described {
        let reply = front.method("BREW", &filled(template)).await;
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
    for front in fronts().await {
        let api = description_of(&front).await;
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
    for front in fronts().await {
        let api = description_of(&front).await;
        assert_eq!(api["openapi"], "3.1.0");
        check(&api, &api);
    }
}

/// What there is only with tenants is nowhere without.
#[tokio::test]
async fn only_a_service_for_many_is_described_as_one() {
    let [plain, service] = fronts().await;
    let (plain, service) = (description_of(&plain).await, description_of(&service).await);
    assert!(service["paths"]["/v1/tenants"].is_object());
    for told in ["tenant", "Tenant", "API key", "scope", "quota-exceeded"] {
        assert!(service.to_string().contains(told), "{told}");
        assert!(!plain.to_string().contains(told), "{told}");
    }
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
    for front in fronts().await {
        check_page(&front).await;
    }
}

async fn check_page(front: &Front) {
    let page = front.get("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"));
    let api = description_of(front).await;
    for (method, path) in operations(&api) {
        assert!(page.body.contains(&path), "{path}");
        let form = format!(r#"data-method="{method}" data-path="{path}""#);
        assert!(page.body.contains(&form), "{form}");
    }
    let example = &api["paths"]["/v1/check"]["post"]["requestBody"]["content"]["application/json"];
    let command = format!(
        "curl -i -H &#39;Content-Type: application/json&#39; -d &#39;{}&#39; &#39;127.0.0.1:4000/v1/check&#39;",
        example["example"].to_string().replace('"', "&quot;")
    );
    assert!(page.body.contains(&command), "{command}");
    for foreign in ["http://", "https://", "<link", "@import", "src=", "url("] {
        assert!(!page.body.contains(foreign), "{foreign}");
    }
}

/// A header is written where a header belongs.
#[tokio::test]
async fn the_page_has_a_place_for_the_tenant_in_which_an_operator_acts() {
    let page = service(free(), Who::Tenant).await.get("/docs").await.body;
    assert!(page.contains(r#"<input name="Weir-Tenant" data-in="header""#));
    let command = "curl -i -X PATCH -H &#39;Weir-Tenant: tn_0123456789abcdef&#39;";
    assert!(page.contains(command));
}

#[tokio::test]
async fn the_page_may_run_its_own_script_and_ask_its_own_node_alone() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let page = front().get("/docs").await;
    let scripts: Vec<_> = page.body.split("<script>").skip(1).collect();
    assert_eq!(scripts.len(), 1);
    let (script, _) = scripts[0].split_once("</script>").unwrap();
    let digest = sha2::Sha256::digest(script);
    let digest = base64::prelude::BASE64_STANDARD.encode(digest);
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        &format!("script-src 'sha256-{digest}'"),
        "connect-src 'self'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
}

#[tokio::test]
async fn every_problem_leads_to_a_page_that_says_what_it_means() {
    let front = front();
    let mut names: BTreeSet<String> = limiter::Kind::ALL
        .into_iter()
        .map(|kind| kind.name().to_owned())
        .collect();
    names.extend(["method-not-allowed", "unsupported-media-type"].map(Into::into));
    for name in names {
        let page = front.get(&format!("/problems/{name}")).await;
        assert_eq!(page.status.as_u16(), 200, "{name}");
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.body.contains(&format!("/problems/{name}</code>")));
    }
    // Two statuses have this name.
    let page = front.get("/problems/too-large").await;
    assert!(page.body.contains("413 Payload Too Large"), "{}", page.body);
    assert!(page.body.contains("431 Request Header Fields Too Large"));
    let reply = front.get("/problems/%3Cscript%3E").await;
    reply.problem(404, "not-found");
}
