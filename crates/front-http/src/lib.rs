//! The HTTP front: turns requests into hits, and decisions into answers.
//!
//! Give a [`Front`] a [`Limiter`](limiter::Limiter) and an [`HttpConfig`], and [`serve`] on a listener what it serves. Everything that people and
//! programs see of HTTP is here: paths, bodies, statuses, errors, and `/openapi.json`, which describes them.
//!
//! This crate does not know how a decision comes about, who is counted, or which limits there are. The types it puts on the wire are its own, so that a
//! rename inside never breaks a client.
//!
//! What bad input gets, and whether the connection is closed after it, stands in `docs/http.md` under that title.

mod app;
mod auth;
mod body;
mod caller;
mod changed;
mod check;
mod chunks;
mod cluster;
mod config;
mod decided;
mod docs;
mod explain;
mod front;
mod gate;
mod head;
mod idempotency;
mod key_limits;
mod limits;
mod memory;
mod openapi;
mod page;
mod parameters;
mod problem;
mod problems;
mod rate;
mod reload;
mod router;
mod routes;
mod rule;
mod serve;
mod service;
mod throttle;
mod traced;

#[doc(hidden)]
pub use chunks::{Chunks, Progress};
pub use config::{HttpConfig, Route, RouteAnswer};
pub use front::{Front, Served};
#[doc(hidden)]
pub use head::{Framing, Head, read_head};
pub use router::{metrics_router, router};
pub use serve::{PeerAddr, serve};
