//! Counts that outlive all nodes: what a node writes to its log of them, when it writes that log anew, and what it takes back.
//!
//! A shard lists which of its kept keys have changed. [`Writer`] takes these lists now and then and adds the cells to a
//! log, whether the node owns the shard or has a copy. When the log is mostly about what has changed since, a new one is
//! written beside it, shard by shard. Nothing here opens a file: the log and the shards of the node are what whoever
//! drives it says they are, `cluster` on a disk and the simulator in memory.

mod log;
mod node;
mod taken_back;
mod writer;

pub use self::log::{Entry, Log};
pub use self::node::Shards;
pub use self::taken_back::{Kept, is_known, take_back};
pub use self::writer::{Rules, Writer};
