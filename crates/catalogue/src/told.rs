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

/// Why nothing was changed, on any node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotChanged {
    /// The catalogue has no room for it.
    #[error("nothing was changed: {0}")]
    NoRoom(#[from] ChangeError),
    /// The node reaches no majority, and its cluster wants one.
    #[error("nothing was changed: this node reaches no majority of its cluster")]
    NoQuorum,
    /// The node has not joined yet.
    #[error("nothing was changed: this node is still joining its cluster")]
    Joining,
    /// Somebody is of a version that cannot read it.
    #[error(
        "nothing was changed: a node of an older version does not know what this is, all are to be upgraded first"
    )]
    Older,
    /// The node is stopping.
    #[error("nothing was changed: this node is stopping")]
    Draining,
}
