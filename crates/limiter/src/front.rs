//! Who asks on behalf of a client.

/// The way in which a hit came. Metrics and logs name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Front {
    /// HTTP of our own, and beside a proxy.
    Http,
    /// The Redis protocol.
    Resp,
    /// Envoy's rate limit service.
    Grpc,
    /// A program that the node runs in.
    Program,
}

impl Front {
    /// Every one, in order.
    pub const ALL: [Self; 4] = [Self::Http, Self::Resp, Self::Grpc, Self::Program];

    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Resp => "resp",
            Self::Grpc => "grpc",
            Self::Program => "program",
        }
    }
}
