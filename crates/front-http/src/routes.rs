//! Routes of the file: requests that are counted and answered here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, SET_COOKIE};
use axum::response::Response;
use coordinator::{Answer, NoDecision};
use quota::Cost;
use serde_json::json;

use crate::app::{App, Selected};
use crate::config::{Identity, Route, RouteAnswer};
use crate::decided;
use crate::identity::Who;
use crate::node::Node;
use crate::problem::{Kind, Problem};

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
        let Some(who) = app.identify(&self.identify, &parts)? else {
            return self.nobody();
        };
        let cost = match self.answer {
            RouteAnswer::Peek => Cost::PEEK,
            _ => Cost::ONE,
        };
        let mut given = HeaderMap::new();
        let answer = self.count(&app, &who, cost, &mut given).await?;
        let mut response = self.respond(&who, cost, &answer)?;
        response.headers_mut().extend(given);
        // An answer from a cache would be one that nobody counted.
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// Decides about `who`. A new browser gets its cookie in `given`.
    async fn count<N: Node>(
        &self,
        app: &App<N>,
        who: &Who,
        cost: Cost,
        given: &mut HeaderMap,
    ) -> Result<Answer, NoDecision> {
        let policy = &self.selected.policy;
        let answer = app.node.hit(policy, who.key(), cost).await?;
        let Who::NewBrowser { id, .. } = who else {
            return Ok(answer);
        };
        if cost == Cost::PEEK || answer.by_fail_mode {
            return Ok(answer);
        }
        // The new id begins as spent as its origin: a cookie is no way to be let in again, not even the cookie that
        // comes with a denial.
        let spent = policy
            .limit
            .burst()
            .saturating_sub(answer.decision.remaining)
            .max(1);
        if app
            .node
            .hit(policy, &id.key(), Cost::new(spent))
            .await
            .is_ok()
        {
            given.insert(SET_COOKIE, app.browser_key.set_cookie(id));
        }
        // Else it is given none: it would be worth a visit that was not counted.
        Ok(answer)
    }

    fn nobody(&self) -> Result<Response, Problem> {
        if self.answer != RouteAnswer::Greeting {
            let detail = "the request brings nothing that tells who is to be counted";
            return Err(Problem::new(Kind::Unauthorized, detail).accepted(self.accepted()));
        }
        let mut response = with_type("User ID Required", TEXT);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        Ok(response)
    }

    fn accepted(&self) -> String {
        let accepted = self.identify.iter().map(|identity| match identity {
            Identity::Header(name) => format!("the header {name}"),
            Identity::Query(name) => format!("the query parameter {name}"),
            Identity::Cookie(name) => format!("the cookie {name}"),
            Identity::Browser => "a browser".into(),
            Identity::Peer => "an address".into(),
        });
        accepted.collect::<Vec<_>>().join(", or ")
    }

    fn respond(&self, who: &Who, cost: Cost, answer: &Answer) -> Result<Response, Problem> {
        let denied = cost != Cost::PEEK && !answer.decision.is_allowed();
        let Selected { policy, headers } = &self.selected;
        let mut response = match self.answer {
            RouteAnswer::Json => return decided::respond(policy, headers, cost, answer),
            RouteAnswer::Peek => decided::json(
                json!({
                    "limit": policy.limit.units(),
                    "remaining": answer.decision.remaining,
                    "reset_after_ms": answer.decision.reset_after.ceil_millis(),
                })
                .to_string(),
            ),
            _ if denied => with_type("Too Many Requests", TEXT),
            RouteAnswer::Page => with_type(PAGE, HTML),
            RouteAnswer::Greeting => with_type(greeting(who), HTML),
        };
        decided::mark(&mut response, headers, cost, answer);
        Ok(response)
    }
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
