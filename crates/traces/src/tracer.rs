//! What begins spans, and takes in those that have ended.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::outlet::{Losses, Outlet};
use crate::span::Above;
use crate::{Ended, Kind, Parent, Sampler, Span, ids};

/// Begins spans of requests. Clones are the same tracer.
#[derive(Clone)]
pub struct Tracer(Arc<Shared>);

struct Shared {
    sampler: Sampler,
    queue: mpsc::Sender<Ended>,
    losses: Losses,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracer").field(&self.0.sampler).finish()
    }
}

/// A tracer, and what ended spans come out of. Up to `waiting_max` wait there; one more is lost.
///
/// Its metrics go to the recorder that is in force.
///
/// # Panics
///
/// If nothing may wait.
#[must_use]
pub fn tracer(sampler: Sampler, waiting_max: usize) -> (Tracer, Outlet) {
    let (queue, ended) = mpsc::channel(waiting_max);
    let losses = Losses::new();
    let outlet = Outlet::new(ended, losses.clone());
    let shared = Shared {
        sampler,
        queue,
        losses,
    };
    (Tracer(Arc::new(shared)), outlet)
}

impl Tracer {
    /// The span of a request that begins now, as a part of `parent` if it has one. `None`: it is not recorded, since the client does
    /// not record the trace, or the trace begins here and the sampler leaves it out.
    #[must_use]
    pub fn begin(&self, name: &'static str, parent: Option<Parent>) -> Option<Span> {
        let place = match parent {
            Some(parent) => {
                let above = Above {
                    span: parent.span,
                    is_remote: true,
                };
                parent.is_sampled.then_some((parent.trace, Some(above)))
            }
            None => {
                let trace = ids::trace();
                self.0.sampler.takes(trace).then_some((trace, None))
            }
        };
        Some(Span::begin(self.clone(), name, Kind::Server, place?))
    }

    /// A span has ended. It is lost if there is no room for it, or nobody takes it any more.
    pub(crate) fn take(&self, ended: Ended) {
        if self.0.queue.try_send(ended).is_err() {
            self.0.losses.lose(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_client_says_whether_its_request_is_recorded() {
        let sampled = Parent::parse(SAMPLED).unwrap();
        let unsampled = Parent {
            is_sampled: false,
            ..sampled
        };
        for ratio in [0.0, 1.0] {
            let (tracer, mut outlet) = tracer(Sampler::ratio(ratio), 8);
            assert!(tracer.begin("request", Some(unsampled)).is_none());
            drop(tracer.begin("request", Some(sampled)).unwrap());
            let ended = outlet.try_next().unwrap();
            assert_eq!(ended.trace, sampled.trace);
            assert_eq!(ended.parent, Some(sampled.span));
            assert!(ended.parent_is_remote);
            assert_ne!(ended.span, sampled.span);
        }
    }

    #[test]
    fn a_trace_that_begins_here_is_recorded_as_the_sampler_says() {
        assert!(
            tracer(Sampler::ratio(0.0), 1)
                .0
                .begin("request", None)
                .is_none()
        );
        let (tracer, mut outlet) = tracer(Sampler::ratio(1.0), 1);
        drop(tracer.begin("request", None).unwrap());
        let ended = outlet.try_next().unwrap();
        assert_eq!((ended.parent, ended.parent_is_remote), (None, false));
        assert_eq!(ended.kind, Kind::Server);
    }

    #[test]
    fn a_child_is_a_part_of_its_trace() {
        let (tracer, mut outlet) = tracer(Sampler::ratio(1.0), 2);
        let span = tracer.begin("request", None).unwrap();
        drop(span.child("forward").unwrap());
        drop(span);
        let (child, request) = (outlet.try_next().unwrap(), outlet.try_next().unwrap());
        assert_eq!(child.trace, request.trace);
        assert_eq!(child.parent, Some(request.span));
        assert!(!child.parent_is_remote);
        assert_eq!(child.kind, Kind::Client);
    }
}
