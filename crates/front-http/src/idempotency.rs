//! Keys of requests, which this version does not take.

use std::fmt::Display;

use axum::http::HeaderMap;
use limiter::{Kind, Refusal};

/// The header by which other services are asked for the answer that was given before. A hit that is counted
/// twice, or something that is made twice, because it was taken for another wish would be worse than one that is refused.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Refuses a request with a key of its own. `instead` is what there is in place of it.
pub(crate) fn refuse_key(headers: &HeaderMap, instead: impl Display) -> Result<(), Refusal> {
    if !headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(());
    }
    let detail = format!("a request has no key of its own yet; {instead}");
    Err(Refusal::new(Kind::NotImplemented, detail).at(IDEMPOTENCY_KEY))
}
