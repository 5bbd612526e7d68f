//! `/problems/{name}`: what the `type` of a problem leads to, for whoever follows it.

use axum::body::Body;
use axum::http::Uri;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use limiter::{ENCODED, Kind, Refusal, decode};

use crate::problem::{Problem, Protocol, status};
use crate::routes::escape;

/// `GET /problems/{name}`
pub(crate) async fn page(uri: Uri) -> Result<Response, Problem> {
    let name = uri.path().strip_prefix("/problems/").unwrap_or_default();
    let name = decode(name, false).ok_or_else(|| Refusal::field("name", name, ENCODED))?;
    let kinds = Kind::ALL.into_iter();
    let kinds = kinds.map(|kind| (status(kind), kind.name(), kind.title(), meaning(kind)));
    let protocols = Protocol::ALL.into_iter().map(|protocol| {
        let (status, name, title) = protocol.parts();
        (status, name, title, meaning_of_protocol(protocol))
    });
    let of_this_name: Vec<_> = kinds
        .chain(protocols)
        .filter(|(_, known, ..)| *known == name)
        .collect();
    let Some((_, _, title, _)) = of_this_name.first() else {
        let refusal = Refusal::new(Kind::NotFound, "no problem has this name");
        return Err(refusal.with_given(name).into());
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{0}</title>\n<style>:root {{ color-scheme: light dark; }} body {{ font: 1.1rem/1.5 system-ui, sans-serif; \
         max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }}</style>\n<h1>{0}</h1>\n",
        escape(title),
    );
    for (status, name, _, (what, what_to_do)) in &of_this_name {
        html += &format!(
            "<p><code>{status}</code> <code>/problems/{}</code></p>\n<p>{}</p>\n<p>{}</p>\n",
            escape(name),
            escape(what),
            escape(what_to_do),
        );
    }
    html += "<p><a href=\"/docs\">The API</a></p>\n";
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// What it means, with what became of the hit; and what to do.
const fn meaning(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::InvalidRequest => (
            "Something in the request is missing, has the wrong type, is out of its range or can be read in two ways. \
             Nothing was counted.",
            "The members field, given and accepted say what, where they apply. The same request is refused again.",
        ),
        Kind::Unauthorized => (
            "The request does not bring the API token, or nothing by which a limited route tells clients apart. Nothing \
             was counted.",
            "Send Authorization: Bearer and the token, or what the member accepted names.",
        ),
        Kind::Forbidden => (
            "The request brings a token that is not this node's API token. Nothing was counted.",
            "All nodes of a cluster should be started with the same --api-token-file.",
        ),
        Kind::WrongCredentials => (
            "The password or the recovery code is wrong, there is no such user, or the user may not log in: which it is, is not \
             told. Nothing was changed.",
            "Try another, or set a new password by the recovery code or a link that an owner or admin of your team makes.",
        ),
        Kind::ForgedRequest => (
            "A request with the cookie of a session changes something, and nothing shows that it comes from a page of this \
             service: its origin is another, or X-CSRF-Token is missing or wrong. Nothing was changed.",
            "Send X-CSRF-Token with the csrf that GET /v1/auth/session tells, and Origin: the address of the service.",
        ),
        Kind::SignupClosed => (
            "Nobody can sign up at this service by himself, or only who was invited to a tenant. Nothing was changed.",
            "Ask whoever is named in detail.",
        ),
        Kind::EmailTaken => (
            "Another user has this address. Nothing was changed.",
            "Log in, or take another address.",
        ),
        Kind::EmailConflict => (
            "While the cluster was split somebody else registered your address a little earlier, and has it. Nothing was changed.",
            "Choose another address by POST /v1/auth/email: until then you can do nothing else but log out.",
        ),
        Kind::LastOwner => (
            "A tenant keeps an owner, and this is its last one. Nothing was changed.",
            "Make somebody else an owner first.",
        ),
        Kind::BillingConflict => (
            "The tenant has a subscription already, or has none that could be changed. Nothing was changed.",
            "Change a subscription on the page of the biller: POST /v1/billing/portal leads there.",
        ),
        Kind::LinkUsed => (
            "The link was used, withdrawn or has expired, or there never was one: which it is, is not told. Nothing was changed.",
            "Ask whoever gave it to you for another.",
        ),
        Kind::TooManyAttempts => (
            "Too many attempts have failed, for this account or from this network. This one was not looked at, whatever it \
             brought.",
            "Try again after Retry-After. A browser that has logged in before has a count of its own.",
        ),
        Kind::TenantSuspended => (
            "An operator has suspended the tenant of this API key. Nothing was counted.",
            "Ask whoever runs the service.",
        ),
        Kind::Conflict => (
            "What is to be changed is not in a state in which it can be: an API key that was revoked, replaced or has expired is \
             not rotated. Nothing was changed.",
            "Look at it again; the member replaced_by names the API key that took its place.",
        ),
        Kind::PlanLimit => (
            "The plan of the tenant has room for no more of these. Nothing was changed.",
            "Remove one, or take a larger plan. The members limit and plan say what there is.",
        ),
        Kind::QuotaExceeded => (
            "The requests that the plan of the tenant has for this day (UTC) are used up. This one was not counted, by the plan or \
             by the limit.",
            "Wait until resets_at, or take a larger plan. The 429 of a limit has a decision as its body; this has a problem.",
        ),
        Kind::TenantRate => (
            "More requests a second came to this node from the tenant than its plan lets, whatever they ask; or more than 600 a \
             minute that read what it has, such as limits, API keys and people, or more than 600 that change it. Nothing was \
             counted or changed.",
            "Try again after Retry-After.",
        ),
        Kind::UnknownLimit => (
            "Neither the file of the node that was asked nor anybody at run time has made a limit of this name. Nothing was counted.",
            "GET /v1/limits lists the names. All nodes of a cluster should read the same file.",
        ),
        Kind::NotFound => (
            "There is no such path, key with a limit of its own, member or problem. Nothing was counted.",
            "GET /openapi.json lists the paths.",
        ),
        Kind::DefinedInFile => (
            "The limit is defined in the file, which a request cannot change.",
            "Change it in the file of every node, and have each read it again: weir reload, or SIGHUP.",
        ),
        Kind::MemberAlive => (
            "Only a dead member can be forgotten, and this one answers. Nothing was changed.",
            "Stop it: it leaves by itself.",
        ),
        Kind::NotReloaded => (
            "The file of the node cannot be taken as it is now, or changes what only a restart can, or there is none. Nothing \
             was changed: all that was in force is.",
            "The member problems names each thing, with its place. weir config check FILE says the same beforehand.",
        ),
        Kind::TooLarge => (
            "The body is over 64 KiB, that of a batch over 4 MiB, or a batch has more than 1000 checks. Nothing was \
             counted.",
            "Send less at once.",
        ),
        Kind::NeverConforms => (
            "The cost is above the burst, the most that passes at one instant: no wait helps. It was not counted.",
            "Ask for less, or raise the burst of the limit.",
        ),
        Kind::NotImplemented => (
            "This version does not do that. Nothing was counted or changed.",
            "The changelog says when a later one does.",
        ),
        Kind::NoDecision => (
            "Nobody that may decide could be reached in time, and the limit fails closed. The hit was not counted, unless \
             detail says that this is unknown: then the deciding node was asked and did not answer.",
            "Try again after Retry-After; blindly only where detail says that it was not counted. A limit with on_failure = \
             \"allow\" lets such hits pass.",
        ),
        Kind::NoQuorum => (
            "Under partition = \"quorum\" nothing is changed without a majority of the cluster, and this node reaches none. \
             Nothing was changed.",
            "Ask a node of the larger side, or try again after Retry-After.",
        ),
        Kind::StaleConfiguration => (
            "The node has heard of no other member for longer than [service] stale_after: an API key may have been revoked \
             meanwhile, or a user removed, operators too. The API token and the operator's token are taken all the same. Nothing was \
             counted.",
            "Ask another node. If the others are gone for good, weir forget them.",
        ),
        Kind::BillingUnavailable => (
            "The biller did not answer, or refused what it was asked. Plans, pages and checks go on without it. Nothing was bought or \
             changed here.",
            "Try again after Retry-After.",
        ),
        Kind::Overloaded => (
            "A queue or the memory for requests in flight was full, and this one was shed to keep the others going. \
             Nothing was counted.",
            "Try again after Retry-After, or another node.",
        ),
        Kind::Draining => (
            "The node is stopping and hands its keys to others. Nothing was counted.",
            "Ask another node; a balancer that watches /ready does so.",
        ),
    }
}

const fn meaning_of_protocol(protocol: Protocol) -> (&'static str, &'static str) {
    match protocol {
        Protocol::MethodNotAllowed => (
            "The path takes other methods. Nothing was counted.",
            "The header Allow lists them.",
        ),
        Protocol::HeadTooLarge => (
            "The head of the request has over 64 KiB or 100 headers. Nothing was counted, and the connection ended.",
            "Send fewer or shorter headers; cookies are the usual cause.",
        ),
        Protocol::UnsupportedMediaType => (
            "The body is said to be something else than JSON. Nothing was counted.",
            "Send Content-Type: application/json.",
        ),
    }
}
