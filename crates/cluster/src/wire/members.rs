//! Heartbeats, their answers, and the roster.

use delta_crdt::ReplicaId;
use membership::{Contact, Council, CouncilId, Member, Message, Standing};
use quota::{BootNanos, Nanos};
use serde::{Deserialize, Serialize};

use super::WireError;
use super::cells::WireTerm;
use super::encoding::{Reader, Writer};

/// A short name, numbers, and two addresses.
const MEMBER_BYTES_USUAL: usize = 64;
/// Longest text of a member. A host name with a port has up to 259 bytes; names and zones are shorter.
const TEXT_BYTES_MAX: usize = 512;

pub(super) fn put_message(out: &mut Writer<'_>, message: &Message) {
    match message {
        Message::Heartbeat {
            sent,
            roster,
            aside,
            behind,
            quorum_left,
            council,
            recalled,
        } => out.item(&WireMessage::Heartbeat {
            sent_ns: sent.get(),
            roster: roster.to_le_bytes(),
            aside: *aside,
            behind_ns: behind.get(),
            quorum_left_ns: quorum_left.get(),
            council: council.map(Into::into),
            recalled: *recalled,
        }),
        Message::Answer { sent, granted } => out.item(&WireMessage::Answer {
            sent_ns: sent.get(),
            granted: *granted,
        }),
        Message::Roster(members) => {
            out.item(&WireMessage::Roster);
            put_roster(out, members);
        }
        Message::Council(Council { id, names }) => out.item(&WireMessage::Council {
            id: (*id).into(),
            names: names.iter().cloned().collect(),
        }),
    }
}

pub(super) fn message(input: &mut Reader<'_>) -> Result<Message, WireError> {
    Ok(match input.item("membership message")? {
        WireMessage::FirstHeartbeat {
            sent_ns,
            roster,
            aside,
            behind_ns,
        } => Message::Heartbeat {
            sent: BootNanos::new(sent_ns),
            roster: u64::from_le_bytes(roster),
            aside,
            behind: Nanos::new(behind_ns),
            quorum_left: Nanos::ZERO,
            council: None,
            recalled: false,
        },
        WireMessage::Heartbeat {
            sent_ns,
            roster,
            aside,
            behind_ns,
            quorum_left_ns,
            council,
            recalled,
        } => Message::Heartbeat {
            sent: BootNanos::new(sent_ns),
            roster: u64::from_le_bytes(roster),
            aside,
            behind: Nanos::new(behind_ns),
            quorum_left: Nanos::new(quorum_left_ns),
            council: council.map(Into::into),
            recalled,
        },
        WireMessage::Answer { sent_ns, granted } => Message::Answer {
            sent: BootNanos::new(sent_ns),
            granted,
        },
        WireMessage::Roster => Message::Roster(roster(input)?),
        WireMessage::Council { id, names } => {
            for name in &names {
                text(name, "name")?;
            }
            let id = id.into();
            let names = names.into_iter().collect();
            Message::Council(Council { id, names })
        }
    })
}

pub(super) fn put_roster<'a>(out: &mut Writer<'_>, members: impl IntoIterator<Item = &'a Member>) {
    for member in members {
        out.item(&WireMember::from(member));
    }
}

/// The members up to the end of the frame.
pub(super) fn roster(input: &mut Reader<'_>) -> Result<Vec<Member>, WireError> {
    input.until_end(MEMBER_BYTES_USUAL, |input| {
        input.item::<WireMember<'_>>("member")?.try_into()
    })
}

#[derive(Serialize, Deserialize)]
enum WireMessage {
    /// What the first builds say, which tell nothing of their quorum. Read and never written.
    FirstHeartbeat {
        sent_ns: u64,
        roster: [u8; 8],
        aside: bool,
        behind_ns: u64,
    },
    Answer {
        sent_ns: u64,
        granted: bool,
    },
    /// Members follow up to the end of the frame.
    Roster,
    Heartbeat {
        sent_ns: u64,
        /// A hash, which fills its bytes.
        roster: [u8; 8],
        aside: bool,
        behind_ns: u64,
        quorum_left_ns: u64,
        council: Option<WireCouncilId>,
        recalled: bool,
    },
    Council {
        id: WireCouncilId,
        names: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct WireCouncilId {
    term: WireTerm,
    change: u32,
}

impl From<CouncilId> for WireCouncilId {
    fn from(id: CouncilId) -> Self {
        Self {
            term: id.term.into(),
            change: id.change,
        }
    }
}

impl From<WireCouncilId> for CouncilId {
    fn from(wire: WireCouncilId) -> Self {
        Self {
            term: wire.term.into(),
            change: wire.change,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WireMember<'a> {
    name: &'a str,
    incarnation: u64,
    replica: u32,
    standing: WireStanding,
    cluster: &'a str,
    http: &'a str,
    zone: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
enum WireStanding {
    Joined,
    Leaving,
    Left,
    Forgotten,
}

impl<'a> From<&'a Member> for WireMember<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            name: &member.name,
            incarnation: member.incarnation,
            replica: member.replica.0,
            standing: match member.standing {
                Standing::Joined => WireStanding::Joined,
                Standing::Leaving => WireStanding::Leaving,
                Standing::Left => WireStanding::Left,
                Standing::Forgotten => WireStanding::Forgotten,
            },
            cluster: &member.contact.cluster,
            http: &member.contact.http,
            zone: member.contact.zone.as_deref(),
        }
    }
}

impl TryFrom<WireMember<'_>> for Member {
    type Error = WireError;

    fn try_from(wire: WireMember<'_>) -> Result<Self, WireError> {
        Ok(Self {
            name: text(wire.name, "name")?,
            incarnation: wire.incarnation,
            replica: ReplicaId(wire.replica),
            standing: match wire.standing {
                WireStanding::Joined => Standing::Joined,
                WireStanding::Leaving => Standing::Leaving,
                WireStanding::Left => Standing::Left,
                WireStanding::Forgotten => Standing::Forgotten,
            },
            contact: Contact {
                cluster: text(wire.cluster, "cluster address")?,
                http: text(wire.http, "http address")?,
                zone: wire.zone.map(|zone| text(zone, "zone")).transpose()?,
            },
        })
    }
}

fn text(text: &str, what: &'static str) -> Result<String, WireError> {
    if TEXT_BYTES_MAX < text.len() {
        return Err(WireError::OutOfBounds { what });
    }
    Ok(text.to_owned())
}
