//! Starts real `weir` processes, asks them over real sockets, and kills them.
//!
//! Knows only what users know: the command line, the ready line and the HTTP API. Nothing here links the product, but for the
//! library by which programs ask it, in `named_hits.rs`.
//! Tests wait for conditions with a deadline ([`eventually`]), never for durations. Read [`Cluster`] first.

mod account;
mod balancer;
mod cluster;
mod container;
mod deployed;
mod disk;
mod envoy;
mod load;
mod network;
mod node;
mod proxy;
mod redis;
mod service;
mod site;
mod wait;

pub use self::account::account;
pub use self::balancer::{Balanced, Balancer};
pub use self::cluster::{Cluster, view};
pub use self::container::{Container, Image};
pub use self::deployed::{Compose, Service, chart, document, project, text, texts};
pub use self::disk::SmallDisk;
pub use self::envoy::{Envoy, get as envoy_get};
pub use self::load::{Hit, Load, Outcome, Target, at_once, spend};
pub use self::network::{Network, address};
pub use self::node::{Node, Options, Starting, weir};
pub use self::proxy::{App, Proxy, demo, python_program};
pub use self::redis::Redis;
pub use self::site::Site;
pub use self::wait::{DEADLINE, eventually};
pub use rehearsal::{Account, Client, MemberView, Response, View, check, until};
