//! What all handlers share.

use std::sync::Arc;

use axum::extract::State;
use connections::Memory;
use limiter::{Access, Identifier, Kind, Limiter, Node, Refusal, Selected, Service};

use crate::caller::{Guard, Needs};
use crate::memory::{ANSWERS_MAX, BODIES_MAX};

/// What all handlers share.
pub(crate) struct App<N> {
    access: Access,
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
    /// What requests of paths that need this are held against.
    pub(crate) fn guard(&self, needs: Needs) -> Guard<N> {
        Guard {
            access: self.access.clone(),
            limiter: self.limiter.clone(),
            identifier: Arc::clone(&self.identifier),
            needs,
        }
    }

    /// The limit of `/rate` in the namespace of this limiter.
    pub(crate) fn rate_limit(&self, limiter: &Limiter<N>) -> Result<Selected, Refusal> {
        limiter.find(&self.rate_limit)
    }
}

impl<N> App<N> {
    /// What makes this a service for many.
    ///
    /// # Errors
    ///
    /// It is none: nothing of one is served then.
    pub(crate) fn service(&self) -> Result<Arc<Service>, Refusal> {
        let none = || Refusal::new(Kind::NotFound, "this node is no service for many");
        self.access.service().cloned().ok_or_else(none)
    }

    pub(crate) fn new(
        limiter: Limiter<N>,
        access: Access,
        identifier: Arc<Identifier>,
        rate_limit: String,
        room: Room,
    ) -> Self {
        Self {
            access,
            limiter,
            identifier,
            rate_limit,
            bodies: room.bodies,
            answers: room.answers,
        }
    }
}
