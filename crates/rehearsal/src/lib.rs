//! What demos, comparisons, benchmarks and end-to-end tests do alike: start programs and end them by their ids, wait, ask
//! nodes, and keep books of what clients were told.
//!
//! A [`Process`] ends with the value that stands for it. A node says that it is [`Ready`] in one line, a [`Client`] asks it, a
//! [`View`] is what it says of its cluster, and an [`Account`] what came of the hits on one key. Knows only what users know: the
//! command line, the ready line and the HTTP API. Nothing here links the product.

mod account;
mod http;
mod process;
mod ready;
mod view;
mod wait;

pub use self::account::Account;
pub use self::http::{Client, Response, check};
pub use self::process::{Process, cpu_of, family, free_address, memory_of, runs};
pub use self::ready::{NotReady, Ready};
pub use self::view::{MemberView, SHARDS, View};
pub use self::wait::{Late, until};
