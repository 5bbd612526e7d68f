//! Many who share nothing: who a request is, by its credential, and what its tenant may use.

mod access;
mod admission;
mod api_keys;
mod attempts;
mod audit;
mod billing;
mod ceiling;
mod gathered;
mod hashing;
mod invites;
mod live;
mod metered;
mod months;
mod opened;
mod operators;
mod people;
mod seen;
mod session;
mod team;
mod tenancy;
mod tenants;
mod top;
mod unknown;
mod usage;
mod users;
mod uses;

pub use access::{Access, Caller, Rights, Service, Signup};
pub use api_keys::{
    ApiKeyChange, EXPIRES_ACCEPTED, NewApiKey, OVERLAP_ACCEPTED, OVERLAP_MAX, Rotated,
};
pub use attempts::Origin;
pub use audit::{Change, Stamped};
pub use billing::{
    Amounts, Billing, BillingDuty, BillingStanding, Drift, Handled, NotStripes, SetUp,
};
pub use invites::NewLink;
pub use live::{Answered, Live, LiveEvent, LiveSample, LiveStream, Picture, Sampler};
pub use operators::{NewOwner, Operator, UserAct};
pub use people::{Joins, PASSWORD_ACCEPTED, People, Recovered, SignedUp};
pub use session::{Begun, Membership, SignedIn};
pub use team::Teammate;
pub use tenants::{Made as NewTenant, TenantChange};
pub use top::MostDenied;
pub use unknown::Unknown;
pub use usage::{DayStanding, DayUsage};
pub use users::{EMAIL_ACCEPTED, read_email};

pub(crate) use seen::Seen;
pub(crate) use tenancy::Tenancy;
pub(crate) use tenants::Tenants;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounts::UnixSecs;

/// By the clock of this machine.
fn since_epoch() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Days of plans and times of records are told to the second.
fn now() -> UnixSecs {
    UnixSecs::new(since_epoch().as_secs())
}

/// Days since the epoch that are over (UTC).
fn today() -> u64 {
    now().days()
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}
