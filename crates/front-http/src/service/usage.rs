//! `GET /v1/usage`: the requests of days, as they are counted.

use accounts::UnixSecs;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use limiter::{DayUsage, Node, Refusal, parameter};
use serde_json::{Value, json};

use crate::app::Shared;
use crate::caller::By;
use crate::decided;
use crate::memory::ANSWER_BYTES;
use crate::problem::Problem;

const DAY_ACCEPTED: &str = "a day such as 2026-11-21, at most 400 days";
const DAYS_MAX: u64 = 400;
/// Days of who names none, today the last.
const DAYS_DEFAULT: u64 = 30;

/// `GET /v1/usage`
pub(crate) async fn usage<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let tenant = caller.needs_tenant()?;
    let today = caller.today();
    let (from, to) = days(&uri, today)?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let made = app.limiter.tenant(tenant)?.made_at.days();
    let used = from.max(made)..=to.min(today);
    let days = caller.limiter.usage(tenant, used.chain([today])).await?;
    let (now, days) = days.split_last().expect("today was asked for");
    if wants_csv(&headers) {
        let mut response = Response::new(Body::from(room.keep(csv(days))));
        let kind = HeaderValue::from_static("text/csv; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        return Ok(response);
    }
    let cap = caller.limiter.day().map(|day| day.cap);
    let json = json!({
        "zone": "UTC",
        "today": {
            "day": date(today),
            "requests": now.requests,
            "denied": now.denied,
            "cap": cap,
            "remaining": cap.map(|cap| cap.saturating_sub(now.requests)),
            "resets_at": UnixSecs::of_day(today + 1).to_string(),
        },
        "days": days.iter().map(day_json).collect::<Vec<_>>(),
    });
    Ok(decided::json(room.keep(json.to_string())))
}

/// The days of the parameters `from` and `to`, since the epoch.
pub(super) fn days(uri: &Uri, today: u64) -> Result<(u64, u64), Refusal> {
    let query = uri.query().unwrap_or_default();
    let to = day(query, "to")?.unwrap_or(today);
    let from = day(query, "from")?.unwrap_or_else(|| to.saturating_sub(DAYS_DEFAULT - 1));
    if to < from || DAYS_MAX <= to - from {
        let given = parameter(query, "from")?.unwrap_or_default().into_owned();
        return Err(Refusal::field("from", given, DAY_ACCEPTED));
    }
    Ok((from, to))
}

fn day_json(day: &DayUsage) -> Value {
    json!({
        "day": date(day.day),
        "requests": day.requests,
        "denied": day.denied,
        "closed": day.is_closed(),
    })
}

fn csv(days: &[DayUsage]) -> String {
    let mut csv = String::from("day,requests,denied,closed\r\n");
    for day in days {
        let (date, closed) = (date(day.day), day.is_closed());
        csv += &format!("{date},{},{},{closed}\r\n", day.requests, day.denied);
    }
    csv
}

fn wants_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| {
        accept
            .split([',', ';'])
            .any(|kind| kind.trim() == "text/csv")
    })
}

/// Days since the epoch, of a parameter such as `2026-11-21`.
fn day(query: &str, name: &'static str) -> Result<Option<u64>, Refusal> {
    let Some(given) = parameter(query, name)? else {
        return Ok(None);
    };
    let day = UnixSecs::of_date(&given).map(UnixSecs::days);
    day.map(Some)
        .ok_or_else(|| Refusal::field(name, &*given, DAY_ACCEPTED))
}

pub(super) fn date(day: u64) -> String {
    UnixSecs::of_day(day).date()
}
