//! Everything that can come of a handshake besides a proven peer.

use std::io;

use super::{HANDSHAKE_DEADLINE, VERSION};

/// Why a node did not take another's connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    /// The proof was made with another cookie.
    #[error("it has another cookie")]
    WrongCookie,
    /// This node does not take part yet: it has no incarnation, or is stopping. Try again.
    #[error("it does not take part yet")]
    NotReady,
    /// Another node of that name is there.
    #[error("the name is taken by a live node")]
    NameTaken,
    /// Both ends are the same node.
    #[error("it is this node itself")]
    Itself,
    /// A higher incarnation of that name has been seen: the one refused must stop.
    #[error("a newer incarnation has the name")]
    Fenced,
}

impl Refusal {
    pub(super) const ALL: [Self; 5] = [
        Self::WrongCookie,
        Self::NotReady,
        Self::NameTaken,
        Self::Itself,
        Self::Fenced,
    ];

    pub(super) fn code(self) -> u8 {
        match self {
            Self::WrongCookie => 1,
            Self::NotReady => 2,
            Self::NameTaken => 3,
            Self::Itself => 4,
            Self::Fenced => 5,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }

    /// The label of this reason in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::WrongCookie => "wrong_cookie",
            Self::NotReady => "not_ready",
            Self::NameTaken => "name_taken",
            Self::Itself => "itself",
            Self::Fenced => "fenced",
        }
    }
}

/// Why a handshake came to nothing. Nobody's state has changed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The other end refused. Proven, unless it is [`Refusal::WrongCookie`].
    #[error("the other node refused: {0}")]
    RefusedBy(Refusal),
    /// This end refused a peer, which has proven the cookie unless the reason is that it has not.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The node dialled takes our cookie, or pretends to, without having it.
    #[error("the node dialled did not prove the cookie")]
    Unproven,
    /// More than one protocol version apart.
    #[error("it speaks protocol {theirs}, this node {VERSION}")]
    Version {
        /// What the other end speaks.
        theirs: u16,
    },
    /// Whatever it is, it does not speak this protocol.
    #[error("it does not speak this protocol")]
    Foreign,
    /// Nothing came of it within [`HANDSHAKE_DEADLINE`].
    #[error("no complete handshake within {HANDSHAKE_DEADLINE:?}")]
    Deadline,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

impl HandshakeError {
    /// Every [`Self::label`].
    pub(crate) const LABELS: [&'static str; 10] = [
        "wrong_cookie",
        "not_ready",
        "name_taken",
        "itself",
        "fenced",
        "unproven",
        "version",
        "foreign",
        "deadline",
        "io",
    ];

    /// The label of this outcome in metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::RefusedBy(refusal) | Self::Refused(refusal) => refusal.label(),
            Self::Unproven => "unproven",
            Self::Version { .. } => "version",
            Self::Foreign => "foreign",
            Self::Deadline => "deadline",
            Self::Io(_) => "io",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_under_a_label_that_there_is() {
        let refusals = [
            Refusal::WrongCookie,
            Refusal::NotReady,
            Refusal::NameTaken,
            Refusal::Itself,
            Refusal::Fenced,
        ];
        let errors = [
            HandshakeError::Unproven,
            HandshakeError::Foreign,
            HandshakeError::Deadline,
            HandshakeError::Io(std::io::ErrorKind::Other.into()),
        ];
        let refused = refusals.map(HandshakeError::Refused);
        for error in refused.iter().chain(&errors) {
            assert!(HandshakeError::LABELS.contains(&error.label()), "{error}");
        }
    }
}
