//! Sends spans to an OpenTelemetry collector, or whatever else receives OTLP over gRPC.
//!
//! Read [`Exporter`] first. It takes what comes out of a [`traces::Outlet`], in batches, and asks a [`Receiver`] to take them. This
//! crate does not know what spans are about.

mod exporter;
mod message;
mod receiver;

pub use exporter::Exporter;
pub use message::Origin;
pub use receiver::{ACCEPTED, Receiver};
