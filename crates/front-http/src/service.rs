//! Many who share nothing: tenants, their people and API keys, and what they have used. Served only where the node is such a
//! service.

pub(crate) mod api_keys;
pub(crate) mod auth;
pub(crate) mod billing;
pub(crate) mod cookies;
pub(crate) mod live;
pub(crate) mod operators;
pub(crate) mod records;
pub(crate) mod team;
pub(crate) mod tenants;
pub(crate) mod top;
pub(crate) mod usage;

use accounts::{Act, Scope};
use axum::extract::Request;
use axum::http::Method;
use axum::routing;
use limiter::Node;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::app::App;
use crate::body::{BODY_MAX, read_json};
use crate::caller::Needs;
use crate::explain::{Shape, explain};
use crate::idempotency::refuse_key;
use crate::problem::Problem;
use crate::router::Endpoint;

/// What is served beside the rest of the API.
pub(crate) fn endpoints<N: Node>() -> Vec<Endpoint<N>> {
    let mut endpoints = of_tenants();
    endpoints.extend(of_people());
    endpoints.extend(of_billing());
    endpoints
}

fn of_people<N: Node>() -> Vec<Endpoint<N>> {
    let operator = Needs::Operator;
    let (sees, manages) = (Needs::Act(Act::See), Needs::Act(Act::ManageTeam));
    vec![
        (
            "post",
            "/v1/auth/sign-up",
            Needs::Nothing,
            routing::post(auth::sign_up),
        ),
        (
            "post",
            "/v1/auth/login",
            Needs::Nothing,
            routing::post(auth::login),
        ),
        (
            "post",
            "/v1/auth/logout",
            Needs::SessionIfAny,
            routing::post(auth::logout),
        ),
        (
            "get",
            "/v1/auth/session",
            Needs::SessionInConflict,
            routing::get(auth::session),
        ),
        (
            "get",
            "/v1/auth/sessions",
            Needs::Session,
            routing::get(auth::sessions),
        ),
        (
            "delete",
            "/v1/auth/sessions/{id}",
            Needs::Session,
            routing::delete(auth::end_session),
        ),
        (
            "post",
            "/v1/auth/password",
            Needs::Session,
            routing::post(auth::password),
        ),
        (
            "post",
            "/v1/auth/email",
            Needs::SessionInConflict,
            routing::post(auth::email),
        ),
        (
            "post",
            "/v1/auth/recovery-code",
            Needs::Session,
            routing::post(auth::recovery_code),
        ),
        (
            "post",
            "/v1/auth/recover",
            Needs::Nothing,
            routing::post(auth::recover),
        ),
        (
            "post",
            "/v1/auth/reset",
            Needs::Nothing,
            routing::post(auth::reset),
        ),
        (
            "delete",
            "/v1/auth/user",
            Needs::Session,
            routing::delete(auth::delete),
        ),
        ("get", "/v1/team", sees, routing::get(team::list)),
        (
            "post",
            "/v1/team/invites",
            manages,
            routing::post(team::invite),
        ),
        (
            "delete",
            "/v1/team/invites/{id}",
            manages,
            routing::delete(team::withdraw),
        ),
        (
            "patch",
            "/v1/team/{id}",
            manages,
            routing::patch(team::change),
        ),
        (
            "delete",
            "/v1/team/{id}",
            manages,
            routing::delete(team::remove),
        ),
        (
            "post",
            "/v1/team/{id}/reset-link",
            manages,
            routing::post(team::reset_link),
        ),
        (
            "post",
            "/v1/invites/{token}",
            Needs::Session,
            routing::post(team::accept),
        ),
        (
            "get",
            "/v1/audit",
            Needs::Act(Act::SeeAudit),
            routing::get(team::audit),
        ),
        (
            "get",
            "/v1/operators",
            operator,
            routing::get(operators::list),
        ),
        (
            "post",
            "/v1/operators",
            operator,
            routing::post(operators::make),
        ),
        (
            "delete",
            "/v1/operators/{id}",
            operator,
            routing::delete(operators::remove),
        ),
        (
            "post",
            "/v1/users/reset-link",
            operator,
            routing::post(operators::reset_link),
        ),
        (
            "post",
            "/v1/users/end-sessions",
            operator,
            routing::post(operators::end_sessions),
        ),
        (
            "post",
            "/v1/users/disable",
            operator,
            routing::post(operators::disable),
        ),
        (
            "post",
            "/v1/users/enable",
            operator,
            routing::post(operators::enable),
        ),
    ]
}

fn of_billing<N: Node>() -> Vec<Endpoint<N>> {
    let (operator, pays) = (Needs::Operator, Needs::Act(Act::ManageBilling));
    vec![
        ("get", "/v1/billing", pays, routing::get(billing::show)),
        (
            "post",
            "/v1/billing/checkout",
            pays,
            routing::post(billing::checkout),
        ),
        (
            "post",
            "/v1/billing/portal",
            pays,
            routing::post(billing::portal),
        ),
        (
            "post",
            "/stripe/webhook",
            Needs::Nothing,
            routing::post(billing::webhook),
        ),
        (
            "get",
            "/v1/service/billing",
            operator,
            routing::get(billing::check),
        ),
        (
            "post",
            "/v1/service/billing",
            operator,
            routing::post(billing::set_up),
        ),
        (
            "post",
            "/v1/service/billing/sync",
            operator,
            routing::post(billing::sync),
        ),
        (
            "get",
            "/v1/service/billing/drift",
            operator,
            routing::get(billing::drift),
        ),
    ]
}

fn of_tenants<N: Node>() -> Vec<Endpoint<N>> {
    let operator = Needs::Operator;
    let (reads_keys, writes_keys) = (Scope::KeysRead, Scope::KeysWrite);
    vec![
        ("get", "/v1/tenants", operator, routing::get(tenants::list)),
        (
            "post",
            "/v1/tenants",
            operator,
            routing::post(tenants::make),
        ),
        (
            "get",
            "/v1/tenants/{id}",
            operator,
            routing::get(tenants::get),
        ),
        (
            "patch",
            "/v1/tenants/{id}",
            operator,
            routing::patch(tenants::change),
        ),
        (
            "post",
            "/v1/tenants/{id}/restore",
            operator,
            routing::post(tenants::restore),
        ),
        (
            "get",
            "/v1/tenant",
            Needs::Credential,
            routing::get(tenants::own),
        ),
        (
            "patch",
            "/v1/tenant",
            Needs::Act(Act::ManageTenant),
            routing::patch(tenants::rename_own),
        ),
        (
            "get",
            "/v1/plans",
            Needs::Nothing,
            routing::get(tenants::plans),
        ),
        (
            "get",
            "/v1/api-keys",
            Needs::Scope(reads_keys),
            routing::get(api_keys::list),
        ),
        (
            "post",
            "/v1/api-keys",
            Needs::Scope(writes_keys),
            routing::post(api_keys::make),
        ),
        (
            "get",
            "/v1/api-keys/{id}",
            Needs::Scope(reads_keys),
            routing::get(api_keys::get),
        ),
        (
            "patch",
            "/v1/api-keys/{id}",
            Needs::Scope(writes_keys),
            routing::patch(api_keys::change),
        ),
        (
            "delete",
            "/v1/api-keys/{id}",
            Needs::Scope(writes_keys),
            routing::delete(api_keys::revoke),
        ),
        (
            "post",
            "/v1/api-keys/{id}/rotate",
            Needs::Scope(writes_keys),
            routing::post(api_keys::rotate),
        ),
        (
            "get",
            "/v1/service/records",
            operator,
            routing::get(records::export),
        ),
        (
            "post",
            "/v1/service/records",
            operator,
            routing::post(records::import),
        ),
        (
            "get",
            "/v1/usage",
            Needs::Scope(Scope::UsageRead),
            routing::get(usage::usage),
        ),
        ("get", "/v1/live", live::NEEDS, routing::get(live::live)),
        ("get", "/v1/series", live::NEEDS, routing::get(live::series)),
        ("get", "/v1/top", live::NEEDS, routing::get(top::top)),
    ]
}

/// Reads a body of this shape. None at all is an object without fields: to ask for nothing in particular needs none.
async fn read<T: DeserializeOwned, N>(
    app: &App<N>,
    shape: &Shape,
    request: Request,
) -> Result<T, Problem> {
    read_up_to(BODY_MAX, app, shape, request).await
}

/// The same, of up to `max` bytes.
async fn read_up_to<T: DeserializeOwned, N>(
    max: usize,
    app: &App<N>,
    shape: &Shape,
    request: Request,
) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    if parts.method == Method::POST {
        refuse_key(&parts.headers, "nothing was changed")?;
    }
    let body = read_json(&app.bodies, &parts.headers, body, max).await?;
    let body = if body.is_empty() { &b"{}"[..] } else { &body };
    let given = serde_json::from_slice(body);
    Ok(given.map_err(|error| explain(body, shape, &error))?)
}

/// A field that may be `null`, which is something else than not being there.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
