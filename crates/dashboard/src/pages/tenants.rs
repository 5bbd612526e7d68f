//! All tenants, for operators.

use accounts::UnixSecs;
use askama::Template;
use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{Ask, Problem};
use crate::form::segment;
use crate::frame::{Frame, page};
use crate::respond::{Trouble, see_other};
use crate::told::{Paged, Plan, Tenant, Today, Usage};
use crate::visit::Visit;
use crate::words::now;

#[derive(Template)]
#[template(path = "tenants.html")]
struct List {
    frame: Frame,
    tenants: Paged<Tenant>,
    plans: Vec<Plan>,
}

#[derive(Template)]
#[template(path = "tenant.html")]
struct One {
    frame: Frame,
    tenant: Tenant,
    plans: Vec<Plan>,
    today: Today,
    /// The link for an owner, shown once.
    owner: Option<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    email: String,
    url: String,
}

#[derive(Deserialize)]
struct Made {
    id: String,
    owner: Option<Owner>,
}

/// Names of plans, to choose from.
fn names(plans: &[Plan]) -> Vec<&str> {
    plans.iter().map(|plan| &*plan.name).collect()
}

impl List {
    fn plan_names(&self) -> Vec<&str> {
        names(&self.plans)
    }
}

impl One {
    fn plan_names(&self) -> Vec<&str> {
        names(&self.plans)
    }

    /// The cap that an operator has given. Empty: it is that of the plan.
    fn own_cap(&self) -> String {
        let plan = &self.tenant.plan;
        let listed = self.plans.iter().find(|listed| listed.name == plan.name);
        let of_plan = listed.and_then(|listed| listed.requests_per_day);
        let own = plan.requests_per_day.filter(|cap| Some(*cap) != of_plan);
        own.map_or_else(String::new, |cap| cap.to_string())
    }
}

async fn plans(visit: &Visit) -> Result<Vec<Plan>, Trouble> {
    let plans: Paged<Plan> = visit.told(Ask::get("/v1/plans")).await?;
    Ok(plans.items)
}

/// Where the page of a tenant is.
fn at(id: &str) -> String {
    format!("/dashboard/tenants/{}", segment(id))
}

async fn show_list(visit: &Visit, problem: Option<Problem>) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let path = visit.part("/v1/tenants", "after");
    let list = List {
        frame: Frame::of(visit, reader, "tenants", "Tenants").after(visit, problem),
        tenants: visit.told(Ask::get(path)).await?,
        plans: plans(visit).await?,
    };
    Ok(page(&list.frame, &list))
}

/// `GET /dashboard/tenants`
pub(crate) async fn list(visit: Visit) -> Result<Response, Trouble> {
    show_list(&visit, None).await
}

/// `POST /dashboard/tenants`
pub(crate) async fn make(visit: Visit) -> Result<Response, Trouble> {
    visit.reader().await?;
    let mut body = json!({ "name": visit.form.get("name") });
    for field in ["plan", "owner"] {
        if let Some(given) = visit.form.some(field) {
            body[field] = given.into();
        }
    }
    let made = visit.act(None, Method::POST, "/v1/tenants", Some(body));
    let answer = match made.await {
        Ok(answer) => answer,
        Err(problem) => return show_list(&visit, Some(problem)).await,
    };
    match serde_json::from_slice::<Made>(&answer.body) {
        // A link is shown once, and has no address of its own.
        Ok(Made {
            id,
            owner: Some(owner),
        }) => show_one(&visit, &id, Some(owner), None).await,
        Ok(Made { id, owner: None }) => Ok(see_other(&at(&id))),
        Err(_) => Ok(see_other("/dashboard/tenants")),
    }
}

async fn show_one(
    visit: &Visit,
    id: &str,
    owner: Option<Owner>,
    problem: Option<Problem>,
) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let path = format!("/v1/tenants/{}", segment(id));
    let tenant: Tenant = visit.told(Ask::get(path)).await?;
    let today = UnixSecs::of_day(now().days()).date();
    let usage: Usage = visit
        .told_in(id, &format!("/v1/usage?from={today}"))
        .await?;
    let one = One {
        frame: Frame::of(visit, reader, "tenants", &tenant.name).after(visit, problem),
        tenant,
        plans: plans(visit).await?,
        today: usage.today,
        owner,
    };
    Ok(page(&one.frame, &one))
}

/// `GET /dashboard/tenants/{id}`
pub(crate) async fn one(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show_one(&visit, &id, None, None).await
}

/// `POST /dashboard/tenants/{id}`: plan, cap or status, whichever the form has.
pub(crate) async fn change(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    visit.reader().await?;
    let form = &visit.form;
    let mut change = Map::new();
    for field in ["plan", "status"] {
        if let Some(given) = form.some(field) {
            change.insert(field.to_owned(), given.into());
        }
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
        Ok(_) => Ok(see_other(&at(&id))),
        Err(problem) => show_one(&visit, &id, None, Some(problem)).await,
    }
}
