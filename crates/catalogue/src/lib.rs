//! What people change at run time, the same on every node: named records in namespaces, of limits, tenants,
//! API keys and people.
//!
//! Sans-io: a [`Catalogue`] holds every record, takes changes, members, connections, messages and ticks with the time,
//! and leaves [`Effect`]s to collect. It knows no socket, no disk and no clock; how a [`Message`] looks on a wire is its
//! driver's business.
//!
//! - A **record** ([`Record`]) is one content under an [`Address`] (kind, namespace, name), or its tombstone, with the
//!   [`Stamp`] of the write and the writes that it has seen. Two records join: of two writes in sequence the later stays,
//!   of two that did not see each other the kind's [`Rule`] tells what becomes.
//! - A **change** is told to every member and answered when each has confirmed it, or after a second with those who have
//!   not ([`Effect::Settled`]).
//! - An **exchange** finds what somebody missed: digests by bucket, and then the buckets that differ. A newcomer's first
//!   one brings it everything; however much that is, it travels in pieces, inside a window.
//!
//! Read [`Record`] first, then [`Catalogue`].
//!
//! A disk has its place between [`Effect::Keep`] and what is left after it: a driver that keeps records on one holds receipts
//! and answers back until what they confirm is there. What it finds there at its start it [loads](Catalogue::load).

mod bucket;
mod clock;
mod content;
mod lane;
mod machine;
mod message;
mod peer;
mod record;
mod records;
mod seen;
mod told;

pub use bucket::Bucket;
pub use clock::{Clock, Stamp};
pub use content::{Content, KeyLimit, Kind, NamedLimit, Rule, SERVICE};
pub use machine::{Catalogue, Change, ChangeError, ChangeId, Effect};
pub use message::{Message, Urgency};
pub use record::{Address, AddressError, Joined, Record, Write};
pub use records::{NoPlace, Place, TOMBSTONES_LIVE};
pub use seen::Seen;
pub use told::{Changed, NotChanged};
