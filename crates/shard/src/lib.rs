//! One shard: decide, replicate, claim, hand off, take over, expire.
//!
//! Sans-io: [`Shard`] takes hits, messages of other nodes, views and ticks with the time, and leaves
//! [`Effect`]s to collect. It knows no socket and no clock, and nothing of the other shards. Who is
//! alive, and which leases run, comes in with every call as [`Surroundings`].
//!
//! Read [`Shard`] first, then [`Record`] for the words of ownership and [`Message`] for what the
//! holders of a shard say to each other.

mod admitted;
mod answered;
mod claim;
mod copies;
mod effect;
mod machine;
mod message;
mod record;
mod reign;
mod settings;
mod surroundings;
mod transfer;
mod writes;

pub use admitted::HitId;
pub use copies::Copies;
pub use effect::{Effect, Note};
pub use machine::{CopyForm, Operation, Outcome, Role, Room, Shard};
pub use message::{Baseline, Buckets, CopyId, Message, Piece};
pub use record::{Record, ShardId};
pub use settings::{Fault, Partition, Settings};
pub use surroundings::Surroundings;
