//! The strategy `raft`: a hit counts when a majority of voters has it.
//!
//! Read [`RaftCoordinator`] first. `machine` is the replicated state, without clock or network; `ask` what goes through
//! the log; `outbox` and `carry` bring hits to the leader, whose `inbox` joins them into entries; `steward` forms the
//! group and keeps it in step with the cluster's members by the rules in `roster`; `engine` is all that knows openraft.
//!
//! # What is promised
//!
//! - Operations on a key are linearizable within a group. One that is asked again under its id counts once.
//! - The log and the votes are in memory. That is safe because a node that starts again has another id: it comes
//!   back as a learner, and votes when it has caught up.
//! - The first group is formed once, when all live members say that they have none, by the one of them with the lowest
//!   name (or, with data directories, by the one with the latest snapshot). All requests carry the group's id, and a node
//!   refuses those of another.
//!
//! # What is not
//!
//! - Nodes that start while they cannot see each other form one group each. When they meet, the older group goes on, and
//!   the members of the other come over with nothing: what it counted is forgotten, and each of its keys may be admitted
//!   up to its limit once more.
//! - While a majority of voters is merely silent, nothing is decided. When it is gone for good (its nodes left, were
//!   forgotten, or have started again), the survivor with the longest log forms the next group with all it knows, within
//!   some seconds; what only the lost voters had decided may be admitted again.
//! - A whole-cluster restart starts empty, or, with data directories, from the latest snapshot: what was counted after it
//!   (5 s at most, nothing after a polite stop) may be admitted again.
//! - Two nodes have one voter, since two would need each other. While that one is silent, nothing is decided.

mod ask;
mod carry;
mod codec;
mod config;
mod coordinator;
mod engine;
mod group;
mod inbox;
mod known;
mod machine;
mod meter;
mod node;
mod outbox;
mod peers;
mod roster;
mod saved;
mod status;
mod steward;
mod wire;

pub use self::coordinator::RaftCoordinator;
pub use config::{RaftConfig, StartError, Timings};
pub use peers::{CallError, Member, Peers};
pub use status::RaftStatus;
