//! Limits that are given inline, and limits as people write them.

use std::sync::Arc;

use coordinator::{FailMode, Policy, Strategy};
use quota::{Algorithm, Anchor, Limit, LimitError, UnknownAlgorithm};

use crate::remembered::{Remembered, WhenFull};
use crate::{Refusal, Selected, span};

/// A limit that is given inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// How many units, how often, counted how.
    pub limit: Limit,
    /// Who counts.
    pub strategy: Strategy,
    /// What to answer when no decision can be had.
    pub on_failure: FailMode,
}

impl From<Limit> for Rule {
    /// Counted by the owner of the key, failing closed.
    fn from(limit: Limit) -> Self {
        Self {
            limit,
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
        }
    }
}

impl Rule {
    /// The policy whose counters belong to this rule: the same rule, however written, has the same name.
    fn policy(self, namespace: &Arc<str>) -> Policy {
        let limit = self.limit;
        let name = format!(
            "@rule/{}/{}/{}ms/{}/{}",
            limit.algorithm(),
            limit.units(),
            limit.period().ceil_millis(),
            limit.burst(),
            anchor_name(limit.anchor()),
        );
        Policy {
            namespace: Arc::clone(namespace),
            name: name.into(),
            limit,
            strategy: self.strategy,
            on_failure: self.on_failure,
        }
    }
}

/// The rules that this node was given.
pub(crate) struct Rules {
    namespace: Arc<str>,
    known: Remembered<Rule>,
}

impl Rules {
    /// None yet. They count in `namespace`.
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        Self {
            namespace,
            known: Remembered::new(WhenFull::IsNotKept),
        }
    }

    /// The limit that `rule` describes.
    pub(crate) fn select(&self, rule: Rule) -> Selected {
        let policy = |rule: &Rule| Selected::shown_as(rule.policy(&self.namespace), "rule");
        self.known.select(rule, policy)
    }
}

/// A limit as people write it, each part as it was given.
#[derive(Clone, Copy, Debug)]
pub struct RuleText<'a> {
    /// The name of an algorithm.
    pub algorithm: &'a str,
    /// Units for each period.
    pub limit: u32,
    /// A span such as `1m`.
    pub per: &'a str,
    /// The most units that pass at once; `None`: `limit`.
    pub burst: Option<u32>,
    /// Where windows begin; `None`: at the epoch.
    pub anchor: Option<&'a str>,
}

/// What each part of a [`RuleText`] accepts.
pub mod accepted {
    /// [`limit`](super::RuleText::limit).
    pub const LIMIT: &str = "a whole number from 1 to 2147483647; for sliding_log at most 10000";
    /// [`burst`](super::RuleText::burst).
    pub const BURST: &str = "a whole number from 1 to 2147483647";
    /// [`anchor`](super::RuleText::anchor).
    pub const ANCHOR: &str = "epoch or first_hit";
    /// [`per`](super::RuleText::per).
    pub const PER: &str = crate::span::ACCEPTED;
    /// [`algorithm`](super::RuleText::algorithm).
    pub const ALGORITHM: &str = quota::UnknownAlgorithm::ACCEPTED;
}

/// Where a request has the parts of a limit.
pub struct Places {
    /// Of the algorithm.
    pub algorithm: &'static str,
    /// Of the units.
    pub limit: &'static str,
    /// Of the period.
    pub per: &'static str,
    /// Of the burst.
    pub burst: &'static str,
    /// Of the anchor.
    pub anchor: &'static str,
}

impl RuleText<'_> {
    /// The limit that this describes.
    ///
    /// # Errors
    ///
    /// The first part that is not accepted, named as in `places`.
    pub fn limit(&self, places: &Places) -> Result<Limit, Refusal> {
        let algorithm: Algorithm = self.algorithm.parse().map_err(|_| {
            Refusal::field(places.algorithm, self.algorithm, UnknownAlgorithm::ACCEPTED)
        })?;
        let refused_per = || Refusal::field(places.per, self.per, span::ACCEPTED);
        let period = span::parse(self.per).ok_or_else(refused_per)?;
        let refused = |error: LimitError| match error {
            LimitError::Units { given, .. } => {
                Refusal::field(places.limit, given, error.accepted())
            }
            LimitError::Period { .. } => refused_per(),
            LimitError::Burst { given }
            | LimitError::BurstTooSlow { given, .. }
            | LimitError::BurstUnsupported { given, .. } => {
                Refusal::field(places.burst, given, error.accepted())
            }
            LimitError::AnchorUnsupported { .. } => {
                Refusal::field(places.anchor, error.given(), error.accepted())
            }
        };
        let mut limit = Limit::new(algorithm, self.limit, period).map_err(refused)?;
        if let Some(burst) = self.burst {
            limit = limit.with_burst(burst).map_err(refused)?;
        }
        if let Some(name) = self.anchor {
            let anchor = parse_anchor(name)
                .ok_or_else(|| Refusal::field(places.anchor, name, accepted::ANCHOR))?;
            limit = limit.with_anchor(anchor).map_err(refused)?;
        }
        Ok(limit)
    }
}

fn parse_anchor(name: &str) -> Option<Anchor> {
    [Anchor::Epoch, Anchor::FirstHit]
        .into_iter()
        .find(|anchor| anchor_name(*anchor) == name)
}

/// The name in files and on the wire.
#[must_use]
pub const fn anchor_name(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Epoch => "epoch",
        Anchor::FirstHit => "first_hit",
    }
}

#[cfg(test)]
mod tests {
    use quota::Nanos;

    use super::*;

    fn rule(units: u32) -> Rule {
        let limit = Limit::new(Algorithm::Gcra, units, Nanos::from_secs(60)).unwrap();
        limit.into()
    }

    #[test]
    fn a_rule_is_one_counter_however_often_it_is_given() {
        let rules = Rules::new("default".into());
        let first = rules.select(rule(5));
        assert_eq!(&*first.policy().name, "@rule/gcra/5/60000ms/5/epoch");
        assert_eq!(first.name(), "rule");
        let again = rules.select(rule(5));
        assert!(Arc::ptr_eq(&first.policy().name, &again.policy().name));
        assert_eq!(again.policy(), first.policy());
    }
}
