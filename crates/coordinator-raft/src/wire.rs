//! Calls between the nodes of a group, as bytes.
//!
//! A request is a version, the group of the sender, a kind and a body; an answer a kind and a body. Bodies of hits are
//! made by hand. Those of the raft protocol are openraft's own types in postcard: both ends must have the same version
//! of it, which the version of the request stands for.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::group::GroupId;

/// Raised with every change of openraft's version or of ours that a node of the version before would misread. A node refuses
/// requests of another version: it stays out of the group until all are upgraded. A new [`Kind`] needs no new
/// version: who does not know it refuses it, and who asks must be able to do without the answer.
const VERSION: u8 = 1;

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Where do you stand? Answered with a [`Standing`], whatever the group.
    Probe,
    /// Hits, for the leader.
    Hits,
    Append,
    Vote,
    PreVote,
    /// A part of a snapshot.
    Snapshot,
    TransferLeader,
    /// What became of these incarnations? A list of ids, answered with a [`Fate`](crate::known::Fate) for each.
    Fates,
    /// When did you last see the group decide, as its leader or told by it? Answered with the milliseconds since, or `None`.
    /// What others said does not count: two who both look for a way would send each other theirs.
    Decided,
    /// Hits, for whoever leads, from a node that cannot reach it.
    Relay,
    /// Hits that another node could not bring itself, for the leader.
    Relayed,
}

/// Ids that one question about [`Kind::Fates`] may hold: the voters of two sets are ten.
pub(crate) const FATES_MAX: usize = 64;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u8,
    group: Option<GroupId>,
    kind: Kind,
}

pub(crate) struct Request {
    /// The group of the sender, `None` for one that probes and has none.
    pub(crate) group: Option<GroupId>,
    pub(crate) kind: Kind,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let head = Head {
            version: VERSION,
            group: self.group,
            kind: self.kind,
        };
        let mut out = postcard::to_allocvec(&head).expect("a head takes a few bytes");
        out.extend_from_slice(&self.body);
        out.into()
    }

    /// `None` for bytes that are no request, or one of another version.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        if bytes.first() != Some(&VERSION) {
            return None;
        }
        let (head, body) = postcard::take_from_bytes::<Head>(bytes).ok()?;
        Some(Self {
            group: head.group,
            kind: head.kind,
            body: bytes.slice_ref(body),
        })
    }
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// Done. The body depends on the kind.
    Done(Bytes),
    /// The receiver belongs to another group, or to none that it would leave for the sender's. Nothing was done.
    Foreign,
    /// The receiver does not lead. Nothing was counted.
    NotLeader(Option<u32>),
    /// The receiver's queue is full. Nothing was counted.
    Full,
    /// The receiver cannot tell what became of it.
    Lost,
    /// Not a request, or one of another version. Nothing was done.
    Refused,
}

impl Reply {
    pub(crate) fn encode(&self) -> Bytes {
        let head: &[u8] = match self {
            Self::Done(body) => {
                let mut out = Vec::with_capacity(1 + body.len());
                out.push(0);
                out.extend_from_slice(body);
                return out.into();
            }
            Self::Foreign => &[1],
            Self::NotLeader(None) => &[2],
            Self::NotLeader(Some(leader)) => {
                let mut out = vec![3];
                out.extend_from_slice(&leader.to_le_bytes());
                return out.into();
            }
            Self::Full => &[4],
            Self::Lost => &[5],
            Self::Refused => &[6],
        };
        Bytes::copy_from_slice(head)
    }

    /// `None` for bytes that are no answer.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        Some(match bytes.first()? {
            0 => Self::Done(bytes.slice(1..)),
            1 => Self::Foreign,
            2 => Self::NotLeader(None),
            3 => Self::NotLeader(Some(u32::from_le_bytes(bytes[1..].try_into().ok()?))),
            4 => Self::Full,
            5 => Self::Lost,
            6 => Self::Refused,
            _ => return None,
        })
    }
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The group it belongs to.
    pub(crate) group: Option<GroupId>,
    /// Whether it leads that group, and a majority has lately said so.
    pub(crate) leads: bool,
    /// How far its log goes: term and index of the last entry.
    pub(crate) log: (u64, u64),
    /// The snapshot that it found when it started: epoch and index.
    pub(crate) saved: (u32, u64),
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_allocvec(value)
        .expect("a buffer that grows takes every message")
        .into()
}

/// `None` for bytes that are no `T`, or more than that.
pub(crate) fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// A part of a snapshot on its way. `M` is what openraft says about the snapshot.
#[derive(Serialize, Deserialize)]
pub(crate) struct Part<M> {
    pub(crate) about: M,
    pub(crate) number: u32,
    pub(crate) of: u32,
    pub(crate) bytes: Bytes,
}
