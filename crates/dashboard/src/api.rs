//! The HTTP API, asked in this process.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{
    ACCEPT, CONTENT_TYPE, COOKIE, HeaderName, ORIGIN, RETRY_AFTER, SET_COOKIE, USER_AGENT,
};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt as _;

/// More than any answer that a page is made of.
const ANSWER_MAX: usize = 8 << 20;

const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
const TENANT: HeaderName = HeaderName::from_static("weir-tenant");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Of a request for a page, what the API must know of its reader: who it is, and from where.
const HANDED_ON: [HeaderName; 6] = [
    COOKIE,
    ORIGIN,
    USER_AGENT,
    FETCH_SITE,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("forwarded"),
];

/// Answers what a program would be answered.
pub(crate) struct Api {
    router: Router,
    introduce: fn(&Extensions, &mut Extensions),
}

/// One question to the API.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// In which tenant.
    pub(crate) tenant: Option<&'a str>,
    /// What the form has brought.
    pub(crate) csrf: Option<&'a str>,
    pub(crate) body: Option<Value>,
    /// In place of JSON.
    pub(crate) accept: Option<&'static str>,
    /// It changes nothing whatever the method, so that it does not matter whose page has led here.
    pub(crate) is_look: bool,
}

impl Ask<'_> {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            tenant: None,
            csrf: None,
            body: None,
            accept: None,
            is_look: false,
        }
    }
}

/// What came of one.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) cookies: Vec<HeaderValue>,
    pub(crate) pending: Option<String>,
    retry_after: Option<u32>,
}

/// Why it was refused, as far as a page tells it.
#[derive(Clone, Deserialize, Debug)]
pub(crate) struct Problem {
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) field: Option<String>,
    #[serde(default)]
    pub(crate) accepted: Option<String>,
    /// Seconds after which it is worth asking again.
    #[serde(skip)]
    pub(crate) retry_after: Option<u32>,
}

impl Problem {
    /// One that a page has found by itself.
    pub(crate) fn of_page(status: StatusCode, title: &str, detail: &str) -> Self {
        Self {
            status: status.as_u16(),
            title: title.to_owned(),
            detail: detail.to_owned(),
            field: None,
            accepted: None,
            retry_after: None,
        }
    }

    /// With which status it is told.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The same, of a field of a form.
    pub(crate) fn at(self, field: &str) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..self
        }
    }

    /// In one sentence.
    pub(crate) fn sentence(&self) -> String {
        match &self.accepted {
            Some(accepted) => format!("{}: {accepted}", self.detail),
            None if self.detail.is_empty() => self.title.clone(),
            None => self.detail.clone(),
        }
    }
}

impl Answer {
    /// The problem that it tells. `None`: it is well.
    pub(crate) fn problem(&self) -> Option<Problem> {
        if self.status.is_success() {
            return None;
        }
        let told = serde_json::from_slice::<Problem>(&self.body);
        let told = told.unwrap_or_else(|_| {
            let title = self.status.canonical_reason().unwrap_or("Refused");
            Problem::of_page(self.status, title, "")
        });
        Some(Problem {
            retry_after: self.retry_after,
            ..told
        })
    }

    /// What was not asked, or what is too much for a page.
    fn failed(status: StatusCode) -> Self {
        Self {
            status,
            body: Bytes::new(),
            cookies: Vec::new(),
            pending: None,
            retry_after: None,
        }
    }
}

impl Api {
    pub(crate) fn new(router: Router, introduce: fn(&Extensions, &mut Extensions)) -> Self {
        Self { router, introduce }
    }

    /// Asks as the reader whose request for a page has this head.
    pub(crate) async fn ask(&self, reader: &Parts, ask: Ask<'_>) -> Answer {
        let Some(response) = self.open(reader, ask).await else {
            return Answer::failed(StatusCode::BAD_REQUEST);
        };
        let (head, body) = response.into_parts();
        let Ok(body) = to_bytes(body, ANSWER_MAX).await else {
            return Answer::failed(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let cookies = head.headers.get_all(SET_COOKIE);
        let pending = head.headers.get("weir-pending");
        let retry_after = head.headers.get(RETRY_AFTER);
        Answer {
            status: head.status,
            body,
            cookies: cookies.into_iter().cloned().collect(),
            pending: pending.and_then(|it| it.to_str().ok()).map(str::to_owned),
            retry_after: retry_after.and_then(|it| it.to_str().ok()?.parse().ok()),
        }
    }

    /// The same, with a body that may have no end. `None`: it cannot be asked so.
    pub(crate) async fn open(&self, reader: &Parts, ask: Ask<'_>) -> Option<Response> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = ask.method;
        // Not all of them: what the router of the pages has noted of their paths is not of this one.
        (self.introduce)(&reader.extensions, request.extensions_mut());
        *request.uri_mut() = ask.path.parse().ok()?;
        let headers = request.headers_mut();
        for name in HANDED_ON {
            for value in reader.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let mut set = |name: HeaderName, value: Option<&str>| {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        };
        set(CSRF, ask.csrf);
        set(TENANT, ask.tenant);
        set(ACCEPT, ask.accept);
        set(FETCH_SITE, ask.is_look.then_some("same-origin"));
        if let Some(body) = ask.body {
            set(CONTENT_TYPE, Some("application/json"));
            *request.body_mut() = Body::from(body.to_string());
        }
        let Ok(response) = self.router.clone().oneshot(request).await;
        Some(response)
    }
}
