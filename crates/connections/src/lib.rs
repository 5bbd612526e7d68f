//! The connections of a listener: how many there are, which of them are idle, which go first when room is needed, and
//! what they may hold together.
//!
//! Read [`serve`] first: it accepts connections, gives each a [`Seat`], and drains them at the end. It is for protocols that have
//! one question at a time on a connection; one that has many brings seats of its own, and keeps them in [`Open`]. [`Places`] is
//! the sum for all listeners of a process. [`Memory`] bounds what clients may have a process hold beyond what every connection
//! has. This crate does not know what is spoken on a connection: each front brings that.

mod connections;
mod memory;
mod open;
mod places;
mod seat;
mod serve;

pub use connections::Idle;
pub use memory::{Memory, NoRoom, Room};
pub use open::{Change, Open};
pub use places::{Place, Places};
pub use seat::{Seat, Then};
pub use serve::{Terms, serve};
