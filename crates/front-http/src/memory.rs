//! Memory that clients may take together, beyond what every connection has.

use connections::NoRoom;
use limiter::{Kind, Refusal};

use crate::problem::Problem;

/// Room for an answer whose length is known once it is made: the most of one. The rest is given back then.
pub(crate) const ANSWER_BYTES: usize = 1024 * 1024;

/// What answers that grow with what the node holds may take together: apart from bodies, so that a flood of these hides
/// no metrics.
pub(crate) const ANSWERS_MAX: usize = 16 * ANSWER_BYTES;

/// What bodies that did not come with their heads, and the answers to batches, may take together: sixteen of the largest.
pub(crate) const BODIES_MAX: usize = 64 * 1024 * 1024;

impl From<NoRoom> for Problem {
    fn from(error: NoRoom) -> Self {
        Refusal::new(Kind::Overloaded, format!("{error}; nothing was counted"))
            .with_retry_after(quota::Nanos::from_secs(1))
            .into()
    }
}
