//! A node as a library: from its listeners to its last answer, in a process that it does not own.
//!
//! Start with [`Node::builder`]. What a node of the `weir` command is, a node in a program is as well: a member of its
//! cluster, with its share of the shards unless its [`Role`] is another. Nothing here reads the environment, the command line or a file that it was
//! not told of, installs anything for the whole process, or ends it. [`Node::stop`] leaves no task, socket or thread.
//!
//! [`config`] reads the sections of a file that all nodes of a cluster share.

pub mod config;

mod builder;
mod families;
mod front;
mod listeners;
mod machine;
mod metrics;
mod node;
mod program;
mod reload;
mod running;
mod served;
mod strategies;
mod tasks;
mod traced;

pub use builder::{Builder, RedisError, Role, StartError};
pub use cluster::node::JoinError;
pub use limiter::NotReloaded;
pub use listeners::ListenError;
pub use metrics::Metrics;
pub use node::{Failure, Node};
