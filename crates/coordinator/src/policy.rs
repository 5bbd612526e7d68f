//! A limit with all that identifies it.

use std::sync::Arc;

use quota::{Cost, Limit};

use crate::{FailMode, Strategy};

/// A whole limit as a front selects it: whose, called what, how many, and what happens when nobody can tell.
///
/// Cheap to clone. `(namespace, name)` and a key identify a counter; the rest says how it counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The tenant. Counters of two namespaces never meet.
    pub namespace: Arc<str>,
    /// The limit's name, unique in its namespace.
    pub name: Arc<str>,
    /// How many units, how often, counted how.
    pub limit: Limit,
    /// Who counts.
    pub strategy: Strategy,
    /// What to answer when no decision can be had.
    pub on_failure: FailMode,
    /// Whether it is told which keys it denies most. Of limits of tenants: of others nobody tells.
    pub top_keys: bool,
}

/// One hit, borrowed from whoever asks: nothing is copied for it on the way to the counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit<'a> {
    /// The limit that it counts under.
    pub policy: &'a Policy,
    /// What is counted. Not empty, at most 1 KiB.
    pub key: &'a str,
    /// The units it consumes; 0 peeks.
    pub cost: Cost,
}
