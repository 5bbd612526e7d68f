//! Where spans come out that have ended, and what is lost of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{Counter, counter};
use tokio::sync::mpsc;

use crate::Ended;

/// Spans that have ended, in that order, for whoever sends them on. Those that still wait when it is dropped are lost.
#[derive(Debug)]
pub struct Outlet {
    ended: mpsc::Receiver<Ended>,
    losses: Losses,
}

impl Outlet {
    pub(crate) fn new(ended: mpsc::Receiver<Ended>, losses: Losses) -> Self {
        Self { ended, losses }
    }

    /// Waits for spans, and adds up to `max` to `batch`. How many: 0 once it was closed and all have been taken, or the last tracer
    /// is gone. Nothing is lost if the future is dropped.
    pub async fn next(&mut self, batch: &mut Vec<Ended>, max: usize) -> usize {
        self.ended.recv_many(batch, max).await
    }

    /// The next span, if one waits.
    pub fn try_next(&mut self) -> Option<Ended> {
        self.ended.try_recv().ok()
    }

    /// From now on spans that end are lost. Those that wait can still be taken.
    pub fn close(&mut self) {
        self.ended.close();
    }

    /// So many spans that were taken could not be sent on.
    pub fn lose(&self, spans: usize) {
        self.losses.lose(spans);
    }

    /// Spans were sent on: the next loss is told in the log again.
    pub fn on_sent(&self) {
        self.losses.is_told.store(false, Ordering::Relaxed);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.ended.close();
        while self.ended.try_recv().is_ok() {
            self.losses.lose(1);
        }
    }
}

/// What was lost, counted, and told once until spans are sent on again.
#[derive(Clone, Debug)]
pub(crate) struct Losses {
    dropped: Counter,
    is_told: Arc<AtomicBool>,
}

impl Losses {
    pub(crate) fn new() -> Self {
        Self {
            dropped: counter!("weir_spans_dropped_total"),
            is_told: Arc::default(),
        }
    }

    pub(crate) fn lose(&self, spans: usize) {
        if spans == 0 {
            return;
        }
        self.dropped.increment(spans as u64);
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!("spans are dropped, whoever receives them is away or too slow");
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use crate::{Sampler, tracer};

    /// Since the last look.
    fn dropped(recorder: &DebuggingRecorder) -> u64 {
        let metrics = recorder.snapshotter().snapshot().into_vec();
        match metrics.into_iter().next().map(|(.., value)| value) {
            Some(DebugValue::Counter(dropped)) => dropped,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let recorder = DebuggingRecorder::new();
        let dropped = || dropped(&recorder);
        let make = || tracer(Sampler::ratio(1.0), 2);
        let (tracer, mut outlet) = with_local_recorder(&recorder, make);
        let end_one = || drop(tracer.begin("request", None));
        for _ in 0..5 {
            end_one();
        }
        assert_eq!(dropped(), 3);
        assert!(outlet.try_next().is_some());
        end_one();
        assert_eq!(dropped(), 0, "counted since the last look");
        outlet.close();
        end_one();
        assert_eq!(dropped(), 1);
        assert!(outlet.try_next().is_some() && outlet.try_next().is_some());
        assert!(outlet.try_next().is_none());
    }

    #[test]
    fn what_waits_when_nobody_sends_any_more_is_counted() {
        let recorder = DebuggingRecorder::new();
        let make = || tracer(Sampler::ratio(1.0), 8);
        let (tracer, outlet) = with_local_recorder(&recorder, make);
        for _ in 0..3 {
            drop(tracer.begin("request", None));
        }
        drop(outlet);
        drop(tracer.begin("late", None));
        assert_eq!(dropped(&recorder), 4);
    }
}
