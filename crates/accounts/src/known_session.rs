//! What is kept of a session that was begun, so that its user can find and end it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{EndedSession, Session, UnixSecs, UserId};

/// A session that was begun, as its user sees it in a list. That it is [valid](Session::check) its cookie says, not this: it
/// is written at login, and now and then while it is used.
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
    /// When it was last used, as far as all were told.
    pub seen_at: UnixSecs,
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
            seen_at: session.seen_at(),
        }
    }

    /// What two writes say together that did not see each other: the later use. In any order and however often, it comes to the
    /// same.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        // All else is written once. Should it differ all the same, every node keeps the same.
        Self {
            seen_at: self.seen_at.max(other.seen_at),
            ..self.min(other).clone()
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

    #[test]
    fn of_two_uses_the_later_stays() {
        let user = User::new(UnixSecs::new(1), "a@b".parse().unwrap());
        let session = Session::new(UnixSecs::new(5), UserId::new([1; 10]), &user, [2; 16]);
        let known = |agent: &str, seen: u64| KnownSession {
            seen_at: UnixSecs::new(seen),
            ..KnownSession::new(&session, 100, None, agent)
        };
        let all: Vec<KnownSession> = ["a", "b"]
            .into_iter()
            .flat_map(|agent| [5, 7, 9].map(|seen| known(agent, seen)))
            .collect();
        assert_eq!(known("a", 5).meet(&known("a", 9)), known("a", 9));
        for one in &all {
            assert_eq!(one.meet(one), *one);
            for other in &all {
                assert_eq!(one.meet(other), other.meet(one));
                for third in &all {
                    assert_eq!(one.meet(other).meet(third), one.meet(&other.meet(third)));
                }
            }
        }
    }
}
