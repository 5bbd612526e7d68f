//! What the front is told before it starts.

use std::fmt;
use std::sync::Arc;

use coordinator::Policy;
use limiter::{Access, Identifier, Identity};

/// What the front is told before it starts, checked by whoever read it.
#[derive(Clone)]
pub struct HttpConfig {
    /// Name of the limit that `/rate/increment` and `/rate/check` count on. They answer 404 if it is not defined.
    pub rate_limit: String,
    /// HTTP routes that the front answers by itself.
    pub routes: Vec<Route>,
    /// What `Authorization` must bring.
    pub access: Access,
    /// Tells clients apart.
    pub identifier: Arc<Identifier>,
}

impl fmt::Debug for HttpConfig {
    // Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("rate_limit", &self.rate_limit)
            .field("routes", &self.routes)
            .field("access", &self.access)
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
