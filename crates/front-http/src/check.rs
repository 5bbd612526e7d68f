//! `/v1/check`, `/v1/refund`, `/v1/check/batch` and `DELETE /v1/keys`.

use std::borrow::Cow;
use std::fmt;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use bytes::{BufMut as _, BytesMut};
use coordinator::Answer;
use limiter::{ENCODED, HitName, Key, Limiter, Node, Refusal, Rule, Selected, decode};
use quota::{Cost, Verdict};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use crate::app::Shared;
use crate::body::{BATCH_BODY_MAX, BODY_MAX, read_json};
use crate::caller::By;
use crate::decided;
use crate::explain::{Field, Kind, Shape, explain};
use crate::idempotency::refuse_key;
use crate::problem::Problem;
use crate::rule::{RULE, RuleBody};

/// Most checks in one batch: enough for the limits of one request of a client many times over.
const BATCH_CHECKS_MAX: usize = 1_000;

/// What a check of a batch takes beside its body while it is asked, and then its answer: a hit of some 100 bytes, a
/// decision of 110, or a problem of 400.
const CHECK_BYTES: usize = 512;

/// One hit as bodies tell it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check<'b> {
    #[serde(borrow, default)]
    limit: Option<Text<'b>>,
    #[serde(default)]
    rule: Option<Box<RuleBody>>,
    #[serde(borrow)]
    key: Text<'b>,
    #[serde(default = "one")]
    cost: u32,
}

const CHECK: Shape = Shape {
    fields: &[
        Field {
            name: "limit",
            required: false,
            kind: Kind::Text,
            accepted: LIMIT_ACCEPTED,
        },
        Field {
            name: "rule",
            required: false,
            kind: Kind::Object(&RULE),
            accepted: "an object with algorithm, limit, per and perhaps burst",
        },
        Field {
            name: "key",
            required: true,
            kind: Kind::Text,
            accepted: "1 to 1024 bytes of text",
        },
        Field {
            name: "cost",
            required: false,
            kind: Kind::Count,
            accepted: "a whole number from 0 to 4294967295",
        },
    ],
};

const LIMIT_ACCEPTED: &str = "the name of a limit; or give a rule in its place";

const BATCH: Shape = Shape {
    fields: &[Field {
        name: "checks",
        required: true,
        kind: Kind::Array,
        accepted: "an array of at most 1000 checks",
    }],
};

/// Many hits, each still to be parsed: what is wrong with one is told in its place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'b> {
    #[serde(borrow)]
    checks: Vec<&'b RawValue>,
}

fn one() -> u32 {
    1
}

/// Text that is borrowed from the body unless it has escapes. Serde borrows a `Cow` only where it stands alone.
struct Text<'b>(Cow<'b, str>);

impl<'de: 'b, 'b> Deserialize<'de> for Text<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// A check whose every part is known to be good.
struct Asked<'a> {
    selected: Selected,
    key: Key<'a>,
    cost: Cost,
}

/// The header by which a client names a hit that it may ask again.
const HIT_ID: &str = "Weir-Hit-Id";

/// What the client calls its hit, if it does.
fn hit_name(headers: &HeaderMap) -> Result<Option<HitName<'_>>, Refusal> {
    refuse_key(
        headers,
        format_args!("{HIT_ID} names a hit, which then counts once; nothing was counted"),
    )?;
    let mut names = headers.get_all(HIT_ID).iter();
    let name = names
        .next()
        .map(|name| HitName::new(name.as_bytes(), HIT_ID));
    match names.next() {
        Some(_) => Err(Refusal::invalid("a hit has one name; nothing was counted").at(HIT_ID)),
        None => name.transpose(),
    }
}

fn read_check<'a, N: Node>(limiter: &Limiter<N>, body: &'a [u8]) -> Result<Asked<'a>, Refusal> {
    let check: Check<'a> =
        serde_json::from_slice(body).map_err(|error| explain(body, &CHECK, &error))?;
    let key = Key::new(check.key.0, "key")?;
    let selected = match (&check.limit, &check.rule) {
        (Some(name), None) => limiter.find(&name.0)?,
        (None, Some(rule)) => limiter.inline(Rule::from(rule.limit()?)),
        (None, None) => return Err(Refusal::missing("limit", LIMIT_ACCEPTED)),
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid("give either limit or rule").at("rule"));
        }
    };
    Ok(Asked {
        selected,
        key,
        cost: Cost::new(check.cost),
    })
}

/// `POST /v1/check`
pub(crate) async fn check<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_json(&app.bodies, &parts.headers, body, BODY_MAX).await?;
    let limiter = by.limiter(&app);
    let Asked {
        selected,
        key,
        cost,
    } = read_check(limiter, &body)?;
    let answer = match hit_name(&parts.headers)? {
        Some(name) => limiter.check_once(&selected, &key, cost, &name).await?,
        None => limiter.check(&selected, &key, cost).await?,
    };
    decided::respond(&selected, cost, &answer, limiter.day())
}

/// `POST /v1/refund`
pub(crate) async fn refund<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_json(&app.bodies, &parts.headers, body, BODY_MAX).await?;
    let limiter = by.limiter(&app);
    let Asked {
        selected,
        key,
        cost,
    } = read_check(limiter, &body)?;
    let answer = match hit_name(&parts.headers)? {
        Some(name) => limiter.refund_once(&selected, &key, cost, &name).await?,
        None => limiter.refund(&selected, &key, cost).await?,
    };
    // The state after: told like that of a peek.
    decided::respond(&selected, Cost::PEEK, &answer, None)
}

/// `POST /v1/check/batch`
pub(crate) async fn batch<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if let Some(name) = hit_name(&parts.headers)? {
        let detail =
            "a batch has no name of a hit: each of its hits is one by itself; none was counted";
        let refusal = Refusal::invalid(detail).at(HIT_ID);
        return Err(refusal.with_given(name.as_str()).into());
    }
    let body = read_json(&app.bodies, &parts.headers, body, BATCH_BODY_MAX).await?;
    let batch: Batch<'_> =
        serde_json::from_slice(&body).map_err(|error| explain(&body, &BATCH, &error))?;
    if BATCH_CHECKS_MAX < batch.checks.len() {
        return Err(Refusal::new(
            limiter::Kind::TooLarge,
            "a batch has at most 1000 checks; none was counted",
        )
        .at("checks")
        .with_given(batch.checks.len())
        .with_accepted("at most 1000")
        .into());
    }
    let checks: Vec<_> = batch
        .checks
        .iter()
        .map(|check| {
            let asked = read_check(by.limiter(&app), check.get().as_bytes())?;
            asked.selected.check_cost(asked.cost)?;
            Ok(asked)
        })
        .collect();
    let asked = checks
        .iter()
        .filter_map(|check: &Result<Asked<'_>, Refusal>| check.as_ref().ok());
    let hits: Vec<_> = asked
        .map(|asked| asked.selected.hit(&asked.key, asked.cost))
        .collect();
    // Before anything is counted: what was counted is answered.
    let room = app.bodies.room(checks.len() * CHECK_BYTES)?;
    let answers = by.limiter(&app).hits_together(&hits).await?;
    Ok(decided::json(room.keep(batch_json(&checks, answers))))
}

/// Puts the answers into the places of the checks that were asked.
fn batch_json(
    checks: &[Result<Asked<'_>, Refusal>],
    answers: Vec<Result<Answer, Refusal>>,
) -> BytesMut {
    let mut answers = answers.into_iter();
    let mut results = BytesMut::with_capacity(checks.len() * 100);
    let mut allowed = true;
    for check in checks {
        let decided = check.as_ref().map_err(Clone::clone).and_then(|asked| {
            let answer = answers.next().expect("a coordinator answers every hit")?;
            let policy = asked.selected.policy();
            match answer.decision.verdict {
                Verdict::NeverConforms => Err(Refusal::never_conforms(policy, asked.cost)),
                _ => Ok((policy, answer)),
            }
        });
        if !results.is_empty() {
            results.put_u8(b',');
        }
        match decided {
            Ok((policy, answer)) => {
                allowed &= answer.decision.is_allowed();
                decided::write_json(policy, &answer, &mut results);
            }
            Err(refusal) => {
                allowed = false;
                results.put_slice(br#"{"error":"#);
                results.put_slice(Problem::from(refusal).json().as_bytes());
                results.put_u8(b'}');
            }
        }
    }
    let mut json = BytesMut::with_capacity(results.len() + 40);
    json.put_slice(if allowed {
        br#"{"allowed":true,"results":["#
    } else {
        br#"{"allowed":false,"results":["#
    });
    json.put_slice(&results);
    json.put_slice(b"]}");
    json
}

/// `DELETE /v1/keys/{limit}/{key}`
pub(crate) async fn reset<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    let path = uri.path().strip_prefix("/v1/keys/").unwrap_or_default();
    let (limit, key) = path.split_once('/').unwrap_or((path, ""));
    let decoded =
        |text, field| decode(text, false).ok_or_else(|| Refusal::field(field, text, ENCODED));
    let (limit, key) = (decoded(limit, "limit")?, decoded(key, "key")?);
    let key = Key::new(key, "key")?;
    let limiter = by.limiter(&app);
    limiter.reset(&limiter.find(&limit)?, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
