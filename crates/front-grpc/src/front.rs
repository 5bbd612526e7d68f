//! The front with what it serves, which may be replaced while it does.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use limiter::{Access, Limiter};

use crate::config::GrpcConfig;
use crate::meter::Meters;
use crate::rules::Rules;
use crate::tls::Tls;

/// The front of one node. Clones are the same front.
///
/// Its metrics go to the recorder that is in force where it is made, and where something of it is replaced.
pub struct Front<N> {
    pub(crate) limiter: Limiter<N>,
    pub(crate) access: Access,
    pub(crate) served: Arc<ArcSwap<Served>>,
}

/// What a configuration says, ready to be served.
pub(crate) struct Served {
    /// Held by each request as long as it is answered: all of it is by the same rules.
    pub(crate) held_to: Arc<HeldTo>,
    pub(crate) tls: Option<Tls>,
    pub(crate) keepalive: Option<Duration>,
}

/// What descriptors are held to, and what came of them.
pub(crate) struct HeldTo {
    pub(crate) rules: Arc<Rules>,
    pub(crate) meters: Meters,
}

impl<N> Clone for Front<N> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            access: self.access.clone(),
            served: Arc::clone(&self.served),
        }
    }
}

impl<N> Front<N> {
    /// Serves what `config` says for the node behind `limiter`.
    pub fn new(limiter: Limiter<N>, config: GrpcConfig) -> Self {
        let access = config.access.clone();
        Self {
            limiter,
            access,
            served: Arc::new(ArcSwap::from_pointee(Served::new(config))),
        }
    }

    /// Serves what `config` says: rules from the next request on, TLS and keepalive on connections that begin later. What
    /// has to be shown stays.
    pub fn replace(&self, config: GrpcConfig) {
        self.served.store(Arc::new(Served::new(config)));
    }
}

impl Served {
    fn new(config: GrpcConfig) -> Self {
        let held_to = HeldTo {
            meters: Meters::new(&config.rules),
            rules: config.rules,
        };
        Self {
            held_to: Arc::new(held_to),
            tls: config.tls,
            keepalive: config.keepalive,
        }
    }
}
