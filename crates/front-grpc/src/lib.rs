//! Envoy's rate limit service: `envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`.
//!
//! A request brings descriptors, lists of keys and values; [`Rules`] say which limit each of them is held to, and which of
//! its values are counted. Read [`Rules::add`] first, then [`ratelimit_config`], which reads the files of
//! envoyproxy/ratelimit, then [`serve`]. Beside the service stand `grpc.health.v1.Health` and `grpc.reflection.v1`.
//!
//! This crate does not know how a decision comes about, or where. `OVER_LIMIT`, units and whatever else is Envoy's stays in
//! it.
//!
//! # What a request is answered
//!
//! One status per descriptor, in their order, each counted for itself; `OVER_LIMIT` if any is over. The messages are those of
//! `envoy/service/ratelimit/v3/rls.proto` (data-plane-api, as in envoy-types 0.7.7).
//!
//! | a descriptor | its status |
//! | --- | --- |
//! | that no rule is for, also for want of its domain | `OK` without `current_limit` |
//! | that is held to a limit | `OK` or `OVER_LIMIT`, `current_limit` with `name`, `limit_remaining`, and `duration_until_reset` in whole seconds, rounded up |
//! | that costs more than the limit ever has | `OVER_LIMIT`, not counted |
//! | with an addend of its own of 0 | whether one more would pass; nothing is counted |
//! | with `is_negative_hits` | `OK` with what is left after its addend was given back, never more than all |
//! | held to `unlimited` | `OK`, `limit_remaining` 4 294 967 295 |
//! | held to 0 requests per unit | `OVER_LIMIT`, nothing is counted |
//! | held to a rule in shadow mode | as without, but `OK`, also when nobody can decide |
//! | whose rule another rule of the request replaces | `OK` without `current_limit`, not counted |
//! | with a `limit` of its own, in a domain that is known | held to that one, counted for all of its entries |
//!
//! `response_headers_to_add` has the headers of HTTP for the limit that is nearest to deny, none for rules in shadow mode, and none where
//! that is one of 0 requests per unit.
//! Unlike envoyproxy/ratelimit, which adds what is over the limit to its counters, a hit that does not pass is not counted.
//!
//! # What bad input gets
//!
//! Nothing of it is counted, and nobody else waits for it.
//!
//! | input | answer |
//! | --- | --- |
//! | empty domain; 0 or more than 16 descriptors; more than 8 entries in one; more than 256 bytes in a key or value; a `limit` of no unit, or above 2 147 483 647 | `INVALID_ARGUMENT`, which says where |
//! | a message above 80 KiB | `OUT_OF_RANGE`, not read |
//! | bytes that are no such message | `INTERNAL` |
//! | another service or method | `UNIMPLEMENTED` |
//! | without the token, with another | `UNAUTHENTICATED`, `PERMISSION_DENIED` |
//! | metadata above 16 KiB | HTTP 431 |
//! | more than 256 requests on a connection at once | the stream is refused; it may be sent again |
//! | more than 8 192 requests at once | `UNAVAILABLE` |
//! | HTTP/1, TLS where there is none or none where there is, frames that are none | the connection ends |
//! | a TLS handshake of more than 10 s | the connection ends |
//! | 70 s in which no request begins or is answered: silence, a message in drips, an answer that is not taken | the connection ends, after a `GOAWAY` at 60 s |
//! | more than 1 024 who watch the health | `RESOURCE_EXHAUSTED` |
//! | more than 5 120 connections | the one that has been idle for longest ends; if none is idle, the new one |
//!
//! When nobody can decide and the limit fails closed, the answer is `UNAVAILABLE`, never the code `UNKNOWN`, so that Envoy
//! applies its `failure_mode_deny`. Its text says what was counted.

mod answer;
mod asked;
mod config;
mod connections;
mod descriptor;
mod dispatch;
mod front;
mod health;
mod in_force;
mod meter;
pub mod ratelimit_config;
mod reflection;
mod rule;
mod rules;
mod serve;
mod service;
mod tls;
mod unit;

#[doc(hidden)]
pub use asked::is_read;
pub use config::GrpcConfig;
pub use front::Front;
pub use rule::{Bound, Rule};
pub use rules::{Match, RuleError, Rules};
pub use serve::serve;
pub use tls::{Tls, TlsError};
