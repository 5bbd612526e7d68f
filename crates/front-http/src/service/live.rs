//! `GET /v1/live` and `GET /v1/series`: what the limits of a tenant decide, second by second.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use accounts::Scope;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use limiter::{Answered, LiveEvent, LiveSample, LiveStream, Node, Picture, Refusal, parameter};
use serde_json::{Map, Value, json};
use series::{NamedTotal, Point, Window};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::app::{App, Shared};
use crate::caller::{self, By, Needs};
use crate::decided;
use crate::memory::ANSWER_BYTES;
use crate::problem::Problem;

/// What these need of whoever asks.
pub(crate) const NEEDS: Needs = Needs::Scope(Scope::UsageRead);

/// How long a browser waits before it asks again once a stream has ended: first of its own, the page's script takes longer.
const RETRY: &str = "retry: 500\n\n";

/// A comment is sent so often, by which a proxy sees that the stream is in use; and who watches is looked at again.
const BEAT: Duration = Duration::from_secs(15);

const WINDOWS_ACCEPTED: &str = "10m, 1h, 24h or 35d";

/// A proxy that gathers answers would hold the events of a stream back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `GET /v1/live`
pub(crate) async fn live<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let stream = by.caller(&app).stream()?;
    let (asked, _) = request.into_parts();
    let mut beat = interval_at(Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        app,
        asked,
        stream,
        beat,
    };
    let retry = stream::once(async { RETRY.to_owned() });
    let events = retry.chain(stream::unfold(Some(watcher), told_next));
    let events = events.map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (ACCEL_BUFFERING, "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Who watches, as long as he does.
struct Watcher<N> {
    app: Arc<App<N>>,
    /// The request, by which is seen whether he still may.
    asked: Parts,
    stream: LiveStream,
    beat: Interval,
}

/// The next text of a stream, and who is told the one after. `None`: it ends, or he may not watch any more.
async fn told_next<N: Node>(watcher: Option<Watcher<N>>) -> Option<(String, Option<Watcher<N>>)> {
    let mut watcher = watcher?;
    let event = tokio::select! {
        event = watcher.stream.next() => event,
        _ = watcher.beat.tick() => {
            let Watcher { app, asked, .. } = &watcher;
            caller::admits(app, NEEDS, asked).ok()?;
            return Some((": here\n\n".to_owned(), Some(watcher)));
        }
    };
    let (text, goes_on) = match event {
        Some(LiveEvent::Sample(sample)) => (told("sample", &sample_json(&sample)), true),
        Some(LiveEvent::Used(percent)) => {
            let used = json!({ "kind": "used", "percent": percent });
            (told("notice", &used), true)
        }
        Some(LiveEvent::Bye) | None => (told("bye", &json!({})), false),
    };
    Some((text, goes_on.then_some(watcher)))
}

fn told(event: &str, data: &Value) -> String {
    format!("event: {event}\ndata: {data}\n\n")
}

fn sample_json(sample: &LiveSample) -> Value {
    let LiveSample {
        at,
        all,
        limits,
        today,
        cap,
        from,
    } = sample;
    let mut json = json!({
        "at": at,
        "allowed": all.allowed,
        "denied": all.denied,
        "p50_us": all.p50_micros,
        "p99_us": all.p99_micros,
        "limits": by_name_json(limits),
        "today": today.map(|day| json!({ "requests": day.requests, "denied": day.denied, "cap": cap })),
    });
    put_answered(&mut json, from);
    json
}

/// `{"login":[120,3]}`: allowed and denied.
fn by_name_json(totals: &[NamedTotal]) -> Value {
    let totals = totals
        .iter()
        .map(|NamedTotal { name, total }| (name.to_string(), json!([total.allowed, total.denied])));
    Value::Object(totals.collect::<Map<_, _>>())
}

pub(super) fn put_answered(json: &mut Value, answered: &Answered) {
    let Answered { from, of, missing } = answered;
    json["from"] = (*from).into();
    json["of"] = (*of).into();
    json["missing"] = missing.clone().into();
}

/// `GET /v1/series`
pub(crate) async fn series<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    caller.needs_tenant()?;
    let query = uri.query().unwrap_or_default();
    let window = match parameter(query, "window")? {
        None => Window::TenMinutes,
        Some(given) => {
            Window::of(&given).ok_or_else(|| Refusal::field("window", &*given, WINDOWS_ACCEPTED))?
        }
    };
    let limit = parameter(query, "limit")?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let picture = caller.limiter.picture(limit.as_deref(), window).await;
    let json = picture_json(&picture, window);
    Ok(decided::json(room.keep(json.to_string())))
}

/// Columns, with a row for each step of the window: where nothing was decided, of zeros.
fn picture_json(picture: &Picture, window: Window) -> Value {
    let Picture {
        until,
        points,
        limits,
        api_keys,
        from,
    } = picture;
    let rows = rows(points, window, *until);
    let column = |of: fn(&Point) -> u64| -> Value { rows.iter().map(of).collect() };
    let mut json = json!({
        "window": window.name(),
        "step": window.step(),
        "at": column(|point| point.at.into()),
        "allowed": column(|point| point.total.allowed),
        "denied": column(|point| point.total.denied),
        "p50_us": column(|point| point.total.p50_micros.into()),
        "p99_us": column(|point| point.total.p99_micros.into()),
        "limits": by_name_json(limits),
        "api_keys": by_name_json(api_keys),
    });
    put_answered(&mut json, from);
    json
}

fn rows(points: &[Point], window: Window, now: u32) -> Vec<Point> {
    let step = window.step();
    let last = now - now % step;
    let first = last.saturating_sub(window.span() - step);
    // Another node's clock may be a little ahead: what it has of the second that is not over here comes with the next picture.
    let mut points = points
        .iter()
        .skip_while(|point| point.at < first)
        .peekable();
    let rows = (first..=last).step_by(step as usize).map(|at| {
        let known = points.next_if(|point| point.at == at);
        known.copied().unwrap_or(Point {
            at,
            ..Point::default()
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use series::Total;

    use super::*;

    fn point(at: u32, allowed: u64) -> Point {
        let total = Total {
            allowed,
            ..Total::default()
        };
        Point { at, total }
    }

    #[test]
    fn a_picture_has_a_row_for_each_step() {
        for window in Window::ALL {
            let now = 1_800_003_599;
            let (step, count) = (window.step(), window.span() / window.step());
            let last = now - now % step;
            let points = [last - window.span(), last - 2 * step, last, last + step];
            let rows = rows(&points.map(|at| point(at, 7)), window, now);
            assert_eq!(rows.len(), count as usize);
            assert!(rows.windows(2).all(|pair| pair[1].at - pair[0].at == step));
            assert_eq!(rows.last(), Some(&point(last, 7)));
            let told: Vec<_> = rows.iter().filter(|row| row.total.allowed == 7).collect();
            assert_eq!(told, [&point(last - 2 * step, 7), &point(last, 7)]);
        }
    }
}
