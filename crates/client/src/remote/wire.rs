//! Questions and answers as a node's HTTP front has them.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quota::Nanos;
use serde::{Deserialize, Serialize};

use super::Target;
use crate::{Answer, Counted, Error, Key, Operation, Rule};

/// What a segment of a path cannot have as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// When another attempt is worth making, where nobody says.
const SOON: Duration = Duration::from_secs(1);

/// A question as a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    /// JSON; empty for none.
    pub(super) body: Vec<u8>,
}

#[derive(Serialize)]
struct Check<'q> {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'q str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Inline>,
    key: &'q str,
    cost: u32,
}

#[derive(Serialize)]
struct Inline {
    algorithm: &'static str,
    limit: u32,
    per: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
}

impl From<&Rule> for Inline {
    fn from(rule: &Rule) -> Self {
        let limit = rule.limit;
        Self {
            algorithm: limit.algorithm().name(),
            limit: limit.units(),
            per: format!("{}ms", limit.period().ceil_millis()),
            burst: (limit.burst() != limit.units()).then_some(limit.burst()),
        }
    }
}

/// The request that asks.
pub(super) fn request(
    target: &Target,
    key: &Key<'_>,
    operation: Operation,
) -> Result<Request, Error> {
    let (limit, rule) = match target {
        Target::Named(name) => (Some(&**name), None),
        Target::Rule(rule) => (None, Some(rule)),
    };
    let (path, cost) = match operation {
        Operation::Hit(cost) => ("/v1/check", cost),
        Operation::Refund(cost) => ("/v1/refund", cost),
        Operation::Reset => {
            let Some(limit) = limit else {
                let what = "a rule's counters cannot be reset over HTTP";
                return Err(Error::Unsupported { what });
            };
            let segment = |text| utf8_percent_encode(text, SEGMENT);
            return Ok(Request {
                method: Method::DELETE,
                path: format!("/v1/keys/{}/{}", segment(limit), segment(key.as_str())),
                body: Vec::new(),
            });
        }
    };
    let check = Check {
        limit,
        rule: rule.map(Inline::from),
        key: key.as_str(),
        cost,
    };
    Ok(Request {
        method: Method::POST,
        path: path.to_owned(),
        body: serde_json::to_vec(&check).expect("text and numbers can be written"),
    })
}

/// A decision as a node tells it.
#[derive(Deserialize)]
struct Decision {
    allowed: bool,
    limit: u32,
    remaining: u32,
    retry_after_ms: Option<u64>,
    reset_after_ms: u64,
    #[serde(default)]
    by_fail_mode: bool,
}

/// A problem as a node tells it.
#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    given: serde_json::Value,
    field: Option<String>,
    accepted: Option<String>,
    counted: Option<String>,
    limit: Option<u32>,
    remaining: Option<u32>,
}

/// What came of asking one node.
#[derive(PartialEq, Debug)]
pub(super) enum Told {
    /// This is the answer.
    Final(Result<Answer, Error>),
    /// Not counted, and another node may know better. `wait`: so may this one, soon.
    Elsewhere { error: Error, wait: bool },
    /// It may have been counted: the node that decides did not answer this one.
    Unknown(Error),
    /// Not counted: the limit's hits can have no names.
    Nameless(Error),
    /// Nothing that a node says: it may have been counted.
    Strange,
}

/// Reads what a node answered to `operation`.
pub(super) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    operation: Operation,
) -> Told {
    if status == StatusCode::NO_CONTENT {
        return Told::Final(Ok(FULL));
    }
    if let Ok(decision) = serde_json::from_slice::<Decision>(body) {
        return Told::Final(Ok(answer(&decision, headers)));
    }
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return Told::Strange;
    };
    let why = match problem.detail.is_empty() {
        true => problem.title,
        false => problem.detail,
    };
    let refused = |error| Told::Final(Err(error));
    match problem.kind.strip_prefix("/problems/").unwrap_or_default() {
        "unknown-limit" => refused(Error::UnknownLimit {
            name: problem.given.as_str().unwrap_or_default().to_owned(),
        }),
        "never-conforms" => refused(Error::NeverConforms {
            cost: match operation {
                Operation::Hit(cost) | Operation::Refund(cost) => cost,
                Operation::Reset => 0,
            },
        }),
        "invalid-request" => {
            let error = Error::Invalid {
                what: why,
                accepted: match problem.accepted {
                    Some(accepted) => accepted.into(),
                    None => "what the documentation of the node tells".into(),
                },
            };
            match problem.field.as_deref() {
                Some(HIT_ID) => Told::Nameless(error),
                _ => refused(error),
            }
        }
        "unauthorized" | "forbidden" | "tenant-suspended" => refused(Error::Unauthorized { why }),
        // The plan's requests of the day: a limit beside the one that was asked.
        "quota-exceeded" => {
            let next_day = seconds(headers, "retry-after").unwrap_or(SOON);
            Told::Final(Ok(Answer {
                allowed: false,
                limit: problem.limit.unwrap_or_default(),
                per: Some(Duration::from_secs(24 * 60 * 60)),
                burst: None,
                remaining: problem.remaining.unwrap_or_default(),
                grows_after: next_day,
                reset_after: next_day,
                retry_after: Some(next_day),
                by_fail_mode: false,
            }))
        }
        // More than the plan lets come to this node in a second.
        "tenant-rate" => Told::Elsewhere {
            error: Error::NoDecision {
                why,
                counted: Counted::No,
                retry_after: seconds(headers, "retry-after").unwrap_or(SOON),
            },
            wait: true,
        },
        kind
        @ ("no-decision" | "no-quorum" | "stale-configuration" | "overloaded" | "draining") => {
            // Nodes without that member say it in words.
            let is_unknown =
                problem.counted.as_deref() == Some("unknown") || why.contains("unknown whether");
            let error = Error::NoDecision {
                counted: match is_unknown {
                    true => Counted::Unknown,
                    false => Counted::No,
                },
                why,
                retry_after: seconds(headers, "retry-after").unwrap_or(SOON),
            };
            match is_unknown {
                true => Told::Unknown(error),
                false => Told::Elsewhere {
                    error,
                    wait: kind == "draining",
                },
            }
        }
        _ => Told::Strange,
    }
}

/// What a reset is answered with: nothing but that it was done.
const FULL: Answer = Answer {
    allowed: true,
    limit: 0,
    per: None,
    burst: None,
    remaining: 0,
    grows_after: Duration::ZERO,
    reset_after: Duration::ZERO,
    retry_after: None,
    by_fail_mode: false,
};

fn answer(decision: &Decision, headers: &HeaderMap) -> Answer {
    let policy = text(headers, "ratelimit-policy");
    let state = text(headers, "ratelimit");
    let retry_after = decision.retry_after_ms.map(Duration::from_millis);
    let reset_after = Duration::from_millis(decision.reset_after_ms);
    let grows_after = parameter(state, "t").map(Duration::from_secs);
    Answer {
        allowed: decision.allowed,
        limit: decision.limit,
        per: parameter(policy, "w").map(Duration::from_secs),
        burst: parameter(policy, "weir-burst").and_then(|burst| u32::try_from(burst).ok()),
        remaining: decision.remaining,
        // Seconds are rounded up: never later than the key is full.
        grows_after: grows_after.unwrap_or(reset_after).min(reset_after),
        reset_after,
        retry_after,
        by_fail_mode: decision.by_fail_mode,
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    text(headers, name).parse().ok().map(Duration::from_secs)
}

/// The number of a parameter of the first item, which is the limit: the day of a tenant may stand behind it. The name of the limit,
/// which may hold anything, stands in quotes before its parameters.
fn parameter(value: &str, name: &str) -> Option<u64> {
    let quoted = value.strip_prefix('"')?;
    let mut is_escaped = false;
    let end = quoted.find(|symbol| {
        let ends = symbol == '"' && !is_escaped;
        is_escaped = symbol == '\\' && !is_escaped;
        ends
    })?;
    let behind = &quoted[end + 1..];
    let item = behind.split(',').next().unwrap_or(behind);
    item.split(';').find_map(|parameter| {
        let (key, number) = parameter.split_once('=')?;
        (key == name).then(|| number.parse().ok())?
    })
}

/// The header by which a hit is named, so that it counts once however often it is asked.
pub(super) const HIT_ID: &str = "Weir-Hit-Id";

/// Whether asking twice is the same as asking once, without a name.
pub(super) fn may_repeat(operation: Operation) -> bool {
    matches!(operation, Operation::Hit(0) | Operation::Reset)
}

/// Nobody answered.
pub(super) fn silent(why: String, counted: Counted) -> Error {
    Error::NoDecision {
        why,
        counted,
        retry_after: Nanos::from_millis(200).into(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use quota::Algorithm;

    use super::*;

    const HIT: Operation = Operation::Hit(3);

    fn key() -> Key<'static> {
        Key::new("u/1").unwrap()
    }

    /// Once the last quote of the header was looked for: behind a limit stood the day, and its 24 hours were taken for those of the limit.
    #[test]
    fn the_first_item_is_the_limit_whatever_it_is_called_and_whatever_stands_behind_it() {
        let of = parameter;
        let day = r#""login";q=3;w=3600;weir-burst=5, "day";q=10000;w=86400"#;
        assert_eq!(
            (of(day, "w"), of(day, "weir-burst")),
            (Some(3_600), Some(5))
        );
        assert_eq!(of(r#""login";q=3, "day";q=9;w=86400"#, "w"), None);
        let odd = r#""a\"w=1\\";q=3;w=60"#;
        assert_eq!(of(odd, "w"), Some(60));
        for none in ["", "login;w=60", "\"login", "\"login\\\";w=60"] {
            assert_eq!(of(none, "w"), None, "{none}");
        }
    }

    #[test]
    fn questions_are_asked_as_the_api_has_them() {
        let named = Target::Named("log in".into());
        let asked = request(&named, &key(), HIT).unwrap();
        assert_eq!((asked.method, &*asked.path), (Method::POST, "/v1/check"));
        assert_eq!(asked.body, br#"{"limit":"log in","key":"u/1","cost":3}"#);

        let rule = Rule::new(Algorithm::Gcra, 5, Duration::from_secs(60)).unwrap();
        let rule = Target::Rule(rule.with_burst(9).unwrap());
        let asked = request(&rule, &key(), Operation::Refund(1)).unwrap();
        assert_eq!(&*asked.path, "/v1/refund");
        assert_eq!(
            asked.body,
            br#"{"rule":{"algorithm":"gcra","limit":5,"per":"60000ms","burst":9},"key":"u/1","cost":1}"#
        );

        let asked = request(&named, &key(), Operation::Reset).unwrap();
        assert_eq!(
            (asked.method, &*asked.path),
            (Method::DELETE, "/v1/keys/log%20in/u%2F1")
        );
        let refused = request(&rule, &key(), Operation::Reset);
        assert!(matches!(refused, Err(Error::Unsupported { .. })));
    }

    #[test]
    fn a_decision_is_read_with_what_only_headers_say() {
        let mut headers = HeaderMap::new();
        let policy = HeaderValue::from_static(r#""a;w=9";q=10;w=60;weir-burst=20"#);
        headers.insert("ratelimit-policy", policy);
        headers.insert("ratelimit", HeaderValue::from_static(r#""a;t=9";r=7;t=6"#));
        let body = br#"{"allowed":false,"limit":10,"remaining":7,"retry_after_ms":1500,"reset_after_ms":18000}"#;
        let Told::Final(Ok(answer)) = read(StatusCode::TOO_MANY_REQUESTS, &headers, body, HIT)
        else {
            panic!("a decision");
        };
        assert_eq!((answer.allowed, answer.remaining), (false, 7));
        assert_eq!(answer.per, Some(Duration::from_secs(60)));
        assert_eq!(answer.burst, Some(20));
        assert_eq!(answer.grows_after, Duration::from_secs(6));
        let limited = answer.outcome().unwrap_err();
        assert_eq!(limited.retry_after, Duration::from_millis(1_500));
    }

    #[test]
    fn every_problem_says_what_became_of_the_hit() {
        let told = |kind: &str, detail: &str| {
            let body = format!(r#"{{"type":"/problems/{kind}","title":"t","detail":"{detail}"}}"#);
            read(
                StatusCode::SERVICE_UNAVAILABLE,
                &HeaderMap::new(),
                body.as_bytes(),
                HIT,
            )
        };
        for kind in [
            "overloaded",
            "no-decision",
            "stale-configuration",
            "draining",
        ] {
            let told = told(kind, "and it was not counted");
            let Told::Elsewhere { error, wait } = told else {
                panic!("{kind}: {told:?}");
            };
            assert_eq!((error.counted(), wait), (Counted::No, kind == "draining"));
        }
        for said in [
            r#"it is unknown whether this hit was counted"#,
            r#"in other words","counted":"unknown"#,
        ] {
            let unknown = told("no-decision", said);
            let Told::Unknown(error) = unknown else {
                panic!("{unknown:?}");
            };
            assert_eq!(error.counted(), Counted::Unknown);
        }
        let invalid = told("invalid-request", r#"x","accepted":"1 to 5"#);
        let expected = Error::Invalid {
            what: "x".to_owned(),
            accepted: "1 to 5".into(),
        };
        assert_eq!(invalid, Told::Final(Err(expected.clone())));
        let nameless = told(
            "invalid-request",
            r#"x","field":"Weir-Hit-Id","accepted":"1 to 5"#,
        );
        assert_eq!(nameless, Told::Nameless(expected));
        for kind in [
            "unknown-limit",
            "never-conforms",
            "invalid-request",
            "forbidden",
            "tenant-suspended",
        ] {
            let told = told(kind, "no");
            assert!(
                matches!(&told, Told::Final(Err(error)) if error.counted() == Counted::No),
                "{told:?}"
            );
        }
        for body in ["", "<html>", "{}", r#"{"type":"/other","title":"t"}"#] {
            let told = read(StatusCode::OK, &HeaderMap::new(), body.as_bytes(), HIT);
            assert_eq!(told, Told::Strange, "{body}");
        }
    }

    /// The plan's requests of a day are a limit that a caller waits for; those of a second are this node's alone.
    #[test]
    fn what_a_plan_refuses_is_a_limit_that_denies_or_no_decision() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("3600"));
        let told = |kind: &str| {
            let body = format!(
                r#"{{"type":"/problems/{kind}","title":"t","limit":5,"used":5,"remaining":0}}"#
            );
            read(
                StatusCode::TOO_MANY_REQUESTS,
                &headers,
                body.as_bytes(),
                HIT,
            )
        };
        let Told::Final(Ok(answer)) = told("quota-exceeded") else {
            panic!("{:?}", told("quota-exceeded"));
        };
        let an_hour = Duration::from_secs(3_600);
        assert_eq!((answer.limit, answer.remaining), (5, 0));
        assert_eq!(answer.per, Some(Duration::from_secs(86_400)));
        assert_eq!(answer.outcome().unwrap_err().retry_after, an_hour);
        let Told::Elsewhere { error, wait: true } = told("tenant-rate") else {
            panic!("{:?}", told("tenant-rate"));
        };
        assert_eq!(error.counted(), Counted::No);
    }
}
