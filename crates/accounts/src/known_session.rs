//! What is kept of a session that was begun, so that its user can find and end it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{EndedSession, Session, UnixSecs, UserId};

/// A session that was begun, as its user sees it in a list. That it is [valid](Session::check) its cookie says, not this: it
/// is written at login alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KnownSession {
    /// Whose it is.
    pub user: UserId,
    /// The epoch of the user in which it was begun: in another it has ended.
    pub epoch: u64,
    /// When it was begun.
    pub made_at: UnixSecs,
    /// The address that it was begun from. `None`: it is not known.
    pub address: Option<IpAddr>,
    /// What the browser called itself: at most [`Self::AGENT_MAX`] bytes, empty if it did not say.
    pub agent: Arc<str>,
    /// From then on it is over in any case, and forgotten.
    pub over_at: UnixSecs,
}

impl KnownSession {
    /// Most bytes of what is kept of a browser's name: those of usual ones have up to 150.
    pub const AGENT_MAX: usize = 200;

    /// That of a session which may live for `max` seconds, begun from this address by a browser that calls itself `agent`.
    #[must_use]
    pub fn new(session: &Session, max: u64, address: Option<IpAddr>, agent: &str) -> Self {
        let end = agent.floor_char_boundary(Self::AGENT_MAX);
        Self {
            user: session.user(),
            epoch: session.epoch(),
            made_at: session.issued_at(),
            address,
            agent: agent[..end].into(),
            over_at: session.issued_at() + max,
        }
    }

    /// What is kept once it is ended, as of the [session](Session::ended) itself.
    #[must_use]
    pub fn ended(&self) -> EndedSession {
        EndedSession::of(self.made_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::User;

    #[test]
    fn a_long_name_of_a_browser_is_cut_between_characters() {
        let user = User::new(UnixSecs::new(1), "a@b".parse().unwrap());
        let session = Session::new(UnixSecs::new(5), UserId::new([1; 10]), &user, [2; 16]);
        let known = KnownSession::new(&session, 100, None, &format!("a{}", "\u{e9}".repeat(200)));
        assert_eq!(known.agent.len(), KnownSession::AGENT_MAX - 1);
        assert_eq!(known.over_at, UnixSecs::new(105));
    }
}
