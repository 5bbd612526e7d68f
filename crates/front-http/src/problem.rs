//! Refusals as clients of HTTP see them: `application/problem+json` (RFC 9457).

use std::fmt::Write as _;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use limiter::{Counted, Given, Kind, Refusal, write_standings};
use serde_json::Value;

/// A refusal to tell a client of HTTP.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Problem {
    refusal: Refusal,
    /// Told once more under throttlecrab's name for it.
    has_error: bool,
    /// Each thing that is wrong, where there may be several.
    problems: Vec<String>,
    /// What only this protocol refuses; the refusal's own kind is then that of a request that makes no sense.
    protocol: Option<Protocol>,
}

/// What only this protocol refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    MethodNotAllowed,
    HeadTooLarge,
    UnsupportedMediaType,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [
        Self::MethodNotAllowed,
        Self::HeadTooLarge,
        Self::UnsupportedMediaType,
    ];

    /// Status, last part of `type`, and `title`.
    pub(crate) const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This path takes other methods",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Kind::TooLarge.name(),
                Kind::TooLarge.title(),
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be JSON",
            ),
        }
    }
}

/// The status that goes with a refusal.
pub(crate) const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidRequest => StatusCode::BAD_REQUEST,
        Kind::Unauthorized | Kind::WrongCredentials => StatusCode::UNAUTHORIZED,
        Kind::Forbidden | Kind::ForgedRequest | Kind::SignupClosed | Kind::TenantSuspended => {
            StatusCode::FORBIDDEN
        }
        Kind::UnknownLimit | Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::DefinedInFile
        | Kind::MemberAlive
        | Kind::NotReloaded
        | Kind::Conflict
        | Kind::EmailTaken
        | Kind::EmailConflict
        | Kind::LastOwner
        | Kind::PlanLimit
        | Kind::BillingConflict => StatusCode::CONFLICT,
        Kind::LinkUsed => StatusCode::GONE,
        Kind::QuotaExceeded | Kind::TenantRate | Kind::TooManyAttempts => {
            StatusCode::TOO_MANY_REQUESTS
        }
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::NeverConforms => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::NoDecision
        | Kind::NoQuorum
        | Kind::StaleConfiguration
        | Kind::BillingUnavailable
        | Kind::Overloaded
        | Kind::Draining => StatusCode::SERVICE_UNAVAILABLE,
    }
}

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            has_error: false,
            problems: Vec::new(),
            protocol: None,
        }
    }
}

impl Problem {
    /// The same, as the last answer on its connection.
    pub(crate) fn last(self) -> Self {
        Self {
            refusal: self.refusal.last(),
            ..self
        }
    }

    /// A refusal that only this protocol knows.
    pub(crate) fn of_protocol(protocol: Protocol, refusal: Refusal) -> Self {
        Self {
            refusal,
            has_error: false,
            problems: Vec::new(),
            protocol: Some(protocol),
        }
    }

    /// The same, with throttlecrab's member `error` besides.
    pub(crate) fn with_error(self) -> Self {
        Self {
            has_error: true,
            ..self
        }
    }

    /// The same, with each thing that is wrong besides.
    pub(crate) fn with_problems(self, problems: &[String]) -> Self {
        Self {
            problems: problems.to_vec(),
            ..self
        }
    }

    /// What is said about this one.
    pub(crate) fn detail(&self) -> &str {
        self.refusal.detail()
    }

    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        let kind = self.refusal.kind();
        self.protocol
            .map_or((status(kind), kind.name(), kind.title()), Protocol::parts)
    }

    /// The problem as a whole answer, where there is no service to give it. The connection ends with it. Without a body
    /// where the request was `HEAD` (RFC 9110, section 9.3.2).
    pub(crate) fn last_words(&self, is_head: bool) -> Vec<u8> {
        let (status, ..) = self.parts();
        let json = self.json();
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\ndate: {date}\r\n",
            PROBLEM_JSON.to_str().expect("it is ASCII"),
            json.len()
        );
        if let Some(seconds) = self.refusal.retry_after_secs() {
            head.push_str(&format!("retry-after: {seconds}\r\n"));
        }
        let body = if is_head { "" } else { &json };
        format!("{head}\r\n{body}").into_bytes()
    }

    /// The problem as JSON, as a body or a part of one.
    pub(crate) fn json(&self) -> String {
        let (status, name, title) = self.parts();
        let refusal = &self.refusal;
        let mut json = format!(
            r#"{{"type":"/problems/{name}","title":"{title}","status":{},"detail":{}"#,
            status.as_u16(),
            Value::from(refusal.detail())
        );
        let text = |text: &str| Value::from(text).to_string();
        let members = [
            ("field", refusal.at_field().map(text)),
            ("given", refusal.given().map(given)),
            ("accepted", refusal.accepted().map(text)),
            (
                "counted",
                (refusal.counted() == Counted::Unknown).then(|| text("unknown")),
            ),
            ("error", self.has_error.then(|| text(refusal.detail()))),
            (
                "problems",
                (!self.problems.is_empty()).then(|| Value::from(&*self.problems).to_string()),
            ),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                write!(json, r#","{name}":{value}"#).expect("a string takes everything");
            }
        }
        if refusal.day().is_some() {
            json.push_str(r#","violated-policies":["day"]"#);
        }
        for (name, value) in refusal.more() {
            write!(json, r#","{name}":{}"#, given(value)).expect("a string takes everything");
        }
        json.push('}');
        json
    }
}

/// As JSON.
fn given(given: &Given) -> String {
    match given {
        Given::Text(given) => Value::from(&**given).to_string(),
        Given::Literal(given) => given.clone(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, ..) = self.parts();
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if self.refusal.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = match self.refusal.has_invalid_token() {
                true => r#"Bearer error="invalid_token""#,
                false => "Bearer",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(day) = self.refusal.day() {
            write_standings([day.beside("")].into_iter(), headers);
        }
        if let Some(seconds) = self.refusal.retry_after_secs() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Answers paths that nothing is served at.
pub(crate) async fn not_found(uri: Uri) -> Problem {
    Refusal::new(Kind::NotFound, "nothing is served at this path")
        .with_given(uri.path())
        .into()
}

/// Answers methods that a path does not take. `Allow` is added by the router.
pub(crate) async fn method_not_allowed(method: Method) -> Problem {
    let refusal = Refusal::invalid("the header Allow lists the methods of this path");
    Problem::of_protocol(
        Protocol::MethodNotAllowed,
        refusal.with_given(method.as_str()),
    )
}
