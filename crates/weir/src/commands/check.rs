//! `weir check`: one decision.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Outcome, plain};
use crate::api::{Api, ApiError};
use crate::cli::CheckArgs;

/// Exit code of a denied hit; 0 is allowed, 2 is an error.
const DENIED: u8 = 1;

/// Asks for one decision. Peeks, with cost 0, exit by whether a hit would pass.
///
/// # Errors
///
/// When there is no decision: the node cannot be asked, or refuses to say.
pub(crate) fn check(args: &CheckArgs) -> Result<Outcome, ApiError> {
    let api = Api::new(&args.api)?.within(args.within.tenant.as_deref());
    let answer = api.post(
        "/v1/check",
        &json!({ "limit": args.limit, "key": args.key, "cost": args.cost }),
    )?;
    // 429 is a decision; a problem has no `allowed`.
    let decision = api.expect(&answer, &[200, 429])?;
    let Some(allowed) = decision["allowed"].as_bool() else {
        api.expect(&answer, &[])?;
        unreachable!("nothing is expected, so everything is refused");
    };
    let text = if args.json {
        answer.as_said()
    } else {
        told(&decision, allowed)
    };
    Ok(Outcome {
        text,
        exit: if allowed {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(DENIED)
        },
    })
}

fn told(decision: &Value, allowed: bool) -> String {
    let verdict = if allowed { "allowed" } else { "denied" };
    // With a burst more than the limit may be left.
    let (left, limit) = (&decision["remaining"], &decision["limit"]);
    let left = match left.as_u64() <= limit.as_u64() {
        true => format!("{} of {} left", plain(left), plain(limit)),
        false => format!("{} left", plain(left)),
    };
    let wait = match decision["retry_after_ms"].as_u64() {
        Some(wait) => format!(", retry after {}", seconds(wait)),
        None => String::new(),
    };
    let reset = match decision["reset_after_ms"].as_u64() {
        Some(reset) => format!(", full again after {}", seconds(reset)),
        None => String::new(),
    };
    format!("{verdict}: {left}{wait}{reset}\n")
}

/// Rounded up to tenths: whoever waits that long has waited long enough.
pub(super) fn seconds(millis: u64) -> String {
    let tenths = millis.div_ceil(100);
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_reads_as_a_sentence() {
        let allowed = json!({"allowed":true,"limit":10,"remaining":9,"retry_after_ms":null,"reset_after_ms":6000});
        assert_eq!(
            told(&allowed, true),
            "allowed: 9 of 10 left, full again after 6.0 s\n"
        );
        let burst = json!({"allowed":true,"limit":10,"remaining":19,"retry_after_ms":null,"reset_after_ms":6000});
        assert_eq!(
            told(&burst, true),
            "allowed: 19 left, full again after 6.0 s\n"
        );
        let denied = json!({"allowed":false,"limit":1,"remaining":0,"retry_after_ms":41901,"reset_after_ms":41901});
        assert_eq!(
            told(&denied, false),
            "denied: 0 of 1 left, retry after 42.0 s, full again after 42.0 s\n"
        );
    }
}
