//! Decisions and refusals as replies.

use std::borrow::Cow;

use coordinator::Answer;
use limiter::{Kind, Refusal};
use quota::{Cost, Limit, Nanos, Verdict};

use crate::reply::Reply;

/// In which words a decision is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// redis-cell 0.5: whether it is limited, limit, remaining, retry after and reset after in seconds.
    Cell,
    /// throttlecrab 0.4: whether it is allowed, limit, remaining, reset after and retry after in seconds.
    Crab,
    /// Our own: whether it is allowed, limit, remaining, retry after and reset after in milliseconds, whether the fail
    /// mode answered.
    Weir,
}

/// No wait is to be told: it is allowed.
const NO_WAIT: i64 = -1;
/// No wait helps: it costs more than the burst.
const NEVER: i64 = -2;

impl Form {
    /// Writes what became of a hit of `cost` on `limit`.
    pub(crate) fn write(self, limit: &Limit, cost: Cost, answer: &Answer, reply: &mut Reply<'_>) {
        let decision = &answer.decision;
        let remaining = i64::from(decision.remaining);
        let burst = i64::from(limit.burst());
        // Both of the others let a peek pass whatever is left: no units are asked for.
        let is_allowed = decision.is_allowed() || (self != Self::Weir && cost == Cost::PEEK);
        let wait = match decision.verdict {
            _ if is_allowed => None,
            Verdict::Allow | Verdict::NeverConforms => None,
            Verdict::Deny { retry_after } => Some(retry_after),
        };
        let numbers: &[i64] = match self {
            Self::Cell => &[
                i64::from(!is_allowed),
                burst,
                remaining,
                wait.map_or(NO_WAIT, |wait| whole(wait.ceil_secs())),
                whole(decision.reset_after.ceil_secs()),
            ],
            Self::Crab => &[
                i64::from(is_allowed),
                burst,
                remaining,
                floor_secs(decision.reset_after),
                match wait {
                    Some(wait) => floor_secs(wait),
                    None if is_allowed => 0,
                    None => NO_WAIT,
                },
            ],
            Self::Weir => &[
                i64::from(is_allowed),
                i64::from(limit.units()),
                remaining,
                match wait {
                    Some(wait) => whole(wait.ceil_millis()),
                    None if is_allowed => NO_WAIT,
                    None => NEVER,
                },
                whole(decision.reset_after.ceil_millis()),
                i64::from(answer.by_fail_mode),
            ],
        };
        reply.array(numbers.len());
        for &number in numbers {
            reply.integer(number);
        }
    }
}

fn floor_secs(span: Nanos) -> i64 {
    whole(span.get() / 1_000_000_000)
}

/// 64 bits of milliseconds are 292 million years.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes why there is no decision. What it says of the hit, that it was counted, not counted or not known to be, is part
/// of the text of each refusal that comes after a hit was asked; of the others, nothing was counted.
pub(crate) fn write_refusal(refusal: &Refusal, reply: &mut Reply<'_>) {
    let (code, text) = error_of(refusal);
    reply.error(code, &text);
}

/// The code of an error, and what it says.
pub(crate) fn error_of(refusal: &Refusal) -> (&'static str, Cow<'_, str>) {
    let detail = Cow::from(refusal.detail());
    match (refusal.kind(), refusal.at_field(), refusal.accepted()) {
        (Kind::UnknownLimit, _, _) => match refusal.given() {
            Some(given) => ("UNKNOWNLIMIT", format!("{detail}: '{given}'").into()),
            None => ("UNKNOWNLIMIT", detail),
        },
        (
            Kind::NoDecision
            | Kind::NoQuorum
            | Kind::StaleConfiguration
            | Kind::Overloaded
            | Kind::Draining,
            _,
            _,
        ) => ("NODECISION", detail),
        (Kind::Forbidden, _, _) => ("NOPERM", detail),
        (Kind::QuotaExceeded | Kind::TenantRate, _, _) => ("QUOTA", detail),
        (Kind::InvalidRequest, Some(field), Some(accepted)) => {
            ("ERR", format!("invalid {field}: must be {accepted}").into())
        }
        _ => ("ERR", detail),
    }
}
