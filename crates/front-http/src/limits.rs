//! `/v1/limits`: the limits that the file defines.
//!
//! They can be read. Defining more of them at run time takes configuration that is the same on every node, which this
//! version does not have: it is refused by name.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use coordinator::{FailMode, Policy};
use limiter::{ENCODED, Kind, Refusal, anchor_name, decode, span};
use quota::Algorithm;
use serde_json::{Value, json};

use crate::app::{App, Shared};
use crate::decided;
use crate::memory::ANSWER_BYTES;
use crate::problem::Problem;

const NOT_SERVED: &str =
    "limits cannot be defined at run time in this version: define them in the file";

/// `GET /v1/limits`
pub(crate) async fn list<N>(State(app): Shared<N>) -> Result<Response, Problem> {
    let room = app.answers.room(ANSWER_BYTES)?;
    let limits = app.limiter.limits().into_iter();
    let limits: Vec<_> = limits.map(|limit| limit_json(limit.policy())).collect();
    let json = json!({ "limits": limits });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `GET /v1/limits/{name}`
pub(crate) async fn get<N>(State(app): Shared<N>, uri: Uri) -> Result<Response, Problem> {
    let limit = app.limiter.named(&name(&uri)?)?;
    Ok(decided::json(limit_json(limit.policy()).to_string()))
}

/// `PUT /v1/limits/{name}`
pub(crate) async fn put<N>(State(app): Shared<N>, uri: Uri) -> Problem {
    let refusal = match defined(&app, &uri) {
        Ok(refusal) => refusal,
        Err(_) => Refusal::new(Kind::NotImplemented, NOT_SERVED),
    };
    refusal.into()
}

/// `DELETE /v1/limits/{name}`
pub(crate) async fn delete<N>(State(app): Shared<N>, uri: Uri) -> Problem {
    defined(&app, &uri).unwrap_or_else(|refusal| refusal).into()
}

/// The refusal of changing a limit: that the file defines it, or else that there is none.
fn defined<N>(app: &App<N>, uri: &Uri) -> Result<Refusal, Refusal> {
    let name = name(uri)?;
    app.limiter.named(&name)?;
    Ok(Refusal::new(
        Kind::DefinedInFile,
        "this limit is defined in the file: change it there",
    )
    .at("name")
    .with_given(name))
}

fn name(uri: &Uri) -> Result<String, Refusal> {
    let name = uri.path().strip_prefix("/v1/limits/").unwrap_or_default();
    let decoded = decode(name, false);
    Ok(decoded
        .ok_or_else(|| Refusal::field("name", name, ENCODED))?
        .into_owned())
}

/// A limit as `[[limit]]` has it.
fn limit_json(policy: &Policy) -> Value {
    let limit = &policy.limit;
    let mut json = json!({
        "name": &*policy.name,
        "algorithm": limit.algorithm().name(),
        "limit": limit.units(),
        "per": span::format(limit.period()),
        "strategy": policy.strategy.name(),
        "on_failure": match policy.on_failure {
            FailMode::Deny => "deny",
            FailMode::Allow => "allow",
            FailMode::Owner => "owner",
        },
    });
    match limit.algorithm() {
        Algorithm::Gcra | Algorithm::LeakyBucket => json["burst"] = limit.burst().into(),
        Algorithm::FixedWindow => json["anchor"] = anchor_name(limit.anchor()).into(),
        Algorithm::SlidingLog | Algorithm::SlidingCounter => {}
    }
    json
}
