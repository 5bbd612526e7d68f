//! Limits that are given inline, and limits as people write them.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use coordinator::{FailMode, Policy, Strategy};
use quota::{Algorithm, Anchor, Limit, LimitError, UnknownAlgorithm};

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

/// Rules that are remembered, so that a hit on one of them makes no name of its own.
///
/// A program uses a handful; 1 024 take some 300 KiB. Those that come later are made for each hit, which takes 0.3 µs
/// longer: forgetting old ones for them would let one client who makes up rules slow everybody down.
const RULES_MAX: usize = 1_024;

/// The rules that this node was given.
pub(crate) struct Rules {
    namespace: Arc<str>,
    known: ArcSwap<HashMap<Rule, Selected>>,
}

impl Rules {
    /// None yet. They count in `namespace`.
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        Self {
            namespace,
            known: ArcSwap::default(),
        }
    }

    /// The limit that `rule` describes.
    pub(crate) fn select(&self, rule: Rule) -> Selected {
        let known = self.known.load();
        if let Some(selected) = known.get(&rule) {
            return selected.clone();
        }
        let selected = Selected::shown_as(rule.policy(&self.namespace), "rule");
        if known.len() < RULES_MAX {
            self.known.rcu(|known| {
                let mut known = HashMap::clone(known);
                known.insert(rule, selected.clone());
                known
            });
        }
        selected
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

    #[test]
    fn rules_beyond_those_that_are_remembered_count_all_the_same() {
        let rules = Rules::new("default".into());
        for units in 1..=RULES_MAX as u32 + 2 {
            let _made = rules.select(rule(units));
        }
        assert_eq!(rules.known.load().len(), RULES_MAX);
        let late = rules.select(rule(RULES_MAX as u32 + 1));
        assert_eq!(&*late.policy().name, "@rule/gcra/1025/60000ms/1025/epoch");
    }
}
