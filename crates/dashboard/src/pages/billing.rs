//! The plan of a tenant, and where it is bought and changed.

use askama::Template;
use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Ask, Problem};
use crate::form::segment;
use crate::frame::{Frame, page};
use crate::respond::{Trouble, see_other};
use crate::told::{Plan, Tenant};
use crate::visit::Visit;
use crate::words::{grouped, minute};

/// What the tenant has bought.
#[derive(Deserialize)]
pub(crate) struct Bought {
    given: bool,
    status: Option<String>,
    period_end: Option<String>,
    ends_at: Option<String>,
    past_due_since: Option<String>,
    grace_until: Option<String>,
    portal: bool,
    conflict: bool,
}

impl Bought {
    /// Whether something was bought that still goes on, so that it is changed and not bought once more.
    fn goes_on(&self) -> bool {
        let status = self.status.as_deref();
        status.is_some_and(|it| !["canceled", "incomplete", "incomplete_expired"].contains(&it))
    }

    /// What its reader has to see to, most of all first.
    pub(crate) fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        if let Some(since) = &self.past_due_since {
            let until = self
                .grace_until
                .as_deref()
                .map_or_else(String::new, |until| {
                    format!(
                        " The plan ends with the day of {}, unless it is paid.",
                        minute(until)
                    )
                });
            notices.push(format!("A payment is late since {}.{until}", minute(since)));
        }
        if self.conflict {
            notices.push("This tenant pays for two subscriptions. End one of them.".to_owned());
        }
        notices
    }

    /// How it stands, in words.
    fn standing(&self) -> Option<String> {
        let status = self.status.as_deref()?;
        let until = |time: &Option<String>| time.as_deref().map_or_else(String::new, minute);
        Some(match status {
            "active" | "trialing" if self.ends_at.is_some() => {
                format!("Paid. It ends at {}.", until(&self.ends_at))
            }
            "active" if self.period_end.is_some() => {
                format!("Paid until {}, and renewed then.", until(&self.period_end))
            }
            "active" => "Paid.".to_owned(),
            "trialing" => format!("On trial until {}.", until(&self.period_end)),
            "past_due" => "The last payment has failed, and is tried again.".to_owned(),
            "unpaid" => "Not paid.".to_owned(),
            "paused" => "It rests.".to_owned(),
            "incomplete" => "Waiting for the first payment.".to_owned(),
            _ if self.ends_at.is_some() => format!("It ended at {}.", until(&self.ends_at)),
            _ => "It has ended.".to_owned(),
        })
    }
}

/// A plan that there is.
#[derive(Deserialize)]
struct Offered {
    #[serde(flatten)]
    plan: Plan,
    #[serde(default)]
    for_sale: bool,
}

#[derive(Deserialize)]
struct Offer {
    items: Vec<Offered>,
}

#[derive(Template)]
#[template(path = "billing.html")]
struct Billing {
    frame: Frame,
    tenant: Tenant,
    /// `None`: operators give plans, or the reader may not see it.
    bought: Option<Bought>,
    offer: Vec<Offered>,
    /// Why it is not told what was bought.
    trouble: Option<String>,
    /// The checkout from which somebody comes back; empty: nobody does.
    session: String,
    id: String,
}

impl Billing {
    /// Those that can be bought now.
    fn for_sale(&self) -> Vec<&Offered> {
        let is_free = self.bought.as_ref().is_some_and(|bought| !bought.goes_on());
        let offered = self
            .offer
            .iter()
            .filter(|offered| is_free && offered.for_sale);
        offered.collect()
    }

    /// What a plan allows, a row each.
    fn rows(&self, plan: &Plan) -> [(&'static str, String); 6] {
        let number =
            |number: Option<u64>| number.map_or_else(|| "as many as come".to_owned(), grouped);
        [
            ("Requests a day", number(plan.requests_per_day)),
            ("Requests a second, on each node", number(plan.per_second)),
            ("Limits", number(plan.limits)),
            ("Limits of single keys", number(plan.key_limits)),
            ("API keys", number(plan.api_keys)),
            ("People", number(plan.team)),
        ]
    }
}

/// Where the page is.
fn at(id: &str) -> String {
    format!("/dashboard/{}/billing", segment(id))
}

/// What a tenant has bought. `None`: nothing is sold, or the reader may not see it.
pub(crate) async fn bought(
    visit: &Visit,
    frame: &Frame,
    id: &str,
    session: &str,
) -> Result<Option<Bought>, Problem> {
    if !frame.may_pay() {
        return Ok(None);
    }
    let path = match session {
        "" => "/v1/billing".to_owned(),
        session => format!("/v1/billing?session={}", segment(session)),
    };
    let ask = Ask {
        tenant: Some(id),
        ..Ask::get(path)
    };
    match visit.told(ask).await {
        Ok(bought) => Ok(Some(bought)),
        Err(problem) if problem.status == 501 => Ok(None),
        Err(problem) => Err(problem),
    }
}

async fn show(visit: &Visit, id: String, problem: Option<Problem>) -> Result<Response, Trouble> {
    let seat = visit.seat(&id).await?;
    let frame = Frame::in_tenant(visit, seat, "billing", "Plan").after(visit, problem);
    let session = visit.form.exactly("session");
    let (bought, trouble) = match bought(visit, &frame, &id, session).await {
        Ok(bought) => (bought, None),
        Err(problem) => (None, Some(problem.sentence())),
    };
    let offer = match bought {
        Some(_) => visit.told_in::<Offer>(&id, "/v1/plans").await?.items,
        None => Vec::new(),
    };
    let billing = Billing {
        frame,
        tenant: visit.told_in(&id, "/v1/tenant").await?,
        bought,
        offer,
        trouble,
        session: segment(session),
        id,
    };
    Ok(page(&billing.frame, &billing))
}

/// `GET /dashboard/{tenant}/billing`
pub(crate) async fn billing(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    show(&visit, id, None).await
}

/// Leads to a page of the biller.
async fn lead(visit: Visit, id: String, path: &str, body: Value) -> Result<Response, Trouble> {
    #[derive(Deserialize)]
    struct Led {
        url: String,
    }
    visit.seat(&id).await?;
    match visit.act(Some(&id), Method::POST, path, Some(body)).await {
        Ok(answer) => Ok(match serde_json::from_slice::<Led>(&answer.body) {
            Ok(led) => see_other(&led.url),
            Err(_) => see_other(&at(&id)),
        }),
        Err(problem) => show(&visit, id, Some(problem)).await,
    }
}

/// `POST /dashboard/{tenant}/billing/checkout`
pub(crate) async fn checkout(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    let plan = json!({ "plan": visit.form.get("plan") });
    lead(visit, id, "/v1/billing/checkout", plan).await
}

/// `POST /dashboard/{tenant}/billing/portal`
pub(crate) async fn portal(Path(id): Path<String>, visit: Visit) -> Result<Response, Trouble> {
    lead(visit, id, "/v1/billing/portal", json!({})).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bought(change: Value) -> Bought {
        let mut told = json!({
            "given": false, "status": "active", "period_end": "2026-12-01T00:00:00Z", "ends_at": null,
            "past_due_since": null, "grace_until": null, "portal": true, "conflict": false,
        });
        for (name, value) in change.as_object().unwrap() {
            told[name] = value.clone();
        }
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn how_it_stands_is_told_in_words() {
        for (change, told) in [
            (
                json!({}),
                "Paid until 2026-12-01 00:00 UTC, and renewed then.",
            ),
            (
                json!({"ends_at": "2026-12-01T00:00:00Z"}),
                "It ends at 2026-12-01 00:00 UTC.",
            ),
            (
                json!({"status": "canceled", "ends_at": "2026-12-01T00:00:00Z"}),
                "It ended at 2026-12-01",
            ),
            (json!({"status": "past_due"}), "has failed"),
            (json!({"status": "incomplete"}), "first payment"),
        ] {
            let standing = bought(change).standing().unwrap();
            assert!(standing.contains(told), "{standing}");
        }
        assert_eq!(bought(json!({"status": null})).standing(), None);
    }

    #[test]
    fn what_was_bought_and_goes_on_is_not_bought_again() {
        for (status, goes_on) in [
            ("active", true),
            ("past_due", true),
            ("canceled", false),
            ("incomplete", false),
        ] {
            assert_eq!(
                bought(json!({"status": status})).goes_on(),
                goes_on,
                "{status}"
            );
        }
        assert!(!bought(json!({"status": null})).goes_on());
    }

    #[test]
    fn a_late_payment_is_told_with_the_day_on_which_the_plan_ends() {
        let late = bought(json!({
            "past_due_since": "2026-12-01T01:00:00Z", "grace_until": "2026-12-08T01:00:00Z", "conflict": true,
        }));
        let notices = late.notices();
        assert_eq!(notices.len(), 2);
        assert!(
            notices[0].contains("2026-12-08 01:00 UTC"),
            "{}",
            notices[0]
        );
        assert!(bought(json!({})).notices().is_empty());
    }
}
