//! What the front is told before it starts.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::http::HeaderName;
use coordinator::Policy;
use ipnet::IpNet;

/// What the front is told before it starts, checked by whoever read it.
#[derive(Clone)]
pub struct HttpConfig {
    /// Namespace that inline rules count in.
    pub namespace: Arc<str>,
    /// The limits that the file defines, by name.
    pub limits: HashMap<String, Policy>,
    /// Name of the limit that `/rate/increment` and `/rate/check` count on. They answer 404 if it is not defined.
    pub rate_limit: String,
    /// HTTP routes that the front answers by itself.
    pub routes: Vec<Route>,
    /// When given, everything under `/v1`, `/api` and `/rate` wants `Authorization: Bearer` and this. Not empty.
    pub api_token: Option<String>,
    /// Peers whose `X-Forwarded-For` is believed. An entry of it that lies in one of them is a proxy as well. IPv4 may be
    /// written as such or mapped into IPv6 (`::ffff:10.0.0.0/104`); other networks of IPv6 hold no IPv4.
    pub trusted_proxies: Vec<IpNet>,
    /// Signs browsers' cookies. The same on every node of a cluster and after every restart.
    pub browser_key: [u8; 32],
}

impl fmt::Debug for HttpConfig {
    // Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("namespace", &self.namespace)
            .field("limits", &self.limits)
            .field("rate_limit", &self.rate_limit)
            .field("routes", &self.routes)
            .field("api_token", &self.api_token.as_ref().map(|_| ".."))
            .field("trusted_proxies", &self.trusted_proxies)
            .finish_non_exhaustive()
    }
}

/// A protected HTTP route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Begins with `/`, matched exactly; none of the API's own.
    pub path: String,
    /// The limit that counts its requests.
    pub policy: Policy,
    /// Who is counted: the first that a request brings. Not empty.
    pub identify: Vec<Identity>,
    /// What an admitted request is answered with.
    pub answer: RouteAnswer,
}

/// What tells one client from another.
///
/// How somebody was identified is part of what is counted: a name is a key by itself, the others have `cookie:`, `peer:`
/// or `browser:` before them, and a name that begins like one of these has `name:` before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// The value of a request header, unless it is empty. Given twice, the request is refused.
    Header(HeaderName),
    /// The value of a query parameter, unless it is empty: the same name as in a header. Given twice, the request is
    /// refused.
    Query(String),
    /// The value of a cookie, unless it is empty. Given twice with different values, the request is refused.
    Cookie(String),
    /// A browser, by a signed cookie that it is given. Every request brings one or gets one.
    Browser,
    /// The address of the client; of IPv6 the first 64 bits. Every request has one.
    Peer,
}

/// What an admitted request is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteAnswer {
    /// A small HTML page.
    Page,
    /// A line that greets whom it counts. Without anybody to count, 401 `User ID Required`.
    Greeting,
    /// The decision as JSON.
    Json,
    /// What is left of the limit, as JSON. Counts nothing.
    Peek,
}
