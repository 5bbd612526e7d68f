//! What is asked of Stripe about one tenant.

use std::sync::Arc;

use accounts::{Bought, MeterEvent, Plans, SubscriptionStatus, TenantId, UnixSecs};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::form::Form;
use crate::objects::{
    CheckoutSession, DaySum, Event, Invoice, List, Named, PortalSession, Price, StripeSubscription,
    event_of,
};
use crate::stripe::{Stripe, StripeError};

/// Subscriptions of a customer that are looked at: more than one is a mistake already.
const SUBSCRIPTIONS_MAX: u32 = 10;

/// Seconds that a checkout may take.
const CHECKOUT_SECS: u64 = 30 * 60;

/// Days are Stripe's as well: of UTC.
const DAY_SECS: u64 = 24 * 60 * 60;

/// What somebody wants to buy.
#[derive(Clone, Debug)]
pub struct NewCheckout<'a> {
    /// Who.
    pub tenant: TenantId,
    /// Who that is at Stripe.
    pub customer: &'a str,
    /// Lookup key of the price.
    pub price: &'a str,
    /// Lookup key of the price of a request.
    pub metered_price: Option<&'a str>,
    /// Where to go when it is bought; Stripe puts the id of the session in place of `{CHECKOUT_SESSION_ID}`.
    pub success_url: &'a str,
    /// Where to go when it is not.
    pub cancel_url: &'a str,
    /// What time it is.
    pub now: UnixSecs,
}

/// Where somebody pays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkout {
    /// The page.
    pub url: String,
    /// Until when it is there.
    pub expires_at: UnixSecs,
}

/// What a customer has bought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// That of the highest plan, if there are several.
    pub bought: Option<Bought>,
    /// Whether there are several that entitle to something.
    pub has_conflict: bool,
}

impl Stripe {
    /// Makes a customer of a tenant of the cluster of that name: once, however often it is asked for at a time, and another one after what is
    /// known of an earlier one has changed, which is told by `after`.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn make_customer(
        &self,
        (cluster, after): (&str, u64),
        tenant: TenantId,
        name: &str,
        email: Option<&str>,
    ) -> Result<String, StripeError> {
        let form = Form::new()
            .with("metadata[weir_tenant]", tenant)
            .with("name", name)
            .with_any("email", email);
        // Of the text as well: Stripe refuses the same name for another one, as after a change of the address.
        let text = hex::encode(&Sha256::digest(form.encoded())[..8]);
        let key = format!("weir-{cluster}-{tenant}-customer-{after}-{text}");
        let made: Named = self
            .post("customers.create", "/v1/customers", form, Some(&key))
            .await?;
        Ok(made.id)
    }

    /// Begins a checkout, and ends those that the customer had begun before: of two that are open both could be paid. `None`:
    /// Stripe has no such price.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn checkout(&self, new: &NewCheckout<'_>) -> Result<Option<Checkout>, StripeError> {
        let mut items = Form::new();
        let wanted = [Some(new.price), new.metered_price];
        for (at, lookup_key) in wanted.into_iter().flatten().enumerate() {
            let Some(price) = self.price(lookup_key).await? else {
                return Ok(None);
            };
            items = items.with(format!("line_items[{at}][price]"), &price.id);
            if !price.is_metered() {
                items = items.with(format!("line_items[{at}][quantity]"), 1);
            }
        }
        self.expire_checkouts(new.customer).await?;
        let anchor = "subscription_data[billing_cycle_anchor_config]";
        let form = items
            .with("mode", "subscription")
            .with("customer", new.customer)
            .with("client_reference_id", new.tenant)
            .with("subscription_data[metadata][weir_tenant]", new.tenant)
            // Days of usage and of invoices end together.
            .with(format!("{anchor}[day_of_month]"), 1)
            .with(format!("{anchor}[hour]"), 0)
            .with(format!("{anchor}[minute]"), 0)
            .with(format!("{anchor}[second]"), 0)
            .with("subscription_data[proration_behavior]", "create_prorations")
            .with("success_url", new.success_url)
            .with("cancel_url", new.cancel_url)
            .with("expires_at", new.now.get() + CHECKOUT_SECS);
        let made: CheckoutSession = self
            .post("checkout.create", "/v1/checkout/sessions", form, None)
            .await?;
        let unreadable = || StripeError::Unreadable("a checkout without a page".into());
        Ok(Some(Checkout {
            url: made.url.ok_or_else(unreadable)?,
            expires_at: UnixSecs::new(made.expires_at),
        }))
    }

    pub(crate) async fn price(&self, lookup_key: &str) -> Result<Option<Price>, StripeError> {
        let form = Form::new()
            .with("lookup_keys[]", lookup_key)
            .with("active", true);
        let prices: List<Price> = self.get("prices.list", "/v1/prices", form).await?;
        Ok(prices.data.into_iter().next())
    }

    async fn expire_checkouts(&self, customer: &str) -> Result<(), StripeError> {
        let form = Form::new()
            .with("customer", customer)
            .with("status", "open");
        let open: List<CheckoutSession> = self
            .get("checkout.list", "/v1/checkout/sessions", form)
            .await?;
        for CheckoutSession { id, .. } in open.data {
            let path = format!("/v1/checkout/sessions/{id}/expire");
            let expired: Result<Value, _> =
                self.post("checkout.expire", path, Form::new(), None).await;
            match expired {
                // It was paid or has ended meanwhile.
                Ok(_) | Err(StripeError::Refused { status: 400, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whose the checkout of this id is: the tenant and the customer, as far as it tells them.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn checkout_of(
        &self,
        id: &str,
    ) -> Result<(Option<String>, Option<String>), StripeError> {
        let path = format!("/v1/checkout/sessions/{}", plain(id)?);
        let session: CheckoutSession = self.get("checkout.get", path, Form::new()).await?;
        Ok((session.client_reference_id, session.customer))
    }

    /// The page on which a customer changes or ends what was bought, and sees invoices.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn portal(&self, customer: &str, return_url: &str) -> Result<String, StripeError> {
        let form = Form::new()
            .with("customer", customer)
            .with("return_url", return_url)
            .with_any("configuration", self.own_portal_configuration().await?);
        let made: PortalSession = self
            .post("portal.create", "/v1/billing_portal/sessions", form, None)
            .await?;
        Ok(made.url)
    }

    /// `None`: that of the account, also where nothing is known of others.
    async fn own_portal_configuration(&self) -> Result<Option<String>, StripeError> {
        match self.portal_configuration().await {
            Err(StripeError::Refused { status: 404, .. }) => Ok(None),
            found => found,
        }
    }

    /// What a customer has bought.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn bought(&self, customer: &str, plans: &Plans) -> Result<Standing, StripeError> {
        let form = Form::new()
            .with("customer", customer)
            .with("status", "all")
            .with("limit", SUBSCRIPTIONS_MAX)
            .with("expand[]", "data.latest_invoice");
        let told: List<StripeSubscription> = self
            .get("subscriptions.list", "/v1/subscriptions", form)
            .await?;
        let mut all = Vec::new();
        for mut subscription in told.data {
            // It was to be told whole.
            if let Some(id) = subscription.invoice_to_ask() {
                let path = format!("/v1/invoices/{}", plain(id)?);
                let invoice = self.get("invoices.get", path, Form::new()).await?;
                subscription.latest_invoice = Some(invoice);
            }
            all.push(subscription.bought()?);
        }
        Ok(Standing::of(all, plans))
    }

    /// An invoice.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn invoice(&self, id: &str) -> Result<Invoice, StripeError> {
        let path = format!("/v1/invoices/{}", plain(id)?);
        self.get("invoices.get", path, Form::new()).await
    }

    /// Leaves a draft open until then, so that the last day comes to be in it.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn hold_invoice(&self, id: &str, until: UnixSecs) -> Result<(), StripeError> {
        let form = Form::new()
            .with("auto_advance", true)
            .with("automatically_finalizes_at", until.get());
        let path = format!("/v1/invoices/{}", plain(id)?);
        let key = format!("weir-inv-{id}");
        let _held: Value = self.post("invoices.update", path, form, Some(&key)).await?;
        Ok(())
    }

    /// Tells what a tenant has used on a day, under the name of its meter. Told twice, it counts once.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn tell(
        &self,
        meter: &str,
        customer: &str,
        tenant: TenantId,
        event: &MeterEvent,
    ) -> Result<(), StripeError> {
        let identifier = event.identifier(tenant);
        let form = Form::new()
            .with("event_name", meter)
            .with("identifier", &identifier)
            .with("timestamp", event.at.get())
            .with("payload[stripe_customer_id]", customer)
            .with("payload[value]", event.requests);
        let path = "/v1/billing/meter_events";
        let told: Result<Value, _> = self
            .post("meter_events.create", path, form, Some(&identifier))
            .await;
        match told {
            Ok(_) => Ok(()),
            Err(error) if is_known(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The id of the meter of this name.
    ///
    /// # Errors
    ///
    /// [`StripeError`]; that there is no such meter is one.
    pub async fn meter_id(&self, name: &str) -> Result<String, StripeError> {
        let missing = || StripeError::Unreadable(format!("there is no meter {name}"));
        let meter = self.meter(name).await?.ok_or_else(missing)?;
        Ok(meter.id)
    }

    /// What the meter of that id has counted of a customer on these days, by the first second of each.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn sums(
        &self,
        meter: &str,
        customer: &str,
        (from, to): (u64, u64),
    ) -> Result<Vec<DaySum>, StripeError> {
        let path = format!("/v1/billing/meters/{}/event_summaries", plain(meter)?);
        let form = Form::new()
            .with("customer", customer)
            .with("start_time", from * DAY_SECS)
            .with("end_time", (to + 1) * DAY_SECS)
            .with("value_grouping_window", "day")
            .with("limit", 100);
        let sums: List<DaySum> = self.get("meters.summaries", path, form).await?;
        Ok(sums.data)
    }

    /// Up to a hundred events of these types since `since` that Stripe could not deliver, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StripeError`]
    pub async fn undelivered(
        &self,
        types: &[&str],
        since: UnixSecs,
    ) -> Result<Vec<Event>, StripeError> {
        let mut form = Form::new()
            .with("delivery_success", false)
            .with("created[gte]", since.get())
            .with("limit", 100);
        for kind in types {
            form = form.with("types[]", kind);
        }
        let told: List<Value> = self.get("events.list", "/v1/events", form).await?;
        let events = told.data.into_iter().rev().map(event_of);
        let unreadable = |error: serde_json::Error| StripeError::Unreadable(error.to_string());
        events.collect::<Result<_, _>>().map_err(unreadable)
    }
}

impl Standing {
    /// Of several the one of the highest plan; one that is paid before one that is not, and the latest of those.
    fn of(all: Vec<Bought>, plans: &Plans) -> Self {
        use SubscriptionStatus::{Active, PastDue, Trialing};
        let entitles = |it: &Bought| [Active, Trialing, PastDue].contains(&it.status);
        let rank = |it: &Bought| {
            let price = it.price.as_ref();
            let plan = plans.iter().position(|plan| plan.price.as_ref() == price);
            let plan = plan.filter(|_| price.is_some());
            let (entitles, is_open) = (entitles(it), it.status.is_open());
            (
                entitles,
                plan.filter(|_| entitles),
                is_open,
                it.started_at,
                Arc::clone(&it.id),
            )
        };
        let has_conflict = 1 < all.iter().filter(|it| entitles(it)).count();
        Self {
            bought: all.into_iter().max_by_key(rank),
            has_conflict,
        }
    }
}

impl StripeSubscription {
    /// The invoice that says since when a payment is late, if nothing but its id was told.
    fn invoice_to_ask(&self) -> Option<&str> {
        let is_late = self.status == SubscriptionStatus::PastDue.name();
        let id = self.latest_invoice.as_ref()?.as_str()?;
        is_late.then_some(id)
    }

    /// As Weir keeps it.
    fn bought(self) -> Result<Bought, StripeError> {
        let unreadable = |what: &str| StripeError::Unreadable(format!("{}: {what}", self.id));
        let status = SubscriptionStatus::called(&self.status);
        let status = status.ok_or_else(|| unreadable("a status of a later version"))?;
        let items = &self.items.data;
        let paid = items.iter().find(|item| !item.price.is_metered());
        let ends = items.iter().filter_map(|item| item.current_period_end);
        let period_end = ends.max();
        let ends_at = self
            .ended_at
            .or(self.cancel_at)
            .or(match self.cancel_at_period_end {
                true => period_end,
                false => None,
            });
        let is_late = status == SubscriptionStatus::PastDue;
        let invoice = self.latest_invoice.clone().filter(|_| is_late);
        let invoice = invoice.map(serde_json::from_value::<Invoice>);
        let invoice = invoice.transpose();
        let invoice = invoice.map_err(|_| unreadable("an invoice that is not told whole"))?;
        let since = invoice.map(|invoice| invoice.waits_since());
        Ok(Bought {
            price: paid.and_then(|item| item.price.lookup_key.as_deref().map(Arc::from)),
            is_metered: items.iter().any(|item| item.price.is_metered()),
            id: self.id.into(),
            status,
            started_at: UnixSecs::new(self.start_date),
            period_end: period_end.map(UnixSecs::new),
            ends_at: ends_at.map(UnixSecs::new),
            past_due_since: since.map(UnixSecs::new),
        })
    }
}

/// Whether it was told before.
fn is_known(error: &StripeError) -> bool {
    let StripeError::Refused {
        status, message, ..
    } = error
    else {
        return false;
    };
    *status == 400 && message.contains("already exists with identifier")
}

/// An id as it may stand in a path.
///
/// # Errors
///
/// It is none of Stripe's.
pub(crate) fn plain(id: &str) -> Result<&str, StripeError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_id = (1..=255).contains(&id.len()) && id.bytes().all(is_plain);
    let none = || StripeError::Unreadable("what should be an id is none".into());
    is_id.then_some(id).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(told: Value) -> Result<Bought, StripeError> {
        serde_json::from_value::<StripeSubscription>(told)
            .unwrap()
            .bought()
    }

    fn told() -> Value {
        json!({
            "id": "sub_1",
            "status": "active",
            "start_date": 5,
            "cancel_at": null,
            "cancel_at_period_end": false,
            "items": {"object": "list", "data": [
                {"price": {"id": "price_2", "lookup_key": "requests", "recurring": {"usage_type": "metered"}}, "current_period_end": 90},
                {"price": {"id": "price_1", "lookup_key": "weir_pro_monthly", "recurring": {"usage_type": "licensed"}}, "current_period_end": 100},
            ]},
            "latest_invoice": {"id": "in_1", "created": 50, "status_transitions": {"finalized_at": 60}},
        })
    }

    #[test]
    fn a_subscription_is_read_from_its_items() {
        let bought = read(told()).unwrap();
        assert_eq!(bought.price.as_deref(), Some("weir_pro_monthly"));
        assert!(bought.is_metered);
        assert_eq!(bought.started_at, UnixSecs::new(5));
        assert_eq!(bought.period_end, Some(UnixSecs::new(100)));
        assert_eq!((bought.ends_at, bought.past_due_since), (None, None));
    }

    #[test]
    fn when_it_ends_is_told_in_three_ways() {
        let mut told = told();
        let ends = |told: &Value| read(told.clone()).unwrap().ends_at.map(UnixSecs::get);
        told["cancel_at_period_end"] = true.into();
        assert_eq!(ends(&told), Some(100));
        told["cancel_at"] = 80.into();
        assert_eq!(ends(&told), Some(80));
        told["ended_at"] = 70.into();
        assert_eq!(ends(&told), Some(70));
    }

    #[test]
    fn a_payment_is_late_since_its_invoice_was_final() {
        let mut told = told();
        told["status"] = "past_due".into();
        let since = |told: &Value| read(told.clone()).map(|it| it.past_due_since.unwrap().get());
        assert_eq!(since(&told).unwrap(), 60);
        told["latest_invoice"]["status_transitions"] = Value::Null;
        assert_eq!(since(&told).unwrap(), 50);
        told["latest_invoice"] = "in_1".into();
        let told_short: StripeSubscription = serde_json::from_value(told.clone()).unwrap();
        assert_eq!(told_short.invoice_to_ask(), Some("in_1"));
        assert!(since(&told).is_err(), "it is asked for before");
        told["status"] = "dormant".into();
        assert!(read(told).is_err());
    }

    #[test]
    fn of_several_the_highest_plan_that_is_paid_is_had() {
        let one = |id: &str, status: &str, price: &str, start: u64| {
            let mut told = told();
            (told["id"], told["status"], told["start_date"]) =
                (id.into(), status.into(), start.into());
            told["items"]["data"][1]["price"]["lookup_key"] = price.into();
            read(told).unwrap()
        };
        let (pro, enterprise) = ("weir_pro_monthly", "weir_enterprise_monthly");
        let standing = |all: &[Bought]| {
            let standing = Standing::of(all.to_vec(), &Plans::default());
            let id = standing.bought.map(|bought| bought.id.to_string());
            (id.unwrap_or_default(), standing.has_conflict)
        };
        let active = one("sub_1", "active", pro, 1);
        assert_eq!(standing(&[]), (String::new(), false));
        let canceled = one("sub_2", "canceled", enterprise, 2);
        assert_eq!(
            standing(&[active.clone(), canceled.clone()]),
            ("sub_1".into(), false)
        );
        let incomplete = one("sub_3", "incomplete", pro, 1);
        assert_eq!(standing(&[canceled, incomplete]), ("sub_3".into(), false));
        let higher = one("sub_4", "past_due", enterprise, 0);
        assert_eq!(
            standing(&[higher.clone(), active.clone()]),
            ("sub_4".into(), true)
        );
        let unknown = one("sub_6", "active", "other", 0);
        let rests = one("sub_7", "paused", pro, 5);
        assert_eq!(standing(&[unknown, rests]), ("sub_6".into(), false));
        let unknown = one("sub_5", "active", "other", 9);
        assert_eq!(standing(&[unknown, active]), ("sub_1".into(), true));
    }

    #[test]
    fn what_is_no_id_comes_into_no_path() {
        for id in ["", "../x", "a b", "a?b", "a/b"] {
            assert!(plain(id).is_err(), "{id}");
        }
        assert_eq!(plain("in_1Mt").unwrap(), "in_1Mt");
    }
}
