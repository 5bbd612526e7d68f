//! `POST /throttle`: as throttlecrab has it over HTTP.
//!
//! Where throttlecrab-server answers 500 to numbers that make no sense, this is 400; the body is a problem that has, beside
//! its own members, throttlecrab's `error`.

use axum::extract::{Request, State};
use axum::response::Response;
use limiter::{Key, Node, Refusal, Rule};
use quota::{Algorithm, Cost, Limit, LimitError, Nanos, Verdict};
use serde::Deserialize;
use serde_json::json;

use crate::app::Shared;
use crate::body::{BODY_MAX, read_json};
use crate::caller::By;
use crate::decided;
use crate::explain::{Field, Kind, Shape, explain};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Throttle {
    key: String,
    max_burst: u32,
    count_per_period: u32,
    /// Seconds.
    period: u32,
    #[serde(default)]
    quantity: Option<u32>,
}

const COUNT_ACCEPTED: &str = "a whole number from 1 to 2147483647";
const PERIOD_ACCEPTED: &str = "a whole number of seconds from 1 to 31622400";

const THROTTLE: Shape = Shape {
    fields: &[
        Field {
            name: "key",
            required: true,
            kind: Kind::Text,
            accepted: "1 to 1024 bytes of text",
        },
        Field {
            name: "max_burst",
            required: true,
            kind: Kind::Count,
            accepted: COUNT_ACCEPTED,
        },
        Field {
            name: "count_per_period",
            required: true,
            kind: Kind::Count,
            accepted: COUNT_ACCEPTED,
        },
        Field {
            name: "period",
            required: true,
            kind: Kind::Count,
            accepted: PERIOD_ACCEPTED,
        },
        Field {
            name: "quantity",
            required: false,
            kind: Kind::Count,
            accepted: "a whole number from 0 to 4294967295",
        },
    ],
};

/// `POST /throttle`
pub(crate) async fn throttle<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = async {
        let (parts, body) = request.into_parts();
        let body = read_json(&app.bodies, &parts.headers, body, BODY_MAX).await?;
        let throttle: Throttle =
            serde_json::from_slice(&body).map_err(|error| explain(&body, &THROTTLE, &error))?;
        let rule = Rule::from(throttle.limit()?);
        let key = Key::new(throttle.key, "key")?;
        let cost = throttle.quantity.map_or(Cost::ONE, Cost::new);
        let limiter = by.limiter(&app);
        let answer = limiter.hit(&limiter.inline(rule), &key, cost).await?;
        Ok::<_, Problem>((rule.limit, cost, answer))
    };
    let (limit, cost, answer) = asked.await.map_err(Problem::with_error)?;
    let decision = answer.decision;
    // Told as throttlecrab does: whole seconds, cut off.
    let seconds = |span: Nanos| i64::try_from(span.get() / 1_000_000_000).unwrap_or(i64::MAX);
    // A peek of throttlecrab passes always.
    let allowed = cost == Cost::PEEK || decision.is_allowed();
    let retry_after = match decision.verdict {
        Verdict::Deny { retry_after } if !allowed => seconds(retry_after),
        Verdict::NeverConforms => NEVER,
        Verdict::Allow | Verdict::Deny { .. } => 0,
    };
    let json = json!({
        "allowed": allowed,
        "limit": limit.burst(),
        "remaining": decision.remaining,
        "reset_after": seconds(decision.reset_after),
        "retry_after": retry_after,
    });
    Ok(decided::json(json.to_string()))
}

/// Told in place of seconds where no wait helps, as redis-cell has it: throttlecrab would name a time that is none.
const NEVER: i64 = -1;

impl Throttle {
    /// The limit that this describes: the inline rule `gcra` with this burst.
    fn limit(&self) -> Result<Limit, Refusal> {
        let refused = |error: LimitError| match error.field() {
            "limit" => Refusal::field("count_per_period", self.count_per_period, COUNT_ACCEPTED),
            "per" => Refusal::field("period", self.period, PERIOD_ACCEPTED),
            _ => Refusal::field("max_burst", self.max_burst, error.accepted()),
        };
        let period = Nanos::from_secs(self.period.into());
        Limit::new(Algorithm::Gcra, self.count_per_period, period)
            .and_then(|limit| limit.with_burst(self.max_burst))
            .map_err(refused)
    }
}
