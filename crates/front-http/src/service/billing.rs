//! `/v1/billing`, `/v1/service/billing` and `/stripe/webhook`: plans that tenants buy.

use std::collections::BTreeMap;

use accounts::UnixSecs;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use billing::WebhookSecret;
use catalogue::Changed;
use limiter::{
    Amounts, BillingStanding, Drift, Handled, Kind as Refused, Node, NotStripes, Refusal, parameter,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::usage::{date, days};
use super::{nullable, read};
use crate::app::Shared;
use crate::body;
use crate::caller::By;
use crate::changed::{self, no_store};
use crate::decided;
use crate::explain::{Field, Kind, Shape};
use crate::memory::ANSWER_BYTES;
use crate::problem::Problem;

/// Largest body of an event.
const EVENT_MAX: usize = 256 * 1024;

const SIGNATURE: &str = "Stripe-Signature";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    plan: String,
}

const WANTED: Shape = Shape {
    fields: &[Field {
        name: "plan",
        required: true,
        kind: Kind::Text,
        accepted: "the name of a plan that is for sale, as GET /v1/plans lists it",
    }],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

const NOTHING: Shape = Shape { fields: &[] };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    prices: Vec<Costs>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Costs {
    lookup_key: String,
    amount: String,
}

const CURRENCY_ACCEPTED: &str = "three letters, such as eur";
const PRICES_ACCEPTED: &str = "an array of objects with lookup_key and amount";
const AMOUNT_ACCEPTED: &str = "an amount in the smallest unit of the currency, such as \"2900\"";

const PRICES: Shape = Shape {
    fields: &[
        Field {
            name: "currency",
            required: false,
            kind: Kind::Text,
            accepted: CURRENCY_ACCEPTED,
        },
        Field {
            name: "prices",
            required: false,
            kind: Kind::Array,
            accepted: PRICES_ACCEPTED,
        },
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Of {
    #[serde(default, deserialize_with = "nullable")]
    tenant: Option<Option<String>>,
}

const OF: Shape = Shape {
    fields: &[Field {
        name: "tenant",
        required: false,
        kind: Kind::Nullable(&Kind::Text),
        accepted: "the id of a tenant, or null for all",
    }],
};

/// `GET /v1/billing`: what the tenant has bought. With a `session`, as a browser brings it that comes back from paying, Stripe is asked first.
pub(crate) async fn show<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let session = parameter(uri.query().unwrap_or_default(), "session")?;
    let standing = caller.billing(session.is_some()).await?;
    Ok(decided::json(standing_json(&standing).to_string()))
}

fn standing_json(standing: &BillingStanding) -> Value {
    let time = |time: Option<UnixSecs>| time.map(|time| time.to_string());
    json!({
        "plan": standing.plan.as_str(),
        "given": standing.is_given,
        "status": standing.status.map(accounts::SubscriptionStatus::name),
        "period_end": time(standing.period_end),
        "ends_at": time(standing.ends_at),
        "past_due_since": time(standing.past_due_since),
        "grace_until": time(standing.grace_until),
        "portal": standing.has_portal,
        "conflict": standing.has_conflict,
    })
}

/// `POST /v1/billing/checkout`
pub(crate) async fn checkout<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let given: Wanted = read(&app, &WANTED, request).await?;
    let begun = caller.checkout(&given.plan).await?;
    let json = json!({ "url": begun.url, "expires_at": begun.expires_at.to_string() });
    Ok(no_store(changed::created(&Changed::default(), &json)))
}

/// `POST /v1/billing/portal`
pub(crate) async fn portal<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let Nothing {} = read(&app, &NOTHING, request).await?;
    let url = caller.portal().await?;
    let json = json!({ "url": url, "expires_at": null });
    Ok(no_store(changed::created(&Changed::default(), &json)))
}

/// `POST /stripe/webhook`: an event, whose signature is over the bytes of its body.
pub(crate) async fn webhook<N: Node>(
    State(app): Shared<N>,
    request: Request,
) -> Result<Response, Problem> {
    let service = app.service()?;
    let (parts, body) = request.into_parts();
    let body = body::read(&app.bodies, body, EVENT_MAX).await?;
    let signed = parts.headers.get(SIGNATURE);
    let signed = signed.and_then(|signed| signed.to_str().ok());
    let taken = app
        .limiter
        .take_event(&service, signed.unwrap_or_default(), &body);
    let json = match taken.await {
        Ok(Handled::Done) => json!({ "received": true }),
        Ok(Handled::Ignored(why)) => json!({ "ignored": why }),
        Err(NotStripes::Unsigned(error)) => {
            let detail = "the body is not signed by Stripe for this endpoint, or not now";
            let refusal = Refusal::invalid(detail).at(SIGNATURE);
            return Err(refusal.with_accepted(error.to_string()).into());
        }
        Err(NotStripes::Unreadable) => {
            let detail = "the body is signed, and is no event";
            return Err(Refusal::invalid(detail).into());
        }
        Err(NotStripes::Refused(refusal)) => return Err(refusal.into()),
    };
    Ok(decided::json(json.to_string()))
}

/// `GET /v1/service/billing`: whether what the plans need is at Stripe.
pub(crate) async fn check<N: Node>(State(app): Shared<N>, by: By<N>) -> Result<Response, Problem> {
    let findings = by.caller(&app).check_billing().await?;
    let items: Vec<Value> = findings.iter().map(finding_json).collect();
    Ok(decided::json(json!({ "items": items }).to_string()))
}

fn finding_json(finding: &billing::Finding) -> Value {
    json!({ "of": finding.of, "told": finding.told, "well": finding.is_well })
}

/// `POST /v1/service/billing`: makes at Stripe what is missing.
pub(crate) async fn set_up<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let given: Prices = read(&app, &PRICES, request).await?;
    let is_currency =
        |text: &str| text.len() == 3 && text.bytes().all(|it| it.is_ascii_lowercase());
    if let Some(currency) = given.currency.as_deref().filter(|it| !is_currency(it)) {
        return Err(Refusal::field("currency", currency, CURRENCY_ACCEPTED).into());
    }
    let is_amount = |text: &str| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        text.bytes().all(is_digit) && text.parse::<f64>().is_ok_and(|it| 0.0 < it && it < 1e9)
    };
    let mut of_prices = BTreeMap::new();
    for (place, Costs { lookup_key, amount }) in given.prices.into_iter().enumerate() {
        if !is_amount(&amount) {
            let field = format!("prices[{place}].amount");
            return Err(Refusal::field(field, amount, AMOUNT_ACCEPTED).into());
        }
        of_prices.insert(lookup_key, amount);
    }
    let amounts = Amounts {
        currency: given.currency,
        of_prices,
    };
    let made = caller.set_up_billing(&amounts).await?;
    let items: Vec<Value> = made.findings.iter().map(finding_json).collect();
    let secret = made.secret.as_ref().map(WebhookSecret::expose);
    let json = json!({ "items": items, "webhook_secret": secret });
    Ok(no_store(decided::json(json.to_string())))
}

/// `POST /v1/service/billing/sync`: asks what was bought, and tells what was used.
pub(crate) async fn sync<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let given: Of = read(&app, &OF, request).await?;
    let none = |_| Refusal::new(Refused::NotFound, "there is no such tenant").at("tenant");
    let tenant = given.tenant.flatten();
    let tenant = tenant.map(|id| id.parse().map_err(none)).transpose()?;
    let asked = caller.sync_billing(tenant).await?;
    Ok(decided::json(json!({ "asked": asked }).to_string()))
}

/// `GET /v1/service/billing/drift`: days of which Stripe has counted something else than was used.
pub(crate) async fn drift<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = by.caller(&app);
    let days = days(&uri, caller.today())?;
    let room = app.answers.room(ANSWER_BYTES)?;
    let found = caller.audit_billing(Some(days)).await?;
    let items: Vec<Value> = found.iter().map(drift_json).collect();
    Ok(decided::json(
        room.keep(json!({ "items": items }).to_string()),
    ))
}

fn drift_json(drift: &Drift) -> Value {
    json!({
        "tenant": drift.tenant.to_string(),
        "day": date(drift.day),
        "used": drift.used,
        "billed": drift.billed,
    })
}
