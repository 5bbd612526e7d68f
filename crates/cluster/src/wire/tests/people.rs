//! Users, seats, invitations, sessions and what was changed, as bytes.

use std::net::IpAddr;

use ::accounts::{
    Actor, AuditEntry, Bought, Dated, DayTally, EmailClaim, EndedSession, Invite, KnownSession,
    Link, MeterBase, MeterEvent, MonthUsage, PasswordHash, ResetLink, Role, Seat, SecretHash,
    Subscription, SubscriptionStatus, TenantId, UnixSecs, User, UserId,
};
use ::catalogue::{Address, Content, Kind, Record, SERVICE, Seen, Stamp, Write};
use delta_crdt::ReplicaId;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::catalogue::{assert_kept, at, dated};

/// Up to three writes of one kind.
pub(super) fn contents() -> impl Strategy<Value = (Kind, Vec<Option<Content>>)> {
    let of = |kind, content: BoxedStrategy<Content>| {
        vec(option::of(content), 1..4).prop_map(move |contents| (kind, contents))
    };
    prop_oneof![
        of(Kind::User, user().boxed()),
        of(Kind::Email, email().boxed()),
        of(Kind::Seat, seat().boxed()),
        of(Kind::Invite, invite().boxed()),
        of(Kind::Session, session().boxed()),
        of(Kind::EndedSession, ended().boxed()),
        of(Kind::Operator, at().prop_map(Content::Operator).boxed()),
        of(Kind::Audit, entry().boxed()),
        of(Kind::Usage, usage().boxed()),
        of(Kind::Subscription, subscription().boxed()),
        of(Kind::MeterEvent, meter_event().boxed()),
    ]
}

fn secret() -> impl Strategy<Value = SecretHash> {
    any::<[u8; 32]>().prop_map(SecretHash::new)
}

fn user_id() -> impl Strategy<Value = UserId> {
    any::<[u8; 10]>().prop_map(UserId::new)
}

fn link() -> impl Strategy<Value = Link> {
    (secret(), at()).prop_map(|(secret, expires_at)| Link { secret, expires_at })
}

fn user() -> impl Strategy<Value = Content> {
    let email = "[a-z]{1,5}@[a-z]{1,5}".prop_map(|email| email.parse().unwrap());
    let password = option::of(Just(PasswordHash::nobodys()));
    let reset = prop_oneof![Just(ResetLink::Closed), link().prop_map(ResetLink::Open)];
    (
        dated(email),
        dated(password),
        dated(option::of(secret())),
        dated(reset),
        any::<(u64, u64, bool)>(),
        at(),
    )
        .prop_map(|(email, password, recovery, reset, counts, made_at)| {
            let user = User {
                email,
                password,
                recovery,
                reset,
                epoch: counts.0,
                device_generation: counts.1,
                is_disabled: counts.2,
                made_at,
            };
            Content::User(user.into())
        })
}

fn email() -> impl Strategy<Value = Content> {
    (any::<u64>(), at(), option::of(user_id())).prop_map(|(generation, claimed_at, holder)| {
        Content::Email(EmailClaim::of_parts(generation, claimed_at, holder))
    })
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

fn seat() -> impl Strategy<Value = Content> {
    (option::of(role()), at()).prop_map(|(role, joined_at)| Content::Seat(Seat { role, joined_at }))
}

fn invite() -> impl Strategy<Value = Content> {
    let email = option::of("[a-z]{1,5}@b".prop_map(|email| email.parse().unwrap()));
    (
        any::<[u8; 10]>(),
        role(),
        link(),
        email,
        at(),
        option::of((at(), user_id())),
        option::of(at()),
    )
        .prop_map(|(tenant, role, link, email, made_at, used, withdrawn_at)| {
            let invite = Invite {
                tenant: TenantId::new(tenant),
                role,
                link,
                email,
                made_by: "operator".into(),
                made_at,
                used,
                withdrawn_at,
            };
            Content::Invite(invite.into())
        })
}

fn session() -> impl Strategy<Value = Content> {
    let agent = "[a-z]{0,9}".prop_map(Into::into);
    (
        user_id(),
        any::<u64>(),
        at(),
        option::of(any::<IpAddr>()),
        agent,
        at(),
        option::of(at()),
    )
        .prop_map(|(user, epoch, made_at, address, agent, over_at, seen_at)| {
            let session = KnownSession {
                user,
                epoch,
                made_at,
                address,
                agent,
                over_at,
                seen_at: seen_at.unwrap_or(made_at),
            };
            Content::Session(session.into())
        })
}

fn ended() -> impl Strategy<Value = Content> {
    at().prop_map(|remember_until| Content::EndedSession(EndedSession { remember_until }))
}

fn usage() -> impl Strategy<Value = Content> {
    let days = vec((0..31_u64, any::<(u32, u32)>()), 0..31);
    days.prop_map(|days| {
        // The first of November 2026.
        let first_day = 20_758;
        let mut month = MonthUsage::of_day(first_day);
        for (after, (requests, denied)) in days {
            month.raise(first_day + after, DayTally { requests, denied });
        }
        Content::Usage(month.into())
    })
}

fn bought() -> impl Strategy<Value = Bought> {
    let time = || option::of(at());
    (
        prop::sample::select(SubscriptionStatus::ALL.to_vec()),
        option::of("[a-z]{0,9}"),
        any::<bool>(),
        at(),
        (time(), time(), time()),
    )
        .prop_map(|(status, price, is_metered, started_at, times)| Bought {
            id: "sub_1".into(),
            status,
            price: price.map(Into::into),
            is_metered,
            started_at,
            period_end: times.0,
            ends_at: times.1,
            past_due_since: times.2,
        })
}

fn subscription() -> impl Strategy<Value = Content> {
    let base = any::<(u64, u32)>().prop_map(|(day, requests)| MeterBase { day, requests });
    (
        any::<u64>(),
        option::of("cus_[a-z]{0,9}"),
        option::of(bought()),
        any::<bool>(),
        prop::collection::btree_map("sub_[a-z]".prop_map(Into::into), base, 0..3),
    )
        .prop_map(|(asked_at, customer, bought, has_conflict, bases)| {
            let subscription = Subscription {
                asked_at,
                customer: customer.map(Into::into),
                bought,
                has_conflict,
                bases,
            };
            Content::Subscription(subscription.into())
        })
}

fn meter_event() -> impl Strategy<Value = Content> {
    (any::<(u32, u32)>(), at(), at(), any::<(bool, bool)>()).prop_map(
        |((number, requests), at, made_at, (is_accepted, was_told_twice))| {
            Content::MeterEvent(MeterEvent {
                number,
                requests,
                at,
                made_at,
                is_accepted,
                was_told_twice,
            })
        },
    )
}

fn entry() -> impl Strategy<Value = Content> {
    let who = prop_oneof![
        Just(Actor::Operator),
        user_id().prop_map(Actor::User),
        "key_[0-9A-Za-z]{12}".prop_map(|id| Actor::ApiKey(id.parse().unwrap())),
    ];
    let text = || option::of("[a-z ]{0,9}".prop_map(Into::into));
    (
        (at(), who),
        option::of(any::<[u8; 10]>()),
        "[a-z]{1,9}",
        text(),
        text(),
        option::of(any::<IpAddr>()),
    )
        .prop_map(|((at, who), tenant, target, before, after, address)| {
            let entry = AuditEntry {
                at,
                who,
                what: "api-key.revoke".into(),
                tenant: tenant.map(TenantId::new),
                target: target.into(),
                before,
                after,
                address,
                node: "oskar".into(),
            };
            Content::Audit(entry.into())
        })
}

fn stamp(time: u64, incarnation: u32) -> Stamp {
    Stamp::new(time, ReplicaId(incarnation)).unwrap()
}

/// As they travel and lie in data directories: a seat that two sides gave to somebody, and a user.
#[test]
fn people_that_are_kept() {
    let seat = |role| {
        let seat = Seat::new(UnixSecs::new(300), role);
        Some(Content::Seat(seat))
    };
    let writes = vec![
        Write {
            stamp: stamp(300, 7),
            content: seat(Role::Owner),
        },
        Write {
            stamp: stamp(2, 8),
            content: seat(Role::Viewer),
        },
    ];
    let address = Address::new(Kind::Seat, SERVICE.into(), "a/b".into()).unwrap();
    let record = Record::of_writes(writes, Seen::default()).unwrap();
    let known = "0410 06 20 08 4073657276696365 03 612f62 00 02
         ac02 07 01 04 01 00 ac02
         02 08 01 04 01 03 ac02";
    assert_kept(&address, &record, known);

    let email = "a@b".parse().unwrap();
    let mut user = User::new(UnixSecs::new(3), email);
    user.recovery = Dated::new(UnixSecs::new(4), Some(SecretHash::new([9; 32])));
    user.epoch = 2;
    let address = Address::new(Kind::User, SERVICE.into(), "us".into()).unwrap();
    let content = Some(Content::User(user.into()));
    let record = Record::new(content, stamp(300, 7), Seen::default());
    let known = format!(
        "0410 04 42 08 4073657276696365 02 7573 00 01
         ac02 07 01 02 03 03614062 03 00 04 01 {} 03 00 02 00 00 03",
        "09".repeat(32)
    );
    assert_kept(&address, &record, &known);
}
