//! Answers to changes of limits.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use catalogue::Changed;
use serde_json::Value;

use crate::decided;

/// Names of live members that have not confirmed a change, between commas. Not there: it is in force on all.
const PENDING: HeaderName = HeaderName::from_static("weir-pending");

/// What stands now: 201 if nothing did before, else 200.
pub(crate) fn stored(changed: &Changed, json: &Value) -> Response {
    let status = match changed.replaced {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    answer(status, changed, Some(json))
}

/// As [`stored`], of a limit for one key: always 201, as clients have it.
pub(crate) fn created(changed: &Changed, json: &Value) -> Response {
    answer(StatusCode::CREATED, changed, Some(json))
}

/// What stands there now, in place of what did: 200.
pub(crate) fn changed(changed: &Changed, json: &Value) -> Response {
    answer(StatusCode::OK, changed, Some(json))
}

/// Nothing stands there any more: 204.
pub(crate) fn removed(changed: &Changed) -> Response {
    answer(StatusCode::NO_CONTENT, changed, None)
}

/// With something that is nobody's but the asker's: no cache on the way keeps it.
pub(crate) fn no_store(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

fn answer(status: StatusCode, changed: &Changed, json: Option<&Value>) -> Response {
    let body = json.map_or_else(Body::empty, |json| Body::from(json.to_string()));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if json.is_some() {
        headers.insert(CONTENT_TYPE, decided::JSON);
    }
    // Names of nodes have no character that a header refuses; one that did would be no reason to hide the others.
    if !changed.pending.is_empty() {
        let pending = HeaderValue::from_str(&changed.pending.join(", "));
        let pending = pending.unwrap_or(HeaderValue::from_static("unnamed"));
        headers.insert(PENDING, pending);
    }
    response
}
