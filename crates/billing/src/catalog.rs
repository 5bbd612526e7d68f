//! What has to be there at Stripe before anything can be sold: products, prices, the meter, the portal, the webhook.

use std::collections::BTreeMap;

use accounts::{Plan, Plans};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::VERSION;
use crate::calls::plain;
use crate::form::Form;
use crate::objects::{List, Meter, Named, WebhookEndpoint};
use crate::signature::WebhookSecret;
use crate::stripe::{Stripe, StripeError};

/// The types of events that are looked at: those that are asked for where they could not be delivered, too.
pub const EVENTS: [&str; 19] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "invoice.created",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.finalization_failed",
    "customer.deleted",
    "charge.dispute.created",
    "charge.dispute.closed",
];

/// What is to be sold.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// Those with a price are for sale.
    pub plans: &'a Plans,
    /// What the meter of requests is called.
    pub meter: &'a str,
    /// Where people reach the service, without a slash at the end.
    pub public_url: &'a str,
    /// Three letters, such as `eur`. Needed where a price has to be made.
    pub currency: Option<&'a str>,
    /// What a price costs that has to be made, by its lookup key, in the smallest unit of the currency, such as `2900`; that of a
    /// request may have a fraction, such as `0.05`.
    pub amounts: &'a BTreeMap<String, String>,
}

/// What was found of one thing, or done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Such as `price weir_pro_monthly`.
    pub of: String,
    /// Such as `is there`.
    pub told: String,
    /// Whether it is as it has to be.
    pub is_well: bool,
}

#[derive(Deserialize)]
struct Configuration {
    id: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

fn well(of: impl Into<String>, told: impl Into<String>) -> Finding {
    Finding {
        of: of.into(),
        told: told.into(),
        is_well: true,
    }
}

fn ill(of: impl Into<String>, told: impl Into<String>) -> Finding {
    Finding {
        is_well: false,
        ..well(of, told)
    }
}

impl<'a> Offer<'a> {
    fn for_sale(&self) -> impl Iterator<Item = (&'a Plan, &'a str)> {
        let plans = self.plans.iter();
        plans.filter_map(|plan| Some((plan, plan.price.as_deref()?)))
    }

    fn has_metered(&self) -> bool {
        self.plans.iter().any(|plan| plan.metered_price.is_some())
    }

    fn webhook(&self) -> String {
        format!("{}/stripe/webhook", self.public_url)
    }
}

impl Stripe {
    /// Makes what is missing, and tells of everything; with what signs the events of an endpoint that was made, which Stripe shows once. What is
    /// there is left as it is.
    ///
    /// # Errors
    ///
    /// [`StripeError`]. What was made until then stays, and is found when this is asked again.
    pub async fn set_up(
        &self,
        offer: &Offer<'_>,
    ) -> Result<(Vec<Finding>, Option<WebhookSecret>), StripeError> {
        let mut findings = Vec::new();
        let meter = match offer.has_metered() {
            true => Some(self.set_up_meter(offer, &mut findings).await?),
            false => None,
        };
        for (plan, price) in offer.for_sale() {
            let licensed = Form::new().with("recurring[interval]", "month");
            let made = self.set_up_price(offer, plan, price, licensed, &mut findings);
            made.await?;
            if let (Some(price), Some(meter)) = (&plan.metered_price, &meter) {
                let metered = Form::new()
                    .with("recurring[interval]", "month")
                    .with("recurring[usage_type]", "metered")
                    .with("recurring[meter]", meter);
                let made = self.set_up_price(offer, plan, price, metered, &mut findings);
                made.await?;
            }
        }
        self.set_up_portal(offer, &mut findings).await?;
        let secret = self.set_up_webhook(offer, &mut findings).await?;
        Ok((findings, secret))
    }

    /// Tells what is there and whether it is as it has to be. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn check(&self, offer: &Offer<'_>) -> Result<Vec<Finding>, StripeError> {
        let mut findings = Vec::new();
        if offer.has_metered() {
            let of = format!("meter {}", offer.meter);
            findings.push(match self.meter(offer.meter).await? {
                Some(meter) => check_meter(of, &meter),
                None => ill(of, "is missing"),
            });
        }
        for (plan, price) in offer.for_sale() {
            findings.push(self.check_price(price, false).await?);
            if let Some(price) = &plan.metered_price {
                findings.push(self.check_price(price, true).await?);
            }
        }
        findings.push(match self.portal_configuration().await? {
            Some(_) => well("portal", "is there"),
            None => ill("portal", "has no configuration of Weir's"),
        });
        let of = format!("webhook {}", offer.webhook());
        findings.push(match self.webhook(offer).await? {
            Some(endpoint) => check_webhook(of, &endpoint),
            None => ill(of, "is missing"),
        });
        Ok(findings)
    }

    async fn check_price(
        &self,
        lookup_key: &str,
        is_metered: bool,
    ) -> Result<Finding, StripeError> {
        let of = format!("price {lookup_key}");
        Ok(match self.price(lookup_key).await? {
            None => ill(of, "is missing"),
            Some(price) if price.is_metered() != is_metered => {
                let wanted = if is_metered { "metered" } else { "licensed" };
                ill(of, format!("is not {wanted}"))
            }
            Some(_) => well(of, "is there"),
        })
    }

    pub(crate) async fn meter(&self, event_name: &str) -> Result<Option<Meter>, StripeError> {
        let form = Form::new().with("limit", 100);
        let meters: List<Meter> = self.get("meters.list", "/v1/billing/meters", form).await?;
        let is_active = |meter: &Meter| meter.status.as_deref() != Some("inactive");
        let mut meters = meters.data.into_iter();
        Ok(meters.find(|meter| meter.event_name == event_name && is_active(meter)))
    }

    async fn set_up_meter(
        &self,
        offer: &Offer<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<String, StripeError> {
        let of = format!("meter {}", offer.meter);
        if let Some(meter) = self.meter(offer.meter).await? {
            findings.push(check_meter(of, &meter));
            return Ok(meter.id);
        }
        let form = Form::new()
            .with("display_name", "Requests")
            .with("event_name", offer.meter)
            .with("default_aggregation[formula]", "sum")
            // What is told again of a day takes the place of what was told before.
            .with("event_time_window", "day")
            .with("customer_mapping[type]", "by_id")
            .with("customer_mapping[event_payload_key]", "stripe_customer_id")
            .with("value_settings[event_payload_key]", "value");
        let made: Named = self
            .make("meters.create", "/v1/billing/meters", form)
            .await?;
        findings.push(well(of, "was made"));
        Ok(made.id)
    }

    async fn set_up_price(
        &self,
        offer: &Offer<'_>,
        plan: &Plan,
        lookup_key: &str,
        recurring: Form,
        findings: &mut Vec<Finding>,
    ) -> Result<(), StripeError> {
        let of = format!("price {lookup_key}");
        if self.price(lookup_key).await?.is_some() {
            findings.push(well(of, "is there"));
            return Ok(());
        }
        let (Some(amount), Some(currency)) = (offer.amounts.get(lookup_key), offer.currency) else {
            let told = "is missing, and cannot be made without an amount and a currency";
            findings.push(ill(of, told));
            return Ok(());
        };
        let product = self.product(plan).await?;
        let is_whole = amount.bytes().all(|byte| byte.is_ascii_digit());
        let unit = if is_whole {
            "unit_amount"
        } else {
            "unit_amount_decimal"
        };
        let form = recurring
            .with("lookup_key", lookup_key)
            .with("product", product)
            .with("currency", currency)
            .with(unit, amount);
        let _made: Named = self.make("prices.create", "/v1/prices", form).await?;
        findings.push(well(of, format!("was made: {amount} {currency}")));
        Ok(())
    }

    /// The product of a plan, which is made if it is not there.
    async fn product(&self, plan: &Plan) -> Result<String, StripeError> {
        let id = format!("weir_{}", plan.name.as_str().replace('-', "_"));
        let path = format!("/v1/products/{}", plain(&id)?);
        match self.get::<Named>("products.get", path, Form::new()).await {
            Ok(product) => return Ok(product.id),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
        let form = Form::new()
            .with("id", &id)
            .with("name", format!("Weir {}", plan.name));
        let made: Named = self.make("products.create", "/v1/products", form).await?;
        Ok(made.id)
    }

    /// The configuration of the portal that [`set_up`](Self::set_up) made. `None`: that of the account.
    pub(crate) async fn portal_configuration(&self) -> Result<Option<String>, StripeError> {
        let form = Form::new().with("active", true).with("limit", 100);
        let path = "/v1/billing_portal/configurations";
        let all: List<Configuration> = self.get("portal.configurations", path, form).await?;
        let is_own = |it: &Configuration| it.metadata.contains_key("weir");
        Ok(all.data.into_iter().find(is_own).map(|it| it.id))
    }

    async fn set_up_portal(
        &self,
        offer: &Offer<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), StripeError> {
        if self.portal_configuration().await?.is_some() {
            findings.push(well("portal", "is there"));
            return Ok(());
        }
        let update = "features[subscription_update]";
        let mut form = Form::new()
            .with("metadata[weir]", "1")
            .with("features[invoice_history][enabled]", true)
            .with("features[payment_method_update][enabled]", true)
            .with("features[subscription_cancel][enabled]", true)
            .with("features[subscription_cancel][mode]", "at_period_end")
            .with(format!("{update}[enabled]"), true)
            .with(format!("{update}[default_allowed_updates][]"), "price")
            .with(format!("{update}[proration_behavior]"), "create_prorations")
            .with(
                format!("{update}[schedule_at_period_end][conditions][][type]"),
                "decreasing_item_amount",
            );
        let mut place = 0;
        for (plan, price) in offer.for_sale() {
            // What is billed by the request cannot be changed to in the portal.
            if plan.metered_price.is_some() {
                continue;
            }
            if let Some(found) = self.price(price).await? {
                let products = format!("{update}[products][{place}]");
                form = form
                    .with(format!("{products}[product]"), self.product(plan).await?)
                    .with(format!("{products}[prices][]"), found.id);
                place += 1;
            }
        }
        if place == 0 {
            findings.push(ill(
                "portal",
                "is missing, and there is no price yet that it could offer",
            ));
            return Ok(());
        }
        let path = "/v1/billing_portal/configurations";
        let _made: Named = self.make("portal.configure", path, form).await?;
        findings.push(well("portal", "was made"));
        Ok(())
    }

    async fn webhook(&self, offer: &Offer<'_>) -> Result<Option<WebhookEndpoint>, StripeError> {
        let form = Form::new().with("limit", 100);
        let path = "/v1/webhook_endpoints";
        let all: List<WebhookEndpoint> = self.get("webhooks.list", path, form).await?;
        let url = offer.webhook();
        Ok(all.data.into_iter().find(|endpoint| endpoint.url == url))
    }

    async fn set_up_webhook(
        &self,
        offer: &Offer<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<WebhookSecret>, StripeError> {
        let of = format!("webhook {}", offer.webhook());
        if let Some(endpoint) = self.webhook(offer).await? {
            findings.push(check_webhook(of, &endpoint));
            return Ok(None);
        }
        let mut form = Form::new()
            .with("url", offer.webhook())
            .with("api_version", VERSION);
        for event in EVENTS {
            form = form.with("enabled_events[]", event);
        }
        let path = "/v1/webhook_endpoints";
        let made: WebhookEndpoint = self.make("webhooks.create", path, form).await?;
        findings.push(well(of, format!("was made: {}", made.id)));
        Ok(made.secret.map(WebhookSecret::new))
    }

    /// Makes something that was looked for: under a name of its text, so that two who do it at once make one.
    async fn make<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
        path: &str,
        form: Form,
    ) -> Result<T, StripeError> {
        let text = hex::encode(&Sha256::digest(form.encoded())[..8]);
        let key = format!("weir-setup-{text}");
        self.post(name, path, form, Some(&key)).await
    }
}

fn check_meter(of: String, meter: &Meter) -> Finding {
    let aggregation = meter.default_aggregation.as_ref();
    let formula = aggregation.and_then(|it| it.formula.as_deref());
    match (formula, meter.event_time_window.as_deref()) {
        (Some("sum"), Some("day")) => well(of, "is there"),
        (Some("sum"), _) => ill(
            of,
            "has no window of a day: a day that is told again would be added",
        ),
        _ => ill(of, "does not add up days"),
    }
}

fn check_webhook(of: String, endpoint: &WebhookEndpoint) -> Finding {
    let takes_all = endpoint.enabled_events.iter().any(|event| event == "*");
    let takes = |event: &&str| endpoint.enabled_events.iter().any(|taken| taken == event);
    let missing: Vec<&str> = EVENTS.into_iter().filter(|event| !takes(event)).collect();
    if endpoint.status.as_deref() == Some("disabled") {
        return ill(of, "is disabled");
    }
    match endpoint.api_version.as_deref() {
        Some(VERSION) => {}
        version => {
            let version = version.unwrap_or("of the account's version");
            return ill(of, format!("sends {version}, not {VERSION}"));
        }
    }
    match takes_all || missing.is_empty() {
        true => well(of, "is there"),
        false => ill(of, format!("does not send {}", missing.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn meter(formula: &str, window: Option<&str>) -> Finding {
        let told = json!({
            "id": "mtr_1", "event_name": "weir_requests",
            "default_aggregation": {"formula": formula}, "event_time_window": window,
        });
        check_meter("meter".into(), &serde_json::from_value(told).unwrap())
    }

    #[test]
    fn a_meter_adds_up_days_and_keeps_the_newest_of_each() {
        assert!(meter("sum", Some("day")).is_well);
        for (formula, window) in [("sum", None), ("sum", Some("hour")), ("count", Some("day"))] {
            assert!(!meter(formula, window).is_well, "{formula} {window:?}");
        }
    }

    #[test]
    fn a_webhook_sends_what_is_looked_at_in_this_version() {
        let check = |change: Value| {
            let mut told = json!({
                "id": "we_1", "url": "https://a", "status": "enabled",
                "api_version": VERSION, "enabled_events": EVENTS,
            });
            for (name, value) in change.as_object().unwrap() {
                told[name] = value.clone();
            }
            let endpoint: WebhookEndpoint = serde_json::from_value(told).unwrap();
            check_webhook("webhook".into(), &endpoint)
        };
        assert!(check(json!({})).is_well);
        assert!(check(json!({"enabled_events": ["*"]})).is_well);
        for (change, told) in [
            (json!({"status": "disabled"}), "is disabled"),
            (json!({"api_version": null}), "of the account's version"),
            (json!({"api_version": "2020-08-27"}), "sends 2020-08-27"),
            (
                json!({"enabled_events": EVENTS[1..]}),
                "does not send checkout.session.completed",
            ),
        ] {
            let finding = check(change);
            assert!(
                !finding.is_well && finding.told.contains(told),
                "{finding:?}"
            );
        }
    }
}
