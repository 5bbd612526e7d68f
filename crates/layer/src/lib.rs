//! Limits in front of a tower service: of axum, hyper or tonic.
//!
//! Start with [`RateLimitLayer`]. It asks whoever has [`client::Limits`], a node in this program or nodes elsewhere, before
//! a request reaches the service; a request that is limited never does.
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # mod example {
//! use axum::{Router, routing::get};
//! use client::{Error, Remote};
//! use layer::{Header, MatchedPath, Peer, RateLimitLayer};
//!
//! pub fn app(weir: &Remote) -> Result<Router, Error> {
//!     let per_user = RateLimitLayer::new(weir.limit("user_home")?)
//!         .by(Header("X-User-Id"))
//!         .and(weir.limit("each_path")?)
//!         .by((MatchedPath, Peer::direct()));
//!     Ok(Router::new().route("/user_home", get(async || "Hello")).layer(per_user))
//! }
//! # }
//! ```

mod extract;
mod layer;
mod respond;
mod service;

#[cfg(feature = "axum")]
pub use extract::MatchedPath;
pub use extract::{Clues, Cookie, Extract, Extractor, Header, Peer, Query};
pub use layer::{Missing, OnFailure, RateLimitLayer};
pub use respond::{Denied, ResponseBody};
pub use service::RateLimit;
