//! The HTTP front of a node while it serves, and what it is told.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use front_http::{HttpConfig, Route, RouteAnswer};
use ipnet::IpNet;
use limiter::{Identifier, Identity, Limiter};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::config::routes::{Answer, Identify};
use crate::served::Served;

/// The HTTP front while it serves. Cut off when dropped.
pub(crate) struct Front {
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Front {
    /// Serves from now on. To be called within a runtime.
    pub(crate) fn start(
        listener: TcpListener,
        limiter: Limiter<Served>,
        config: HttpConfig,
    ) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = front_http::router(limiter, config);
        let (stop, stopped) = oneshot::channel();
        let serving = front_http::serve(listener, router, async {
            let _dropped = stopped.await;
        });
        Ok(Self {
            stop: Some(stop),
            serving: tokio::spawn(serving),
        })
    }

    /// Resolves when it has ended although nobody stopped it: nobody can ask this node anything any more.
    pub(crate) async fn ended(&mut self) {
        let _panicked = (&mut self.serving).await;
    }

    /// Answers those who have asked, and lets nobody else in.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        if let Err(error) = (&mut self.serving).await {
            tracing::error!(%error, "what was in flight could not be finished");
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
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
