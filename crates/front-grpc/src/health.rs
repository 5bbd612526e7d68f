//! `grpc.health.v1.Health`: whether this node takes hits.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coordinator::Readiness;
use limiter::{Limiter, Node};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::connections::Seat;

/// The service that is looked after, beside the server as a whole, which is the empty name.
const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";

/// How often those who watch are looked after: how late they hear. Balancers ask about as often.
const WATCHED_EVERY: Duration = Duration::from_millis(500);

/// Most who watch at a time: those of a large fleet of proxies. Each wakes twice a second.
const WATCHERS_MAX: usize = 1_024;

/// Tells whether the node behind `limiter` takes hits.
pub(crate) struct Healthy<N> {
    limiter: Limiter<N>,
    /// Places for those who watch.
    places: Arc<Semaphore>,
}

impl<N> Healthy<N> {
    pub(crate) fn new(limiter: Limiter<N>) -> Self {
        Self {
            limiter,
            places: Arc::new(Semaphore::new(WATCHERS_MAX)),
        }
    }
}

#[tonic::async_trait]
impl<N: Node> Health for Healthy<N> {
    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&self.limiter, &request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no such service is here")),
            status => Ok(Response::new(response(status))),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!(
                "{WATCHERS_MAX} watch already; Check answers all the same"
            )));
        };
        let seat = request.extensions().get::<Arc<Seat>>().map(Arc::clone);
        let service = request.into_inner().service;
        let limiter = self.limiter.clone();
        let statuses = watched(seat, place, move || status(&limiter, &service));
        Ok(Response::new(Box::pin(
            statuses.map(|status| Ok(response(status))),
        )))
    }
}

/// What those who watch hear: `status` now, and whenever it has changed, until the connection is to end.
///
/// It says on its seat that it is taken, so that it outlasts a minute without a request, and does not keep the seat busy: one
/// who only watches makes room for those who ask.
fn watched(
    seat: Option<Arc<Seat>>,
    place: OwnedSemaphorePermit,
    mut status: impl FnMut() -> ServingStatus,
) -> impl Stream<Item = ServingStatus> {
    let (mut last, touched) = (None, seat.clone());
    let ticks = IntervalStream::new(interval(WATCHED_EVERY));
    ticks
        .take_while(move |_| seat.as_ref().is_none_or(|seat| !seat.is_leaving()))
        .filter_map(move |_| {
            let _held = &place;
            if let Some(seat) = &touched {
                seat.touch();
            }
            let status = status();
            (last.replace(status) != Some(status)).then_some(status)
        })
}

fn status<N: Node>(limiter: &Limiter<N>, service: &str) -> ServingStatus {
    match (service, limiter.node().readiness()) {
        ("" | SERVICE, Readiness::Ready) => ServingStatus::Serving,
        ("" | SERVICE, _) => ServingStatus::NotServing,
        _ => ServingStatus::ServiceUnknown,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::Connections;

    /// Connections of clients that watch were never idle, so that 5 120 of them kept everybody else out for good.
    #[tokio::test]
    async fn who_only_watches_makes_room() {
        let (seat, _place) = Connections::new().seat().unzip();
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let mut told = Box::pin(watched(seat.clone(), place, || ServingStatus::Serving));
        assert_eq!(told.next().await, Some(ServingStatus::Serving));
        assert!(seat.unwrap().is_idle());
        assert_eq!(places.available_permits(), 0);
        drop(told);
        assert_eq!(places.available_permits(), 1);
    }
}
