//! Limits that are given inline, and limits as people write them.

use std::sync::Arc;

use coordinator::{FailMode, Policy, Strategy};
use quota::{Algorithm, Limit, LimitError, UnknownAlgorithm, Zone};

use crate::anchor::{AnchorWord, PERIODLESS, ZONELESS, zone_accepted};
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
        let (anchor, zone) = AnchorWord::of(limit.anchor());
        let mut name = format!(
            "@rule/{}/{}/{}ms/{}/{}",
            limit.algorithm(),
            limit.units(),
            limit.period().ceil_millis(),
            limit.burst(),
            anchor.name(),
        );
        if let Some(zone) = zone {
            name.push_str(&format!("/{zone}"));
        }
        Policy {
            namespace: Arc::clone(namespace),
            name: name.into(),
            limit,
            strategy: self.strategy,
            on_failure: self.on_failure,
            top_keys: false,
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
    /// A span such as `1m`; `None` where a calendar says how long windows are.
    pub per: Option<&'a str>,
    /// The most units that pass at once; `None`: `limit`.
    pub burst: Option<u32>,
    /// Where windows begin; `None`: at the epoch.
    pub anchor: Option<&'a str>,
    /// Whose calendar windows follow, if they follow one; `None`: that of UTC.
    pub zone: Option<&'a str>,
}

/// What each part of a [`RuleText`] accepts.
pub mod accepted {
    /// [`limit`](super::RuleText::limit).
    pub const LIMIT: &str = "a whole number from 1 to 2147483647; for sliding_log at most 10000";
    /// [`burst`](super::RuleText::burst).
    pub const BURST: &str = "a whole number from 1 to 2147483647";
    /// [`anchor`](super::RuleText::anchor).
    pub const ANCHOR: &str = "epoch, first_hit, day, week, month or year";
    /// [`zone`](field@super::RuleText::zone).
    pub const ZONE: &str = "a name of the IANA time zone database, such as \"Europe/Vienna\"";
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
    /// Of the zone.
    pub zone: &'static str,
}

impl Places {
    /// Each part is called what [`RuleText`] calls it.
    pub const PLAIN: Self = Self {
        algorithm: "algorithm",
        limit: "limit",
        per: "per",
        burst: "burst",
        anchor: "anchor",
        zone: "zone",
    };
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
        let word = self.anchor_word(places)?;
        let zone = self.zone(places, word)?;
        let refused_per =
            || Refusal::field(places.per, self.per.unwrap_or_default(), span::ACCEPTED);
        let period = match (self.per, word) {
            (Some(per), AnchorWord::Unit(_)) => {
                return Err(Refusal::field(places.per, per, PERIODLESS));
            }
            (None, AnchorWord::Unit(unit)) => unit.longest(),
            (Some(per), _) => span::parse(per).ok_or_else(refused_per)?,
            (None, _) => return Err(Refusal::missing(places.per, span::ACCEPTED)),
        };
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
        if self.anchor.is_some() {
            limit = limit.with_anchor(word.anchor(zone)).map_err(refused)?;
        }
        Ok(limit)
    }

    fn anchor_word(&self, places: &Places) -> Result<AnchorWord, Refusal> {
        let Some(name) = self.anchor else {
            return Ok(AnchorWord::Epoch);
        };
        AnchorWord::named(name).ok_or_else(|| Refusal::field(places.anchor, name, accepted::ANCHOR))
    }

    fn zone(&self, places: &Places, word: AnchorWord) -> Result<Zone, Refusal> {
        let Some(name) = self.zone else {
            return Ok(Zone::utc());
        };
        if !matches!(word, AnchorWord::Unit(_)) {
            return Err(Refusal::field(places.zone, name, ZONELESS));
        }
        name.parse()
            .map_err(|_| Refusal::field(places.zone, name, zone_accepted(name)))
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

    fn text<'a>(per: Option<&'a str>, anchor: &'a str, zone: Option<&'a str>) -> RuleText<'a> {
        RuleText {
            algorithm: "fixed_window",
            limit: 5,
            per,
            burst: None,
            anchor: Some(anchor),
            zone,
        }
    }

    #[test]
    fn a_calendar_takes_the_place_of_the_period() {
        let limit = text(None, "month", Some("Europe/Vienna")).limit(&Places::PLAIN);
        let calendar = quota::Calendar {
            unit: quota::CalendarUnit::Month,
            zone: "Europe/Vienna".parse().unwrap(),
        };
        assert_eq!(limit.unwrap(), Limit::of_calendar(5, calendar).unwrap());
        let utc = text(None, "day", None).limit(&Places::PLAIN).unwrap();
        let zone = utc.anchor().calendar().unwrap().zone;
        assert_eq!(zone.name(), "UTC");
        let rules = Rules::new("default".into());
        let selected = rules.select(utc.into());
        let name = "@rule/fixed_window/5/86400000ms/5/day/UTC";
        assert_eq!(&*selected.policy().name, name);
    }

    #[test]
    fn what_goes_with_no_calendar_is_refused_by_name() {
        for (text, field) in [
            (text(Some("1d"), "day", None), "per"),
            (text(None, "day", Some("Europe/Wien")), "zone"),
            (text(Some("1d"), "epoch", Some("UTC")), "zone"),
            (text(None, "epoch", None), "per"),
            (text(None, "noon", None), "anchor"),
            (
                RuleText {
                    algorithm: "gcra",
                    ..text(None, "day", None)
                },
                "anchor",
            ),
        ] {
            let refused = text.limit(&Places::PLAIN).unwrap_err();
            assert_eq!(refused.at_field(), Some(field), "{text:?}: {refused:?}");
            assert!(refused.accepted().is_some(), "{refused:?}");
        }
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
