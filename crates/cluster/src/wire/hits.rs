//! Hits and verdicts: what nearly every frame holds, so the one place that counts nanoseconds.
//!
//! The limits of a frame are numbered from 0 as they come up. A hit gives the number of its limit; the next free
//! number says that the limit itself follows.

use std::collections::HashMap;

use delta_crdt::ReplicaId;
use quota::{
    Algorithm, Anchor, Calendar, CalendarUnit, Cost, Decision, KeyHash, Limit, Nanos, UnixNanos,
    Verdict,
};
use request::Said;
use serde::{Deserialize, Serialize};
use shard::Operation;

use super::cells::flag;
use super::encoding::{Reader, Writer};
use super::shards::shard_id;
use super::{ForwardedHit, VERSION, VERSION_BEFORE, WireError};

/// The least: only the key has a fixed length.
const HIT_BYTES_MIN: usize = 1 + 1 + 16 + 1 + 1;
/// A sequence of four bytes, shard, key, the number of a limit, and a cost.
const HIT_BYTES_USUAL: usize = 4 + 2 + 16 + 1 + 2;
/// A sequence of four bytes, the remaining units, and two waits of seconds.
const VERDICT_BYTES_USUAL: usize = 4 + 1 + 3 + 5 + 5;

/// The version of a frame with these hits, for a peer that reads `version`: whether a limit is kept follows from its
/// period, as a rule, and is not told then.
pub(super) fn version_of(version: u8, hits: &[ForwardedHit]) -> u8 {
    let is_unusual = |hit: &ForwardedHit| !hit.limit.keeps_as_usual();
    super::version_of(version, VERSION_BEFORE, hits.iter().any(is_unusual))
}

pub(super) fn put_hits(out: &mut Writer<'_>, version: u8, hits: &[ForwardedHit]) {
    out.reserve(hits.len() * HIT_BYTES_USUAL);
    let mut limits = Numbered::default();
    for hit in hits {
        out.varint(hit.sequence);
        out.varint(hit.shard.0);
        out.raw(&hit.key.get().to_le_bytes());
        let (number, is_new) = limits.number(&hit.limit);
        out.varint(number);
        if is_new {
            out.item(&WireLimit::from(&hit.limit));
            if VERSION <= version {
                out.raw(&[u8::from(hit.limit.keep())]);
            }
        }
        put_operation(out, hit.operation);
    }
}

/// Those of a frame. Hits on a limit that names a time zone which is not known here are passed over, and so not answered: they
/// must not keep back the others.
pub(super) fn hits(input: &mut Reader<'_>, version: u8) -> Result<Vec<ForwardedHit>, WireError> {
    let mut limits: Vec<Option<Limit>> = Vec::new();
    let mut unreadable: Vec<u64> = Vec::new();
    let mut hits = input.until_end(HIT_BYTES_MIN, |input| {
        let sequence = input.varint("sequence")?;
        let shard = shard_id(input)?;
        let key = KeyHash::new(u128::from_le_bytes(input.raw("key")?));
        let number: usize = input.varint("limit number")?;
        if number == limits.len() {
            let limit = match input.item::<WireLimit>("limit")?.try_into() {
                Err(WireError::UnknownZone) => None,
                limit => Some(limit?),
            };
            let keep = match VERSION <= version {
                true => Some(flag(input, "keep")?),
                false => None,
            };
            limits.push(match (limit, keep) {
                (Some(limit), Some(keep)) => Some(Limit::with_keep(limit, keep)),
                (limit, _) => limit,
            });
        }
        let what = "limit number";
        let limit = *limits.get(number).ok_or(WireError::OutOfBounds { what })?;
        let operation = operation(input)?;
        let limit = limit.unwrap_or_else(|| {
            unreadable.push(sequence);
            no_limit()
        });
        Ok(ForwardedHit {
            sequence,
            shard,
            key,
            limit,
            operation,
        })
    })?;
    if !unreadable.is_empty() {
        hits.retain(|hit| !unreadable.contains(&hit.sequence));
    }
    Ok(hits)
}

/// Stands for one that cannot be read until its hits are passed over.
fn no_limit() -> Limit {
    Limit::new(Algorithm::FixedWindow, 1, Nanos::from_secs(1)).expect("one a second is a limit")
}

/// The only hit of a frame.
pub(super) fn hit(input: &mut Reader<'_>, version: u8) -> Result<ForwardedHit, WireError> {
    let what = "number of hits";
    match hits(input, version)?[..] {
        [hit] => Ok(hit),
        _ => Err(WireError::OutOfBounds { what }),
    }
}

/// The numbers of the limits of one frame.
#[derive(Default)]
struct Numbered {
    last: Option<(Limit, u32)>,
    all: HashMap<Limit, u32>,
}

impl Numbered {
    /// The number of `limit`, and whether it is new.
    #[inline]
    fn number(&mut self, limit: &Limit) -> (u32, bool) {
        // Limits come in runs: most frames have one.
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

#[inline]
fn put_operation(out: &mut Writer<'_>, operation: Operation) {
    match operation {
        Operation::Hit(cost) => {
            out.raw(&[0]);
            out.varint(cost.units());
        }
        Operation::Refund(cost) => {
            out.raw(&[1]);
            out.varint(cost.units());
        }
        Operation::Reset => out.raw(&[2]),
    }
}

#[inline]
fn operation(input: &mut Reader<'_>) -> Result<Operation, WireError> {
    let what = "operation";
    match input.byte(what)? {
        0 => Ok(Operation::Hit(Cost::new(input.varint("cost")?))),
        1 => Ok(Operation::Refund(Cost::new(input.varint("cost")?))),
        2 => Ok(Operation::Reset),
        _ => Err(WireError::Malformed { what }),
    }
}

/// For a peer that reads `version`. The version before knows neither [`Said::Unsure`] nor [`Said::Unreached`]: it is told
/// "busy", upon which it asks again under the same id, as it does when it is told nothing.
pub(super) fn put_verdicts(out: &mut Writer<'_>, version: u8, verdicts: &[(u64, Said)]) {
    out.reserve(verdicts.len() * VERDICT_BYTES_USUAL);
    for (sequence, verdict) in verdicts {
        out.varint(*sequence);
        match verdict {
            Said::Decided(decision) => put_decision(out, decision),
            Said::Elsewhere(None) => out.raw(&[3]),
            Said::Elsewhere(Some(owner)) => {
                out.raw(&[4]);
                out.varint(owner.0);
            }
            Said::Busy => out.raw(&[5]),
            Said::Unsure | Said::Unreached if version <= VERSION_BEFORE => out.raw(&[5]),
            // 6 once said that the receiver sheds load. No node ever did.
            Said::Unsure => out.raw(&[7]),
            Said::Unreached => out.raw(&[8]),
        }
    }
}

pub(super) fn verdicts(input: &mut Reader<'_>) -> Result<Vec<(u64, Said)>, WireError> {
    input.until_end(VERDICT_BYTES_USUAL, |input| {
        Ok((input.varint("sequence")?, verdict(input)?))
    })
}

#[inline]
fn verdict(input: &mut Reader<'_>) -> Result<Said, WireError> {
    let what = "verdict";
    let verdict = match input.byte(what)? {
        0 => Verdict::Allow,
        1 => Verdict::Deny {
            retry_after: nanos(input)?,
        },
        2 => Verdict::NeverConforms,
        3 => return Ok(Said::Elsewhere(None)),
        4 => {
            let owner = ReplicaId(input.varint("owner")?);
            return Ok(Said::Elsewhere(Some(owner)));
        }
        5 => return Ok(Said::Busy),
        7 => return Ok(Said::Unsure),
        8 => return Ok(Said::Unreached),
        _ => return Err(WireError::Malformed { what }),
    };
    Ok(Said::Decided(Decision {
        verdict,
        remaining: input.varint("remaining units")?,
        grows_after: nanos(input)?,
        reset_after: nanos(input)?,
    }))
}

#[inline]
fn put_decision(out: &mut Writer<'_>, decision: &Decision) {
    match decision.verdict {
        Verdict::Allow => out.raw(&[0]),
        Verdict::Deny { retry_after } => {
            out.raw(&[1]);
            out.varint(retry_after.get());
        }
        Verdict::NeverConforms => out.raw(&[2]),
    }
    out.varint(decision.remaining);
    out.varint(decision.grows_after.get());
    out.varint(decision.reset_after.get());
}

#[inline]
fn nanos(input: &mut Reader<'_>) -> Result<Nanos, WireError> {
    input.varint("span").map(Nanos::new)
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireLimit {
    algorithm: WireAlgorithm,
    anchor: WireAnchor,
    units: u32,
    period_ms: u64,
    burst: u32,
}

#[derive(Serialize, Deserialize)]
enum WireAlgorithm {
    Gcra,
    SlidingLog,
    SlidingCounter,
    FixedWindow,
    LeakyBucket,
}

#[derive(Serialize, Deserialize)]
enum WireAnchor {
    Epoch,
    FirstHit,
    Calendar {
        unit: WireUnit,
        /// By its name: numbers of zones are those of one version.
        zone: String,
    },
    Ending {
        end_ns: u64,
    },
}

#[derive(Serialize, Deserialize)]
enum WireUnit {
    Day,
    Week,
    Month,
    Year,
}

impl From<CalendarUnit> for WireUnit {
    fn from(unit: CalendarUnit) -> Self {
        match unit {
            CalendarUnit::Day => Self::Day,
            CalendarUnit::Week => Self::Week,
            CalendarUnit::Month => Self::Month,
            CalendarUnit::Year => Self::Year,
        }
    }
}

impl From<WireUnit> for CalendarUnit {
    fn from(wire: WireUnit) -> Self {
        match wire {
            WireUnit::Day => Self::Day,
            WireUnit::Week => Self::Week,
            WireUnit::Month => Self::Month,
            WireUnit::Year => Self::Year,
        }
    }
}

impl From<&Limit> for WireLimit {
    fn from(limit: &Limit) -> Self {
        Self {
            algorithm: match limit.algorithm() {
                Algorithm::Gcra => WireAlgorithm::Gcra,
                Algorithm::SlidingLog => WireAlgorithm::SlidingLog,
                Algorithm::SlidingCounter => WireAlgorithm::SlidingCounter,
                Algorithm::FixedWindow => WireAlgorithm::FixedWindow,
                Algorithm::LeakyBucket => WireAlgorithm::LeakyBucket,
            },
            anchor: match limit.anchor() {
                Anchor::Epoch => WireAnchor::Epoch,
                Anchor::FirstHit => WireAnchor::FirstHit,
                Anchor::Calendar(calendar) => WireAnchor::Calendar {
                    unit: calendar.unit.into(),
                    zone: calendar.zone.name().to_owned(),
                },
                Anchor::Ending(end) => WireAnchor::Ending { end_ns: end.get() },
            },
            units: limit.units(),
            period_ms: limit.period().ceil_millis(),
            burst: limit.burst(),
        }
    }
}

impl TryFrom<WireLimit> for Limit {
    type Error = WireError;

    fn try_from(wire: WireLimit) -> Result<Self, WireError> {
        let algorithm = match wire.algorithm {
            WireAlgorithm::Gcra => Algorithm::Gcra,
            WireAlgorithm::SlidingLog => Algorithm::SlidingLog,
            WireAlgorithm::SlidingCounter => Algorithm::SlidingCounter,
            WireAlgorithm::FixedWindow => Algorithm::FixedWindow,
            WireAlgorithm::LeakyBucket => Algorithm::LeakyBucket,
        };
        let period = Nanos::from_millis(wire.period_ms);
        let out_of_bounds = WireError::OutOfBounds { what: "limit" };
        let anchor = match wire.anchor {
            WireAnchor::Epoch => None,
            WireAnchor::FirstHit => Some(Anchor::FirstHit),
            WireAnchor::Calendar { unit, zone } => Some(Anchor::Calendar(Calendar {
                unit: unit.into(),
                zone: zone.parse().map_err(|_| WireError::UnknownZone)?,
            })),
            WireAnchor::Ending { end_ns } => {
                let end = UnixNanos::new(end_ns);
                let limit = Limit::ending(wire.units, end, period);
                return limit
                    .filter(|_| algorithm == Algorithm::FixedWindow)
                    .ok_or(out_of_bounds);
            }
        };
        Limit::new(algorithm, wire.units, period)
            .and_then(|limit| match wire.burst {
                burst if burst == limit.burst() => Ok(limit),
                burst => limit.with_burst(burst),
            })
            .and_then(|limit| match anchor {
                None => Ok(limit),
                Some(anchor) => limit.with_anchor(anchor),
            })
            .map_err(|_| out_of_bounds)
    }
}
