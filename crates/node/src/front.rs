//! The fronts of a node while they serve, and what they are told.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use front_grpc::GrpcConfig;
use front_http::{HttpConfig, Route, RouteAnswer};
use front_resp::RespConfig;
use ipnet::IpNet;
use limiter::{Identifier, Identity, Limiter};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::config::routes::{Answer, Identify};
use crate::served::Served;

/// A front while it serves. Cut off when dropped.
pub(crate) struct Front {
    /// What people call it.
    name: &'static str,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    has_ended: bool,
}

impl Front {
    /// Serves HTTP from now on. To be called within a runtime.
    pub(crate) fn http(
        listener: TcpListener,
        limiter: Limiter<Served>,
        config: HttpConfig,
    ) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = front_http::router(limiter, config);
        Ok(Self::spawn("HTTP", |stopped| {
            front_http::serve(listener, router, stopped)
        }))
    }

    /// Serves the Redis protocol from now on. To be called within a runtime.
    pub(crate) fn redis(
        listener: TcpListener,
        limiter: Limiter<Served>,
        config: RespConfig,
    ) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(Self::spawn("Redis", |stopped| {
            front_resp::serve(listener, limiter, config, stopped)
        }))
    }

    /// Serves Envoy's rate limit service from now on. To be called within a runtime.
    pub(crate) fn grpc(
        listener: TcpListener,
        limiter: Limiter<Served>,
        config: GrpcConfig,
    ) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(Self::spawn("gRPC", |stopped| {
            front_grpc::serve(listener, limiter, config, stopped)
        }))
    }

    fn spawn<S: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        serve: impl FnOnce(Stopped) -> S,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(Stopped(stopped)));
        Self {
            name,
            stop: Some(stop),
            serving,
            has_ended: false,
        }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Ready when it has ended although nobody stopped it: nobody can ask this node by it any more.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_ended {
            let _panicked = ready!(Pin::new(&mut self.serving).poll(cx));
            self.has_ended = true;
        }
        Poll::Ready(())
    }

    /// From now on it lets nobody else in.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Answers those who have asked.
    pub(crate) async fn stop(&mut self) {
        self.begin_stop();
        if !self.has_ended
            && let Err(error) = (&mut self.serving).await
        {
            tracing::error!(%error, "what was in flight could not be finished");
        }
    }
}

/// Resolves when a front is to stop.
pub(crate) struct Stopped(oneshot::Receiver<()>);

impl Future for Stopped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What Envoy's rate limit service is told. `config` was checked.
pub(crate) fn grpc_config(config: &Config, api_token: Option<String>) -> GrpcConfig {
    let config = &config.grpc;
    GrpcConfig {
        rules: Arc::clone(&config.rules),
        api_token,
        tls: config.tls.clone(),
        keepalive: Some(config.keepalive).filter(|&span| span != Duration::ZERO),
    }
}

/// What the HTTP front is told. `config` was checked.
pub(crate) fn http_config(
    config: &Config,
    api_token: Option<String>,
    browser_key: [u8; 32],
) -> HttpConfig {
    let policy = |name: &str| {
        let mut limits = config.limits.iter();
        let named = limits.find(|policy| *policy.name == *name);
        named
            .expect("the reader knows the limits of routes")
            .clone()
    };
    let routes = config.routes.iter().map(|route| Route {
        path: route.path.clone(),
        policy: policy(&route.limit),
        identify: route.identify.iter().map(identity).collect(),
        answer: match route.answer {
            Answer::Page => RouteAnswer::Page,
            Answer::Greeting => RouteAnswer::Greeting,
            Answer::Json => RouteAnswer::Json,
            Answer::Peek => RouteAnswer::Peek,
        },
    });
    let trusted_proxies = config.cluster.trusted_proxies.iter().map(|network| {
        IpNet::new(network.address, network.prefix).expect("the reader keeps prefixes short enough")
    });
    let trusted_proxies: Vec<_> = trusted_proxies.collect();
    HttpConfig {
        rate_limit: "client".to_owned(),
        routes: routes.collect(),
        api_token,
        identifier: Arc::new(Identifier::new(&trusted_proxies, &browser_key)),
    }
}

fn identity(identify: &Identify) -> Identity {
    match identify {
        Identify::Header(name) => {
            Identity::Header(name.parse().expect("the reader takes names of headers"))
        }
        Identify::Query(name) => Identity::Query(name.clone()),
        Identify::Cookie(name) => Identity::Cookie(name.clone()),
        Identify::Browser => Identity::Browser,
        Identify::Peer => Identity::Peer,
    }
}
