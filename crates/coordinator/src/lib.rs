//! Who decides a hit, and what becomes of it when nobody can.
//!
//! Read [`Coordinator`] first: it is what a front asks. A [`Policy`] says under which limit a hit is counted and how it
//! is answered when no decision can be had, and names the [`Strategy`] by which it is counted. One of the four is here
//! as far as it is pure: [`Tally`] is `local`. `owner` is a crate of its own, `request`. What a node tells of itself and of
//! its cluster, whoever asks, is a [`ClusterStatus`].
//!
//! This crate does not know nodes, connections or clocks.

mod coordinate;
mod fail_mode;
mod policy;
mod status;
mod strategy;
mod tally;

pub use coordinate::{Answer, Coordinator, NoDecision, Once};
pub use fail_mode::FailMode;
pub use policy::{Hit, Policy};
pub use status::{
    ClusterStatus, ConfigDiffers, Definition, DifferingEntry, DifferingLimit, Forgotten, Member,
    MemberStatus, Missing, NoQuorum, Ownership, RaftStatus, Readiness, RedisStatus, Shards,
    SilentSeeds,
};
pub use strategy::{Strategy, UnknownStrategy};
pub use tally::{Tallied, Tally};
