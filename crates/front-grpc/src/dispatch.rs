//! Which service a request is for, and whether it may be asked.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use accounts::Scope;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use limiter::{Access, Caller, Kind, Limiter, Node, Refusal};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tower_service::Service as _;

use crate::connections::{Busy, Seat};
use crate::front::Front;
use crate::health::Healthy;
use crate::reflection;
use crate::service::Service;

/// Largest message. A request at all of its bounds has 67 KiB: 16 descriptors of 8 entries of twice 256 bytes.
const MESSAGE_MAX: usize = 80 * 1024;

/// Requests that are answered at a time. With messages at their largest they take 640 MiB, with usual ones 2 MiB; at 100 µs for
/// each they are 80 000 000 a second, so only what waits for other nodes gets here.
const REQUESTS_MAX: u32 = 8_192;

/// Where the requests of the rate limit service go to.
const RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/";

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// All services, for all connections.
pub(crate) struct Dispatch<N> {
    rate_limit: RateLimitServiceServer<Service<N>>,
    /// Health and reflection: asked rarely.
    others: Routes,
    access: Access,
    limiter: Limiter<N>,
    /// How many requests are being answered.
    underway: Arc<AtomicU32>,
}

impl<N> Clone for Dispatch<N> {
    fn clone(&self) -> Self {
        Self {
            rate_limit: self.rate_limit.clone(),
            others: self.others.clone(),
            access: self.access.clone(),
            limiter: self.limiter.clone(),
            underway: Arc::clone(&self.underway),
        }
    }
}

/// All services, for one connection.
pub(crate) struct OnConnection<N> {
    dispatch: Dispatch<N>,
    seat: Arc<Seat>,
}

impl<N: Node> Dispatch<N> {
    pub(crate) fn new(front: &Front<N>) -> Self {
        let health = HealthServer::new(Healthy::new(front.limiter.clone()));
        let others = reflection::add_to(Routes::new(health.max_decoding_message_size(MESSAGE_MAX)));
        let service = Service::new(front);
        Self {
            rate_limit: RateLimitServiceServer::new(service).max_decoding_message_size(MESSAGE_MAX),
            others: others.prepare(),
            access: front.access.clone(),
            limiter: front.limiter.clone(),
            underway: Arc::default(),
        }
    }

    pub(crate) fn on_connection(&self, seat: Arc<Seat>) -> OnConnection<N> {
        OnConnection {
            dispatch: self.clone(),
            seat,
        }
    }

    fn answer(&self, mut request: Request<Incoming>, seat: &Arc<Seat>) -> Result<Answer, Status> {
        if !request.uri().path().starts_with(RATE_LIMIT) {
            request.extensions_mut().insert(Arc::clone(seat));
            let mut others = self.others.clone();
            return Ok(Box::pin(others.call(request)));
        }
        if !self.access.is_open() {
            let credential = credential(request.headers());
            match self.access.admit_at_once(&self.limiter, credential) {
                Some(told) => request.extensions_mut().insert(may_check(told)?),
                None => return Ok(Box::pin(self.clone().answer_asking(request))),
            };
        }
        Ok(self.rate_limit.clone().call(request))
    }

    /// Answers a request once another member was asked about its credential, which this node does not know.
    async fn answer_asking(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let credential = credential(request.headers());
        let told = self.access.admit_asking(&self.limiter, credential).await;
        match may_check(told) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                self.rate_limit.clone().call(request).await
            }
            Err(refused) => Ok(refused.into_http()),
        }
    }

    /// A place among the requests that are answered. `None`: all are taken.
    fn enter(&self) -> Option<Entered> {
        if REQUESTS_MAX <= self.underway.fetch_add(1, Relaxed) {
            self.underway.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Entered(Arc::clone(&self.underway)))
    }
}

/// A place among the requests that are answered.
pub(crate) struct Entered(Arc<AtomicU32>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<N: Node> hyper::service::Service<Request<Incoming>> for OnConnection<N> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let Some(busy) = self.seat.begin() else {
            let status = Status::unavailable("this connection ends; nothing was counted");
            return Answering::Refused(Some(status));
        };
        let Some(entered) = self.dispatch.enter() else {
            let status = Status::unavailable("too many requests are waiting; nothing was counted");
            return Answering::Refused(Some(status));
        };
        match self.dispatch.answer(request, &self.seat) {
            Ok(answer) => Answering::Asked {
                answer,
                _while: (busy, entered),
            },
            Err(status) => Answering::Refused(Some(status)),
        }
    }
}

/// The answer to one request.
pub(crate) enum Answering {
    Asked {
        answer: Answer,
        _while: (Busy, Entered),
    },
    Refused(Option<Status>),
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Asked { answer, .. } => Poll::Ready(ready!(answer.as_mut().poll(cx))),
            Self::Refused(status) => {
                let status = status.take().expect("an answer is taken once");
                Poll::Ready(Ok(status.into_http()))
            }
        }
    }
}

/// Whoever was admitted, if he may check, and no faster than his plan lets him.
fn may_check<N: Node>(admitted: Result<Caller<N>, Refusal>) -> Result<Caller<N>, Status> {
    let caller = admitted.and_then(|caller| {
        caller.needs(Scope::Check)?;
        caller.check_ceiling()?;
        Ok(caller)
    });
    caller.map_err(|refusal| {
        let detail = match refusal.detail() {
            detail if detail.contains("counted") => detail.to_owned(),
            detail => format!("{detail}; nothing was counted"),
        };
        match refusal.kind() {
            Kind::Unauthorized => Status::unauthenticated(detail),
            Kind::TenantRate => Status::resource_exhausted(detail),
            Kind::NoDecision | Kind::StaleConfiguration => Status::unavailable(detail),
            _ => Status::permission_denied(detail),
        }
    })
}

/// The one credential that the metadata brings.
fn credential(metadata: &HeaderMap) -> Option<&[u8]> {
    let mut given = metadata.get_all(AUTHORIZATION).iter();
    let one = given.next().filter(|_| given.next().is_none());
    one.and_then(|header| bearer(header.as_bytes()))
}

fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, given) = header.split_at_checked("Bearer ".len())?;
    let given = given.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !given.is_empty()).then_some(given)
}
