//! The pages, each beside what its forms do.

pub(crate) mod account;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod billing;
pub(crate) mod cluster;
pub(crate) mod entry;
pub(crate) mod limits;
pub(crate) mod live;
pub(crate) mod overview;
pub(crate) mod team;
pub(crate) mod tenants;
pub(crate) mod usage;
