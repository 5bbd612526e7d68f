//! The fronts of a node while they serve, and what they are told.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use billing::Stripe;
use front_grpc::GrpcConfig;
use front_http::{HttpConfig, Route, RouteAnswer};
use ipnet::IpNet;
use limiter::{Access, Billing, Identifier, Identity, Service};
use supervisor::Supervisor;
use tokio::sync::watch;

use crate::config::Config;
use crate::config::billing::BillingConfig;
use crate::config::routes::{Answer, Identify};
use crate::metrics::Metrics;

/// A front while it serves: a task that begins anew after a panic, on the same socket.
///
/// The connections of the front end with the panic. Who connects meanwhile waits in the kernel's queue and is refused
/// nothing, since the socket is kept beside the task.
pub(crate) struct Front {
    /// Its task, as logs and metrics call it.
    name: &'static str,
    socket: Arc<Socket>,
    told: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

/// How long a front is waited for once it was told to stop: the ten seconds and a quarter that those who asked may take,
/// and the five of the longest pause before a task that panicked in between begins anew.
const END_WITHIN: Duration = Duration::from_secs(16);

impl Front {
    /// Has what `serve` makes serve `listener` from now on, below `supervisor`, until [`Self::stop`]. To be called within a
    /// runtime.
    ///
    /// `serve` is called for every start, under the recorder of `metrics`.
    ///
    /// # Errors
    ///
    /// Nobody can be accepted from the listener.
    pub(crate) fn start<S: Future<Output = ()> + Send>(
        (supervisor, metrics): (&Supervisor, &Metrics),
        name: &'static str,
        listener: TcpListener,
        serve: impl Fn(tokio::net::TcpListener, Stopped) -> S + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let socket = Arc::new(Socket(Mutex::new(Some(listener))));
        // What is wrong with it is told to whoever starts the node.
        drop(socket.listener()?);
        let (told, is_told) = watch::channel(false);
        let (ends, ended) = watch::channel(false);
        let start = {
            let (socket, serve, metrics) = (Arc::clone(&socket), Arc::new(serve), metrics.clone());
            move || {
                let (socket, serve, metrics) =
                    (Arc::clone(&socket), Arc::clone(&serve), metrics.clone());
                let (stopped, ends) = (stopped(is_told.clone()), ends.clone());
                async move {
                    if let Some(listener) = socket.take_over(name).await {
                        metrics.scope(|| serve(listener, stopped)).await;
                    }
                    ends.send_replace(true);
                }
            }
        };
        metrics.scope(|| supervisor.run(name, start));
        Ok(Self {
            name,
            socket,
            told,
            ended,
        })
    }

    /// From now on it lets nobody else in.
    pub(crate) fn begin_stop(&self) {
        // Before its task lets go of the listener: else the kernel would accept for nobody until the drain is over.
        self.socket.close();
        self.told.send_replace(true);
    }

    /// Answers those who have asked.
    pub(crate) async fn stop(&mut self) {
        self.begin_stop();
        // An error of the channel means that its supervisor has ended it.
        let ended = self.ended.wait_for(|&ended| ended);
        if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
            tracing::error!(task = self.name, "what was in flight could not be finished");
        }
    }
}

/// What a front accepts from, kept for its next start.
struct Socket(Mutex<Option<TcpListener>>);

/// Pause after the system refused to hand out the socket once more, most likely for want of file descriptors.
const TAKE_OVER_AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Socket {
    /// A listener on the socket, as soon as there is one. `None` once the socket was closed.
    async fn take_over(&self, name: &'static str) -> Option<tokio::net::TcpListener> {
        loop {
            match self.listener() {
                Ok(listener) => return listener,
                Err(error) => {
                    tracing::error!(task = name, %error, "could not take over the listener, trying again");
                }
            }
            tokio::time::sleep(TAKE_OVER_AGAIN_AFTER).await;
        }
    }

    fn listener(&self) -> io::Result<Option<tokio::net::TcpListener>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = kept
            .as_ref()
            .map(|kept| tokio::net::TcpListener::from_std(kept.try_clone()?));
        listener.transpose()
    }

    fn close(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Resolves when a front is to stop.
pub(crate) type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

fn stopped(mut told: watch::Receiver<bool>) -> Stopped {
    Box::pin(async move {
        // An error means that nobody holds the front any more.
        let _told = told.wait_for(|&told| told).await;
    })
}

/// What fronts want to be shown: the token, or where the node is a service for many the credential of a tenant.
pub(crate) fn access(
    config: &Config,
    api_token: Option<String>,
    cookie: &str,
    node: &str,
) -> Access {
    let service = config.service.as_ref().map(|of_file| {
        let (url, plans) = (of_file.public_url.clone(), of_file.plans.clone());
        let mut service = Service::new(cookie.as_bytes(), url, plans);
        (service.signup, service.spans) = (of_file.signup, of_file.spans);
        service.stale_after = of_file.stale_after.map(Into::into);
        service.node = node.into();
        service.billing = config
            .billing
            .as_ref()
            .map(|billing| self::billing(billing, cookie).into());
        service
    });
    Access::new(api_token, service)
}

fn billing(of_file: &BillingConfig, cookie: &str) -> Billing {
    let stripe = Stripe::new(of_file.secret_key.clone(), &of_file.api_url);
    let mut billing = Billing::new(cookie.as_bytes(), stripe, of_file.meter.clone());
    billing.webhook_secrets = of_file.webhook_secrets.clone();
    billing.grace = of_file.grace.as_secs();
    billing.finalize_after = of_file.finalize_after.as_secs();
    billing
}

/// What Envoy's rate limit service is told. `config` was checked.
pub(crate) fn grpc_config(config: &Config, access: Access) -> GrpcConfig {
    let config = &config.grpc;
    GrpcConfig {
        rules: Arc::clone(&config.rules),
        access,
        tls: config.tls.clone(),
        keepalive: Some(config.keepalive).filter(|&span| span != Duration::ZERO),
    }
}

/// What the HTTP front is told. `config` was checked.
pub(crate) fn http_config(config: &Config, access: Access, browser_key: [u8; 32]) -> HttpConfig {
    let policy = |name: &str| {
        let named = config.limit(name);
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
        access,
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
