//! Why a front gives no decision: one table for all protocols.

mod given;
mod kind;

use std::borrow::Cow;

use accounts::Plan;
use coordinator::{NoDecision, Policy};
use quota::{Cost, Nanos};

use crate::DayStanding;

pub use given::Given;
pub use kind::Kind;

/// Why a front gives no decision, and what it may say about that. Boxed, because results that carry it are passed around
/// on the path of a hit.
///
/// Everything in it may be told to the client. What the log keeps beside is written where the refusal is made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.detail)]
pub struct Refusal(Box<Parts>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Parts {
    kind: Kind,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    given: Option<Given>,
    accepted: Option<Cow<'static, str>>,
    retry_after: Option<Nanos>,
    counted: Counted,
    closes: bool,
    has_invalid_token: bool,
    day: Option<DayStanding>,
    more: Vec<(&'static str, Given)>,
}

/// What became of a hit that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// It was not counted.
    No,
    /// It may or may not have been counted. Do not retry it blindly.
    Unknown,
}

impl Refusal {
    /// A refusal of `kind`. `detail` is a sentence without a full stop.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            field: None,
            given: None,
            accepted: None,
            retry_after: None,
            counted: Counted::No,
            closes: false,
            has_invalid_token: false,
            day: None,
            more: Vec::new(),
        }))
    }

    /// A request that makes no sense.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::InvalidRequest, detail)
    }

    /// A field or parameter with a value that is not accepted.
    pub fn field(
        field: impl Into<Cow<'static, str>>,
        given: impl Into<Given>,
        accepted: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (field, accepted) = (field.into(), accepted.into());
        Self::invalid(format!("{field} must be {accepted}"))
            .at(field)
            .with_given(given)
            .with_accepted(accepted)
    }

    /// A field or parameter that is not there.
    pub fn missing(
        field: impl Into<Cow<'static, str>>,
        accepted: impl Into<Cow<'static, str>>,
    ) -> Self {
        let field = field.into();
        Self::invalid(format!("{field} is missing"))
            .at(field)
            .with_accepted(accepted)
    }

    /// A limit that nobody defined.
    #[must_use]
    pub fn unknown_limit(name: &str) -> Self {
        Self::new(Kind::UnknownLimit, "no limit has this name")
            .at("limit")
            .with_given(name)
            .with_accepted("a name that GET /v1/limits lists")
    }

    /// A question that a node cannot answer before it has joined.
    #[must_use]
    pub fn joining() -> Self {
        Self::new(
            Kind::NoDecision,
            "this node is still joining its cluster; nothing was counted or changed",
        )
        .with_retry_after(Nanos::from_secs(1))
    }

    /// More of something than a plan has room for.
    pub(crate) fn plan_limit(what: &str, limit: u32, plan: &Plan) -> Self {
        let detail = format!("the plan {} has room for {limit} {what}", plan.name);
        Self::new(Kind::PlanLimit, detail)
            .with("limit", limit)
            .with("plan", plan.name.to_string())
    }

    /// A cost that is above the burst of `policy`.
    #[must_use]
    pub fn never_conforms(policy: &Policy, cost: Cost) -> Self {
        let burst = policy.limit.burst();
        Self::new(
            Kind::NeverConforms,
            format!(
                "a cost of {} is above {burst}, the most that passes at once; it was not counted",
                cost.units()
            ),
        )
        .at("cost")
        .with_given(cost.units())
        .with_accepted(format!("0 to {burst}"))
    }

    /// The same, told by another sentence without a full stop.
    #[must_use]
    pub fn told(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The field or parameter that it is about.
    #[must_use]
    pub fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// What was given there.
    #[must_use]
    pub fn with_given(mut self, given: impl Into<Given>) -> Self {
        self.0.given = Some(given.into());
        self
    }

    /// What is accepted there.
    #[must_use]
    pub fn with_accepted(mut self, accepted: impl Into<Cow<'static, str>>) -> Self {
        self.0.accepted = Some(accepted.into());
        self
    }

    /// When another attempt is worth making.
    #[must_use]
    pub fn with_retry_after(mut self, span: Nanos) -> Self {
        self.0.retry_after = Some(span);
        self
    }

    /// The credential that was brought is none, or none any more.
    #[must_use]
    pub(crate) fn with_invalid_token(mut self) -> Self {
        self.0.has_invalid_token = true;
        self
    }

    /// It is the plan's day that leaves no room.
    #[must_use]
    pub(crate) fn with_day(mut self, day: DayStanding) -> Self {
        self.0.day = Some(day);
        self
    }

    /// Something more about it, under a name of its own.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Given>) -> Self {
        self.0.more.push((name, value.into()));
        self
    }

    /// Nothing can be read after it: the connection ends.
    #[must_use]
    pub fn last(mut self) -> Self {
        self.0.closes = true;
        self
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What is said about this one: a sentence without a full stop.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The field or parameter that it is about.
    #[must_use]
    pub fn at_field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// What was given there.
    #[must_use]
    pub fn given(&self) -> Option<&Given> {
        self.0.given.as_ref()
    }

    /// What is accepted there.
    #[must_use]
    pub fn accepted(&self) -> Option<&str> {
        self.0.accepted.as_deref()
    }

    /// Whole seconds to wait, where waiting helps; never 0, which would invite to hammer a node that just said that it
    /// cannot answer.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.0.retry_after.map(|span| span.ceil_secs().max(1))
    }

    /// What became of the hit.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.0.counted
    }

    /// Whether a credential was brought that is none, or none any more.
    #[must_use]
    pub fn has_invalid_token(&self) -> bool {
        self.0.has_invalid_token
    }

    /// Where the plan's day stands that leaves no room.
    #[must_use]
    pub fn day(&self) -> Option<DayStanding> {
        self.0.day
    }

    /// What more there is to say, by its name.
    pub fn more(&self) -> impl Iterator<Item = (&'static str, &Given)> {
        self.0.more.iter().map(|(name, value)| (*name, value))
    }

    /// Whether the connection ends with it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.0.closes
    }
}

impl From<NoDecision> for Refusal {
    fn from(error: NoDecision) -> Self {
        let kind = match error {
            NoDecision::Unavailable { .. } | NoDecision::Unknown { .. } => Kind::NoDecision,
            NoDecision::Overloaded { .. } => Kind::Overloaded,
            NoDecision::Draining { .. } => Kind::Draining,
        };
        let mut refusal = Self::new(kind, error.to_string()).with_retry_after(error.retry_after());
        if !error.is_uncounted() {
            refusal.0.counted = Counted::Unknown;
        }
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Nanos = Nanos::from_millis(200);

    #[test]
    fn every_error_says_what_became_of_the_hit() {
        for (error, kind, counted) in [
            (
                NoDecision::Unavailable { retry_after: SOON },
                Kind::NoDecision,
                Counted::No,
            ),
            (
                NoDecision::Unknown { retry_after: SOON },
                Kind::NoDecision,
                Counted::Unknown,
            ),
            (
                NoDecision::Overloaded { retry_after: SOON },
                Kind::Overloaded,
                Counted::No,
            ),
            (
                NoDecision::Draining { retry_after: SOON },
                Kind::Draining,
                Counted::No,
            ),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.kind(), refusal.counted()), (kind, counted));
            assert_eq!(refusal.retry_after_secs(), Some(1), "rounded up");
            assert!(refusal.detail().contains("counted"), "{}", refusal.detail());
            assert!(!refusal.closes());
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let refusal = Refusal::field("burst", 0_u32, "a whole number");
        assert_eq!(refusal.kind(), Kind::InvalidRequest);
        assert_eq!(refusal.detail(), "burst must be a whole number");
        assert_eq!(refusal.at_field(), Some("burst"));
        assert_eq!(refusal.given(), Some(&Given::Literal("0".into())));
        assert_eq!(refusal.accepted(), Some("a whole number"));
        assert_eq!(refusal.to_string(), refusal.detail());
    }
}
