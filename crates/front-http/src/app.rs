//! What all handlers share.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use connections::Memory;
use coordinator::Policy;

use crate::browser::BrowserKey;
use crate::client::Proxies;
use crate::config::HttpConfig;
use crate::headers::RateHeaders;
use crate::memory::{ANSWERS_MAX, BODIES_MAX};
use crate::problem::Problem;

/// What all handlers share.
pub(crate) struct App<N> {
    pub(crate) node: Arc<N>,
    pub(crate) namespace: Arc<str>,
    pub(crate) limits: HashMap<String, Selected>,
    pub(crate) rate_limit: String,
    pub(crate) proxies: Proxies,
    pub(crate) browser_key: BrowserKey,
    /// What bodies may take together, and the answers to batches.
    pub(crate) bodies: Memory,
    /// What other answers may take together that grow with what the node holds.
    pub(crate) answers: Memory,
}

/// The state of every handler.
pub(crate) type Shared<N> = State<Arc<App<N>>>;

/// A limit, and the headers that tell of it.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    pub(crate) policy: Policy,
    pub(crate) headers: RateHeaders,
}

impl Selected {
    /// A limit that clients see under its own name.
    pub(crate) fn named(policy: Policy) -> Self {
        let headers = RateHeaders::new(&policy.name, &policy.limit);
        Self { policy, headers }
    }
}

impl<N> App<N> {
    pub(crate) fn new(node: Arc<N>, config: &HttpConfig) -> Self {
        let limits = config.limits.iter();
        Self {
            node,
            namespace: Arc::clone(&config.namespace),
            limits: limits
                .map(|(name, policy)| (name.clone(), Selected::named(policy.clone())))
                .collect(),
            rate_limit: config.rate_limit.clone(),
            proxies: Proxies::new(&config.trusted_proxies),
            browser_key: BrowserKey::new(&config.browser_key),
            bodies: Memory::new(BODIES_MAX),
            answers: Memory::new(ANSWERS_MAX),
        }
    }

    /// The limit that the file defines under `name`.
    pub(crate) fn limit(&self, name: &str) -> Result<&Selected, Problem> {
        self.limits
            .get(name)
            .ok_or_else(|| Problem::unknown_limit(name))
    }
}
