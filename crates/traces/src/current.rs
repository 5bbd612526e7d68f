//! The span for which the work of this thread is done at this moment.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::{Active, Span};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Active>>> = const { RefCell::new(None) };
}

/// Tells `note` of the span for which this is done. `None`: the request is not traced, or the work is no longer a part of it, as
/// in a task of its own.
pub fn current<T>(note: impl FnOnce(&Active) -> T) -> Option<T> {
    // Not under the borrow: what is noted may begin a span and work within it.
    let active = CURRENT.with_borrow(Option::clone)?;
    Some(note(&active))
}

/// A [child](Active::child) that begins now of the span for which this is done. `None`: there is none, or it has many already.
#[must_use]
pub fn child(name: &'static str) -> Option<Span> {
    current(|span| span.child(name)).flatten()
}

/// A future that is polled within `span`, which ends with it. Without one it is the future, and a branch.
pub fn within<F: Future>(span: Option<Span>, future: F) -> Within<F> {
    Within { span, future }
}

impl Span {
    /// Does `work` for this span.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Puts back what was there, also when the work panics.
        struct Before(Option<Arc<Active>>);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _before = Before(CURRENT.replace(Some(Arc::clone(&self.0))));
        work()
    }
}

pin_project! {
    /// See [`within`].
    pub struct Within<F> {
        span: Option<Span>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(span) = this.span else {
            return this.future.poll(cx);
        };
        let polled = span.scope(|| this.future.poll(cx));
        if polled.is_ready() {
            *this.span = None;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sampler, Tracer, tracer};

    fn sampled() -> (Tracer, crate::Outlet) {
        tracer(Sampler::ratio(1.0), 8)
    }

    fn note(key: &'static str) -> bool {
        current(|span| span.set(key, 1)).is_some()
    }

    #[tokio::test]
    async fn work_finds_the_span_that_it_is_done_for_across_awaits() {
        let (tracer, mut outlet) = sampled();
        let work = |key| async move {
            assert!(note(key));
            tokio::task::yield_now().await;
            assert!(note(key));
        };
        let span = |name| tracer.begin(name, None);
        // In turn on one thread, each within its own.
        tokio::join!(
            within(span("one"), work("of one")),
            within(span("two"), work("of two"))
        );
        assert!(!note("nothing"));
        for _ in 0..2 {
            let ended = outlet.try_next().unwrap();
            let key = if ended.name == "one" {
                "of one"
            } else {
                "of two"
            };
            assert_eq!(ended.attributes, [(key, 1.into())]);
        }
    }

    #[tokio::test]
    async fn without_a_span_work_is_done_for_none() {
        within(None, async { assert!(!note("nothing")) }).await;
    }

    #[test]
    fn a_panic_leaves_no_span_behind() {
        let (tracer, _outlet) = sampled();
        let span = tracer.begin("request", None).unwrap();
        let work = || span.scope(|| panic!("on purpose"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        assert!(panicked.is_err());
        assert!(!note("nothing"));
    }
}
