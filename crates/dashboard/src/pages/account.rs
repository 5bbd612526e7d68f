//! What belongs to a person: password, address, recovery code, sessions, theme.

use askama::Template;
use axum::extract::Path;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::entry::{NewCode, RecoveryCode};
use crate::api::{Ask, Problem};
use crate::day::minute;
use crate::form::{next, segment};
use crate::frame::{Frame, THEME, page};
use crate::respond::Trouble;
use crate::visit::Visit;

#[derive(Deserialize)]
struct Session {
    id: String,
    made_at: String,
    /// Known of the current one alone.
    #[serde(default)]
    seen_at: Option<String>,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    agent: Option<String>,
    #[serde(default)]
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
        self.agent
            .as_deref()
            .unwrap_or("a browser that does not say")
    }
}

#[derive(Deserialize)]
struct Sessions {
    items: Vec<Session>,
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
    let sessions: Result<Sessions, Problem> = visit.told(Ask::get("/v1/auth/sessions")).await;
    let account = Account {
        frame: Frame::of(visit, reader, None, "account", "Account").after(visit, problem),
        sessions: sessions.map_or_else(|_| Vec::new(), |sessions| sessions.items),
        email,
        has_conflict,
    };
    Ok(page(visit, &account.frame, &account))
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
        Ok(_) => Ok(visit.see("/dashboard/account")),
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
        return Ok(visit.see("/dashboard/account"));
    };
    let reader = visit.reader().await?;
    let code = RecoveryCode {
        frame: Frame::of(&visit, reader, None, "account", "Your recovery code"),
        code: recovery_code,
        next: "/dashboard/account".to_owned(),
    };
    Ok(page(&visit, &code.frame, &code))
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
        Ok(_) => Ok(visit.see("/login")),
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
        Ok(_) => Ok(visit.see("/login")),
        Err(problem) => show(&visit, Some(problem)).await,
    }
}

/// `POST /theme`: in the browser alone, so that everybody may.
pub(crate) async fn theme(visit: Visit) -> Response {
    let theme = match visit.form.get("theme") {
        "light" => "light",
        "dark" => "dark",
        // As the system has it.
        _ => "",
    };
    let age = if theme.is_empty() { 0 } else { 31_536_000 };
    let cookie = format!("{THEME}={theme}; Path=/; Max-Age={age}; SameSite=Lax; HttpOnly");
    let mut response = visit.see(next(visit.form.get("next")));
    let cookie = HeaderValue::try_from(cookie).expect("words and digits");
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}
