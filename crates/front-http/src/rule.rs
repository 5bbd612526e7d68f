//! Limits as bodies tell them.

use limiter::{Places, Refusal, RuleText, accepted};
use quota::Limit;
use serde::Deserialize;

use crate::explain::{Field, Kind, Shape};

/// A limit given inline.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleBody {
    pub(crate) algorithm: String,
    pub(crate) limit: u32,
    #[serde(default)]
    pub(crate) per: Option<String>,
    #[serde(default)]
    pub(crate) burst: Option<u32>,
    #[serde(default)]
    pub(crate) anchor: Option<String>,
    #[serde(default)]
    pub(crate) zone: Option<String>,
}

/// [`RuleBody`]'s fields.
pub(crate) const RULE: Shape = Shape {
    fields: &[
        Field {
            name: "algorithm",
            required: true,
            kind: Kind::Text,
            accepted: accepted::ALGORITHM,
        },
        Field {
            name: "limit",
            required: true,
            kind: Kind::Count,
            accepted: accepted::LIMIT,
        },
        Field {
            name: "per",
            required: false,
            kind: Kind::Text,
            accepted: accepted::PER,
        },
        Field {
            name: "burst",
            required: false,
            kind: Kind::Count,
            accepted: accepted::BURST,
        },
        Field {
            name: "anchor",
            required: false,
            kind: Kind::Text,
            accepted: accepted::ANCHOR,
        },
        Field {
            name: "zone",
            required: false,
            kind: Kind::Text,
            accepted: accepted::ZONE,
        },
    ],
};

const IN_RULE: Places = Places {
    algorithm: "rule.algorithm",
    limit: "rule.limit",
    per: "rule.per",
    burst: "rule.burst",
    anchor: "rule.anchor",
    zone: "rule.zone",
};

impl RuleBody {
    /// The limit that this describes.
    pub(crate) fn limit(&self) -> Result<Limit, Refusal> {
        let text = RuleText {
            algorithm: &self.algorithm,
            limit: self.limit,
            per: self.per.as_deref(),
            burst: self.burst,
            anchor: self.anchor.as_deref(),
            zone: self.zone.as_deref(),
        };
        text.limit(&IN_RULE)
    }
}
