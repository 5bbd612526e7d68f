//! `/v1/auth`: people signing up, logging in, and changing what proves who they are.

use std::sync::Arc;

use accounts::{KnownSession, NAME_ACCEPTED, SessionId, UserId};
use axum::extract::{Path, Request, State};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::response::Response;
use catalogue::Changed;
use limiter::{
    Begun, EMAIL_ACCEPTED, Joins, Membership, Node, Origin, PASSWORD_ACCEPTED, People, Recovered,
    Refusal, Service, SignedIn,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cookies::{Cookies, devices};
use super::read;
use crate::app::{App, Shared};
use crate::caller::{By, check_origin};
use crate::changed::{self, no_store};
use crate::decided;
use crate::explain::{Field, Kind, Shape};
use crate::problem::Problem;
use crate::routes::clues;

/// What stands for a password that is known already.
const SECRET_ACCEPTED: &str = "text";
const CODE_ACCEPTED: &str = "a recovery code such as 01234-56789-ABCDE-FGHJK-MNPQR";
const TOKEN_ACCEPTED: &str = "the token of a link";

const EMAIL: Field = Field {
    name: "email",
    required: true,
    kind: Kind::Text,
    accepted: EMAIL_ACCEPTED,
};
const PASSWORD: Field = Field {
    name: "password",
    required: true,
    kind: Kind::Secret,
    accepted: PASSWORD_ACCEPTED,
};
const KNOWN: Field = Field {
    name: "password",
    required: true,
    kind: Kind::Secret,
    accepted: SECRET_ACCEPTED,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignUp {
    email: String,
    password: String,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    invite: Option<String>,
}

const SIGN_UP: Shape = Shape {
    fields: &[
        EMAIL,
        PASSWORD,
        Field {
            name: "tenant",
            required: false,
            kind: Kind::Text,
            accepted: NAME_ACCEPTED,
        },
        Field {
            name: "invite",
            required: false,
            kind: Kind::Secret,
            accepted: TOKEN_ACCEPTED,
        },
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    email: String,
    password: String,
}

const LOGIN: Shape = Shape {
    fields: &[EMAIL, KNOWN],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logout {
    #[serde(default)]
    everywhere: bool,
}

const LOGOUT: Shape = Shape {
    fields: &[Field {
        name: "everywhere",
        required: false,
        kind: Kind::Flag,
        accepted: "true or false",
    }],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    current: String,
    new: String,
}

const NEW_PASSWORD: Shape = Shape {
    fields: &[
        Field {
            name: "current",
            ..KNOWN
        },
        Field {
            name: "new",
            ..PASSWORD
        },
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEmail {
    password: String,
    email: String,
}

const NEW_EMAIL: Shape = Shape {
    fields: &[KNOWN, EMAIL],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    password: String,
}

const PROOF: Shape = Shape { fields: &[KNOWN] };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recover {
    email: String,
    recovery_code: String,
    password: String,
}

const RECOVER: Shape = Shape {
    fields: &[
        EMAIL,
        Field {
            name: "recovery_code",
            required: true,
            kind: Kind::Secret,
            accepted: CODE_ACCEPTED,
        },
        PASSWORD,
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    token: String,
    password: String,
}

const RESET: Shape = Shape {
    fields: &[
        Field {
            name: "token",
            required: true,
            kind: Kind::Secret,
            accepted: TOKEN_ACCEPTED,
        },
        PASSWORD,
    ],
};

/// Where a request comes from, and what its browser has of earlier logins.
fn origin<N>(app: &App<N>, service: &Service, parts: &Parts) -> Origin {
    let agent = parts.headers.get(USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    let devices = devices(service, &parts.headers);
    Origin {
        address: Some(app.identifier.client(clues(parts))),
        agent: agent.unwrap_or_default().to_owned(),
        devices: devices.into_iter().map(str::to_owned).collect(),
    }
}

/// Of whom something is asked, and from where.
struct Asked {
    service: Arc<Service>,
    origin: Origin,
}

impl Asked {
    fn people<'a, N: Node>(&'a self, app: &'a App<N>) -> People<'a, N> {
        People::new(&app.limiter, &self.service, &self.origin)
    }
}

async fn asked<T: DeserializeOwned, N>(
    app: &App<N>,
    shape: &Shape,
    request: Request,
) -> Result<(Asked, T), Problem> {
    let service = app.service()?;
    let (parts, body) = request.into_parts();
    let origin = origin(app, &service, &parts);
    let given = read(app, shape, Request::from_parts(parts, body)).await?;
    Ok((Asked { service, origin }, given))
}

/// What is asked without a session, by no page of somebody else.
async fn stranger<T: DeserializeOwned, N>(
    app: &App<N>,
    shape: &Shape,
    request: Request,
) -> Result<(Asked, T), Problem> {
    check_origin(&*app.service()?, request.headers())?;
    asked(app, shape, request).await
}

/// What somebody who has logged in asks of his own account.
async fn own<T: DeserializeOwned, N: Node>(
    app: &App<N>,
    by: By<N>,
    shape: &Shape,
    request: Request,
) -> Result<(Arc<SignedIn>, Asked, T), Problem> {
    let signed_in = Arc::clone(by.caller(app).needs_session()?);
    let (asked, given) = asked(app, shape, request).await?;
    Ok((signed_in, asked, given))
}

/// `POST /v1/auth/sign-up`
pub(crate) async fn sign_up<N: Node>(
    State(app): Shared<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (asked, given) = stranger::<SignUp, N>(&app, &SIGN_UP, request).await?;
    let joins = match (given.tenant, given.invite) {
        (_, Some(token)) => Joins::Invited(token),
        (Some(name), None) => {
            let named = name.parse();
            Joins::New(named.map_err(|_| Refusal::field("tenant", name, NAME_ACCEPTED))?)
        }
        (None, None) => return Err(Refusal::missing("tenant", NAME_ACCEPTED).into()),
    };
    let people = asked.people(&app);
    let made = people.sign_up(&given.email, &given.password, joins).await?;
    let Recovered {
        begun,
        code,
        changed,
    } = made.recovered;
    let json = json!({
        "user": user_json(&begun.signed_in),
        "tenant": membership_json(&made.membership),
        "recovery_code": code.reveal(),
    });
    let response = changed::created(&changed, &json);
    Ok(begin(&asked.service, &begun, response))
}

/// `POST /v1/auth/login`
pub(crate) async fn login<N: Node>(
    State(app): Shared<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (asked, given) = stranger::<Login, N>(&app, &LOGIN, request).await?;
    let people = asked.people(&app);
    let begun = people.login(&given.email, given.password).await?;
    let json = session_json(&app, &asked.service, &begun.signed_in);
    let response = decided::json(json.to_string());
    Ok(begin(&asked.service, &begun, response))
}

/// `POST /v1/auth/logout`: without a session there is nothing to end.
pub(crate) async fn logout<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let (asked, given) = asked::<Logout, N>(&app, &LOGOUT, request).await?;
    let changed = match &caller.signed_in {
        None => Changed::default(),
        Some(signed_in) if given.everywhere => {
            asked.people(&app).end_all_sessions(signed_in.id).await?
        }
        Some(signed_in) => app.limiter.end_session(&signed_in.session).await?,
    };
    let mut response = changed::removed(&changed);
    Cookies::of(&asked.service).clear(&mut response);
    Ok(response)
}

/// `GET /v1/auth/session`
pub(crate) async fn session<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
) -> Result<Response, Problem> {
    let service = app.service()?;
    let caller = by.caller(&app);
    let signed_in = caller.needs_session()?;
    let mut json = session_json(&app, &service, signed_in);
    json["expires_at"] = signed_in.expires_at(&service).to_string().into();
    Ok(no_store(decided::json(json.to_string())))
}

/// `GET /v1/auth/sessions`
pub(crate) async fn sessions<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let signed_in = caller.needs_session()?;
    let sessions = app.limiter.sessions(signed_in).into_iter();
    let items = sessions.map(|(id, known)| known_session_json(signed_in, id, &known));
    let json = json!({ "items": items.collect::<Vec<_>>() });
    Ok(no_store(decided::json(json.to_string())))
}

/// `DELETE /v1/auth/sessions/{id}`
pub(crate) async fn end_session<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let signed_in = caller.needs_session()?;
    let changed = app.limiter.end_session_of(signed_in, &id).await?;
    Ok(changed::removed(&changed))
}

/// `POST /v1/auth/password`
pub(crate) async fn password<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (signed_in, asked, given) = own::<NewPassword, N>(&app, by, &NEW_PASSWORD, request).await?;
    let people = asked.people(&app);
    let changed = people.change_password(&signed_in, given.current, &given.new);
    let (begun, changed) = changed.await?;
    let response = changed::removed(&changed);
    Ok(begin(&asked.service, &begun, response))
}

/// `POST /v1/auth/email`
pub(crate) async fn email<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (signed_in, asked, given) = own::<NewEmail, N>(&app, by, &NEW_EMAIL, request).await?;
    let people = asked.people(&app);
    let changed = people.change_email(&signed_in, given.password, &given.email);
    Ok(changed::removed(&changed.await?))
}

/// `POST /v1/auth/recovery-code`
pub(crate) async fn recovery_code<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (signed_in, asked, given) = own::<Proof, N>(&app, by, &PROOF, request).await?;
    let people = asked.people(&app);
    let renewed = people.renew_recovery_code(&signed_in, given.password);
    let (code, changed) = renewed.await?;
    let json = json!({ "recovery_code": code.reveal() });
    Ok(no_store(changed::changed(&changed, &json)))
}

/// `POST /v1/auth/recover`
pub(crate) async fn recover<N: Node>(
    State(app): Shared<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (asked, given) = stranger::<Recover, N>(&app, &RECOVER, request).await?;
    let people = asked.people(&app);
    let recovered = people.recover(&given.email, &given.recovery_code, &given.password);
    Ok(recovered_answer(&asked.service, &recovered.await?))
}

/// `POST /v1/auth/reset`
pub(crate) async fn reset<N: Node>(
    State(app): Shared<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (asked, given) = stranger::<Reset, N>(&app, &RESET, request).await?;
    let people = asked.people(&app);
    let recovered = people.reset(&given.token, &given.password).await?;
    Ok(recovered_answer(&asked.service, &recovered))
}

/// `DELETE /v1/auth/user`
pub(crate) async fn delete<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (signed_in, asked, given) = own::<Proof, N>(&app, by, &PROOF, request).await?;
    let people = asked.people(&app);
    let deleted = people.delete(&signed_in, given.password);
    let mut response = changed::removed(&deleted.await?);
    Cookies::of(&asked.service).clear(&mut response);
    Ok(response)
}

fn recovered_answer(service: &Service, recovered: &Recovered) -> Response {
    let json = json!({ "recovery_code": recovered.code.reveal() });
    let response = changed::changed(&recovered.changed, &json);
    begin(service, &recovered.begun, response)
}

/// Has the browser keep a session that has begun. Nobody keeps the answer on the way.
fn begin(service: &Service, begun: &Begun, response: Response) -> Response {
    let mut response = no_store(response);
    let cookies = Cookies::of(service);
    cookies.set_session(&mut response, &begun.cookie);
    cookies.set_device(&mut response, &begun.device);
    response
}

fn session_json<N: Node>(app: &App<N>, service: &Service, signed_in: &SignedIn) -> Value {
    let tenants = app.limiter.memberships(signed_in.id);
    let tenants: Vec<Value> = tenants.iter().map(membership_json).collect();
    let mut json = json!({
        "user": user_json(signed_in),
        "tenants": tenants,
        "csrf": signed_in.form_token(service).reveal(),
    });
    if app.limiter.is_operator(signed_in.id) {
        json["operator"] = true.into();
    }
    if signed_in.has_conflict {
        json["email_conflict"] = true.into();
    }
    json
}

fn user_json(signed_in: &SignedIn) -> Value {
    let id: UserId = signed_in.id;
    json!({ "id": id.to_string(), "email": signed_in.user.email.get().as_str() })
}

pub(crate) fn membership_json(membership: &Membership) -> Value {
    json!({
        "id": membership.tenant.to_string(),
        "name": membership.name.as_str(),
        "role": membership.role.name(),
    })
}

fn known_session_json(signed_in: &SignedIn, id: SessionId, known: &KnownSession) -> Value {
    let current = &signed_in.session;
    let is_current = current.id() == id;
    // What is kept of a session is a little behind what its cookie says.
    let seen_at = match is_current {
        true => known.seen_at.max(current.seen_at()),
        false => known.seen_at,
    };
    json!({
        "id": id.to_string(),
        "made_at": known.made_at.to_string(),
        "seen_at": seen_at.to_string(),
        "address": known.address.map(|address| address.to_string()),
        "agent": &*known.agent,
        "current": is_current,
    })
}
