//! The API token.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use limiter::{Kind, Refusal};
use subtle::ConstantTimeEq as _;

use crate::problem::Problem;

/// Everything under these wants the token.
const GUARDED: [&str; 5] = ["/v1", "/api", "/rate", "/auth", "/throttle"];

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
    let header = request.headers().get(AUTHORIZATION).ok_or_else(missing)?;
    let given = given(header.as_bytes()).ok_or_else(missing)?;
    if !bool::from(given.ct_eq(token.as_bytes())) {
        return Err(Refusal::new(Kind::Forbidden, "this is not the API token").at("Authorization"));
    }
    Ok(())
}

/// The token that a header brings: by itself, or as the password of whomever, since Traefik can put a name and a password
/// into the address that it asks, and no header.
fn given(header: &[u8]) -> Option<Cow<'_, [u8]>> {
    let space = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, given) = (&header[..space], header[space..].trim_ascii());
    if given.is_empty() {
        return None;
    }
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return Some(given.into());
    }
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return None;
    }
    let mut pair = BASE64_STANDARD.decode(given).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair.split_off(colon + 1).into())
}
