//! Batches on their way.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::sync::{Mutex, watch};
use tonic::transport::Channel;
use tonic::{Code, Status};
use traces::{Ended, Outlet};

use crate::message::request;
use crate::{Origin, Receiver};

/// Spans of one batch: some 150 KiB of the 4 MiB that receivers take.
const BATCH_MAX: usize = 512;

/// How long the first span of a batch waits for others. Somebody who looks for a trace waits as long.
const GATHER_WITHIN: Duration = Duration::from_secs(1);

/// Pause before a batch that was not taken is sent again. It doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// So often a batch is sent before it is lost: with pauses of 1, 2, 4, 8, 16, 30 and 30 s between them over one and a half minutes,
/// in which a collector is replaced. Meanwhile those that end wait behind it.
const ATTEMPTS: usize = 8;

/// Sends what comes out of an outlet to a receiver, in batches, one at a time. Clones are the same exporter.
///
/// A batch that the receiver cannot take now is sent again, after a growing pause; one that it never will, or not in time, is
/// lost. What waits meanwhile is bounded by the outlet. Everything that is lost is counted there.
#[derive(Clone)]
pub struct Exporter(Arc<Inner>);

struct Inner {
    receiver: Receiver,
    origin: Origin,
    /// Held as long as it runs.
    outlet: Mutex<Outlet>,
    sent: Counter,
    told: watch::Sender<bool>,
    /// Whether all that waited when it was told has been sent, or lost.
    ended: watch::Sender<bool>,
}

impl Exporter {
    /// Nothing is sent before it [runs](Self::run). Its metrics go to the recorder that is in force.
    #[must_use]
    pub fn new(receiver: Receiver, origin: Origin, outlet: Outlet) -> Self {
        Self(Arc::new(Inner {
            receiver,
            origin,
            outlet: Mutex::new(outlet),
            sent: counter!("weir_spans_sent_total"),
            told: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        }))
    }

    /// Sends until it was told to [stop](Self::stop), and then what waits. May be run again should it panic. What is on its way when
    /// the future is dropped, or panics, is lost.
    pub async fn run(self) {
        let inner = &*self.0;
        let mut outlet = inner.outlet.lock().await;
        let mut sending = Sending {
            inner,
            client: TraceServiceClient::new(inner.receiver.channel()),
            told: inner.told.subscribe(),
            is_away: false,
        };
        let mut batch = Batch::of(&mut outlet);
        loop {
            tokio::select! {
                () = batch.gather() => {}
                () = is_true(&mut sending.told) => batch.gather_last().await,
            }
            if batch.spans.is_empty() {
                inner.ended.send_replace(true);
                return;
            }
            sending.deliver(&mut batch).await;
        }
    }

    /// Has it send what waits, once, and waits until it has, `within` this time at most. What is not sent by then is lost: it is
    /// counted once the future that [runs](Self::run) is gone.
    pub async fn stop(&self, within: Duration) {
        self.0.told.send_replace(true);
        let mut ended = self.0.ended.subscribe();
        let ended = is_true(&mut ended);
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!(receiver = %self.0.receiver.shown(), "stopping before all spans were sent");
        }
    }
}

/// Spans that were taken from an outlet, and are neither sent nor lost yet.
struct Batch<'o> {
    outlet: &'o mut Outlet,
    spans: Vec<Ended>,
    /// Those of them that are on their way.
    underway: usize,
}

impl<'o> Batch<'o> {
    fn of(outlet: &'o mut Outlet) -> Self {
        Self {
            outlet,
            spans: Vec::with_capacity(BATCH_MAX),
            underway: 0,
        }
    }

    /// Fills it, or what has come in time; nothing if nothing will come any more. If it is dropped, what has come is there.
    async fn gather(&mut self) {
        let Self { outlet, spans, .. } = self;
        if spans.is_empty() && outlet.next(spans, BATCH_MAX).await == 0 {
            return;
        }
        let rest = async {
            while spans.len() < BATCH_MAX && outlet.next(spans, BATCH_MAX - spans.len()).await != 0
            {
            }
        };
        let _late = tokio::time::timeout(GATHER_WITHIN, rest).await;
    }

    /// Adds what waits to it. Nothing comes any more.
    async fn gather_last(&mut self) {
        self.outlet.close();
        let room = BATCH_MAX - self.spans.len();
        if room != 0 {
            self.outlet.next(&mut self.spans, room).await;
        }
    }

    /// All of it, to be sent. [`Self::on_sent`] or [`Self::on_lost`] says what became of it.
    fn send(&mut self) -> Vec<Ended> {
        self.underway = self.spans.len();
        std::mem::take(&mut self.spans)
    }

    /// It was taken, but for so many.
    fn on_sent(&mut self, rejected: usize, sent: &Counter) {
        let count = std::mem::take(&mut self.underway);
        let rejected = rejected.min(count);
        sent.increment((count - rejected) as u64);
        self.outlet.on_sent();
        self.outlet.lose(rejected);
    }

    fn on_lost(&mut self) {
        self.outlet.lose(std::mem::take(&mut self.underway));
    }
}

/// Whoever sends it is gone, and with it the batch.
impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.outlet.lose(self.spans.len() + self.underway);
    }
}

/// Resolves when it is so.
async fn is_true(is_so: &mut watch::Receiver<bool>) {
    // The sender lives as long as the exporter.
    let _so = is_so.wait_for(|&is_so| is_so).await;
}

/// An exporter while it runs.
struct Sending<'e> {
    inner: &'e Inner,
    client: TraceServiceClient<Channel>,
    told: watch::Receiver<bool>,
    /// Whether the receiver took nothing lately: it has been told.
    is_away: bool,
}

impl Sending<'_> {
    /// Sends a batch until it is taken or lost.
    async fn deliver(&mut self, batch: &mut Batch<'_>) {
        let request = request(&self.inner.origin, batch.send());
        match self.send(request).await {
            Ok(rejected) => batch.on_sent(rejected, &self.inner.sent),
            Err(_) => batch.on_lost(),
        }
    }

    /// Returns how many spans the receiver did not want.
    async fn send(&mut self, request: ExportTraceServiceRequest) -> Result<usize, Status> {
        let mut pauses = pauses();
        loop {
            let refused = match self.client.export(request.clone()).await {
                Ok(taken) => {
                    self.on_taken();
                    let partly = taken.into_inner().partial_success;
                    let rejected = partly.map_or(0, |partly| partly.rejected_spans);
                    return Ok(usize::try_from(rejected).unwrap_or(0));
                }
                Err(refused) => refused,
            };
            self.on_refused(&refused);
            let was_told = *self.told.borrow();
            if was_told || !is_passing(refused.code()) {
                return Err(refused);
            }
            let Some(pause) = pauses.next() else {
                return Err(refused);
            };
            // Told to stop, it is sent once more, at once.
            let _told = tokio::time::timeout(pause, is_true(&mut self.told)).await;
        }
    }

    fn on_taken(&mut self) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!(receiver = %self.inner.receiver.shown(), "the receiver of spans takes them again");
        }
    }

    fn on_refused(&mut self, refused: &Status) {
        if !std::mem::replace(&mut self.is_away, true) {
            let receiver = self.inner.receiver.shown();
            tracing::warn!(%receiver, error = %refused, "the receiver takes no spans, they wait as long as there is room");
        }
    }
}

/// Between the attempts to send a batch.
fn pauses() -> impl Iterator<Item = Duration> {
    let longer = |pause: &Duration| Some((*pause * 2).min(PAUSE_MAX));
    std::iter::successors(Some(PAUSE), longer).take(ATTEMPTS - 1)
}

/// Whether the same batch may be taken later. Source: OTLP 1.x, "Failures" of OTLP/gRPC. What takes no batch for now is
/// `ResourceExhausted` there only with a hint when to come back; without one we come back as well, since the attempts are few.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests;
