//! What tenants have bought and what the biller was told of their days, as records tell it.

use std::sync::Arc;

use accounts::{Bought, MeterBase, MeterEvent, Subscription, SubscriptionStatus, UnixSecs};
use serde::{Deserialize, Serialize};

/// No id of the biller, and no lookup key, is longer.
const TEXT_BYTES_MAX: usize = 255;

#[derive(Serialize, Deserialize)]
pub(super) struct WireSubscription<'a> {
    asked_at: u64,
    customer: Option<&'a str>,
    #[serde(borrow)]
    bought: Option<WireBought<'a>>,
    has_conflict: bool,
    /// By subscription: the first day since the epoch that is billed, and what of it is not.
    #[serde(borrow)]
    bases: Vec<(&'a str, u64, u32)>,
}

#[derive(Serialize, Deserialize)]
struct WireBought<'a> {
    id: &'a str,
    /// As the biller spells it.
    status: &'a str,
    price: Option<&'a str>,
    is_metered: bool,
    started_at: u64,
    period_end: Option<u64>,
    ends_at: Option<u64>,
    past_due_since: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireMeterEvent {
    number: u32,
    requests: u32,
    at: u64,
    made_at: u64,
    is_accepted: bool,
    was_told_twice: bool,
}

impl<'a> WireSubscription<'a> {
    pub(super) fn of(subscription: &'a Subscription) -> Self {
        let bases = subscription.bases.iter();
        Self {
            asked_at: subscription.asked_at,
            customer: subscription.customer.as_deref(),
            bought: subscription.bought.as_ref().map(WireBought::of),
            has_conflict: subscription.has_conflict,
            bases: bases
                .map(|(id, base)| (&**id, base.day, base.requests))
                .collect(),
        }
    }

    pub(super) fn subscription(&self) -> Option<Subscription> {
        let bases = self.bases.iter().map(|(id, day, requests)| {
            let base = MeterBase {
                day: *day,
                requests: *requests,
            };
            Some((text(id)?, base))
        });
        Some(Subscription {
            asked_at: self.asked_at,
            customer: optional(self.customer)?,
            bought: match &self.bought {
                Some(bought) => Some(bought.bought()?),
                None => None,
            },
            has_conflict: self.has_conflict,
            bases: bases.collect::<Option<_>>()?,
        })
    }
}

impl<'a> WireBought<'a> {
    fn of(bought: &'a Bought) -> Self {
        Self {
            id: &bought.id,
            status: bought.status.name(),
            price: bought.price.as_deref(),
            is_metered: bought.is_metered,
            started_at: bought.started_at.get(),
            period_end: bought.period_end.map(UnixSecs::get),
            ends_at: bought.ends_at.map(UnixSecs::get),
            past_due_since: bought.past_due_since.map(UnixSecs::get),
        }
    }

    fn bought(&self) -> Option<Bought> {
        Some(Bought {
            id: text(self.id)?,
            status: SubscriptionStatus::called(self.status)?,
            price: optional(self.price)?,
            is_metered: self.is_metered,
            started_at: UnixSecs::new(self.started_at),
            period_end: self.period_end.map(UnixSecs::new),
            ends_at: self.ends_at.map(UnixSecs::new),
            past_due_since: self.past_due_since.map(UnixSecs::new),
        })
    }
}

impl From<MeterEvent> for WireMeterEvent {
    fn from(event: MeterEvent) -> Self {
        Self {
            number: event.number,
            requests: event.requests,
            at: event.at.get(),
            made_at: event.made_at.get(),
            is_accepted: event.is_accepted,
            was_told_twice: event.was_told_twice,
        }
    }
}

impl From<WireMeterEvent> for MeterEvent {
    fn from(wire: WireMeterEvent) -> Self {
        Self {
            number: wire.number,
            requests: wire.requests,
            at: UnixSecs::new(wire.at),
            made_at: UnixSecs::new(wire.made_at),
            is_accepted: wire.is_accepted,
            was_told_twice: wire.was_told_twice,
        }
    }
}

/// `None`: it is too long for what it should be.
fn text(text: &str) -> Option<Arc<str>> {
    (text.len() <= TEXT_BYTES_MAX).then(|| text.into())
}

/// What is there has to be a text.
fn optional(given: Option<&str>) -> Option<Option<Arc<str>>> {
    match given {
        Some(given) => text(given).map(Some),
        None => Some(None),
    }
}
