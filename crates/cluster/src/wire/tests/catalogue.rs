//! What catalogues say, as bytes.

use ::catalogue::{
    Address, Content, KeyLimit, Kind, Message, NamedLimit, Record, Seen, Stamp, Urgency,
};
use coordinator::{FailMode, Strategy as Counting};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use quota::{Algorithm, Nanos};

use super::super::*;
use super::arbitrary::limit;
use super::bytes_of;

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
    (limit(), any::<bool>(), strategy, on_failure).prop_map(
        |(limit, as_token_bucket, strategy, on_failure)| NamedLimit {
            limit,
            as_token_bucket,
            strategy,
            on_failure,
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
        (
            "02 0164 0161 01 01 00 00".to_owned(),
            Err(WireError::Malformed { what: "kind" }),
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
