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
    #[error("{NOTHING}{0}")]
    NoRoom(#[from] ChangeError),
    /// The node reaches no majority, and its cluster wants one.
    #[error("{NOTHING}this node reaches no majority of its cluster")]
    NoQuorum,
    /// The node has not joined yet.
    #[error("{NOTHING}this node is still joining its cluster")]
    Joining,
    /// Somebody is of a version that cannot read it.
    #[error(
        "{NOTHING}a node of an older version does not know what this is, all are to be upgraded first"
    )]
    Older,
    /// The node is stopping.
    #[error("{NOTHING}this node is stopping")]
    Draining,
}

/// What the text of each begins with.
const NOTHING: &str = "nothing was changed: ";

impl NotChanged {
    /// Why, for whoever changes several things, of which others were.
    #[must_use]
    pub fn why(&self) -> String {
        self.to_string().split_off(NOTHING.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_told_by_itself() {
        assert_eq!(NotChanged::Draining.why(), "this node is stopping");
        let full = NotChanged::NoRoom(ChangeError::Full);
        assert_eq!(full.why(), ChangeError::Full.to_string());
    }
}
