//! Tenants, API keys and people, as records tell them.

use std::sync::Arc;

use accounts::{
    ApiKey, ApiKeyId, Dated, DayTally, EmailClaim, EndedSession, HeldCap, Hint, KnownSession,
    MonthUsage, PlanName, Scopes, SecretHash, Status, Tenant, TenantId, UnixSecs, UserId,
};
use catalogue::{Content, Kind};
use serde::{Deserialize, Serialize};

use super::WireError;
use super::billing::{WireMeterEvent, WireSubscription};
use super::encoding::{Reader, Writer};
use super::people::{
    self, WireAuditEntry, WireInvite, WireKnownSession, WireRole, WireSeat, WireUser,
};

/// What a record of accounts says.
#[derive(Serialize, Deserialize)]
enum WireAccount<'a> {
    #[serde(borrow)]
    Tenant(WireTenant<'a>),
    #[serde(borrow)]
    ApiKey(WireApiKey<'a>),
    #[serde(borrow)]
    User(WireUser<'a>),
    /// Generation, since when, and whose it is.
    Email(u64, u64, Option<[u8; 10]>),
    Seat(WireSeat),
    #[serde(borrow)]
    Invite(WireInvite<'a>),
    #[serde(borrow)]
    Session(WireKnownSession<'a>),
    /// Until when it is remembered.
    EndedSession(u64),
    /// Since when.
    Operator(u64),
    #[serde(borrow)]
    Audit(WireAuditEntry<'a>),
    /// One that has been used, and when it was last.
    UsedApiKey(#[serde(borrow)] WireApiKey<'a>, u64),
    /// One whose plan has changed, and the day and its cap that a larger one left.
    ChangedTenant(
        #[serde(borrow)] WireTenant<'a>,
        WireDated<Option<(u64, Option<u32>)>>,
    ),
    /// The first day of a month since the epoch, and of its days how many are between, what was admitted and what was denied.
    Usage(u64, Vec<(u8, u32, u32)>),
    /// One that was used since it was begun, and when it was last.
    SeenSession(#[serde(borrow)] WireKnownSession<'a>, u64),
    /// One that has bought a plan: as a changed one, and the plan.
    PayingTenant(
        #[serde(borrow)] WireTenant<'a>,
        WireDated<Option<(u64, Option<u32>)>>,
        #[serde(borrow)] WireDated<Option<&'a str>>,
    ),
    #[serde(borrow)]
    Subscription(WireSubscription<'a>),
    MeterEvent(WireMeterEvent),
}

/// Seconds since the epoch, and what was set then.
pub(super) type WireDated<T> = (u64, T);

#[derive(Serialize, Deserialize)]
struct WireTenant<'a> {
    #[serde(borrow)]
    name: WireDated<&'a str>,
    #[serde(borrow)]
    plan: WireDated<Option<&'a str>>,
    requests_per_day: WireDated<Option<u32>>,
    status: WireStatus,
    made_at: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum WireStatus {
    Active,
    Suspended,
    Closed,
}

#[derive(Serialize, Deserialize)]
struct WireApiKey<'a> {
    tenant: [u8; 10],
    secret: [u8; 32],
    hint: [u8; 8],
    #[serde(borrow)]
    name: WireDated<&'a str>,
    scopes: u8,
    made_by: &'a str,
    made_at: u64,
    expires_at: Option<u64>,
    revoked_at: Option<u64>,
    /// Ids as they are told.
    replaces: Option<&'a str>,
    replaced_by: Option<&'a str>,
}

/// Writes what such a record says.
///
/// # Panics
///
/// For a limit, which has a form of its own.
pub(super) fn put(out: &mut Writer<'_>, content: &Content) {
    let mut told = [None, None];
    match content {
        Content::Tenant(tenant) => {
            let (told, held) = (tenant_told(tenant), &tenant.held);
            let was_never_set = *held == Dated::new(tenant.made_at, None);
            let has_bought = tenant.bought != Dated::new(tenant.made_at, None);
            let cap = held.get().map(|held| (held.day, held.requests_per_day));
            let held = (held.set_at().get(), cap);
            out.item(&match (was_never_set, has_bought) {
                (true, false) => WireAccount::Tenant(told),
                (false, false) => WireAccount::ChangedTenant(told, held),
                (_, true) => WireAccount::PayingTenant(told, held, plan_told(&tenant.bought)),
            });
        }
        Content::ApiKey(key) => {
            told[0] = key.replaces.map(|id| id.to_string());
            told[1] = key.replaced_by.map(|id| id.to_string());
            let [replaces, replaced_by] = told.each_ref().map(Option::as_deref);
            let told = api_key_told(key, replaces, replaced_by);
            out.item(&match key.last_used_at {
                None => WireAccount::ApiKey(told),
                Some(at) => WireAccount::UsedApiKey(told, at.get()),
            });
        }
        Content::User(user) => out.item(&WireAccount::User(people::user_told(user))),
        Content::Email(claim) => out.item(&WireAccount::Email(
            claim.generation(),
            claim.claimed_at().get(),
            claim.holder().map(UserId::to_bytes),
        )),
        Content::Seat(seat) => out.item(&WireAccount::Seat(WireSeat {
            role: seat.role.map(WireRole::from),
            joined_at: seat.joined_at.get(),
        })),
        Content::Invite(invite) => out.item(&WireAccount::Invite(people::invite_told(invite))),
        Content::Session(session) => {
            let told = people::session_told(session);
            out.item(&match session.seen_at == session.made_at {
                true => WireAccount::Session(told),
                false => WireAccount::SeenSession(told, session.seen_at.get()),
            });
        }
        Content::EndedSession(ended) => {
            out.item(&WireAccount::EndedSession(ended.remember_until.get()));
        }
        Content::Operator(since) => out.item(&WireAccount::Operator(since.get())),
        Content::Audit(entry) => {
            let who = entry.who.to_string();
            out.item(&WireAccount::Audit(people::entry_told(entry, &who)));
        }
        Content::Usage(month) => {
            let days = month.days().iter();
            let days = days.map(|(after, tally)| (*after, tally.requests, tally.denied));
            out.item(&WireAccount::Usage(month.first_day(), days.collect()));
        }
        Content::Subscription(subscription) => {
            out.item(&WireAccount::Subscription(WireSubscription::of(
                subscription,
            )));
        }
        Content::MeterEvent(event) => {
            out.item(&WireAccount::MeterEvent(WireMeterEvent::from(*event)));
        }
        Content::Limit(_) | Content::KeyLimit(_) => unreachable!("limits have a form of their own"),
    }
}

/// Reads what a record of `kind` says: as strictly as what a client says.
pub(super) fn content(input: &mut Reader<'_>, kind: Kind) -> Result<Content, WireError> {
    let out_of_bounds = WireError::OutOfBounds { what: "content" };
    let account = input.item::<WireAccount<'_>>("content")?;
    let content = match account {
        WireAccount::Tenant(wire) => {
            let (never, none) = ((wire.made_at, None), (wire.made_at, None));
            tenant(&wire, never, none).map(|tenant| Content::Tenant(tenant.into()))
        }
        WireAccount::ChangedTenant(wire, held) => {
            let none = (wire.made_at, None);
            tenant(&wire, held, none).map(|tenant| Content::Tenant(tenant.into()))
        }
        WireAccount::PayingTenant(wire, held, bought) => {
            tenant(&wire, held, bought).map(|tenant| Content::Tenant(tenant.into()))
        }
        WireAccount::Subscription(wire) => wire
            .subscription()
            .map(|subscription| Content::Subscription(subscription.into())),
        WireAccount::MeterEvent(wire) => Some(Content::MeterEvent(wire.into())),
        WireAccount::ApiKey(wire) => api_key(&wire, None).map(|key| Content::ApiKey(key.into())),
        WireAccount::UsedApiKey(wire, at) => {
            api_key(&wire, Some(UnixSecs::new(at))).map(|key| Content::ApiKey(key.into()))
        }
        WireAccount::User(wire) => people::user(&wire).map(|user| Content::User(user.into())),
        WireAccount::Email(generation, claimed_at, holder) => {
            let (claimed_at, holder) = (UnixSecs::new(claimed_at), holder.map(UserId::new));
            let claim = EmailClaim::of_parts(generation, claimed_at, holder);
            Some(Content::Email(claim))
        }
        WireAccount::Seat(wire) => Some(Content::Seat(wire.into())),
        WireAccount::Invite(wire) => {
            people::invite(&wire).map(|invite| Content::Invite(invite.into()))
        }
        WireAccount::Session(wire) => {
            people::session(&wire).map(|session| Content::Session(session.into()))
        }
        WireAccount::SeenSession(wire, at) => people::session(&wire).map(|session| {
            let session = KnownSession {
                seen_at: UnixSecs::new(at),
                ..session
            };
            Content::Session(session.into())
        }),
        WireAccount::EndedSession(until) => Some(Content::EndedSession(EndedSession {
            remember_until: UnixSecs::new(until),
        })),
        WireAccount::Operator(since) => Some(Content::Operator(UnixSecs::new(since))),
        WireAccount::Audit(wire) => people::entry(&wire).map(|entry| Content::Audit(entry.into())),
        WireAccount::Usage(first_day, days) => {
            let tally = |(after, requests, denied)| (after, DayTally { requests, denied });
            let days = days.into_iter().map(tally).collect();
            MonthUsage::of_parts(first_day, days).map(|month| Content::Usage(month.into()))
        }
    };
    content
        .filter(|content| content.kind() == kind)
        .ok_or(out_of_bounds)
}

fn tenant_told(tenant: &Tenant) -> WireTenant<'_> {
    WireTenant {
        name: told(&tenant.name, |name| name.as_str()),
        plan: plan_told(&tenant.plan),
        requests_per_day: told(&tenant.requests_per_day, |requests| *requests),
        status: match tenant.status {
            Status::Active => WireStatus::Active,
            Status::Suspended => WireStatus::Suspended,
            Status::Closed => WireStatus::Closed,
        },
        made_at: tenant.made_at.get(),
    }
}

fn plan_told(plan: &Dated<Option<PlanName>>) -> WireDated<Option<&str>> {
    told(plan, |plan| plan.as_ref().map(PlanName::as_str))
}

fn plan((set_at, name): WireDated<Option<&str>>) -> Option<Dated<Option<PlanName>>> {
    let plan = name.map(str::parse).transpose().ok()?;
    Some(dated(set_at, plan))
}

fn tenant(
    wire: &WireTenant<'_>,
    held: WireDated<Option<(u64, Option<u32>)>>,
    bought: WireDated<Option<&str>>,
) -> Option<Tenant> {
    Some(Tenant {
        name: dated(wire.name.0, wire.name.1.parse().ok()?),
        plan: plan(wire.plan)?,
        bought: plan(bought)?,
        requests_per_day: dated(wire.requests_per_day.0, wire.requests_per_day.1),
        held: dated(
            held.0,
            held.1.map(|(day, requests_per_day)| HeldCap {
                day,
                requests_per_day,
            }),
        ),
        status: match wire.status {
            WireStatus::Active => Status::Active,
            WireStatus::Suspended => Status::Suspended,
            WireStatus::Closed => Status::Closed,
        },
        made_at: UnixSecs::new(wire.made_at),
    })
}

fn api_key_told<'a>(
    key: &'a ApiKey,
    replaces: Option<&'a str>,
    replaced_by: Option<&'a str>,
) -> WireApiKey<'a> {
    WireApiKey {
        tenant: key.tenant.to_bytes(),
        secret: key.secret.to_bytes(),
        hint: key.hint.to_bytes(),
        name: told(&key.name, |name| &**name),
        scopes: key.scopes.bits(),
        made_by: &key.made_by,
        made_at: key.made_at.get(),
        expires_at: key.expires_at.map(UnixSecs::get),
        revoked_at: key.revoked_at.map(UnixSecs::get),
        replaces,
        replaced_by,
    }
}

fn api_key(wire: &WireApiKey<'_>, last_used_at: Option<UnixSecs>) -> Option<ApiKey> {
    let (named_at, name) = wire.name;
    if !ApiKey::may_be_called(name) || MAKER_BYTES_MAX < wire.made_by.len() {
        return None;
    }
    Some(ApiKey {
        tenant: TenantId::new(wire.tenant),
        secret: SecretHash::new(wire.secret),
        hint: Hint::new(wire.hint)?,
        name: dated(named_at, Arc::from(name)),
        scopes: Scopes::of_bits(wire.scopes),
        made_by: wire.made_by.into(),
        made_at: UnixSecs::new(wire.made_at),
        expires_at: wire.expires_at.map(UnixSecs::new),
        revoked_at: wire.revoked_at.map(UnixSecs::new),
        replaces: id(wire.replaces)?,
        replaced_by: id(wire.replaced_by)?,
        last_used_at,
    })
}

/// No id of anybody is longer.
pub(super) const MAKER_BYTES_MAX: usize = 64;

pub(super) fn told<'a, T, W>(
    value: &'a Dated<T>,
    as_told: impl FnOnce(&'a T) -> W,
) -> WireDated<W> {
    (value.set_at().get(), as_told(value.get()))
}

pub(super) fn dated<T>(set_at: u64, value: T) -> Dated<T> {
    Dated::new(UnixSecs::new(set_at), value)
}

/// An id that may not be there: what is there has to be one.
fn id(text: Option<&str>) -> Option<Option<ApiKeyId>> {
    match text {
        Some(text) => text.parse().ok().map(Some),
        None => Some(None),
    }
}
