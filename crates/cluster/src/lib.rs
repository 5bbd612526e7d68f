//! The drivers of a node: clocks, sockets and tasks around the machines that decide.
//!
//! Connections between nodes are those of [`transport`], and belong to one of two planes: the data plane, whose
//! frames are in [`wire`], or the control plane of [`control`]. [`discovery`] says whom to dial first.

pub mod clock;
pub mod control;
pub mod discovery;
pub mod node;
pub mod wire;

use transport::chain;
pub use transport::cookie;
