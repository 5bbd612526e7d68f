//! The requests of one front: how long each takes, and which of them are recorded.

use std::time::Instant;

use http::HeaderMap;
use metrics::Histogram;
use traces::{Parent, Span, Tracer};

use crate::Front;

/// The requests of one front, whatever they ask. Made once: a request costs what is counted of it, and a branch where none are
/// recorded. Clones are the same.
#[derive(Clone, Debug)]
pub struct Requests {
    front: Front,
    seconds: Histogram,
    /// `None`: none are recorded.
    tracer: Option<Tracer>,
}

/// The header by which a client says which span of its own a request is a part of: W3C Trace Context.
const TRACEPARENT: &str = "traceparent";

impl Requests {
    pub(crate) fn new(front: Front, seconds: Histogram, tracer: Option<Tracer>) -> Self {
        Self {
            front,
            seconds,
            tracer,
        }
    }

    /// Requests that nobody wants to know of.
    #[must_use]
    pub fn unseen(front: Front) -> Self {
        Self::new(front, Histogram::noop(), None)
    }

    /// Whether some may be recorded.
    #[must_use]
    pub fn are_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// One that began then has been answered.
    #[inline]
    pub fn answered(&self, began: Instant) {
        self.seconds.record(began.elapsed());
    }

    /// The span of one that begins now: it is to be answered [within](traces::within) it. `None`: it is not recorded. `name` is what
    /// is done, one of few; `headers` what came with it, if the protocol has such.
    #[inline]
    #[must_use]
    pub fn begin(&self, name: &'static str, headers: Option<&HeaderMap>) -> Option<Span> {
        let tracer = self.tracer.as_ref()?;
        self.begin_traced(tracer, name, headers)
    }

    fn begin_traced(
        &self,
        tracer: &Tracer,
        name: &'static str,
        headers: Option<&HeaderMap>,
    ) -> Option<Span> {
        let span = tracer.begin(name, headers.and_then(parent))?;
        span.set("weir.front", self.front.name());
        Some(span)
    }
}

/// The span of the client. One that names two names none.
fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let parent = given.next()?.to_str().ok().and_then(Parent::parse);
    parent.filter(|_| given.next().is_none())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_has_one_parent_or_none() {
        const ONE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let check = |given: &[&'static str], expected: Option<Parent>| {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(TRACEPARENT, HeaderValue::from_static(value));
            }
            assert_eq!(parent(&headers), expected, "{given:?}");
        };
        check(&[], None);
        check(&[ONE], Parent::parse(ONE));
        check(&[ONE, ONE], None);
        check(&["none"], None);
    }
}
