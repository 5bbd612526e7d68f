//! What operators do about Stripe: making what is sold, looking whether it is there, asking anew.

use std::collections::BTreeMap;

use accounts::TenantId;
use billing::{Finding, Offer, StripeError, WebhookSecret};

use super::Billing;
use crate::service::{Caller, Change, Service};
use crate::{Node, Refusal};

/// What prices cost that have to be made.
#[derive(Clone, Default, Debug)]
pub struct Amounts {
    /// Three letters, such as `eur`.
    pub currency: Option<String>,
    /// By the lookup key of the price, in the smallest unit of the currency, such as `2900`.
    pub of_prices: BTreeMap<String, String>,
}

/// What was made at Stripe, and what was there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetUp {
    /// Of each thing what was found or done.
    pub findings: Vec<Finding>,
    /// What signs the events of the webhook, if it was made now: nobody tells it again.
    pub secret: Option<WebhookSecret>,
}

impl<N: Node> Caller<N> {
    /// Makes at Stripe what is missing of what the plans need.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`](crate::Kind::Forbidden), [`Kind::NotImplemented`](crate::Kind::NotImplemented), [`Kind::BillingUnavailable`](crate::Kind::BillingUnavailable). What was made until then stays.
    pub async fn set_up_billing(&self, amounts: &Amounts) -> Result<SetUp, Refusal> {
        self.needs_operator()?;
        let (service, billing) = self.of_billing()?;
        let offer = offer(&service, &billing, amounts);
        let made = billing.stripe.set_up(&offer).await;
        let (findings, secret) = made.map_err(told_to_operator)?;
        self.note(Change::new("billing.set-up", "stripe")).await;
        Ok(SetUp { findings, secret })
    }

    /// Looks whether what the plans need is there.
    ///
    /// # Errors
    ///
    /// [`Kind::Forbidden`](crate::Kind::Forbidden), [`Kind::NotImplemented`](crate::Kind::NotImplemented), [`Kind::BillingUnavailable`](crate::Kind::BillingUnavailable).
    pub async fn check_billing(&self) -> Result<Vec<Finding>, Refusal> {
        self.needs_operator()?;
        let (service, billing) = self.of_billing()?;
        let amounts = Amounts::default();
        let offer = offer(&service, &billing, &amounts);
        let found = billing.stripe.check(&offer).await;
        let mut findings = found.map_err(told_to_operator)?;
        if billing.webhook_secrets.is_empty() {
            findings.push(Finding {
                of: "webhook_secret_files".into(),
                told: "are not in the file of this node: it takes no event".into(),
                is_well: false,
            });
        }
        Ok(findings)
    }

    /// Asks Stripe what tenants have bought, all or one, and tells it what they have used, without waiting for the hour. How many
    /// were asked about.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`](crate::Kind::NotFound) for a tenant that is none; [`Kind::Forbidden`](crate::Kind::Forbidden), [`Kind::NotImplemented`](crate::Kind::NotImplemented), [`Kind::BillingUnavailable`](crate::Kind::BillingUnavailable).
    pub async fn sync_billing(&self, tenant: Option<TenantId>) -> Result<usize, Refusal> {
        self.needs_operator()?;
        let (service, billing) = self.of_billing()?;
        let limiter = &self.limiter;
        let tenants: Vec<TenantId> = match tenant {
            Some(id) => {
                limiter.tenant(id)?;
                vec![id]
            }
            None => limiter.subscriptions().map(|(id, _)| id).collect(),
        };
        for id in &tenants {
            limiter.ask_biller(&service, &billing, *id).await?;
            limiter.tell_days(&billing, *id, |_| true, true).await?;
        }
        Ok(tenants.len())
    }
}

/// With what Stripe said: whoever sets it up is who can mend it.
fn told_to_operator(error: StripeError) -> Refusal {
    let said = error.to_string();
    Refusal::from(error).told(said)
}

fn offer<'a>(service: &'a Service, billing: &'a Billing, amounts: &'a Amounts) -> Offer<'a> {
    Offer {
        plans: &service.plans,
        meter: &billing.meter,
        public_url: &service.public_url,
        currency: amounts.currency.as_deref(),
        amounts: &amounts.of_prices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn refusals_of_stripe_are_told_without_what_it_said() {
        let refused = billing::StripeError::Refused {
            status: 401,
            code: String::new(),
            message: "Invalid API Key provided: sk_test_4eC3".into(),
        };
        let refusal = Refusal::from(refused);
        assert_eq!(refusal.kind(), Kind::BillingUnavailable);
        assert!(!refusal.detail().contains("sk_test"));
        assert!(refusal.retry_after_secs().is_some());
    }
}
