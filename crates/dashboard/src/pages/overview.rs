//! What a tenant uses today.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;

use crate::day::{grouped, span};
use crate::frame::{Frame, page};
use crate::respond::Trouble;
use crate::visit::Visit;

/// A tenant as the API tells it.
#[derive(Deserialize)]
pub(super) struct Tenant {
    pub(super) plan: Plan,
    pub(super) status: String,
}

#[derive(Deserialize)]
pub(super) struct Plan {
    pub(super) name: String,
    #[serde(default)]
    pub(super) per_second: Option<u64>,
    #[serde(default)]
    pub(super) limits: Option<u64>,
    #[serde(default)]
    pub(super) key_limits: Option<u64>,
    #[serde(default)]
    pub(super) api_keys: Option<u64>,
    #[serde(default)]
    pub(super) team: Option<u64>,
}

/// What `/v1/usage` tells.
#[derive(Deserialize)]
pub(super) struct Usage {
    pub(super) today: Today,
    #[serde(default)]
    pub(super) days: Vec<Day>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Today {
    pub(super) day: String,
    pub(super) requests: u64,
    pub(super) denied: u64,
    pub(super) cap: Option<u64>,
    pub(super) resets_at: String,
}

#[derive(Clone, Deserialize)]
pub(super) struct Day {
    pub(super) day: String,
    pub(super) requests: u64,
    pub(super) denied: u64,
}

impl Today {
    /// Of the cap, in thousandths. `None`: there is no cap.
    pub(super) fn thousandths(&self) -> Option<u64> {
        let cap = self.cap?.max(1);
        Some((self.requests.saturating_mul(1_000) / cap).min(1_000))
    }

    /// Of the cap, in hundredths.
    pub(super) fn percent(&self) -> u64 {
        self.thousandths().unwrap_or(0) / 10
    }

    pub(super) fn used(&self) -> String {
        grouped(self.requests)
    }

    pub(super) fn of(&self) -> String {
        self.cap.map_or_else(String::new, grouped)
    }

    pub(super) fn turned_away(&self) -> String {
        grouped(self.denied)
    }

    /// How long until the next day begins, by this machine's clock.
    pub(super) fn resets_in(&self) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        span(86_400 - now % 86_400)
    }
}

/// A limit as `/v1/limits` tells it.
#[derive(Clone, Deserialize)]
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) algorithm: String,
    pub(super) limit: u64,
    #[serde(default)]
    pub(super) per: Option<String>,
    #[serde(default)]
    pub(super) anchor: Option<String>,
    #[serde(default)]
    pub(super) zone: Option<String>,
    #[serde(default)]
    pub(super) burst: Option<u64>,
    #[serde(default)]
    pub(super) strategy: String,
    #[serde(default)]
    pub(super) on_failure: String,
}

impl Limit {
    /// `10 in 1m`
    pub(super) fn rate(&self) -> String {
        let units = grouped(self.limit);
        match (&self.per, &self.anchor, &self.zone) {
            (Some(per), ..) => format!("{units} in {per}"),
            (None, Some(anchor), Some(zone)) => format!("{units} in each {anchor} of {zone}"),
            _ => units,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Limits {
    pub(super) limits: Vec<Limit>,
    #[serde(default)]
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
struct Items {
    items: Vec<serde::de::IgnoredAny>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    tenant: Tenant,
    usage: Usage,
    limits: Vec<Limit>,
    has_api_key: bool,
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
    if reader.email_conflict {
        return Ok(visit.see("/dashboard/account"));
    }
    let first = reader
        .tenants
        .first()
        .map(|tenant| format!("/dashboard/{}", tenant.id));
    Ok(match first {
        Some(path) => visit.see(&path),
        None if reader.operator => visit.see("/dashboard/cluster"),
        None => visit.see("/dashboard/account"),
    })
}

/// `GET /dashboard/{tenant}`
pub(crate) async fn overview(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let reader = visit.reader().await?;
    let seat = reader.tenant(&id)?;
    let tenant = visit.told_in(&id, "/v1/tenant").await?;
    let usage = visit.told_in(&id, "/v1/usage").await?;
    let Limits { limits, .. } = visit.told_in(&id, "/v1/limits").await?;
    // Who may not see API keys is not told to make one.
    let keys: Result<Items, Trouble> = visit.told_in(&id, "/v1/api-keys").await;
    let overview = Overview {
        frame: Frame::of(&visit, reader, Some(seat), "overview", "Overview"),
        tenant,
        usage,
        limits,
        has_api_key: keys.is_ok_and(|keys| !keys.items.is_empty()),
        public_url: visit.app.settings.public_url.to_string(),
        id,
    };
    Ok(page(&visit, &overview.frame, &overview))
}
