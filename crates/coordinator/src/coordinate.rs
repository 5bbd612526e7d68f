//! What a front asks, and what it is told.

use std::future::Future;

use quota::{Cost, Decision, Nanos};

use crate::{Hit, Policy};

/// Decides hits, wherever in the cluster that has to happen.
///
/// Implementations retry and wait for a new owner by themselves, within a deadline of their own. They also apply the
/// limit's [`FailMode`](crate::FailMode): a [`NoDecision`] that comes out here is to be told to the client.
///
/// A caller that drops a future leaves it unknown whether the hit was counted.
pub trait Coordinator: Send + Sync + 'static {
    /// Decides one hit at once, if this node can: no future, no waiting, nothing allocated. `None`: it was not counted, and
    /// [`hit`](Self::hit) has to decide it.
    ///
    /// The default never can.
    fn try_hit(&self, hit: Hit<'_>) -> Option<Result<Answer, NoDecision>> {
        let _cannot = hit;
        None
    }

    /// Decides one hit, and counts it if it passes. A cost of 0 peeks and counts nothing.
    ///
    /// # Errors
    ///
    /// [`NoDecision`] when nobody could decide and the limit fails closed.
    fn hit(
        &self,
        policy: &Policy,
        key: &str,
        cost: Cost,
    ) -> impl Future<Output = Result<Answer, NoDecision>> + Send;

    /// Decides many hits, each for itself. The answers come in the order of the hits.
    ///
    /// Hits of the same counter are decided in their order here; others in any.
    fn hits(
        &self,
        hits: &[Hit<'_>],
    ) -> impl Future<Output = Vec<Result<Answer, NoDecision>>> + Send;

    /// Gives back up to `cost` units, and tells the state after. Never below empty.
    ///
    /// # Errors
    ///
    /// [`NoDecision`] when nobody could be reached. A fail mode does not apply.
    fn refund(
        &self,
        policy: &Policy,
        key: &str,
        cost: Cost,
    ) -> impl Future<Output = Result<Answer, NoDecision>> + Send;

    /// As [`hit`](Self::hit) or [`refund`](Self::refund), under an id that its client gave it: asked again, of this node or
    /// another, it counts once, as long as the id is remembered. What is asked again is the same in all: limit, key, cost.
    ///
    /// Only of a strategy that [remembers ids](crate::Strategy::remembers_ids). The default decides nothing.
    ///
    /// # Errors
    ///
    /// As for those.
    fn once(
        &self,
        asked: Once<'_>,
        id: &str,
    ) -> impl Future<Output = Result<Answer, NoDecision>> + Send {
        let _cannot = (asked, id);
        std::future::ready(Err(NoDecision::Unavailable {
            retry_after: Nanos::from_secs(1),
        }))
    }

    /// Makes the key full. Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// [`NoDecision`] when nobody could be reached. A fail mode does not apply.
    fn reset(
        &self,
        policy: &Policy,
        key: &str,
    ) -> impl Future<Output = Result<(), NoDecision>> + Send;
}

/// What a client may ask again under its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Once<'a> {
    /// Decide it, and count it if it passes.
    Hit(Hit<'a>),
    /// Give its cost back.
    Refund(Hit<'a>),
}

/// A decision, and whether anybody really made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What to tell the client.
    pub decision: Decision,
    /// Whether the limit's fail mode answered, because no decision could be had.
    pub by_fail_mode: bool,
}

impl From<Decision> for Answer {
    /// The answer of a node that could decide.
    fn from(decision: Decision) -> Self {
        Self {
            decision,
            by_fail_mode: false,
        }
    }
}

/// Why no decision could be had. Each variant says what became of the hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoDecision {
    /// Not counted. Nobody that may decide could be reached.
    #[error("no node could decide this hit, and it was not counted")]
    Unavailable {
        /// When another attempt is worth making. A hint.
        retry_after: Nanos,
    },
    /// May or may not have been counted: the deciding node was asked and did not answer. Do not retry blindly.
    #[error("the deciding node did not answer, and it is unknown whether this hit was counted")]
    Unknown {
        /// When another attempt is worth making. A hint.
        retry_after: Nanos,
    },
    /// Not counted. A queue was full, so this hit was shed to keep the others going.
    #[error("too many hits are waiting, and this one was not counted")]
    Overloaded {
        /// When another attempt is worth making. A hint.
        retry_after: Nanos,
    },
    /// Not counted. This node is stopping; ask another.
    #[error("this node is draining, and the hit was not counted")]
    Draining {
        /// When another attempt is worth making. A hint.
        retry_after: Nanos,
    },
}

impl NoDecision {
    /// When another attempt is worth making. A hint.
    #[must_use]
    pub const fn retry_after(&self) -> Nanos {
        match self {
            Self::Unavailable { retry_after }
            | Self::Unknown { retry_after }
            | Self::Overloaded { retry_after }
            | Self::Draining { retry_after } => *retry_after,
        }
    }

    /// Whether it is certain that the hit was not counted.
    #[must_use]
    pub const fn is_uncounted(&self) -> bool {
        !matches!(self, Self::Unknown { .. })
    }
}
