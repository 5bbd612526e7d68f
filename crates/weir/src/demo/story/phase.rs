//! The phases of the demo.

use super::NAMES;

/// How far the story has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Until three nodes form a whole cluster.
    Starting,
    /// Traffic on all three.
    Steady,
    /// Asking who owns what, and killing the node that owns most.
    Killing,
    /// Until all of the dead node's keys are answered by others.
    Takeover,
    /// Until two nodes have been seen to do the work of three, and have been asked what they know.
    Without,
    /// Until the node is back and has shards.
    Returning,
    /// Traffic on all three again.
    Restored,
    /// Until every hit in flight is answered or lost.
    Quieting,
    /// Asking all three what they know.
    Auditing,
    Over,
}

impl Phase {
    /// As a headline, and as what was waited for in vain.
    pub(crate) fn title(self, victim: Option<usize>) -> String {
        let name = victim.map_or("a node", |victim| NAMES[victim]);
        match self {
            Self::Starting => "starting three nodes".to_owned(),
            Self::Steady => "traffic on three nodes".to_owned(),
            Self::Killing => "about to kill the owner of most keys".to_owned(),
            Self::Takeover => format!("{name} is dead, others take over"),
            Self::Without => format!("going on without {name}"),
            Self::Returning => format!("{name} starts again"),
            Self::Restored => format!("{name} is back, traffic on three nodes"),
            Self::Quieting => "finishing what is in flight".to_owned(),
            Self::Auditing => "comparing the books".to_owned(),
            Self::Over => "over".to_owned(),
        }
    }
}
