//! When sessions were last used: noted whenever a cookie is signed again, which is every five minutes that somebody works, and told
//! to all with what is kept of the session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounts::{KnownSession, SessionId, UnixSecs};
use catalogue::{Content, Kind as Record, SERVICE};
use futures_util::future::join_all;

use super::session::SignedIn;
use super::uses::NotTold;
use crate::{Limiter, Node};

/// Sessions that wait to be told of: 400 KB. Of others it is told when they are used the next time.
const WAITING_MAX: usize = 16_384;

/// Sessions of which is told at once, as of API keys.
const AT_ONCE: usize = 64;

/// All know of a use that is so many seconds younger than what they have been told already. Each is a write on all nodes; a team
/// wants to know whether somebody was there this morning, or this year.
const TOLD_EVERY: u64 = 10 * 60;

/// The sessions that were used on this node and of which it is still to be told.
#[derive(Default)]
pub(crate) struct Seen(Mutex<BTreeMap<SessionId, UnixSecs>>);

impl Seen {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<SessionId, UnixSecs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, now: UnixSecs, id: SessionId) {
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX || waiting.contains_key(&id) {
            waiting.insert(id, now);
        }
    }

    /// Of this use all know enough. A later one waits still.
    fn told(&self, id: SessionId, at: UnixSecs) {
        let mut waiting = self.waiting();
        if waiting.get(&id).is_some_and(|seen| *seen <= at) {
            waiting.remove(&id);
        }
    }
}

impl<N: Node> Limiter<N> {
    /// Takes note, at the limiter of the file's limits, of a session that is used now: often enough is whenever it is [signed again](SignedIn::seen_again).
    pub fn note_seen(&self, signed_in: &SignedIn) {
        self.shared.seen.note(super::now(), signed_in.session.id());
    }

    /// Tells all nodes when sessions were last used here, to ten minutes. To be called every minute.
    pub async fn tell_seen(&self) {
        let waiting: Vec<_> = {
            let waiting = self.shared.seen.waiting();
            waiting.iter().map(|(id, at)| (*id, *at)).collect()
        };
        for some in waiting.chunks(AT_ONCE) {
            join_all(some.iter().map(|&(id, at)| self.tell_session(id, at))).await;
        }
    }

    async fn tell_session(&self, id: SessionId, at: UnixSecs) {
        let edit = |known: Option<&Content>| {
            let known = known.and_then(Content::session);
            let is_old = |known: &&Arc<KnownSession>| known.seen_at + TOLD_EVERY <= at;
            let known = known.filter(is_old).ok_or(NotTold::Needless)?;
            let seen = KnownSession {
                seen_at: at,
                ..KnownSession::clone(known)
            };
            Ok(Content::Session(seen.into()))
        };
        let name = id.to_string();
        match self
            .node()
            .edit(Record::Session, SERVICE, &name, edit)
            .await
        {
            Ok(_) | Err(NotTold::Needless) => self.shared.seen.told(id, at),
            Err(NotTold::NotChanged) => {}
        }
    }
}
