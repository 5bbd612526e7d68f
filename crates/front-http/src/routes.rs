//! Routes of the file: requests that are counted and answered here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::Response;
use coordinator::Answer;
use limiter::{Clues, Identity, Kind, Node, Refusal, Selected, Visit, Who};
use quota::Cost;
use serde_json::json;

use crate::app::App;
use crate::config::{Route, RouteAnswer};
use crate::decided;
use crate::problem::Problem;
use crate::serve::PeerAddr;

/// A route, ready to serve.
pub(crate) struct Protected {
    selected: Selected,
    identify: Vec<Identity>,
    answer: RouteAnswer,
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Weir</title>
<body style=\"font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem\">
<h1>Weir</h1>
<p>This visit was counted, and let through. Come back too soon and it is answered with 429.</p>
<p>The API is described at <a href=\"/docs\">/docs</a>.</p>
</body>
</html>
";

impl Protected {
    pub(crate) fn new(route: &Route) -> Self {
        Self {
            selected: Selected::named(route.policy.clone()),
            identify: route.identify.clone(),
            answer: route.answer,
        }
    }

    /// Counts a request and answers it.
    pub(crate) async fn serve<N: Node>(
        &self,
        app: Arc<App<N>>,
        request: Request,
    ) -> Result<Response, Problem> {
        let (parts, _) = request.into_parts();
        let Some(who) = app.identifier.identify(&self.identify, clues(&parts))? else {
            return self.nobody();
        };
        let cost = match self.answer {
            RouteAnswer::Peek => Cost::PEEK,
            _ => Cost::ONE,
        };
        let Visit { answer, gives } = app.limiter.visit(&self.selected, &who, cost).await?;
        let mut response = self.respond(&who, cost, &answer)?;
        if let Some(id) = gives {
            let cookie = app.identifier.set_cookie(&id);
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        // An answer from a cache would be one that nobody counted.
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn nobody(&self) -> Result<Response, Problem> {
        if self.answer != RouteAnswer::Greeting {
            let detail = "the request brings nothing that tells who is to be counted";
            let refusal = Refusal::new(Kind::Unauthorized, detail);
            return Err(refusal.with_accepted(accepted(&self.identify)).into());
        }
        let mut response = with_type("User ID Required", TEXT);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        Ok(response)
    }

    fn respond(&self, who: &Who, cost: Cost, answer: &Answer) -> Result<Response, Problem> {
        let denied = cost != Cost::PEEK && !answer.decision.is_allowed();
        let selected = &self.selected;
        let mut response = match self.answer {
            RouteAnswer::Json => return decided::respond(selected, cost, answer, None),
            RouteAnswer::Peek => decided::json(
                json!({
                    "limit": selected.policy().limit.units(),
                    "remaining": answer.decision.remaining,
                    "reset_after_ms": answer.decision.reset_after.ceil_millis(),
                })
                .to_string(),
            ),
            _ if denied => with_type("Too Many Requests", TEXT),
            RouteAnswer::Page => with_type(PAGE, HTML),
            RouteAnswer::Greeting => with_type(greeting(who), HTML),
        };
        decided::mark(&mut response, selected, cost, answer, None);
        Ok(response)
    }
}

/// What a request brings that tells who sent it.
pub(crate) fn clues(request: &Parts) -> Clues<'_> {
    Clues {
        headers: &request.headers,
        query: request.uri.query().unwrap_or_default(),
        peer: request.extensions.get().map(|peer: &PeerAddr| peer.0.ip()),
    }
}

/// What a request must bring to be counted.
pub(crate) fn accepted(identify: &[Identity]) -> String {
    let accepted = identify.iter().map(|identity| match identity {
        Identity::Header(name) => format!("the header {name}"),
        Identity::Query(name) => format!("the query parameter {name}"),
        Identity::Cookie(name) => format!("the cookie {name}"),
        Identity::Browser => "a browser".into(),
        Identity::Peer => "an address".into(),
    });
    accepted.collect::<Vec<_>>().join(", or ")
}

fn greeting(who: &Who) -> String {
    match who {
        Who::Named { name, .. } => format!("Welcome home, {}!", escape(name)),
        Who::Unnamed(_) | Who::NewBrowser { .. } => "Welcome home!".into(),
    }
}

/// Makes text safe inside an HTML element and inside quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(char),
        }
    }
    escaped
}

fn with_type(body: impl Into<Body>, content_type: HeaderValue) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
