//! The headers that tell clients where they stand.
//!
//! `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-11, `X-RateLimit-*` the custom, with
//! the reset in seconds from now. The draft may still rename its parameters: they are written here and nowhere else.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use quota::{Decision, Limit, Nanos, UnixNanos, Verdict};

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What the headers of one limit have in common, written once.
#[derive(Clone, Debug)]
pub struct RateHeaders {
    policy: HeaderValue,
    /// Of a limit whose windows follow a calendar: they are not all as long. Its name is quoted already.
    by_calendar: Option<(String, Limit)>,
    limit: HeaderValue,
    /// The beginning of `RateLimit`, up to the number of units left.
    prefix: Bytes,
}

impl RateHeaders {
    /// The headers of `limit` under `name`.
    #[must_use]
    pub fn new(name: &str, limit: &Limit) -> Self {
        let name = sf_string(name);
        let burst = (limit.burst() != limit.units()).then_some(limit.burst());
        let by_calendar = limit.anchor().calendar().map(|_| (name.clone(), *limit));
        Self {
            policy: policy_value(&name, limit.units(), limit.period(), burst),
            by_calendar,
            limit: HeaderValue::from(limit.units()),
            prefix: Bytes::from(format!("{name};r=")),
        }
    }

    /// Adds the headers that go with `decision`. All spans are rounded up to whole seconds.
    pub fn write(&self, decision: &Decision, headers: &mut HeaderMap) {
        headers.insert(RATE_LIMIT_POLICY, self.policy());
        headers.insert(RATE_LIMIT, self.rate_limit(decision));
        headers.insert(X_LIMIT, self.limit.clone());
        headers.insert(X_REMAINING, HeaderValue::from(decision.remaining));
        headers.insert(X_RESET, HeaderValue::from(decision.reset_after.ceil_secs()));
    }

    fn policy(&self) -> HeaderValue {
        match &self.by_calendar {
            None => self.policy.clone(),
            Some((name, limit)) => policy_value(name, limit.units(), period_now(limit), None),
        }
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

/// Where one limit stands, for answers that tell of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing<'n> {
    /// What clients see it called.
    pub name: &'n str,
    /// Units for each period.
    pub limit: u32,
    /// The period, rounded up to seconds. `None`: it is not known here.
    pub per_secs: Option<u64>,
    /// The most units that pass at once, where that is not `limit`.
    pub burst: Option<u32>,
    /// Units left.
    pub remaining: u32,
    /// Until more are left, rounded up to seconds. 0: that is all there is.
    pub grows_after_secs: u64,
    /// Until the key is full again, rounded up to seconds. 0: it is.
    pub reset_after_secs: u64,
}

/// Adds the headers that tell where several limits stand: `RateLimit` of all of them, `X-RateLimit-…` of the one that is
/// nearest to its end. Of no limit there are none.
pub fn write_standings(standings: &[Standing<'_>], headers: &mut HeaderMap) {
    let Some(nearest) = standings.iter().min_by_key(|standing| standing.remaining) else {
        return;
    };
    let list = |item: fn(&Standing<'_>) -> String| {
        let items: Vec<String> = standings.iter().map(item).collect();
        HeaderValue::try_from(items.join(", ")).expect("sf_string leaves printable ASCII")
    };
    let policies = list(|it| policy(&sf_string(it.name), it.limit, it.per_secs, it.burst));
    let states = list(|it| {
        let (name, remaining, grows) = (sf_string(it.name), it.remaining, it.grows_after_secs);
        format!("{name};r={remaining};t={grows}")
    });
    headers.insert(RATE_LIMIT_POLICY, policies);
    headers.insert(RATE_LIMIT, states);
    headers.insert(X_LIMIT, nearest.limit.into());
    headers.insert(X_REMAINING, nearest.remaining.into());
    headers.insert(X_RESET, nearest.reset_after_secs.into());
}

/// Adds one more limit to the headers that tell of one: to `RateLimit-Policy` and `RateLimit`, and not to `X-RateLimit-…`.
pub fn add_standing(standing: &Standing<'_>, headers: &mut HeaderMap) {
    let name = sf_string(standing.name);
    let told = policy(&name, standing.limit, standing.per_secs, standing.burst);
    append(RATE_LIMIT_POLICY, &told, headers);
    let (remaining, grows) = (standing.remaining, standing.grows_after_secs);
    append(
        RATE_LIMIT,
        &format!("{name};r={remaining};t={grows}"),
        headers,
    );
}

/// Puts `item` behind what the header lists already.
fn append(header: HeaderName, item: &str, headers: &mut HeaderMap) {
    let listed = headers.get(&header).map_or(&b""[..], HeaderValue::as_bytes);
    let mut list = BytesMut::from(listed);
    if !list.is_empty() {
        list.put_slice(b", ");
    }
    list.put_slice(item.as_bytes());
    let list = HeaderValue::from_maybe_shared(list.freeze());
    headers.insert(header, list.expect("sf_string leaves printable ASCII"));
}

/// The period of a limit, or the length of the window of a calendar that it is in by the clock of this machine.
#[must_use]
pub fn period_now(limit: &Limit) -> Nanos {
    if limit.anchor().calendar().is_none() {
        return limit.period();
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    });
    limit.period_at(UnixNanos::new(now))
}

/// One limit as the value of `RateLimit-Policy`.
fn policy_value(name: &str, units: u32, period: Nanos, burst: Option<u32>) -> HeaderValue {
    let policy = policy(name, units, Some(period.ceil_secs()), burst);
    HeaderValue::try_from(policy).expect("sf_string leaves printable ASCII")
}

/// One limit in `RateLimit-Policy`. `name` is quoted already.
fn policy(name: &str, limit: u32, per_secs: Option<u64>, burst: Option<u32>) -> String {
    let mut policy = format!("{name};q={limit}");
    if let Some(seconds) = per_secs {
        policy.push_str(&format!(";w={seconds}"));
    }
    if let Some(burst) = burst {
        policy.push_str(&format!(";weir-burst={burst}"));
    }
    policy
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
    use quota::{Algorithm, Calendar, CalendarUnit};

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
    fn the_window_of_a_calendar_is_the_one_that_it_is() {
        let zone = "Europe/Vienna".parse().unwrap();
        for unit in CalendarUnit::ALL {
            let limit = Limit::of_calendar(5, Calendar { unit, zone }).unwrap();
            let decision = Decision {
                verdict: Verdict::Allow,
                remaining: 3,
                grows_after: Nanos::from_millis(1_001),
                reset_after: Nanos::from_millis(1_001),
            };
            let mut headers = HeaderMap::new();
            let before = period_now(&limit).ceil_secs();
            RateHeaders::new("quota", &limit).write(&decision, &mut headers);
            let after = period_now(&limit).ceil_secs();
            let told = headers["ratelimit-policy"].to_str().unwrap();
            let expected = [before, after].map(|secs| format!("\"quota\";q=5;w={secs}"));
            assert!(expected.iter().any(|it| it == told), "{told}");
        }
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
    fn several_limits_stand_in_one_list() {
        let standing = |name, remaining| Standing {
            name,
            limit: 5,
            per_secs: Some(60),
            burst: None,
            remaining,
            grows_after_secs: 2,
            reset_after_secs: u64::from(remaining),
        };
        let mut headers = HeaderMap::new();
        write_standings(&[], &mut headers);
        assert!(headers.is_empty());
        write_standings(&[standing(r#"a"é"#, 3), standing("b", 1)], &mut headers);
        assert_eq!(
            headers[RATE_LIMIT_POLICY],
            r#""a\"?";q=5;w=60, "b";q=5;w=60"#
        );
        assert_eq!(headers[RATE_LIMIT], r#""a\"?";r=3;t=2, "b";r=1;t=2"#);
        assert_eq!(
            (&headers[X_REMAINING], &headers[X_RESET]),
            (&HeaderValue::from(1), &HeaderValue::from(1))
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
