//! One shard of one node, played message by message.

mod lessons;
mod measures;
mod one_node;
mod votes;
