//! What a hit asks for and what it is told.

use crate::time::Nanos;

/// The units that one hit consumes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cost(u32);

impl Cost {
    /// Asks without counting: the verdict says whether [`Cost::ONE`] would pass.
    pub const PEEK: Self = Self(0);
    /// What a hit costs unless it says otherwise.
    pub const ONE: Self = Self(1);

    /// A cost of `units`; 0 peeks.
    #[must_use]
    pub const fn new(units: u32) -> Self {
        Self(units)
    }

    /// The units.
    #[must_use]
    pub const fn units(self) -> u32 {
        self.0
    }
}

/// Whether a hit passes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Passes, and has been counted unless it was a peek.
    Allow,
    /// Not counted.
    Deny {
        /// The same hit passes after this wait and not a nanosecond earlier, unless others are admitted first.
        retry_after: Nanos,
    },
    /// Not counted. Costs more than the whole burst: no wait helps, so no wait is promised.
    NeverConforms,
}

/// The answer to one hit, and where the key stands after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Decision {
    /// Whether the hit passes.
    pub verdict: Verdict,
    /// Units left now.
    pub remaining: u32,
    /// Wait until `remaining` grows. Zero when the key is full.
    pub grows_after: Nanos,
    /// Wait until the key is full. Zero when it is.
    pub reset_after: Nanos,
}

impl Decision {
    /// Whether the hit passes.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allow)
    }
}

/// What one operation did to a count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub struct Taken {
    /// The answer.
    pub decision: Decision,
    /// Whole units added to the count: the cost of an admitted hit; zero when denied or peeking, and then the
    /// count is untouched; negative for what a refund or a reset took out, rounded towards zero.
    pub added: i64,
}
