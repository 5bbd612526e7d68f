//! Parameters of a query that several paths have.

use axum::http::Uri;
use limiter::{Key, Refusal, parameter};
use quota::Cost;

/// What a key may be.
pub(crate) const KEY_ACCEPTED: &str = "1 to 1024 bytes of text";
const COST_ACCEPTED: &str = "a whole number from 0 to 4294967295";

/// A key that the query must have.
pub(crate) fn key_parameter<'u>(uri: &'u Uri, name: &'static str) -> Result<Key<'u>, Refusal> {
    let key = parameter(uri.query().unwrap_or_default(), name)?
        .ok_or_else(|| Refusal::missing(name, KEY_ACCEPTED))?;
    Key::new(key, name)
}

/// What a hit costs: one, unless the query says otherwise.
pub(crate) fn cost_parameter(uri: &Uri) -> Result<Cost, Refusal> {
    let Some(given) = parameter(uri.query().unwrap_or_default(), "cost")? else {
        return Ok(Cost::ONE);
    };
    let is_number = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit());
    let cost = given.parse().ok().filter(|_| is_number);
    cost.map(Cost::new)
        .ok_or_else(|| Refusal::field("cost", &*given, COST_ACCEPTED))
}
