//! What nodes ask each other on the control plane, and what they answer.

use delta_crdt::ReplicaId;
use membership::NameVerdict;
use quota::BootNanos;
use serde::{Deserialize, Serialize};

use super::Cluster;
use crate::control::GatewayHandler;
use crate::wire;
use transport::handshake::Hello;

/// What nodes ask each other on the control plane.
#[derive(Serialize, Deserialize)]
pub(super) enum Question {
    /// Let me in under this name.
    Join { name: String },
    /// What does your file say of limits? The asker knows files with these sums. For peers of protocol 3 and later.
    File { known: Vec<u64> },
    /// And of other sections, as routes, plans and `[cluster]`? For peers of protocol 5 and later.
    Sections { known: Vec<u64> },
    /// What lies in your catalogue at this place? For peers of protocol 5 and later.
    Record { place: String },
    /// What have you decided? For peers of protocol 5 and later.
    Series { asked: Vec<u8> },
    /// Have you the asset that lies there, as `HASH/NAME`? For peers of protocol 5 and later.
    Asset { path: String },
}

#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    /// Join under this incarnation; these belong.
    Granted {
        incarnation: u64,
        roster: Vec<u8>,
        /// An empty list. Nodes of the format before put limits here, which a newcomer gets from the catalogue now.
        key_limits: Vec<u8>,
    },
    /// Somebody answers under the name.
    Taken,
    /// Ask again: the old holder is being asked, or the name would stop the others if it came back now.
    Asking,
    /// The asked is a newcomer itself. Said by the first builds, which tell nothing of their intentions.
    Joining,
    /// The asked is a newcomer itself: whether it would found a cluster, and whom it follows.
    Newcomer {
        founds: bool,
        follows: Option<String>,
    },
}

/// Answers on the control plane.
pub(super) struct Gatekeeper(pub(super) Cluster);

impl GatewayHandler for Gatekeeper {
    async fn asked(&self, from: Hello, question: Vec<u8>) -> Vec<u8> {
        let cluster = &self.0;
        let name = match decode(&question) {
            Some(Question::Join { name }) => name,
            Some(Question::File { known }) => return cluster.inner.files.answer_limits(&known),
            Some(Question::Sections { known }) => {
                return cluster.inner.files.answer_sections(&known);
            }
            Some(Question::Record { place }) => return cluster.answer_lookup(&place),
            Some(Question::Series { asked }) => return cluster.answer_series(&asked),
            Some(Question::Asset { path }) => return cluster.answer_asset(&path),
            None => {
                tracing::warn!(peer = %from.name, "a question that is not understood");
                return Vec::new();
            }
        };
        let verdict = cluster.with_membership(|membership, now: BootNanos| {
            membership.on_name_wanted(now, &name, &from.cluster)
        });
        let answer = match verdict {
            None => cluster.as_newcomer(),
            Some(NameVerdict::Taken) => Answer::Taken,
            Some(NameVerdict::Asking) => Answer::Asking,
            Some(NameVerdict::Granted { incarnation }) => {
                tracing::info!(name, incarnation, "let in");
                let roster = cluster.with_membership(|membership, _| {
                    wire::encode_roster(&membership.roster().facts())
                });
                Answer::Granted {
                    incarnation,
                    roster: roster.unwrap_or_default().to_vec(),
                    key_limits: encode(&Vec::<u8>::new()),
                }
            }
        };
        let dead = cluster.with_membership(|membership, now| membership.presumed_dead(now));
        let more = More {
            dead: dead.unwrap_or_default(),
            remembers: cluster.remembers_members(),
        };
        encode_answer(&answer, &more)
    }

    fn told(&self, from: Hello, word: Vec<u8>) {
        // A limit that was set at a node of the format before: what these tell of limits is not understood any more.
        tracing::warn!(node = %from.name, bytes = word.len(), "a limit set at a node of an older version, ignored");
    }
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("these values have a serial form")
}

/// What is told behind an answer: a node of the format before reads no further than what it knows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct More {
    /// Whom the asked holds for dead.
    pub(super) dead: Vec<ReplicaId>,
    /// The asked is a newcomer, and remembers who was in the cluster before.
    pub(super) remembers: bool,
}

fn encode_answer(answer: &Answer, more: &More) -> Vec<u8> {
    let dead: Vec<u32> = more.dead.iter().map(|replica| replica.0).collect();
    [encode(answer), encode(&dead), encode(&more.remembers)].concat()
}

/// What [`encode_answer`] encoded. A node of an earlier format says less.
pub(super) fn decode_answer(bytes: &[u8]) -> Option<(Answer, More)> {
    let (answer, rest) = postcard::take_from_bytes(bytes).ok()?;
    let (dead, rest): (Vec<u32>, _) = postcard::take_from_bytes(rest).unwrap_or_default();
    let more = More {
        dead: dead.into_iter().map(ReplicaId).collect(),
        remembers: decode(rest).unwrap_or_default(),
    };
    Some((answer, more))
}

pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_and_those_of_earlier_formats_are_read_by_each_other() {
        let first = encode(&Answer::Taken);
        let read = decode_answer(&first);
        assert!(matches!(read, Some((Answer::Taken, more)) if more == More::default()));
        let dead = vec![ReplicaId(7), ReplicaId(0xffff_ffff)];
        let raw: Vec<u32> = dead.iter().map(|replica| replica.0).collect();
        let before = [encode(&Answer::Taken), encode(&raw)].concat();
        let told = More {
            dead: dead.clone(),
            remembers: false,
        };
        let read = decode_answer(&before);
        assert!(matches!(read, Some((Answer::Taken, more)) if more == told));
        let told = More {
            remembers: true,
            ..told
        };
        let now = encode_answer(&Answer::Asking, &told);
        assert!(matches!(decode(&now), Some(Answer::Asking)));
        let (_, rest): (Answer, _) = postcard::take_from_bytes(&now).unwrap();
        assert_eq!(decode(rest), Some(raw));
        let read = decode_answer(&now);
        assert!(matches!(read, Some((Answer::Asking, more)) if more == told));
    }
}
