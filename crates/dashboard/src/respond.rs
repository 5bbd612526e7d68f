//! Answers to browsers.

use askama::Template;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::api::Problem;
use crate::assets::{ICON, SCRIPT, STYLE};

/// What a page may load and do: nothing of anybody else, but for being led to where a plan is paid.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self' https://checkout.stripe.com https://billing.stripe.com; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; \
    require-trusted-types-for 'script'";

/// Something in place of the page that was asked for.
pub(crate) enum Trouble {
    /// The reader has to log in first, and is led back here.
    Login { next: String },
    /// A page that says what is wrong.
    Told(Problem),
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Told(problem)
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage<'a> {
    style: String,
    script: String,
    icon: String,
    problem: &'a Problem,
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Self::Login { next } => {
                let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
                see_other(&format!("/login?next={next}"))
            }
            Self::Told(problem) => {
                let status = StatusCode::from_u16(problem.status);
                let page = TroublePage {
                    style: STYLE.path(),
                    script: SCRIPT.path(),
                    icon: ICON.path(),
                    problem: &problem,
                };
                html(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &page)
            }
        }
    }
}

/// There is no such page, or none for this reader: nobody is told which.
pub(crate) fn missing() -> Trouble {
    let title = "There is no such page";
    let detail = "Or it is of a tenant that is not yours.";
    Problem::of_page(StatusCode::NOT_FOUND, title, detail).into()
}

/// A page.
pub(crate) fn html(status: StatusCode, page: &impl Template) -> Response {
    let text = page.render().expect("a template writes to memory alone");
    let mut response = (status, Body::from(text)).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with_policy(response)
}

/// What was posted is done, and this page shows it.
pub(crate) fn see_other(path: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(path) else {
        return see_other("/dashboard");
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, location);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same, with what keeps a browser from doing more with it than to show it.
pub(crate) fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
