//! What belongs to a person: password, address, recovery code, sessions, theme.

use askama::Template;
use axum::extract::Path;
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::entry::{NewCode, RecoveryCode};
use crate::api::{Ask, Problem};
use crate::form::{next, segment};
use crate::frame::{Frame, KEYS, THEME, page};
use crate::respond::{Trouble, see_other};
use crate::told::Paged;
use crate::visit::Visit;
use crate::words::minute;

#[derive(Deserialize)]
struct Session {
    id: String,
    made_at: String,
    /// Known of the current one alone.
    seen_at: Option<String>,
    address: Option<String>,
    agent: String,
    current: bool,
}

impl Session {
    fn made(&self) -> String {
        minute(&self.made_at)
    }

    fn seen(&self) -> String {
        self.seen_at.as_deref().map_or_else(String::new, minute)
    }

    fn from(&self) -> &str {
        self.address.as_deref().unwrap_or("")
    }

    fn browser(&self) -> &str {
        match &*self.agent {
            "" => "a browser that does not say",
            agent => agent,
        }
    }
}

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    frame: Frame,
    sessions: Vec<Session>,
    email: String,
    has_conflict: bool,
}

async fn show(visit: &Visit, problem: Option<Problem>) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let (email, has_conflict) = (reader.user.email.clone(), reader.email_conflict);
    let sessions = match has_conflict {
        // Nothing is told before another address is chosen.
        true => Vec::new(),
        false => {
            let told: Paged<Session> = visit.told(Ask::get("/v1/auth/sessions")).await?;
            told.items
        }
    };
    let account = Account {
        frame: Frame::of(visit, reader, "account", "Account").after(visit, problem),
        sessions,
        email,
        has_conflict,
    };
    Ok(page(&account.frame, &account))
}

/// `GET /dashboard/account`
pub(crate) async fn account(visit: Visit) -> Result<Response, Trouble> {
    show(&visit, None).await
}

/// Does what a form of the page asks for, and shows the page again.
async fn act(
    visit: &Visit,
    method: Method,
    path: String,
    body: Option<Value>,
) -> Result<Response, Trouble> {
    match visit.act(None, method, path, body).await {
        Ok(_) => Ok(see_other("/dashboard/account")),
        Err(problem) => show(visit, Some(problem)).await,
    }
}

/// `POST /dashboard/account/password`
pub(crate) async fn password(visit: Visit) -> Result<Response, Trouble> {
    let body = json!({
        "current": visit.form.exactly("current"),
        "new": visit.form.exactly("new"),
    });
    act(
        &visit,
        Method::POST,
        "/v1/auth/password".to_owned(),
        Some(body),
    )
    .await
}

/// `POST /dashboard/account/email`
pub(crate) async fn email(visit: Visit) -> Result<Response, Trouble> {
    let body = json!({
        "password": visit.form.exactly("password"),
        "email": visit.form.get("email"),
    });
    act(
        &visit,
        Method::POST,
        "/v1/auth/email".to_owned(),
        Some(body),
    )
    .await
}

/// `POST /dashboard/account/recovery-code`
pub(crate) async fn recovery_code(visit: Visit) -> Result<Response, Trouble> {
    let body = json!({ "password": visit.form.exactly("password") });
    let answer = match visit
        .act(None, Method::POST, "/v1/auth/recovery-code", Some(body))
        .await
    {
        Ok(answer) => answer,
        Err(problem) => return show(&visit, Some(problem)).await,
    };
    let Ok(NewCode { recovery_code }) = serde_json::from_slice(&answer.body) else {
        return Ok(see_other("/dashboard/account"));
    };
    let reader = visit.reader().await?;
    let code = RecoveryCode {
        frame: Frame::of(&visit, reader, "account", "Your recovery code"),
        code: recovery_code,
        next: "/dashboard/account".to_owned(),
    };
    Ok(page(&code.frame, &code))
}

/// `POST /dashboard/account/sessions/{id}/end`
pub(crate) async fn end_session(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let path = format!("/v1/auth/sessions/{}", segment(&id));
    act(&visit, Method::DELETE, path, None).await
}

/// `POST /dashboard/account/end-all`
pub(crate) async fn end_all(visit: Visit) -> Result<Response, Trouble> {
    let body = json!({ "everywhere": true });
    match visit
        .act(None, Method::POST, "/v1/auth/logout", Some(body))
        .await
    {
        Ok(_) => Ok(see_other("/login")),
        Err(problem) => show(&visit, Some(problem)).await,
    }
}

/// `POST /dashboard/account/delete`
pub(crate) async fn delete(visit: Visit) -> Result<Response, Trouble> {
    let body = json!({ "password": visit.form.exactly("password") });
    match visit
        .act(None, Method::DELETE, "/v1/auth/user", Some(body))
        .await
    {
        Ok(_) => Ok(see_other("/login")),
        Err(problem) => show(&visit, Some(problem)).await,
    }
}

/// `POST /theme`: in the browser alone, so that everybody may.
pub(crate) async fn theme(visit: Visit) -> Response {
    let chosen = visit.form.get("theme");
    choose(
        &visit,
        THEME,
        ["light", "dark"].into_iter().find(|known| *known == chosen),
    );
    see_other(next(visit.form.get("next")))
}

/// `POST /dashboard/account/keys`: whether keys of the keyboard go to pages, in the browser alone.
pub(crate) async fn keys(visit: Visit) -> Response {
    choose(
        &visit,
        KEYS,
        Some("off").filter(|off| visit.form.get("keys") == *off),
    );
    see_other("/dashboard/account")
}

/// Has the browser keep a choice for a year, or forget it.
fn choose(visit: &Visit, name: &str, choice: Option<&str>) {
    let (value, age) = (
        choice.unwrap_or(""),
        if choice.is_some() { 31_536_000 } else { 0 },
    );
    let cookie = format!("{name}={value}; Path=/; Max-Age={age}; SameSite=Lax; HttpOnly");
    visit.set_cookie(HeaderValue::try_from(cookie).expect("words and digits"));
}
