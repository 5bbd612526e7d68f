//! How people come in: login, sign-up, invites, recovery and reset links, and how they leave.

use accounts::Visitor;
use askama::Template;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Ask, Problem};
use crate::form::{next, segment};
use crate::frame::{Frame, page};
use crate::respond::{Trouble, see_other};
use crate::visit::{Reader, Visit};

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    token: String,
    next: String,
    /// Whether anybody may sign up.
    is_open: bool,
    /// Whether nobody runs the service yet, and whoever reads this may have come to begin.
    is_new: bool,
}

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUp {
    frame: Frame,
    token: String,
    /// Of an invite. Empty: a tenant is made.
    invite: String,
    /// Why there is no form. `None`: there is one.
    closed: Option<&'static str>,
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

/// What binds the forms of somebody who has not logged in to a browser. Under https no other host of the domain can set it.
fn visitor_cookie(visit: &Visit) -> &'static str {
    match visit.app.is_https() {
        true => "__Host-weir_visitor",
        false => "weir_visitor",
    }
}

fn visitor(visit: &Visit) -> Option<Visitor> {
    visit.cookie(visitor_cookie(visit)).and_then(Visitor::parse)
}

/// A token for the forms of this browser, which is given what that is bound to if it has none yet.
fn token(visit: &Visit) -> String {
    let visitor = visitor(visit).unwrap_or_else(|| {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the operating system has random bytes");
        let visitor = Visitor::draw(random);
        let (name, value) = (visitor_cookie(visit), visitor.reveal());
        let secure = if visit.app.is_https() { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/{secure}");
        visit.set_cookie(HeaderValue::try_from(cookie).expect("base64 is visible"));
        visitor
    });
    let keys = &visit.app.settings.keys;
    keys.visitor_form_token(&visitor).reveal()
}

/// Refuses a form that was not on a page of this service in this browser.
fn check_token(visit: &Visit) -> Result<(), Problem> {
    let keys = &visit.app.settings.keys;
    let is_ours = visitor(visit).is_some_and(|visitor| {
        let token = keys.visitor_form_token(&visitor);
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

fn show_login(visit: &Visit, problem: Option<Problem>) -> Response {
    let token = token(visit);
    let frame = Frame::new(visit, "login", "Log in").after(visit, problem);
    let next = next(visit.form.get("next")).to_owned();
    let login = Login {
        frame,
        token,
        next,
        is_open: visit.app.settings.signup == "open",
        is_new: !(visit.app.settings.has_operators.0)(),
    };
    page(&login.frame, &login)
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
        Ok(_) => see_other(next(visit.form.get("next"))),
        Err(problem) => show_login(&visit, Some(problem)),
    }
}

/// Asks what a form of somebody who has not logged in is for.
async fn post(visit: &Visit, path: &str, body: Value) -> Result<Bytes, Problem> {
    check_token(visit)?;
    let ask = Ask {
        method: Method::POST,
        body: Some(body),
        ..Ask::get(path)
    };
    Ok(visit.ask(ask).await?.body)
}

/// `POST /logout`
pub(crate) async fn log_out(visit: Visit) -> Result<Response, Trouble> {
    visit
        .act(None, Method::POST, "/v1/auth/logout", Some(json!({})))
        .await?;
    Ok(see_other("/login"))
}

fn show_sign_up(visit: &Visit, problem: Option<Problem>) -> Response {
    let token = token(visit);
    let frame = Frame::new(visit, "sign-up", "Sign up").after(visit, problem);
    let invite = visit.form.get("invite").to_owned();
    let closed = match visit.app.settings.signup {
        "open" => None,
        "invited" if !invite.is_empty() => None,
        "invited" => Some(
            "Only who was invited can sign up here: ask an owner or admin of your team for a link.",
        ),
        _ => Some("Nobody can sign up here: ask whoever runs this service for a team of your own."),
    };
    let sign_up = SignUp {
        frame,
        token,
        invite,
        closed,
    };
    page(&sign_up.frame, &sign_up)
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
        return see_other("/dashboard");
    };
    let code = RecoveryCode {
        frame: Frame::new(visit, "code", "Your recovery code"),
        code: recovery_code,
        next: "/dashboard".to_owned(),
    };
    page(&code.frame, &code)
}

fn show_recover(visit: &Visit, problem: Option<Problem>) -> Response {
    let token = token(visit);
    let frame = Frame::new(visit, "recover", "Forgotten password").after(visit, problem);
    let recover = Recover { frame, token };
    page(&recover.frame, &recover)
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
    let token = token(visit);
    let frame = Frame::new(visit, "reset", "A new password").after(visit, problem);
    let reset = Reset { frame, token };
    page(&reset.frame, &reset)
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
    page(&invite.frame, &invite)
}

/// `POST /invite/{token}`
pub(crate) async fn accepted(
    Path(invite): Path<String>,
    visit: Visit,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let path = format!("/v1/invites/{}", segment(&invite));
    match visit.act(None, Method::POST, path, Some(json!({}))).await {
        Ok(_) => Ok(see_other("/dashboard")),
        Err(problem) => Ok(show_invite(&visit, Some(reader), invite, Some(problem))),
    }
}
