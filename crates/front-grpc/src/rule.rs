//! What a descriptor is held to.

use limiter::Selected;
use quota::Nanos;

/// A rule, as the descriptors that it matches are held to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// What clients see as the name of the limit, in `current_limit` and in headers.
    pub name: String,
    /// How much passes.
    pub bound: Bound,
    /// Counts as usual, and tells the client that it passes in any case, also where nobody could decide.
    pub is_shadow: bool,
    /// Names of rules that do not hold for a request in which this one holds.
    pub replaces: Vec<String>,
    /// The name by which others replace this one. Empty: none.
    pub replaced_as: String,
}

/// How much passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bound {
    /// What the limit of this name admits, as the node knows it when it is asked: of its file, or made at run time.
    Named(String),
    /// What this limit admits.
    Limit(Selected),
    /// Nothing, and nothing is counted: 0 requests per unit. Windows of this length are told, anchored at the epoch.
    Nothing(Nanos),
    /// Everything, and nothing is counted.
    Everything,
}
