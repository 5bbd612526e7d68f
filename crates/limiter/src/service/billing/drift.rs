//! What Stripe has counted of tenants, held against what they have used.

use accounts::TenantId;

use super::Billing;
use crate::service::{Caller, now};
use crate::{Limiter, Node, Refusal};

/// Days that are looked at where nobody names any: what Stripe still takes something for.
const DAYS: u64 = 34;

/// A day of which Stripe has counted something else than was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drift {
    /// Whose it is.
    pub tenant: TenantId,
    /// Days since the epoch.
    pub day: u64,
    /// Requests that are to be billed.
    pub used: u32,
    /// Requests that Stripe has counted.
    pub billed: u64,
}

impl Drift {
    /// By how many requests they differ.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.billed.abs_diff(self.used.into())
    }
}

impl<N: Node> Limiter<N> {
    /// The days that are over and of which the meter of that id has counted something else: of those from the first to the last, or of all
    /// that can still be put right.
    pub(super) async fn drift_of(
        &self,
        (billing, meter): (&Billing, &str),
        tenant: TenantId,
        days: Option<(u64, u64)>,
    ) -> Result<Vec<Drift>, Refusal> {
        let today = now().days();
        let (from, to) = days.unwrap_or((today.saturating_sub(DAYS), today));
        let to = to.min(today.saturating_sub(1));
        let known = self.subscription(tenant);
        let Some(known) = known.filter(|_| from <= to) else {
            return Ok(Vec::new());
        };
        let Some(customer) = &known.customer else {
            return Ok(Vec::new());
        };
        if (from..=to).all(|day| known.billed(day, 0).is_none()) {
            return Ok(Vec::new());
        }
        let sums = billing.stripe.sums(meter, customer, (from, to));
        let sums = sums.await?;
        let used = self.usage(tenant, from..=to).await?;
        let days = (from..=to).zip(used).filter_map(|(day, used)| {
            let used = known.billed(day, used.requests)?;
            let of_day = sums
                .iter()
                .filter(|sum| sum.start_time / (24 * 60 * 60) == day);
            let billed: f64 = of_day.map(|sum| sum.aggregated_value).sum();
            Some(Drift {
                tenant,
                day,
                used,
                // Requests are whole, and fewer than a float can tell apart.
                billed: billed.max(0.0) as u64,
            })
        });
        Ok(days.filter(|drift| 0 < drift.size()).collect())
    }
}

impl<N: Node> Caller<N> {
    /// The days of all tenants from the first to the last, as far as they are over, of which Stripe has counted something else
    /// than was used.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`](crate::Kind::Forbidden), [`Kind::NotImplemented`](crate::Kind::NotImplemented),
    /// [`Kind::BillingUnavailable`](crate::Kind::BillingUnavailable).
    pub async fn audit_billing(&self, days: Option<(u64, u64)>) -> Result<Vec<Drift>, Refusal> {
        self.needs_operator()?;
        let (_, billing) = self.of_billing()?;
        let all = self.limiter.subscriptions();
        let metered = all.filter(|(_, known)| !known.bases.is_empty());
        let metered: Vec<TenantId> = metered.map(|(id, _)| id).collect();
        let mut found = Vec::new();
        if metered.is_empty() {
            return Ok(found);
        }
        let meter = billing.stripe.meter_id(&billing.meter).await?;
        for tenant in metered {
            let drift = self.limiter.drift_of((&billing, &meter), tenant, days);
            found.extend(drift.await?);
        }
        Ok(found)
    }
}
