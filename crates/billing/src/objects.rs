//! What Stripe's answers say, as far as it is read. Fields that Weir does not use are left out, and unknown ones do not matter.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, Default)]
pub(crate) struct Refused {
    #[serde(default)]
    pub(crate) error: Reason,
}

#[derive(Deserialize, Default)]
pub(crate) struct Reason {
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
}

/// Something of which its id is enough.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) id: String,
}

#[derive(Deserialize)]
pub(crate) struct Price {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) lookup_key: Option<String>,
    #[serde(default)]
    pub(crate) recurring: Option<Recurring>,
}

#[derive(Deserialize)]
pub(crate) struct Recurring {
    #[serde(default)]
    pub(crate) usage_type: Option<String>,
}

impl Price {
    pub(crate) fn is_metered(&self) -> bool {
        let recurring = self.recurring.as_ref();
        recurring.is_some_and(|it| it.usage_type.as_deref() == Some("metered"))
    }
}

#[derive(Deserialize)]
pub(crate) struct CheckoutSession {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) url: Option<String>,
    #[serde(default)]
    pub(crate) expires_at: u64,
    #[serde(default)]
    pub(crate) client_reference_id: Option<String>,
    #[serde(default)]
    pub(crate) customer: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct PortalSession {
    pub(crate) url: String,
}

#[derive(Deserialize)]
pub(crate) struct StripeSubscription {
    pub(crate) id: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) start_date: u64,
    #[serde(default)]
    pub(crate) cancel_at: Option<u64>,
    #[serde(default)]
    pub(crate) cancel_at_period_end: bool,
    #[serde(default)]
    pub(crate) ended_at: Option<u64>,
    pub(crate) items: List<Item>,
    /// Asked for as a whole.
    #[serde(default)]
    pub(crate) latest_invoice: Option<Value>,
}

#[derive(Deserialize)]
pub(crate) struct Item {
    pub(crate) price: Price,
    #[serde(default)]
    pub(crate) current_period_end: Option<u64>,
}

/// An invoice, as far as it matters to what is billed by the request.
#[derive(Deserialize, Clone, Debug)]
pub struct Invoice {
    /// Such as `in_1`.
    pub id: String,
    /// Such as `draft`.
    #[serde(default)]
    pub status: Option<String>,
    /// Such as `subscription_cycle`.
    #[serde(default)]
    pub billing_reason: Option<String>,
    /// When what it bills has ended, in seconds since the epoch.
    #[serde(default)]
    pub period_end: u64,
    #[serde(default)]
    parent: Option<InvoiceParent>,
    #[serde(default)]
    created: u64,
    #[serde(default)]
    status_transitions: Option<Transitions>,
}

#[derive(Deserialize, Clone, Debug)]
struct InvoiceParent {
    #[serde(default)]
    subscription_details: Option<OfSubscription>,
}

#[derive(Deserialize, Clone, Debug)]
struct OfSubscription {
    #[serde(default)]
    subscription: Option<Value>,
}

#[derive(Deserialize, Clone, Debug)]
struct Transitions {
    #[serde(default)]
    finalized_at: Option<u64>,
}

impl Invoice {
    /// The subscription that it is of.
    #[must_use]
    pub fn subscription(&self) -> Option<&str> {
        let parent = self.parent.as_ref()?;
        let details = parent.subscription_details.as_ref()?;
        id_of(details.subscription.as_ref()?)
    }

    /// Since when it waits to be paid, in seconds since the epoch.
    pub(crate) fn waits_since(&self) -> u64 {
        let transitions = self.status_transitions.as_ref();
        transitions
            .and_then(|it| it.finalized_at)
            .unwrap_or(self.created)
    }
}

/// The id of an object that may be told whole.
fn id_of(told: &Value) -> Option<&str> {
    told.as_str().or_else(|| told.get("id")?.as_str())
}

#[derive(Deserialize)]
pub(crate) struct Meter {
    pub(crate) id: String,
    pub(crate) event_name: String,
    #[serde(default)]
    pub(crate) status: Option<String>,
    #[serde(default)]
    pub(crate) default_aggregation: Option<Aggregation>,
    #[serde(default)]
    pub(crate) event_time_window: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Aggregation {
    #[serde(default)]
    pub(crate) formula: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct WebhookEndpoint {
    pub(crate) id: String,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) secret: Option<String>,
    #[serde(default)]
    pub(crate) status: Option<String>,
    #[serde(default)]
    pub(crate) api_version: Option<String>,
    #[serde(default)]
    pub(crate) enabled_events: Vec<String>,
}

/// What Stripe has counted of a customer on one day.
#[derive(Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct DaySum {
    /// The first second of the day, since the epoch.
    pub start_time: u64,
    /// Requests.
    pub aggregated_value: f64,
}

/// Something that has happened at Stripe: a hint at what to ask for.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Such as `evt_1`.
    pub id: String,
    /// Such as `invoice.paid`.
    pub kind: String,
    /// Whether it is about real money.
    pub is_live: bool,
    /// The id of what it is about.
    pub about: String,
    /// The customer whom it is about, if it says.
    pub customer: Option<String>,
    /// The subscription that it is about, or of what it is about, if it says.
    pub subscription: Option<String>,
    /// What a subscription or a checkout session says of whose it is.
    pub tenant: Option<String>,
}

#[derive(Deserialize)]
struct ToldEvent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    livemode: bool,
    #[serde(default)]
    data: ToldData,
}

/// Nothing, where an event is about nothing that Weir knows.
#[derive(Deserialize, Default)]
struct ToldData {
    #[serde(default)]
    object: Value,
}

/// Reads the body of an event.
///
/// # Errors
///
/// It is none.
pub fn read_event(body: &[u8]) -> Result<Event, serde_json::Error> {
    serde_json::from_slice::<ToldEvent>(body).map(Event::from)
}

pub(crate) fn event_of(told: Value) -> Result<Event, serde_json::Error> {
    serde_json::from_value::<ToldEvent>(told).map(Event::from)
}

impl From<ToldEvent> for Event {
    fn from(told: ToldEvent) -> Self {
        let ToldEvent {
            id,
            kind,
            livemode,
            data: ToldData { object },
        } = told;
        let text = |place: &str| object.pointer(place).and_then(id_of).map(str::to_owned);
        let is = |wanted: &str| object["object"] == wanted;
        let about = text("/id").unwrap_or_default();
        let own = |wanted| is(wanted).then(|| about.clone());
        let subscription = own("subscription")
            .or_else(|| text("/subscription"))
            .or_else(|| text("/parent/subscription_details/subscription"));
        let tenant = text("/client_reference_id").or_else(|| text("/metadata/weir_tenant"));
        Self {
            customer: own("customer").or_else(|| text("/customer")),
            about,
            id,
            kind,
            is_live: livemode,
            subscription,
            tenant,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(object: Value) -> Event {
        let told =
            json!({"id": "evt_1", "type": "t", "livemode": true, "data": {"object": object}});
        read_event(told.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_event_tells_what_it_is_about() {
        let of = |event: Event| [event.customer, event.subscription, event.tenant];
        let some = |text: &str| Some(text.to_owned());
        let session = event(json!({
            "id": "cs_1", "object": "checkout.session", "customer": "cus_1",
            "subscription": "sub_1", "client_reference_id": "tn_1",
        }));
        assert_eq!((&*session.about, session.is_live), ("cs_1", true));
        assert_eq!(of(session), [some("cus_1"), some("sub_1"), some("tn_1")]);
        let subscription = event(json!({
            "id": "sub_1", "object": "subscription", "customer": {"id": "cus_1"},
            "metadata": {"weir_tenant": "tn_1"},
        }));
        assert_eq!(
            of(subscription),
            [some("cus_1"), some("sub_1"), some("tn_1")]
        );
        let invoice = event(json!({
            "id": "in_1", "object": "invoice", "customer": "cus_1",
            "parent": {"subscription_details": {"subscription": "sub_1"}},
        }));
        assert_eq!(of(invoice), [some("cus_1"), some("sub_1"), None]);
        let customer = event(json!({"id": "cus_1", "object": "customer"}));
        assert_eq!(of(customer), [some("cus_1"), None, None]);
        for nothing in [json!({}), json!(null), json!("a")] {
            assert_eq!(of(event(nothing)), [None, None, None]);
        }
    }

    #[test]
    fn what_is_no_event_is_not_read() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"id":"evt_1"}"#,
            r#"{"id":1,"type":"t"}"#,
        ] {
            assert!(read_event(body.as_bytes()).is_err(), "{body}");
        }
    }
}
