//! What this node knows of another one.

use crate::lane::Lane;
use crate::message::Urgency;

/// Whether this node believes that a peer belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It is connected, and not yet in this node's view: a newcomer. A change waits for it while it is connected.
    New,
    /// It is alive.
    Live,
    /// It was, and is not. No change waits for it.
    Gone,
}

/// Another node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) standing: Standing,
    pub(crate) is_connected: bool,
    pub(crate) changes: Lane,
    pub(crate) repairs: Lane,
    /// Its exchange, to which the answer is `Done` once `repairs` is empty.
    pub(crate) asked: Option<u64>,
    /// An exchange with it, begun by this node, has come to its end since it was met.
    pub(crate) has_told_all: bool,
}

impl Peer {
    pub(crate) fn new(standing: Standing) -> Self {
        Self {
            standing,
            is_connected: false,
            changes: Lane::default(),
            repairs: Lane::default(),
            asked: None,
            has_told_all: false,
        }
    }

    /// Whether a change is to be confirmed by it.
    pub(crate) fn is_audience(&self) -> bool {
        match self.standing {
            Standing::New => self.is_connected,
            Standing::Live => true,
            Standing::Gone => false,
        }
    }

    pub(crate) fn lane(&mut self, urgency: Urgency) -> &mut Lane {
        match urgency {
            Urgency::Change => &mut self.changes,
            Urgency::Repair => &mut self.repairs,
        }
    }

    /// What was under way is lost; what was owed is found out anew by an exchange.
    pub(crate) fn forget_lanes(&mut self) {
        self.changes = Lane::default();
        self.repairs = Lane::default();
        self.asked = None;
    }
}
