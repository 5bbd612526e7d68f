//! The strategy `redis`: a script in a Redis that all nodes share counts the hits.
//!
//! Read [`RedisCoordinator`] first, then `counting`, which is one operation from arguments to decision, then the scripts
//! beside it: `src/scripts/prelude.lua` and one file per algorithm. [`RedisConfig`] says which Redis, and `breaker` what
//! happens while it is away.
//!
//! **Exact.** A script decides and counts in one step, on the Redis server's clock, in whole microseconds; its numbers are
//! whole and below 2^53, so that Lua's doubles hold them exactly. It answers with the state that the decision was made
//! from, and `quota` tells from that what is left and when more comes. So every decision is the one that `quota` gives for
//! the same hits at the same instants, to the nanosecond. When a limit's rate, period or algorithm has changed, the
//! script finds a state that it does not read; then `quota` takes the state over, and writes it back if nobody else was
//! faster.
//!
//! **Counts once, or not known.** No call is sent twice unless Redis said that it did nothing. A call that is not answered
//! within [`RedisConfig::timeout`] is told as [`NoDecision::Unknown`](coordinator::NoDecision::Unknown).
//!
//! **No key in Redis.** Counters are named by the keyed hash of namespace, limit and key, under a secret that all nodes
//! share, and expire by themselves.
//!
//! **As durable as that Redis.** It should evict nothing (`maxmemory-policy noeviction`): an evicted counter is a full
//! key. A failover to a replica forgets what had not been copied, and one whose clock stands back by more than a second
//! may forget what is nearly full again.
//!
//! This crate does not know nodes or membership. It speaks to Redis 5 or later (scripts ask for the time and then write),
//! alone or as a Redis Cluster.

mod batch;
mod breaker;
mod config;
mod connect;
mod coordinate;
mod counting;
mod failure;
mod gate;
mod keeper;
#[cfg(test)]
mod laws;
mod link;
mod meter;
mod scripts;
mod state;

pub use breaker::BreakerState;
pub use config::{RedisConfig, RedisConfigError, Servers};
pub use connect::ConnectError;
pub use coordinate::{Health, RedisCoordinator};
