//! The strategy against real Redis servers: what they count, and what happens when they go away.

mod away;
mod cluster;
mod counting;
mod fixture;
mod refused;
mod server;
mod tls;
