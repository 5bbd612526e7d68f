//! Limits given inline, and limits as bodies tell them.

use std::sync::Arc;

use coordinator::{FailMode, Policy, Strategy};
use quota::{Algorithm, Anchor, Limit, LimitError, UnknownAlgorithm};
use serde::Deserialize;

use crate::explain::{Field, Kind, Shape};
use crate::problem::Problem;
use crate::span;

/// A limit given inline.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) algorithm: String,
    pub(crate) limit: u32,
    pub(crate) per: String,
    #[serde(default)]
    pub(crate) burst: Option<u32>,
    #[serde(default)]
    pub(crate) anchor: Option<String>,
}

pub(crate) const LIMIT_ACCEPTED: &str =
    "a whole number from 1 to 2147483647; for sliding_log at most 10000";
pub(crate) const BURST_ACCEPTED: &str = "a whole number from 1 to 2147483647";

/// [`Rule`]'s fields.
pub(crate) const RULE: Shape = Shape {
    fields: &[
        Field {
            name: "algorithm",
            required: true,
            kind: Kind::Text,
            accepted: UnknownAlgorithm::ACCEPTED,
        },
        Field {
            name: "limit",
            required: true,
            kind: Kind::Count,
            accepted: LIMIT_ACCEPTED,
        },
        Field {
            name: "per",
            required: true,
            kind: Kind::Text,
            accepted: span::ACCEPTED,
        },
        Field {
            name: "burst",
            required: false,
            kind: Kind::Count,
            accepted: BURST_ACCEPTED,
        },
        Field {
            name: "anchor",
            required: false,
            kind: Kind::Text,
            accepted: ANCHOR_ACCEPTED,
        },
    ],
};

const ANCHOR_ACCEPTED: &str = "epoch or first_hit";

/// Where a body has the parts of a limit.
pub(crate) struct Places {
    pub(crate) algorithm: &'static str,
    pub(crate) limit: &'static str,
    pub(crate) per: &'static str,
    pub(crate) burst: &'static str,
    pub(crate) anchor: &'static str,
}

const IN_RULE: Places = Places {
    algorithm: "rule.algorithm",
    limit: "rule.limit",
    per: "rule.per",
    burst: "rule.burst",
    anchor: "rule.anchor",
};

impl Rule {
    /// The limit that this describes.
    pub(crate) fn limit(&self, places: &Places) -> Result<Limit, Problem> {
        let algorithm: Algorithm = self.algorithm.parse().map_err(|_| {
            Problem::field(
                places.algorithm,
                &*self.algorithm,
                UnknownAlgorithm::ACCEPTED,
            )
        })?;
        let refused_per = || Problem::field(places.per, &*self.per, span::ACCEPTED);
        let period = span::parse(&self.per).ok_or_else(refused_per)?;
        let refused = |error: LimitError| match error {
            LimitError::Units { given, .. } => {
                Problem::field(places.limit, given, error.accepted())
            }
            LimitError::Period { .. } => refused_per(),
            LimitError::Burst { given }
            | LimitError::BurstTooSlow { given, .. }
            | LimitError::BurstUnsupported { given, .. } => {
                Problem::field(places.burst, given, error.accepted())
            }
            LimitError::AnchorUnsupported { .. } => {
                Problem::field(places.anchor, error.given(), error.accepted())
            }
        };
        let mut limit = Limit::new(algorithm, self.limit, period).map_err(refused)?;
        if let Some(burst) = self.burst {
            limit = limit.with_burst(burst).map_err(refused)?;
        }
        if let Some(name) = &self.anchor {
            let anchor = parse_anchor(name)
                .ok_or_else(|| Problem::field(places.anchor, &**name, ANCHOR_ACCEPTED))?;
            limit = limit.with_anchor(anchor).map_err(refused)?;
        }
        Ok(limit)
    }

    /// The policy whose counters belong to this rule: the same rule, however written, has the same name.
    pub(crate) fn policy(&self, namespace: &Arc<str>) -> Result<Policy, Problem> {
        let limit = self.limit(&IN_RULE)?;
        let name = format!(
            "@rule/{}/{}/{}ms/{}/{}",
            limit.algorithm(),
            limit.units(),
            limit.period().ceil_millis(),
            limit.burst(),
            anchor_name(limit.anchor()),
        );
        Ok(Policy {
            namespace: Arc::clone(namespace),
            name: name.into(),
            limit,
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
        })
    }
}

fn parse_anchor(name: &str) -> Option<Anchor> {
    [Anchor::Epoch, Anchor::FirstHit]
        .into_iter()
        .find(|anchor| anchor_name(*anchor) == name)
}

/// The name in files and on the wire.
pub(crate) const fn anchor_name(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Epoch => "epoch",
        Anchor::FirstHit => "first_hit",
    }
}
