//! A limit that a front has found, ready to be asked.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use coordinator::{Hit, Policy};
use quota::Cost;

use crate::by_limit::OfLimit;
use crate::{Key, RateHeaders, Refusal};

/// A limit that a front has found, ready to be asked. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selected(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    policy: Policy,
    /// What clients see it called; `None`: as it is.
    shown: Option<Cow<'static, str>>,
    /// Written when a front first wants them: not every protocol has headers.
    headers: OnceLock<RateHeaders>,
    /// Found once there is something.
    of_limit: OnceLock<Arc<OfLimit>>,
}

/// Headers and counts follow from the rest.
impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        (&self.policy, &self.shown) == (&other.policy, &other.shown)
    }
}

impl Eq for Parts {}

impl Selected {
    /// A limit that clients see under its own name.
    #[must_use]
    pub fn named(policy: Policy) -> Self {
        Self::new(policy, None)
    }

    /// A limit that clients see as `shown`: its own name says how it counts.
    #[must_use]
    pub fn shown_as(policy: Policy, shown: impl Into<Cow<'static, str>>) -> Self {
        Self::new(policy, Some(shown.into()))
    }

    fn new(policy: Policy, shown: Option<Cow<'static, str>>) -> Self {
        Self(Arc::new(Parts {
            policy,
            shown,
            headers: OnceLock::new(),
            of_limit: OnceLock::new(),
        }))
    }

    /// The limit, and how it is counted.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// What clients see it called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.shown.as_deref().unwrap_or(&self.0.policy.name)
    }

    /// The headers that tell of it.
    #[must_use]
    pub fn headers(&self) -> &RateHeaders {
        let Parts {
            policy, headers, ..
        } = &*self.0;
        headers.get_or_init(|| RateHeaders::new(self.name(), &policy.limit))
    }

    /// What is counted of it, as soon as `find` finds that.
    #[inline]
    pub(crate) fn of_limit(&self, find: impl FnOnce() -> Option<Arc<OfLimit>>) -> Option<&OfLimit> {
        if let Some(known) = self.0.of_limit.get() {
            return Some(known);
        }
        let found = find()?;
        Some(self.0.of_limit.get_or_init(|| found))
    }

    /// One hit on it.
    #[must_use]
    pub fn hit<'a>(&'a self, key: &'a Key<'_>, cost: Cost) -> Hit<'a> {
        Hit {
            policy: &self.0.policy,
            key: key.as_str(),
            cost,
        }
    }

    /// Refuses a cost that can never pass, without asking anybody.
    ///
    /// # Errors
    ///
    /// [`Kind::NeverConforms`](crate::Kind::NeverConforms) when `cost` is above the burst.
    pub fn check_cost(&self, cost: Cost) -> Result<(), Refusal> {
        if self.0.policy.limit.burst() < cost.units() {
            return Err(Refusal::never_conforms(&self.0.policy, cost));
        }
        Ok(())
    }
}
