//! Spans as they travel.
//!
//! Source: OpenTelemetry protocol 1.x, `opentelemetry/proto/trace/v1/trace.proto`.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use traces::{Ended, Kind, Value};

/// Whose spans they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// What all nodes are called together: `service.name`.
    pub service: String,
    /// The node: `service.instance.id`.
    pub instance: String,
    /// Which build it runs: `service.version`.
    pub version: &'static str,
}

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`: it is known whether the parent is of another process.
const KNOWS_REMOTE: u32 = 0x100;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`: it is.
const IS_REMOTE: u32 = 0x200;
/// The flag of W3C Trace Context: the trace is recorded.
const SAMPLED: u32 = 1;

/// What the receiver is asked to take.
pub(crate) fn request(origin: &Origin, batch: Vec<Ended>) -> ExportTraceServiceRequest {
    let about = [
        ("service.name", origin.service.clone()),
        ("service.instance.id", origin.instance.clone()),
        ("service.version", origin.version.to_owned()),
    ];
    let about = about
        .into_iter()
        .map(|(key, value)| attribute(key, value.into()));
    let scope = InstrumentationScope {
        name: "weir".to_owned(),
        version: origin.version.to_owned(),
        ..InstrumentationScope::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: about.collect(),
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: batch.into_iter().map(span).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn span(ended: Ended) -> Span {
    let kind = match ended.kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let remote = match ended.parent_is_remote {
        true => IS_REMOTE,
        false => 0,
    };
    let attributes = ended.attributes.into_iter();
    Span {
        trace_id: ended.trace.to_bytes().to_vec(),
        span_id: ended.span.to_bytes().to_vec(),
        parent_span_id: ended
            .parent
            .map_or_else(Vec::new, |it| it.to_bytes().to_vec()),
        flags: SAMPLED | KNOWS_REMOTE | remote,
        name: ended.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: ended.began_ns,
        end_time_unix_nano: ended.ended_ns,
        attributes: attributes
            .map(|(key, value)| attribute(key, value))
            .collect(),
        status: ended.failure.map(|why| Status {
            message: why.into_owned(),
            code: StatusCode::Error.into(),
        }),
        ..Span::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Any::StringValue(text.into_owned()),
        Value::Number(number) => Any::IntValue(number),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use traces::{Parent, Sampler, tracer};

    use super::*;

    #[test]
    fn a_span_travels_with_all_that_is_known_of_it() {
        let (tracer, mut outlet) = tracer(Sampler::ratio(1.0), 2);
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request_span = tracer.begin("request", Parent::parse(parent)).unwrap();
        let child = request_span.child("forward").unwrap();
        child.set("weir.attempts", 2);
        child.fail("nobody answered");
        drop(child);
        drop(request_span);
        let mut batch = Vec::new();
        while let Some(ended) = outlet.try_next() {
            batch.push(ended);
        }
        let origin = Origin {
            service: "edge".into(),
            instance: "anna".into(),
            version: "1.2.3",
        };
        let mut resources = request(&origin, batch).resource_spans;
        let about = resources[0].resource.take().unwrap().attributes;
        let keys: Vec<_> = about.iter().map(|it| &*it.key).collect();
        assert_eq!(
            keys,
            ["service.name", "service.instance.id", "service.version"]
        );
        let [forward, request] = &resources[0].scope_spans[0].spans[..] else {
            panic!("{resources:?}");
        };
        assert_eq!(request.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(request.parent_span_id[..2], [0xb7, 0xad]);
        assert_eq!(request.flags, 0x301);
        assert_eq!(request.kind, i32::from(SpanKind::Server));
        assert_eq!(request.status, None);
        assert_eq!(forward.trace_id, request.trace_id);
        assert_eq!(forward.parent_span_id, request.span_id);
        assert_eq!(forward.flags, 0x101);
        assert_eq!(forward.kind, i32::from(SpanKind::Client));
        assert_eq!(forward.status.as_ref().unwrap().message, "nobody answered");
        assert_eq!(forward.attributes, [attribute("weir.attempts", 2.into())]);
        assert!(request.start_time_unix_nano <= forward.start_time_unix_nano);
        assert!(forward.end_time_unix_nano <= request.end_time_unix_nano);
    }
}
