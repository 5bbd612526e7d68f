//! `grpc.health.v1.Health`: whether this node takes hits.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use coordinator::Readiness;
use limiter::{Limiter, Node};
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

/// Tells whether the node behind `limiter` takes hits.
pub(crate) struct Healthy<N>(pub(crate) Limiter<N>);

#[tonic::async_trait]
impl<N: Node> Health for Healthy<N> {
    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.status(&request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no such service is here")),
            status => Ok(Response::new(response(status))),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let seat = request.extensions().get::<Arc<Seat>>().map(Arc::clone);
        let service = request.into_inner().service;
        let watched = Self(self.0.clone());
        let busy = seat.as_ref().map(Seat::begin);
        let mut last = None;
        let ticks = IntervalStream::new(interval(WATCHED_EVERY));
        let told = ticks
            .take_while(move |_| seat.as_ref().is_none_or(|seat| !seat.is_leaving()))
            .filter_map(move |_| {
                if let Some(busy) = &busy {
                    busy.touch();
                }
                let status = watched.status(&service);
                (last.replace(status) != Some(status)).then(|| Ok(response(status)))
            });
        Ok(Response::new(Box::pin(told)))
    }
}

impl<N: Node> Healthy<N> {
    fn status(&self, service: &str) -> ServingStatus {
        match (service, self.0.node().readiness()) {
            ("" | SERVICE, Readiness::Ready) => ServingStatus::Serving,
            ("" | SERVICE, _) => ServingStatus::NotServing,
            _ => ServingStatus::ServiceUnknown,
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
