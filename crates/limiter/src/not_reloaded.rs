//! Why what a file says now is not in force.

use quota::Nanos;

use crate::{Kind, Refusal};

/// Why what a file says now is not in force. Nothing was changed: all goes on as before.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotReloaded {
    /// There is none.
    #[error("this node was started without a file: there is nothing to read again")]
    NoFile,
    /// Each thing that is wrong with it, with its place.
    #[error("the file cannot be taken")]
    Wrong(Vec<String>),
    /// What only a restart changes, by its key.
    #[error("the file changes what only a restart can")]
    NeedsRestart(Vec<String>),
    /// It could not be read in time.
    #[error("the file could not be read in time")]
    Late,
    /// The node has not joined its cluster yet.
    #[error("this node is still joining its cluster")]
    Joining,
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

impl NotReloaded {
    /// What is wrong or in the way, each in a line.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Wrong(lines) | Self::NeedsRestart(lines) => lines,
            Self::NoFile | Self::Late | Self::Joining | Self::Stopping => &[],
        }
    }
}

impl From<&NotReloaded> for Refusal {
    fn from(error: &NotReloaded) -> Self {
        let kind = match error {
            NotReloaded::NoFile | NotReloaded::Wrong(_) | NotReloaded::NeedsRestart(_) => {
                Kind::NotReloaded
            }
            NotReloaded::Late | NotReloaded::Joining => Kind::NoDecision,
            NotReloaded::Stopping => Kind::Draining,
        };
        let refusal = Self::new(kind, format!("{error}; nothing was changed"));
        match kind {
            Kind::NotReloaded => refusal,
            _ => refusal.with_retry_after(Nanos::from_secs(1)),
        }
    }
}
