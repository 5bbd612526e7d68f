//! What a page needs and this node does not have, since a node of another version made the page: asked for of all members that may
//! have it, on the control plane.
//!
//! Whoever asks for a page has shown nothing yet. So one thing is asked for at a time, and each is looked for once a second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use membership::Status;
use quota::{BootNanos, Nanos};
use tokio::sync::Semaphore;

use super::Cluster;
use super::questions::{Question, encode};
use crate::wire;

/// How long a member may take to answer.
const ANSWER: Duration = Duration::from_millis(500);

/// How long somebody waits for it, others before him included: a browser shows the page meanwhile.
const WITHIN: Duration = Duration::from_secs(2);

/// Members asked at once: in a rolling upgrade about half of them have it.
const ASKED_AT_ONCE: usize = 8;

/// Bytes of an asset: all of a version together have less than 150 KiB.
const BYTES_MAX: usize = 256 << 10;

/// How long this node remembers that nobody has one.
const MISSED_FOR: Nanos = Nanos::from_secs(1);

/// Of how many it remembers that. They come one behind the other, so that more than these are no misses of a second.
const MISSED_MAX: usize = 4_096;

/// Assets that are kept, the newest: those of two other versions, 4 MiB at most.
const FOUND_MAX: usize = 16;

/// What this node has of what others ask for.
type Answers = Arc<dyn Fn(&str) -> Option<&'static [u8]> + Send + Sync>;

/// What this node has, and what it asked for.
pub(super) struct Assets {
    /// Empty: nothing.
    answers: OnceLock<Answers>,
    /// One question at a time.
    asking: Semaphore,
    lately: Mutex<Lately>,
}

impl Default for Assets {
    fn default() -> Self {
        Self {
            answers: OnceLock::new(),
            asking: Semaphore::new(1),
            lately: Mutex::default(),
        }
    }
}

impl Assets {
    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Lately {
    /// The oldest first.
    found: VecDeque<(String, Arc<[u8]>)>,
    /// When nobody had it.
    missed: BTreeMap<String, BootNanos>,
}

impl Lately {
    /// What was found, or `None` where nobody had it a moment ago. An error: nobody was asked lately.
    fn known(&self, now: BootNanos, path: &str) -> Result<Option<Arc<[u8]>>, NotAsked> {
        let found = self.found.iter().find(|(known, _)| known == path);
        if let Some((_, bytes)) = found {
            return Ok(Some(Arc::clone(bytes)));
        }
        let missed_at = self.missed.get(path);
        match missed_at.is_some_and(|at| now < *at + MISSED_FOR) {
            true => Ok(None),
            false => Err(NotAsked),
        }
    }

    fn note(&mut self, now: BootNanos, path: &str, found: Option<&Arc<[u8]>>) {
        match found {
            Some(bytes) => {
                if FOUND_MAX <= self.found.len() {
                    self.found.pop_front();
                }
                self.found.push_back((path.to_owned(), Arc::clone(bytes)));
            }
            None => {
                self.missed.retain(|_, at| now < *at + MISSED_FOR);
                if self.missed.len() < MISSED_MAX {
                    self.missed.insert(path.to_owned(), now);
                }
            }
        }
    }
}

/// Nothing is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct NotAsked;

impl Cluster {
    /// From now on others that ask for an asset are given what this says of it. The first one stays.
    pub fn answer_assets_by(
        &self,
        answer: impl Fn(&str) -> Option<&'static [u8]> + Send + Sync + 'static,
    ) {
        let _first = self.inner.assets.answers.set(Arc::new(answer));
    }

    /// The asset at `path` that another member has, and that `is_it` takes for that. `None`: nobody has it, or not in time. Nobody is
    /// asked again within a second of which nobody had it, and for one asset at a time.
    pub async fn look_up_asset(
        &self,
        path: &str,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Option<Arc<[u8]>> {
        let assets = &self.inner.assets;
        let now = || self.inner.clock.now().boot;
        let known = || assets.lately().known(now(), path);
        if let Ok(known) = known() {
            return known;
        }
        let asked = async {
            let _asking = assets.asking.acquire().await.ok()?;
            // Whoever was before may have asked for the same.
            if let Ok(known) = known() {
                return known;
            }
            let found = self.ask_for_asset(path, is_it).await;
            assets.lately().note(now(), path, found.as_ref());
            found
        };
        tokio::time::timeout(WITHIN, asked).await.ok().flatten()
    }

    /// Asks all live members that may have it.
    async fn ask_for_asset(&self, path: &str, is_it: impl Fn(&[u8]) -> bool) -> Option<Arc<[u8]>> {
        let mut members = self.peers();
        members.retain(|peer| {
            let version = self.inner.transport.version(peer.replica);
            peer.status != Status::Dead && version.is_some_and(wire::knows_accounts)
        });
        let path = path.to_owned();
        let question = &encode(&Question::Asset { path });
        let asked = members.into_iter().map(|peer| async move {
            let answer = self.control().ask(&peer.name, question, ANSWER).await;
            answer.unwrap_or_default()
        });
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        while let Some(bytes) = answers.next().await {
            let is_whole = !bytes.is_empty() && bytes.len() <= BYTES_MAX;
            if is_whole && is_it(&bytes) {
                return Some(bytes.into());
            }
        }
        None
    }

    /// The bytes of what another asks for. Empty: this node does not have it either.
    pub(super) fn answer_asset(&self, path: &str) -> Vec<u8> {
        let answers = self.inner.assets.answers.get();
        let bytes = answers.and_then(|answer| answer(path));
        bytes.unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootNanos {
        BootNanos::new(60_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn what_nobody_has_is_looked_for_again_a_second_later() {
        let mut lately = Lately::default();
        assert_eq!(lately.known(at(0), "a"), Err(NotAsked));
        lately.note(at(0), "a", None);
        assert_eq!(lately.known(at(999), "a"), Ok(None));
        assert_eq!(lately.known(at(999), "b"), Err(NotAsked));
        assert_eq!(lately.known(at(1_000), "a"), Err(NotAsked));
        for number in 0..2 * MISSED_MAX {
            lately.note(at(1_000), &number.to_string(), None);
        }
        assert_eq!(lately.missed.len(), MISSED_MAX);
    }

    #[test]
    fn what_was_found_is_kept_while_there_is_room() {
        let mut lately = Lately::default();
        let bytes: Arc<[u8]> = [1, 2].into();
        for number in 0..=FOUND_MAX {
            lately.note(at(0), &number.to_string(), Some(&bytes));
        }
        assert_eq!(lately.known(at(9_000), "1"), Ok(Some(bytes)));
        assert_eq!(lately.known(at(9_000), "0"), Err(NotAsked));
    }
}
