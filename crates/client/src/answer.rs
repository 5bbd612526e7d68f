//! What a program is told of one hit.

use std::time::Duration;

/// The state of a key after a question, and whether the hit passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Whether it passed and was counted; of a peek, whether a hit of 1 would pass.
    pub allowed: bool,
    /// Units for each period.
    pub limit: u32,
    /// The period. `None`: whoever answered does not say.
    pub per: Option<Duration>,
    /// The most units that pass at once, where that is not `limit`.
    pub burst: Option<u32>,
    /// Units left.
    pub remaining: u32,
    /// How long until [`Self::remaining`] grows. Zero: it is all there is.
    pub grows_after: Duration,
    /// How long until the key is full again. Zero: it is.
    pub reset_after: Duration,
    /// How long to wait until this hit passes, unless others are admitted first. `None`: it passed.
    pub retry_after: Option<Duration>,
    /// Nobody could decide, and the limit's fail mode answered.
    pub by_fail_mode: bool,
}

/// A hit that passed, or one that was limited. Neither is an error.
pub type Outcome = Result<Pass, Limited>;

/// A hit that passed. It was counted, unless it was a peek.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    /// Units for each period.
    pub limit: u32,
    /// Units left.
    pub remaining: u32,
    /// How long until the key is full again.
    pub reset_after: Duration,
    /// Nobody could decide, and the limit fails open. Then nothing was counted.
    pub by_fail_mode: bool,
}

/// A hit that did not pass. It was not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("limited, and passes after {retry_after:?}")]
pub struct Limited {
    /// Units for each period.
    pub limit: u32,
    /// Units left: fewer than the hit costs.
    pub remaining: u32,
    /// The same hit passes after so long, unless others are admitted first.
    pub retry_after: Duration,
    /// How long until the key is full again.
    pub reset_after: Duration,
}

impl Answer {
    /// The answer as one of two.
    ///
    /// # Errors
    ///
    /// [`Limited`], which is no error.
    pub fn outcome(self) -> Outcome {
        match self.allowed {
            true => Ok(Pass {
                limit: self.limit,
                remaining: self.remaining,
                reset_after: self.reset_after,
                by_fail_mode: self.by_fail_mode,
            }),
            false => Err(Limited {
                limit: self.limit,
                remaining: self.remaining,
                // A peek is told no wait: then it is that until there is more.
                retry_after: self.retry_after.unwrap_or(self.grows_after),
                reset_after: self.reset_after,
            }),
        }
    }
}
