//! What the span of a request says of the hits that it asked, in the words of the metrics.

use std::borrow::Cow;

use coordinator::{Answer, NoDecision, Policy};
use quota::Verdict;
use traces::Value;

/// What a limit is called that has no name of the file: clients make names up.
const OTHER: &str = "other";
/// What is said where the hits of one request differ.
const SEVERAL: &str = "several";

/// Decisions, from what a request is known by least to what it is known by most: it is denied if one of its hits is.
const DECISIONS: [&str; 5] = ["allow", "fail_open", "deny", "never_conforms", "none"];

/// Notes what the front is told of one hit, if its request is recorded.
pub(crate) fn note(
    policy: &Policy,
    is_of_file: impl FnOnce() -> bool,
    told: &Result<Answer, NoDecision>,
) {
    traces::current(|span| {
        let limit = match is_of_file() {
            true => Cow::Owned(policy.name.as_ref().to_owned()),
            false => Cow::Borrowed(OTHER),
        };
        span.join("weir.limit", Value::Text(limit), one_or_several);
        let strategy = policy.strategy.name().into();
        span.join("weir.strategy", strategy, one_or_several);
        span.join("weir.decision", decision(told).into(), what_counts_most);
        span.join("weir.hits", Value::Number(1), sum);
        if let Err(error) = told {
            span.fail(error.to_string());
        }
    });
}

fn decision(told: &Result<Answer, NoDecision>) -> &'static str {
    match told {
        Err(_) => "none",
        Ok(answer) if answer.by_fail_mode => "fail_open",
        Ok(answer) => match answer.decision.verdict {
            Verdict::Allow => "allow",
            Verdict::Deny { .. } => "deny",
            Verdict::NeverConforms => "never_conforms",
        },
    }
}

fn one_or_several(known: &Value, new: Value) -> Value {
    match *known == new {
        true => new,
        false => SEVERAL.into(),
    }
}

fn what_counts_most(known: &Value, new: Value) -> Value {
    let place = |value: &Value| match value {
        Value::Text(text) => DECISIONS.iter().position(|known| known == text),
        Value::Number(_) => None,
    };
    match place(known) < place(&new) {
        true => new,
        false => known.clone(),
    }
}

fn sum(known: &Value, new: Value) -> Value {
    match (known, new) {
        (Value::Number(known), Value::Number(new)) => Value::Number(known + new),
        (_, new) => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_hits_the_one_that_is_worst_for_the_request_is_told() {
        let all = |decisions: &[&'static str]| {
            let values = decisions.iter().copied().map(Value::from);
            values
                .reduce(|known, new| what_counts_most(&known, new))
                .unwrap()
        };
        assert_eq!(all(&["allow", "deny", "allow"]), "deny".into());
        assert_eq!(all(&["none", "deny"]), "none".into());
        assert_eq!(all(&["fail_open", "allow"]), "fail_open".into());
    }

    #[test]
    fn what_differs_is_several_for_good() {
        let (one, other) = (Value::from("one"), Value::from("other"));
        assert_eq!(one_or_several(&one, one.clone()), one);
        let several = one_or_several(&one, other.clone());
        assert_eq!(several, SEVERAL.into());
        assert_eq!(one_or_several(&several, other), SEVERAL.into());
    }
}
