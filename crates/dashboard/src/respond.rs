//! Answers to browsers.

use askama::Template;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::api::Problem;
use crate::frame::{Frame, Looks};

/// Something in place of the page that was asked for.
pub(crate) enum Trouble {
    /// The reader has to log in first, and is led back here.
    Login { next: String },
    /// Somewhere else.
    See(&'static str),
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
    frame: Frame,
    problem: &'a Problem,
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Self::Login { next } => {
                let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
                see_other(&format!("/login?next={next}"))
            }
            Self::See(path) => see_other(path),
            // What is around every answer knows how its page is to look.
            Self::Told(problem) => {
                let mut response = problem.status().into_response();
                response.extensions_mut().insert(problem);
                response
            }
        }
    }
}

/// The page that says what is wrong.
pub(crate) fn trouble(problem: &Problem, looks: Looks) -> Response {
    let frame = Frame::bare(looks, &problem.title);
    html(Some(problem), &TroublePage { frame, problem })
}

/// There is no such page, or none for this reader: nobody is told which.
pub(crate) fn missing() -> Trouble {
    let title = "There is no such page";
    let detail = "Or it is of a tenant that is not yours.";
    Problem::of_page(StatusCode::NOT_FOUND, title, detail).into()
}

/// A page, on which `problem` is shown, if there is one.
pub(crate) fn html(problem: Option<&Problem>, page: &impl Template) -> Response {
    let text = page.render().expect("a template writes to memory alone");
    let status = problem.map_or(StatusCode::OK, Problem::status);
    let mut response = (status, Body::from(text)).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    if let Some(after) = problem.and_then(|problem| problem.retry_after) {
        headers.insert(RETRY_AFTER, after.into());
    }
    response
}

/// What was posted is done, and this page shows it.
pub(crate) fn see_other(path: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(path) else {
        return see_other("/dashboard");
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, location);
    response
}
