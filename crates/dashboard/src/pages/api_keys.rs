//! API keys of a tenant: made and shown once, rotated, revoked.

use askama::Template;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Answer, Problem};
use crate::form::segment;
use crate::frame::{Frame, page};
use crate::respond::{Trouble, see_other};
use crate::told::Paged;
use crate::visit::{Membership, Reader, Visit};
use crate::words::{minute, now};

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
    keys: Paged<ApiKey>,
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
    let seat = visit.seat(&id).await?;
    let path = visit.part("/v1/api-keys", "after");
    let list = List {
        frame: Frame::in_tenant(visit, seat, "api-keys", "API keys").after(visit, problem),
        keys: visit.told_in(&id, &path).await?,
        id,
    };
    Ok(page(&list.frame, &list))
}

/// `GET /dashboard/{tenant}/api-keys`
pub(crate) async fn list(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show_list(&visit, id, None).await
}

/// When an API key of so many days ends, as the API takes it.
fn expiry(days: &str) -> Result<Value, Problem> {
    match days.parse::<u32>() {
        _ if days.is_empty() => Ok(Value::Null),
        Ok(days) => {
            let at = now() + u64::from(days) * 24 * 60 * 60;
            Ok(at.to_string().into())
        }
        Err(_) => {
            let detail = "a number of days, at most 3650, or nothing";
            let problem = Problem::of_page(StatusCode::BAD_REQUEST, "Nothing was made", detail);
            Err(problem.at("expires_at"))
        }
    }
}

/// `POST /dashboard/{tenant}/api-keys`
pub(crate) async fn make(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let expires_at = match expiry(visit.form.get("days")) {
        Ok(expires_at) => expires_at,
        Err(problem) => return show_list(&visit, id, Some(problem)).await,
    };
    let body = json!({
        "name": visit.form.get("name"),
        "scopes": visit.form.all("scopes"),
        "expires_at": expires_at,
    });
    let made = visit.act(Some(&id), Method::POST, "/v1/api-keys", Some(body));
    match made.await {
        Ok(answer) => Ok(show_made(&visit, seat, id, answer)),
        Err(problem) => show_list(&visit, id, Some(problem)).await,
    }
}

/// Shows a credential, for the only time: it is in no address and in no history.
fn show_made(visit: &Visit, seat: (Reader, Membership), id: String, answer: Answer) -> Response {
    let Ok(made) = serde_json::from_slice(&answer.body) else {
        return see_other(&format!("/dashboard/{}/api-keys", segment(&id)));
    };
    let made = MadePage {
        frame: Frame::in_tenant(visit, seat, "api-keys", "A new API key"),
        made,
        pending: answer.pending,
        id,
        public_url: visit.app.settings.public_url.to_string(),
    };
    page(&made.frame, &made)
}

async fn show_one(
    visit: &Visit,
    id: String,
    key: &str,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let key: ApiKey = visit.told_in(&id, &path_of(key)).await?;
    let one = One {
        frame: Frame::in_tenant(visit, seat, "api-keys", &key.name).after(visit, problem),
        key,
        id,
    };
    Ok(page(&one.frame, &one))
}

/// Where the API has it.
fn path_of(key: &str) -> String {
    format!("/v1/api-keys/{}", segment(key))
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
    let seat = visit.seat(&id).await?;
    let path = format!("{}/rotate", path_of(&key));
    let body = json!({ "overlap": visit.form.get("overlap") });
    match visit.act(Some(&id), Method::POST, path, Some(body)).await {
        Ok(answer) => Ok(show_made(&visit, seat, id, answer)),
        Err(problem) => show_one(&visit, id, &key, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/api-keys/{id}/revoke`: only for who has typed its name.
pub(crate) async fn revoke(
    Path((id, key)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let path = path_of(&key);
    let known: ApiKey = visit.told_in(&id, &path).await?;
    if visit.form.get("name") != known.name.trim() {
        let title = "Nothing was revoked";
        let detail = "type the name of the API key as it stands above";
        let problem = Problem::of_page(StatusCode::BAD_REQUEST, title, detail);
        return show_one(&visit, id, &key, Some(problem.at("name"))).await;
    }
    match visit.act(Some(&id), Method::DELETE, path, None).await {
        Ok(answer) => {
            let revoked = Revoked {
                frame: Frame::in_tenant(&visit, seat, "api-keys", &known.name),
                id,
                pending: answer.pending,
            };
            Ok(page(&revoked.frame, &revoked))
        }
        Err(problem) => show_one(&visit, id, &key, Some(problem)).await,
    }
}
