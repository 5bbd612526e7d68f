//! What catalogues say to each other: records that people made, and digests of them.
//!
//! Beside the wire forms of limits and stamps these have names in them, the only texts of the data plane that people chose.

use catalogue::{
    Address, AddressError, Bucket, Content, KeyLimit, Kind, Message, NamedLimit, Record, Seen,
    Stamp, Urgency,
};
use coordinator::{FailMode, Strategy};
use delta_crdt::ReplicaId;
use serde::{Deserialize, Serialize};

use super::WireError;
use super::encoding::{Reader, Writer};
use super::hits::WireLimit;

/// Most buckets of a digest.
const BUCKETS_MAX: usize = Bucket::COUNT as usize;
/// A bucket of two bytes and eight of its sum.
const SUM_BYTES_MIN: usize = 1 + 8;
/// Kind, namespace, a short name, a stamp, and a limit.
const RECORD_BYTES_USUAL: usize = 64;
/// A stamp of one byte each.
const STAMP_BYTES_MIN: usize = 2;

pub(super) fn put(out: &mut Writer<'_>, message: &Message) {
    match message {
        Message::Ask { exchange, root } => {
            out.raw(&[0]);
            out.varint(*exchange);
            out.raw(&root.to_le_bytes());
        }
        Message::Differs { exchange, sums } => {
            out.raw(&[1]);
            out.varint(*exchange);
            for (bucket, sum) in sums {
                out.varint(*bucket);
                out.raw(&sum.to_le_bytes());
            }
        }
        Message::Wanted { exchange, buckets } => {
            out.raw(&[2]);
            out.varint(*exchange);
            for bucket in buckets {
                out.varint(*bucket);
            }
        }
        Message::Done { exchange } => {
            out.raw(&[3]);
            out.varint(*exchange);
        }
        Message::Piece {
            number,
            urgency,
            records,
        } => {
            out.raw(&[match urgency {
                Urgency::Change => 4,
                Urgency::Repair => 5,
            }]);
            out.varint(*number);
            for (address, record) in records {
                put_record(out, address, record);
            }
        }
        Message::Receipt { number } => {
            out.raw(&[6]);
            out.varint(*number);
        }
    }
}

pub(super) fn message(input: &mut Reader<'_>) -> Result<Message, WireError> {
    let what = "catalogue message";
    Ok(match input.byte(what)? {
        0 => Message::Ask {
            exchange: input.varint("exchange")?,
            root: u64::from_le_bytes(input.raw("sum")?),
        },
        1 => Message::Differs {
            exchange: input.varint("exchange")?,
            sums: up_to(
                BUCKETS_MAX,
                input.until_end(SUM_BYTES_MIN, |input| {
                    let bucket = input.varint("bucket")?;
                    Ok((bucket, u64::from_le_bytes(input.raw("sum")?)))
                })?,
            )?,
        },
        2 => Message::Wanted {
            exchange: input.varint("exchange")?,
            buckets: up_to(
                BUCKETS_MAX,
                input.until_end(1, |input| input.varint("bucket"))?,
            )?,
        },
        3 => Message::Done {
            exchange: input.varint("exchange")?,
        },
        urgency @ (4 | 5) => Message::Piece {
            number: input.varint("piece")?,
            urgency: match urgency {
                4 => Urgency::Change,
                _ => Urgency::Repair,
            },
            records: records(input)?,
        },
        6 => Message::Receipt {
            number: input.varint("piece")?,
        },
        _ => return Err(WireError::Malformed { what }),
    })
}

fn up_to<T>(max: usize, items: Vec<T>) -> Result<Vec<T>, WireError> {
    let what = "number of items";
    match items.len() <= max {
        true => Ok(items),
        false => Err(WireError::OutOfBounds { what }),
    }
}

pub(super) fn put_record(out: &mut Writer<'_>, address: &Address, record: &Record) {
    out.item(&WireKind::from(address.kind));
    put_text(out, &address.namespace);
    put_text(out, &address.name);
    put_stamp(out, record.stamp());
    let seen: Vec<Stamp> = record.seen().iter().collect();
    out.list(&seen, |out, stamp| put_stamp(out, *stamp));
    out.item(&record.content().map(WireContent::from));
}

/// Those of a piece. One that names a time zone which is not known here is passed over: it must not keep back what came
/// with it, again and again.
fn records(input: &mut Reader<'_>) -> Result<Vec<(Address, Record)>, WireError> {
    let records = input.until_end(RECORD_BYTES_USUAL, |input| match record(input) {
        Err(WireError::UnknownZone) => Ok(None),
        record => record.map(Some),
    })?;
    Ok(records.into_iter().flatten().collect())
}

/// Nothing is left to read of it when it is refused for its content.
pub(super) fn record(input: &mut Reader<'_>) -> Result<(Address, Record), WireError> {
    let kind = input.item::<WireKind>("kind")?.into();
    let namespace: &str = input.item("namespace")?;
    let name: &str = input.item("name")?;
    let address = Address::new(kind, namespace.into(), name.into());
    let address = address.map_err(|error| WireError::OutOfBounds {
        what: match error {
            AddressError::Namespace => "namespace",
            AddressError::Name => "name",
        },
    })?;
    let stamp = self::stamp(input)?;
    let seen = input.list("writes seen", STAMP_BYTES_MIN, self::stamp)?;
    let seen = Seen::of(up_to(Seen::MAX, seen)?);
    let content = input.item::<Option<WireContent>>("content")?;
    let content = content.map(Content::try_from).transpose()?;
    if content
        .as_ref()
        .is_some_and(|content| content.kind() != kind)
    {
        return Err(WireError::OutOfBounds { what: "content" });
    }
    Ok((address, Record::new(content, stamp, seen)))
}

fn put_text(out: &mut Writer<'_>, text: &str) {
    out.varint(text.len() as u64);
    out.raw(text.as_bytes());
}

fn put_stamp(out: &mut Writer<'_>, stamp: Stamp) {
    out.varint(stamp.time());
    out.varint(stamp.incarnation().0);
}

fn stamp(input: &mut Reader<'_>) -> Result<Stamp, WireError> {
    let what = "stamp";
    let time = input.varint(what)?;
    let incarnation = ReplicaId(input.varint("incarnation")?);
    Stamp::new(time, incarnation).ok_or(WireError::OutOfBounds { what })
}

#[derive(Serialize, Deserialize)]
enum WireKind {
    Limit,
    KeyLimit,
}

impl From<Kind> for WireKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Limit => Self::Limit,
            Kind::KeyLimit => Self::KeyLimit,
        }
    }
}

impl From<WireKind> for Kind {
    fn from(wire: WireKind) -> Self {
        match wire {
            WireKind::Limit => Self::Limit,
            WireKind::KeyLimit => Self::KeyLimit,
        }
    }
}

#[derive(Serialize, Deserialize)]
enum WireContent {
    Limit {
        limit: WireLimit,
        as_token_bucket: bool,
        strategy: WireStrategy,
        on_failure: WireFailMode,
    },
    KeyLimit {
        limit: WireLimit,
        as_token_bucket: bool,
    },
}

#[derive(Serialize, Deserialize)]
enum WireStrategy {
    Owner,
    Local,
    Redis,
    Raft,
}

#[derive(Serialize, Deserialize)]
enum WireFailMode {
    Deny,
    Allow,
    Owner,
}

impl From<&Content> for WireContent {
    fn from(content: &Content) -> Self {
        match content {
            Content::Limit(NamedLimit {
                limit,
                as_token_bucket,
                strategy,
                on_failure,
            }) => Self::Limit {
                limit: limit.into(),
                as_token_bucket: *as_token_bucket,
                strategy: match strategy {
                    Strategy::Owner => WireStrategy::Owner,
                    Strategy::Local => WireStrategy::Local,
                    Strategy::Redis => WireStrategy::Redis,
                    Strategy::Raft => WireStrategy::Raft,
                },
                on_failure: match on_failure {
                    FailMode::Deny => WireFailMode::Deny,
                    FailMode::Allow => WireFailMode::Allow,
                    FailMode::Owner => WireFailMode::Owner,
                },
            },
            Content::KeyLimit(KeyLimit {
                limit,
                as_token_bucket,
            }) => Self::KeyLimit {
                limit: limit.into(),
                as_token_bucket: *as_token_bucket,
            },
        }
    }
}

impl TryFrom<WireContent> for Content {
    type Error = WireError;

    fn try_from(wire: WireContent) -> Result<Self, WireError> {
        Ok(match wire {
            WireContent::Limit {
                limit,
                as_token_bucket,
                strategy,
                on_failure,
            } => Self::Limit(NamedLimit {
                limit: limit.try_into()?,
                as_token_bucket,
                strategy: match strategy {
                    WireStrategy::Owner => Strategy::Owner,
                    WireStrategy::Local => Strategy::Local,
                    WireStrategy::Redis => Strategy::Redis,
                    WireStrategy::Raft => Strategy::Raft,
                },
                on_failure: match on_failure {
                    WireFailMode::Deny => FailMode::Deny,
                    WireFailMode::Allow => FailMode::Allow,
                    WireFailMode::Owner => FailMode::Owner,
                },
            }),
            WireContent::KeyLimit {
                limit,
                as_token_bucket,
            } => Self::KeyLimit(KeyLimit {
                limit: limit.try_into()?,
                as_token_bucket,
            }),
        })
    }
}
