//! A receiver of spans.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What OpenTelemetry calls the kinds of spans.
pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;

/// The code of a status that is an error.
pub(crate) const FAILED: i32 = 2;

/// A span, as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// What the nodes are called together, and this one.
    pub(crate) origin: (String, String),
    pub(crate) span: Span,
    /// Values as text.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Received {
    pub(crate) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

/// Takes all spans. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Receiver(Arc<Mutex<Vec<Received>>>);

impl Receiver {
    /// One that is served, and where. To be called within a runtime.
    pub(crate) async fn serve() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self::default();
        let server = Server::builder().add_service(TraceServiceServer::new(receiver.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (receiver, address)
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Received> {
        self.0.lock().unwrap().clone()
    }

    /// The names of all spans so far, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.spans().into_iter().map(|it| it.span.name).collect();
        names.sort();
        names
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let about = text(&resource.resource.unwrap_or_default().attributes);
            let origin = (
                about["service.name"].clone(),
                about["service.instance.id"].clone(),
            );
            let spans = resource.scope_spans.into_iter().flat_map(|it| it.spans);
            let received = spans.map(|span| Received {
                origin: origin.clone(),
                attributes: text(&span.attributes),
                span,
            });
            self.0.lock().unwrap().extend(received);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| {
        let value = attribute.value.clone().and_then(|it| it.value).unwrap();
        let value = match value {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        (attribute.key.clone(), value)
    };
    attributes.iter().map(text).collect()
}
