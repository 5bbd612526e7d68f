//! Why a program was given no decision.

use std::borrow::Cow;
use std::time::Duration;

/// Why there is no decision. Each says, by [`Self::counted`], what became of the hit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not counted.
    #[error("no limit is called {name:?}")]
    UnknownLimit {
        /// The name.
        name: String,
    },
    /// Not counted: what was asked makes no sense.
    #[error("{what}; accepted: {accepted}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// What would do.
        accepted: Cow<'static, str>,
    },
    /// Not counted: the cost is above the burst, and no wait helps.
    #[error("a cost of {cost} is above what ever passes at once")]
    NeverConforms {
        /// The cost.
        cost: u32,
    },
    /// Nobody decided, and the limit fails closed.
    #[error("no decision could be had: {why}")]
    NoDecision {
        /// Why.
        why: String,
        /// What became of the hit.
        counted: Counted,
        /// When another attempt is worth making. A hint.
        retry_after: Duration,
    },
    /// Not counted: the node wants another token.
    #[error("the node does not take this token: {why}")]
    Unauthorized {
        /// What it said.
        why: String,
    },
    /// Not counted: this cannot be asked of whom it was asked of.
    #[error("{what}")]
    Unsupported {
        /// What, and whom.
        what: &'static str,
    },
}

/// What became of a hit that has no decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// It was not counted.
    No,
    /// It may or may not have been counted. Do not ask again blindly.
    Unknown,
}

impl Error {
    /// What became of the hit.
    #[must_use]
    pub fn counted(&self) -> Counted {
        match self {
            Self::NoDecision { counted, .. } => *counted,
            _ => Counted::No,
        }
    }

    /// When another attempt is worth making. `None`: never, as it is.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoDecision { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}
