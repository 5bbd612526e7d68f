//! Rate limits in a program: by a node in it, or by nodes elsewhere.
//!
//! A [`Node`] in a program is a member of the same cluster as any `weir node`: it owns its share of the keys, keeps copies
//! of others, and what was counted on it survives its death. [`Remote`] asks nodes over HTTP and has the same methods.
//!
//! ```
//! use std::time::Duration;
//! use weir::{Algorithm, Rule};
//!
//! const LIMITS: &str = r#"
//!     [[limit]]
//!     name = "login"
//!     algorithm = "gcra"
//!     limit = 10
//!     per = "1m"
//! "#;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let weir = weir::Node::builder()
//!     .name("oskar")
//!     .cookie("wojtyra")
//!     .limits(LIMITS)?
//!     .limit("import", Rule::new(Algorithm::Gcra, 100, Duration::from_secs(3600))?)
//!     .start()
//!     .await?;
//!
//! match weir.allow(("user", "user123"), Duration::from_secs(60)).await? {
//!     Ok(pass) => assert_eq!(pass.remaining, 0),
//!     Err(limited) => println!("again in {:?}", limited.retry_after),
//! }
//! assert!(weir.allow(("user", "user123"), Duration::from_secs(60)).await?.is_err());
//!
//! // Ten a minute, of which this takes one: Hammer's arguments in Hammer's order.
//! weir.check_rate("login:ada", Duration::from_secs(60), 10, 1).await?.unwrap();
//!
//! // A limit by its name.
//! let pass = weir.limit("login")?.key("u1").cost(3).check().await?;
//! assert_eq!(pass.unwrap().remaining, 7);
//! let pass = weir.limit("import")?.key("u1").check().await?;
//! assert_eq!(pass.unwrap().remaining, 99);
//!
//! // Hands its keys to the others; nothing of it runs afterwards.
//! weir.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`RateLimitLayer`] puts limits in front of routes of axum, hyper or tonic:
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # mod example {
//! use axum::{Router, routing::get};
//! use weir::{Error, Header, Node, RateLimitLayer};
//!
//! fn app(weir: &Node) -> Result<Router, Error> {
//!     let per_user = RateLimitLayer::new(weir.limit("login")?).by(Header("X-User-Id"));
//!     Ok(Router::new().route("/login", get(async || "Hello")).layer(per_user))
//! }
//! # }
//! ```
//!
//! The feature `cli` is the `weir` command; a program that does not want it takes this crate with
//! `default-features = false, features = ["axum"]`.

pub use client::{
    Algorithm, Answer, Asking, Counted, Error, IntoKey, Key, Limit, Limited, Limits, Operation,
    Outcome, Pass, Remote, RemoteError, Rule, Strategy,
};
#[cfg(feature = "axum")]
pub use layer::MatchedPath;
pub use layer::{
    Clues, Cookie, Denied, Extract, Extractor, Header, Missing, OnFailure, Peer, Query, RateLimit,
    RateLimitLayer, ResponseBody,
};
pub use node::config;
pub use node::{Builder, Failure, Metrics, Node, NotReloaded, Role, StartError};
