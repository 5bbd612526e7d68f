//! `/v1/limits`: the limits by name, of the file and made at run time.

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use catalogue::NamedLimit;
use coordinator::{FailMode, Policy, Strategy, UnknownStrategy};
use limiter::{
    AnchorWord, Change, ENCODED, Given as Told, Limiter, Node, Places, Refusal, RuleText, Selected,
    accepted, decode, span,
};
use quota::Algorithm;
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
use crate::problem::Problem;

/// As in the file.
const NAME_ACCEPTED: &str = "1 to 64 letters, digits, dots, dashes and underscores";
const STRATEGY_ACCEPTED: &str = "owner, local, redis or raft";
const ON_FAILURE_ACCEPTED: &str = "deny or allow; with the strategy redis, also owner";
const FLAG_ACCEPTED: &str = "true or false";
const KEEP_ELSEWHERE: &str =
    "false; true is for limits with the strategy owner: the others count elsewhere, or in memory";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    name: Option<String>,
    algorithm: String,
    limit: u32,
    #[serde(default)]
    per: Option<String>,
    #[serde(default)]
    burst: Option<u32>,
    #[serde(default)]
    anchor: Option<String>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    strategy: Option<String>,
    #[serde(default)]
    on_failure: Option<String>,
    #[serde(default)]
    keep: Option<bool>,
    #[serde(default)]
    top_keys: bool,
}

const GIVEN: Shape = Shape {
    fields: &[
        text("name", false, "the name in the path"),
        text("algorithm", true, accepted::ALGORITHM),
        count("limit", true, accepted::LIMIT),
        text("per", false, accepted::PER),
        count("burst", false, accepted::BURST),
        text("anchor", false, accepted::ANCHOR),
        text("zone", false, accepted::ZONE),
        text("strategy", false, STRATEGY_ACCEPTED),
        text("on_failure", false, ON_FAILURE_ACCEPTED),
        Field {
            name: "keep",
            required: false,
            kind: Kind::Flag,
            accepted: FLAG_ACCEPTED,
        },
        Field {
            name: "top_keys",
            required: false,
            kind: Kind::Flag,
            accepted: FLAG_ACCEPTED,
        },
    ],
};

const fn text(name: &'static str, required: bool, accepted: &'static str) -> Field {
    Field {
        name,
        required,
        kind: Kind::Text,
        accepted,
    }
}

const fn count(name: &'static str, required: bool, accepted: &'static str) -> Field {
    Field {
        name,
        required,
        kind: Kind::Count,
        accepted,
    }
}

/// `GET /v1/limits`: those of the file, by name, and a page of those made at run time.
pub(crate) async fn list<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let page = Page::of(&uri)?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let limiter = by.limiter(&app);
    let mut made = limiter.named_limits(page.after.as_deref(), page.count + 1);
    let next = page.next(&mut made, |(name, _)| name.to_string());
    made.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut limits = Vec::new();
    if page.after.is_none() {
        let of_file = limiter.limits().into_iter();
        limits.extend(of_file.map(|limit| of_file_json(limiter, &limit)));
    }
    limits.extend(
        made.iter()
            .map(|(name, limit)| made_json(limiter, name, limit)),
    );
    let json = json!({ "limits": limits, "next": next });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `GET /v1/limits/{name}`
pub(crate) async fn get<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let name = name(&uri)?;
    let limiter = by.limiter(&app);
    let json = match limiter.named(&name) {
        Ok(limit) => of_file_json(limiter, &limit),
        Err(_) => made_json(limiter, &name, &limiter.named_limit(&name)?),
    };
    Ok(decided::json(json.to_string()))
}

/// `PUT /v1/limits/{name}`
pub(crate) async fn put<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    let name = name(&uri)?;
    if !is_name(&name) {
        return Err(Refusal::field("name", name, NAME_ACCEPTED).into());
    }
    by.limiter(&app).may_change(&name)?;
    let (parts, body) = request.into_parts();
    let body = read_json(&app.bodies, &parts.headers, body, BODY_MAX).await?;
    let given: Given =
        serde_json::from_slice(&body).map_err(|error| explain(&body, &GIVEN, &error))?;
    if let Some(other) = given.name.as_ref().filter(|given| **given != name) {
        return Err(Refusal::field("name", &**other, "the name in the path").into());
    }
    let limit = given.limit()?;
    let caller = by.caller(&app);
    let before = caller.limiter.named_limit(&name).ok();
    let before = before.map(|before| made_json(&caller.limiter, &name, &before).to_string());
    let changed = caller.limiter.set_limit(&name, limit).await?;
    let json = made_json(&caller.limiter, &name, &limit);
    let after = json.to_string();
    let change = Change::new("limit.set", &name).from_to(before.as_deref(), &*after);
    caller.note_often(change).await;
    Ok(changed::stored(&changed, &json))
}

/// `DELETE /v1/limits/{name}`
pub(crate) async fn delete<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (caller, name) = (by.caller(&app), name(&uri)?);
    let before = caller.limiter.named_limit(&name).ok();
    let before = before.map(|before| made_json(&caller.limiter, &name, &before).to_string());
    let changed = caller.limiter.remove_limit(&name).await?;
    let change = Change::new("limit.delete", &name).from_to(before.as_deref(), None);
    caller.note_often(change).await;
    Ok(changed::removed(&changed))
}

impl Given {
    fn limit(&self) -> Result<NamedLimit, Refusal> {
        let rule = RuleText {
            algorithm: &self.algorithm,
            limit: self.limit,
            per: self.per.as_deref(),
            burst: self.burst,
            anchor: self.anchor.as_deref(),
            zone: self.zone.as_deref(),
        };
        let strategy = match &self.strategy {
            None => Strategy::Owner,
            Some(name) => name.parse().map_err(|UnknownStrategy| {
                Refusal::field("strategy", &**name, STRATEGY_ACCEPTED)
            })?,
        };
        let on_failure = match self.on_failure.as_deref() {
            None => FailMode::Deny,
            Some(name) => FailMode::named(name)
                .ok_or_else(|| Refusal::field("on_failure", name, ON_FAILURE_ACCEPTED))?,
        };
        let limit = rule.limit(&Places::PLAIN)?;
        let limit = match self.keep {
            Some(true) if strategy != Strategy::Owner => {
                return Err(Refusal::field(
                    "keep",
                    Told::Literal("true".into()),
                    KEEP_ELSEWHERE,
                ));
            }
            Some(keep) => limit.with_keep(keep),
            None => limit,
        };
        Ok(NamedLimit {
            limit,
            as_token_bucket: self.algorithm == "token_bucket",
            strategy,
            on_failure,
            top_keys: self.top_keys,
        })
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
}

fn name(uri: &Uri) -> Result<String, Refusal> {
    let name = uri.path().strip_prefix("/v1/limits/").unwrap_or_default();
    let decoded = decode(name, false);
    Ok(decoded
        .ok_or_else(|| Refusal::field("name", name, ENCODED))?
        .into_owned())
}

/// A limit of the file, as it is written there.
fn of_file_json<N>(limiter: &Limiter<N>, limit: &Selected) -> Value {
    let policy = limit.policy();
    let mut json = limit_json(policy);
    if limiter.is_called_token_bucket(&policy.name) {
        json["algorithm"] = "token_bucket".into();
    }
    json
}

/// A limit made at run time, as `[[limit]]` has it.
fn made_json<N>(limiter: &Limiter<N>, name: &str, made: &NamedLimit) -> Value {
    let mut json = limit_json(&Policy {
        namespace: "".into(),
        name: name.into(),
        limit: made.limit,
        strategy: made.strategy,
        on_failure: made.on_failure,
        top_keys: made.top_keys,
    });
    json["algorithm"] = made.algorithm().into();
    if limiter.is_of_tenant() {
        json["top_keys"] = made.top_keys.into();
    }
    json
}

/// A limit as `[[limit]]` has it.
fn limit_json(policy: &Policy) -> Value {
    let limit = &policy.limit;
    let mut json = json!({
        "name": &*policy.name,
        "algorithm": limit.algorithm().name(),
        "limit": limit.units(),
        "strategy": policy.strategy.name(),
        "on_failure": policy.on_failure.name(),
    });
    if policy.strategy == Strategy::Owner {
        json["keep"] = limit.keep().into();
    }
    let (anchor, zone) = AnchorWord::of(limit.anchor());
    match zone {
        Some(zone) => json["zone"] = zone.name().into(),
        None => json["per"] = span::format(limit.period()).into(),
    }
    match limit.algorithm() {
        Algorithm::Gcra | Algorithm::LeakyBucket => json["burst"] = limit.burst().into(),
        Algorithm::FixedWindow => json["anchor"] = anchor.name().into(),
        Algorithm::SlidingLog | Algorithm::SlidingCounter => {}
    }
    json
}
