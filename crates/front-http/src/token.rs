//! The API token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use limiter::{Kind, Refusal};
use subtle::ConstantTimeEq as _;

use crate::problem::Problem;

/// Everything under these wants the token.
const GUARDED: [&str; 3] = ["/v1", "/api", "/rate"];

/// Lets requests through that bring `token`, and those that need none.
pub(crate) async fn guard(State(token): State<Arc<str>>, request: Request, next: Next) -> Response {
    let is_guarded = GUARDED.iter().any(|prefix| {
        let rest = request.uri().path().strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if is_guarded && let Err(refusal) = check(&token, &request) {
        return Problem::from(refusal).into_response();
    }
    next.run(request).await
}

fn check(token: &str, request: &Request) -> Result<(), Refusal> {
    let missing = || {
        Refusal::new(
            Kind::Unauthorized,
            "the header Authorization must bring the API token",
        )
        .at("Authorization")
        .with_accepted("Bearer and the token")
    };
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .ok_or_else(missing)?
        .as_bytes();
    let (scheme, given) = header
        .split_at_checked("Bearer ".len())
        .ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") || given.trim_ascii().is_empty() {
        return Err(missing());
    }
    if !bool::from(given.trim_ascii().ct_eq(token.as_bytes())) {
        return Err(Refusal::new(Kind::Forbidden, "this is not the API token").at("Authorization"));
    }
    Ok(())
}
