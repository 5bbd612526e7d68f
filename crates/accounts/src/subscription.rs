//! What a tenant has bought, as the biller says it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{PlanName, Plans, UnixSecs};

/// How a subscription stands, in the words of the biller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SubscriptionStatus {
    /// Paid.
    Active,
    /// Not to be paid yet.
    Trialing,
    /// The last payment has failed, and is tried again.
    PastDue,
    /// The first payment is still to come.
    Incomplete,
    /// The first payment never came.
    IncompleteExpired,
    /// Payments are not tried any more.
    Unpaid,
    /// It has ended.
    Canceled,
    /// It rests.
    Paused,
}

impl SubscriptionStatus {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Active,
        Self::Trialing,
        Self::PastDue,
        Self::Incomplete,
        Self::IncompleteExpired,
        Self::Unpaid,
        Self::Canceled,
        Self::Paused,
    ];

    /// Its name, as the biller spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Trialing => "trialing",
            Self::PastDue => "past_due",
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Unpaid => "unpaid",
            Self::Canceled => "canceled",
            Self::Paused => "paused",
        }
    }

    /// The status of that name. `None`: it is of a later version of the biller, or none.
    #[must_use]
    pub fn called(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether it can still become one that entitles to something, so that there is room for no other.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::IncompleteExpired | Self::Canceled)
    }
}

impl fmt::Display for SubscriptionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A subscription at the biller.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bought {
    /// Such as `sub_1Mow`.
    pub id: Arc<str>,
    /// How it stands.
    pub status: SubscriptionStatus,
    /// Lookup key of its price. `None`: the price has none.
    pub price: Option<Arc<str>>,
    /// Whether its requests are billed one by one.
    pub is_metered: bool,
    /// When it began.
    pub started_at: UnixSecs,
    /// When what is paid ends.
    pub period_end: Option<UnixSecs>,
    /// When it ends, or has ended. `None`: it goes on.
    pub ends_at: Option<UnixSecs>,
    /// Since when its last invoice waits for a payment that has failed, if it is [past due](SubscriptionStatus::PastDue).
    pub past_due_since: Option<UnixSecs>,
}

impl Bought {
    /// Until when it entitles to its plan although a payment has failed. `None`: none has.
    #[must_use]
    pub fn grace_until(&self, grace: u64) -> Option<UnixSecs> {
        self.past_due_since.map(|since| since + grace)
    }

    /// The plan that it entitles to at `now`, if a payment that has failed leaves it for `grace` seconds. `None`: that of no
    /// subscription.
    ///
    /// # Errors
    ///
    /// [`UnknownPrice`]: no plan has its price. Nobody knows then what was bought, and whatever held before goes on.
    pub fn plan(
        &self,
        plans: &Plans,
        now: UnixSecs,
        grace: u64,
    ) -> Result<Option<PlanName>, UnknownPrice> {
        let is_entitled = match self.status {
            SubscriptionStatus::Active | SubscriptionStatus::Trialing => true,
            SubscriptionStatus::PastDue => self.grace_until(grace).is_none_or(|until| now < until),
            _ => false,
        };
        if !is_entitled {
            return Ok(None);
        }
        let price = self.price.as_deref();
        let plan = price.and_then(|price| plans.of_price(price));
        plan.map(|plan| Some(plan.name.clone())).ok_or(UnknownPrice)
    }
}

/// No plan has this price.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no plan of the file has the price of this subscription")]
pub struct UnknownPrice;

/// What a subscription began with, if its requests are billed one by one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MeterBase {
    /// The first day that is billed, since the epoch.
    pub day: u64,
    /// Requests of that day that are not: they came before.
    pub requests: u32,
}

/// What is known of a tenant at the biller. Of two answers of the biller the one that was asked for later stays, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Milliseconds since the epoch at which the biller was asked for the rest.
    pub asked_at: u64,
    /// Such as `cus_NffrFeUfNV2Hib`. `None`: the biller does not know the tenant any more.
    pub customer: Option<Arc<str>>,
    /// What the tenant has bought. `None`: nothing yet.
    pub bought: Option<Bought>,
    /// Whether the tenant pays for more than one.
    pub has_conflict: bool,
    /// What subscriptions began with whose requests are billed one by one, by their ids.
    pub bases: BTreeMap<Arc<str>, MeterBase>,
}

impl Subscription {
    /// Two versions: the later answer, and of each base the smaller, which was looked up closer to the beginning.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let mut later = self.later(other).clone();
        for (id, base) in self.bases.iter().chain(&other.bases) {
            let known = later.bases.entry(Arc::clone(id)).or_insert(*base);
            *known = (*known).min(*base);
        }
        later
    }

    /// Of two that were asked for in the same millisecond the greater, so that it is the same one everywhere.
    fn later<'a>(&'a self, other: &'a Self) -> &'a Self {
        let by = |it: &'a Self| (it.asked_at, &it.customer, &it.bought, it.has_conflict);
        if by(self) < by(other) { other } else { self }
    }

    /// What the requests of that day are billed by, less what came before the subscription. `None`: they are not billed one by
    /// one.
    #[must_use]
    pub fn billed(&self, day: u64, requests: u32) -> Option<u32> {
        let bought = self.bought.as_ref()?;
        let base = self.bases.get(&bought.id)?;
        let ended = bought.ends_at.filter(|_| !bought.status.is_open());
        let is_over = ended.is_some_and(|at| at <= UnixSecs::of_day(day));
        match day {
            _ if is_over || day < base.day => None,
            _ if day == base.day => Some(requests.saturating_sub(base.requests)),
            _ => Some(requests),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bought(status: SubscriptionStatus) -> Bought {
        Bought {
            id: "sub_1".into(),
            status,
            price: Some("weir_pro_monthly".into()),
            is_metered: false,
            started_at: UnixSecs::new(1),
            period_end: None,
            ends_at: None,
            past_due_since: None,
        }
    }

    fn versions() -> impl Strategy<Value = Subscription> {
        let status = (0..8_usize).prop_map(|status| SubscriptionStatus::ALL[status]);
        let bases = prop::collection::btree_map("[ab]", (0..2_u64, 0..3_u32), 0..3);
        let bought = prop::option::of(status.prop_map(bought));
        (
            0..3_u64,
            prop::option::of("[ab]"),
            bought,
            any::<bool>(),
            bases,
        )
            .prop_map(|(asked_at, customer, bought, has_conflict, bases)| {
                let base = |(id, (day, requests)): (String, _)| {
                    (Arc::from(id), MeterBase { day, requests })
                };
                Subscription {
                    asked_at,
                    customer: customer.map(Into::into),
                    bought,
                    has_conflict,
                    bases: bases.into_iter().map(base).collect(),
                }
            })
    }

    proptest! {
        #[test]
        fn versions_meet_in_any_order(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.meet(&a), a.clone());
            prop_assert_eq!(a.meet(&b).asked_at, a.asked_at.max(b.asked_at));
        }
    }

    #[test]
    fn what_is_paid_is_had_and_what_is_late_for_a_while() {
        use SubscriptionStatus::*;
        let plans = Plans::default();
        let (now, grace) = (UnixSecs::new(1_000), 100);
        let plan = |bought: &Bought| {
            let plan = bought.plan(&plans, now, grace).unwrap();
            plan.map_or_else(String::new, |plan| plan.to_string())
        };
        for (status, had) in [
            (Active, "pro"),
            (Trialing, "pro"),
            (Incomplete, ""),
            (IncompleteExpired, ""),
            (Unpaid, ""),
            (Canceled, ""),
            (Paused, ""),
        ] {
            assert_eq!(plan(&bought(status)), had, "{status}");
        }
        let mut late = bought(PastDue);
        for (since, had) in [(900, ""), (901, "pro"), (1_000, "pro")] {
            late.past_due_since = Some(UnixSecs::new(since));
            assert_eq!(plan(&late), had, "{since}");
        }
    }

    #[test]
    fn what_was_bought_is_told_by_its_price_alone() {
        let plans = Plans::default();
        let mut unknown = bought(SubscriptionStatus::Active);
        for price in [Some("weir_old".into()), None] {
            unknown.price = price;
            let plan = unknown.plan(&plans, UnixSecs::new(1), 0);
            assert_eq!(plan, Err(UnknownPrice));
        }
        unknown.status = SubscriptionStatus::Canceled;
        assert_eq!(unknown.plan(&plans, UnixSecs::new(1), 0), Ok(None));
    }

    #[test]
    fn a_day_is_billed_from_the_beginning_of_the_subscription_to_its_end() {
        let day = UnixSecs::of_day;
        let base = MeterBase {
            day: 10,
            requests: 5,
        };
        let mut subscription = Subscription {
            asked_at: 0,
            customer: Some("cus_1".into()),
            bought: Some(bought(SubscriptionStatus::Active)),
            has_conflict: false,
            bases: [("sub_1".into(), base)].into(),
        };
        let billed =
            |subscription: &Subscription| [9, 10, 11, 12].map(|day| subscription.billed(day, 7));
        assert_eq!(billed(&subscription), [None, Some(2), Some(7), Some(7)]);
        let ends = |at, status| Bought {
            ends_at: Some(at),
            ..bought(status)
        };
        subscription.bought = Some(ends(day(12), SubscriptionStatus::Active));
        assert_eq!(billed(&subscription)[3], Some(7), "it may still go on");
        subscription.bought = Some(ends(day(12), SubscriptionStatus::Canceled));
        assert_eq!(billed(&subscription), [None, Some(2), Some(7), None]);
        subscription.bought = Some(ends(day(12) + 1, SubscriptionStatus::Canceled));
        assert_eq!(billed(&subscription)[3], Some(7), "it ended on that day");
        subscription.bases.clear();
        assert_eq!(billed(&subscription), [None; 4]);
    }

    #[test]
    fn a_status_is_read_as_it_is_told() {
        for status in SubscriptionStatus::ALL {
            assert_eq!(SubscriptionStatus::called(status.name()), Some(status));
        }
        assert_eq!(SubscriptionStatus::called("Active"), None);
    }
}
