//! The headers that tell clients where they stand.
//!
//! `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-11, `X-RateLimit-*` the custom, with
//! the reset in seconds from now. The draft may still rename its parameters: they are written here and nowhere else.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use quota::{Decision, Limit, Verdict};

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What the headers of one limit have in common, written once.
#[derive(Clone, Debug)]
pub struct RateHeaders {
    policy: HeaderValue,
    limit: HeaderValue,
    /// The beginning of `RateLimit`, up to the number of units left.
    prefix: Bytes,
}

impl RateHeaders {
    /// The headers of `limit` under `name`.
    #[must_use]
    pub fn new(name: &str, limit: &Limit) -> Self {
        let name = sf_string(name);
        let mut policy = format!(
            "{name};q={};w={}",
            limit.units(),
            limit.period().ceil_secs()
        );
        if limit.burst() != limit.units() {
            policy.push_str(&format!(";weir-burst={}", limit.burst()));
        }
        Self {
            policy: HeaderValue::from_str(&policy).expect("sf_string leaves printable ASCII"),
            limit: HeaderValue::from(limit.units()),
            prefix: Bytes::from(format!("{name};r=")),
        }
    }

    /// Adds the headers that go with `decision`. All spans are rounded up to whole seconds.
    pub fn write(&self, decision: &Decision, headers: &mut HeaderMap) {
        headers.insert(RATE_LIMIT_POLICY, self.policy.clone());
        headers.insert(RATE_LIMIT, self.rate_limit(decision));
        headers.insert(X_LIMIT, self.limit.clone());
        headers.insert(X_REMAINING, HeaderValue::from(decision.remaining));
        headers.insert(X_RESET, HeaderValue::from(decision.reset_after.ceil_secs()));
    }

    fn rate_limit(&self, decision: &Decision) -> HeaderValue {
        let mut number = itoa::Buffer::new();
        // Two numbers of at most ten digits, and `;t=`.
        let mut value = BytesMut::with_capacity(self.prefix.len() + 23);
        value.put_slice(&self.prefix);
        value.put_slice(number.format(decision.remaining).as_bytes());
        value.put_slice(b";t=");
        value.put_slice(number.format(decision.grows_after.ceil_secs()).as_bytes());
        HeaderValue::from_maybe_shared(value.freeze())
            .expect("sf_string leaves printable ASCII, and digits are")
    }
}

/// Adds `Retry-After` if the hit was denied.
pub fn write_retry_after(decision: &Decision, headers: &mut HeaderMap) {
    if let Verdict::Deny { retry_after } = decision.verdict {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.ceil_secs()));
    }
}

/// A String of RFC 9651, section 3.3.3: quoted printable ASCII. Everything else becomes a question mark.
fn sf_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            ' '..='~' => quoted.push(char),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use quota::{Algorithm, Nanos};

    use super::*;

    fn check(name: &str, limit: Limit, policy: &str, rate_limit: &str) {
        let decision = Decision {
            verdict: Verdict::Allow,
            remaining: 3,
            grows_after: Nanos::from_millis(1_001),
            reset_after: Nanos::from_secs(9),
        };
        let mut headers = HeaderMap::new();
        RateHeaders::new(name, &limit).write(&decision, &mut headers);
        assert_eq!(headers[RATE_LIMIT_POLICY], policy);
        assert_eq!(headers[RATE_LIMIT], rate_limit);
        assert_eq!(headers[X_RESET], "9");
    }

    #[test]
    fn names_are_quoted_and_spans_rounded_up() {
        let limit = Limit::new(Algorithm::SlidingLog, 5, Nanos::from_millis(1_500)).unwrap();
        check("login", limit, r#""login";q=5;w=2"#, r#""login";r=3;t=2"#);
        check(
            r#"a"\é"#,
            limit,
            r#""a\"\\?";q=5;w=2"#,
            r#""a\"\\?";r=3;t=2"#,
        );
    }

    #[test]
    fn a_burst_of_its_own_is_told() {
        let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(1)).unwrap();
        check(
            "a",
            limit.with_burst(5).unwrap(),
            r#""a";q=5;w=1"#,
            r#""a";r=3;t=2"#,
        );
        check(
            "a",
            limit.with_burst(7).unwrap(),
            r#""a";q=5;w=1;weir-burst=7"#,
            r#""a";r=3;t=2"#,
        );
    }
}
