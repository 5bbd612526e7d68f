//! What nodes ask each other of what they have decided, on the control plane: a few small questions a second, and none where
//! nobody watches.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::series::{Asked, Told};

use super::Cluster;
use super::questions::{Question, encode};
use crate::wire;

/// How long the answer may take: a second's picture is told in the next one.
const ANSWER: Duration = Duration::from_millis(500);

/// Who answers what others ask of what this node has decided.
type Answers = Arc<dyn Fn(&Asked) -> Told + Send + Sync>;

/// Who answers others. Empty: nothing is known here.
#[derive(Default)]
pub(super) struct Series(OnceLock<Answers>);

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Series")
            .field(&self.0.get().is_some())
            .finish()
    }
}

impl Cluster {
    /// From now on others are told this of what this node has decided. The first one stays.
    pub fn answer_series_by(&self, answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) {
        let _first = self.inner.series.0.set(Arc::new(answer));
    }

    /// Asks the member `name` what it has decided. `None`: it does not answer within half a second, or does not understand.
    pub async fn ask_series(&self, name: &str, asked: &Asked) -> Option<Told> {
        let question = encode(&Question::Series {
            asked: wire::encode_asked(asked),
        });
        let answer = self.control().ask(name, &question, ANSWER).await;
        wire::decode_told(&answer.ok()?).ok()
    }

    /// What this node tells another. Empty: it does not understand.
    pub(super) fn answer_series(&self, asked: &[u8]) -> Vec<u8> {
        let answers = self.inner.series.0.get();
        let asked = wire::decode_asked(asked).ok();
        let told = answers.zip(asked).map(|(answer, asked)| answer(&asked));
        told.map_or_else(Vec::new, |told| wire::encode_told(&told))
    }
}
