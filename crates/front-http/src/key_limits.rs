//! Limits of single keys: `POST /api/limits` and `GET /api/check`.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use quota::{Cost, UnknownAlgorithm};
use serde::Deserialize;
use serde_json::json;

use crate::app::Shared;
use crate::body::{BODY_MAX, read_json};
use crate::decided;
use crate::explain::{Field, Kind, Shape, explain};
use crate::headers::RateHeaders;
use crate::key;
use crate::node::{Node, Readiness};
use crate::problem::{self, Problem};
use crate::query;
use crate::rule::{BURST_ACCEPTED, LIMIT_ACCEPTED, Places, Rule};
use crate::span;

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
            accepted: LIMIT_ACCEPTED,
        },
        Field {
            name: "interval",
            required: true,
            kind: Kind::Text,
            accepted: span::ACCEPTED,
        },
        Field {
            name: "algorithm",
            required: true,
            kind: Kind::Text,
            accepted: UnknownAlgorithm::ACCEPTED,
        },
        Field {
            name: "burst",
            required: false,
            kind: Kind::Count,
            accepted: BURST_ACCEPTED,
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
    key::check(&key, "key")?;
    let rule = Rule {
        algorithm,
        limit,
        per: interval,
        burst,
        anchor: None,
    };
    let limit = rule.limit(&PLACES)?;
    app.node.put_key_limit(&key, limit).await?;

    let mut stored = json!({
        "key": key,
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
    let policy = app.node.key_limit(&key).ok_or_else(|| {
        if app.node.readiness() == Readiness::Joining {
            // It may have one, which the others will tell.
            return Problem::joining();
        }
        Problem::new(
            problem::Kind::NotFound,
            "no limit has been set for this key",
        )
        .at("key")
        .given(&*key)
        .accepted("a key that POST /api/limits was given")
    })?;
    let answer = app.node.hit(&policy, &key, Cost::ONE).await?;
    decided::respond(
        &policy,
        &RateHeaders::new("key", &policy.limit),
        Cost::ONE,
        &answer,
    )
}

/// A key that the query must have.
pub(crate) fn key_parameter<'u>(
    uri: &'u Uri,
    name: &'static str,
) -> Result<std::borrow::Cow<'u, str>, Problem> {
    let key = query::parameter(uri.query().unwrap_or_default(), name)?
        .ok_or_else(|| Problem::missing(name, "1 to 1024 bytes of text"))?;
    key::check(&key, name)?;
    Ok(key)
}
