//! Stripe's events. Each is a hint at what to ask for: what is kept comes from the answer, so that neither the order of events, nor
//! their repeats, nor their loss matter.

use std::sync::Arc;

use accounts::{TenantId, UnixSecs};
use billing::{Event, read_event, signature};
use catalogue::Kind as Record;
use metrics::counter;

use super::{Billing, no_billing};
use crate::service::{Service, now};
use crate::{Limiter, Node, Refusal};

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// What it hinted at was asked for, and is kept.
    Done,
    /// There is nothing to do about it, and why.
    Ignored(&'static str),
}

/// Why an event is not looked at.
#[derive(Debug)]
pub enum NotStripes {
    /// It is not signed by a secret of this service, or not now.
    Unsigned(signature::BadSignature),
    /// It is no event.
    Unreadable,
    /// It could not be dealt with now.
    Refused(Refusal),
}

impl From<Refusal> for NotStripes {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<N: Node> Limiter<N> {
    /// Takes an event: the bytes of its body, and the header that signs them.
    ///
    /// # Errors
    ///
    /// [`NotStripes`]. Of one that was refused Stripe tells again.
    pub async fn take_event(
        &self,
        service: &Service,
        signed: &str,
        body: &[u8],
    ) -> Result<Handled, NotStripes> {
        let billing = service.billing.as_ref().ok_or_else(no_billing)?;
        let secrets = &billing.webhook_secrets;
        signature::verify(signed, body, secrets, now().get()).map_err(NotStripes::Unsigned)?;
        let event = read_event(body).map_err(|_| NotStripes::Unreadable)?;
        let _room = billing.room()?;
        let handled = self.handle(service, billing, &event).await;
        let result = match &handled {
            Ok(Handled::Done) => "done",
            Ok(Handled::Ignored(why)) => *why,
            Err(_) => "refused",
        };
        // Types are Stripe's, and more of them come: those that are not looked at are one.
        let known = billing::EVENTS.iter().find(|kind| **kind == event.kind);
        let kind = known.copied().unwrap_or("other");
        counter!("weir_webhook_events_total", "type" => kind, "result" => result).increment(1);
        Ok(handled?)
    }

    pub(super) async fn handle(
        &self,
        service: &Service,
        billing: &Billing,
        event: &Event,
    ) -> Result<Handled, Refusal> {
        if event.is_live != billing.stripe.is_live() {
            return Ok(Handled::Ignored("livemode"));
        }
        match &*event.kind {
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
                return self.on_checkout(service, billing, event).await;
            }
            "charge.dispute.created" | "charge.dispute.closed" => {
                let told = "a payment is disputed: see to it at Stripe";
                self.tell_operators(service, "billing.dispute", &event.about, told)
                    .await;
                return Ok(Handled::Done);
            }
            // Nothing was bought.
            "checkout.session.expired" | "checkout.session.async_payment_failed" => {
                return Ok(Handled::Done);
            }
            kind if !billing::EVENTS.contains(&kind) => return Ok(Handled::Ignored("type")),
            _ => {}
        }
        let Some(tenant) = self.tenant_of(event).await? else {
            return Ok(self.of_nobody(service, billing, event).await);
        };
        match &*event.kind {
            "customer.deleted" => {
                let told = "the customer of a tenant was deleted at Stripe: it has bought nothing any more";
                let target = tenant.to_string();
                self.tell_operators(service, "billing.customer-deleted", &target, told)
                    .await;
                self.unlink(service, billing, tenant).await?;
            }
            "invoice.created" => {
                self.ask_biller(service, billing, tenant).await?;
                self.on_invoice(billing, tenant, &event.about).await?;
            }
            _ => self.ask_biller(service, billing, tenant).await?,
        }
        Ok(Handled::Done)
    }

    /// Somebody has paid: the checkout says for whom, and as which customer.
    async fn on_checkout(
        &self,
        service: &Service,
        billing: &Billing,
        event: &Event,
    ) -> Result<Handled, Refusal> {
        let (tenant, customer) = billing.stripe.checkout_of(&event.about).await?;
        let tenant = tenant.and_then(|tenant| tenant.parse::<TenantId>().ok());
        let tenant = tenant.filter(|tenant| self.tenant(*tenant).is_ok());
        let (Some(tenant), Some(customer)) = (tenant, customer.map(Arc::from)) else {
            return Ok(self.of_nobody(service, billing, event).await);
        };
        match self
            .subscription(tenant)
            .map(|known| known.customer.clone())
        {
            None => self.link(tenant, &customer).await?,
            Some(Some(known)) if known == customer => {}
            Some(_) => {
                let told = format!(
                    "a checkout of {tenant} was paid by {customer}, who is not its customer"
                );
                self.tell_operators(service, "billing.wrong-customer", &event.about, &told)
                    .await;
                return Ok(Handled::Ignored("tenant"));
            }
        }
        self.ask_biller(service, billing, tenant).await?;
        Ok(Handled::Done)
    }

    /// The tenant of the customer; else, of a subscription, the one that it was made for, unless that one has a customer or had one: events
    /// of a customer that was deleted may come after that.
    async fn tenant_of(&self, event: &Event) -> Result<Option<TenantId>, Refusal> {
        let Some(customer) = event.customer.as_deref() else {
            return Ok(None);
        };
        let of_customer = self
            .node()
            .records(Record::Subscription, customer, None, usize::MAX);
        let is_so = |id: &TenantId| {
            let known = self.subscription(*id);
            known.is_some_and(|known| known.customer.as_deref() == Some(customer))
        };
        let mut ids = of_customer
            .into_iter()
            .filter_map(|(name, _)| name.parse().ok());
        if let Some(known) = ids.find(is_so) {
            return Ok(Some(known));
        }
        let named = event.tenant.as_deref().and_then(|id| id.parse().ok());
        let Some(named) = named.filter(|id| self.tenant(*id).is_ok()) else {
            return Ok(None);
        };
        if self.subscription(named).is_some() {
            return Ok(None);
        }
        self.link(named, &Arc::from(customer)).await?;
        Ok(Some(named))
    }

    /// An event of a customer who is no tenant's. Operators are told once of each.
    async fn of_nobody(&self, service: &Service, billing: &Billing, event: &Event) -> Handled {
        let customer = event.customer.as_deref().unwrap_or_default();
        if billing.is_new_stranger(customer) {
            let told = format!("{} of a customer who is that of no tenant", event.kind);
            self.tell_operators(service, "billing.unknown-tenant", &event.about, &told)
                .await;
        }
        Handled::Ignored("tenant")
    }

    /// An invoice was begun. If it bills requests it waits for those of its last day.
    async fn on_invoice(
        &self,
        billing: &Billing,
        tenant: TenantId,
        id: &str,
    ) -> Result<(), Refusal> {
        let known = self.subscription(tenant);
        let is_metered = known
            .as_ref()
            .and_then(|known| known.bought.as_ref())
            .is_some_and(|bought| bought.is_metered);
        if !is_metered {
            return Ok(());
        }
        let invoice = billing.stripe.invoice(id).await?;
        let is_draft = invoice.status.as_deref() == Some("draft");
        let is_cycle = invoice.billing_reason.as_deref() == Some("subscription_cycle");
        if !is_draft || !is_cycle {
            return Ok(());
        }
        let until = now() + billing.finalize_after;
        billing.stripe.hold_invoice(&invoice.id, until).await?;
        let last = UnixSecs::new(invoice.period_end.saturating_sub(1)).days();
        self.tell_days(billing, tenant, |day| day <= last, true)
            .await?;
        Ok(())
    }
}
