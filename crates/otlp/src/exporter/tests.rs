use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex as Lock;
use std::time::Duration;

use metrics::with_local_recorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response};
use traces::{Sampler, Tracer, tracer};

use super::*;

/// What must happen does so within it, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<i64, Code>;

/// Receives spans, and answers as it was told: how many spans it does not want, or why it takes none. Then it takes all.
#[derive(Clone, Default)]
struct Collector {
    answers: Arc<Lock<VecDeque<Answer>>>,
    /// Names of the spans of each batch that was taken.
    taken: Arc<Lock<Vec<Vec<String>>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let answer = self.answers.lock().unwrap().pop_front();
        let rejected_spans = answer
            .unwrap_or(Ok(0))
            .map_err(|code| Status::new(code, ""))?;
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|it| it.scope_spans);
        let names = scopes.flat_map(|it| it.spans).map(|span| span.name);
        self.taken.lock().unwrap().push(names.collect());
        let partial_success = (rejected_spans != 0).then(|| ExportTracePartialSuccess {
            rejected_spans,
            error_message: String::new(),
        });
        Ok(Response::new(ExportTraceServiceResponse {
            partial_success,
        }))
    }
}

impl Collector {
    fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let collector = Self::default();
        collector.answers.lock().unwrap().extend(answers);
        collector
    }

    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }
}

/// An exporter that runs, what fills it, and what it counts.
struct Exports {
    tracer: Tracer,
    exporter: Exporter,
    recorder: DebuggingRecorder,
    runs: JoinHandle<()>,
}

impl Exports {
    fn to(address: SocketAddr) -> Self {
        let recorder = DebuggingRecorder::new();
        let origin = Origin {
            service: "weir".into(),
            instance: "anna".into(),
            version: "1",
        };
        let (tracer, exporter) = with_local_recorder(&recorder, || {
            let (tracer, outlet) = tracer(Sampler::ratio(1.0), 16);
            let receiver = format!("http://{address}").parse().unwrap();
            (tracer, Exporter::new(receiver, origin, outlet))
        });
        let runs = tokio::spawn(exporter.clone().run());
        Self {
            tracer,
            exporter,
            recorder,
            runs,
        }
    }

    /// Nobody runs it any more, or ever will. What then has been counted as dropped since the last look.
    async fn dropped_at_the_end(self) -> u64 {
        self.runs.abort();
        let _cut_off = self.runs.await;
        drop(self.exporter);
        counted(&self.recorder).1
    }

    fn end(&self, name: &'static str) {
        drop(self.tracer.begin(name, None).unwrap());
    }

    fn counted(&self) -> (u64, u64) {
        counted(&self.recorder)
    }
}

/// Spans that were sent, and dropped, since the last look.
fn counted(recorder: &DebuggingRecorder) -> (u64, u64) {
    let (mut sent, mut dropped) = (0, 0);
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let DebugValue::Counter(count) = value else {
            panic!("{key:?}: {value:?}");
        };
        match key.key().name() {
            "weir_spans_sent_total" => sent = count,
            "weir_spans_dropped_total" => dropped = count,
            other => panic!("{other}"),
        }
    }
    (sent, dropped)
}

/// Has one span sent, stops, and holds what then is counted as sent and dropped against `expected`.
async fn check(answers: &[Answer], expected: (u64, u64)) {
    let collector = Collector::answering(answers.iter().copied());
    let exports = Exports::to(collector.serve().await);
    exports.end("one");
    exports.exporter.stop(PATIENCE).await;
    assert_eq!(exports.counted(), expected, "{answers:?}");
    let taken = collector.taken.lock().unwrap().len();
    assert_eq!(taken, usize::from(expected != (0, 1) || answers == [Ok(1)]));
}

#[tokio::test]
async fn who_stops_sends_what_waits_in_its_order() {
    let collector = Collector::default();
    let exports = Exports::to(collector.serve().await);
    for name in ["one", "two", "three"] {
        exports.end(name);
    }
    exports.exporter.stop(PATIENCE).await;
    let taken = collector.taken.lock().unwrap().concat();
    assert_eq!(taken, ["one", "two", "three"]);
    assert_eq!(exports.counted(), (3, 0));
    // Nobody sends it any more.
    exports.end("late");
    assert_eq!(exports.counted(), (0, 1), "counted since the last look");
}

#[tokio::test]
async fn what_was_not_taken_is_counted_as_dropped() {
    check(&[Ok(0)], (1, 0)).await;
    check(&[Ok(1)], (0, 1)).await;
    check(&[Err(Code::InvalidArgument)], (0, 1)).await;
    check(&[Err(Code::Unimplemented)], (0, 1)).await;
    // Told to stop, it does not come again.
    check(&[Err(Code::Unavailable)], (0, 1)).await;
}

#[tokio::test]
async fn what_cannot_be_taken_now_is_sent_again() {
    let collector = Collector::answering([Err(Code::Unavailable), Err(Code::ResourceExhausted)]);
    let exports = Exports::to(collector.serve().await);
    exports.end("one");
    let taken = async {
        while collector.taken.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.unwrap();
    exports.end("two");
    exports.exporter.stop(PATIENCE).await;
    assert_eq!(*collector.taken.lock().unwrap(), [["one"], ["two"]]);
    assert_eq!(exports.counted(), (2, 0));
}

#[tokio::test]
async fn nobody_waits_for_a_receiver_that_is_away() {
    // Bound, and nobody accepts: the system says that the connection stands, and nothing comes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exports = Exports::to(listener.local_addr().unwrap());
    for _ in 0..20 {
        exports.end("one");
    }
    let stopped = exports.exporter.stop(Duration::from_millis(50));
    tokio::time::timeout(PATIENCE, stopped).await.unwrap();
    let (sent, dropped) = exports.counted();
    assert_eq!(sent, 0);
    // Sixteen wait, or are on their way, and are no longer waited for.
    assert_eq!(dropped, 4);
    assert_eq!(exports.dropped_at_the_end().await, 16);
}

#[test]
fn a_collector_may_be_away_for_one_and_a_half_minutes() {
    let away: Duration = pauses().sum();
    assert_eq!(away, Duration::from_secs(91));
}

#[tokio::test]
async fn a_receiver_that_refuses_connections_costs_what_it_was_to_take() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exports = Exports::to(listener.local_addr().unwrap());
    drop(listener);
    exports.end("one");
    exports.exporter.stop(PATIENCE).await;
    assert_eq!(exports.counted(), (0, 1));
}
