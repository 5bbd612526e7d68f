//! What a client is told, beside what the service answers.

use bytes::Bytes;
use client::{Answer, Limited};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use limiter::Standing;

use crate::extract::Clues;

/// The body of an answer: this layer's own, or the service's.
pub type ResponseBody<R> = Either<Full<Bytes>, R>;

/// A request that is limited.
#[derive(Debug)]
pub struct Denied<'r> {
    /// The name of the limit that it has to wait for longest.
    pub limit: &'r str,
    /// How long, and where that limit stands.
    pub limited: Limited,
    /// What the request brought.
    pub clues: Clues<'r>,
}

/// The answer to a request that is limited, unless the program has its own.
pub(crate) fn denied(_: &Denied<'_>) -> Response<Bytes> {
    plain(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests")
}

/// An answer of this layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Limited,
    NoDecision,
    NeverConforms,
    Missing,
    Invalid,
}

impl Refused {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Limited => (StatusCode::TOO_MANY_REQUESTS, "8", "Too Many Requests"),
            Self::NoDecision => {
                let said = "No decision could be had; try again";
                (StatusCode::SERVICE_UNAVAILABLE, "14", said)
            }
            Self::NeverConforms => {
                let said = "This costs more than ever passes at once";
                (StatusCode::UNPROCESSABLE_ENTITY, "9", said)
            }
            Self::Missing => (StatusCode::UNAUTHORIZED, "16", "Who asks is missing"),
            Self::Invalid => (
                StatusCode::BAD_REQUEST,
                "3",
                "Who asks can be read in two ways",
            ),
        }
    }

    /// In plain text.
    pub(crate) fn text(self) -> Response<Bytes> {
        let (status, _, said) = self.parts();
        plain(status, said)
    }

    /// As gRPC has it: an answer of trailers alone, which are its headers.
    pub(crate) fn grpc(self) -> Response<Bytes> {
        let (_, code, said) = self.parts();
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(code));
        headers.insert("grpc-message", HeaderValue::from_static(said));
        response
    }
}

/// Whether a request is one of gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn plain(status: StatusCode, said: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(said.as_bytes()));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// Adds the headers that tell where the limits stand: `RateLimit` of all of them, `X-RateLimit-…` of the one that is nearest to
/// its end. Spans are rounded up to whole seconds.
pub(crate) fn write<'t>(
    told: impl Iterator<Item = (&'t str, &'t Answer)> + Clone,
    headers: &mut HeaderMap,
) {
    let standings = told.map(|(name, answer)| Standing {
        name,
        limit: answer.limit,
        per_secs: answer.per.map(seconds),
        burst: answer.burst,
        remaining: answer.remaining,
        grows_after_secs: seconds(answer.grows_after),
        reset_after_secs: seconds(answer.reset_after),
    });
    limiter::write_standings(standings, headers);
}

/// Adds `Retry-After`.
pub(crate) fn write_retry_after(span: std::time::Duration, headers: &mut HeaderMap) {
    headers.insert(RETRY_AFTER, seconds(span).max(1).into());
}

/// Rounded up.
fn seconds(span: std::time::Duration) -> u64 {
    span.as_secs() + u64::from(0 < span.subsec_nanos())
}
