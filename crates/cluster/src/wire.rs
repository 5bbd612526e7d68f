//! What travels between nodes once they trust each other: frames of domain values, as bytes and back.
//!
//! A frame is the version, its kind, and items up to its end. It comes whole or not at all; how long it is says the
//! transport. Items are structs of this module in postcard's encoding (varints, no names), so that a rename inside
//! never changes the wire. Whatever is only a list or a number is written by hand, in the same encoding: hits,
//! verdicts and cells pass by the hundred thousand a second and are not copied on the way.
//!
//! Decoding trusts nothing. It builds values through their checked constructors, and reserves no more memory than
//! the bytes at hand could fill: at most eleven times as much for what is inside of an item, and [`ITEMS_MAX`] items.

mod accounts;
mod billing;
mod catalogue;
mod cells;
mod encoding;
mod hits;
mod members;
mod people;
mod series;
mod shards;
mod tallies;
#[cfg(test)]
mod tests;

use ::catalogue::{Address, Record};
use bytes::{Bytes, BytesMut};
use delta_crdt::{Cell, Digest, ReplicaId};
use quota::{BootNanos, KeyHash, Limit, UnixNanos};
use request::Said;
use shard::{HitId, Operation, ShardId};

use self::encoding::{Reader, Writer};
pub use self::series::{decode_asked, decode_told, encode_asked, encode_told};
pub use self::tallies::encode_told_split;

/// The newest version of a frame, which is its first byte. A frame names the lowest version that can read it: version 4 is
/// of those that say that something is kept, or is not, which no period tells, of limits that tell their most denied keys, and of those
/// with tenants and API keys. Of all
/// others only those of [`Frame::Shards`] have changed, with version 2. (Protocol 3 adds [`Frame::Catalogue`], and protocol 4
/// limits whose windows follow a calendar; they change none. Protocol 5 adds [`Frame::RelayNamed`], and tenants and API keys.)
///
/// What a peer reads is what it said in the handshake, see [`form_for`].
pub const VERSION: u8 = 4;

/// The version since which copies go in pieces.
const VERSION_PIECES: u8 = 2;

/// The first version, which is still read, and written for a peer that reads no other.
pub const VERSION_BEFORE: u8 = 1;

/// The version of frames to a peer with which the protocol `version` was agreed on.
#[must_use]
pub const fn form_for(version: u16) -> u8 {
    match version {
        ..=1 => VERSION_BEFORE,
        2..=3 => VERSION_PIECES,
        4.. => VERSION,
    }
}

/// Whether a peer to which frames of `version` are sent knows hits that are passed on: [`Frame::Relay`] and
/// [`Frame::Relayed`].
#[must_use]
pub const fn knows_relays(version: u8) -> bool {
    VERSION_BEFORE < version
}

/// Whether a peer with which the protocol `version` was agreed on has a catalogue: [`Frame::Catalogue`].
#[must_use]
pub const fn knows_catalogue(version: u16) -> bool {
    3 <= version
}

/// Whether a peer with which the protocol `version` was agreed on reads tenants and API keys. As with [`knows_calendars`],
/// others are not sent any.
#[must_use]
pub const fn knows_accounts(version: u16) -> bool {
    5 <= version
}

/// Whether a peer with which the protocol `version` was agreed on reads limits that tell which keys they deny most. As with
/// [`knows_calendars`], others are not sent any: they serve no tenants, whose limits these are.
#[must_use]
pub const fn knows_top_keys(version: u16) -> bool {
    5 <= version
}

/// Whether a peer with which the protocol `version` was agreed on tells what its file says of other sections than limits.
#[must_use]
pub const fn knows_sections(version: u16) -> bool {
    5 <= version
}

/// Whether a peer with which the protocol `version` was agreed on reads limits whose windows follow a calendar. Others are
/// not sent any: they would lose the whole frame.
#[must_use]
pub const fn knows_calendars(version: u16) -> bool {
    4 <= version
}

/// Whether a peer with which the protocol `version` was agreed on passes on hits that their clients named:
/// [`Frame::RelayNamed`].
#[must_use]
pub const fn knows_names(version: u16) -> bool {
    5 <= version
}

/// Most items of one frame; a receiver refuses more.
///
/// The shortest shard message takes 4 bytes here and 200 in memory: without a bound, one frame of the transport's
/// 16 MiB could fill a gigabyte. Twice as many as the hits that may wait for one node.
pub const ITEMS_MAX: usize = 65_536;

/// How many shards there are, for the whole life of a cluster.
const SHARDS: u16 = 1024;

/// What one node sends another. Lists have up to [`ITEMS_MAX`] items.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Liveness, leases and the roster.
    Membership(membership::Message),
    /// What the holders of some shards say to each other, in the order in which it was said.
    Shards(Vec<(ShardId, shard::Message)>),
    /// Hits for the receiver to decide.
    Hits(Vec<ForwardedHit>),
    /// What was said of the receiver's hits, by their sequence.
    Verdicts(Vec<(u64, Said)>),
    /// A hit of the sender, which does not reach the owner: for the receiver to decide, or to pass on to the owner. Not for
    /// a peer that does not read version 2: [`knows_relays`].
    Relay(ForwardedHit),
    /// A hit that goes by an id which is not of the sender's, since another node asked it to pass the hit on or since its
    /// client named it: for the receiver to decide, and for nobody else. The answer goes to the sender, under the hit's
    /// sequence. Not for a peer that does not read version 2, either.
    Relayed {
        /// The id that its origin or its client gave it.
        id: HitId,
        /// What to decide; its sequence is the sender's.
        hit: ForwardedHit,
    },
    /// A [`Frame::Relay`] of a hit that its client named. For peers of protocol 5 and later: [`knows_names`].
    RelayNamed {
        /// The id that its client gave it.
        id: HitId,
        /// What to decide; its sequence is the sender's.
        hit: ForwardedHit,
    },
    /// What time is it? Holds the asker's boot clock, which comes back in the answer.
    TimeAsked(BootNanos),
    /// The time, and what the question held.
    TimeTold {
        /// Of the question.
        asked: BootNanos,
        /// The sender's cluster time.
        wall: UnixNanos,
    },
    /// What the sender counted by itself, for limits with the strategy `local`.
    Told(Vec<(KeyHash, Cell)>),
    /// What the sender knows of such counts, in short: for each stripe of keys a digest.
    Digests(Vec<(u8, Digest)>),
    /// What the receiver knows more or less of, after it has been told what the sender knows of that: stripes, and
    /// bit n for bucket n. Empty: nothing.
    Wanted(Vec<(u8, u16)>),
    /// A question for the strategy `raft` of the receiver.
    Call {
        /// Counts the sender's calls.
        id: u64,
        /// What only that strategy reads.
        body: Bytes,
    },
    /// The answer to a call.
    Return {
        /// Of the call.
        id: u64,
        /// What only that strategy reads.
        body: Bytes,
    },
    /// What people change at run time. For peers of protocol 3 and later.
    Catalogue(::catalogue::Message),
}

/// A hit for another node to decide. It carries its limit, so that the decider needs no table of limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForwardedHit {
    /// Counts the sender's forwarded hits. A retry repeats it.
    pub sequence: u64,
    /// The shard of the key.
    pub shard: ShardId,
    /// What is counted.
    pub key: KeyHash,
    /// How it is counted.
    pub limit: Limit,
    /// What to do.
    pub operation: Operation,
}

/// Why bytes are no frame. Nothing of the frame has been used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The peer speaks another version: no frame of it will be understood.
    #[error(
        "frame has wire version {given}, accepted: {VERSION_BEFORE}, {VERSION_PIECES} and {VERSION}"
    )]
    Version {
        /// The version of the frame.
        given: u8,
    },
    /// The bytes end early, go on too long, or hold a tag that does not exist.
    #[error("frame is malformed at {what}")]
    Malformed {
        /// What was being read.
        what: &'static str,
    },
    /// A limit follows the calendar of a zone that the peer has and this node has not: its time zone database is newer.
    #[error("frame names a time zone that this version does not have")]
    UnknownZone,
    /// Of a record, by a later version. Those that came with it are none the worse for it.
    #[error("record of a kind that this version does not know")]
    UnknownKind,
    /// A value that this version can spell, but that cannot be.
    #[error("frame holds an impossible {what}")]
    OutOfBounds {
        /// What was being read.
        what: &'static str,
    },
}

/// The second byte of a frame.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Membership = 1,
    Shards = 2,
    Hits = 3,
    Verdicts = 4,
    Roster = 5,
    TimeAsked = 6,
    TimeTold = 7,
    Told = 8,
    Digests = 9,
    Wanted = 10,
    Call = 11,
    Return = 12,
    Relay = 13,
    Relayed = 14,
    Catalogue = 15,
    Record = 16,
    Cell = 17,
    RelayNamed = 18,
}

/// The bytes of `frame`, for a peer of this version.
#[must_use]
pub fn encode(frame: &Frame) -> Bytes {
    encode_for(VERSION, frame)
}

/// The bytes of `frame` for a peer that reads `version`. What that has no word for is left out: whether something is kept.
#[must_use]
pub fn encode_for(version: u8, frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    put_frame(version, frame, &mut out);
    out.freeze()
}

/// Appends the bytes of `frame` to `out`.
#[cfg(test)]
pub fn encode_into(frame: &Frame, out: &mut BytesMut) {
    put_frame(VERSION, frame, out);
}

/// The lowest version of a frame that says what is kept only where `does`, for a peer that reads `version`.
fn version_of(version: u8, lowest: u8, does: bool) -> u8 {
    match version {
        VERSION if does => VERSION,
        _ => version.min(lowest),
    }
}

fn put_frame(version: u8, frame: &Frame, out: &mut BytesMut) {
    let out = &mut Writer::new(out);
    match frame {
        Frame::Membership(message) => {
            begin(out, Kind::Membership);
            members::put_message(out, message);
        }
        Frame::Shards(messages) => {
            let version = version_of(version, VERSION_PIECES, shards::keep_any(messages));
            begin_as(out, version, Kind::Shards);
            for (shard, message) in messages {
                shards::put(out, version, *shard, message);
            }
        }
        Frame::Hits(hits) => {
            let version = hits::version_of(version, hits);
            begin_as(out, version, Kind::Hits);
            hits::put_hits(out, version, hits);
        }
        Frame::Verdicts(verdicts) => {
            begin(out, Kind::Verdicts);
            hits::put_verdicts(out, VERSION, verdicts);
        }
        Frame::Relay(hit) => {
            let hits = std::slice::from_ref(hit);
            let version = hits::version_of(version, hits);
            begin_as(out, version, Kind::Relay);
            hits::put_hits(out, version, hits);
        }
        Frame::Relayed { id, hit } => put_named(out, version, Kind::Relayed, *id, hit),
        Frame::RelayNamed { id, hit } => put_named(out, version, Kind::RelayNamed, *id, hit),
        Frame::TimeAsked(asked) => {
            begin(out, Kind::TimeAsked);
            out.varint(asked.get());
        }
        Frame::TimeTold { asked, wall } => {
            begin(out, Kind::TimeTold);
            out.varint(asked.get());
            out.varint(wall.get());
        }
        Frame::Told(cells) => {
            begin(out, Kind::Told);
            tallies::put_told(out, cells);
        }
        Frame::Digests(digests) => {
            begin(out, Kind::Digests);
            tallies::put_digests(out, digests);
        }
        Frame::Wanted(wanted) => {
            begin(out, Kind::Wanted);
            tallies::put_wanted(out, wanted);
        }
        Frame::Call { id, body } => put_body(out, Kind::Call, *id, body),
        Frame::Return { id, body } => put_body(out, Kind::Return, *id, body),
        Frame::Catalogue(message) => {
            let version = version_of(version, VERSION_BEFORE, catalogue::is_unusual(message));
            begin_as(out, version, Kind::Catalogue);
            catalogue::put(out, version, message);
        }
    }
}

fn put_named(out: &mut Writer<'_>, version: u8, kind: Kind, id: HitId, hit: &ForwardedHit) {
    let hits = std::slice::from_ref(hit);
    let version = hits::version_of(version, hits);
    begin_as(out, version, kind);
    out.varint(id.origin.0);
    out.varint(id.sequence);
    hits::put_hits(out, version, hits);
}

fn put_body(out: &mut Writer<'_>, kind: Kind, id: u64, body: &Bytes) {
    begin(out, kind);
    out.varint(id);
    out.raw(body);
}

/// The frame of exactly these bytes.
///
/// # Errors
///
/// [`WireError::Version`] for a peer of another version, otherwise for bytes that no node of this version sends.
pub fn decode(bytes: &[u8]) -> Result<Frame, WireError> {
    let (version, kind, mut input) = open(bytes)?;
    let input = &mut input;
    let frame = match kind {
        kind if kind == Kind::Membership as u8 => Frame::Membership(members::message(input)?),
        kind if kind == Kind::Shards as u8 => Frame::Shards(shards::messages(input, version)?),
        kind if kind == Kind::Hits as u8 => Frame::Hits(hits::hits(input, version)?),
        kind if kind == Kind::Verdicts as u8 => Frame::Verdicts(hits::verdicts(input)?),
        kind if kind == Kind::Relay as u8 => Frame::Relay(hits::hit(input, version)?),
        kind if kind == Kind::Relayed as u8 => Frame::Relayed {
            id: hit_id(input)?,
            hit: hits::hit(input, version)?,
        },
        kind if kind == Kind::RelayNamed as u8 => Frame::RelayNamed {
            id: hit_id(input)?,
            hit: hits::hit(input, version)?,
        },
        kind if kind == Kind::TimeAsked as u8 => Frame::TimeAsked(boot(input)?),
        kind if kind == Kind::TimeTold as u8 => Frame::TimeTold {
            asked: boot(input)?,
            wall: UnixNanos::new(input.varint("wall clock")?),
        },
        kind if kind == Kind::Told as u8 => Frame::Told(tallies::told(input)?),
        kind if kind == Kind::Digests as u8 => Frame::Digests(tallies::digests(input)?),
        kind if kind == Kind::Wanted as u8 => Frame::Wanted(tallies::wanted(input)?),
        kind if kind == Kind::Call as u8 => Frame::Call {
            id: input.varint("call")?,
            body: input.rest(),
        },
        kind if kind == Kind::Return as u8 => Frame::Return {
            id: input.varint("call")?,
            body: input.rest(),
        },
        kind if kind == Kind::Catalogue as u8 => Frame::Catalogue(catalogue::message(input)?),
        _ => return Err(WireError::Malformed { what: "kind" }),
    };
    input.end()?;
    Ok(frame)
}

fn hit_id(input: &mut Reader<'_>) -> Result<HitId, WireError> {
    Ok(HitId {
        origin: ReplicaId(input.varint("origin")?),
        sequence: input.varint("sequence of the origin")?,
    })
}

fn boot(input: &mut Reader<'_>) -> Result<BootNanos, WireError> {
    Ok(BootNanos::new(input.varint("boot clock")?))
}

/// The bytes of a [`Frame::Verdicts`] for a peer that reads `version`.
#[must_use]
pub fn encode_verdicts(version: u8, verdicts: &[(u64, Said)]) -> Bytes {
    let mut bytes = BytesMut::new();
    let out = &mut Writer::new(&mut bytes);
    begin(out, Kind::Verdicts);
    hits::put_verdicts(out, version, verdicts);
    bytes.freeze()
}

/// The bytes of as many [`Frame::Shards`] as it takes for none to pass `max_bytes` or [`ITEMS_MAX`], in order. A
/// message that alone is longer gets a frame of its own. The frames are for a peer that reads `version`.
///
/// Version 1 has no word for copies in pieces ([`shard::CopyForm::Pieces`]): do not send a peer of that version any.
#[must_use]
pub fn encode_shards_split(
    version: u8,
    messages: &[(ShardId, shard::Message)],
    max_bytes: usize,
) -> Vec<Bytes> {
    let version = version_of(version, VERSION_PIECES, shards::keep_any(messages));
    let mut frames = Vec::new();
    let mut frame = BytesMut::new();
    let mut items = 0;
    for (shard, message) in messages {
        if items == 0 {
            begin_as(&mut Writer::new(&mut frame), version, Kind::Shards);
        }
        let before = frame.len();
        shards::put(&mut Writer::new(&mut frame), version, *shard, message);
        let is_too_much = max_bytes < frame.len() || items == ITEMS_MAX;
        if is_too_much && items != 0 {
            let last = frame.split_off(before);
            frames.push(std::mem::take(&mut frame).freeze());
            begin_as(&mut Writer::new(&mut frame), version, Kind::Shards);
            frame.extend_from_slice(&last);
            items = 0;
        }
        items += 1;
    }
    if items != 0 {
        frames.push(frame.freeze());
    }
    frames
}

/// The bytes of a roster, for the control plane.
#[must_use]
pub fn encode_roster<'a>(members: impl IntoIterator<Item = &'a membership::Member>) -> Bytes {
    let mut bytes = BytesMut::new();
    let out = &mut Writer::new(&mut bytes);
    begin(out, Kind::Roster);
    members::put_roster(out, members);
    bytes.freeze()
}

/// The members that [`encode_roster`] encoded.
///
/// # Errors
///
/// As for [`decode`].
pub fn decode_roster(bytes: &[u8]) -> Result<Vec<membership::Member>, WireError> {
    let (_, kind, mut input) = open(bytes)?;
    if kind != Kind::Roster as u8 {
        return Err(WireError::Malformed { what: "kind" });
    }
    members::roster(&mut input)
}

/// The bytes of one record, for the data directory: it is the form of the peer protocol, and says so.
#[must_use]
pub fn encode_record(address: &Address, record: &Record) -> Bytes {
    let mut bytes = BytesMut::new();
    let out = &mut Writer::new(&mut bytes);
    let version = match catalogue::is_usual(address, record) {
        true => VERSION_BEFORE,
        false => VERSION,
    };
    begin_as(out, version, Kind::Record);
    catalogue::put_record(out, version, address, record);
    bytes.freeze()
}

/// The record that [`encode_record`] encoded.
///
/// # Errors
///
/// As for [`decode`].
pub fn decode_record(bytes: &[u8]) -> Result<(Address, Record), WireError> {
    let (_, kind, mut input) = open(bytes)?;
    if kind != Kind::Record as u8 {
        return Err(WireError::Malformed { what: "kind" });
    }
    let record = catalogue::record(&mut input)?;
    input.end()?;
    Ok(record)
}

/// Appends the bytes of one cell that is kept to `out`, for the data directory, in the same way.
pub fn put_kept(out: &mut BytesMut, key: KeyHash, cell: &Cell) {
    let out = &mut Writer::new(out);
    begin_as(out, VERSION, Kind::Cell);
    cells::put_cell(out, VERSION, key, cell);
}

/// The cell that [`put_kept`] encoded.
///
/// # Errors
///
/// As for [`decode`].
pub fn decode_kept(bytes: &[u8]) -> Result<(KeyHash, Cell), WireError> {
    let (version, kind, mut input) = open(bytes)?;
    if kind != Kind::Cell as u8 {
        return Err(WireError::Malformed { what: "kind" });
    }
    let cell = cells::cell(&mut input, version)?;
    input.end()?;
    Ok(cell)
}

/// Begins a frame whose form has not changed since the version before.
fn begin(out: &mut Writer<'_>, kind: Kind) {
    begin_as(out, VERSION_BEFORE, kind);
}

fn begin_as(out: &mut Writer<'_>, version: u8, kind: Kind) {
    out.raw(&[version, kind as u8]);
}

fn open(bytes: &[u8]) -> Result<(u8, u8, Reader<'_>), WireError> {
    let mut input = Reader::new(bytes);
    match input.byte("version")? {
        version @ (VERSION_BEFORE | VERSION_PIECES | VERSION) => {
            Ok((version, input.byte("kind")?, input))
        }
        given => Err(WireError::Version { given }),
    }
}
