//! What every front asks: who is asking, under which limit, for which key, and what may be said about it.
//!
//! Read [`Limiter`] first. A front finds the limit ([`Limiter::find`], [`Limiter::inline`], [`Limiter::key_limit`]) and gets a
//! [`Selected`]; it makes a [`Key`], of what it was given or by [`Identifier`]; it asks, and is told an [`Answer`] or a
//! [`Refusal`]. A refusal is the one table from what went wrong to what a client may know, what the log keeps, and whether the
//! hit was counted; a front only writes it down in its own protocol.
//!
//! ```
//! # use std::sync::Arc;
//! # use limiter::{Key, Limiter, Node, Refusal};
//! # use quota::Cost;
//! # async fn example<N: Node>(limiter: Limiter<N>) -> Result<(), Refusal> {
//! let login = limiter.find("login")?;
//! let key = Key::new("ada", "key")?;
//! let answer = limiter.check(&login, &key, Cost::ONE).await?;
//! assert!(answer.decision.is_allowed());
//! # Ok(())
//! # }
//! ```
//!
//! This crate does not know sockets, protocols or how a decision comes about.
//!
//! [`Answer`]: coordinator::Answer

mod anchor;
mod browser;
mod by_limit;
mod client;
mod cookies;
mod front;
mod headers;
mod hit_name;
mod identity;
mod key;
mod limiter;
mod meter;
mod node;
mod not_reloaded;
mod query;
mod refusal;
mod remembered;
mod requests;
mod rule;
mod run_time;
mod selected;
mod service;
pub mod span;
mod traced;

pub use anchor::{AnchorWord, PERIODLESS, ZONELESS, zone_accepted};
pub use browser::BrowserId;
pub use cookies::values as cookies;
pub use front::Front;
pub use headers::{
    RateHeaders, Standing, add_standing, period_now, write_retry_after, write_standings,
};
pub use hit_name::HitName;
pub use identity::{Clues, Identifier, Identity, Who};
pub use key::Key;
pub use limiter::{Limiter, NAMESPACE, Visit};
pub use meter::Recorder;
pub use node::{Exported, Imported, KEY_LIMITS, Node};
pub use not_reloaded::NotReloaded;
pub use query::{ENCODED, decode, parameter, parameters};
pub use refusal::{Counted, Given, Kind, Refusal};
pub use requests::Requests;
pub use rule::{Places, Rule, RuleText, accepted};
pub use selected::Selected;
pub use service::{
    Access, Amounts, Answered, ApiKeyChange, Begun, Billing, BillingDuty, BillingStanding, Caller,
    Change, DayStanding, DayUsage, Drift, EMAIL_ACCEPTED, EXPIRES_ACCEPTED, Handled, Joins, Live,
    LiveEvent, LiveSample, LiveStream, Membership, MostDenied, NewApiKey, NewLink, NewOwner,
    NewTenant, NotStripes, OVERLAP_ACCEPTED, OVERLAP_MAX, Operator, Origin, PASSWORD_ACCEPTED,
    People, Picture, Recovered, Rights, Rotated, Sampler, Service, SetUp, SignedIn, SignedUp,
    Signup, Stamped, Teammate, TenantChange, Unknown, UserAct, read_email,
};
