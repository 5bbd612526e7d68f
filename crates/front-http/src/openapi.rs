//! `/openapi.json`: the API described. Kept by hand; tests hold it against what is served.

use limiter::Identity;
use serde_json::{Map, Value, json};

use crate::caller::Needs;
use crate::config::{HttpConfig, RouteAnswer};

/// What is the same for every configuration.
const API: &str = include_str!("openapi.json");

/// What a service for many has beside it, or otherwise: to be merged with it.
const SERVICE: &str = include_str!("openapi_service.json");

/// Method and path of an operation, and what whoever asks must bring where the node is a service for many.
pub(crate) type Wanted = (&'static str, String, Needs);

/// The API and the routes of the file, described.
pub(crate) fn describe(config: &HttpConfig, wanted: impl Iterator<Item = Wanted>) -> Value {
    let mut description: Value = serde_json::from_str(API).expect("a test reads it");
    if config.access.service().is_some() {
        let service: Value = serde_json::from_str(SERVICE).expect("a test reads it");
        merge(&mut description, service);
        let headers = description["components"]["headers"].clone();
        for (method, path, needs) in wanted {
            let methods = description["paths"].get_mut(&path);
            if let Some(operation) = methods.and_then(|methods| methods.get_mut(method)) {
                want(operation, needs, &headers);
            }
        }
    }
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

/// Takes what `more` says into `value`: objects member by member, lists behind those that stand there, and the rest in their
/// place.
fn merge(value: &mut Value, more: Value) {
    match (value, more) {
        (Value::Object(members), Value::Object(more)) => {
            for (name, more) in more {
                merge(members.entry(name).or_insert(Value::Null), more);
            }
        }
        (Value::Array(items), Value::Array(more)) => items.extend(more),
        (value, more) => *value = more,
    }
}

/// Says of an operation what whoever asks must bring, and what comes of it if he does not.
fn want(operation: &mut Value, needs: Needs, headers: &Value) {
    let token = |role: Option<&'static str>| json!({ "token": role.as_slice() });
    let session = |role: Option<&'static str>| json!({ "session": role.as_slice() });
    let (security, told) = match needs {
        Needs::Nothing => return,
        Needs::SessionIfAny => (vec![json!({}), session(None)], "Needs nothing.".to_owned()),
        Needs::Credential => (
            vec![token(None), session(None)],
            "Needs any credential.".to_owned(),
        ),
        Needs::Scope(scope) => {
            let name = scope.name();
            let told = format!("Needs the scope `{name}`, or a session with a role that has it.");
            (vec![token(Some(name)), session(None)], told)
        }
        Needs::Act(act) => {
            let role = act.least_role().name();
            let told =
                format!("Needs a session with the role `{role}` or one above, or an operator.");
            (vec![session(Some(role)), token(Some("operator"))], told)
        }
        Needs::Session | Needs::SessionInConflict => {
            (vec![session(None)], "Needs a session.".to_owned())
        }
        Needs::Operator => (
            vec![token(Some("operator")), session(Some("operator"))],
            "Needs an operator.".to_owned(),
        ),
    };
    operation["security"] = security.into();
    operation["description"] = match operation["description"].as_str() {
        Some(description) => format!("{description} {told}").into(),
        None => told.into(),
    };
    let mut responses = match needs {
        // It is 403 for a request that nobody meant to send.
        Needs::SessionIfAny => vec![("403", "Forbidden")],
        _ => vec![("401", "Unauthorized"), ("403", "Forbidden")],
    };
    if needs.is_in_tenant() {
        if operation["parameters"].is_null() {
            operation["parameters"] = json!([]);
        }
        let parameters = operation["parameters"].as_array();
        let is_told = |parameter: &Value| parameter["name"] == "Weir-Tenant";
        if !parameters.is_some_and(|all| all.iter().any(is_told)) {
            merge(&mut operation["parameters"], json!([within()]));
        }
        responses.push(("404", "NotFound"));
    }
    if !needs.is_of_account() {
        match &operation["responses"]["429"]["headers"] {
            Value::Null => responses.push(("429", "TenantRate")),
            _ => denied(&mut operation["responses"]["429"], headers),
        }
    }
    if !matches!(needs, Needs::SessionIfAny | Needs::SessionInConflict) {
        // A session may be of somebody who is to choose another address first.
        let response = &mut operation["responses"]["409"];
        if response.is_null() {
            *response = json!({ "$ref": "#/components/responses/EmailConflict" });
        }
    }
    for (status, name) in responses {
        let response = &mut operation["responses"][status];
        if response.is_null() {
            *response = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    }
}

/// The tenant in which an operator acts, and who has logged in.
fn within() -> Value {
    json!({
        "name": "Weir-Tenant",
        "in": "header",
        "required": false,
        "description": "The id of the tenant in which to act: of operators, and of sessions whose user has several seats. 404 if there is none.",
        "schema": { "type": "string", "pattern": "^tn_[0-9a-hjkmnp-tv-z]{16}$" },
    })
}

/// What denies by a limit may deny by the plan as well, with headers of its own.
fn denied(response: &mut Value, headers: &Value) {
    let by_plan = "Or, as a problem, not counted either: `/problems/quota-exceeded`, the plan's requests of this day are used \
                   up, or `/problems/tenant-rate`, more requests a second came from the tenant to this node than its plan lets.";
    let description = response["description"].as_str().unwrap_or_default();
    response["description"] = format!("{description} {by_plan}").into();
    response["content"]["application/problem+json"] =
        json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    let told = response["headers"].as_object_mut();
    for (name, header) in told.into_iter().flatten() {
        // The ceiling of a tenant says when to come again, and has no count to tell.
        if name != "Retry-After" {
            *header = headers[name].clone();
            header["required"] = false.into();
        }
    }
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
