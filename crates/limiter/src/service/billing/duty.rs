//! What has to be done about subscriptions without anybody asking: each tenant by the node that owns its key of [`policy`], so that
//! one does it, and another when that one dies. Two that do it at once, as in a split, do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use accounts::{Subscription, TenantId, UnixSecs};
use billing::{EVENTS, StripeError};
use catalogue::SERVICE;
use coordinator::{FailMode, Policy, Strategy};
use metrics::{Gauge, gauge};
use quota::{Algorithm, Limit, Nanos};

use super::Billing;
use crate::service::{Service, now};
use crate::{Access, Kind, Limiter, Node, Refusal};

/// What is due is looked at so often.
const EVERY: Duration = Duration::from_secs(20);

/// Seconds after which Stripe is asked again about a subscription of which it has told nothing.
const ASKED_EVERY: u64 = 6 * 60 * 60;

/// Seconds after which it is asked for events that it could not deliver, and how far back.
const EVENTS_EVERY: u64 = 15 * 60;
const EVENTS_SINCE: u64 = 3 * 24 * 60 * 60;

/// Events that are remembered: what Stripe could not deliver in three days.
const EVENTS_MAX: usize = 10_000;

/// Second of a day at which days that are long over are looked at once more, and what Stripe has counted is held against them.
const LOOK_BACK: u64 = 60 * 60;

/// The pause after a tenant about whom Stripe was asked: with it a node asks no more than 50 times a second.
const PAUSE: Duration = Duration::from_millis(20);

const DAY: u64 = 24 * 60 * 60;

/// Under what it is decided which node looks after a tenant, by its id as the key. Nothing is counted.
pub(super) fn policy() -> Policy {
    let limit = Limit::new(Algorithm::FixedWindow, 1, Nanos::from_secs(60));
    Policy {
        namespace: SERVICE.into(),
        name: "@duty".into(),
        limit: limit.expect("one a minute is a limit"),
        strategy: Strategy::Owner,
        on_failure: FailMode::Deny,
        top_keys: false,
    }
}

/// What one node does about subscriptions.
pub struct BillingDuty<N> {
    limiter: Limiter<N>,
    service: Arc<Service>,
    billing: Arc<Billing>,
    /// When it was done last.
    last: Option<UnixSecs>,
    asked_for_events: Option<UnixSecs>,
    known_events: BTreeSet<String>,
    /// Until when tenants are let be.
    quiet: BTreeMap<TenantId, UnixSecs>,
    drift: Gauge,
}

impl<N: Node> BillingDuty<N> {
    /// `None`: no plans are sold.
    #[must_use]
    pub fn new(limiter: Limiter<N>, access: &Access) -> Option<Self> {
        let service = Arc::clone(access.service()?);
        let billing = service.billing.clone()?;
        Some(Self {
            limiter,
            service,
            billing,
            last: None,
            asked_for_events: None,
            known_events: BTreeSet::new(),
            quiet: BTreeMap::new(),
            drift: gauge!("weir_billing_drift_requests"),
        })
    }

    /// Does what is due, for ever.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.tick().await;
        }
    }

    /// Does what is due.
    pub async fn tick(&mut self) {
        let now = now();
        let looked_back = |at: UnixSecs| at.get().saturating_sub(LOOK_BACK) / DAY;
        let is_daily = self
            .last
            .is_none_or(|last| looked_back(last) < looked_back(now));
        self.quiet.retain(|_, until| now < *until);
        let mut metered = Vec::new();
        for (id, known) in self.on_duty() {
            if !known.bases.is_empty() {
                metered.push(id);
            }
            match self.look_after(id, &known, now, is_daily).await {
                Ok(true) => tokio::time::sleep(PAUSE).await,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(tenant = %id, %error, "what a tenant has bought or used could not be looked after");
                    let secs = error.retry_after_secs().unwrap_or(EVERY.as_secs());
                    self.quiet.insert(id, now + secs);
                    // Who asks on would wait as long again for each of the others.
                    if error.kind() == Kind::BillingUnavailable {
                        return;
                    }
                }
            }
        }
        if is_daily {
            self.look_for_drift(metered).await;
        }
        self.last = Some(now);
        if self.is_on_duty("events") {
            self.ask_for_events(now).await;
        }
    }

    /// Holds what Stripe has counted of these tenants against what they have used.
    async fn look_for_drift(&self, metered: Vec<TenantId>) {
        let mut drift = 0;
        if !metered.is_empty() {
            let Ok(meter) = self.billing.stripe.meter_id(&self.billing.meter).await else {
                // It is looked at again tomorrow, and whenever an operator asks.
                return;
            };
            for id in metered {
                let found = self.limiter.drift_of((&self.billing, &meter), id, None);
                let found = found.await.unwrap_or_default();
                drift += found.iter().map(super::Drift::size).sum::<u64>();
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.drift.set(drift as f64);
    }

    /// Whether Stripe was asked or told something.
    async fn look_after(
        &self,
        id: TenantId,
        known: &Subscription,
        now: UnixSecs,
        is_daily: bool,
    ) -> Result<bool, Refusal> {
        if self.quiet.contains_key(&id) {
            return Ok(false);
        }
        let asked_at = UnixSecs::new(known.asked_at / 1_000);
        let period_end = known.bought.as_ref().and_then(|bought| bought.period_end);
        let has_begun_anew = period_end.is_some_and(|end| asked_at < end && end <= now);
        let is_asked = has_begun_anew || ASKED_EVERY <= now.since(asked_at);
        if is_asked {
            self.limiter
                .ask_biller(&self.service, &self.billing, id)
                .await?;
        }
        self.limiter
            .settle(&self.service, &self.billing, id)
            .await?;
        let yesterday = now.days().saturating_sub(1);
        let which = |day| is_daily || yesterday <= day;
        let was_told = self.limiter.tell_days(&self.billing, id, which, false);
        Ok(was_told.await? || is_asked)
    }

    /// Asks for events that Stripe could not deliver: the state behind them is asked for some time anyway, but not soon.
    async fn ask_for_events(&mut self, now: UnixSecs) {
        let is_due = |at: UnixSecs| EVENTS_EVERY <= now.since(at);
        if !self.asked_for_events.is_none_or(is_due) {
            return;
        }
        self.asked_for_events = Some(now);
        let since = UnixSecs::new(now.get().saturating_sub(EVENTS_SINCE));
        let told = self.billing.stripe.undelivered(&EVENTS, since).await;
        let events = match told {
            Ok(events) => events,
            Err(error) => return self.not_told(&error),
        };
        for event in events {
            if self.known_events.contains(&event.id) {
                continue;
            }
            let handled = self.limiter.handle(&self.service, &self.billing, &event);
            match handled.await {
                Ok(_) => {
                    if EVENTS_MAX <= self.known_events.len() {
                        self.known_events.clear();
                    }
                    self.known_events.insert(event.id);
                }
                Err(error) => tracing::warn!(event = event.id, %error, "an event waits"),
            }
        }
    }

    fn not_told(&self, error: &StripeError) {
        tracing::warn!(%error, "Stripe could not be asked for events that it has not delivered");
    }

    /// The tenants that this node looks after.
    fn on_duty(&self) -> Vec<(TenantId, Arc<Subscription>)> {
        let all = self.limiter.subscriptions();
        all.filter(|(id, _)| self.is_on_duty(&id.to_string()))
            .collect()
    }

    fn is_on_duty(&self, key: &str) -> bool {
        let owner = self.limiter.node().owner_of(&self.billing.duty, key);
        owner.is_some_and(|owner| *owner.owner == *self.service.node)
    }
}
