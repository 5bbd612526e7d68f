//! What the span of a request says of HTTP, in the words of OpenTelemetry's conventions. Never its path, which may hold a key: the
//! pattern that the path was found by.

use axum::extract::Request;
use axum::http::{self, Method};
use axum::middleware::Next;
use axum::response::Response;
use limiter::Requests;
use traces::Span;

/// The span of a request that begins, if it is recorded.
#[inline]
pub(crate) fn begin<B>(requests: &Requests, request: &http::Request<B>) -> Option<Span> {
    if !requests.are_traced() {
        return None;
    }
    let method = method(request.method());
    let name = if method == OTHER_METHOD {
        "HTTP"
    } else {
        method
    };
    let span = requests.begin(name, Some(request.headers()))?;
    span.set("http.request.method", method);
    Some(span)
}

/// Ends it with the answer.
pub(crate) fn end(span: Span, response: &Response) {
    let status = response.status();
    span.set("http.response.status_code", u32::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(
            status
                .canonical_reason()
                .unwrap_or("an error of the server"),
        );
    }
}

/// Notes by which pattern a request was found.
pub(crate) async fn note_route(path: &str, request: Request, next: Next) -> Response {
    let method = method(request.method());
    traces::current(|span| {
        span.rename(format!("{method} {path}"));
        span.set("http.route", path.to_owned());
    });
    next.run(request).await
}

/// Of what is none of the methods that everybody knows: clients make them up.
const OTHER_METHOD: &str = "_OTHER";

fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let known = known.into_iter().find(|known| method == known);
    known.unwrap_or(OTHER_METHOD)
}
