//! The HTTP front: turns requests into hits, and decisions into answers.
//!
//! Give [`router`] a [`Node`] and an [`HttpConfig`], and [`serve`] the router on a listener. Everything that people and
//! programs see of HTTP is here: paths, bodies, headers, cookies, errors, and `/openapi.json`, which describes them.
//!
//! This crate does not know how a decision comes about, or where. The types it puts on the wire are its own, so that a
//! rename inside never breaks a client.

mod app;
mod body;
mod browser;
mod check;
mod chunks;
mod client;
mod cluster;
mod config;
mod cookies;
mod decided;
mod docs;
mod explain;
mod gate;
mod head;
mod headers;
mod identity;
mod key;
mod key_limits;
mod limits;
mod memory;
mod node;
mod openapi;
mod problem;
mod query;
mod rate;
mod router;
mod routes;
mod rule;
mod serve;
mod span;
mod token;

pub use config::{HttpConfig, Identity, Route, RouteAnswer};
pub use node::{
    ClusterStatus, Forgotten, KEY_LIMITS, Member, MemberStatus, Missing, NoQuorum, Node, Ownership,
    RaftStatus, Readiness, RedisStatus, SilentSeeds,
};
pub use router::router;
pub use serve::{PeerAddr, serve};
