//! How the node and its cluster are: `/v1/cluster`, `/v1/shards`, `/v1/owner`, `/health`, `/ready`, `/metrics`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use coordinator::{ConfigDiffers, Definition, Forgotten, Readiness, Strategy};
use limiter::{Kind, Node, Refusal, parameter};
use quota::Nanos;
use serde_json::{Value, json};

use crate::app::Shared;
use crate::decided;
use crate::memory::ANSWER_BYTES;
use crate::parameters::key_parameter;
use crate::problem::Problem;

/// `GET /v1/cluster`
pub(crate) async fn cluster<N: Node>(State(app): Shared<N>) -> Result<Response, Problem> {
    let room = app.answers.room(ANSWER_BYTES)?;
    let status = app.limiter.node().cluster();
    let members: Vec<Value> = status
        .members
        .iter()
        .map(|member| {
            json!({
                "name": member.name,
                "status": member.status.name(),
                "incarnation": member.incarnation,
                "shards": member.shards,
                "under_replicated_shards": member.under_replicated_shards,
                "role": if member.asks { "asks" } else { "owns" },
                "http": member.http,
                "cluster": member.cluster,
                "silent_ms": millis(member.silent),
            })
        })
        .collect();
    let mut json = json!({
        "node": status.node,
        "view": status.view,
        "partition": if status.needs_quorum { "quorum" } else { "available" },
        "members": members,
        "under_replicated_shards": status.under_replicated_shards,
        "unsettled_shards": status.unsettled_shards,
        "replication_lag_ms": millis(status.replication_lag),
    });
    if let Some(lack) = status.no_quorum {
        let missing = lack.missing.iter();
        let missing = missing.map(|it| json!({"name": it.name, "silent_ms": millis(it.silent)}));
        json["no_quorum"] = json!({
            "lasts_ms": millis(lack.lasts),
            "needed": lack.needed,
            "missing": missing.collect::<Vec<_>>(),
        });
    }
    if let Some(seeds) = status.silent_seeds {
        json["silent_seeds"] = json!({
            "addresses": seeds.addresses,
            "lasts_ms": millis(seeds.lasts),
        });
    }
    if let Some(differs) = status.config_differs {
        json["config_differs"] = config_differs(&differs);
    }
    // Of strategies that no limit names, nothing is told.
    if let Some(raft) = status.raft {
        json["raft"] = json!({
            "leader": raft.leader,
            "term": raft.term,
            "voters": raft.voters,
            "learners": raft.learners,
        });
    }
    if let Some(redis) = status.redis {
        json["redis"] = json!({
            "breaker": redis.breaker,
            "last_failure": redis.last_failure,
        });
    }
    Ok(decided::json(room.keep(json.to_string())))
}

/// `GET /v1/shards`
pub(crate) async fn shards<N: Node>(State(app): Shared<N>) -> Result<Response, Problem> {
    let room = app.answers.room(ANSWER_BYTES)?;
    let shards = app.limiter.node().shards();
    let json = json!({
        "members": shards.members,
        "owner": shards.owners,
        "term": shards.terms,
        "copies": shards.copies,
    });
    Ok(decided::json(room.keep(json.to_string())))
}

/// Limits, and entries of other sections, that are told of those that files say differently: enough to see what has happened.
const DIFFERING_MAX: usize = 100;

fn config_differs(differs: &ConfigDiffers) -> Value {
    let definitions = |definitions: &[Definition]| {
        let definitions = definitions.iter();
        let definitions = definitions.map(|says| json!({ "nodes": says.nodes, "says": says.says }));
        definitions.collect::<Vec<_>>()
    };
    let limits = differs.limits.iter().take(DIFFERING_MAX).map(|differing| {
        json!({
            "limit": differing.limit,
            "definitions": definitions(&differing.definitions),
        })
    });
    let entries = differs.entries.iter().take(DIFFERING_MAX).map(|differing| {
        json!({
            "section": differing.section,
            "name": differing.name,
            "definitions": definitions(&differing.definitions),
        })
    });
    json!({
        "count": differs.limits.len() + differs.entries.len(),
        "lasts_ms": millis(differs.lasts),
        "limits": limits.collect::<Vec<_>>(),
        "entries": entries.collect::<Vec<_>>(),
    })
}

fn millis(span: Nanos) -> f64 {
    span.get() as f64 / 1e6
}

/// `DELETE /v1/members/{name}`
pub(crate) async fn forget<N: Node>(
    State(app): Shared<N>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let refusal = match app.limiter.node().forget(&name) {
        Forgotten::Done => return Ok(StatusCode::NO_CONTENT),
        Forgotten::Alive => Refusal::new(
            Kind::MemberAlive,
            "only a dead member can be forgotten; stop it to make it leave",
        ),
        Forgotten::Unknown => {
            Refusal::new(Kind::NotFound, "no member of the cluster has this name")
        }
        Forgotten::Joining => Refusal::joining(),
    };
    Err(refusal.into())
}

/// `GET /v1/owner`
pub(crate) async fn owner<N: Node>(State(app): Shared<N>, uri: Uri) -> Result<Response, Problem> {
    let limit = parameter(uri.query().unwrap_or_default(), "limit")?
        .ok_or_else(|| Refusal::missing("limit", "the name of a limit"))?;
    let selected = app.limiter.find(&limit)?;
    let policy = selected.policy();
    if policy.strategy != Strategy::Owner {
        let detail = "keys of this limit have no owner: it is counted by another strategy";
        return Err(Refusal::new(Kind::NotFound, detail)
            .at("strategy")
            .with_given(policy.strategy.name())
            .into());
    }
    let key = key_parameter(&uri, "key")?;
    let ownership = app.limiter.node().owner_of(policy, key.as_str());
    let ownership = ownership.ok_or_else(|| {
        Refusal::new(
            Kind::NoDecision,
            "nobody is known to own the shard of this key yet",
        )
        .with_retry_after(Nanos::from_secs(1))
    })?;
    let json = json!({
        "shard": ownership.shard,
        "term": ownership.term,
        "owner": ownership.owner,
        "replicas": ownership.replicas,
    });
    Ok(decided::json(json.to_string()))
}

/// `GET /health`
pub(crate) async fn health<N: Node>(State(app): Shared<N>) -> Response {
    match app.limiter.node().is_well() {
        true => decided::json(r#"{"status":"ok"}"#),
        false => unavailable(r#"{"status":"failing"}"#),
    }
}

/// `GET /ready`
pub(crate) async fn ready<N: Node>(State(app): Shared<N>) -> Response {
    let json = match app.limiter.node().readiness() {
        Readiness::Ready => return decided::json(r#"{"status":"ready"}"#),
        Readiness::Joining => r#"{"status":"joining"}"#,
        Readiness::NoQuorum => r#"{"status":"no-quorum"}"#,
        Readiness::Draining => r#"{"status":"draining"}"#,
    };
    unavailable(json)
}

fn unavailable(json: &'static str) -> Response {
    let mut response = decided::json(json);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// `GET /metrics`
pub(crate) async fn metrics<N: Node>(State(app): Shared<N>) -> Result<Response, Problem> {
    let room = app.answers.room(ANSWER_BYTES)?;
    let mut response = Response::new(Body::from(room.keep(app.limiter.node().metrics())));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}
