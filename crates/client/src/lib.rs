//! What a program asks, whoever answers: a node in the program, or nodes elsewhere.
//!
//! Read [`Limits`] first: whoever has it decides hits. [`Remote`] has it over HTTP, and a node in a program by itself. A
//! [`Limit`] is one limit of either, ready to be asked.
//!
//! ```
//! use std::time::Duration;
//! use client::{Error, Limits, Remote};
//!
//! async fn greet(weir: &Remote, user: &str) -> Result<String, Error> {
//!     Ok(match weir.allow(("user", user), Duration::from_secs(60)).await? {
//!         Ok(_pass) => format!("Hello, {user}"),
//!         Err(limited) => format!("Again in {:?}", limited.retry_after),
//!     })
//! }
//! # let _unused = greet;
//! ```
//!
//! The crate does not know how a decision comes about.

mod answer;
mod error;
mod key;
mod limit;
mod limits;
mod remote;

pub use answer::{Answer, Limited, Outcome, Pass};
pub use coordinator::Strategy;
pub use error::{Counted, Error};
pub use key::{IntoKey, Key};
pub use limit::{Asking, Limit};
pub use limits::{Limits, Operation, Rule};
pub use quota::Algorithm;
pub use remote::{Remote, RemoteError};
