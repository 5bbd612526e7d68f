//! Limits of single keys: `/api/limits` and `GET /api/check`.

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use catalogue::KeyLimit;
use limiter::{Key, Node, Places, Refusal, RuleText, accepted, parameter, span};
use quota::Cost;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Shared;
use crate::body::{BODY_MAX, read_json};
use crate::changed;
use crate::decided;
use crate::explain::{Field, Kind, Shape, explain};
use crate::memory::ANSWER_BYTES;
use crate::page::Page;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    key: String,
    limit: u32,
    interval: String,
    algorithm: String,
    #[serde(default)]
    burst: Option<u32>,
}

const GIVEN: Shape = Shape {
    fields: &[
        Field {
            name: "key",
            required: true,
            kind: Kind::Text,
            accepted: KEY_ACCEPTED,
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

const KEY_ACCEPTED: &str = "1 to 1024 bytes of text";

const PLACES: Places = Places {
    algorithm: "algorithm",
    limit: "limit",
    per: "interval",
    burst: "burst",
    anchor: "anchor",
    zone: "zone",
};

/// `POST /api/limits`
pub(crate) async fn put<N: Node>(
    State(app): Shared<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_json(&app.bodies, &parts.headers, body, BODY_MAX).await?;
    let Given {
        key,
        limit,
        interval,
        algorithm,
        burst,
    } = serde_json::from_slice(&body).map_err(|error| explain(&body, &GIVEN, &error))?;
    let key = Key::new(key, "key")?;
    let rule = RuleText {
        algorithm: &algorithm,
        limit,
        per: Some(&interval),
        burst,
        anchor: None,
        zone: None,
    };
    let limit = KeyLimit {
        limit: rule.limit(&PLACES)?,
        as_token_bucket: algorithm == "token_bucket",
    };
    let changed = app.limiter.set_key_limit(&key, limit).await?;
    Ok(changed::created(
        &changed,
        &key_limit_json(key.as_str(), &limit),
    ))
}

/// `GET /api/limits`: of one key, or a page of all.
pub(crate) async fn get<N: Node>(State(app): Shared<N>, uri: Uri) -> Result<Response, Problem> {
    if parameter(uri.query().unwrap_or_default(), "key")?.is_some() {
        let key = key_parameter(&uri, "key")?;
        let limit = app.limiter.stored_key_limit(&key)?;
        return Ok(decided::json(
            key_limit_json(key.as_str(), &limit).to_string(),
        ));
    }
    let page = Page::of(&uri)?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let node = app.limiter.node();
    let mut limits = node.key_limits(page.after.as_deref(), page.count + 1);
    let next = page.next(&mut limits, |(key, _)| key.to_string());
    let limits = limits.iter().map(|(key, limit)| key_limit_json(key, limit));
    let limits: Vec<Value> = limits.collect();
    let json = json!({ "limits": limits, "next": next });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `DELETE /api/limits`
pub(crate) async fn delete<N: Node>(State(app): Shared<N>, uri: Uri) -> Result<Response, Problem> {
    let key = key_parameter(&uri, "key")?;
    let changed = app.limiter.remove_key_limit(&key).await?;
    Ok(changed::removed(&changed))
}

fn key_limit_json(key: &str, stored: &KeyLimit) -> Value {
    let limit = &stored.limit;
    let mut json = json!({
        "key": key,
        "limit": limit.units(),
        "interval": span::format(limit.period()),
        // As it was given: `token_bucket` and `gcra` are the same, but only one is what this client calls it.
        "algorithm": stored.algorithm(),
    });
    if limit.burst() != limit.units() {
        json["burst"] = limit.burst().into();
    }
    json
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
        .ok_or_else(|| Refusal::missing(name, KEY_ACCEPTED))?;
    Key::new(key, name)
}
