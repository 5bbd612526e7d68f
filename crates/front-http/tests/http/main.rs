//! The front as clients see it, over a node that counts in memory.

mod beside;
mod browser;
mod check;
mod client;
mod described;
mod example;
mod identity;
mod key_limits;
mod live;
mod meanwhile;
mod named;
mod node_state;
mod people;
mod raw;
mod refusals;
mod reload;
mod run_time_limits;
mod schemas;
mod server;
mod service;
mod token;
mod top;
