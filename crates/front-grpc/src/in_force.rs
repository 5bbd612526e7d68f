//! A rule in its place among all.

use crate::rule::Rule;

/// A rule in its place among all.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct InForce {
    pub(crate) rule: Rule,
    /// Its place among all rules, by which it is counted. `None`: it came with a request.
    pub(crate) place: Option<usize>,
}

impl InForce {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, place: None }
    }
}
