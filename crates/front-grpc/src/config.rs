//! What the front is told before it starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use limiter::Access;

use crate::rules::Rules;
use crate::tls::Tls;

/// What the front is told before it starts, checked by whoever read it.
#[derive(Clone)]
pub struct GrpcConfig {
    /// What descriptors are held to.
    pub rules: Arc<Rules>,
    /// What `authorization` in the metadata of `ShouldRateLimit` must bring, behind `Bearer`.
    pub access: Access,
    /// `None`: plain text.
    pub tls: Option<Tls>,
    /// How long a connection may be silent before it is asked whether it lives; it has 20 s to say so. `None`: never asked.
    pub keepalive: Option<Duration>,
}

impl fmt::Debug for GrpcConfig {
    // Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcConfig")
            .field("rules", &self.rules)
            .field("access", &self.access)
            .field("tls", &self.tls.as_ref().map(|_| ".."))
            .field("keepalive", &self.keepalive)
            .finish()
    }
}
