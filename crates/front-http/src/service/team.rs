//! `/v1/team`, `/v1/invites` and `/v1/audit`: who belongs to a tenant, and who did what.

use accounts::{AuditEntry, Invite, InviteId, ROLES_ACCEPTED, Role};
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::Response;
use limiter::{EMAIL_ACCEPTED, NewLink, Node, Refusal, Teammate, parameter, read_email};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::membership_json;
use super::{nullable, read};
use crate::app::Shared;
use crate::caller::By;
use crate::changed::{self, no_store};
use crate::decided;
use crate::explain::{Field, Kind, Shape};
use crate::memory::ANSWER_BYTES;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invited {
    #[serde(default, deserialize_with = "nullable")]
    email: Option<Option<String>>,
    role: String,
}

const ROLE: Field = Field {
    name: "role",
    required: true,
    kind: Kind::Text,
    accepted: ROLES_ACCEPTED,
};

const INVITED: Shape = Shape {
    fields: &[
        Field {
            name: "email",
            required: false,
            kind: Kind::Nullable(&Kind::Text),
            accepted: EMAIL_ACCEPTED,
        },
        ROLE,
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    role: String,
}

const CHANGED: Shape = Shape { fields: &[ROLE] };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

const NOTHING: Shape = Shape { fields: &[] };

/// Entries of a page of the audit.
const AUDIT_PAGE: usize = 100;

fn role(given: &str) -> Result<Role, Refusal> {
    let role = given.parse();
    role.map_err(|_| Refusal::field("role", given, ROLES_ACCEPTED))
}

/// `GET /v1/team`
pub(crate) async fn list<N: Node>(State(app): Shared<N>, by: By<N>) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let room = app.answers.room(ANSWER_BYTES)?;
    let (team, invites) = (caller.team()?, caller.invites()?);
    let items: Vec<Value> = team.iter().map(teammate_json).collect();
    let invites = invites.iter().map(|(id, invite)| invite_json(*id, invite));
    let json = json!({ "items": items, "invites": invites.collect::<Vec<_>>() });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `POST /v1/team/invites`
pub(crate) async fn invite<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    caller.needs_tenant()?;
    let given: Invited = read(&app, &INVITED, request).await?;
    let email = given.email.flatten();
    let email = email.map(|email| read_email("email", &email)).transpose()?;
    let (id, link) = caller.invite(email, role(&given.role)?).await?;
    let mut json = link_json(&link);
    json["id"] = id.to_string().into();
    Ok(no_store(changed::created(&link.changed, &json)))
}

/// `DELETE /v1/team/invites/{id}`
pub(crate) async fn withdraw<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let changed = by.caller(&app).withdraw(&id).await?;
    Ok(changed::removed(&changed))
}

/// `POST /v1/invites/{token}`: somebody who has logged in takes the seat.
pub(crate) async fn accept<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let signed_in = caller.needs_session()?;
    let Nothing {} = read(&app, &NOTHING, request).await?;
    let (membership, changed) = caller.accept(signed_in, &token).await?;
    Ok(changed::changed(&changed, &membership_json(&membership)))
}

/// `PATCH /v1/team/{id}`
pub(crate) async fn change<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let given: Changed = read(&app, &CHANGED, request).await?;
    let (mate, changed) = caller.change_role(&id, role(&given.role)?).await?;
    Ok(changed::changed(&changed, &teammate_json(&mate)))
}

/// `DELETE /v1/team/{id}`
pub(crate) async fn remove<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let changed = by.caller(&app).remove_teammate(&id).await?;
    Ok(changed::removed(&changed))
}

/// `POST /v1/team/{id}/reset-link`
pub(crate) async fn reset_link<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let Nothing {} = read(&app, &NOTHING, request).await?;
    let link = caller.teammate_reset_link(&id).await?;
    Ok(no_store(changed::created(&link.changed, &link_json(&link))))
}

/// `GET /v1/audit`
pub(crate) async fn audit<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let before = parameter(uri.query().unwrap_or_default(), "before")?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let mut entries = caller.audit(before.as_deref(), AUDIT_PAGE + 1)?;
    let has_more = AUDIT_PAGE < entries.len();
    entries.truncate(AUDIT_PAGE);
    let last = entries.last().map(|(stamp, _)| stamp.to_string());
    let items = entries
        .iter()
        .map(|(stamp, entry)| entry_json(stamp, entry));
    let json = json!({
        "items": items.collect::<Vec<_>>(),
        "next": last.filter(|_| has_more),
    });
    Ok(decided::json(room.keep(json.to_string())))
}

pub(crate) fn link_json(link: &NewLink) -> Value {
    json!({ "url": link.url, "expires_at": link.expires_at.to_string() })
}

fn teammate_json(mate: &Teammate) -> Value {
    json!({
        "id": mate.id.to_string(),
        "email": mate.user.email.get().as_str(),
        "role": mate.role.name(),
        "joined_at": mate.joined_at.to_string(),
        "seen_at": mate.seen_at.map(|at| at.to_string()),
    })
}

fn invite_json(id: InviteId, invite: &Invite) -> Value {
    json!({
        "id": id.to_string(),
        "email": invite.email.as_ref().map(|email| email.as_str()),
        "role": invite.role.name(),
        "created_at": invite.made_at.to_string(),
        "created_by": &*invite.made_by,
        "expires_at": invite.link.expires_at.to_string(),
    })
}

fn entry_json(stamp: &str, entry: &AuditEntry) -> Value {
    json!({
        "stamp": stamp,
        "at": entry.at.to_string(),
        "who": entry.who.to_string(),
        "what": &*entry.what,
        "target": &*entry.target,
        "before": entry.before.as_deref(),
        "after": entry.after.as_deref(),
        "address": entry.address.map(|address| address.to_string()),
        "node": &*entry.node,
    })
}
