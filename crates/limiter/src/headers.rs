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
    /// Of a limit whose windows follow a calendar: they are not all as long.
    by_calendar: Option<(String, Limit)>,
    limit: HeaderValue,
    /// The beginning of `RateLimit`, up to the number of units left.
    prefix: Bytes,
}

impl RateHeaders {
    /// The headers of `limit` under `name`.
    #[must_use]
    pub fn new(name: &str, limit: &Limit) -> Self {
        let burst = (limit.burst() != limit.units()).then_some(limit.burst());
        let by_calendar = limit.anchor().calendar().map(|_| (name.to_owned(), *limit));
        let per_secs = Some(limit.period().ceil_secs());
        let mut prefix = Values::new();
        prefix.quoted(name).text(b";r=");
        let mut values = Values::new();
        Self {
            policy: values.policy(name, limit.units(), per_secs, burst).end(),
            by_calendar,
            limit: values.number(limit.units()).end(),
            prefix: prefix.0.freeze(),
        }
    }

    /// Adds the headers that go with `decision`. All spans are rounded up to whole seconds.
    pub fn write(&self, decision: &Decision, headers: &mut HeaderMap) {
        let mut values = Values::new();
        let policy = match &self.by_calendar {
            None => self.policy.clone(),
            Some((name, limit)) => {
                let per_secs = Some(period_now(limit).ceil_secs());
                values.policy(name, limit.units(), per_secs, None).end()
            }
        };
        headers.insert(RATE_LIMIT_POLICY, policy);
        values.text(&self.prefix).number(decision.remaining);
        values.text(b";t=").number(decision.grows_after.ceil_secs());
        headers.insert(RATE_LIMIT, values.end());
        headers.insert(X_LIMIT, self.limit.clone());
        headers.insert(X_REMAINING, values.number(decision.remaining).end());
        let resets = decision.reset_after.ceil_secs();
        headers.insert(X_RESET, values.number(resets).end());
    }
}

/// Values of headers, written one behind the other into one buffer, of which they all keep a part: one allocation for an
/// answer where each by itself would take two.
struct Values(BytesMut);

impl Values {
    fn new() -> Self {
        // Five headers of a limit with a short name.
        Self(BytesMut::with_capacity(160))
    }

    /// Printable ASCII.
    fn text(&mut self, ascii: &[u8]) -> &mut Self {
        self.0.put_slice(ascii);
        self
    }

    fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.text(itoa::Buffer::new().format(number).as_bytes())
    }

    /// A String of RFC 9651, section 3.3.3: quoted printable ASCII. Everything else becomes a question mark.
    fn quoted(&mut self, text: &str) -> &mut Self {
        self.0.put_u8(b'"');
        for char in text.chars() {
            match char {
                '"' => self.text(br#"\""#),
                '\\' => self.text(br"\\"),
                ' '..='~' => self.text(&[char as u8]),
                _ => self.text(b"?"),
            };
        }
        self.text(b"\"")
    }

    /// One limit in `RateLimit-Policy`.
    fn policy(
        &mut self,
        name: &str,
        limit: u32,
        per_secs: Option<u64>,
        burst: Option<u32>,
    ) -> &mut Self {
        self.quoted(name).text(b";q=").number(limit);
        if let Some(seconds) = per_secs {
            self.text(b";w=").number(seconds);
        }
        if let Some(burst) = burst {
            self.text(b";weir-burst=").number(burst);
        }
        self
    }

    /// One limit in `RateLimit`.
    fn state(&mut self, standing: &Standing<'_>) -> &mut Self {
        self.quoted(standing.name).text(b";r=");
        self.number(standing.remaining).text(b";t=");
        self.number(standing.grows_after_secs)
    }

    /// What was written since the last value.
    fn end(&mut self) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.0.split().freeze())
            .expect("all that is written is printable ASCII")
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
pub fn write_standings<'n>(
    standings: impl Iterator<Item = Standing<'n>> + Clone,
    headers: &mut HeaderMap,
) {
    let nearest = standings.clone().min_by_key(|standing| standing.remaining);
    let Some(nearest) = nearest else {
        return;
    };
    let mut values = Values::new();
    for (place, it) in standings.clone().enumerate() {
        if 0 < place {
            values.text(b", ");
        }
        values.policy(it.name, it.limit, it.per_secs, it.burst);
    }
    headers.insert(RATE_LIMIT_POLICY, values.end());
    for (place, it) in standings.enumerate() {
        if 0 < place {
            values.text(b", ");
        }
        values.state(&it);
    }
    headers.insert(RATE_LIMIT, values.end());
    headers.insert(X_LIMIT, values.number(nearest.limit).end());
    headers.insert(X_REMAINING, values.number(nearest.remaining).end());
    headers.insert(X_RESET, values.number(nearest.reset_after_secs).end());
}

/// Adds one more limit to the headers that tell of one: to `RateLimit-Policy` and `RateLimit`, and not to `X-RateLimit-…`.
pub fn add_standing(standing: &Standing<'_>, headers: &mut HeaderMap) {
    let mut values = Values::new();
    for header in [RATE_LIMIT_POLICY, RATE_LIMIT] {
        if let Some(listed) = headers.get(&header) {
            values.text(listed.as_bytes()).text(b", ");
        }
        let Standing {
            name,
            limit,
            per_secs,
            burst,
            ..
        } = *standing;
        match header == RATE_LIMIT {
            true => values.state(standing),
            false => values.policy(name, limit, per_secs, burst),
        };
        headers.insert(header, values.end());
    }
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

/// Adds `Retry-After` if the hit was denied.
pub fn write_retry_after(decision: &Decision, headers: &mut HeaderMap) {
    if let Verdict::Deny { retry_after } = decision.verdict {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.ceil_secs()));
    }
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
        write_standings([].into_iter(), &mut headers);
        assert!(headers.is_empty());
        let both = [standing(r#"a"é"#, 3), standing("b", 1)];
        write_standings(both.into_iter(), &mut headers);
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
