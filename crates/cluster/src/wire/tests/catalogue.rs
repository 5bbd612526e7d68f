//! What catalogues say, as bytes.

use std::sync::Arc;

use ::accounts::{ApiKey, Credential, Dated, HeldCap, Scopes, Status, Tenant, TenantId, UnixSecs};
use ::catalogue::{
    Address, Content, KeyLimit, Kind, Message, NamedLimit, Record, SERVICE, Seen, Stamp, Urgency,
    Write,
};
use coordinator::{FailMode, Strategy as Counting};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use quota::{Algorithm, Nanos};

use super::super::*;
use super::arbitrary::limit;
use super::bytes_of;
use super::people;

pub(super) fn message() -> impl Strategy<Value = Message> {
    let urgency = prop_oneof![Just(Urgency::Change), Just(Urgency::Repair)];
    prop_oneof![
        any::<(u64, u64)>().prop_map(|(exchange, root)| Message::Ask { exchange, root }),
        (any::<u64>(), vec(any::<(u16, u64)>(), 0..9))
            .prop_map(|(exchange, sums)| Message::Differs { exchange, sums }),
        (any::<u64>(), vec(any::<u16>(), 0..9))
            .prop_map(|(exchange, buckets)| Message::Wanted { exchange, buckets }),
        any::<u64>().prop_map(|exchange| Message::Done { exchange }),
        (any::<u64>(), urgency, vec(record(), 0..5)).prop_map(|(number, urgency, records)| {
            Message::Piece {
                number,
                urgency,
                records,
            }
        }),
        any::<u64>().prop_map(|number| Message::Receipt { number }),
    ]
}

fn record() -> impl Strategy<Value = (Address, Record)> {
    prop_oneof![limit_record(), account_record()]
}

/// With up to three writes that did not see each other.
fn account_record() -> impl Strategy<Value = (Address, Record)> {
    let contents = prop_oneof![
        vec(option::of(tenant()), 1..4).prop_map(|contents| (Kind::Tenant, contents)),
        vec(option::of(api_key()), 1..4).prop_map(|contents| (Kind::ApiKey, contents)),
        people::contents(),
    ];
    (
        "[a-z]{0,5}",
        ".{1,9}",
        vec(stamp(), 4),
        vec(stamp(), 0..5),
        contents,
    )
        .prop_map(|(namespace, name, stamps, seen, (kind, contents))| {
            let address = Address {
                kind,
                namespace: namespace.into(),
                name: name.into(),
            };
            let writes = stamps.into_iter().zip(contents);
            let writes = writes.map(|(stamp, content)| Write { stamp, content });
            let record = Record::of_writes(writes.collect(), Seen::of(seen)).unwrap();
            (address, record)
        })
}

pub(super) fn dated<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Dated<T>> {
    (at(), value).prop_map(|(at, value)| Dated::new(at, value))
}

pub(super) fn at() -> impl Strategy<Value = UnixSecs> {
    any::<u32>().prop_map(|secs| UnixSecs::new(secs.into()))
}

fn tenant() -> impl Strategy<Value = Content> {
    let name = "[a-zé]{1,9}".prop_map(|name| name.parse().unwrap());
    let plan = option::of("[a-z]{1,9}".prop_map(|name| name.parse().unwrap()));
    let status = prop::sample::select(Status::ALL.to_vec());
    (
        dated(name),
        dated(plan.clone()),
        option::of(dated(plan)),
        dated(option::of(1..9_u32)),
        option::of(dated(option::of((0..9_u64, option::of(1..9_u32))))),
        status,
        at(),
    )
        .prop_map(
            |(name, plan, bought, requests_per_day, held, status, made_at)| {
                let held = held.map(|held| {
                    let cap = held.get().map(|(day, requests_per_day)| HeldCap {
                        day,
                        requests_per_day,
                    });
                    Dated::new(held.set_at(), cap)
                });
                let tenant = Tenant {
                    name,
                    plan,
                    bought: bought.unwrap_or(Dated::new(made_at, None)),
                    requests_per_day,
                    held: held.unwrap_or(Dated::new(made_at, None)),
                    status,
                    made_at,
                };
                Content::Tenant(tenant.into())
            },
        )
}

fn api_key() -> impl Strategy<Value = Content> {
    let id = || option::of("key_[0-9A-Za-z]{12}".prop_map(|id| id.parse().unwrap()));
    let drawn = vec(any::<u8>(), 88).prop_map(|bytes| {
        let random = bytes.try_into().expect("there are 88");
        Credential::draw(&random)
    });
    let times = (at(), option::of(at()), option::of(at()), option::of(at()));
    let name = dated("[a-z ]{1,9}".prop_map(Into::into));
    (
        any::<[u8; 10]>(),
        drawn,
        name,
        any::<u8>(),
        times,
        id(),
        id(),
    )
        .prop_map(
            |(
                tenant,
                credential,
                name,
                scopes,
                (made_at, expires_at, revoked_at, last_used_at),
                replaces,
                by,
            )| {
                let key = ApiKey {
                    tenant: TenantId::new(tenant),
                    secret: credential.hash(),
                    hint: credential.hint(),
                    name,
                    scopes: Scopes::of_bits(scopes),
                    made_by: "operator".into(),
                    made_at,
                    expires_at,
                    revoked_at,
                    replaces,
                    replaced_by: by,
                    last_used_at,
                };
                Content::ApiKey(key.into())
            },
        )
}

fn limit_record() -> impl Strategy<Value = (Address, Record)> {
    let seen = vec(stamp(), 0..5);
    let said = (option::of(named_limit()), any::<bool>(), limit());
    ("[a-z]{0,5}", ".{1,9}", stamp(), seen, said, any::<bool>()).prop_map(
        |(namespace, name, stamp, seen, (named, as_token_bucket, limit), is_removed)| {
            let content = match named {
                Some(named) => Content::Limit(named),
                None => Content::KeyLimit(KeyLimit {
                    limit: limit.with_keep(Limit::KEPT_FROM <= limit.period()),
                    as_token_bucket,
                }),
            };
            let address = Address {
                kind: content.kind(),
                namespace: namespace.into(),
                name: name.into(),
            };
            let content = Some(content).filter(|_| !is_removed);
            (address, Record::new(content, stamp, Seen::of(seen)))
        },
    )
}

fn named_limit() -> impl Strategy<Value = NamedLimit> {
    let on_failure = prop_oneof![
        Just(FailMode::Deny),
        Just(FailMode::Allow),
        Just(FailMode::Owner)
    ];
    let strategy = prop::sample::select(Counting::ALL.to_vec());
    (limit(), any::<bool>(), strategy, on_failure, any::<bool>()).prop_map(
        |(limit, as_token_bucket, strategy, on_failure, top_keys)| NamedLimit {
            limit,
            as_token_bucket,
            strategy,
            on_failure,
            top_keys,
        },
    )
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (0..1_u64 << 60, any::<u32>())
        .prop_map(|(time, incarnation)| Stamp::new(time, ReplicaId(incarnation)).unwrap())
}

#[test]
fn what_catalogues_say() {
    let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_millis(300)).unwrap();
    let stamp = |time, incarnation| Stamp::new(time, ReplicaId(incarnation)).unwrap();
    let address = |kind, name: &str| Address {
        kind,
        namespace: "d".into(),
        name: name.into(),
    };
    let key_limit = Content::KeyLimit(KeyLimit {
        limit,
        as_token_bucket: true,
    });
    let named = Content::Limit(NamedLimit {
        limit: limit.with_burst(2).unwrap(),
        as_token_bucket: false,
        strategy: Counting::Local,
        on_failure: FailMode::Allow,
        top_keys: false,
    });
    let seen = Seen::of([stamp(1, 9)]);
    let records = vec![
        (
            address(Kind::KeyLimit, "u1"),
            Record::new(Some(key_limit), stamp(300, 7), seen),
        ),
        (
            address(Kind::Limit, "l"),
            Record::new(Some(named), stamp(2, 7), Seen::default()),
        ),
        (
            address(Kind::Limit, "m"),
            Record::new(None, stamp(3, 7), Seen::default()),
        ),
    ];
    let piece = "01 0164 027531 ac02 07 01 01 09 01 01 00 00 05 ac02 05 01
                 00 0164 016c 02 07 00 01 00 00 00 05 ac02 02 00 01 01
                 00 0164 016d 03 07 00 00";
    let cases = [
        (
            Message::Ask {
                exchange: 300,
                root: 1,
            },
            "00 ac02 0100000000000000".to_owned(),
        ),
        (
            Message::Differs {
                exchange: 1,
                sums: vec![(300, 1)],
            },
            "01 01 ac02 0100000000000000".to_owned(),
        ),
        (
            Message::Wanted {
                exchange: 1,
                buckets: vec![300, 1],
            },
            "02 01 ac02 01".to_owned(),
        ),
        (Message::Done { exchange: 300 }, "03 ac02".to_owned()),
        (
            Message::Piece {
                number: 300,
                urgency: Urgency::Change,
                records: records.clone(),
            },
            format!("04 ac02 {piece}"),
        ),
        (
            Message::Piece {
                number: 1,
                urgency: Urgency::Repair,
                records,
            },
            format!("05 01 {piece}"),
        ),
        (Message::Receipt { number: 300 }, "06 ac02".to_owned()),
    ];
    for (message, known) in cases {
        let known = bytes_of(&format!("010f {known}"));
        assert_eq!(decode(&known), Ok(Frame::Catalogue(message.clone())));
        assert_eq!(encode(&Frame::Catalogue(message))[..], known);
    }
}

/// What lies in data directories, and is read by later versions.
#[test]
fn a_record_that_is_kept() {
    let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_millis(300)).unwrap();
    let content = Content::KeyLimit(KeyLimit {
        limit,
        as_token_bucket: true,
    });
    let address = Address::new(Kind::KeyLimit, "d".into(), "u1".into()).unwrap();
    let stamp = |time, incarnation| Stamp::new(time, ReplicaId(incarnation)).unwrap();
    let record = Record::new(Some(content), stamp(300, 7), Seen::of([stamp(1, 9)]));
    let known = bytes_of("0110 01 0164 027531 ac02 07 01 01 09 01 01 00 00 05 ac02 05 01");
    assert_eq!(encode_record(&address, &record)[..], known);
    assert_eq!(decode_record(&known), Ok((address, record)));
    let malformed = |what| Err(WireError::Malformed { what });
    assert_eq!(
        decode_record(&known[..known.len() - 1]),
        malformed("content")
    );
    assert_eq!(decode_record(&bytes_of("010f 0300")), malformed("kind"));
    assert_eq!(
        decode_record(&bytes_of("0310 00")),
        Err(WireError::Version { given: 3 })
    );
}

/// Of the first form that has them, which says so in its first byte.
#[test]
fn a_limit_that_tells_its_top_keys_is_kept() {
    let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_millis(300)).unwrap();
    let content = |top_keys| {
        Some(Content::Limit(NamedLimit {
            limit: limit.with_keep(true),
            as_token_bucket: false,
            strategy: Counting::Owner,
            on_failure: FailMode::Allow,
            top_keys,
        }))
    };
    let address = Address::new(Kind::Limit, "tn".into(), "l".into()).unwrap();
    let stamp = Stamp::new(300, ReplicaId(7)).unwrap();
    let record = |top_keys| Record::new(content(top_keys), stamp, Seen::default());
    let known = "0410 00 02 746e 01 6c ac02 07 00 01 03 00 00 05 ac02 05 00 00 01 01";
    assert_kept(&address, &record(true), known);
    let known = "0410 00 02 746e 01 6c ac02 07 00 01 02 00 00 05 ac02 05 00 00 01 01";
    assert_kept(&address, &record(false), known);
}

#[test]
fn records_that_cannot_be_are_refused() {
    let out_of_bounds = |what| Err(WireError::OutOfBounds { what });
    let name = "61".repeat(1_025);
    let cases = [
        // A name of 1 025 bytes, a stamp beyond the year 9999, a limit of one kind under the name of another.
        (
            format!("00 0164 8108 {name} 01 01 00 00"),
            out_of_bounds("name"),
        ),
        (
            "00 0164 0161 ffffffffffffffffff01 01 00 00".to_owned(),
            out_of_bounds("stamp"),
        ),
        (
            "00 0164 0161 01 01 00 01 01 00 00 05 ac02 05 00".to_owned(),
            out_of_bounds("content"),
        ),
        (
            "00 0164 0161 01 01 ffffffffffffffffff01".to_owned(),
            Err(WireError::Malformed {
                what: "writes seen",
            }),
        ),
        // A tenant: with more behind its write, without one, with a content that is none.
        (
            "02 0a 0164 0161 00 01 01 01 00 00".to_owned(),
            Err(WireError::Malformed { what: "end" }),
        ),
        ("02 06 0164 0161 00 00".to_owned(), out_of_bounds("writes")),
        (
            "02 09 0164 0161 00 01 01 01 02".to_owned(),
            Err(WireError::Malformed { what: "content" }),
        ),
    ];
    for (bytes, expected) in cases {
        let bytes = bytes_of(&format!("010f 04 01 {bytes}"));
        assert_eq!(decode(&bytes).map(drop), expected);
    }
    let too_many = [&[1, 15, 2, 1][..], &[0; 4_097]].concat();
    assert_eq!(
        decode(&too_many).map(drop),
        out_of_bounds("number of items")
    );
}

/// As they travel and lie in data directories: of two writes that did not see each other, and an API key.
#[test]
fn accounts_that_are_kept() {
    let stamp = |time, incarnation| Stamp::new(time, ReplicaId(incarnation)).unwrap();
    let at = UnixSecs::new;
    let tenant = |status| {
        let mut tenant = Tenant::new(at(300), "Acme".parse().unwrap());
        tenant.plan = Dated::new(at(301), Some("pro".parse().unwrap()));
        tenant.requests_per_day = Dated::new(at(2), Some(300));
        tenant.status = status;
        Some(Content::Tenant(tenant.into()))
    };
    let writes = vec![
        Write {
            stamp: stamp(300, 7),
            content: tenant(Status::Active),
        },
        Write {
            stamp: stamp(2, 8),
            content: tenant(Status::Suspended),
        },
    ];
    let address = Address::new(Kind::Tenant, SERVICE.into(), "tn".into()).unwrap();
    let record = Record::of_writes(writes, Seen::of([stamp(1, 9)])).unwrap();
    let told = "ac02 0441636d65 ad02 01 0370726f 02 01 ac02";
    let known = format!(
        "0410 02 43 08 4073657276696365 02 746e 01 01 09 02
         ac02 07 01 00 {told} 00 ac02
         02 08 01 00 {told} 01 ac02"
    );
    assert_kept(&address, &record, &known);

    // A plan that was changed on the fourth day.
    let mut changed = Tenant::new(at(300), "Acme".parse().unwrap());
    let held = HeldCap {
        day: 4,
        requests_per_day: Some(300),
    };
    changed.held = Dated::new(at(301), Some(held));
    let content = Some(Content::Tenant(changed.into()));
    let record = Record::new(content, stamp(300, 7), Seen::default());
    let told = "ac02 0441636d65 ac02 00 ac02 00 00 ac02";
    let known = format!(
        "0410 02 2a 08 4073657276696365 02 746e 00 01 ac02 07 01 0b {told} ad02 01 04 01 ac02"
    );
    assert_kept(&address, &record, &known);

    let credential = "weir_key_3fK9mQ2bXw7L8hTq0sVfYcRzE1uGnAaB6dJkP4iWoN5v1wtbid";
    let credential = Credential::parse(credential).unwrap();
    let mut key = ApiKey {
        tenant: TenantId::new([1; 10]),
        secret: credential.hash(),
        hint: credential.hint(),
        name: Dated::new(at(3), "edge".into()),
        scopes: Scopes::of_bits(5),
        made_by: "operator".into(),
        made_at: at(3),
        expires_at: Some(at(300)),
        revoked_at: None,
        replaces: None,
        replaced_by: Some(credential.id()),
        last_used_at: None,
    };
    let name = credential.id().to_string().into();
    let address = Address::new(Kind::ApiKey, SERVICE.into(), name).unwrap();
    let record = |key: &ApiKey| {
        let content = Some(Content::ApiKey(Arc::new(key.clone())));
        Record::new(content, stamp(300, 7), Seen::default())
    };
    let secret: String = credential
        .hash()
        .to_bytes()
        .map(|byte| format!("{byte:02x}"))
        .concat();
    let known = |length, variant, last_used| {
        format!(
            "0410 03 {length} 08 4073657276696365 10 6b65795f33664b396d5132625877374c 00 01
         ac02 07 01 {variant} {} {secret} 33664b3974626964 03 0465646765 05 086f70657261746f72 03
         01 ac02 00 00 01 10 6b65795f33664b396d5132625877374c {last_used}",
            "01".repeat(10)
        )
    };
    assert_kept(&address, &record(&key), &known("7b", "01", ""));
    key.last_used_at = Some(at(360));
    assert_kept(&address, &record(&key), &known("7d", "0a", "e802"));
}

pub(super) fn assert_kept(address: &Address, record: &Record, known: &str) {
    let known = bytes_of(known);
    let encoded = encode_record(address, record);
    assert_eq!(encoded[..], known, "{encoded:02x?}");
    assert_eq!(decode_record(&known), Ok((address.clone(), record.clone())));
}

/// A kind of a later version, between two limits.
#[test]
fn a_record_of_an_unknown_kind_is_passed_over() {
    let limit = |name| format!("00 0164 01{name} 03 07 00 00");
    let bytes = format!("010f 04 01 {} 63 03 aabbcc {}", limit("61"), limit("62"));
    let Ok(Frame::Catalogue(Message::Piece { records, .. })) = decode(&bytes_of(&bytes)) else {
        panic!("the piece is read");
    };
    let names: Vec<_> = records.iter().map(|(address, _)| &*address.name).collect();
    assert_eq!(names, ["a", "b"]);
}
