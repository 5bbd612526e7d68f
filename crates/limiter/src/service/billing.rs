//! Plans that tenants buy. Stripe sells them; a tenant has the plan of what it has bought, and goes on having it while Stripe is
//! away.

mod drift;
mod duty;
mod events;
mod meter;
mod set_up;
mod standing;

pub use drift::Drift;
pub use duty::BillingDuty;
pub use events::{Handled, NotStripes};
pub use set_up::{Amounts, SetUp};

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use accounts::{
    Bought, PlanName, Subscription, SubscriptionStatus, TenantId, UnixSecs, cluster_name,
};
use billing::{Checkout, NewCheckout, Stripe, StripeError, WebhookSecret};
use catalogue::{Kind as Record, SERVICE};
use coordinator::Policy;
use quota::Nanos;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Caller, Change, Service};
use crate::{Kind, Limiter, Node, Refusal};

/// Questions that a node has for Stripe at a time, of people and of events: each waits some 15 s at most, and the next is told to come again.
const ASKED_MAX: usize = 64;

/// How plans are sold.
pub struct Billing {
    /// Who sells them.
    pub stripe: Stripe,
    /// What signs its events: either of them, while one is taking the place of the other.
    pub webhook_secrets: Vec<WebhookSecret>,
    /// What the meter of requests is called.
    pub meter: String,
    /// Seconds that a plan is had after a payment has failed.
    pub grace: u64,
    /// Seconds that an invoice with requests stays a draft after its period has ended.
    pub finalize_after: u64,
    /// What the customers of this cluster are told apart from those of another by.
    cluster: String,
    /// Under what it is decided which node looks after a tenant.
    duty: Policy,
    room: Semaphore,
    /// Customers of nobody, of whom operators have been told.
    strangers: Mutex<BTreeSet<String>>,
}

/// Customers of nobody that are remembered: an account of Stripe may serve others as well. Beyond them all are forgotten, and told of once
/// more when they come again.
const STRANGERS_MAX: usize = 1_000;

impl Billing {
    /// Sold by `stripe` for the cluster with this cookie, with a week of grace and six hours for invoices.
    #[must_use]
    pub fn new(cookie: &[u8], stripe: Stripe, meter: String) -> Self {
        Self {
            stripe,
            webhook_secrets: Vec::new(),
            meter,
            grace: 7 * 24 * 60 * 60,
            finalize_after: 6 * 60 * 60,
            cluster: cluster_name(cookie),
            duty: duty::policy(),
            room: Semaphore::new(ASKED_MAX),
            strangers: Mutex::default(),
        }
    }

    /// Whether this customer of nobody comes for the first time.
    fn is_new_stranger(&self, customer: &str) -> bool {
        let mut strangers = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if STRANGERS_MAX <= strangers.len() {
            strangers.clear();
        }
        strangers.insert(customer.to_owned())
    }

    /// Room for one more question.
    fn room(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.room.try_acquire().map_err(|_| {
            let detail = "too many questions wait for the biller already; nothing was changed";
            Refusal::new(Kind::Overloaded, detail).with_retry_after(Nanos::from_secs(1))
        })
    }
}

/// What a tenant has bought, and what comes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BillingStanding {
    /// The plan that it has.
    pub plan: PlanName,
    /// Whether an operator gave it that, whatever was bought.
    pub is_given: bool,
    /// How the subscription stands. `None`: there was never one.
    pub status: Option<SubscriptionStatus>,
    /// When what is paid ends.
    pub period_end: Option<UnixSecs>,
    /// When the subscription ends, or has ended.
    pub ends_at: Option<UnixSecs>,
    /// Since when a payment is late.
    pub past_due_since: Option<UnixSecs>,
    /// Until when the plan is had although a payment is late.
    pub grace_until: Option<UnixSecs>,
    /// Whether the biller has a page for it.
    pub has_portal: bool,
    /// Whether it pays for more than one subscription.
    pub has_conflict: bool,
}

impl<N: Node> Limiter<N> {
    /// What is known of a tenant at the biller.
    pub(super) fn subscription(&self, tenant: TenantId) -> Option<Arc<Subscription>> {
        let name = tenant.to_string();
        let record = self.node().record(Record::Subscription, SERVICE, &name);
        record.as_ref()?.subscription().cloned()
    }

    /// What is known of all tenants there that have ever begun to buy.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (TenantId, Arc<Subscription>)> {
        let records = self
            .node()
            .records(Record::Subscription, SERVICE, None, usize::MAX);
        records.into_iter().filter_map(|(name, content)| {
            let known = content.subscription()?.clone();
            Some((name.parse().ok()?, known))
        })
    }
}

impl<N: Node> Caller<N> {
    /// What makes this a service that sells plans.
    ///
    /// # Errors
    ///
    /// [`Kind::NotImplemented`] where it sells none.
    fn of_billing(&self) -> Result<(Arc<Service>, Arc<Billing>), Refusal> {
        let service = self.of_service()?;
        let billing = service.billing.clone().ok_or_else(no_billing)?;
        Ok((service, billing))
    }

    /// What the tenant has bought. `is_back`: somebody comes back from paying, so that Stripe is asked first.
    ///
    /// # Errors
    ///
    /// [`Kind::NotImplemented`] where no plans are sold; [`Kind::InvalidRequest`] for who acts in no tenant.
    pub async fn billing(&self, is_back: bool) -> Result<BillingStanding, Refusal> {
        let (service, billing) = self.of_billing()?;
        let id = self.needs_tenant()?;
        if is_back && let Err(error) = self.look_again(&service, &billing, id).await {
            // The event comes by itself.
            tracing::debug!(tenant = %id, %error, "what was bought could not be asked for");
        }
        let tenant = self.limiter.tenant(id)?;
        let subscription = self.limiter.subscription(id);
        let subscription = subscription.as_deref();
        let bought = subscription.and_then(|it| it.bought.as_ref());
        Ok(BillingStanding {
            plan: tenant.plan(&service.plans).name.clone(),
            is_given: tenant.plan.get().is_some(),
            status: bought.map(|it| it.status),
            period_end: bought.and_then(|it| it.period_end),
            ends_at: bought.and_then(|it| it.ends_at),
            past_due_since: bought.and_then(|it| it.past_due_since),
            grace_until: bought.and_then(|it| it.grace_until(billing.grace)),
            has_portal: subscription.is_some_and(|it| it.customer.is_some()),
            has_conflict: subscription.is_some_and(|it| it.has_conflict),
        })
    }

    /// Asks what was bought, unless it is known that something was.
    async fn look_again(
        &self,
        service: &Service,
        billing: &Billing,
        id: TenantId,
    ) -> Result<(), Refusal> {
        let known = self.limiter.subscription(id);
        let bought = known.as_ref().and_then(|known| known.bought.as_ref());
        if bought.is_some_and(stands_in_the_way) {
            return Ok(());
        }
        let _room = billing.room()?;
        self.limiter.ask_biller(service, billing, id).await
    }

    /// Where the tenant pays for a plan.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidRequest`] for a plan that is not for sale; [`Kind::BillingConflict`] where something was bought already;
    /// [`Kind::BillingUnavailable`], [`Kind::Overloaded`], [`Kind::NotImplemented`], and when it could not be kept.
    pub async fn checkout(&self, plan: &str) -> Result<Checkout, Refusal> {
        let (service, billing) = self.of_billing()?;
        let id = self.needs_tenant()?;
        let named = service.plans.named(plan);
        let Some((named, price)) = named.and_then(|it| Some((it, it.price.as_deref()?))) else {
            let for_sale = service.plans.iter().filter(|plan| plan.price.is_some());
            let names: Vec<&str> = for_sale.map(|plan| plan.name.as_str()).collect();
            return Err(Refusal::field("plan", plan, names.join(", ")));
        };
        let _room = billing.room()?;
        let customer = self.customer(&billing, id).await?;
        // What is known may be older than what was bought at another node a moment ago.
        self.limiter.ask_biller(&service, &billing, id).await?;
        let known = self.limiter.subscription(id);
        let bought = known.as_ref().and_then(|known| known.bought.as_ref());
        if bought.is_some_and(stands_in_the_way) {
            let detail = "this tenant has a subscription: change it on the page of the biller, POST /v1/billing/portal";
            return Err(Refusal::new(Kind::BillingConflict, detail));
        }
        let page = format!("{}/dashboard/{id}/billing", service.public_url);
        let new = NewCheckout {
            tenant: id,
            customer: &customer,
            price,
            metered_price: named.metered_price.as_deref(),
            success_url: &format!("{page}?session={{CHECKOUT_SESSION_ID}}"),
            cancel_url: &page,
            now: super::now(),
        };
        let begun = billing.stripe.checkout(&new).await?;
        let begun = begun.ok_or_else(|| {
            tracing::warn!(plan = %named.name, "Stripe has no price of this plan's lookup key: run weir billing setup");
            unavailable("it has no price for this plan; nothing was changed", REFUSED)
        })?;
        let target = id.to_string();
        let change = Change::new("billing.checkout", &target).from_to(None, plan);
        self.note(change).await;
        Ok(begun)
    }

    /// The page of the biller on which the tenant changes or ends what it has bought.
    ///
    /// # Errors
    ///
    /// [`Kind::BillingConflict`] where nothing was ever bought; [`Kind::BillingUnavailable`], [`Kind::Overloaded`],
    /// [`Kind::NotImplemented`].
    pub async fn portal(&self) -> Result<String, Refusal> {
        let (service, billing) = self.of_billing()?;
        let id = self.needs_tenant()?;
        let known = self.limiter.subscription(id);
        let customer = known.and_then(|known| known.customer.clone());
        let customer = customer.ok_or_else(|| {
            let detail = "this tenant has bought nothing yet: POST /v1/billing/checkout";
            Refusal::new(Kind::BillingConflict, detail)
        })?;
        let _room = billing.room()?;
        let page = format!("{}/dashboard/{id}/billing", service.public_url);
        Ok(billing.stripe.portal(&customer, &page).await?)
    }

    /// Who the tenant is at the biller: made now, if it is nobody.
    async fn customer(&self, billing: &Billing, id: TenantId) -> Result<Arc<str>, Refusal> {
        let known = self.limiter.subscription(id);
        if let Some(customer) = known.as_ref().and_then(|known| known.customer.clone()) {
            return Ok(customer);
        }
        let tenant = self.limiter.tenant(id)?;
        let name = tenant.name.get().as_str();
        let user = self.signed_in.as_ref().map(|it| &it.user);
        let email = user.map(|user| user.email.get().as_str());
        let stripe = &billing.stripe;
        // One that was deleted is not to be made again by the name of the call that had made it.
        let after = known.map_or(0, |known| known.asked_at);
        let made = stripe.make_customer((&billing.cluster, after), id, name, email);
        let customer = Arc::from(made.await?);
        self.limiter.link(id, &customer).await?;
        Ok(customer)
    }
}

/// Whether it may still be paid: beside one that waits for its first payment another may be begun.
fn stands_in_the_way(bought: &Bought) -> bool {
    bought.status.is_open() && bought.status != SubscriptionStatus::Incomplete
}

fn no_billing() -> Refusal {
    let detail = "this service sells no plans: an operator gives them; nothing was changed";
    Refusal::new(Kind::NotImplemented, detail)
}

/// Seconds after which Stripe may answer again, and after which an operator may have seen to what it refuses.
const AWAY: u64 = 30;
const REFUSED: u64 = 60 * 60;

fn unavailable(detail: &'static str, secs: u64) -> Refusal {
    Refusal::new(Kind::BillingUnavailable, detail).with_retry_after(Nanos::from_secs(secs))
}

/// What Stripe said stays in the log: it may speak of keys and accounts.
impl From<StripeError> for Refusal {
    fn from(error: StripeError) -> Self {
        tracing::warn!(%error, "Stripe was asked in vain");
        match error {
            StripeError::Away(_) => unavailable(
                "it was asked four times and gave no answer; nothing was changed",
                AWAY,
            ),
            StripeError::Refused { .. } => {
                let detail = "it refuses what it was asked; the log of the node says why. Nothing was changed";
                unavailable(detail, REFUSED)
            }
            StripeError::Unreadable(_) => {
                let detail =
                    "its answer cannot be read; the log of the node says more. Nothing was changed";
                unavailable(detail, REFUSED)
            }
        }
    }
}
