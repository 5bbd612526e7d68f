//! Answers that carry a decision.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::{BufMut as _, BytesMut};
use coordinator::{Answer, Policy};
use limiter::{DayStanding, Refusal, Selected, add_standing, write_retry_after};
use quota::{Cost, Verdict};

use crate::problem::Problem;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The longest decision: every member at its longest, and some.
const DECISION_JSON_MAX: usize = 160;

/// Answers one hit with its decision as JSON: 200, 429, or 422 for what never conforms. `day`: of the tenant, if it is one.
pub(crate) fn respond(
    selected: &Selected,
    cost: Cost,
    answer: &Answer,
    day: Option<DayStanding>,
) -> Result<Response, Problem> {
    if answer.decision.verdict == Verdict::NeverConforms {
        return Err(Refusal::never_conforms(selected.policy(), cost).into());
    }
    let mut json = BytesMut::with_capacity(DECISION_JSON_MAX);
    write_json(selected.policy(), answer, &mut json);
    let mut response = Response::new(Body::from(json.freeze()));
    // Room for everything that is added here: growing would rehash.
    *response.headers_mut() = HeaderMap::with_capacity(8);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    mark(&mut response, selected, cost, answer, day);
    Ok(response)
}

/// Gives a response the status and the headers that go with a decision on a hit of `cost`. A peek is always 200. What was
/// admitted tells where the day of its tenant stands, too.
pub(crate) fn mark(
    response: &mut Response,
    selected: &Selected,
    cost: Cost,
    answer: &Answer,
    day: Option<DayStanding>,
) {
    let headers = response.headers_mut();
    selected.headers().write(&answer.decision, headers);
    if cost == Cost::PEEK {
        return;
    }
    if answer.decision.is_allowed() {
        if let Some(day) = day {
            add_standing(&day.beside(selected.name()), headers);
        }
    } else {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        write_retry_after(&answer.decision, response.headers_mut());
    }
}

/// Writes a decision as JSON. Spans are rounded up to whole milliseconds.
pub(crate) fn write_json(policy: &Policy, answer: &Answer, json: &mut BytesMut) {
    let decision = &answer.decision;
    let mut number = itoa::Buffer::new();
    json.put_slice(if decision.is_allowed() {
        br#"{"allowed":true,"limit":"#
    } else {
        br#"{"allowed":false,"limit":"#
    });
    json.put_slice(number.format(policy.limit.units()).as_bytes());
    json.put_slice(br#","remaining":"#);
    json.put_slice(number.format(decision.remaining).as_bytes());
    json.put_slice(br#","retry_after_ms":"#);
    match decision.verdict {
        Verdict::Deny { retry_after } => {
            json.put_slice(number.format(retry_after.ceil_millis()).as_bytes());
        }
        Verdict::Allow | Verdict::NeverConforms => json.put_slice(b"null"),
    }
    json.put_slice(br#","reset_after_ms":"#);
    json.put_slice(number.format(decision.reset_after.ceil_millis()).as_bytes());
    if answer.by_fail_mode {
        json.put_slice(br#","by_fail_mode":true"#);
    }
    json.put_u8(b'}');
}

/// A 200 with `json`.
pub(crate) fn json(json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
