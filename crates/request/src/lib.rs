//! One hit, refund or reset, from asked to answered.
//!
//! Sans-io: [`Request`] says what to do next (decide here, ask a node, wait, tell the caller) and takes what came of
//! it. It keeps the trace: whether an attempt may have left something counted, which decides between "not counted" and
//! "unknown" when the hit is given up. On the other side of the wire [`decide`] puts one attempt to a shard, and
//! [`Held`] keeps its answer until a replica has what it tells.
//!
//! An answer has two coats: [`Said`] is what a shard says to one attempt; what the caller is told at the end is a
//! [`coordinator::Answer`] or a [`coordinator::NoDecision`].
//!
//! A hit whose shard this node owns, and whose answer waits for nobody, is tried once without a name
//! ([`Subject::may_go_unnamed`]): it is answered then and there. Whatever comes to more gets a [`HitId`](shard::HitId)
//! and a deadline and becomes a [`Request`]. Under its id it may be asked again, of any owner, and counts once. A client may
//! give the id itself, and ask again any node.
//!
//! This crate knows no socket, no clock and no other request. Read [`Request`] first.

mod detours;
mod held;
mod outlook;
mod relay;
mod request;
mod said;
mod subject;

pub use detours::Detours;
pub use held::{Acknowledge, HELD_MAX, Heard, Held, decide};
pub use outlook::{Outlook, is_reached};
pub use relay::{RELAY_ATTEMPT, Relay, relay};
pub use request::{ATTEMPT, DEADLINE, LOOK_AGAIN, Next, Request, Unsent, Way};
pub use said::Said;
pub use subject::Subject;
