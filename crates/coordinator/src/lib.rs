//! Who decides a hit, and what becomes of it when nobody can.
//!
//! Read [`Coordinator`] first: it is what a front asks. A [`Policy`] says under which limit a hit is counted and how it
//! is answered when no decision can be had, and names the [`Strategy`] by which it is counted. One of the four is here
//! as far as it is pure: [`Tally`] is `local`. `owner` is a crate of its own, `request`.
//!
//! This crate does not know nodes, connections or clocks.

mod coordinate;
mod fail_mode;
mod meter;
mod policy;
mod strategy;
mod tally;

pub use coordinate::{Answer, Coordinator, NoDecision};
pub use fail_mode::FailMode;
pub use meter::DecisionMeter;
pub use policy::{Hit, Policy};
pub use strategy::{Strategy, UnknownStrategy};
pub use tally::{Tallied, Tally};
