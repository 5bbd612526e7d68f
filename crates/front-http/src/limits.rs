//! `/v1/limits`: the limits that the file defines.
//!
//! They can be read. Defining more of them at run time takes configuration that is the same on every node, which this
//! version does not have: it is refused by name.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use coordinator::{FailMode, Policy};
use quota::Algorithm;
use serde_json::{Value, json};

use crate::app::{App, Shared};
use crate::decided;
use crate::memory::ANSWER_BYTES;
use crate::problem::{Kind, Problem};
use crate::query;
use crate::rule::anchor_name;
use crate::span;

const NOT_SERVED: &str =
    "limits cannot be defined at run time in this version: define them in the file";

/// `GET /v1/limits`
pub(crate) async fn list<N>(State(app): Shared<N>) -> Result<Response, Problem> {
    let room = app.answers.room(ANSWER_BYTES)?;
    let mut policies: Vec<_> = app
        .limits
        .values()
        .map(|selected| &selected.policy)
        .collect();
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    let limits: Vec<_> = policies.into_iter().map(limit_json).collect();
    let json = json!({ "limits": limits });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `GET /v1/limits/{name}`
pub(crate) async fn get<N>(State(app): Shared<N>, uri: Uri) -> Result<Response, Problem> {
    let policy = &app.limit(&name(&uri)?)?.policy;
    Ok(decided::json(limit_json(policy).to_string()))
}

/// `PUT /v1/limits/{name}`
pub(crate) async fn put<N>(State(app): Shared<N>, uri: Uri) -> Problem {
    match defined(&app, &uri) {
        Ok(problem) => problem,
        Err(_) => Problem::new(Kind::NotImplemented, NOT_SERVED),
    }
}

/// `DELETE /v1/limits/{name}`
pub(crate) async fn delete<N>(State(app): Shared<N>, uri: Uri) -> Problem {
    defined(&app, &uri).unwrap_or_else(|problem| problem)
}

/// The problem with changing a limit: that the file defines it, or else that there is none.
fn defined<N>(app: &App<N>, uri: &Uri) -> Result<Problem, Problem> {
    let name = name(uri)?;
    app.limit(&name)?;
    Ok(Problem::new(
        Kind::DefinedInFile,
        "this limit is defined in the file: change it there",
    )
    .at("name")
    .given(name))
}

fn name(uri: &Uri) -> Result<String, Problem> {
    let name = uri.path().strip_prefix("/v1/limits/").unwrap_or_default();
    let decoded = query::decode(name, false);
    Ok(decoded
        .ok_or_else(|| Problem::field("name", name, query::ENCODED))?
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
