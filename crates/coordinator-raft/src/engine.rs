//! The part that knows openraft: its API is not stable before 1.0, and none of its types leaves this module.

mod log;
mod network;
mod seat;
mod snapshot;
mod state;
mod types;

pub(crate) use seat::{Proposed, Seat, Seating, Voting};
