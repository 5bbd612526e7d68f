//! Spans of requests: which request is traced, what is noted of it, and where it goes once it has ended.
//!
//! A front asks its [`Tracer`] for a [`Span`] when a request begins, and mostly gets none. Where it gets one, it polls the request
//! [`within`] it; whoever works for the request meanwhile finds it by [`current`], without being handed anything, and notes what
//! it knows or begins a [child](Active::child). A span that is dropped has ended, and waits in a bounded queue for whoever holds
//! the [`Outlet`]. Nothing here waits for anybody: what finds no room is lost, and counted.
//!
//! Nothing is installed for the process: two nodes in one have a tracer each. This crate does not know how spans travel.

mod context;
mod current;
mod ids;
mod outlet;
mod sampler;
mod span;
mod tracer;

pub use context::{Parent, SpanId, TraceId};
pub use current::{Within, child, current, within};
pub use outlet::Outlet;
pub use sampler::Sampler;
pub use span::{Active, Ended, Kind, Span, Value};
pub use tracer::{Tracer, tracer};
