//! One shard of one node, played message by message.

mod copies;
mod gathering;
mod kept;
mod leases;
mod lessons;
mod losses;
mod measures;
mod memory;
mod one_node;
mod poisoned;
mod promises;
mod votes;
