//! A rule, and what its answers have in common.

use coordinator::Policy;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::RateLimit;
use limiter::{RateHeaders, Selected};
use quota::Nanos;

use crate::rule::{Bound, Rule};
use crate::unit::Unit;

/// A rule with what is worked out once for all requests that are held to it.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) rule: Rule,
    /// What counts, unless everything or nothing passes.
    pub(crate) counted: Option<Counted>,
    /// Its place among all rules, by which it is counted. `None`: it came with a request.
    pub(crate) place: Option<usize>,
}

/// What counts the hits of a rule.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) selected: Selected,
    pub(crate) headers: RateHeaders,
}

impl InForce {
    pub(crate) fn new(rule: Rule) -> Self {
        let counted = match &rule.bound {
            Bound::Limit(policy) => Some(Counted::new(&rule.name, policy)),
            Bound::Nothing(_) | Bound::Everything => None,
        };
        Self {
            rule,
            counted,
            place: None,
        }
    }

    /// `current_limit` of a status. `None`: everything passes.
    pub(crate) fn current_limit(&self) -> Option<RateLimit> {
        let of = |requests_per_unit: u32, period: Nanos| RateLimit {
            name: self.rule.name.clone(),
            requests_per_unit,
            unit: Unit::number_of(period),
        };
        match &self.rule.bound {
            Bound::Limit(policy) => Some(of(policy.limit.units(), policy.limit.period())),
            Bound::Nothing(period) => Some(of(0, *period)),
            Bound::Everything => None,
        }
    }
}

impl Counted {
    fn new(name: &str, policy: &Policy) -> Self {
        Self {
            selected: Selected::named(policy.clone()),
            headers: RateHeaders::new(name, &policy.limit),
        }
    }
}
