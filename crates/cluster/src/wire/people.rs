//! Users, seats, invitations, sessions and what was changed, as records tell them.

use std::net::IpAddr;
use std::sync::Arc;

use accounts::{
    AuditEntry, Invite, KnownSession, Link, ResetLink, Role, Seat, SecretHash, TenantId, UnixSecs,
    User, UserId,
};
use serde::{Deserialize, Serialize};

use super::accounts::{MAKER_BYTES_MAX, WireDated, dated, told};

#[derive(Serialize, Deserialize)]
pub(super) struct WireUser<'a> {
    #[serde(borrow)]
    email: WireDated<&'a str>,
    /// The PHC string of the hash.
    #[serde(borrow)]
    password: WireDated<Option<&'a str>>,
    recovery: WireDated<Option<[u8; 32]>>,
    reset: WireDated<Option<WireLink>>,
    epoch: u64,
    device_generation: u64,
    is_disabled: bool,
    made_at: u64,
}

/// The hash of its token, and its end.
type WireLink = ([u8; 32], u64);

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum WireRole {
    Owner,
    Admin,
    Developer,
    Viewer,
}

impl From<Role> for WireRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::Developer => Self::Developer,
            Role::Viewer => Self::Viewer,
        }
    }
}

impl From<WireRole> for Role {
    fn from(wire: WireRole) -> Self {
        match wire {
            WireRole::Owner => Self::Owner,
            WireRole::Admin => Self::Admin,
            WireRole::Developer => Self::Developer,
            WireRole::Viewer => Self::Viewer,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireSeat {
    pub(super) role: Option<WireRole>,
    pub(super) joined_at: u64,
}

impl From<WireSeat> for Seat {
    fn from(wire: WireSeat) -> Self {
        Self {
            role: wire.role.map(Role::from),
            joined_at: UnixSecs::new(wire.joined_at),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireInvite<'a> {
    tenant: [u8; 10],
    role: WireRole,
    link: WireLink,
    email: Option<&'a str>,
    made_by: &'a str,
    made_at: u64,
    used: Option<(u64, [u8; 10])>,
    withdrawn_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireKnownSession<'a> {
    user: [u8; 10],
    epoch: u64,
    made_at: u64,
    address: Option<WireAddress>,
    agent: &'a str,
    over_at: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) enum WireAddress {
    V4([u8; 4]),
    V6([u8; 16]),
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireAuditEntry<'a> {
    at: u64,
    /// As it is told.
    who: &'a str,
    what: &'a str,
    tenant: Option<[u8; 10]>,
    target: &'a str,
    before: Option<&'a str>,
    after: Option<&'a str>,
    address: Option<WireAddress>,
    node: &'a str,
}

/// Longer than what anybody changes is told as: the settings of a limit, or the longest name of a key.
const AUDITED_BYTES_MAX: usize = 4_096;

pub(super) fn user_told(user: &User) -> WireUser<'_> {
    WireUser {
        email: told(&user.email, |email| email.as_str()),
        password: told(&user.password, |hash| {
            hash.as_ref().map(|hash| hash.as_str())
        }),
        recovery: told(&user.recovery, |hash| hash.map(SecretHash::to_bytes)),
        reset: told(&user.reset, |reset| match reset {
            ResetLink::Open(link) => Some(link_told(*link)),
            ResetLink::Closed => None,
        }),
        epoch: user.epoch,
        device_generation: user.device_generation,
        is_disabled: user.is_disabled,
        made_at: user.made_at.get(),
    }
}

pub(super) fn user(wire: &WireUser<'_>) -> Option<User> {
    let password = match wire.password.1 {
        Some(hash) => Some(hash.parse().ok()?),
        None => None,
    };
    let reset = match wire.reset.1 {
        Some(link) => ResetLink::Open(self::link(link)),
        None => ResetLink::Closed,
    };
    Some(User {
        email: dated(wire.email.0, wire.email.1.parse().ok()?),
        password: dated(wire.password.0, password),
        recovery: dated(wire.recovery.0, wire.recovery.1.map(SecretHash::new)),
        reset: dated(wire.reset.0, reset),
        epoch: wire.epoch,
        device_generation: wire.device_generation,
        is_disabled: wire.is_disabled,
        made_at: UnixSecs::new(wire.made_at),
    })
}

const fn link_told(link: Link) -> WireLink {
    (link.secret.to_bytes(), link.expires_at.get())
}

const fn link((secret, expires_at): WireLink) -> Link {
    Link {
        secret: SecretHash::new(secret),
        expires_at: UnixSecs::new(expires_at),
    }
}

pub(super) fn invite_told(invite: &Invite) -> WireInvite<'_> {
    WireInvite {
        tenant: invite.tenant.to_bytes(),
        role: invite.role.into(),
        link: link_told(invite.link),
        email: invite.email.as_ref().map(|email| email.as_str()),
        made_by: &invite.made_by,
        made_at: invite.made_at.get(),
        used: invite.used.map(|(at, by)| (at.get(), by.to_bytes())),
        withdrawn_at: invite.withdrawn_at.map(UnixSecs::get),
    }
}

pub(super) fn invite(wire: &WireInvite<'_>) -> Option<Invite> {
    let email = match wire.email {
        Some(email) => Some(email.parse().ok()?),
        None => None,
    };
    let is_short = wire.made_by.len() <= MAKER_BYTES_MAX;
    is_short.then(|| Invite {
        tenant: TenantId::new(wire.tenant),
        role: wire.role.into(),
        link: link(wire.link),
        email,
        made_by: wire.made_by.into(),
        made_at: UnixSecs::new(wire.made_at),
        used: wire
            .used
            .map(|(at, by)| (UnixSecs::new(at), UserId::new(by))),
        withdrawn_at: wire.withdrawn_at.map(UnixSecs::new),
    })
}

fn address_told(address: IpAddr) -> WireAddress {
    match address {
        IpAddr::V4(address) => WireAddress::V4(address.octets()),
        IpAddr::V6(address) => WireAddress::V6(address.octets()),
    }
}

fn address(wire: &WireAddress) -> IpAddr {
    match *wire {
        WireAddress::V4(octets) => octets.into(),
        WireAddress::V6(octets) => octets.into(),
    }
}

pub(super) fn session_told(session: &KnownSession) -> WireKnownSession<'_> {
    WireKnownSession {
        user: session.user.to_bytes(),
        epoch: session.epoch,
        made_at: session.made_at.get(),
        address: session.address.map(address_told),
        agent: &session.agent,
        over_at: session.over_at.get(),
    }
}

pub(super) fn session(wire: &WireKnownSession<'_>) -> Option<KnownSession> {
    let is_short = wire.agent.len() <= KnownSession::AGENT_MAX;
    is_short.then(|| KnownSession {
        user: UserId::new(wire.user),
        epoch: wire.epoch,
        made_at: UnixSecs::new(wire.made_at),
        address: wire.address.as_ref().map(address),
        agent: wire.agent.into(),
        over_at: UnixSecs::new(wire.over_at),
        // Until it is said otherwise.
        seen_at: UnixSecs::new(wire.made_at),
    })
}

pub(super) fn entry_told<'a>(entry: &'a AuditEntry, who: &'a str) -> WireAuditEntry<'a> {
    WireAuditEntry {
        at: entry.at.get(),
        who,
        what: &entry.what,
        tenant: entry.tenant.map(TenantId::to_bytes),
        target: &entry.target,
        before: entry.before.as_deref(),
        after: entry.after.as_deref(),
        address: entry.address.map(address_told),
        node: &entry.node,
    }
}

pub(super) fn entry(wire: &WireAuditEntry<'_>) -> Option<AuditEntry> {
    let texts = [
        Some(wire.what),
        Some(wire.target),
        wire.before,
        wire.after,
        Some(wire.node),
    ];
    let is_short = |text: &&str| text.len() <= AUDITED_BYTES_MAX;
    if !texts.iter().flatten().all(is_short) {
        return None;
    }
    Some(AuditEntry {
        at: UnixSecs::new(wire.at),
        who: wire.who.parse().ok()?,
        what: wire.what.into(),
        tenant: wire.tenant.map(TenantId::new),
        target: wire.target.into(),
        before: wire.before.map(Arc::from),
        after: wire.after.map(Arc::from),
        address: wire.address.as_ref().map(address),
        node: wire.node.into(),
    })
}
