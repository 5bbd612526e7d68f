//! One span, while it lasts and once it has ended.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::tracer::Tracer;
use crate::{SpanId, TraceId, ids};

/// Children of one request, at most: a batch of a thousand hits for other nodes is not to fill the queue of everybody.
const CHILDREN_MAX: u32 = 64;

/// A span that has begun, held by whoever ends it: it ends when it is dropped, as it is when a client leaves.
#[derive(Debug)]
pub struct Span(pub(crate) Arc<Active>);

/// A span while it lasts, for whoever notes something of it. Once it has ended, notes are lost.
#[derive(Debug)]
pub struct Active {
    tracer: Tracer,
    trace: TraceId,
    span: SpanId,
    above: Option<Above>,
    kind: Kind,
    began: Instant,
    began_at: SystemTime,
    children: AtomicU32,
    /// `None`: it has ended.
    notes: Mutex<Option<Notes>>,
}

/// The span that another is a part of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Above {
    pub(crate) span: SpanId,
    /// Whether it is of another process.
    pub(crate) is_remote: bool,
}

#[derive(Debug)]
struct Notes {
    name: Cow<'static, str>,
    attributes: Vec<(&'static str, Value)>,
    failure: Option<Cow<'static, str>>,
}

/// Which end of a question a span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It is answered here.
    Server,
    /// It is asked here, of another node.
    Client,
}

/// What an attribute says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Text, out of a bounded set: never a key, a tenant or a credential.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// A span that has ended, complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub span: SpanId,
    /// The span that it is a part of. `None`: the trace begins with it.
    pub parent: Option<SpanId>,
    /// Whether that one is of another process.
    pub parent_is_remote: bool,
    /// What was done: one of few.
    pub name: Cow<'static, str>,
    /// Which end of a question it is.
    pub kind: Kind,
    /// Nanoseconds since the epoch by this machine's clock.
    pub began_ns: u64,
    /// As long after it as it took by a clock that is never set.
    pub ended_ns: u64,
    /// What is known of it, each key once.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed. `None`: it did not.
    pub failure: Option<Cow<'static, str>>,
}

impl Span {
    pub(crate) fn begin(
        tracer: Tracer,
        name: &'static str,
        kind: Kind,
        (trace, above): (TraceId, Option<Above>),
    ) -> Self {
        let notes = Notes {
            name: Cow::Borrowed(name),
            attributes: Vec::new(),
            failure: None,
        };
        Self(Arc::new(Active {
            tracer,
            trace,
            span: ids::span(),
            above,
            kind,
            began: Instant::now(),
            began_at: SystemTime::now(),
            children: AtomicU32::new(0),
            notes: Mutex::new(Some(notes)),
        }))
    }
}

impl Deref for Span {
    type Target = Active;

    fn deref(&self) -> &Active {
        &self.0
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(ended) = self.0.end() {
            self.0.tracer.take(ended);
        }
    }
}

impl Active {
    /// Says what was done, in other words than it began with: one of few.
    pub fn rename(&self, name: impl Into<Cow<'static, str>>) {
        self.note(|notes| notes.name = name.into());
    }

    /// Sets an attribute, whatever it said before.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.join(key, value.into(), |_, value| value);
    }

    /// Sets an attribute that may stand there already to what `join` makes of what it says and of `value`.
    pub fn join(&self, key: &'static str, value: Value, join: impl FnOnce(&Value, Value) -> Value) {
        self.note(|notes| {
            let known = notes.attributes.iter_mut().find(|(known, _)| *known == key);
            match known {
                Some((_, known)) => *known = join(known, value),
                None => notes.attributes.push((key, value)),
            }
        });
    }

    /// Says that it failed, and why. The first reason stays.
    pub fn fail(&self, why: impl Into<Cow<'static, str>>) {
        self.note(|notes| {
            notes.failure.get_or_insert_with(|| why.into());
        });
    }

    /// A part of it that begins now, in which another node is asked. `None`: it has many already, and this one is not recorded.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Option<Span> {
        let earlier = self.children.fetch_add(1, Ordering::Relaxed);
        let above = Above {
            span: self.span,
            is_remote: false,
        };
        (earlier < CHILDREN_MAX).then(|| {
            let tracer = self.tracer.clone();
            Span::begin(tracer, name, Kind::Client, (self.trace, Some(above)))
        })
    }

    fn note(&self, note: impl FnOnce(&mut Notes)) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notes) = &mut *notes {
            note(notes);
        }
    }

    fn end(&self) -> Option<Ended> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let Notes {
            name,
            attributes,
            failure,
        } = notes.take()?;
        let began = self.began_at.duration_since(UNIX_EPOCH);
        let began_ns = began.map_or(0, |since| since.as_nanos() as u64);
        let took_ns = self.began.elapsed().as_nanos() as u64;
        Some(Ended {
            trace: self.trace,
            span: self.span,
            parent: self.above.map(|above| above.span),
            parent_is_remote: self.above.is_some_and(|above| above.is_remote),
            name,
            kind: self.kind,
            began_ns,
            ended_ns: began_ns.saturating_add(took_ns),
            attributes,
            failure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sampler, tracer};

    #[test]
    fn an_attribute_stands_once_and_says_what_was_said_last() {
        let (tracer, mut outlet) = tracer(Sampler::ratio(1.0), 1);
        let span = tracer.begin("request", None).unwrap();
        span.set("a", "one");
        span.set("a", "two");
        span.join("n", Value::Number(1), |_, _| unreachable!("it is new"));
        span.join("n", Value::Number(2), |known, new| {
            assert_eq!(*known, Value::Number(1));
            new
        });
        span.fail("first");
        span.fail("second");
        drop(span);
        let ended = outlet.try_next().unwrap();
        assert_eq!(
            ended.attributes,
            [("a", "two".into()), ("n", Value::Number(2))]
        );
        assert_eq!(ended.failure.as_deref(), Some("first"));
        assert!(ended.began_ns <= ended.ended_ns);
    }

    #[test]
    fn a_request_has_so_many_children_and_no_more() {
        let (tracer, _outlet) = tracer(Sampler::ratio(1.0), 1);
        let span = tracer.begin("request", None).unwrap();
        let children: Vec<_> = (0..=CHILDREN_MAX).map(|_| span.child("forward")).collect();
        let begun = children.iter().flatten().count();
        assert_eq!(begun, CHILDREN_MAX as usize);
    }
}
