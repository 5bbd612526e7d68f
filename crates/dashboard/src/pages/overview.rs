//! What a tenant uses today.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::de::IgnoredAny;

use crate::frame::{Frame, page};
use crate::pages::billing;
use crate::respond::{Trouble, see_other};
use crate::told::{Limit, Paged, Series, Tenant, Usage};
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    tenant: Tenant,
    usage: Usage,
    limits: Vec<Limit>,
    /// What limits have decided in the last hour.
    series: Series,
    has_more: bool,
    has_api_key: bool,
    /// What an owner has to see to.
    notices: Vec<String>,
    public_url: String,
    id: String,
}

impl Overview {
    /// Whether there is anything to see yet.
    fn is_new(&self) -> bool {
        self.usage.today.requests == 0 && self.usage.days.iter().all(|day| day.requests == 0)
    }

    /// The limit that the example asks.
    fn example(&self) -> &str {
        self.limits.first().map_or("login", |limit| &limit.name)
    }
}

/// `GET /dashboard`: leads to the first tenant of the reader.
pub(crate) async fn first(visit: Visit) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let first = reader.tenants.first();
    let first = first.map(|tenant| format!("/dashboard/{}", tenant.id));
    Ok(match first {
        Some(path) => see_other(&path),
        None if reader.operator => see_other("/dashboard/cluster"),
        None => see_other("/dashboard/account"),
    })
}

/// `GET /dashboard/{tenant}`
pub(crate) async fn overview(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let tenant = visit.told_in(&id, "/v1/tenant").await?;
    let usage = visit.told_in(&id, "/v1/usage").await?;
    let limits: Paged<Limit> = visit.told_in(&id, "/v1/limits").await?;
    let series = visit.told_in(&id, "/v1/series?window=1h").await?;
    let frame = Frame::in_tenant(&visit, seat, "overview", "Overview");
    // Who may not see API keys is not told to make one.
    let has_api_key = match frame.may_change() {
        true => {
            let keys: Paged<IgnoredAny> = visit.told_in(&id, "/v1/api-keys").await?;
            !keys.items.is_empty()
        }
        false => true,
    };
    // Whoever cannot be asked for it now is by the page of the plan.
    let bought = billing::bought(&visit, &frame, &id, "").await;
    let bought = bought.ok().flatten();
    let overview = Overview {
        notices: bought.map_or_else(Vec::new, |bought| bought.notices()),
        frame,
        tenant,
        usage,
        limits: limits.items,
        series,
        has_more: limits.next.is_some(),
        has_api_key,
        public_url: visit.app.settings.public_url.to_string(),
        id,
    };
    Ok(page(&overview.frame, &overview))
}
