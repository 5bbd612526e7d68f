//! Who decides a hit, and what becomes of it when nobody can.
//!
//! Read [`Coordinator`] first: it is what a front asks. A [`Policy`] says under which limit a hit is counted and how it
//! is answered when no decision can be had, and names the [`Strategy`] by which it is counted. Two of the four are here
//! as far as they are pure: [`plan`] is `owner`, a function of who owns what, and [`Tally`] is `local`.
//!
//! This crate does not know nodes, connections or clocks.

mod coordinate;
mod fail_mode;
mod meter;
mod owner;
mod policy;
mod strategy;
mod tally;

pub use coordinate::{Answer, Coordinator, NoDecision};
pub use fail_mode::FailMode;
pub use meter::DecisionMeter;
pub use owner::{Plan, ReplicaRaw, ShardTable, plan};
pub use policy::{Hit, Policy};
pub use strategy::{Strategy, UnknownStrategy};
pub use tally::{Tallied, Tally};
