//! Limits of a tenant, and of single keys.

use askama::Template;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{Ask, Problem};
use crate::form::{Form, segment};
use crate::frame::{Frame, page};
use crate::respond::{Trouble, see_other};
use crate::told::{Decided, Limit, MostDenied, Paged, Series};
use crate::visit::Visit;
use crate::words::span;

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
    limits: Paged<Limit>,
    /// What they have decided in the last ten minutes.
    series: Series,
    id: String,
}

impl List {
    fn decided(&self, limit: &Limit) -> Option<Decided> {
        self.series.of(&limit.name)
    }
}

#[derive(Template)]
#[template(path = "limit.html")]
struct One {
    frame: Frame,
    limit: Limit,
    /// What was looked for, and what was found.
    key: String,
    looked: Option<Looked>,
    /// `None`: it does not tell, or could not.
    most_denied: Option<MostDenied>,
    id: String,
}

impl One {
    /// Empty: a window of the calendar.
    fn per(&self) -> &str {
        self.limit.per.as_deref().unwrap_or("")
    }

    /// Empty: it has none.
    fn burst(&self) -> String {
        let burst = self.limit.burst;
        burst.map_or_else(String::new, |burst| burst.to_string())
    }

    /// Whether the box is ticked. That of a form that was refused may be empty, which such a form does not say.
    fn tells_top_keys(&self) -> bool {
        match self.frame.form.some("algorithm") {
            Some(_) => self.frame.form.has("top_keys", "true"),
            None => self.limit.top_keys,
        }
    }
}

/// Where a key stands.
#[derive(Deserialize)]
struct Looked {
    allowed: bool,
    remaining: u64,
    reset_after_ms: u64,
}

impl Looked {
    fn resets(&self) -> String {
        span(self.reset_after_ms.div_ceil(1_000))
    }
}

#[derive(Deserialize)]
struct KeyLimit {
    key: String,
    limit: u64,
    interval: String,
    algorithm: String,
}

#[derive(Template)]
#[template(path = "key_limits.html")]
struct KeyLimits {
    frame: Frame,
    limits: Paged<KeyLimit>,
    id: String,
}

/// The limit that a form describes, as the API takes it: without what only another algorithm has. What is no number is handed on
/// as it is, to be told so.
fn described(form: &Form) -> Value {
    let algorithm = form.get("algorithm");
    let is_bucket = ["gcra", "token_bucket", "leaky_bucket"].contains(&algorithm);
    let is_window = algorithm == "fixed_window";
    let mut limit = Map::new();
    let mut set = |field: &str, value: &dyn Fn(&str) -> Value| {
        if let Some(given) = form.some(field) {
            limit.insert(field.to_owned(), value(given));
        }
    };
    let text = |given: &str| Value::from(given);
    set("algorithm", &text);
    set("limit", &number);
    // A window of the calendar has no other length.
    if !(is_window && form.some("zone").is_some()) {
        set("per", &text);
    }
    if is_bucket {
        set("burst", &number);
    }
    if is_window {
        set("anchor", &text);
        set("zone", &text);
    }
    set("strategy", &text);
    set("on_failure", &text);
    set("keep", &|given| Value::from(given == "true"));
    set("top_keys", &|given| Value::from(given == "true"));
    limit.into()
}

fn number(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_| text.into(), Value::from)
}

/// Where the page of a limit is.
fn at(id: &str, name: &str) -> String {
    format!("/dashboard/{}/limits/{}", segment(id), segment(name))
}

async fn show_list(
    visit: &Visit,
    id: String,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let path = visit.part("/v1/limits", "after");
    let list = List {
        frame: Frame::in_tenant(visit, seat, "limits", "Limits").after(visit, problem),
        limits: visit.told_in(&id, &path).await?,
        series: visit.told_in(&id, "/v1/series").await?,
        id,
    };
    Ok(page(&list.frame, &list))
}

/// `GET /dashboard/{tenant}/limits`
pub(crate) async fn list(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show_list(&visit, id, None).await
}

/// `POST /dashboard/{tenant}/limits`
pub(crate) async fn make(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    visit.seat(&id).await?;
    let name = visit.form.get("name");
    if name.is_empty() {
        // Its path would be that of no limit.
        let problem = Problem::of_page(
            StatusCode::BAD_REQUEST,
            "Nothing was made",
            "give it a name",
        );
        return show_list(&visit, id, Some(problem.at("name"))).await;
    }
    let path = format!("/v1/limits/{}", segment(name));
    let limit = described(&visit.form);
    match visit.act(Some(&id), Method::PUT, path, Some(limit)).await {
        Ok(_) => Ok(see_other(&at(&id, name))),
        Err(problem) => show_list(&visit, id, Some(problem)).await,
    }
}

async fn show_one(
    visit: &Visit,
    id: String,
    name: &str,
    mut problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let path = format!("/v1/limits/{}", segment(name));
    let limit: Limit = visit.told_in(&id, &path).await?;
    let most_denied = match limit.top_keys {
        true => most_denied(visit, &id, name).await,
        false => None,
    };
    let key = visit.form.exactly("key").to_owned();
    let mut looked = None;
    if !key.is_empty() && problem.is_none() {
        match look(visit, &id, name, &key, &seat.0.csrf).await {
            Ok(found) => looked = Some(found),
            Err(refused) => problem = Some(refused),
        }
    }
    let one = One {
        frame: Frame::in_tenant(visit, seat, "limits", name).after(visit, problem),
        limit,
        key,
        looked,
        most_denied,
        id,
    };
    Ok(page(&one.frame, &one))
}

/// The page is worth showing without them.
async fn most_denied(visit: &Visit, id: &str, name: &str) -> Option<MostDenied> {
    let path = format!("/v1/top?limit={}", segment(name));
    visit.told_in(id, &path).await.ok()
}

/// Looks at a key. It costs nothing, and counts nothing.
async fn look(
    visit: &Visit,
    id: &str,
    name: &str,
    key: &str,
    csrf: &str,
) -> Result<Looked, Problem> {
    let ask = Ask {
        method: Method::POST,
        tenant: Some(id),
        csrf: Some(csrf),
        body: Some(json!({ "limit": name, "key": key, "cost": 0 })),
        is_look: true,
        ..Ask::get("/v1/check")
    };
    visit.told(ask).await
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
    visit.seat(&id).await?;
    let path = format!("/v1/limits/{}", segment(&name));
    let limit = described(&visit.form);
    match visit.act(Some(&id), Method::PUT, path, Some(limit)).await {
        Ok(_) => Ok(see_other(&at(&id, &name))),
        Err(problem) => show_one(&visit, id, &name, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/limits/{name}/delete`
pub(crate) async fn delete(
    Path((id, name)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    visit.seat(&id).await?;
    let path = format!("/v1/limits/{}", segment(&name));
    match visit.act(Some(&id), Method::DELETE, path, None).await {
        Ok(_) => Ok(see_other(&format!("/dashboard/{}/limits", segment(&id)))),
        Err(problem) => show_one(&visit, id, &name, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/limits/{name}/reset`: a key has all of its limit again.
pub(crate) async fn reset(
    Path((id, name)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    visit.seat(&id).await?;
    let key = segment(visit.form.exactly("key"));
    let path = format!("/v1/keys/{}/{key}", segment(&name));
    match visit.act(Some(&id), Method::DELETE, path, None).await {
        Ok(_) => Ok(see_other(&format!("{}?key={key}", at(&id, &name)))),
        Err(problem) => show_one(&visit, id, &name, Some(problem)).await,
    }
}

async fn show_key_limits(
    visit: &Visit,
    id: String,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let path = visit.part("/api/limits", "after");
    let title = "Limits of single keys";
    let list = KeyLimits {
        frame: Frame::in_tenant(visit, seat, "limits", title).after(visit, problem),
        limits: visit.told_in(&id, &path).await?,
        id,
    };
    Ok(page(&list.frame, &list))
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
    visit.seat(&id).await?;
    let form = &visit.form;
    let body = json!({
        "key": form.exactly("key"),
        "limit": number(form.get("limit")),
        "interval": form.get("interval"),
        "algorithm": form.get("algorithm"),
    });
    let made = visit.act(Some(&id), Method::POST, "/api/limits", Some(body));
    match made.await {
        Ok(_) => Ok(see_other(&format!(
            "/dashboard/{}/key-limits",
            segment(&id)
        ))),
        Err(problem) => show_key_limits(&visit, id, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/key-limits/delete`
pub(crate) async fn delete_key_limit(
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Trouble> {
    visit.seat(&id).await?;
    let path = format!("/api/limits/{}", segment(visit.form.exactly("key")));
    match visit.act(Some(&id), Method::DELETE, path, None).await {
        Ok(_) => Ok(see_other(&format!(
            "/dashboard/{}/key-limits",
            segment(&id)
        ))),
        Err(problem) => show_key_limits(&visit, id, Some(problem)).await,
    }
}
