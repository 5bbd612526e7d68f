//! What all handlers share.

use std::sync::Arc;

use axum::extract::State;
use connections::Memory;
use limiter::{Identifier, Limiter, Node, Refusal, Selected};

use crate::memory::{ANSWERS_MAX, BODIES_MAX};

/// What all handlers share.
pub(crate) struct App<N> {
    pub(crate) limiter: Limiter<N>,
    pub(crate) identifier: Arc<Identifier>,
    /// Name of the limit of `/rate`.
    rate_limit: String,
    /// What bodies may take together, and the answers to batches.
    pub(crate) bodies: Memory,
    /// What other answers may take together that grow with what the node holds.
    pub(crate) answers: Memory,
}

/// What clients may take together, whatever the configuration says.
#[derive(Clone)]
pub(crate) struct Room {
    bodies: Memory,
    answers: Memory,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            bodies: Memory::new(BODIES_MAX),
            answers: Memory::new(ANSWERS_MAX),
        }
    }
}

/// The state of every handler.
pub(crate) type Shared<N> = State<Arc<App<N>>>;

impl<N: Node> App<N> {
    /// The limit of `/rate`.
    pub(crate) fn rate_limit(&self) -> Result<Selected, Refusal> {
        self.limiter.find(&self.rate_limit)
    }
}

impl<N> App<N> {
    pub(crate) fn new(
        limiter: Limiter<N>,
        identifier: Arc<Identifier>,
        rate_limit: String,
        room: Room,
    ) -> Self {
        Self {
            limiter,
            identifier,
            rate_limit,
            bodies: room.bodies,
            answers: room.answers,
        }
    }
}
