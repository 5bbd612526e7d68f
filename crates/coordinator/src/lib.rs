//! Who decides a hit, and what becomes of it when nobody can.
//!
//! Read [`Coordinator`] first: it is what a front asks. A [`Policy`] says under which limit a hit is counted and how it
//! is answered when no decision can be had; [`plan`] is the `owner` strategy, a pure function of who owns what.
//!
//! This crate does not know nodes, connections or clocks, and it counts nothing.

mod coordinate;
mod fail_mode;
mod owner;
mod policy;

pub use coordinate::{Answer, Coordinator, NoDecision};
pub use fail_mode::FailMode;
pub use owner::{Plan, ReplicaRaw, ShardTable, plan};
pub use policy::{Hit, Policy};
