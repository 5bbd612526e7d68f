//! What is measured, one file each.

pub(crate) mod forward;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod in_process;
pub(crate) mod layer;
pub(crate) mod resp;
pub(crate) mod rough;
pub(crate) mod service;
pub(crate) mod strategies;
pub(crate) mod takeover;
pub(crate) mod upkeep;
