//! `/v1/tenants`, `/v1/tenant` and `/v1/plans`.

use std::sync::Arc;

use accounts::{
    Email, NAME_ACCEPTED, Plan, PlanName, REQUESTS_PER_DAY_MAX, Status, Tenant, TenantId,
    TenantName,
};
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::Response;
use limiter::{
    Caller, Change, EMAIL_ACCEPTED, Kind as Refused, NewOwner, NewTenant, Node, Refusal, Service,
    TenantChange, read_email,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::team::link_json;
use super::{nullable, read};
use crate::app::{App, Shared};
use crate::caller::By;
use crate::changed::{self, no_store};
use crate::decided;
use crate::explain::{Field, Kind, Shape};
use crate::memory::ANSWER_BYTES;
use crate::page::Page;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    plan: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    requests_per_day: Option<Option<u32>>,
    #[serde(default)]
    status: Option<String>,
}

const PLAN_ACCEPTED: &str = "the name of a plan, or null for that of no subscription";
const REQUESTS_ACCEPTED: &str = "1 to 2147483647, or null for those of the plan";
const STATUS_ACCEPTED: &str = "active, suspended or closed";

const NAME: Field = Field {
    name: "name",
    required: false,
    kind: Kind::Text,
    accepted: NAME_ACCEPTED,
};
const PLAN: Field = Field {
    name: "plan",
    required: false,
    kind: Kind::Nullable(&Kind::Text),
    accepted: PLAN_ACCEPTED,
};
const REQUESTS: Field = Field {
    name: "requests_per_day",
    required: false,
    kind: Kind::Nullable(&Kind::Count),
    accepted: REQUESTS_ACCEPTED,
};
const STATUS: Field = Field {
    name: "status",
    required: false,
    kind: Kind::Text,
    accepted: STATUS_ACCEPTED,
};

const GIVEN: Shape = Shape {
    fields: &[NAME, PLAN, REQUESTS, STATUS],
};

/// A tenant that is to be made, which may be given an owner.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    plan: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    requests_per_day: Option<Option<u32>>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    owner: Option<String>,
}

const MADE: Shape = Shape {
    fields: &[
        Field {
            required: true,
            ..NAME
        },
        PLAN,
        REQUESTS,
        STATUS,
        Field {
            name: "owner",
            required: false,
            kind: Kind::Text,
            accepted: EMAIL_ACCEPTED,
        },
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renamed {
    name: String,
}

const RENAMED: Shape = Shape {
    fields: &[Field {
        name: "name",
        required: true,
        kind: Kind::Text,
        accepted: NAME_ACCEPTED,
    }],
};

impl Given {
    fn change(self, service: &Service) -> Result<TenantChange, Refusal> {
        Ok(TenantChange {
            name: self.name.as_deref().map(name).transpose()?,
            plan: self
                .plan
                .map(|plan| self::plan(service, plan))
                .transpose()?,
            requests_per_day: self.requests_per_day.map(requests).transpose()?,
            status: self.status.as_deref().map(status).transpose()?,
            ..TenantChange::default()
        })
    }
}

fn name(given: &str) -> Result<TenantName, Refusal> {
    let name = given.parse();
    name.map_err(|_| Refusal::field("name", given, NAME_ACCEPTED))
}

fn plan(service: &Service, given: Option<String>) -> Result<Option<PlanName>, Refusal> {
    let Some(given) = given else {
        return Ok(None);
    };
    let named = service.plans.named(&given);
    let plan = named.ok_or_else(|| {
        let names: Vec<_> = service
            .plans
            .iter()
            .map(|plan| plan.name.as_str())
            .collect();
        Refusal::field("plan", given, names.join(", "))
    })?;
    Ok(Some(plan.name.clone()))
}

fn requests(given: Option<u32>) -> Result<Option<u32>, Refusal> {
    match given {
        Some(given) if !(1..=REQUESTS_PER_DAY_MAX).contains(&given) => {
            Err(Refusal::field("requests_per_day", given, REQUESTS_ACCEPTED))
        }
        given => Ok(given),
    }
}

fn status(given: &str) -> Result<Status, Refusal> {
    let named = |status: &Status| status.name() == given;
    let status = Status::ALL.into_iter().find(named);
    status.ok_or_else(|| Refusal::field("status", given, STATUS_ACCEPTED))
}

/// `GET /v1/tenants`: a page of all, in an order of its own.
pub(crate) async fn list<N: Node>(State(app): Shared<N>, uri: Uri) -> Result<Response, Problem> {
    let page = Page::of(&uri)?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let service = app.service()?;
    let mut tenants = app.limiter.tenants(page.after.as_deref(), page.count + 1);
    let next = page.next(&mut tenants, |(id, _)| id.to_string());
    let items = tenants
        .iter()
        .map(|(id, tenant)| tenant_json(&service, *id, tenant));
    let json = json!({ "items": items.collect::<Vec<_>>(), "next": next });
    Ok(decided::json(room.keep(json.to_string())))
}

/// `POST /v1/tenants`
pub(crate) async fn make<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let service = app.service()?;
    let Made {
        name,
        plan,
        requests_per_day,
        status,
        owner,
    } = read(&app, &MADE, request).await?;
    let name = self::name(&name)?;
    let owner = owner.map(|owner| read_email("owner", &owner)).transpose()?;
    let given = Given {
        name: None,
        plan,
        requests_per_day,
        status,
    };
    let change = given.change(&service)?;
    let made = caller.make_tenant(name, change, owner.as_ref());
    let (made, given) = made.await?;
    let mut json = made_json(&service, &made);
    if let (Some(email), Some(owner)) = (&owner, &given) {
        json["owner"] = owner_json(email, owner);
    }
    Ok(no_store(changed::created(&made.changed, &json)))
}

fn owner_json(email: &Email, owner: &NewOwner) -> Value {
    let mut json = link_json(&owner.link);
    json["id"] = owner.id.map(|id| id.to_string()).into();
    json["email"] = email.as_str().into();
    json
}

/// `GET /v1/tenants/{id}`
pub(crate) async fn get<N: Node>(
    State(app): Shared<N>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = self::id(&id)?;
    let tenant = app.limiter.tenant(id)?;
    answer(&app, id, &tenant)
}

/// `PATCH /v1/tenants/{id}`
pub(crate) async fn change<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let id = self::id(&id)?;
    let tenant = app.limiter.tenant(id)?;
    let given: Given = read(&app, &GIVEN, request).await?;
    let service = app.service()?;
    let change = given.change(&service)?;
    if tenant.status == Status::Closed && change.status.is_some_and(|it| it != Status::Closed) {
        let detail = "this tenant is closed: restore it first";
        return Err(Refusal::new(Refused::Conflict, detail).at("status").into());
    }
    changed_to(&app, &by.caller(&app), id, change).await
}

/// `POST /v1/tenants/{id}/restore`: one that was closed or suspended may do everything again.
pub(crate) async fn restore<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let change = TenantChange {
        status: Some(Status::Active),
        ..TenantChange::default()
    };
    changed_to(&app, &by.caller(&app), self::id(&id)?, change).await
}

/// `GET /v1/tenant`: that of the credential. An operator who has logged in opens it so, which its audit tells.
pub(crate) async fn own<N: Node>(State(app): Shared<N>, by: By<N>) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let id = caller.needs_tenant()?;
    let tenant = app.limiter.tenant(id)?;
    caller.note_opened().await;
    answer(&app, id, &tenant)
}

/// `PATCH /v1/tenant`: another name for that of the credential.
pub(crate) async fn rename_own<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let id = caller.needs_tenant()?;
    let given = read::<Renamed, N>(&app, &RENAMED, request).await?;
    let change = TenantChange {
        name: Some(name(&given.name)?),
        ..TenantChange::default()
    };
    changed_to(&app, &caller, id, change).await
}

/// `GET /v1/plans`
pub(crate) async fn plans<N: Node>(State(app): Shared<N>) -> Result<Response, Problem> {
    let service = app.service()?;
    let plans = service.plans.iter().map(|plan| {
        let mut json = plan_json(plan, plan.requests_per_day);
        json["for_sale"] = plan.price.is_some().into();
        json
    });
    let json = json!({ "items": plans.collect::<Vec<_>>() });
    Ok(decided::json(json.to_string()))
}

/// Of somebody's that is none there is as little as of one that never was.
fn id(text: &str) -> Result<TenantId, Refusal> {
    let none = |_| Refusal::new(Refused::NotFound, "there is no such tenant").at("id");
    text.parse().map_err(none)
}

async fn changed_to<N: Node>(
    app: &Arc<App<N>>,
    caller: &Caller<N>,
    id: TenantId,
    change: TenantChange,
) -> Result<Response, Problem> {
    let service = app.service()?;
    let before = audited(&*app.limiter.tenant(id)?);
    let made = app
        .limiter
        .change_tenant(&service.plans, id, change)
        .await?;
    let after = audited(&made.tenant);
    let target = id.to_string();
    let change = Change::new("tenant.change", &target).from_to(&*before, &*after);
    caller.note(change).await;
    let json = made_json(&service, &made);
    Ok(changed::changed(&made.changed, &json))
}

/// A tenant as the audit tells it.
fn audited(tenant: &Tenant) -> String {
    let plan = tenant.plan.get().as_ref();
    let json = json!({
        "name": tenant.name.get().as_str(),
        "status": tenant.status.name(),
        "plan": plan.map(PlanName::as_str),
        "requests_per_day": tenant.requests_per_day.get(),
    });
    json.to_string()
}

fn answer<N: Node>(app: &App<N>, id: TenantId, tenant: &Tenant) -> Result<Response, Problem> {
    let json = tenant_json(&*app.service()?, id, tenant);
    Ok(decided::json(json.to_string()))
}

fn made_json(service: &Service, made: &NewTenant) -> Value {
    tenant_json(service, made.id, &made.tenant)
}

fn tenant_json(service: &Service, id: TenantId, tenant: &Tenant) -> Value {
    let plan = tenant.plan(&service.plans);
    json!({
        "id": id.to_string(),
        "name": tenant.name.get().as_str(),
        "status": tenant.status.name(),
        "plan": plan_json(plan, plan.cap(*tenant.requests_per_day.get())),
        "created_at": tenant.made_at.to_string(),
    })
}

fn plan_json(plan: &Plan, requests_per_day: Option<u32>) -> Value {
    json!({
        "name": plan.name.as_str(),
        "requests_per_day": requests_per_day,
        "per_second": plan.per_second,
        "limits": plan.limits,
        "key_limits": plan.key_limits,
        "api_keys": plan.api_keys,
        "team": plan.team,
    })
}
