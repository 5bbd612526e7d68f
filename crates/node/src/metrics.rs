//! The metrics of one node, apart from those of others in its process.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use metrics::{Recorder, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use pin_project_lite::pin_project;
use tokio::time::MissedTickBehavior;

/// Upper bounds of the buckets of every histogram in seconds: from a local decision to the deadline of a hit.
const SECONDS_BUCKETS: [f64; 14] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25,
    1.0, 2.5,
];

/// And of those that count what a frame, an entry or a key had: powers of four up to the most hits of one frame.
const COUNT_BUCKETS: [f64; 7] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];

/// From one upkeep to the next: what the exporter does itself where it serves them. A node that decides 200 000 hits a second
/// has some 8 MB of samples by then.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Where a node's metrics go, and what shows them under `/metrics`. Clones share it.
///
/// A node makes its handles once, while it starts, so that two nodes in one process never add to the same counters
/// unless they are given the same recorder.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<dyn Recorder + Send + Sync>,
    render: Arc<dyn Fn() -> String + Send + Sync>,
    /// What keeps the recorder from growing.
    upkeep: Arc<dyn Fn() + Send + Sync>,
}

impl Metrics {
    /// Metrics go to `recorder`; `/metrics` answers what `render` returns, in Prometheus' text format.
    #[must_use]
    pub fn new(
        recorder: impl Recorder + Send + Sync + 'static,
        render: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            recorder: Arc::new(recorder),
            render: Arc::new(render),
            upkeep: Arc::new(|| ()),
        }
    }

    /// The same, for a recorder that wants something done every few seconds so that it does not grow: a node that has it
    /// calls `upkeep` every five seconds, on its runtime. Nothing by default.
    #[must_use]
    pub fn with_upkeep(self, upkeep: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            upkeep: Arc::new(upkeep),
            ..self
        }
    }

    /// Metrics stay in memory until somebody asks for `/metrics`, those of the process (`process_…`) among them. What a node
    /// has that is told nothing else.
    #[must_use]
    pub fn prometheus() -> Self {
        let buckets = [
            ("_seconds", &SECONDS_BUCKETS[..]),
            ("_hits", &COUNT_BUCKETS),
            ("_units", &COUNT_BUCKETS),
        ];
        let mut builder = PrometheusBuilder::new();
        for (suffix, bounds) in buckets {
            let suffix = Matcher::Suffix(suffix.to_owned());
            builder = builder
                .set_buckets_for_metric(suffix, bounds)
                .expect("there are buckets");
        }
        let recorder = Arc::new(builder.build_recorder());
        let handle = recorder.handle();
        let upkept = handle.clone();
        let process = metrics_process::Collector::default();
        with_local_recorder(&recorder, || process.describe());
        let own = Arc::clone(&recorder);
        let render = move || {
            with_local_recorder(&own, || process.collect());
            handle.render()
        };
        // Samples of histograms wait in a list until then, or until somebody asks for `/metrics`: maybe for ever.
        Self::new(recorder, render).with_upkeep(move || upkept.run_upkeep())
    }

    /// The recorder, for others in the process that are to be shown by the same `/metrics`.
    #[must_use]
    pub fn recorder(&self) -> Arc<dyn Recorder + Send + Sync> {
        Arc::clone(&self.recorder)
    }

    /// All metrics, as `/metrics` shows them.
    #[must_use]
    pub fn text(&self) -> String {
        (self.render)()
    }

    /// Does the upkeep for as long as it is polled.
    pub(crate) async fn keep_up(self) {
        let mut ticks = tokio::time::interval(UPKEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            (self.upkeep)();
        }
    }

    /// Handles that `make` makes are those of this recorder.
    pub(crate) fn scope<T>(&self, make: impl FnOnce() -> T) -> T {
        with_local_recorder(&*self.recorder, make)
    }

    /// Handles that the future makes, by itself and not in tasks of its own, are those of this recorder.
    pub(crate) fn within<F: Future>(&self, future: F) -> Within<F> {
        Within {
            metrics: self.clone(),
            future,
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

pin_project! {
    /// A future that is polled under a recorder of its own.
    pub(crate) struct Within<F> {
        metrics: Metrics,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.metrics.scope(|| this.future.poll(cx))
    }
}
