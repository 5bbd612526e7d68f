//! Limits of single keys: `/api/limits` and `GET /api/check`.

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use catalogue::KeyLimit;
use limiter::{
    Caller, Change, ENCODED, Key, Node, Places, Refusal, RuleText, accepted, decode, parameter,
    span,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Shared;
use crate::body::{BODY_MAX, read_json};
use crate::caller::By;
use crate::changed;
use crate::decided;
use crate::explain::{Field, Kind, Shape, explain};
use crate::memory::ANSWER_BYTES;
use crate::page::Page;
use crate::parameters::{KEY_ACCEPTED, cost_parameter, key_parameter};
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
    by: By<N>,
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
    let caller = by.caller(&app);
    let before = audited(&caller, &key);
    let changed = caller.limiter.set_key_limit(&key, limit).await?;
    let json = key_limit_json(key.as_str(), &limit);
    let after = json.to_string();
    let change = Change::new("key-limit.set", key.as_str());
    let change = change.from_to(before.as_deref(), &*after);
    caller.note_often(change).await;
    Ok(changed::created(&changed, &json))
}

/// `GET /api/limits`: of one key, or a page of all.
pub(crate) async fn get<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    if parameter(uri.query().unwrap_or_default(), "key")?.is_some() {
        let key = key_parameter(&uri, "key")?;
        let limit = by.limiter(&app).stored_key_limit(&key)?;
        return Ok(decided::json(
            key_limit_json(key.as_str(), &limit).to_string(),
        ));
    }
    let page = Page::of(&uri)?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let mut limits = by
        .limiter(&app)
        .key_limits(page.after.as_deref(), page.count + 1);
    let next = page.next(&mut limits, |(key, _)| key.to_string());
    let limits = limits.iter().map(|(key, limit)| key_limit_json(key, limit));
    let limits: Vec<Value> = limits.collect();
    let json = json!({ "items": limits, "next": next });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `DELETE /api/limits`
pub(crate) async fn delete<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let key = key_parameter(&uri, "key")?;
    remove(&by.caller(&app), &key).await
}

/// `GET /api/limits/{key}`
pub(crate) async fn get_one<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let key = key_in_path(&uri)?;
    let limit = by.limiter(&app).stored_key_limit(&key)?;
    let json = key_limit_json(key.as_str(), &limit);
    Ok(decided::json(json.to_string()))
}

/// `DELETE /api/limits/{key}`
pub(crate) async fn delete_one<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let key = key_in_path(&uri)?;
    remove(&by.caller(&app), &key).await
}

async fn remove<N: Node>(caller: &Caller<N>, key: &Key<'_>) -> Result<Response, Problem> {
    let before = audited(caller, key);
    let changed = caller.limiter.remove_key_limit(key).await?;
    let change = Change::new("key-limit.delete", key.as_str());
    caller
        .note_often(change.from_to(before.as_deref(), None))
        .await;
    Ok(changed::removed(&changed))
}

/// What stands there, as the audit tells it.
fn audited<N: Node>(caller: &Caller<N>, key: &Key<'_>) -> Option<String> {
    let stored = caller.limiter.stored_key_limit(key).ok()?;
    Some(key_limit_json(key.as_str(), &stored).to_string())
}

fn key_in_path(uri: &Uri) -> Result<Key<'_>, Refusal> {
    let key = uri.path().strip_prefix("/api/limits/").unwrap_or_default();
    let key = decode(key, false).ok_or_else(|| Refusal::field("key", key, ENCODED))?;
    Key::new(key, "key")
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
pub(crate) async fn check<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let key = key_parameter(&uri, "key")?;
    let cost = cost_parameter(&uri)?;
    let limiter = by.limiter(&app);
    let selected = limiter.key_limit(&key)?;
    let answer = limiter.hit(&selected, &key, cost).await?;
    decided::respond(&selected, cost, &answer, limiter.day())
}
