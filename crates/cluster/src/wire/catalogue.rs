//! What catalogues say to each other: records that people made, and digests of them.
//!
//! Beside the wire forms of limits and stamps these have names in them, the only texts of the data plane that people chose.

use bytes::BytesMut;
use catalogue::{
    Address, AddressError, Bucket, Content, KeyLimit, Kind, Message, NamedLimit, Record, Rule,
    Seen, Stamp, Urgency, Write,
};
use coordinator::{FailMode, Strategy};
use delta_crdt::ReplicaId;
use quota::Limit;
use serde::{Deserialize, Serialize};

use super::encoding::{Reader, Writer};
use super::hits::WireLimit;
use super::{VERSION, WireError, accounts};

/// Most buckets of a digest.
const BUCKETS_MAX: usize = Bucket::COUNT as usize;
/// A bucket of two bytes and eight of its sum.
const SUM_BYTES_MIN: usize = 1 + 8;
/// Kind, namespace, a short name, a stamp, and a limit.
const RECORD_BYTES_USUAL: usize = 64;
/// A stamp of one byte each.
const STAMP_BYTES_MIN: usize = 2;

pub(super) fn put(out: &mut Writer<'_>, version: u8, message: &Message) {
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
                put_record(out, version, address, record);
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

/// Whether what is kept of the limit, if it is one by name, follows from its period.
fn keeps_usually(record: &Record) -> bool {
    let limit = record.content().and_then(Content::named_limit);
    limit.is_none_or(|named| named.limit.keeps_as_usual())
}

/// Whether every version has words for a record.
pub(super) fn is_usual(address: &Address, record: &Record) -> bool {
    let named = record.content().and_then(Content::named_limit);
    let tells_top_keys = named.is_some_and(|named| named.top_keys);
    address.kind.rule() == Rule::Newer && keeps_usually(record) && !tells_top_keys
}

/// Whether a message tells of a record for which only the newest version has words.
pub(super) fn is_unusual(message: &Message) -> bool {
    match message {
        Message::Piece { records, .. } => {
            !records.iter().all(|(address, it)| is_usual(address, it))
        }
        _ => false,
    }
}

/// A peer that reads no [`VERSION`] takes it that the limit is kept as its period says.
pub(super) fn put_record(out: &mut Writer<'_>, version: u8, address: &Address, record: &Record) {
    out.varint(u64::from(address.kind.number()));
    if address.kind.rule() == Rule::GrantsLess {
        let mut body = BytesMut::new();
        put_account(&mut Writer::new(&mut body), address, record);
        out.varint(body.len() as u64);
        out.raw(&body);
        return;
    }
    put_text(out, &address.namespace);
    put_text(out, &address.name);
    put_stamp(out, record.stamp());
    put_seen(out, record);
    let mut content = record.content().map(WireContent::from);
    if version < VERSION {
        content = content.map(WireContent::into_before);
    }
    out.item(&content);
}

/// What follows the kind and the length of a record of which several writes may stand.
fn put_account(out: &mut Writer<'_>, address: &Address, record: &Record) {
    put_text(out, &address.namespace);
    put_text(out, &address.name);
    put_seen(out, record);
    let writes: Vec<Write> = record.writes().collect();
    out.list(&writes, |out, write| {
        put_stamp(out, write.stamp);
        out.raw(&[u8::from(write.content.is_some())]);
        if let Some(content) = &write.content {
            accounts::put(out, content);
        }
    });
}

fn put_seen(out: &mut Writer<'_>, record: &Record) {
    let seen: Vec<Stamp> = record.seen().iter().collect();
    out.list(&seen, |out, stamp| put_stamp(out, *stamp));
}

/// Those of a piece. One that names a time zone which is not known here, and one of a kind of a later version, are passed
/// over: they must not keep back what came with them, again and again.
fn records(input: &mut Reader<'_>) -> Result<Vec<(Address, Record)>, WireError> {
    let records = input.until_end(RECORD_BYTES_USUAL, |input| match record(input) {
        Err(WireError::UnknownZone | WireError::UnknownKind) => Ok(None),
        record => record.map(Some),
    })?;
    Ok(records.into_iter().flatten().collect())
}

/// Nothing is left to read of it when it is refused for its content, or for its kind.
pub(super) fn record(input: &mut Reader<'_>) -> Result<(Address, Record), WireError> {
    let number = input.varint::<u8>("kind")?;
    if number <= NUMBER_OF_LIMITS_MAX {
        return limit_record(input, number);
    }
    let body: &[u8] = input.item("record")?;
    let kind = Kind::of_number(number).ok_or(WireError::UnknownKind)?;
    let mut body = Reader::new(body);
    let record = account_record(&mut body, kind)?;
    body.end()?;
    Ok(record)
}

fn limit_record(input: &mut Reader<'_>, number: u8) -> Result<(Address, Record), WireError> {
    let kind = Kind::of_number(number).ok_or(WireError::UnknownKind)?;
    let address = address(input, kind)?;
    let stamp = self::stamp(input)?;
    let seen = seen(input)?;
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

fn account_record(input: &mut Reader<'_>, kind: Kind) -> Result<(Address, Record), WireError> {
    let address = address(input, kind)?;
    let seen = seen(input)?;
    let writes = input.list("writes", STAMP_BYTES_MIN + 1, |input| {
        let stamp = stamp(input)?;
        let content = match input.byte("content")? {
            0 => None,
            1 => Some(accounts::content(input, kind)?),
            _ => return Err(WireError::Malformed { what: "content" }),
        };
        Ok(Write { stamp, content })
    })?;
    let writes = up_to(Record::WRITES_MAX, writes)?;
    let record = Record::of_writes(writes, seen);
    let record = record.ok_or(WireError::OutOfBounds { what: "writes" })?;
    Ok((address, record))
}

fn address(input: &mut Reader<'_>, kind: Kind) -> Result<Address, WireError> {
    let namespace: &str = input.item("namespace")?;
    let name: &str = input.item("name")?;
    let address = Address::new(kind, namespace.into(), name.into());
    address.map_err(|error| WireError::OutOfBounds {
        what: match error {
            AddressError::Namespace => "namespace",
            AddressError::Name => "name",
        },
    })
}

fn seen(input: &mut Reader<'_>) -> Result<Seen, WireError> {
    let seen = input.list("writes seen", STAMP_BYTES_MIN, self::stamp)?;
    Ok(Seen::of(up_to(Seen::MAX, seen)?))
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

/// The last number of the kinds that have a form of their own. The length of all others stands before them, so that one of a
/// later version can be passed over.
const NUMBER_OF_LIMITS_MAX: u8 = 1;

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
    /// That is kept although its period is short, or not although it is long. Of the newest version.
    UnusuallyKept {
        limit: WireLimit,
        as_token_bucket: bool,
        strategy: WireStrategy,
        on_failure: WireFailMode,
        keep: bool,
    },
    /// That tells which keys it denies most. For peers of protocol 5 and later: [`super::knows_top_keys`].
    WithTopKeys {
        limit: WireLimit,
        as_token_bucket: bool,
        strategy: WireStrategy,
        on_failure: WireFailMode,
        keep: bool,
    },
}

impl WireContent {
    /// In the form of the version before.
    fn into_before(self) -> Self {
        match self {
            Self::UnusuallyKept {
                limit,
                as_token_bucket,
                strategy,
                on_failure,
                keep: _,
            }
            | Self::WithTopKeys {
                limit,
                as_token_bucket,
                strategy,
                on_failure,
                keep: _,
            } => Self::Limit {
                limit,
                as_token_bucket,
                strategy,
                on_failure,
            },
            other => other,
        }
    }
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

impl From<Strategy> for WireStrategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Owner => Self::Owner,
            Strategy::Local => Self::Local,
            Strategy::Redis => Self::Redis,
            Strategy::Raft => Self::Raft,
        }
    }
}

impl From<WireStrategy> for Strategy {
    fn from(wire: WireStrategy) -> Self {
        match wire {
            WireStrategy::Owner => Self::Owner,
            WireStrategy::Local => Self::Local,
            WireStrategy::Redis => Self::Redis,
            WireStrategy::Raft => Self::Raft,
        }
    }
}

impl From<FailMode> for WireFailMode {
    fn from(mode: FailMode) -> Self {
        match mode {
            FailMode::Deny => Self::Deny,
            FailMode::Allow => Self::Allow,
            FailMode::Owner => Self::Owner,
        }
    }
}

impl From<WireFailMode> for FailMode {
    fn from(wire: WireFailMode) -> Self {
        match wire {
            WireFailMode::Deny => Self::Deny,
            WireFailMode::Allow => Self::Allow,
            WireFailMode::Owner => Self::Owner,
        }
    }
}

impl From<&Content> for WireContent {
    /// # Panics
    ///
    /// For what is no limit, which has a form of its own.
    fn from(content: &Content) -> Self {
        match content {
            Content::Limit(named) => {
                let NamedLimit {
                    limit,
                    as_token_bucket,
                    strategy,
                    on_failure,
                    top_keys,
                } = *named;
                let (strategy, on_failure) = (strategy.into(), on_failure.into());
                match limit.keeps_as_usual() {
                    _ if top_keys => Self::WithTopKeys {
                        limit: (&limit).into(),
                        as_token_bucket,
                        strategy,
                        on_failure,
                        keep: limit.keep(),
                    },
                    true => Self::Limit {
                        limit: (&limit).into(),
                        as_token_bucket,
                        strategy,
                        on_failure,
                    },
                    false => Self::UnusuallyKept {
                        limit: (&limit).into(),
                        as_token_bucket,
                        strategy,
                        on_failure,
                        keep: limit.keep(),
                    },
                }
            }
            Content::KeyLimit(KeyLimit {
                limit,
                as_token_bucket,
            }) => Self::KeyLimit {
                limit: limit.into(),
                as_token_bucket: *as_token_bucket,
            },
            _ => unreachable!("accounts have a form of their own"),
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
                strategy: strategy.into(),
                on_failure: on_failure.into(),
                top_keys: false,
            }),
            WireContent::WithTopKeys {
                limit,
                as_token_bucket,
                strategy,
                on_failure,
                keep,
            } => Self::Limit(NamedLimit {
                limit: Limit::try_from(limit)?.with_keep(keep),
                as_token_bucket,
                strategy: strategy.into(),
                on_failure: on_failure.into(),
                top_keys: true,
            }),
            WireContent::UnusuallyKept {
                limit,
                as_token_bucket,
                strategy,
                on_failure,
                keep,
            } => {
                let limit = Limit::try_from(limit)?.with_keep(keep);
                if limit.keeps_as_usual() {
                    return Err(WireError::OutOfBounds { what: "content" });
                }
                Self::Limit(NamedLimit {
                    limit,
                    as_token_bucket,
                    strategy: strategy.into(),
                    on_failure: on_failure.into(),
                    top_keys: false,
                })
            }
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
