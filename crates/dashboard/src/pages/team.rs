//! The people of a tenant, and who is invited.

use askama::Template;
use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Answer, Problem};
use crate::form::segment;
use crate::frame::{Frame, page};
use crate::respond::{Trouble, see_other};
use crate::visit::{Membership, Reader, Visit};
use crate::words::minute;

const ROLES: [&str; 4] = ["owner", "admin", "developer", "viewer"];

#[derive(Deserialize)]
struct Person {
    id: String,
    email: String,
    role: String,
    joined_at: String,
    #[serde(default)]
    seen_at: Option<String>,
}

impl Person {
    fn joined(&self) -> String {
        minute(&self.joined_at)
    }

    fn seen(&self) -> String {
        self.seen_at
            .as_deref()
            .map_or_else(|| "not lately".to_owned(), minute)
    }
}

#[derive(Deserialize)]
struct Invite {
    id: String,
    #[serde(default)]
    email: Option<String>,
    role: String,
    expires_at: String,
}

impl Invite {
    fn ends(&self) -> String {
        minute(&self.expires_at)
    }

    fn whom(&self) -> &str {
        self.email.as_deref().unwrap_or("whoever has the link")
    }
}

#[derive(Deserialize)]
struct Team {
    items: Vec<Person>,
    #[serde(default)]
    invites: Vec<Invite>,
}

/// An address that opens something once.
#[derive(Deserialize)]
struct Link {
    url: String,
    expires_at: String,
}

#[derive(Template)]
#[template(path = "team.html")]
struct TeamPage {
    frame: Frame,
    team: Team,
    id: String,
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    frame: Frame,
    link: Link,
    /// What it is for.
    what: String,
    back: String,
}

impl LinkPage {
    fn ends(&self) -> String {
        minute(&self.link.expires_at)
    }
}

async fn show(visit: &Visit, id: String, problem: Option<Problem>) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let team = TeamPage {
        frame: Frame::in_tenant(visit, seat, "team", "Team").after(visit, problem),
        team: visit.told_in(&id, "/v1/team").await?,
        id,
    };
    Ok(page(&team.frame, &team))
}

/// Shows a link, for the only time.
fn show_link(
    visit: &Visit,
    seat: (Reader, Membership),
    id: &str,
    answer: &Answer,
    what: String,
) -> Response {
    let back = at(id);
    let Ok(link) = serde_json::from_slice(&answer.body) else {
        return see_other(&back);
    };
    let link = LinkPage {
        frame: Frame::in_tenant(visit, seat, "team", "A link to pass on"),
        link,
        what,
        back,
    };
    page(&link.frame, &link)
}

/// Where the page is.
fn at(id: &str) -> String {
    format!("/dashboard/{}/team", segment(id))
}

/// `GET /dashboard/{tenant}/team`
pub(crate) async fn team(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show(&visit, id, None).await
}

/// `POST /dashboard/{tenant}/team/invites`
pub(crate) async fn invite(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let role = visit.form.get("role");
    let body = json!({ "email": visit.form.some("email"), "role": role });
    let made = visit.act(Some(&id), Method::POST, "/v1/team/invites", Some(body));
    match made.await {
        Ok(answer) => {
            let what = format!("a seat as {role}");
            Ok(show_link(&visit, seat, &id, &answer, what))
        }
        Err(problem) => show(&visit, id, Some(problem)).await,
    }
}

/// Does something to somebody, and shows the team again.
async fn act(
    visit: Visit,
    id: String,
    method: Method,
    path: String,
    body: Option<Value>,
) -> Result<Response, Trouble> {
    visit.seat(&id).await?;
    match visit.act(Some(&id), method, path, body).await {
        Ok(_) => Ok(see_other(&at(&id))),
        Err(problem) => show(&visit, id, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/team/invites/{id}/withdraw`
pub(crate) async fn withdraw(
    Path((id, invite)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let path = format!("/v1/team/invites/{}", segment(&invite));
    act(visit, id, Method::DELETE, path, None).await
}

/// `POST /dashboard/{tenant}/team/{user}/role`
pub(crate) async fn role(
    Path((id, user)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let path = format!("/v1/team/{}", segment(&user));
    let body = json!({ "role": visit.form.get("role") });
    act(visit, id, Method::PATCH, path, Some(body)).await
}

/// `POST /dashboard/{tenant}/team/{user}/remove`
pub(crate) async fn remove(
    Path((id, user)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let path = format!("/v1/team/{}", segment(&user));
    act(visit, id, Method::DELETE, path, None).await
}

/// `POST /dashboard/{tenant}/team/{user}/reset-link`
pub(crate) async fn reset_link(
    Path((id, user)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let path = format!("/v1/team/{}/reset-link", segment(&user));
    let made = visit.act(Some(&id), Method::POST, path, Some(json!({})));
    match made.await {
        Ok(answer) => {
            let what = "a new password".to_owned();
            Ok(show_link(&visit, seat, &id, &answer, what))
        }
        Err(problem) => show(&visit, id, Some(problem)).await,
    }
}
