//! What tenants may use.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a plan: 1 to 32 letters, digits, dashes and underscores.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlanName(Arc<str>);

/// Not a name of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("1 to 32 letters, digits, dashes and underscores")]
pub struct NoPlanName;

impl PlanName {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlanName {
    type Err = NoPlanName;

    fn from_str(text: &str) -> Result<Self, NoPlanName> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_name = (1..=32).contains(&text.len()) && text.bytes().all(is_plain);
        is_name.then(|| Self(text.into())).ok_or(NoPlanName)
    }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tenant may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What it is called.
    pub name: PlanName,
    /// Requests of a day (UTC), 1 to 2^31 - 1. `None`: set for each tenant by an operator, else no cap.
    pub requests_per_day: Option<u32>,
    /// Requests a second on each node, whatever is answered.
    pub per_second: u32,
    /// Limits made at run time.
    pub limits: u32,
    /// Keys with a limit of their own.
    pub key_limits: u32,
    /// API keys that may be used.
    pub api_keys: u32,
    /// People.
    pub team: u32,
    /// Lookup key of its price at the biller. `None`: it cannot be bought.
    pub price: Option<Arc<str>>,
    /// Lookup key of the price of a request. `None`: requests are not billed one by one.
    pub metered_price: Option<Arc<str>>,
}

/// Most requests of a day that a plan or an operator may give.
pub const REQUESTS_PER_DAY_MAX: u32 = i32::MAX as u32;

impl Plan {
    /// The most requests of a day of a tenant to which an operator gave `given`. `None`: there is no cap.
    #[must_use]
    pub fn cap(&self, given: Option<u32>) -> Option<u32> {
        given.or(self.requests_per_day)
    }
}

/// The plans of a cluster, of which the first is what no subscription means. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plans(Arc<[Plan]>);

/// These cannot be the plans of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlansError {
    /// There is none.
    #[error("there is no plan")]
    None,
    /// Two have this name.
    #[error("two plans are called {0}")]
    Twice(PlanName),
    /// The first, which nobody pays for, has a price.
    #[error("the first plan, {0}, is that of no subscription and has no price")]
    FirstHasPrice(PlanName),
}

impl Plans {
    /// These, in their order.
    ///
    /// # Errors
    ///
    /// [`PlansError`].
    pub fn new(plans: Vec<Plan>) -> Result<Self, PlansError> {
        let first = plans.first().ok_or(PlansError::None)?;
        if first.price.is_some() || first.metered_price.is_some() {
            return Err(PlansError::FirstHasPrice(first.name.clone()));
        }
        let mut names = BTreeSet::new();
        for plan in &plans {
            if !names.insert(&plan.name) {
                return Err(PlansError::Twice(plan.name.clone()));
            }
        }
        Ok(Self(plans.into()))
    }

    /// That of no subscription.
    #[must_use]
    pub fn first(&self) -> &Plan {
        &self.0[0]
    }

    /// The plan of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Plan> {
        self.iter().find(|plan| plan.name.as_str() == name)
    }

    /// The plan with this lookup key of a price.
    #[must_use]
    pub fn of_price(&self, price: &str) -> Option<&Plan> {
        self.iter()
            .find(|plan| plan.price.as_deref() == Some(price))
    }

    /// The plan that a tenant was given. One that the file does not name any more, and none, is the first.
    #[must_use]
    pub fn of(&self, name: Option<&PlanName>) -> &Plan {
        let named = name.and_then(|name| self.named(name.as_str()));
        named.unwrap_or_else(|| self.first())
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = &Plan> {
        self.0.iter()
    }
}

/// Those of a file that names none: free, pro and enterprise.
impl Default for Plans {
    fn default() -> Self {
        let plan =
            |name: &str,
             requests_per_day,
             [per_second, limits, key_limits, api_keys, team]: [u32; 5]| Plan {
                name: PlanName(name.into()),
                requests_per_day,
                per_second,
                limits,
                key_limits,
                api_keys,
                team,
                price: None,
                metered_price: None,
            };
        let free = plan("free", Some(10_000), [100, 20, 1_000, 5, 3]);
        let mut pro = plan("pro", Some(1_000_000), [2_000, 500, 100_000, 50, 25]);
        pro.price = Some("weir_pro_monthly".into());
        let mut enterprise = plan("enterprise", None, [20_000, 5_000, 500_000, 500, 500]);
        enterprise.price = Some("weir_enterprise_monthly".into());
        enterprise.metered_price = Some("weir_enterprise_requests".into());
        Self(Arc::new([free, pro, enterprise]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_without_a_plan_has_the_first() {
        let plans = Plans::default();
        assert_eq!(plans.of(None).name.as_str(), "free");
        let named = |name: &str| plans.of(Some(&name.parse().unwrap())).name.to_string();
        assert_eq!(named("pro"), "pro");
        assert_eq!(named("gone"), "free");
    }

    #[test]
    fn an_operator_may_give_another_cap() {
        let plans = Plans::default();
        assert_eq!(plans.first().cap(None), Some(10_000));
        assert_eq!(plans.first().cap(Some(5)), Some(5));
        assert_eq!(plans.named("enterprise").unwrap().cap(None), None);
    }

    #[test]
    fn plans_have_names_of_their_own_and_the_first_is_free() {
        let all: Vec<Plan> = Plans::default().iter().cloned().collect();
        assert_eq!(Plans::new(all.clone()), Ok(Plans::default()));
        assert_eq!(Plans::new(Vec::new()), Err(PlansError::None));
        let mut twice = all.clone();
        twice.push(all[1].clone());
        assert_eq!(
            Plans::new(twice),
            Err(PlansError::Twice(all[1].name.clone()))
        );
        let paid = vec![all[1].clone()];
        assert_eq!(
            Plans::new(paid),
            Err(PlansError::FirstHasPrice(all[1].name.clone()))
        );
    }

    #[test]
    fn a_name_is_plain() {
        for (name, is_one) in [
            ("free", true),
            ("pro-2_x", true),
            ("", false),
            ("a b", false),
            (&"a".repeat(33), false),
        ] {
            assert_eq!(name.parse::<PlanName>().is_ok(), is_one, "{name}");
        }
    }
}
