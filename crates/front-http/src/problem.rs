//! Errors as clients see them: `application/problem+json` (RFC 9457).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use coordinator::{NoDecision, Policy};
use quota::{Cost, Nanos};
use serde_json::Value;

/// What kind of refusal, and with it the status and `type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    InvalidRequest,
    Unauthorized,
    Forbidden,
    UnknownLimit,
    NotFound,
    MethodNotAllowed,
    DefinedInFile,
    MemberAlive,
    TooLarge,
    HeadTooLarge,
    UnsupportedMediaType,
    NeverConforms,
    NotImplemented,
    NoDecision,
    Overloaded,
    Draining,
}

impl Kind {
    /// Status, last part of `type`, and `title`.
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (
                StatusCode::BAD_REQUEST,
                "invalid-request",
                "The request is not valid",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "It is not known who asks",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "The token is not the right one",
            ),
            Self::UnknownLimit => (
                StatusCode::NOT_FOUND,
                "unknown-limit",
                "There is no limit of this name",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This path takes other methods",
            ),
            Self::MemberAlive => (StatusCode::CONFLICT, "member-alive", "The member is alive"),
            Self::DefinedInFile => (
                StatusCode::CONFLICT,
                "defined-in-file",
                "The limit is defined in the file",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too-large",
                "The request is too large",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be JSON",
            ),
            Self::NeverConforms => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "never-conforms",
                "The cost is above the burst: no wait helps",
            ),
            Self::NotImplemented => (
                StatusCode::NOT_IMPLEMENTED,
                "not-implemented",
                "This version does not do that",
            ),
            Self::NoDecision => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no-decision",
                "No decision could be had",
            ),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Too much is waiting already",
            ),
            Self::Draining => (
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                "This node is stopping",
            ),
        }
    }
}

/// A refusal to tell the client. Boxed, because results that carry it are passed around on the path of a hit.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Clone, PartialEq, Debug)]
struct Parts {
    kind: Kind,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    given: Option<Value>,
    accepted: Option<Cow<'static, str>>,
    retry_after: Option<Nanos>,
    is_last: bool,
}

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Most characters of a string that is given back: enough to recognise it by.
const GIVEN_MAX: usize = 100;

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            field: None,
            given: None,
            accepted: None,
            retry_after: None,
            is_last: false,
        }))
    }

    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::InvalidRequest, detail)
    }

    /// A field or parameter with a value that is not accepted.
    pub(crate) fn field(
        field: impl Into<Cow<'static, str>>,
        given: impl Into<Value>,
        accepted: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (field, accepted) = (field.into(), accepted.into());
        Self::invalid(format!("{field} must be {accepted}"))
            .at(field)
            .given(given)
            .accepted(accepted)
    }

    /// A field or parameter that is not there.
    pub(crate) fn missing(
        field: impl Into<Cow<'static, str>>,
        accepted: impl Into<Cow<'static, str>>,
    ) -> Self {
        let field = field.into();
        Self::invalid(format!("{field} is missing"))
            .at(field)
            .accepted(accepted)
    }

    /// A limit that nobody defined.
    pub(crate) fn unknown_limit(name: &str) -> Self {
        Self::new(Kind::UnknownLimit, "no limit has this name")
            .at("limit")
            .given(name)
            .accepted("a name that GET /v1/limits lists")
    }

    /// A question that a node cannot answer before it has joined.
    pub(crate) fn joining() -> Self {
        Self::new(
            Kind::NoDecision,
            "this node is still joining its cluster; nothing was counted or changed",
        )
        .retry_after(Nanos::from_secs(1))
    }

    /// A cost that is above the burst of `policy`.
    pub(crate) fn never_conforms(policy: &Policy, cost: Cost) -> Self {
        let burst = policy.limit.burst();
        Self::new(
            Kind::NeverConforms,
            format!(
                "a cost of {} is above {burst}, the most that passes at once; it was not counted",
                cost.units()
            ),
        )
        .at("cost")
        .given(cost.units())
        .accepted(format!("0 to {burst}"))
    }

    #[must_use]
    pub(crate) fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    #[must_use]
    pub(crate) fn given(mut self, given: impl Into<Value>) -> Self {
        self.0.given = Some(match given.into() {
            Value::String(text) if GIVEN_MAX < text.chars().count() => text
                .chars()
                .take(GIVEN_MAX)
                .chain(['…'])
                .collect::<String>()
                .into(),
            Value::Array(_) => "an array".into(),
            Value::Object(_) => "an object".into(),
            value => value,
        });
        self
    }

    #[must_use]
    pub(crate) fn accepted(mut self, accepted: impl Into<Cow<'static, str>>) -> Self {
        self.0.accepted = Some(accepted.into());
        self
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, span: Nanos) -> Self {
        self.0.retry_after = Some(span);
        self
    }

    /// Nothing can be read after it: the connection ends.
    #[must_use]
    pub(crate) fn last(mut self) -> Self {
        self.0.is_last = true;
        self
    }

    /// What is said about this one.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The problem as a whole answer, where there is no service to give it. The connection ends with it.
    pub(crate) fn last_words(&self) -> Vec<u8> {
        let (status, ..) = self.0.kind.parts();
        let json = self.json();
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\ndate: {date}\r\n",
            PROBLEM_JSON.to_str().expect("it is ASCII"),
            json.len()
        );
        if let Some(seconds) = self.retry_after_secs() {
            head.push_str(&format!("retry-after: {seconds}\r\n"));
        }
        format!("{head}\r\n{json}").into_bytes()
    }

    /// Seconds to wait, where waiting helps. Zero would invite to hammer a node that just said it cannot answer.
    fn retry_after_secs(&self) -> Option<u64> {
        self.0.retry_after.map(|span| span.ceil_secs().max(1))
    }

    /// The problem as JSON, as a body or a part of one.
    pub(crate) fn json(&self) -> String {
        let (status, name, title) = self.0.kind.parts();
        let mut json = format!(
            r#"{{"type":"/problems/{name}","title":"{title}","status":{},"detail":{}"#,
            status.as_u16(),
            Value::from(&*self.0.detail)
        );
        let members = [
            ("field", self.0.field.as_deref().map(Value::from)),
            ("given", self.0.given.clone()),
            ("accepted", self.0.accepted.as_deref().map(Value::from)),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                write!(json, r#","{name}":{value}"#).expect("a string takes everything");
            }
        }
        json.push('}');
        json
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, _, _) = self.0.kind.parts();
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if self.0.is_last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.0.kind == Kind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_secs() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<NoDecision> for Problem {
    fn from(error: NoDecision) -> Self {
        let kind = match error {
            NoDecision::Unavailable { .. } | NoDecision::Unknown { .. } => Kind::NoDecision,
            NoDecision::Overloaded { .. } => Kind::Overloaded,
            NoDecision::Draining { .. } => Kind::Draining,
        };
        tracing::debug!(%error, "no decision");
        Self::new(kind, error.to_string()).retry_after(error.retry_after())
    }
}

/// Answers paths that nothing is served at.
pub(crate) async fn not_found(uri: Uri) -> Problem {
    Problem::new(Kind::NotFound, "nothing is served at this path").given(uri.path())
}

/// Answers methods that a path does not take. `Allow` is added by the router.
pub(crate) async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "the header Allow lists the methods of this path",
    )
    .given(method.as_str())
}
