//! The front on a port of its own, and requests to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use coordinator::{FailMode, Policy, Strategy};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use front_grpc::{Bound, Front as Served, GrpcConfig, Match, Rule, Rules, serve};
use limiter::{Access, Front, Limiter, NAMESPACE, Selected};
use quota::{Algorithm, Limit, Nanos};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

use fake_node::FakeNode;

/// A front that serves until it is dropped or stopped.
pub(crate) struct Server {
    pub(crate) node: Arc<FakeNode>,
    pub(crate) front: Served<FakeNode>,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// A configuration with these rules alone.
pub(crate) fn config(rules: Rules) -> GrpcConfig {
    GrpcConfig {
        rules: Arc::new(rules),
        access: Access::default(),
        tls: None,
        keepalive: None,
    }
}

impl Server {
    pub(crate) async fn start(config: GrpcConfig) -> Self {
        let node = Arc::new(FakeNode::new());
        node.decides_at_once.store(true, Relaxed);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = LIMITS.map(|(_, name, units)| policy(name, per_minute(units)));
        let limiter = Limiter::new(Arc::clone(&node), NAMESPACE.into(), limits, Front::Grpc);
        let front = Served::new(limiter, config);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, front.clone(), async {
            let _dropped = stopped.await;
        }));
        Self {
            node,
            front,
            address,
            stop,
            serving,
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> RateLimitServiceClient<Channel> {
        RateLimitServiceClient::new(self.channel().await)
    }

    /// Asks on a connection of its own.
    pub(crate) async fn ask(&self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let response = self.client().await.should_rate_limit(request).await?;
        Ok(response.into_inner())
    }

    /// Stops, and waits until it has.
    pub(crate) async fn stop(self) {
        let _gone = self.stop.send(());
        self.serving.await.unwrap();
    }
}

/// A limit that a test names.
pub(crate) fn policy(name: &str, limit: Limit) -> Policy {
    Policy {
        namespace: NAMESPACE.into(),
        name: name.into(),
        limit,
        strategy: Strategy::Owner,
        on_failure: FailMode::Deny,
        top_keys: false,
    }
}

/// So many units a minute.
pub(crate) fn per_minute(units: u32) -> Limit {
    Limit::new(Algorithm::FixedWindow, units, Nanos::from_secs(60)).unwrap()
}

/// A rule with nothing special about it.
pub(crate) fn rule(policy: Policy) -> Rule {
    let name = policy.name.to_string();
    named(name, Bound::Limit(Selected::named(policy)))
}

/// A rule that clients see under this name.
pub(crate) fn named(name: String, bound: Bound) -> Rule {
    Rule {
        name,
        bound,
        is_shadow: false,
        replaces: Vec::new(),
        replaced_as: String::new(),
    }
}

/// What the file of the node defines: the key of an entry, and the limit that it is held to, so many a minute.
const LIMITS: [(&str, &str, u32); 2] = [("ip", "login", 2), ("user", "user", 10)];

/// `edge`: an entry `ip` of any value is held to `login`, 2 a minute; `user` to `user`, 10 a minute.
pub(crate) fn rules() -> Rules {
    let mut rules = Rules::default();
    for (key, name, _) in LIMITS {
        let entry = Match {
            key: key.to_owned(),
            value: None,
        };
        let rule = named(name.to_owned(), Bound::Named(name.to_owned()));
        rules.add("edge", &[entry], rule).unwrap();
    }
    rules
}

/// A descriptor: `path=/login ip=10.0.0.1`.
pub(crate) fn descriptor(text: &str) -> RateLimitDescriptor {
    let entries = text.split_whitespace().map(|entry| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        Entry {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    });
    RateLimitDescriptor {
        entries: entries.collect(),
        ..RateLimitDescriptor::default()
    }
}

/// A request with these descriptors, each for a single hit.
pub(crate) fn request(domain: &str, descriptors: &[&str]) -> RateLimitRequest {
    RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: descriptors.iter().copied().map(descriptor).collect(),
        hits_addend: 0,
    }
}
