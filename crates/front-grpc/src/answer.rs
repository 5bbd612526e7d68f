//! From what was decided to the response.

use std::time::{SystemTime, UNIX_EPOCH};

use coordinator::Answer;
use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::google::protobuf::Duration;
use http::HeaderMap;
use limiter::{Refusal, write_retry_after};
use quota::{Decision, Nanos, Verdict};

use crate::asked::{Ask, Deed};
use crate::meter::Meters;
use crate::rule::Bound;

/// What a descriptor is told, before it becomes a status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// No rule is for it.
    Nothing,
    /// Everything passes.
    Unlimited,
    /// What was decided.
    Decided(Decision),
}

impl Told {
    /// What passes although nobody could decide: as of a limit that fails open, nothing is known of its state.
    pub(crate) const UNDECIDED: Self = Self::Decided(Decision {
        verdict: Verdict::Allow,
        remaining: 0,
        grows_after: Nanos::ZERO,
        reset_after: Nanos::ZERO,
    });

    /// What can be told without asking anybody. `None`: the count has to be asked.
    pub(crate) fn at_once(ask: Option<&Ask<'_>>, now: SystemTime) -> Option<Self> {
        let Some(ask) = ask else {
            return Some(Self::Nothing);
        };
        match &ask.held_to.rule.bound {
            Bound::Named(_) | Bound::Limit(_) => None,
            Bound::Everything => Some(Self::Unlimited),
            Bound::Nothing(period) => Some(Self::Decided(Decision {
                verdict: match ask.deed {
                    Deed::Refund(_) => Verdict::Allow,
                    Deed::Hit(_) => Verdict::NeverConforms,
                },
                remaining: 0,
                grows_after: Nanos::ZERO,
                reset_after: rest_of_window(*period, now),
            })),
        }
    }

    /// What was answered to a hit.
    pub(crate) fn of_hit(answer: &Answer) -> Self {
        Self::Decided(answer.decision)
    }

    /// What a tenant is told whose day is used up: no wait but for the next one helps. `None`: that is not why.
    pub(crate) fn of_day(refusal: &Refusal) -> Option<Self> {
        let next_day = Nanos::from_secs(refusal.day()?.resets_in);
        Some(Self::Decided(Decision {
            verdict: Verdict::Deny {
                retry_after: next_day,
            },
            remaining: 0,
            grows_after: next_day,
            reset_after: next_day,
        }))
    }

    /// What was answered to a refund, which never fails, whatever is left after it.
    pub(crate) fn of_refund(answer: &Answer) -> Self {
        Self::Decided(Decision {
            verdict: Verdict::Allow,
            ..answer.decision
        })
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Decided(decision) if !decision.is_allowed())
    }
}

/// The time until a window of this length, anchored at the epoch, ends.
fn rest_of_window(period: Nanos, now: SystemTime) -> Nanos {
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let rest = u128::from(period.get()) - now % u128::from(period.get());
    Nanos::new(u64::try_from(rest).expect("no more than the period"))
}

/// The whole response. `told` is in the order of `asks`, and as many.
pub(crate) fn respond(
    asks: &[Option<Ask<'_>>],
    told: &[Told],
    meters: &Meters,
) -> RateLimitResponse {
    let mut response = RateLimitResponse {
        overall_code: Code::Ok.into(),
        statuses: Vec::with_capacity(asks.len()),
        ..RateLimitResponse::default()
    };
    let mut tightest: Option<(&Ask<'_>, &Decision)> = None;
    for (ask, told) in asks.iter().zip(told) {
        let is_shadow = ask.as_ref().is_some_and(|ask| ask.held_to.rule.is_shadow);
        let is_over = told.is_over();
        if let Some(ask) = ask {
            meters.count(&ask.held_to, is_over);
        }
        let code = match is_over && !is_shadow {
            true => Code::OverLimit,
            false => Code::Ok,
        };
        if code == Code::OverLimit {
            response.overall_code = code.into();
        }
        response.statuses.push(status(ask.as_ref(), *told, code));
        if let (Some(ask), Told::Decided(decision)) = (ask, told)
            && !is_shadow
            // One without headers that denies is told by none, rather than by those of one that allowed.
            && (is_over || ask.limit.is_some())
            && tightest.is_none_or(|(_, known)| tightness(decision) < tightness(known))
        {
            tightest = Some((ask, decision));
        }
    }
    if let Some((ask, decision)) = tightest {
        response.response_headers_to_add = headers(ask, decision);
    }
    response
}

/// The smaller, the sooner a client has to know: what denies for longest, then what has least left.
fn tightness(decision: &Decision) -> (bool, u64, u32) {
    let wait = match decision.verdict {
        Verdict::Allow => 0,
        Verdict::Deny { retry_after } => retry_after.get(),
        Verdict::NeverConforms => u64::MAX,
    };
    (decision.is_allowed(), u64::MAX - wait, decision.remaining)
}

fn status(ask: Option<&Ask<'_>>, told: Told, code: Code) -> DescriptorStatus {
    let current_limit = ask.and_then(Ask::current_limit);
    let (limit_remaining, duration_until_reset) = match told {
        Told::Nothing => (0, None),
        Told::Unlimited => (u32::MAX, None),
        Told::Decided(decision) => (decision.remaining, Some(duration(decision.reset_after))),
    };
    DescriptorStatus {
        code: code.into(),
        current_limit,
        limit_remaining,
        duration_until_reset,
        quota: None,
    }
}

/// Whole seconds, rounded up: Envoy makes `x-ratelimit-reset` of the seconds alone, and nobody shall come too early.
fn duration(span: Nanos) -> Duration {
    Duration {
        seconds: i64::try_from(span.ceil_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    }
}

/// The headers that tell a client where it stands, of the limit that is nearest to deny. None for 0 requests per unit.
fn headers(ask: &Ask<'_>, decision: &Decision) -> Vec<HeaderValue> {
    let Some(limit) = &ask.limit else {
        return Vec::new();
    };
    let mut headers = HeaderMap::with_capacity(8);
    limit.headers().write(decision, &mut headers);
    write_retry_after(decision, &mut headers);
    headers
        .iter()
        .map(|(name, value)| HeaderValue {
            key: name.as_str().to_owned(),
            value: value
                .to_str()
                .expect("they are written in ASCII")
                .to_owned(),
            raw_value: Vec::new(),
        })
        .collect()
}
