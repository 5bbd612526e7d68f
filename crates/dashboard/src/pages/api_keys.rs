//! API keys of a tenant: made and shown once, rotated, revoked.

use std::time::{SystemTime, UNIX_EPOCH};

use accounts::UnixSecs;
use askama::Template;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Problem;
use crate::day::minute;
use crate::form::segment;
use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::visit::Visit;

const SCOPES: [(&str, &str); 7] = [
    ("check", "ask whether a key may go on"),
    ("adjust", "refund, and reset keys"),
    ("limits.read", "see limits"),
    ("limits.write", "change limits"),
    ("usage.read", "see what is used"),
    ("keys.read", "see API keys"),
    ("keys.write", "make and revoke API keys"),
];

/// An API key as the API tells it.
#[derive(Deserialize)]
struct ApiKey {
    id: String,
    hint: String,
    name: String,
    scopes: Vec<String>,
    created_at: String,
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    last_used_at: Option<String>,
    #[serde(default)]
    revoked_at: Option<String>,
    #[serde(default)]
    replaced_by: Option<String>,
}

impl ApiKey {
    fn made(&self) -> String {
        minute(&self.created_at)
    }

    fn used(&self) -> String {
        self.last_used_at
            .as_deref()
            .map_or_else(|| "not yet seen".to_owned(), minute)
    }

    fn stops(&self) -> String {
        match (&self.revoked_at, &self.expires_at) {
            (Some(at), _) => format!("revoked {}", minute(at)),
            (None, Some(at)) => minute(at),
            (None, None) => "never".to_owned(),
        }
    }

    fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }

    fn is_old(&self) -> bool {
        self.is_revoked() || self.replaced_by.is_some()
    }
}

#[derive(Deserialize)]
struct Keys {
    items: Vec<ApiKey>,
    next: Option<String>,
}

/// The credential, once.
#[derive(Deserialize)]
struct Made {
    id: String,
    name: String,
    key: String,
}

#[derive(Template)]
#[template(path = "api_keys.html")]
struct List {
    frame: Frame,
    keys: Vec<ApiKey>,
    next: Option<String>,
    id: String,
}

#[derive(Template)]
#[template(path = "api_key.html")]
struct One {
    frame: Frame,
    key: ApiKey,
    id: String,
}

#[derive(Template)]
#[template(path = "api_key_made.html")]
struct MadePage {
    frame: Frame,
    made: Made,
    /// Nodes that had not confirmed it.
    pending: Option<String>,
    id: String,
    public_url: String,
}

#[derive(Template)]
#[template(path = "api_key_revoked.html")]
struct Revoked {
    frame: Frame,
    id: String,
    pending: Option<String>,
}

async fn show_list(
    visit: &Visit,
    id: String,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let path = match visit.form.some("after").filter(|_| problem.is_none()) {
        Some(after) => format!("/v1/api-keys?after={}", segment(after)),
        None => "/v1/api-keys".to_owned(),
    };
    let Keys { items, next } = visit.told_in(&id, &path).await?;
    let list = List {
        frame: Frame::of(visit, reader, Some(seat), "api-keys", "API keys").after(visit, problem),
        keys: items,
        next: next.map(|next| segment(&next)),
        id,
    };
    Ok(page(visit, &list.frame, &list))
}

/// `GET /dashboard/{tenant}/api-keys`
pub(crate) async fn list(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show_list(&visit, id, None).await
}

/// When an API key of so many days ends. What is no number of days is handed on, to be refused.
fn expiry(days: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    match days.parse::<u32>() {
        _ if days.is_empty() => Value::Null,
        Ok(days) => UnixSecs::new(now + u64::from(days) * 86_400)
            .to_string()
            .into(),
        Err(_) => days.into(),
    }
}

/// `POST /dashboard/{tenant}/api-keys`
pub(crate) async fn make(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let body = json!({
        "name": visit.form.get("name"),
        "scopes": visit.form.all("scopes"),
        "expires_at": expiry(visit.form.get("days")),
    });
    match visit
        .act(Some(&id), Method::POST, "/v1/api-keys", Some(body))
        .await
    {
        Ok(answer) => show_made(&visit, id, &answer.body, answer.pending).await,
        Err(problem) => show_list(&visit, id, Some(problem)).await,
    }
}

/// Shows a credential, for the only time: it is in no address and in no history.
async fn show_made(
    visit: &Visit,
    id: String,
    body: &[u8],
    pending: Option<String>,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let Ok(made) = serde_json::from_slice(body) else {
        return Ok(visit.see(&format!("/dashboard/{}/api-keys", segment(&id))));
    };
    let made = MadePage {
        frame: Frame::of(visit, reader, Some(seat), "api-keys", "A new API key"),
        made,
        pending,
        id,
        public_url: visit.app.settings.public_url.to_string(),
    };
    Ok(page(visit, &made.frame, &made))
}

async fn show_one(
    visit: &Visit,
    id: String,
    key: &str,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let key: ApiKey = visit
        .told_in(&id, &format!("/v1/api-keys/{}", segment(key)))
        .await?;
    let one = One {
        frame: Frame::of(visit, reader, Some(seat), "api-keys", &key.name).after(visit, problem),
        key,
        id,
    };
    Ok(page(visit, &one.frame, &one))
}

/// `GET /dashboard/{tenant}/api-keys/{id}`
pub(crate) async fn one(
    Path((id, key)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    show_one(&visit, id, &key, None).await
}

/// `POST /dashboard/{tenant}/api-keys/{id}/rotate`
pub(crate) async fn rotate(
    Path((id, key)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let path = format!("/v1/api-keys/{}/rotate", segment(&key));
    let body = json!({ "overlap": visit.form.get("overlap") });
    match visit.act(Some(&id), Method::POST, path, Some(body)).await {
        Ok(answer) => show_made(&visit, id, &answer.body, answer.pending).await,
        Err(problem) => show_one(&visit, id, &key, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/api-keys/{id}/revoke`: only for who has typed its name.
pub(crate) async fn revoke(
    Path((id, key)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let path = format!("/v1/api-keys/{}", segment(&key));
    let known: ApiKey = visit.told_in(&id, &path).await?;
    if visit.form.get("name") != known.name.trim() {
        let problem = Problem {
            field: Some("name".to_owned()),
            ..Problem::of_page(
                StatusCode::BAD_REQUEST,
                "Nothing was revoked",
                "type the name of the API key as it stands above",
            )
        };
        return show_one(&visit, id, &key, Some(problem)).await;
    }
    let answer = match visit.act(Some(&id), Method::DELETE, path, None).await {
        Ok(answer) => answer,
        Err(problem) => return show_one(&visit, id, &key, Some(problem)).await,
    };
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let revoked = Revoked {
        frame: Frame::of(&visit, reader, Some(seat), "api-keys", &known.name),
        id,
        pending: answer.pending,
    };
    Ok(page(&visit, &revoked.frame, &revoked))
}
