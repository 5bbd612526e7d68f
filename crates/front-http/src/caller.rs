//! Who a request is of: the credential that it brings, held against what its path needs.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

use accounts::{Act, Scope, TenantId};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderName, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use limiter::{Access, Caller, Identifier, Kind, Limiter, Node, Refusal, Service, SignedIn};

use crate::app::App;
use crate::body::{check_said, refused};
use crate::problem::Problem;
use crate::routes::clues;
use crate::service::cookies::{Cookies, brought};

/// What a path needs of whoever asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// Nothing: anybody may ask.
    Nothing,
    /// Any credential.
    Credential,
    /// A credential with this scope.
    Scope(Scope),
    /// Somebody who has logged in, with a role that may do this in the tenant; or an operator.
    Act(Act),
    /// Somebody who has logged in.
    Session,
    /// The same, also one who is to choose another address first.
    SessionInConflict,
    /// Nothing; but who has logged in is known.
    SessionIfAny,
    /// The credential of an operator, or one who has logged in.
    Operator,
}

impl Needs {
    /// Whether it is asked in a tenant.
    pub(crate) const fn is_in_tenant(self) -> bool {
        matches!(self, Self::Credential | Self::Scope(_) | Self::Act(_))
    }

    /// Whether it is about whoever has logged in, and no tenant.
    pub(crate) const fn is_of_account(self) -> bool {
        matches!(
            self,
            Self::Session | Self::SessionInConflict | Self::SessionIfAny
        )
    }

    /// Whether it looks through or changes what a tenant has, rather than counting or telling what was counted: a page that shows how
    /// things are asks for that again and again.
    const fn is_management(self) -> bool {
        match self {
            Self::Scope(scope) => !matches!(scope, Scope::Check | Scope::Adjust | Scope::UsageRead),
            Self::Credential | Self::Act(_) => true,
            Self::Nothing
            | Self::Session
            | Self::SessionInConflict
            | Self::SessionIfAny
            | Self::Operator => false,
        }
    }

    /// Whether it is written down who changed something by it, and where from: that is told apart by headers, which a hit need
    /// not pay for.
    const fn is_noted(self) -> bool {
        match self {
            Self::Scope(scope) => matches!(scope, Scope::LimitsWrite | Scope::KeysWrite),
            Self::Act(_)
            | Self::Session
            | Self::SessionInConflict
            | Self::SessionIfAny
            | Self::Operator => true,
            Self::Nothing | Self::Credential => false,
        }
    }
}

/// What a request with the cookie of a session brings besides, if it changes something.
const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// Where the page lies that a browser sends a request from, beside what it is sent to.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

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
    if is_guarded {
        let said = check_said(request.uri().path(), request.body());
        let admitted = said.and_then(|()| access.admit(&limiter, given.as_deref()).map(drop));
        if let Err(refusal) = admitted {
            let response = Problem::from(refusal).into_response();
            return refused(response, request.into_body()).await;
        }
    }
    next.run(request).await
}

/// What [`guard_path`] holds a request against.
pub(crate) struct Guard<N> {
    pub(crate) access: Access,
    pub(crate) limiter: Limiter<N>,
    pub(crate) identifier: Arc<Identifier>,
    pub(crate) needs: Needs,
}

/// Lets requests through whose credential may do what this path needs, as whoever brings it. A session that was used is
/// signed again now and then, and the cookie of one that is not valid is cleared.
pub(crate) async fn guard_path<N: Node>(
    State(guard): State<Arc<Guard<N>>>,
    request: Request,
    next: Next,
) -> Response {
    if guard.needs == Needs::Nothing {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    if let Err(refusal) = check_said(parts.uri.path(), &body) {
        return refused(Problem::from(refusal).into_response(), body).await;
    }
    let caller = match admitted(&guard, &parts).await {
        Ok(caller) => caller,
        Err(refusal)
            if guard.needs == Needs::SessionIfAny && refusal.kind() == Kind::Unauthorized =>
        {
            return next.run(Request::from_parts(parts, body)).await;
        }
        Err(refusal) => {
            let is_over = refusal.kind() == Kind::Unauthorized && is_by_session(&parts.headers);
            let mut response = Problem::from(refusal).into_response();
            if let Some(service) = guard.access.service()
                && is_over
                && !brought(service, &parts.headers).is_empty()
            {
                Cookies::of(service).clear(&mut response);
            }
            return refused(response, body).await;
        }
    };
    let signed_in = caller.signed_in.clone();
    parts.extensions.insert(caller);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let (Some(signed_in), Some(service)) = (signed_in, guard.access.service())
        && !response.headers().contains_key(SET_COOKIE)
        && let Some(cookie) = signed_in.seen_again(service)
    {
        guard.limiter.note_seen(&signed_in);
        Cookies::of(service).set_session(&mut response, &cookie);
    }
    response
}

/// Whether whoever was let through once would be now: who he is and what he may do, not how fast he asks. It is no use of what
/// he brings.
pub(crate) fn admits<N: Node>(app: &App<N>, needs: Needs, request: &Parts) -> Result<(), Refusal> {
    let guard = app.guard(needs);
    let Guard {
        access, limiter, ..
    } = &guard;
    let known = match brought_by(&guard, &request.headers) {
        Brought::Credential(given) => access.admit_again(limiter, given),
        Brought::Session(cookies) => access.admit_session(limiter, &cookies),
    };
    may(&guard, request, known?).map(drop)
}

/// Whoever brings it, if he may do this, and does not come too fast. What this node does not know of an API key or a session,
/// another may.
async fn admitted<N: Node>(guard: &Guard<N>, request: &Parts) -> Result<Caller<N>, Refusal> {
    let Guard {
        access,
        limiter,
        identifier,
        needs,
    } = guard;
    let known = match brought_by(guard, &request.headers) {
        Brought::Credential(given) => access.admit_asking(limiter, given).await,
        Brought::Session(cookies) => access.admit_session_asking(limiter, &cookies).await,
    };
    let mut caller = may(guard, request, known?)?;
    check_pace(*needs, request, &caller)?;
    // That an operator who has logged in opens a tenant is written down as well, though it changes nothing.
    let may_open = caller.signed_in.is_some() && caller.rights.are_operators();
    if (changes(request) && needs.is_noted()) || may_open {
        caller.address = Some(identifier.client(clues(request)));
    }
    Ok(caller)
}

/// What a request is known by.
enum Brought<'a> {
    Credential(Option<&'a [u8]>),
    Session(Vec<&'a str>),
}

/// A header goes before a cookie.
fn brought_by<'a, N>(guard: &Guard<N>, headers: &'a HeaderMap) -> Brought<'a> {
    let cookies = match (guard.access.service(), is_by_session(headers)) {
        (Some(service), true) => brought(service, headers),
        _ => Vec::new(),
    };
    match cookies.is_empty() {
        true => Brought::Credential(bearer(headers)),
        false => Brought::Session(cookies),
    }
}

/// Whether a request is known by a cookie: a header goes before it.
fn is_by_session(headers: &HeaderMap) -> bool {
    !headers.contains_key(AUTHORIZATION)
}

/// Whether a request is one that may change something.
fn changes(request: &Parts) -> bool {
    ![Method::GET, Method::HEAD].contains(&request.method)
}

/// Whoever is known, where he acts, if he may do this there.
fn may<N: Node>(guard: &Guard<N>, request: &Parts, known: Caller<N>) -> Result<Caller<N>, Refusal> {
    let (access, needs) = (&guard.access, guard.needs);
    if let Some(signed_in) = &known.signed_in
        && ![Needs::SessionInConflict, Needs::SessionIfAny].contains(&needs)
    {
        signed_in.check_conflict()?;
    }
    let caller = match named_tenant(&request.headers)? {
        // What is about an account is about it in every tenant.
        _ if needs.is_of_account() => known,
        Some(tenant) => access.within(known, &String::from_utf8_lossy(tenant.as_bytes()))?,
        None if needs.is_in_tenant() => match tenant_of_named_key(&known, request.uri.path()) {
            Some(tenant) => access.within(known, &tenant.to_string())?,
            None => access.within_own(known)?,
        },
        None => known,
    };
    match needs {
        Needs::Nothing | Needs::Credential | Needs::SessionIfAny => {}
        Needs::Scope(scope) => caller.needs(scope)?,
        Needs::Act(act) => caller.needs_act(act)?,
        Needs::Session | Needs::SessionInConflict => drop(caller.needs_session()?),
        Needs::Operator => caller.needs_operator()?,
    }
    if let (Some(signed_in), Some(service)) = (&caller.signed_in, access.service())
        && changes(request)
    {
        check_meant(service, signed_in, &request.headers)?;
    }
    Ok(caller)
}

/// Whose the API key is that the path names. An operator acts in its tenant without saying which that is.
fn tenant_of_named_key<N: Node>(known: &Caller<N>, path: &str) -> Option<TenantId> {
    let named = path.strip_prefix("/v1/api-keys/")?;
    let (id, _) = named.split_once('/').unwrap_or((named, ""));
    known
        .rights
        .are_operators()
        .then(|| known.limiter.tenant_of_api_key(id))?
}

/// Refuses what comes faster than a node takes it from one tenant.
fn check_pace<N>(needs: Needs, request: &Parts, caller: &Caller<N>) -> Result<(), Refusal> {
    if !needs.is_of_account() {
        caller.check_ceiling()?;
    }
    match (needs.is_management(), changes(request)) {
        (true, true) => caller.check_changes(),
        (true, false) => caller.check_reads(),
        (false, _) => Ok(()),
    }
}

/// The one tenant that the request names.
fn named_tenant(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Refusal> {
    let mut given = headers.get_all(WEIR_TENANT).iter();
    match (given.next(), given.next()) {
        (_, Some(_)) => Err(Refusal::invalid("Weir-Tenant is given twice").at("Weir-Tenant")),
        (tenant, None) => Ok(tenant),
    }
}

/// Refuses what changes something and is known by a cookie alone, which a browser sends also where another page asks it to.
fn check_meant(
    service: &Service,
    signed_in: &SignedIn,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let token = headers.get(CSRF_TOKEN).and_then(|it| it.to_str().ok());
    let matches = |token| signed_in.form_token(service).matches(token);
    match comes_from(service, headers) && token.is_some_and(matches) {
        true => Ok(()),
        false => Err(forged()),
    }
}

/// Whether a browser says that it sends a request from a page of this service.
fn comes_from(service: &Service, headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE);
    let origin = headers.get(ORIGIN);
    let is_ours = origin.is_some_and(|it| it.as_bytes() == service.public_url.as_bytes());
    match (site, origin) {
        (Some(site), _) if site != "same-origin" => false,
        // A form of a page whose policy is to tell no address has none.
        (Some(_), Some(origin)) if origin == "null" => true,
        (_, Some(_)) => is_ours,
        (Some(_), None) => true,
        (None, None) => false,
    }
}

/// Refuses what a browser sends from a page of somebody else, as it does without a session: it would log its user in as
/// another. A program says nothing of the kind.
pub(crate) fn check_origin(service: &Service, headers: &HeaderMap) -> Result<(), Refusal> {
    let is_by_browser = headers.contains_key(SEC_FETCH_SITE) || headers.contains_key(ORIGIN);
    match !is_by_browser || comes_from(service, headers) {
        true => Ok(()),
        false => Err(forged()),
    }
}

fn forged() -> Refusal {
    let detail = "nothing shows that this comes from a page of this service; nothing was changed";
    Refusal::new(Kind::ForgedRequest, detail)
}

/// The one credential that a request brings. Of two nobody knows which is meant.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
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
