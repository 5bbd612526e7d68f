//! From what Stripe answers to the plan of a tenant.

use std::sync::Arc;

use accounts::{
    Actor, Bought, MeterBase, PlanName, Subscription, TenantId, UnixSecs, UnknownPrice,
};
use billing::Standing;
use catalogue::{Changed, Content, Kind as Record, NotChanged, SERVICE};

use super::Billing;
use crate::service::{Change, Service, TenantChange, now, since_epoch};
use crate::{Limiter, Node, Refusal};

/// Why a record stays as it is.
pub(super) enum Unchanged {
    /// It says that already, or something that was asked for later.
    Needless,
    Refused(Refusal),
}

impl From<NotChanged> for Unchanged {
    fn from(error: NotChanged) -> Self {
        Self::Refused(error.into())
    }
}

/// Changed, or needlessly so.
pub(super) fn unless_needless(changed: Result<Changed, Unchanged>) -> Result<(), Refusal> {
    match changed {
        Ok(_) | Err(Unchanged::Needless) => Ok(()),
        Err(Unchanged::Refused(refusal)) => Err(refusal),
    }
}

fn asked_now() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

impl<N: Node> Limiter<N> {
    /// Takes note of who a tenant is at the biller, as somebody who has bought nothing yet.
    pub(super) async fn link(&self, tenant: TenantId, customer: &Arc<str>) -> Result<(), Refusal> {
        let asked_at = asked_now();
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::subscription);
            if known.is_some_and(|known| known.customer.as_ref() == Some(customer)) {
                return Err(Unchanged::Needless);
            }
            let known = known.map(|known| &**known);
            let linked = blank(known, Some(Arc::clone(customer)), asked_at);
            Ok(Content::Subscription(linked.into()))
        };
        unless_needless(self.keep_subscription(tenant, edit).await)
    }

    /// The biller has no such customer any more.
    pub(super) async fn unlink(
        &self,
        service: &Service,
        billing: &Billing,
        tenant: TenantId,
    ) -> Result<(), Refusal> {
        let asked_at = asked_now();
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::subscription);
            let known = known.filter(|known| known.customer.is_some());
            let known = known.ok_or(Unchanged::Needless)?;
            let gone = blank(Some(known), None, asked_at);
            Ok(Content::Subscription(gone.into()))
        };
        unless_needless(self.keep_subscription(tenant, edit).await)?;
        self.settle(service, billing, tenant).await
    }

    /// Asks what a tenant has bought, keeps it, and gives the tenant the plan of it.
    pub(super) async fn ask_biller(
        &self,
        service: &Service,
        billing: &Billing,
        tenant: TenantId,
    ) -> Result<(), Refusal> {
        let known = self.subscription(tenant);
        let Some(customer) = known.and_then(|known| known.customer.clone()) else {
            return Ok(());
        };
        let asked_at = asked_now();
        let standing = billing.stripe.bought(&customer, &service.plans).await?;
        let base = self.base_of(tenant, standing.bought.as_ref()).await?;
        let (mut is_new_conflict, mut is_new_price) = (false, false);
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::subscription);
            let told = told(
                known.map(|known| &**known),
                &customer,
                asked_at,
                &standing,
                base,
            )
            .ok_or(Unchanged::Needless)?;
            is_new_conflict = told.has_conflict && known.is_none_or(|known| !known.has_conflict);
            let price = |known: &Subscription| known.bought.as_ref()?.price.clone();
            is_new_price = known.is_none_or(|known| price(known) != price(&told));
            Ok(Content::Subscription(told.into()))
        };
        unless_needless(self.keep_subscription(tenant, edit).await)?;
        if is_new_conflict {
            let told = "a tenant pays for two subscriptions: end one of them at Stripe";
            self.tell_operators(service, "billing.conflict", &tenant.to_string(), told)
                .await;
        }
        let known = self.subscription(tenant);
        let is_unknown =
            known.is_some_and(|known| entitled(&known, service, billing, now()).is_err());
        if is_new_price && is_unknown {
            let told = "a tenant pays a price that is that of no plan: its plan stays as it is";
            self.tell_operators(service, "billing.unknown-price", &tenant.to_string(), told)
                .await;
        }
        self.settle(service, billing, tenant).await
    }

    /// What a subscription begins with whose requests are billed one by one: looked up when it is seen first.
    async fn base_of(
        &self,
        tenant: TenantId,
        bought: Option<&Bought>,
    ) -> Result<Option<MeterBase>, Refusal> {
        let Some(bought) = bought.filter(|bought| bought.is_metered) else {
            return Ok(None);
        };
        let known = self.subscription(tenant);
        if known.is_some_and(|known| known.bases.contains_key(&bought.id)) {
            return Ok(None);
        }
        let day = now().days();
        let used = self.usage(tenant, [day]).await?;
        let requests = used.first().map_or(0, |day| day.requests);
        Ok(Some(MeterBase {
            day,
            // Of a subscription that began on an earlier day all of this one is billed.
            requests: if bought.started_at.days() < day {
                0
            } else {
                requests
            },
        }))
    }

    /// Gives a tenant the plan of what it has bought, as far as that is known. To be called again whenever time has passed: a plan
    /// whose payment is late is had for a while.
    pub(super) async fn settle(
        &self,
        service: &Service,
        billing: &Billing,
        id: TenantId,
    ) -> Result<(), Refusal> {
        let Some(known) = self.subscription(id) else {
            return Ok(());
        };
        let Ok(plan) = entitled(&known, service, billing, now()) else {
            return Ok(());
        };
        let tenant = self.tenant(id)?;
        if *tenant.bought.get() == plan {
            return Ok(());
        }
        let before = tenant.plan(&service.plans).name.clone();
        let change = TenantChange {
            bought: Some(plan),
            ..TenantChange::default()
        };
        let made = self.change_tenant(&service.plans, id, change).await?;
        let after = &made.tenant.plan(&service.plans).name;
        let target = id.to_string();
        let change = Change::new("billing.plan", &target);
        let change = change.from_to(before.as_str(), after.as_str());
        let entry = change.entry(Actor::Biller, Some(id), None, &service.node);
        self.note(entry).await;
        Ok(())
    }

    /// Tells those who run the cluster something that only they can mend: in the log, and among what operators did.
    pub(super) async fn tell_operators(
        &self,
        service: &Service,
        what: &'static str,
        target: &str,
        told: &str,
    ) {
        tracing::warn!(what, target, "{told}");
        let change = Change::new(what, target).from_to(None, told);
        let entry = change.entry(Actor::Biller, None, None, &service.node);
        self.note(entry).await;
    }

    async fn keep_subscription(
        &self,
        tenant: TenantId,
        edit: impl FnOnce(Option<&Content>) -> Result<Content, Unchanged> + Send,
    ) -> Result<Changed, Unchanged> {
        let (node, name) = (self.node(), tenant.to_string());
        node.edit(Record::Subscription, SERVICE, &name, edit).await
    }
}

/// The plan that a tenant has by what it has bought. `None`: that of no subscription.
fn entitled(
    known: &Subscription,
    service: &Service,
    billing: &Billing,
    now: UnixSecs,
) -> Result<Option<PlanName>, UnknownPrice> {
    match &known.bought {
        Some(bought) => bought.plan(&service.plans, now, billing.grace),
        None => Ok(None),
    }
}

/// Somebody who has bought nothing, from now on.
fn blank(known: Option<&Subscription>, customer: Option<Arc<str>>, asked_at: u64) -> Subscription {
    Subscription {
        asked_at: after(asked_at, known),
        customer,
        bought: None,
        has_conflict: false,
        bases: known.map(|known| known.bases.clone()).unwrap_or_default(),
    }
}

/// So that it takes the place of what it was made from, whatever the clock says.
fn after(asked_at: u64, known: Option<&Subscription>) -> u64 {
    asked_at.max(known.map_or(0, |known| known.asked_at + 1))
}

/// What is kept of an answer. `None`: what was asked for later is kept already.
fn told(
    known: Option<&Subscription>,
    customer: &Arc<str>,
    asked_at: u64,
    standing: &Standing,
    base: Option<MeterBase>,
) -> Option<Subscription> {
    if known.is_some_and(|known| asked_at <= known.asked_at) {
        return None;
    }
    let mut bases = known.map(|known| known.bases.clone()).unwrap_or_default();
    if let (Some(base), Some(bought)) = (base, &standing.bought) {
        bases.entry(Arc::clone(&bought.id)).or_insert(base);
    }
    Some(Subscription {
        asked_at,
        customer: Some(Arc::clone(customer)),
        bought: standing.bought.clone(),
        has_conflict: standing.has_conflict,
        bases,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two nodes ask at once, and the answer to the earlier question comes last.
    #[test]
    fn what_was_asked_for_later_stays() {
        let customer = Arc::from("cus_1");
        let standing = |has_conflict| Standing {
            bought: None,
            has_conflict,
        };
        let later = told(None, &customer, 7, &standing(true), None).unwrap();
        for asked_at in [6, 7] {
            let earlier = told(Some(&later), &customer, asked_at, &standing(false), None);
            assert_eq!(earlier, None, "{asked_at}");
        }
        let next = told(Some(&later), &customer, 8, &standing(false), None).unwrap();
        assert!(!next.has_conflict);
        assert_eq!(after(7, Some(&next)), 9, "a clock behind");
    }
}
