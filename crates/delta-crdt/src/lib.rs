//! The replicated map of one shard: key → cell, joined from deltas that may be lost, repeated and reordered.
//!
//! Start with [`Cells`]. A write is named by a [`Dot`]: the [`Term`] under which its owner wrote, and how many writes
//! of that node came before. In one lineage, one term after another, the newer write of a key wins, so a [`Cell`] is
//! one small [`Version`]: a count, and for each node that wrote it a [`Slot`], which is both its causal context and
//! who added what. Only when two sides wrote without knowing of each other does a cell hold several versions. They
//! are folded when they are read, without being changed, and replaced by one at the next write.
//!
//! The crate knows no clock, no network, and not who may write: fencing is the business of the shard.

mod bound;
mod cell;
mod cells;
mod digest;
mod entries;
mod eviction;
mod expiry;
mod fold;
mod index;
mod kept;
mod loss;
mod store;
mod term;
mod version;

pub use cell::Cell;
pub use cells::{Cells, Fault, Joined, Written};
pub use digest::Digest;
pub use eviction::Evicted;
pub use kept::KeptChanges;
pub use store::KEY_BYTES;
pub use term::{Dot, ReplicaId, SEQ_END, Term};
pub use version::{Added, Slot, Version};
