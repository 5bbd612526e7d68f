//! How people come in: login, sign-up, invites, recovery and reset links, and how they leave.

use accounts::Visitor;
use askama::Template;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Ask, Problem};
use crate::form::{next, segment};
use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::visit::{Reader, Visit};

/// What binds the forms of somebody who has not logged in to a browser.
const VISITOR: &str = "weir_visitor";

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    token: String,
    next: String,
}

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUp {
    frame: Frame,
    token: String,
    /// Of an invite. Empty: a tenant is made.
    invite: String,
}

#[derive(Template)]
#[template(path = "recover.html")]
struct Recover {
    frame: Frame,
    token: String,
}

#[derive(Template)]
#[template(path = "reset.html")]
struct Reset {
    frame: Frame,
    token: String,
}

#[derive(Template)]
#[template(path = "invite.html")]
struct Invite {
    frame: Frame,
    invite: String,
}

/// Shown once.
#[derive(Template)]
#[template(path = "recovery_code.html")]
pub(super) struct RecoveryCode {
    pub(super) frame: Frame,
    pub(super) code: String,
    pub(super) next: String,
}

#[derive(Deserialize)]
pub(super) struct NewCode {
    pub(super) recovery_code: String,
}

/// A token for the forms of this browser, and the cookie that it is bound to if it has none yet.
fn token(visit: &Visit) -> (String, Option<HeaderValue>) {
    let known = visit.cookie(VISITOR).and_then(Visitor::parse);
    let is_new = known.is_none();
    let visitor = known.unwrap_or_else(|| {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the operating system has random bytes");
        Visitor::draw(random)
    });
    let settings = &visit.app.settings;
    let secure = if settings.public_url.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = is_new.then(|| {
        let text = format!(
            "{VISITOR}={}; HttpOnly; SameSite=Strict; Path=/{secure}",
            visitor.reveal()
        );
        HeaderValue::try_from(text).expect("base64 is visible")
    });
    (settings.keys.visitor_form_token(&visitor).reveal(), cookie)
}

/// Refuses a form that was not on a page of this service in this browser.
fn check_token(visit: &Visit) -> Result<(), Problem> {
    let visitor = visit.cookie(VISITOR).and_then(Visitor::parse);
    let is_ours = visitor.is_some_and(|visitor| {
        let token = visit.app.settings.keys.visitor_form_token(&visitor);
        token.matches(visit.form.get("csrf"))
    });
    match is_ours && visit.is_of_own_page() {
        true => Ok(()),
        false => Err(Problem::of_page(
            StatusCode::FORBIDDEN,
            "This form is of another page",
            "Nothing was done. It is there again below: send it once more, with cookies allowed",
        )),
    }
}

fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

fn show_login(visit: &Visit, problem: Option<Problem>) -> Response {
    let (token, cookie) = token(visit);
    let frame = Frame::new(visit, "login", "Log in").after(visit, problem);
    let next = next(visit.form.get("next")).to_owned();
    let login = Login { frame, token, next };
    with_cookie(page(visit, &login.frame, &login), cookie)
}

/// `GET /login`
pub(crate) async fn login(visit: Visit) -> Result<Response, Trouble> {
    Ok(show_login(&visit, None))
}

/// `POST /login`
pub(crate) async fn log_in(visit: Visit) -> Response {
    let body = json!({
        "email": visit.form.get("email"),
        "password": visit.form.exactly("password"),
    });
    match post(&visit, "/v1/auth/login", body).await {
        Ok(_) => visit.see(next(visit.form.get("next"))),
        Err(problem) => show_login(&visit, Some(problem)),
    }
}

/// Asks what a form of somebody who has not logged in is for.
async fn post(visit: &Visit, path: &str, body: Value) -> Result<Bytes, Problem> {
    check_token(visit)?;
    let ask = Ask {
        method: Method::POST,
        body: Some(body),
        // The form was looked at above.
        is_look: true,
        ..Ask::get(path)
    };
    Ok(visit.ask(ask).await?.body)
}

/// `POST /logout`
pub(crate) async fn log_out(visit: Visit) -> Result<Response, Trouble> {
    visit
        .act(None, Method::POST, "/v1/auth/logout", Some(json!({})))
        .await?;
    Ok(visit.see("/login"))
}

fn show_sign_up(visit: &Visit, problem: Option<Problem>) -> Response {
    let (token, cookie) = token(visit);
    let frame = Frame::new(visit, "sign-up", "Sign up").after(visit, problem);
    let invite = visit.form.get("invite").to_owned();
    let sign_up = SignUp {
        frame,
        token,
        invite,
    };
    with_cookie(page(visit, &sign_up.frame, &sign_up), cookie)
}

/// `GET /sign-up`
pub(crate) async fn sign_up(visit: Visit) -> Response {
    show_sign_up(&visit, None)
}

/// `POST /sign-up`
pub(crate) async fn signed_up(visit: Visit) -> Response {
    let mut body = json!({
        "email": visit.form.get("email"),
        "password": visit.form.exactly("password"),
    });
    match visit.form.some("invite") {
        Some(invite) => body["invite"] = invite.into(),
        None => body["tenant"] = visit.form.get("tenant").into(),
    }
    match post(&visit, "/v1/auth/sign-up", body).await {
        Ok(body) => show_code(&visit, &body),
        Err(problem) => show_sign_up(&visit, Some(problem)),
    }
}

/// Shows the recovery code that an answer has.
fn show_code(visit: &Visit, body: &[u8]) -> Response {
    let code = serde_json::from_slice::<NewCode>(body);
    let Ok(NewCode { recovery_code }) = code else {
        return visit.see("/dashboard");
    };
    let code = RecoveryCode {
        frame: Frame::new(visit, "code", "Your recovery code"),
        code: recovery_code,
        next: "/dashboard".to_owned(),
    };
    page(visit, &code.frame, &code)
}

fn show_recover(visit: &Visit, problem: Option<Problem>) -> Response {
    let (token, cookie) = token(visit);
    let frame = Frame::new(visit, "recover", "Forgotten password").after(visit, problem);
    let recover = Recover { frame, token };
    with_cookie(page(visit, &recover.frame, &recover), cookie)
}

/// `GET /recover`
pub(crate) async fn recover(visit: Visit) -> Response {
    show_recover(&visit, None)
}

/// `POST /recover`
pub(crate) async fn recovered(visit: Visit) -> Response {
    let body = json!({
        "email": visit.form.get("email"),
        "recovery_code": visit.form.get("recovery_code"),
        "password": visit.form.exactly("password"),
    });
    match post(&visit, "/v1/auth/recover", body).await {
        Ok(body) => show_code(&visit, &body),
        Err(problem) => show_recover(&visit, Some(problem)),
    }
}

fn show_reset(visit: &Visit, problem: Option<Problem>) -> Response {
    let (token, cookie) = token(visit);
    let frame = Frame::new(visit, "reset", "A new password").after(visit, problem);
    let reset = Reset { frame, token };
    with_cookie(page(visit, &reset.frame, &reset), cookie)
}

/// `GET /reset/{token}`
pub(crate) async fn reset(visit: Visit) -> Response {
    show_reset(&visit, None)
}

/// `POST /reset/{token}`
pub(crate) async fn was_reset(Path(token): Path<String>, visit: Visit) -> Response {
    let body = json!({ "token": token, "password": visit.form.exactly("password") });
    match post(&visit, "/v1/auth/reset", body).await {
        Ok(body) => show_code(&visit, &body),
        Err(problem) => show_reset(&visit, Some(problem)),
    }
}

/// `GET /invite/{token}`
pub(crate) async fn invite(Path(invite): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let reader = match visit.reader().await {
        Ok(reader) => Some(reader),
        Err(Trouble::Login { .. }) => None,
        Err(trouble) => return Err(trouble),
    };
    Ok(show_invite(&visit, reader, invite, None))
}

fn show_invite(
    visit: &Visit,
    reader: Option<Reader>,
    invite: String,
    problem: Option<Problem>,
) -> Response {
    let mut frame = Frame::new(visit, "invite", "An invitation").after(visit, problem);
    frame.reader = reader;
    let invite = Invite {
        frame,
        invite: segment(&invite),
    };
    page(visit, &invite.frame, &invite)
}

/// `POST /invite/{token}`
pub(crate) async fn accepted(
    Path(invite): Path<String>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let path = format!("/v1/invites/{}", segment(&invite));
    match visit.act(None, Method::POST, path, Some(json!({}))).await {
        Ok(_) => Ok(visit.see("/dashboard")),
        Err(problem) => Ok(show_invite(&visit, Some(reader), invite, Some(problem))),
    }
}
