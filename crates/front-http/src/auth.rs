//! `/auth/{limit}`: the question that nginx (`auth_request`), Caddy (`forward_auth`) and Traefik (`forwardAuth`) put before
//! each request that they pass on.
//!
//! The request is the proxy's; what it was sent for stands in its headers. Proxies copy those of the client, so what a
//! client could have written itself is believed only where one reading is possible.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use axum::response::Response;
use limiter::{Clues, ENCODED, Given, Identity, Kind, Node, Refusal, decode, parameters};

use crate::app::Shared;
use crate::caller::By;
use crate::decided;
use crate::parameters::cost_parameter;
use crate::problem::Problem;
use crate::routes::{accepted, clues};

/// Caddy and Traefik tell the target of the client's request here; nginx as its configuration has it.
static TARGETS: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-original-uri"),
];

/// What `by` may be.
const BY_ACCEPTED: &str = "header:NAME, cookie:NAME, query:NAME or peer; given again, what is tried when a request \
                           does not bring the first; at most 8 times";
/// More ways of telling one's clients apart than anybody has: each is looked for in every request.
const BY_MAX: usize = 8;

/// Any method of `/auth/{limit}`
pub(crate) async fn auth<N: Node>(
    State(app): Shared<N>,
    by: By<N>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let limiter = by.limiter(&app);
    let path = parts.uri.path().strip_prefix("/auth/").unwrap_or_default();
    let name = decode(path, false).ok_or_else(|| Refusal::field("limit", path, ENCODED))?;
    let selected = limiter.find(&name)?;
    let query = parts.uri.query().unwrap_or_default();
    let (by, cost) = (read_by(query)?, cost_parameter(&parts.uri)?);
    let clues = Clues {
        query: query_of_client(&parts.headers)?,
        ..clues(&parts)
    };
    let who = app.identifier.identify(&by, clues)?.ok_or_else(|| {
        let detail = "the request brings nothing that tells who is to be counted";
        Refusal::new(Kind::Unauthorized, detail).with_accepted(accepted(&by))
    })?;
    let answer = limiter.check(&selected, who.key(), cost).await?;
    let mut response = Response::new(Body::empty());
    decided::mark(&mut response, &selected, cost, &answer, limiter.day());
    // An answer from a cache would be one that nobody counted.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Who is counted: the first that is present.
fn read_by(query: &str) -> Result<Vec<Identity>, Refusal> {
    let mut by = Vec::new();
    for given in parameters(query, "by") {
        let given = given?;
        let identity = identity(&given).filter(|_| by.len() < BY_MAX);
        by.push(identity.ok_or_else(|| Refusal::field("by", &*given, BY_ACCEPTED))?);
    }
    match by.is_empty() {
        true => Err(Refusal::missing("by", BY_ACCEPTED)),
        false => Ok(by),
    }
}

fn identity(text: &str) -> Option<Identity> {
    if text == "peer" {
        return Some(Identity::Peer);
    }
    let (kind, name) = text.split_once(':')?;
    let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    match kind {
        "header" => Some(Identity::Header(name.parse().ok()?)),
        "cookie" if is_token && !name.contains(['=', ';']) => Some(Identity::Cookie(name.into())),
        "query" if !name.is_empty() => Some(Identity::Query(name.into())),
        _ => None,
    }
}

/// The query of the request that the proxy was sent. Empty if the proxy does not tell it.
///
/// # Errors
///
/// A target that is told twice, in one header or in both, unless both say the same: one of them may be the client's own.
fn query_of_client(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut lines = TARGETS
        .iter()
        .flat_map(|name| headers.get_all(name).iter().map(move |line| (name, line)))
        .filter(|(_, line)| !line.is_empty());
    let Some((name, target)) = lines.next() else {
        return Ok("");
    };
    if let Some((other, _)) = lines.find(|(_, line)| *line != target) {
        let detail = "the target of the client's request is told twice, differently";
        return Err(Refusal::invalid(detail).at(other.to_string()));
    }
    let Ok(target) = target.to_str() else {
        let given = Given::lossy(target.as_bytes());
        return Err(Refusal::field(name.to_string(), given, "printable ASCII"));
    };
    // A fragment never leaves the client; a proxy that passes one on has not read it as such.
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    Ok(target.split_once('?').map_or("", |(_, query)| query))
}
