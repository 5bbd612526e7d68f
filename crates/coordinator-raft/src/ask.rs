//! What nodes ask the log to decide.

use std::collections::HashMap;

use bytes::Bytes;
use quota::{Cost, Decision, KeyHash, Limit, UnixNanos};

use crate::codec::{Malformed, Reader, Writer};

/// What a hit does to its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// Decide, and count when admitted. A cost of 0 peeks.
    Hit(Cost),
    /// Give back what an earlier hit took.
    Refund(Cost),
    /// Let the key start anew.
    Reset,
}

/// One hit on its way through the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ask {
    /// Counts the hits of the node that was asked first, from 1. A retry has the same.
    pub(crate) sequence: u64,
    pub(crate) key: KeyHash,
    pub(crate) limit: Limit,
    pub(crate) operation: Operation,
}

/// Hits of one node that travel together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parcel {
    /// The node whose fronts were asked.
    pub(crate) origin: u32,
    /// All hits of that node with a lower sequence have been answered or given up: what is remembered of them can go,
    /// and one that still arrives comes too late.
    pub(crate) settled: u64,
    pub(crate) asks: Vec<Ask>,
}

/// What became of a hit in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Decided, now or when the same id came by before.
    Decided(Decision),
    /// Not counted now: its node has given it up.
    TooLate,
}

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// Decide these hits, in this order.
    Decide {
        /// What the leader's clock said. The log's time is the latest of these so far.
        now: UnixNanos,
        parcels: Vec<Parcel>,
    },
    /// Take over part of the state of an earlier group, in the form of a snapshot's part.
    Restore(Bytes),
}

/// Sequence, key, number of a limit, operation and its cost.
const ASK_BYTES_MIN: usize = 1 + 16 + 1 + 1;
const ASK_BYTES_USUAL: usize = 4 + 16 + 1 + 2;
const OUTCOME_BYTES_USUAL: usize = 16;

impl Command {
    /// Decides these hits at `now`, in windows that mean the same to all who read the log: their time zone databases can
    /// differ, so that of a calendar's windows the one that holds `now` is written down.
    pub(crate) fn decide(now: UnixNanos, mut parcels: Vec<Parcel>) -> Self {
        let mut last = None;
        for ask in parcels.iter_mut().flat_map(|parcel| &mut parcel.asks) {
            let written = match last {
                Some((limit, written)) if limit == ask.limit => written,
                _ => ask.limit.at(now),
            };
            last = Some((ask.limit, written));
            ask.limit = written;
        }
        Self::Decide { now, parcels }
    }

    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Restore(part) => {
                let mut out = Writer::with_capacity(1 + part.len());
                out.byte(1);
                out.raw(part);
                out.finish()
            }
            Self::Decide { now, parcels } => {
                let asks: usize = parcels.iter().map(|parcel| parcel.asks.len()).sum();
                let mut out = Writer::with_capacity(64 + asks * ASK_BYTES_USUAL);
                out.byte(0);
                out.varint(now.get());
                out.varint(parcels.len() as u64);
                let mut limits = Numbered::default();
                for parcel in parcels {
                    parcel.put(&mut out, &mut limits);
                }
                out.finish()
            }
        }
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        match input.byte("command")? {
            0 => {
                let now = input.instant()?;
                let mut limits = Vec::new();
                let parcels = (0..input.items("parcels", 3)?)
                    .map(|_| Parcel::take(&mut input, &mut limits))
                    .collect::<Result<_, _>>()?;
                Ok(Self::Decide { now, parcels })
            }
            1 => Ok(Self::Restore(bytes.slice(1..))),
            _ => Err(Malformed { what: "command" }),
        }
    }
}

impl Parcel {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::with_capacity(64 + self.asks.len() * ASK_BYTES_USUAL);
        self.put(&mut out, &mut Numbered::default());
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::take(&mut Reader::new(bytes), &mut Vec::new())
    }

    fn put(&self, out: &mut Writer, limits: &mut Numbered) {
        out.varint(self.origin);
        out.varint(self.settled);
        out.varint(self.asks.len() as u64);
        for ask in &self.asks {
            // Sequences of a parcel lie close together, above what is settled.
            out.varint(ask.sequence.saturating_sub(self.settled));
            out.key(ask.key);
            let (number, is_new) = limits.number(&ask.limit);
            out.varint(number);
            if is_new {
                out.limit(&ask.limit);
            }
            match ask.operation {
                Operation::Hit(cost) => {
                    out.byte(0);
                    out.varint(cost.units());
                }
                Operation::Refund(cost) => {
                    out.byte(1);
                    out.varint(cost.units());
                }
                Operation::Reset => out.byte(2),
            }
        }
    }

    fn take(input: &mut Reader<'_>, limits: &mut Vec<Limit>) -> Result<Self, Malformed> {
        let origin = input.varint("origin")?;
        let settled = input.varint("settled sequence")?;
        let asks = (0..input.items("hits", ASK_BYTES_MIN)?)
            .map(|_| take_ask(input, settled, limits))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            origin,
            settled,
            asks,
        })
    }
}

fn take_ask(
    input: &mut Reader<'_>,
    settled: u64,
    limits: &mut Vec<Limit>,
) -> Result<Ask, Malformed> {
    let offset: u64 = input.varint("sequence")?;
    let sequence = settled
        .checked_add(offset)
        .ok_or(Malformed { what: "sequence" })?;
    let key = input.key()?;
    let number: usize = input.varint("limit number")?;
    if number == limits.len() {
        limits.push(input.limit()?);
    }
    let limit = limits.get(number).copied().ok_or(Malformed {
        what: "limit number",
    })?;
    let operation = match input.byte("operation")? {
        0 => Operation::Hit(input.cost()?),
        1 => Operation::Refund(input.cost()?),
        2 => Operation::Reset,
        _ => return Err(Malformed { what: "operation" }),
    };
    Ok(Ask {
        sequence,
        key,
        limit,
        operation,
    })
}

/// The limits of one message are numbered from 0 as they come up; the next free number says that the limit follows.
#[derive(Default)]
struct Numbered {
    last: Option<(Limit, u32)>,
    all: HashMap<Limit, u32>,
}

impl Numbered {
    /// The number of `limit`, and whether it is new.
    fn number(&mut self, limit: &Limit) -> (u32, bool) {
        // Limits come in runs: most messages have one.
        if let Some((last, number)) = &self.last
            && last == limit
        {
            return (*number, false);
        }
        let next = self.all.len() as u32;
        let number = *self.all.entry(*limit).or_insert(next);
        self.last = Some((*limit, number));
        (number, number == next)
    }
}

pub(crate) fn encode_outcomes(outcomes: &[Outcome]) -> Bytes {
    let mut out = Writer::with_capacity(8 + outcomes.len() * OUTCOME_BYTES_USUAL);
    out.varint(outcomes.len() as u64);
    for outcome in outcomes {
        match outcome {
            Outcome::Decided(decision) => {
                out.byte(0);
                out.decision(decision);
            }
            Outcome::TooLate => out.byte(1),
        }
    }
    out.finish()
}

pub(crate) fn decode_outcomes(bytes: &[u8]) -> Result<Vec<Outcome>, Malformed> {
    let mut input = Reader::new(bytes);
    (0..input.items("outcomes", 1)?)
        .map(|_| match input.byte("outcome")? {
            0 => Ok(Outcome::Decided(input.decision()?)),
            1 => Ok(Outcome::TooLate),
            _ => Err(Malformed { what: "outcome" }),
        })
        .collect()
}
