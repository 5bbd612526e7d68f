//! All tenants, for operators.

use askama::Template;
use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::overview::Today;
use crate::api::{Ask, Problem};
use crate::day::minute;
use crate::form::segment;
use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::visit::Visit;

#[derive(Deserialize)]
struct Tenant {
    id: String,
    name: String,
    status: String,
    plan: Plan,
    created_at: String,
}

#[derive(Deserialize)]
struct Plan {
    name: String,
    #[serde(default)]
    requests_per_day: Option<u64>,
}

impl Tenant {
    fn made(&self) -> String {
        minute(&self.created_at)
    }
}

impl One {
    /// The cap that an operator has given, unless it is that of the plan.
    fn own_cap(&self) -> Option<u64> {
        let plan = &self.tenant.plan;
        let listed = self.plans.iter().find(|listed| listed.name == plan.name);
        let of_plan = listed.and_then(|listed| listed.requests_per_day);
        plan.requests_per_day.filter(|cap| Some(*cap) != of_plan)
    }
}

#[derive(Deserialize)]
struct Tenants {
    items: Vec<Tenant>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Plans {
    items: Vec<Plan>,
}

/// What was used today. More of a usage is not asked for here.
#[derive(Deserialize)]
struct Usage {
    today: Today,
}

#[derive(Template)]
#[template(path = "tenants.html")]
struct List {
    frame: Frame,
    tenants: Vec<Tenant>,
    plans: Vec<Plan>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "tenant.html")]
struct One {
    frame: Frame,
    tenant: Tenant,
    plans: Vec<Plan>,
    today: Option<Today>,
    /// The link for an owner who has no password yet.
    owner: Option<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    email: String,
    #[serde(default)]
    url: Option<String>,
}

#[derive(Deserialize)]
struct Made {
    id: String,
    #[serde(default)]
    owner: Option<Owner>,
}

async fn plans(visit: &Visit) -> Result<Vec<Plan>, Trouble> {
    let plans: Plans = visit.told(Ask::get("/v1/plans")).await?;
    Ok(plans.items)
}

async fn show_list(visit: &Visit, problem: Option<Problem>) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let path = match visit.form.some("after").filter(|_| problem.is_none()) {
        Some(after) => format!("/v1/tenants?after={}", segment(after)),
        None => "/v1/tenants".to_owned(),
    };
    let Tenants { items, next } = visit.told(Ask::get(path)).await?;
    let list = List {
        frame: Frame::of(visit, reader, None, "tenants", "Tenants").after(visit, problem),
        tenants: items,
        plans: plans(visit).await?,
        next: next.map(|next| segment(&next)),
    };
    Ok(page(visit, &list.frame, &list))
}

/// `GET /dashboard/tenants`
pub(crate) async fn list(visit: Visit) -> Result<Response, Trouble> {
    show_list(&visit, None).await
}

/// `POST /dashboard/tenants`
pub(crate) async fn make(visit: Visit) -> Result<Response, Trouble> {
    let mut body = json!({ "name": visit.form.get("name") });
    for field in ["plan", "owner"] {
        if let Some(given) = visit.form.some(field) {
            body[field] = given.into();
        }
    }
    let answer = match visit
        .act(None, Method::POST, "/v1/tenants", Some(body))
        .await
    {
        Ok(answer) => answer,
        Err(problem) => return show_list(&visit, Some(problem)).await,
    };
    match serde_json::from_slice::<Made>(&answer.body) {
        // A link is shown once, and has no address of its own.
        Ok(Made {
            id,
            owner: Some(owner),
        }) => show_one(&visit, &id, Some(owner), None).await,
        Ok(Made { id, owner: None }) => {
            Ok(visit.see(&format!("/dashboard/tenants/{}", segment(&id))))
        }
        Err(_) => Ok(visit.see("/dashboard/tenants")),
    }
}

async fn show_one(
    visit: &Visit,
    id: &str,
    owner: Option<Owner>,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let tenant: Tenant = visit
        .told(Ask::get(format!("/v1/tenants/{}", segment(id))))
        .await?;
    let usage: Result<Usage, Trouble> = visit.told_in(id, "/v1/usage").await;
    let one = One {
        frame: Frame::of(visit, reader, None, "tenants", &tenant.name).after(visit, problem),
        tenant,
        plans: plans(visit).await?,
        today: usage.ok().map(|usage| usage.today),
        owner,
    };
    Ok(page(visit, &one.frame, &one))
}

/// `GET /dashboard/tenants/{id}`
pub(crate) async fn one(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show_one(&visit, &id, None, None).await
}

/// `POST /dashboard/tenants/{id}`: plan, cap or status, whichever the form has.
pub(crate) async fn change(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let form = &visit.form;
    let mut change = Map::new();
    if let Some(plan) = form.some("plan") {
        change.insert("plan".to_owned(), plan.into());
    }
    if let Some(status) = form.some("status") {
        change.insert("status".to_owned(), status.into());
    }
    if !form.all("requests_per_day").is_empty() {
        let given = form.get("requests_per_day");
        let cap = match given.parse::<u64>() {
            _ if given.is_empty() => Value::Null,
            Ok(cap) => cap.into(),
            Err(_) => given.into(),
        };
        change.insert("requests_per_day".to_owned(), cap);
    }
    let path = format!("/v1/tenants/{}", segment(&id));
    match visit
        .act(None, Method::PATCH, path, Some(change.into()))
        .await
    {
        Ok(_) => Ok(visit.see(&format!("/dashboard/tenants/{}", segment(&id)))),
        Err(problem) => show_one(&visit, &id, None, Some(problem)).await,
    }
}
