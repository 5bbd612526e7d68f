//! What the holders of a shard say to each other.
//!
//! A message is the shard, a struct of its fixed parts, and for a delta, a state or a piece of a copy its cells and the
//! ids of the admitted hits.

use delta_crdt::{Cell, Digest, ReplicaId};
use quota::KeyHash;
use serde::{Deserialize, Serialize};
use shard::{Baseline, CopyId, HitId, Message, Piece, Record, ShardId};

use super::cells::{WireTerm, cells, put_cells};
use super::encoding::{Reader, Writer};
use super::{SHARDS, VERSION_BEFORE, WireError};

/// Most confirm a delta: shard, tag, a term of six bytes, a sequence.
const MESSAGE_BYTES_USUAL: usize = 2 + 1 + 6 + 3;
/// Origin and sequence.
const HIT_ID_BYTES_MIN: usize = 2;

pub(super) fn put(out: &mut Writer<'_>, version: u8, shard: ShardId, message: &Message) {
    out.varint(shard.0);
    match (version, message) {
        // A pull without its number: the answer comes in one message.
        (VERSION_BEFORE, Message::Pull { term, buckets, .. }) => out.item(&WireMessage::Pull {
            term: (*term).into(),
            buckets: *buckets,
        }),
        _ => out.item(&WireMessage::from(message)),
    }
    let Some((cells, admitted)) = contents(message) else {
        return;
    };
    put_cells(out, version, cells);
    out.list(admitted, |out, id| {
        out.varint(id.origin.0);
        out.varint(id.sequence);
    });
}

/// Cells, and ids of admitted hits.
type Contents<'a> = (&'a [(KeyHash, Cell)], &'a [HitId]);

/// What a message holds of them. `None`: it has no place for any.
fn contents(message: &Message) -> Option<Contents<'_>> {
    match message {
        Message::Delta {
            cells, admitted, ..
        }
        | Message::State {
            cells, admitted, ..
        } => Some((cells, admitted)),
        Message::Copy { piece, .. } | Message::Answer { piece, .. } => {
            Some((&piece.cells, &piece.admitted))
        }
        _ => None,
    }
}

/// Whether any cell is to outlive all nodes.
pub(super) fn keep_any(messages: &[(ShardId, Message)]) -> bool {
    let cells = messages.iter().filter_map(|(_, message)| contents(message));
    cells
        .flat_map(|(cells, _)| cells)
        .any(|(_, cell)| cell.is_kept())
}

pub(super) fn messages(
    input: &mut Reader<'_>,
    version: u8,
) -> Result<Vec<(ShardId, Message)>, WireError> {
    input.until_end(MESSAGE_BYTES_USUAL, |input| {
        Ok((shard_id(input)?, message(input, version)?))
    })
}

#[inline]
pub(super) fn shard_id(input: &mut Reader<'_>) -> Result<ShardId, WireError> {
    let what = "shard";
    match input.varint(what)? {
        id if id < SHARDS => Ok(ShardId(id)),
        _ => Err(WireError::OutOfBounds { what }),
    }
}

fn message(input: &mut Reader<'_>, version: u8) -> Result<Message, WireError> {
    let what = "shard message";
    let wire = input.item::<WireMessage>(what)?;
    // One version has one form for each message: what is read is written back as it was.
    if wire.is_of(version) {
        decoded(input, version, wire)
    } else {
        Err(WireError::Malformed { what })
    }
}

fn decoded(input: &mut Reader<'_>, version: u8, wire: WireMessage) -> Result<Message, WireError> {
    Ok(match wire {
        WireMessage::Claim {
            term,
            consent,
            promised_by,
            record,
        } => Message::Claim {
            term: term.into(),
            consent: consent.map(Into::into),
            promised_by: promised_by.into_iter().map(ReplicaId).collect(),
            record: record.map(Into::into),
        },
        WireMessage::Promise {
            term,
            record,
            digest,
            answered,
        } => Message::Promise {
            term: term.into(),
            record: record.map(Into::into),
            digest: digest.map(Into::into),
            answered,
        },
        WireMessage::Refuse {
            term,
            promised,
            record,
            wait,
        } => Message::Refuse {
            term: term.into(),
            promised: promised.into(),
            record: record.map(Into::into),
            wait,
        },
        WireMessage::Release { term } => Message::Release { term: term.into() },
        WireMessage::Announce {
            record,
            through,
            digest,
        } => Message::Announce {
            record: record.into(),
            through,
            digest: digest.map(Into::into),
        },
        WireMessage::Delta {
            term,
            baseline,
            through,
        } => Message::Delta {
            term: term.into(),
            baseline: baseline.into(),
            through,
            cells: cells(input, version)?,
            admitted: hit_ids(input)?,
        },
        WireMessage::Have { term, through, gap } => Message::Have {
            term: term.into(),
            through,
            gap,
        },
        WireMessage::Offer { term, digest } => Message::Offer {
            term: term.into(),
            digest: digest.into(),
        },
        WireMessage::Pull { term, buckets } => Message::Pull {
            term: term.into(),
            buckets,
            number: 0,
        },
        WireMessage::PullByNumber {
            term,
            buckets,
            number,
        } => Message::Pull {
            term: term.into(),
            buckets,
            number,
        },
        WireMessage::Copy {
            term,
            record,
            through,
            piece,
        } => Message::Copy {
            term: term.into(),
            record: record.into(),
            through,
            piece: piece.with(cells(input, version)?, hit_ids(input)?),
        },
        WireMessage::Answer { term, piece } => Message::Answer {
            term: term.into(),
            piece: piece.with(cells(input, version)?, hit_ids(input)?),
        },
        WireMessage::Received {
            term,
            is_answer,
            number,
            index,
            gap,
        } => Message::Received {
            term: term.into(),
            copy: match is_answer {
                true => CopyId::Answer(number),
                false => CopyId::Base(number),
            },
            index,
            gap,
        },
        WireMessage::State { term, buckets } => Message::State {
            term: term.into(),
            buckets,
            cells: cells(input, version)?,
            admitted: hit_ids(input)?,
        },
        WireMessage::Synced { term } => Message::Synced { term: term.into() },
        WireMessage::Handoff { term } => Message::Handoff { term: term.into() },
        WireMessage::Known { term, epoch } => Message::Known {
            term: term.into(),
            epoch,
        },
        WireMessage::Recall => Message::Recall,
        WireMessage::Recalled { record, remembers } => Message::Recalled {
            record: record.map(Into::into),
            remembers,
        },
    })
}

fn hit_ids(input: &mut Reader<'_>) -> Result<Vec<HitId>, WireError> {
    input.list("admitted hits", HIT_ID_BYTES_MIN, |input| {
        Ok(HitId {
            origin: ReplicaId(input.varint("origin")?),
            sequence: input.varint("sequence")?,
        })
    })
}

#[derive(Serialize, Deserialize)]
enum WireMessage {
    Claim {
        term: WireTerm,
        consent: Option<WireTerm>,
        promised_by: Vec<u32>,
        record: Option<WireRecord>,
    },
    Promise {
        term: WireTerm,
        record: Option<WireRecord>,
        digest: Option<WireDigest>,
        answered: Vec<u64>,
    },
    Refuse {
        term: WireTerm,
        promised: WireTerm,
        record: Option<WireRecord>,
        wait: bool,
    },
    Release {
        term: WireTerm,
    },
    Announce {
        record: WireRecord,
        through: u64,
        digest: Option<WireDigest>,
    },
    /// Cells and ids follow.
    Delta {
        term: WireTerm,
        baseline: WireBaseline,
        through: u64,
    },
    Have {
        term: WireTerm,
        through: u64,
        gap: bool,
    },
    Offer {
        term: WireTerm,
        digest: WireDigest,
    },
    Pull {
        term: WireTerm,
        buckets: u16,
    },
    /// Cells and ids follow.
    State {
        term: WireTerm,
        buckets: u16,
    },
    Synced {
        term: WireTerm,
    },
    Handoff {
        term: WireTerm,
    },
    Known {
        term: WireTerm,
        epoch: u32,
    },
    Recall,
    Recalled {
        record: Option<WireRecord>,
        remembers: bool,
    },
    /// From here on since version 2.
    PullByNumber {
        term: WireTerm,
        buckets: u16,
        number: u32,
    },
    /// Cells and ids follow.
    Copy {
        term: WireTerm,
        record: WireRecord,
        through: u64,
        piece: WirePiece,
    },
    /// Cells and ids follow.
    Answer {
        term: WireTerm,
        piece: WirePiece,
    },
    Received {
        term: WireTerm,
        is_answer: bool,
        number: u32,
        index: u32,
        gap: bool,
    },
}

impl WireMessage {
    /// Whether this is how `version` writes the message.
    fn is_of(&self, version: u8) -> bool {
        let is_new = matches!(
            self,
            Self::PullByNumber { .. }
                | Self::Copy { .. }
                | Self::Answer { .. }
                | Self::Received { .. }
        );
        match version {
            VERSION_BEFORE => !is_new,
            _ => !matches!(self, Self::Pull { .. }),
        }
    }
}

/// What of a piece stands before its cells.
#[derive(Serialize, Deserialize)]
struct WirePiece {
    number: u32,
    index: u32,
    is_last: bool,
    buckets: u16,
}

impl WirePiece {
    fn with(self, cells: Vec<(KeyHash, Cell)>, admitted: Vec<HitId>) -> Piece {
        Piece {
            number: self.number,
            index: self.index,
            is_last: self.is_last,
            buckets: self.buckets,
            cells,
            admitted,
        }
    }
}

impl From<&Piece> for WirePiece {
    fn from(piece: &Piece) -> Self {
        Self {
            number: piece.number,
            index: piece.index,
            is_last: piece.is_last,
            buckets: piece.buckets,
        }
    }
}

impl From<&Message> for WireMessage {
    fn from(message: &Message) -> Self {
        match message {
            Message::Claim {
                term,
                consent,
                promised_by,
                record,
            } => Self::Claim {
                term: (*term).into(),
                consent: consent.map(Into::into),
                promised_by: promised_by.iter().map(|replica| replica.0).collect(),
                record: record.as_ref().map(Into::into),
            },
            Message::Promise {
                term,
                record,
                digest,
                answered,
            } => Self::Promise {
                term: (*term).into(),
                record: record.as_ref().map(Into::into),
                digest: digest.as_ref().map(Into::into),
                answered: answered.clone(),
            },
            Message::Refuse {
                term,
                promised,
                record,
                wait,
            } => Self::Refuse {
                term: (*term).into(),
                promised: (*promised).into(),
                record: record.as_ref().map(Into::into),
                wait: *wait,
            },
            Message::Release { term } => Self::Release {
                term: (*term).into(),
            },
            Message::Announce {
                record,
                through,
                digest,
            } => Self::Announce {
                record: record.into(),
                through: *through,
                digest: digest.as_ref().map(Into::into),
            },
            Message::Delta {
                term,
                baseline,
                through,
                cells: _,
                admitted: _,
            } => Self::Delta {
                term: (*term).into(),
                baseline: baseline.into(),
                through: *through,
            },
            Message::Have { term, through, gap } => Self::Have {
                term: (*term).into(),
                through: *through,
                gap: *gap,
            },
            Message::Offer { term, digest } => Self::Offer {
                term: (*term).into(),
                digest: digest.into(),
            },
            Message::Pull {
                term,
                buckets,
                number,
            } => Self::PullByNumber {
                term: (*term).into(),
                buckets: *buckets,
                number: *number,
            },
            Message::Copy {
                term,
                record,
                through,
                piece,
            } => Self::Copy {
                term: (*term).into(),
                record: record.into(),
                through: *through,
                piece: piece.into(),
            },
            Message::Answer { term, piece } => Self::Answer {
                term: (*term).into(),
                piece: piece.into(),
            },
            Message::Received {
                term,
                copy,
                index,
                gap,
            } => {
                let (is_answer, number) = match *copy {
                    CopyId::Base(number) => (false, number),
                    CopyId::Answer(number) => (true, number),
                };
                Self::Received {
                    term: (*term).into(),
                    is_answer,
                    number,
                    index: *index,
                    gap: *gap,
                }
            }
            Message::State {
                term,
                buckets,
                cells: _,
                admitted: _,
            } => Self::State {
                term: (*term).into(),
                buckets: *buckets,
            },
            Message::Synced { term } => Self::Synced {
                term: (*term).into(),
            },
            Message::Handoff { term } => Self::Handoff {
                term: (*term).into(),
            },
            Message::Known { term, epoch } => Self::Known {
                term: (*term).into(),
                epoch: *epoch,
            },
            Message::Recall => Self::Recall,
            Message::Recalled { record, remembers } => Self::Recalled {
                record: record.as_ref().map(Into::into),
                remembers: *remembers,
            },
        }
    }
}

#[derive(Serialize, Deserialize)]
enum WireBaseline {
    After(u64),
    Whole { buckets: u16, record: WireRecord },
}

impl From<&Baseline> for WireBaseline {
    fn from(baseline: &Baseline) -> Self {
        match baseline {
            Baseline::After(through) => Self::After(*through),
            Baseline::Whole { buckets, record } => Self::Whole {
                buckets: *buckets,
                record: record.into(),
            },
        }
    }
}

impl From<WireBaseline> for Baseline {
    fn from(wire: WireBaseline) -> Self {
        match wire {
            WireBaseline::After(through) => Self::After(through),
            WireBaseline::Whole { buckets, record } => Self::Whole {
                buckets,
                record: record.into(),
            },
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WireRecord {
    term: WireTerm,
    epoch: u32,
    holders: Vec<u32>,
}

impl From<&Record> for WireRecord {
    fn from(record: &Record) -> Self {
        Self {
            term: record.term.into(),
            epoch: record.epoch,
            holders: record.holders.iter().map(|holder| holder.0).collect(),
        }
    }
}

impl From<WireRecord> for Record {
    fn from(wire: WireRecord) -> Self {
        Self {
            term: wire.term.into(),
            epoch: wire.epoch,
            holders: wire.holders.into_iter().map(ReplicaId).collect(),
        }
    }
}

/// Hashes fill their bytes: as varints they would take ten and not eight.
#[derive(Serialize, Deserialize)]
pub(super) struct WireDigest([[u8; 8]; Digest::BUCKETS]);

impl From<&Digest> for WireDigest {
    fn from(digest: &Digest) -> Self {
        Self(digest.buckets.map(u64::to_le_bytes))
    }
}

impl From<WireDigest> for Digest {
    fn from(wire: WireDigest) -> Self {
        Self {
            buckets: wire.0.map(u64::from_le_bytes),
        }
    }
}
