//! What nodes ask each other of what they have decided, on the control plane: once a second for all who watch, and for each
//! picture that somebody wants to see.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::series::{Asked, Told};
use membership::Status;
use tokio::sync::Semaphore;

use super::Cluster;
use super::questions::{Question, encode};
use crate::wire;

/// How long the answer may take: a second's picture is told in the next one.
const ANSWER: Duration = Duration::from_millis(500);

/// Questions of this node under way: half of those that its control plane has room for, which has more urgent ones.
const ASKING_MAX: usize = 32;

/// Who answers what others ask of what this node has decided.
type Answers = Arc<dyn Fn(&Asked) -> Told + Send + Sync>;

/// The questions of this node, and who answers those of others.
pub(super) struct Series {
    /// Empty: nothing is known here.
    answers: OnceLock<Answers>,
    asking: Semaphore,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            answers: OnceLock::new(),
            asking: Semaphore::new(ASKING_MAX),
        }
    }
}

impl Cluster {
    /// From now on others are told this of what this node has decided. The first one stays.
    pub fn answer_series_by(&self, answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) {
        let _first = self.inner.series.answers.set(Arc::new(answer));
    }

    /// Names of the other members, dead ones that were not forgotten among them.
    #[must_use]
    pub fn others(&self) -> Vec<String> {
        let others = self.peers().into_iter();
        let others = others.filter(|peer| peer.replica != self.inner.me);
        others.map(|peer| peer.name).collect()
    }

    /// Asks the member `name` what it has decided. `None`, mostly at once: it is dead or of a version that does not understand, or
    /// this node asks too many already; or it does not answer within half a second.
    pub async fn ask_series(&self, name: &str, asked: &Asked) -> Option<Told> {
        let _asking = self.inner.series.asking.try_acquire().ok()?;
        let peer = self.peers().into_iter().find(|peer| peer.name == name)?;
        let version = self.inner.transport.version(peer.replica);
        if peer.status == Status::Dead || !version.is_some_and(wire::knows_accounts) {
            return None;
        }
        let question = encode(&Question::Series {
            asked: wire::encode_asked(asked),
        });
        let answer = self.control().ask(name, &question, ANSWER).await;
        wire::decode_told(&answer.ok()?).ok()
    }

    /// What this node tells another. Empty: it does not understand.
    pub(super) fn answer_series(&self, asked: &[u8]) -> Vec<u8> {
        let answers = self.inner.series.answers.get();
        let asked = wire::decode_asked(asked).ok();
        let told = answers.zip(asked).map(|(answer, asked)| answer(&asked));
        told.map_or_else(Vec::new, |told| wire::encode_told(&told))
    }
}
