//! Who has limits of their own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Plan, PlanName, Plans, UnixSecs};

/// A value, and when it was set: of two that did not see each other the newer stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dated<T> {
    set_at: UnixSecs,
    value: T,
}

impl<T> Dated<T> {
    /// `value`, set then.
    pub const fn new(set_at: UnixSecs, value: T) -> Self {
        Self { set_at, value }
    }

    /// When it was set.
    pub const fn set_at(&self) -> UnixSecs {
        self.set_at
    }

    /// What it is.
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// The same value; or another, set now, and after this one whatever the clock says: to whoever knew only this one, or
    /// none, it is the newer.
    pub fn set(&mut self, now: UnixSecs, value: T)
    where
        T: PartialEq,
    {
        if self.value != value {
            *self = Self::new(now.max(self.set_at + 1), value);
        }
    }
}

impl<T: Clone + Ord> Dated<T> {
    /// Of two that were set in the same second the greater, so that it is the same one everywhere.
    pub(crate) fn newer(&self, other: &Self) -> Self {
        let by = |dated: &Self| (dated.set_at, dated.value.clone());
        match by(self) < by(other) {
            true => other.clone(),
            false => self.clone(),
        }
    }
}

/// What people call a tenant: 1 to 64 printable characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TenantName(Arc<str>);

/// What a tenant may be called, and an API key.
pub const NAME_ACCEPTED: &str = "1 to 64 printable characters";

/// Not a name of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{NAME_ACCEPTED}")]
pub struct NoTenantName;

impl TenantName {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantName {
    type Err = NoTenantName;

    fn from_str(text: &str) -> Result<Self, NoTenantName> {
        let is_short = (1..=64).contains(&text.chars().count());
        let is_visible = !text.trim().is_empty() && !text.chars().any(char::is_control);
        (is_short && is_visible)
            .then(|| Self(text.into()))
            .ok_or(NoTenantName)
    }
}

/// What a tenant may do at all. The later of these wins over the earlier where neither change saw the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Status {
    /// Everything that its plan allows.
    Active,
    /// Nothing, and whoever asks is told so.
    Suspended,
    /// Nothing: its API keys are as if they had never been.
    Closed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Suspended, Self::Closed];

    /// Its name, which is stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who has limits of their own: a namespace with a name, a plan and a status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// What people call it.
    pub name: Dated<TenantName>,
    /// The plan that an operator gave it. `None`: the one that it has bought.
    pub plan: Dated<Option<PlanName>>,
    /// The plan that it has bought. `None`: that of no subscription. One that an operator gave it goes before.
    pub bought: Dated<Option<PlanName>>,
    /// The requests of a day that an operator gave it. `None`: those of its plan.
    pub requests_per_day: Dated<Option<u32>>,
    /// What a smaller plan leaves of a day that began under a larger one.
    pub held: Dated<Option<HeldCap>>,
    /// What it may do at all.
    pub status: Status,
    /// When it was made. Never changes.
    pub made_at: UnixSecs,
}

/// A cap that holds until its day ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HeldCap {
    /// Days since the epoch.
    pub day: u64,
    /// The most requests of that day. `None`: there is no cap.
    pub requests_per_day: Option<u32>,
}

impl Tenant {
    /// A new one, with everything as its plan says.
    #[must_use]
    pub const fn new(now: UnixSecs, name: TenantName) -> Self {
        Self {
            name: Dated::new(now, name),
            plan: Dated::new(now, None),
            bought: Dated::new(now, None),
            requests_per_day: Dated::new(now, None),
            held: Dated::new(now, None),
            status: Status::Active,
            made_at: now,
        }
    }

    /// The plan that it has: the one that an operator gave it, else the one that it has bought, else the first.
    #[must_use]
    pub fn plan<'a>(&self, plans: &'a Plans) -> &'a Plan {
        let given = self.plan.get().as_ref();
        plans.of(given.or(self.bought.get().as_ref()))
    }

    /// The most requests of a day. `None`: there is no cap.
    #[must_use]
    pub fn cap(&self, plans: &Plans, day: u64) -> Option<u32> {
        let cap = self.plan(plans).cap(*self.requests_per_day.get());
        match self.held.get() {
            Some(held) if held.day == day => Some(cap?.max(held.requests_per_day?)),
            _ => cap,
        }
    }

    /// Gives it another plan. A larger one holds at once, and a smaller one from the next midnight (UTC) on.
    pub fn set_plan(&mut self, now: UnixSecs, plans: &Plans, plan: Option<PlanName>) {
        self.change_plan(now, plans, |tenant| tenant.plan.set(now, plan));
    }

    /// It has bought another plan. A larger one holds at once, and a smaller one from the next midnight (UTC) on.
    pub fn set_bought(&mut self, now: UnixSecs, plans: &Plans, plan: Option<PlanName>) {
        if *self.bought.get() != plan {
            self.change_plan(now, plans, |tenant| tenant.bought.set(now, plan));
        }
    }

    fn change_plan(&mut self, now: UnixSecs, plans: &Plans, change: impl FnOnce(&mut Self)) {
        let day = now.days();
        let requests_per_day = self.cap(plans, day);
        change(self);
        let own = self.plan(plans).cap(*self.requests_per_day.get());
        let is_less = own.is_some_and(|own| requests_per_day.is_none_or(|before| own < before));
        let held = HeldCap {
            day,
            requests_per_day,
        };
        self.held.set(now, is_less.then_some(held));
    }

    /// Gives it a cap of its own, or that of its plan. It holds at once.
    pub fn set_requests_per_day(&mut self, now: UnixSecs, requests_per_day: Option<u32>) {
        self.requests_per_day.set(now, requests_per_day);
        self.held.set(now, None);
    }

    /// What two versions say together: the stricter status, and of the rest the newer, one by one.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            name: self.name.newer(&other.name),
            plan: self.plan.newer(&other.plan),
            bought: self.bought.newer(&other.bought),
            requests_per_day: self.requests_per_day.newer(&other.requests_per_day),
            held: self.held.newer(&other.held),
            status: self.status.max(other.status),
            made_at: self.made_at.min(other.made_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dated<T: fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Dated<T>> {
        (0..3_u64, value).prop_map(|(at, value)| Dated::new(UnixSecs::new(at), value))
    }

    fn versions() -> impl Strategy<Value = Tenant> {
        let name = "[ab]".prop_map(|name| name.parse().unwrap());
        let plan = prop::option::of("[ab]".prop_map(|name| name.parse().unwrap()));
        let status = (0..3_usize).prop_map(|status| Status::ALL[status]);
        let held = (0..2_u64, prop::option::of(1..3_u32));
        let held = held.prop_map(|(day, requests_per_day)| HeldCap {
            day,
            requests_per_day,
        });
        (
            dated(name),
            dated(plan.clone()),
            dated(plan),
            dated(prop::option::of(1..3_u32)),
            dated(prop::option::of(held)),
            status,
        )
            .prop_map(
                |(name, plan, bought, requests_per_day, held, status)| Tenant {
                    name,
                    plan,
                    bought,
                    requests_per_day,
                    held,
                    status,
                    made_at: UnixSecs::new(1),
                },
            )
    }

    proptest! {
        #[test]
        fn versions_meet_in_any_order(a in versions(), b in versions(), c in versions()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.meet(&a), a.clone());
            prop_assert!(a.status <= a.meet(&b).status);
        }
    }

    #[test]
    fn each_field_is_that_of_its_newest_change() {
        let at = UnixSecs::new;
        let made = Tenant::new(at(1), "Acme".parse().unwrap());
        let (mut renamed, mut given) = (made.clone(), made);
        renamed.name.set(at(5), "Acme Ltd".parse().unwrap());
        given.plan.set(at(4), Some("pro".parse().unwrap()));
        given.status = Status::Suspended;
        let met = renamed.meet(&given);
        assert_eq!(met.name.get().as_str(), "Acme Ltd");
        assert_eq!(met.plan.get().as_ref().map(PlanName::as_str), Some("pro"));
        assert_eq!(met.status, Status::Suspended);
    }

    /// Plans of 10 000, 1 000 000 and as many as come.
    #[test]
    fn a_larger_plan_holds_at_once_and_a_smaller_one_from_midnight_on() {
        let plans = Plans::default();
        let (day, next) = (7, 8);
        let at = |second| UnixSecs::new(day * 24 * 60 * 60 + second);
        let mut tenant = Tenant::new(at(0), "Acme".parse().unwrap());
        let mut give = |second, plan: &str| {
            tenant.set_plan(at(second), &plans, Some(plan.parse().unwrap()));
            [day, next].map(|day| tenant.cap(&plans, day))
        };
        let (free, pro) = (Some(10_000), Some(1_000_000));
        assert_eq!(give(1, "pro"), [pro, pro]);
        assert_eq!(give(2, "free"), [pro, free]);
        assert_eq!(give(3, "enterprise"), [None, None]);
        assert_eq!(give(4, "pro"), [None, pro]);
        assert_eq!(give(5, "free"), [None, free], "the largest of the day");
        tenant.set_requests_per_day(at(6), Some(5));
        assert_eq!(
            [day, next].map(|day| tenant.cap(&plans, day)),
            [Some(5); 2],
            "an operator's holds at once"
        );
    }

    #[test]
    fn what_is_bought_holds_unless_an_operator_gave_another() {
        let plans = Plans::default();
        let mut tenant = Tenant::new(UnixSecs::new(0), "Acme".parse().unwrap());
        let named = |name: &str| Some(name.parse().unwrap());
        let has = |tenant: &Tenant| (tenant.plan(&plans).name.to_string(), tenant.cap(&plans, 0));
        tenant.set_bought(UnixSecs::new(1), &plans, named("pro"));
        assert_eq!(has(&tenant), ("pro".into(), Some(1_000_000)));
        tenant.set_plan(UnixSecs::new(2), &plans, named("enterprise"));
        assert_eq!(has(&tenant), ("enterprise".into(), None));
        tenant.set_plan(UnixSecs::new(3), &plans, None);
        assert_eq!(tenant.plan(&plans).name.as_str(), "pro");
        tenant.set_bought(UnixSecs::new(4), &plans, None);
        assert_eq!(has(&tenant), ("free".into(), None), "until midnight");
        assert_eq!(tenant.cap(&plans, 1), Some(10_000));
        let held = tenant.held.clone();
        tenant.set_bought(UnixSecs::new(5), &plans, None);
        assert_eq!(tenant.held, held, "nothing has changed");
    }

    #[test]
    fn what_is_set_to_the_same_was_not_set() {
        let mut dated = Dated::new(UnixSecs::new(1), 7);
        dated.set(UnixSecs::new(2), 7);
        assert_eq!(dated.set_at(), UnixSecs::new(1));
        dated.set(UnixSecs::new(2), 8);
        assert_eq!((dated.set_at(), *dated.get()), (UnixSecs::new(2), 8));
    }

    #[test]
    fn what_replaces_a_value_is_newer_whatever_the_clock_says() {
        let first = Dated::new(UnixSecs::new(9), 8);
        for now in [0, 8, 9, 10] {
            let mut second = first.clone();
            second.set(UnixSecs::new(now), 7);
            assert_eq!(first.newer(&second), second, "set at {now}");
        }
    }

    #[test]
    fn a_name_can_be_seen() {
        for (name, is_one) in [
            ("Acme", true),
            (&"é".repeat(64), true),
            ("<script>", true),
            ("", false),
            (" ", false),
            ("a\u{7}", false),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(name.parse::<TenantName>().is_ok(), is_one, "{name}");
        }
    }
}
