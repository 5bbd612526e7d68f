//! One node's knowledge of its cluster, and several that talk to each other, played message by message.

mod belonging;
mod crowd;
mod digests;
mod evidence;
mod heartbeats;
mod names;
mod played;
