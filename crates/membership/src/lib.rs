//! Who is alive, and until when a node may decide without hearing from the others again.
//!
//! Sans-io: [`Membership`] takes heartbeats, answers, evidence and ticks with the time, and leaves
//! [`Effect`]s to collect. It knows no socket, no clock and no shard. Liveness is every node's own
//! evidence and is never gossiped; what is gossiped is the [`roster`]: who belongs to the cluster,
//! under which incarnation, and who left.
//!
//! Read [`Membership`] first, then [`Leases`]; [`Founding`] comes before both in a node's life.

mod bearing;
mod council;
mod digest;
mod founding;
mod leases;
mod machine;
mod quorum;
pub mod roster;
mod view;

pub use bearing::{Bearing, Clocks};
pub use council::{Council, CouncilId};
pub use founding::{Beginning, Founding, FoundingRules, FoundingStep, Silence};
pub use leases::{Lease, Leases};
pub use machine::{Effect, Membership, Message, NameVerdict, Settings};
pub use roster::{Contact, Member, Roster, Standing};
pub use view::{Seen, Status, View};
