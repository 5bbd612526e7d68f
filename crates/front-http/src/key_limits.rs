//! Limits of single keys: `POST /api/limits` and `GET /api/check`.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use limiter::{Key, Node, Places, Refusal, RuleText, accepted, parameter, span};
use quota::Cost;
use serde::Deserialize;
use serde_json::json;

use crate::app::Shared;
use crate::body::{BODY_MAX, read_json};
use crate::decided;
use crate::explain::{Field, Kind, Shape, explain};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLimit {
    key: String,
    limit: u32,
    interval: String,
    algorithm: String,
    #[serde(default)]
    burst: Option<u32>,
}

const KEY_LIMIT: Shape = Shape {
    fields: &[
        Field {
            name: "key",
            required: true,
            kind: Kind::Text,
            accepted: "1 to 1024 bytes of text",
        },
        Field {
            name: "limit",
            required: true,
            kind: Kind::Count,
            accepted: accepted::LIMIT,
        },
        Field {
            name: "interval",
            required: true,
            kind: Kind::Text,
            accepted: accepted::PER,
        },
        Field {
            name: "algorithm",
            required: true,
            kind: Kind::Text,
            accepted: accepted::ALGORITHM,
        },
        Field {
            name: "burst",
            required: false,
            kind: Kind::Count,
            accepted: accepted::BURST,
        },
    ],
};

const PLACES: Places = Places {
    algorithm: "algorithm",
    limit: "limit",
    per: "interval",
    burst: "burst",
    anchor: "anchor",
};

/// `POST /api/limits`
pub(crate) async fn put<N: Node>(
    State(app): Shared<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_json(&app.bodies, &parts.headers, body, BODY_MAX).await?;
    let KeyLimit {
        key,
        limit,
        interval,
        algorithm,
        burst,
    } = serde_json::from_slice(&body).map_err(|error| explain(&body, &KEY_LIMIT, &error))?;
    let key = Key::new(key, "key")?;
    let rule = RuleText {
        algorithm: &algorithm,
        limit,
        per: &interval,
        burst,
        anchor: None,
    };
    let limit = rule.limit(&PLACES)?;
    app.limiter.put_key_limit(&key, limit).await?;

    let mut stored = json!({
        "key": key.as_str(),
        "limit": limit.units(),
        "interval": span::format(limit.period()),
        // As it was given: `token_bucket` and `gcra` are the same, but only one is what this client calls it.
        "algorithm": rule.algorithm,
    });
    if limit.burst() != limit.units() {
        stored["burst"] = limit.burst().into();
    }
    let mut response = Response::new(Body::from(stored.to_string()));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(CONTENT_TYPE, decided::JSON);
    Ok(response)
}

/// `GET /api/check`
pub(crate) async fn check<N: Node>(State(app): Shared<N>, uri: Uri) -> Result<Response, Problem> {
    let key = key_parameter(&uri, "key")?;
    let selected = app.limiter.key_limit(&key)?;
    let answer = app.limiter.hit(&selected, &key, Cost::ONE).await?;
    decided::respond(&selected, Cost::ONE, &answer)
}

/// A key that the query must have.
pub(crate) fn key_parameter<'u>(uri: &'u Uri, name: &'static str) -> Result<Key<'u>, Refusal> {
    let key = parameter(uri.query().unwrap_or_default(), name)?
        .ok_or_else(|| Refusal::missing(name, "1 to 1024 bytes of text"))?;
    Key::new(key, name)
}
