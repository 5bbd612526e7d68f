//! Whose limits they are: tenants with their plans and people, and what they prove themselves with.
//!
//! Values and rules, no HTTP and no storage. Random bytes and the time are arguments; what is drawn or read is drawn or read
//! before a value is made, so that a record is the same on every node.
//!
//! - A [`Tenant`] is a namespace with a name, a [plan](Plan) and a [`Status`].
//! - An [`ApiKey`] is what is known of a credential; the credential itself is a [`Credential`], shown once and kept as its hash.
//! - A [`User`] is a person, found by an [`Email`] whose [claim](EmailClaim) says who has it. A [`Seat`] is a user's place in a
//!   tenant, with a [`Role`] that says what the user [may] do there; an [`Invite`] is an offer of one.
//! - A [`Session`] is a user who has logged in, signed by [`SessionKeys`] that every node has.
//! - A [`MonthUsage`] is what a tenant has used on the days of a month.
//! - A [`Subscription`] is what a tenant has bought, and a [`MeterEvent`] what the biller is told of a day.
//! - An [`OperatorToken`] is what whoever can read the cookie of the cluster proves that with.
//!
//! Two versions of a value that did not see each other become one by its `meet`: the one that grants less, field by field.

mod api_key;
mod audit;
mod claim;
mod csv;
mod derive;
mod email;
mod id;
mod invite;
mod known_session;
mod link;
mod meter_event;
mod operator;
mod password;
mod plan;
mod recovery;
mod role;
mod scope;
mod seat;
mod session;
mod subscription;
mod tenant;
mod time;
mod usage;
mod user;

pub use api_key::{ApiKey, ApiKeyId, ApiKeyState, Credential, Hint, NoApiKeyId, SecretHash};
pub use audit::{Actor, AuditEntry, NoActor};
pub use claim::EmailClaim;
pub use csv::csv_row;
pub use derive::cluster_name;
pub use email::{Email, NoEmail};
pub use id::{IdError, InviteId, SessionId, TenantId, UserId};
pub use invite::{Invite, InviteState};
pub use known_session::KnownSession;
pub use link::{InviteToken, Link, ResetToken};
pub use meter_event::MeterEvent;
pub use operator::OperatorToken;
pub use password::{NoPasswordHash, Password, PasswordError, PasswordHash};
pub use plan::{NoPlanName, Plan, PlanName, Plans, PlansError, REQUESTS_PER_DAY_MAX};
pub use recovery::RecoveryCode;
pub use role::{Act, NoRole, ROLES_ACCEPTED, Role, keeps_an_owner, may};
pub use scope::{NoScope, SCOPES_ACCEPTED, Scope, Scopes};
pub use seat::Seat;
pub use session::{
    Device, EndedSession, FormToken, Session, SessionError, SessionKeys, SessionSpans, Visitor,
};
pub use subscription::{Bought, MeterBase, Subscription, SubscriptionStatus, UnknownPrice};
pub use tenant::{Dated, HeldCap, NAME_ACCEPTED, NoTenantName, Status, Tenant, TenantName};
pub use time::{NoTime, UnixSecs};
pub use usage::{DayTally, MonthUsage};
pub use user::{ResetLink, User};
