//! `GET /v1/top`: which keys a limit of a tenant denies most.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use limiter::{MostDenied, Node, Refusal, parameter};
use serde_json::{Value, json};
use series::TopKey;

use super::live::put_answered;
use crate::app::Shared;
use crate::caller::By;
use crate::decided;
use crate::memory::ANSWER_BYTES;
use crate::problem::Problem;

/// `GET /v1/top`
pub(crate) async fn top<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    caller.needs_tenant()?;
    let limit = parameter(uri.query().unwrap_or_default(), "limit")?;
    let limit = limit
        .ok_or_else(|| Refusal::missing("limit", "the name of a limit with top_keys = true"))?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let most_denied = caller.limiter.most_denied(&limit).await?;
    let json = most_denied_json(&limit, &most_denied);
    Ok(decided::json(room.keep(json.to_string())))
}

fn most_denied_json(limit: &str, most_denied: &MostDenied) -> Value {
    let MostDenied { keys, from } = most_denied;
    let mut json = json!({
        "limit": limit,
        "keys": keys.iter().map(key_json).collect::<Vec<_>>(),
    });
    put_answered(&mut json, from);
    json
}

fn key_json(of: &TopKey) -> Value {
    let TopKey {
        key,
        allowed,
        denied,
        error,
    } = of;
    json!({ "key": &**key, "allowed": allowed, "denied": denied, "error": error })
}
