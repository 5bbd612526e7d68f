//! Limits of a tenant, and of single keys.

use askama::Template;
use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::overview::{Limit, Limits};
use crate::api::{Ask, Problem};
use crate::form::{Form, segment};
use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::visit::Visit;

const ALGORITHMS: [&str; 6] = [
    "gcra",
    "token_bucket",
    "sliding_log",
    "sliding_counter",
    "fixed_window",
    "leaky_bucket",
];

#[derive(Template)]
#[template(path = "limits.html")]
struct List {
    frame: Frame,
    limits: Vec<Limit>,
    next: Option<String>,
    id: String,
}

#[derive(Template)]
#[template(path = "limit.html")]
struct One {
    frame: Frame,
    limit: Limit,
    key: Option<Looked>,
    id: String,
}

/// What was found of a key.
struct Looked {
    key: String,
    remaining: u64,
    reset_after_ms: u64,
    allowed: bool,
}

impl Looked {
    fn resets(&self) -> String {
        crate::day::span(self.reset_after_ms.div_ceil(1_000))
    }
}

#[derive(Deserialize)]
struct Checked {
    allowed: bool,
    remaining: u64,
    reset_after_ms: u64,
}

#[derive(Deserialize)]
struct KeyLimit {
    key: String,
    limit: u64,
    interval: String,
    algorithm: String,
}

#[derive(Deserialize)]
struct KeyLimits {
    items: Vec<KeyLimit>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "key_limits.html")]
struct KeyLimitsPage {
    frame: Frame,
    limits: Vec<KeyLimit>,
    next: Option<String>,
    id: String,
}

/// The limit that a form describes, as the API takes it. What is no number is handed on as it is, to be told so.
fn described(form: &Form) -> Value {
    let mut limit = Map::new();
    for field in ["limit", "burst"] {
        if let Some(given) = form.some(field) {
            limit.insert(field.into(), number(given));
        }
    }
    for field in [
        "algorithm",
        "per",
        "anchor",
        "zone",
        "strategy",
        "on_failure",
    ] {
        if let Some(given) = form.some(field) {
            limit.insert(field.into(), given.into());
        }
    }
    limit.into()
}

fn number(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_| text.into(), Value::from)
}

async fn show_list(
    visit: &Visit,
    id: String,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let path = match visit.form.some("after").filter(|_| problem.is_none()) {
        Some(after) => format!("/v1/limits?after={}", segment(after)),
        None => "/v1/limits".to_owned(),
    };
    let Limits { limits, next } = visit.told_in(&id, &path).await?;
    let list = List {
        frame: Frame::of(visit, reader, Some(seat), "limits", "Limits").after(visit, problem),
        limits,
        next: next.map(|next| segment(&next)),
        id,
    };
    Ok(page(visit, &list.frame, &list))
}

/// `GET /dashboard/{tenant}/limits`
pub(crate) async fn list(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show_list(&visit, id, None).await
}

/// `POST /dashboard/{tenant}/limits`
pub(crate) async fn make(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let name = segment(visit.form.get("name"));
    let made = visit.act(
        Some(&id),
        Method::PUT,
        format!("/v1/limits/{name}"),
        Some(described(&visit.form)),
    );
    match made.await {
        Ok(_) => Ok(visit.see(&format!("/dashboard/{}/limits/{name}", segment(&id)))),
        Err(problem) => show_list(&visit, id, Some(problem)).await,
    }
}

async fn show_one(
    visit: &Visit,
    id: String,
    name: &str,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let limit: Limit = visit
        .told_in(&id, &format!("/v1/limits/{}", segment(name)))
        .await?;
    let key = match visit.form.some("key") {
        Some(key) if problem.is_none() => Some(look(visit, &id, name, key, &reader.csrf).await?),
        _ => None,
    };
    let one = One {
        frame: Frame::of(visit, reader, Some(seat), "limits", name).after(visit, problem),
        limit,
        key,
        id,
    };
    Ok(page(visit, &one.frame, &one))
}

/// Looks at a key. It costs nothing, and counts nothing.
async fn look(
    visit: &Visit,
    id: &str,
    name: &str,
    key: &str,
    csrf: &str,
) -> Result<Looked, Trouble> {
    let ask = Ask {
        method: Method::POST,
        tenant: Some(id),
        csrf: Some(csrf),
        body: Some(json!({ "limit": name, "key": key, "cost": 0 })),
        is_look: true,
        ..Ask::get("/v1/check")
    };
    let told = match visit.ask(ask).await {
        Ok(answer) => serde_json::from_slice(&answer.body).ok(),
        Err(problem) => return Err(problem.into()),
    };
    let Checked {
        allowed,
        remaining,
        reset_after_ms,
    } = told.unwrap_or(Checked {
        allowed: false,
        remaining: 0,
        reset_after_ms: 0,
    });
    Ok(Looked {
        key: key.to_owned(),
        remaining,
        reset_after_ms,
        allowed,
    })
}

/// `GET /dashboard/{tenant}/limits/{name}`
pub(crate) async fn one(
    Path((id, name)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    show_one(&visit, id, &name, None).await
}

/// `POST /dashboard/{tenant}/limits/{name}`
pub(crate) async fn change(
    Path((id, name)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let path = format!("/v1/limits/{}", segment(&name));
    match visit
        .act(Some(&id), Method::PUT, path, Some(described(&visit.form)))
        .await
    {
        Ok(_) => Ok(visit.see(&format!(
            "/dashboard/{}/limits/{}",
            segment(&id),
            segment(&name)
        ))),
        Err(problem) => show_one(&visit, id, &name, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/limits/{name}/delete`
pub(crate) async fn delete(
    Path((id, name)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let path = format!("/v1/limits/{}", segment(&name));
    match visit.act(Some(&id), Method::DELETE, path, None).await {
        Ok(_) => Ok(visit.see(&format!("/dashboard/{}/limits", segment(&id)))),
        Err(problem) => show_one(&visit, id, &name, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/limits/{name}/reset`: a key has all of its limit again.
pub(crate) async fn reset(
    Path((id, name)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let key = segment(visit.form.exactly("key"));
    let path = format!("/v1/keys/{}/{key}", segment(&name));
    match visit.act(Some(&id), Method::DELETE, path, None).await {
        Ok(_) => Ok(visit.see(&format!(
            "/dashboard/{}/limits/{}?key={key}",
            segment(&id),
            segment(&name)
        ))),
        Err(problem) => show_one(&visit, id, &name, Some(problem)).await,
    }
}

async fn show_key_limits(
    visit: &Visit,
    id: String,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let path = match visit.form.some("after").filter(|_| problem.is_none()) {
        Some(after) => format!("/api/limits?after={}", segment(after)),
        None => "/api/limits".to_owned(),
    };
    let KeyLimits { items, next } = visit.told_in(&id, &path).await?;
    let list = KeyLimitsPage {
        frame: Frame::of(visit, reader, Some(seat), "limits", "Limits of single keys")
            .after(visit, problem),
        limits: items,
        next: next.map(|next| segment(&next)),
        id,
    };
    Ok(page(visit, &list.frame, &list))
}

/// `GET /dashboard/{tenant}/key-limits`
pub(crate) async fn key_limits(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show_key_limits(&visit, id, None).await
}

/// `POST /dashboard/{tenant}/key-limits`
pub(crate) async fn make_key_limit(
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let form = &visit.form;
    let body = json!({
        "key": form.exactly("key"),
        "limit": number(form.get("limit")),
        "interval": form.get("interval"),
        "algorithm": form.get("algorithm"),
    });
    match visit
        .act(Some(&id), Method::POST, "/api/limits", Some(body))
        .await
    {
        Ok(_) => Ok(visit.see(&format!("/dashboard/{}/key-limits", segment(&id)))),
        Err(problem) => show_key_limits(&visit, id, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/key-limits/delete`
pub(crate) async fn delete_key_limit(
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let path = format!("/api/limits/{}", segment(visit.form.exactly("key")));
    match visit.act(Some(&id), Method::DELETE, path, None).await {
        Ok(_) => Ok(visit.see(&format!("/dashboard/{}/key-limits", segment(&id)))),
        Err(problem) => show_key_limits(&visit, id, Some(problem)).await,
    }
}
