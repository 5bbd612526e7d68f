//! The drivers of a node: clocks, sockets and tasks around the machines that decide.
//!
//! Nodes of one cluster share a [`cookie::Cookie`]. Every connection between them starts with the
//! [`handshake`] and then belongs to one of two planes: the data plane of [`transport`], or the
//! control plane of [`control`]. [`discovery`] says whom to dial first.

pub mod clock;
pub mod control;
pub mod cookie;
pub mod discovery;
pub mod handshake;
pub mod node;
pub mod transport;
pub mod wire;

/// An error and everything it came from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
