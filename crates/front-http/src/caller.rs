//! Who a request is of: the credential that it brings, held against what its path needs.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

use accounts::Scope;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderName;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use limiter::{Access, Caller, Limiter, Node, Refusal};

use crate::app::App;
use crate::problem::Problem;

/// What a path needs of whoever asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// Nothing: anybody may ask.
    Nothing,
    /// Any credential.
    Credential,
    /// A credential with this scope.
    Scope(Scope),
    /// The credential of an operator.
    Operator,
}

/// In which tenant an operator acts.
const WEIR_TENANT: HeaderName = HeaderName::from_static("weir-tenant");

/// Of a node that is no service for many: everything under these wants the token, also what is not served.
const GUARDED: [&str; 5] = ["/v1", "/api", "/rate", "/auth", "/throttle"];

/// Whoever asks, as the guard found out. `None`: anybody, where there is no guard.
pub(crate) struct By<N>(Option<Caller<N>>);

impl<N> By<N> {
    /// The limiter of the namespace in which is asked.
    #[inline]
    pub(crate) fn limiter<'a>(&'a self, app: &'a App<N>) -> &'a Limiter<N> {
        self.0
            .as_ref()
            .map_or(&app.limiter, |caller| &caller.limiter)
    }

    /// Whoever it is.
    pub(crate) fn caller(self, app: &App<N>) -> Caller<N> {
        self.0
            .unwrap_or_else(|| Caller::anybody(app.limiter.clone()))
    }
}

impl<N: Node> FromRequestParts<Arc<App<N>>> for By<N> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App<N>>) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.remove::<Caller<N>>()))
    }
}

/// Lets requests through that bring the token, and those that need none.
pub(crate) async fn guard<N: Node>(
    State((access, limiter)): State<(Access, Limiter<N>)>,
    request: Request,
    next: Next,
) -> Response {
    let is_guarded = GUARDED.iter().any(|prefix| {
        let rest = request.uri().path().strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let given = request.headers().get(AUTHORIZATION);
    let given = given.and_then(|header| token_or_password(header.as_bytes()));
    if is_guarded && let Err(refusal) = access.admit(&limiter, given.as_deref()) {
        return Problem::from(refusal).into_response();
    }
    next.run(request).await
}

/// Lets requests through whose credential may do what this path needs, as whoever brings it.
pub(crate) async fn guard_path<N: Node>(
    State((access, limiter, needs)): State<(Access, Limiter<N>, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    if needs != Needs::Nothing {
        let mut admitted = caller(&access, &limiter, needs, &request);
        while admitted.is_err() {
            let unknown = access.unknown(&limiter, bearer(&request));
            let Some(unknown) = unknown else { break };
            if !limiter.look_up(&unknown).await {
                break;
            }
            admitted = caller(&access, &limiter, needs, &request);
        }
        match admitted {
            Ok(caller) => request.extensions_mut().insert(caller),
            Err(refusal) => return Problem::from(refusal).into_response(),
        };
    }
    next.run(request).await
}

fn caller<N: Node>(
    access: &Access,
    limiter: &Limiter<N>,
    needs: Needs,
    request: &Request,
) -> Result<Caller<N>, Refusal> {
    let mut caller = access.admit(limiter, bearer(request))?;
    if let Some(tenant) = request.headers().get(WEIR_TENANT) {
        caller = access.within(caller, &String::from_utf8_lossy(tenant.as_bytes()))?;
    }
    match needs {
        Needs::Nothing | Needs::Credential => {}
        Needs::Scope(scope) => caller.needs(scope)?,
        Needs::Operator => caller.needs_operator()?,
    }
    caller.check_ceiling()?;
    Ok(caller)
}

/// The one credential that a request brings. Of two nobody knows which is meant.
fn bearer(request: &Request) -> Option<&[u8]> {
    let mut given = request.headers().get_all(AUTHORIZATION).iter();
    let header = given.next().filter(|_| given.next().is_none())?;
    let (scheme, given) = split(header.as_bytes())?;
    scheme.eq_ignore_ascii_case(b"Bearer").then_some(given)
}

/// The token that a header brings: by itself, or as the password of whomever, since Traefik can put a name and a password
/// into the address that it asks, and no header.
fn token_or_password(header: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (scheme, given) = split(header)?;
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

/// The scheme of an `Authorization`, and what stands behind it.
fn split(header: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, given) = (&header[..space], header[space..].trim_ascii());
    (!given.is_empty()).then_some((scheme, given))
}
