//! `/openapi.json`: the API described. Kept by hand; tests hold it against what is served.

use limiter::Identity;
use serde_json::{Map, Value, json};

use crate::config::{HttpConfig, RouteAnswer};

/// What is the same for every configuration.
const API: &str = include_str!("openapi.json");

/// The API and the routes of the file, described.
pub(crate) fn describe(config: &HttpConfig) -> Value {
    let mut description: Value = serde_json::from_str(API).expect("a test reads it");
    description["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    let paths = description["paths"]
        .as_object_mut()
        .expect("a test reads it");
    let schemas = routes(config);
    paths.extend(schemas);
    let operations = paths
        .values_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(|path| path.values_mut());
    for operation in operations {
        let responses = operation.get_mut("responses");
        let Some(responses) = responses.and_then(Value::as_object_mut) else {
            continue;
        };
        for (status, response) in ALWAYS {
            let response = format!("#/components/responses/{response}");
            responses
                .entry(status)
                .or_insert_with(|| json!({ "$ref": response }));
        }
    }
    description
}

/// What any request may be answered, whatever it asks for: its head makes no sense or is too large, or the node has no
/// room for the answer.
const ALWAYS: [(&str, &str); 3] = [
    ("400", "InvalidRequest"),
    ("431", "HeadTooLarge"),
    ("503", "Overloaded"),
];

fn routes(config: &HttpConfig) -> Map<String, Value> {
    let routes = config.routes.iter().map(|route| {
        let counts = match route.answer {
            RouteAnswer::Peek => "Tells what is left of",
            _ => "Counts on",
        };
        let content = match route.answer {
            RouteAnswer::Page | RouteAnswer::Greeting => "text/html",
            RouteAnswer::Json | RouteAnswer::Peek => "application/json",
        };
        let headers: Map<String, Value> = [
            "RateLimit-Policy",
            "RateLimit",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
        ]
        .map(|name| {
            (
                name.to_owned(),
                json!({ "$ref": format!("#/components/headers/{name}") }),
            )
        })
        .into_iter()
        .collect();
        let mut responses = json!({
            "200": {
                "description": "Let through.",
                "headers": headers,
                "content": { content: {} },
            },
            "400": { "$ref": "#/components/responses/InvalidRequest" },
            "503": { "$ref": "#/components/responses/NoDecision" },
        });
        if route.answer != RouteAnswer::Peek {
            responses["429"] =
                json!({ "description": "Denied, and not counted.", "headers": headers });
        }
        let always = [Identity::Browser, Identity::Peer];
        if !route
            .identify
            .iter()
            .any(|identity| always.contains(identity))
        {
            responses["401"] =
                json!({ "description": "The request does not tell who is to be counted." });
        }
        let operation = json!({
            "tags": ["routes"],
            "summary": format!("{counts} the limit {}", route.policy.name),
            "responses": responses,
        });
        (route.path.clone(), json!({ "get": operation }))
    });
    routes.collect()
}
