//! What whoever changes something is told.

use crate::machine::ChangeError;

/// A change that stands.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changed {
    /// Something stood there before.
    pub replaced: bool,
    /// Names of live members that had not confirmed it within a second, in order. Empty: it is in force on all.
    pub pending: Vec<String>,
}

/// Why nothing was changed, on any node. Each says the reason alone: whoever changes several things may have changed others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotChanged {
    /// The catalogue has no room for it.
    #[error(transparent)]
    NoRoom(#[from] ChangeError),
    /// The node reaches no majority, and its cluster wants one.
    #[error("this node reaches no majority of its cluster")]
    NoQuorum,
    /// The node has not joined yet.
    #[error("this node is still joining its cluster")]
    Joining,
    /// Somebody is of a version that cannot read it.
    #[error("a node of an older version does not know what this is, all are to be upgraded first")]
    Older,
    /// The node is stopping.
    #[error("this node is stopping")]
    Draining,
}
