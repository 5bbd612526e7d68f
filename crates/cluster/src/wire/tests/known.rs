//! Bytes written down once. When one of these fails, nodes of two builds no longer understand each other: raise the
//! version, or undo.

use delta_crdt::{Added, Cell, Digest, Slot, Term, Version};
use membership::{Contact, Council, CouncilId, Member, Standing};
use quota::{
    Algorithm, BootNanos, Calendar, CalendarUnit, Cost, Count, Decision, FixedWindow, Log,
    LogEntry, Nanos, SlidingCounter, Stamp, Tat, UnixNanos, Verdict,
};
use shard::{Baseline, CopyId, HitId, Message, Piece, Record};

use super::super::*;
use super::bytes_of;

#[track_caller]
fn check(frame: Frame, known: &str) {
    let known = bytes_of(known);
    assert_eq!(decode(&known), Ok(frame.clone()));
    assert_eq!(encode(&frame)[..], known);
}

/// As the version before writes it: nodes of a build before this one read and send nothing else.
#[track_caller]
fn check_before(messages: Vec<(ShardId, Message)>, known: &str) {
    let known = bytes_of(known);
    assert_eq!(decode(&known), Ok(Frame::Shards(messages.clone())));
    let encoded = encode_shards_split(VERSION_BEFORE, &messages, usize::MAX);
    assert_eq!(encoded, [known]);
}

fn term(number: u32, replica: u32) -> Term {
    Term {
        number,
        replica: ReplicaId(replica),
    }
}

#[test]
fn a_heartbeat() {
    let message = membership::Message::Heartbeat {
        sent: BootNanos::new(300),
        roster: 0x0102_0304_0506_0708,
        aside: true,
        behind: Nanos::new(5),
        quorum_left: Nanos::new(6),
        council: Some(council_id()),
        recalled: true,
    };
    check(
        Frame::Membership(message),
        "0101 03 ac02 0807060504030201 01 05 06 01 07 09 02 01",
    );
}

/// As the first builds send it: whoever says nothing of a quorum is counted on for none.
#[test]
fn a_heartbeat_of_the_first_builds() {
    let message = membership::Message::Heartbeat {
        sent: BootNanos::new(300),
        roster: 0x0102_0304_0506_0708,
        aside: true,
        behind: Nanos::new(5),
        quorum_left: Nanos::ZERO,
        council: None,
        recalled: false,
    };
    let known = bytes_of("0101 00 ac02 0807060504030201 01 05");
    assert_eq!(decode(&known), Ok(Frame::Membership(message)));
}

fn council_id() -> CouncilId {
    let term = term(7, 9);
    CouncilId { term, change: 2 }
}

#[test]
fn who_counts() {
    let council = Council {
        id: council_id(),
        names: ["a".to_owned(), "bc".to_owned()].into(),
    };
    let message = membership::Message::Council(council);
    check(
        Frame::Membership(message),
        "0101 04 07 09 02 02 01 61 02 6263",
    );
}

#[test]
fn an_answer() {
    let sent = BootNanos::new(300);
    let message = membership::Message::Answer {
        sent,
        granted: true,
    };
    check(Frame::Membership(message), "0101 01 ac02 01");
}

#[test]
fn a_roster() {
    let a = Member {
        name: "a".into(),
        incarnation: 2,
        replica: ReplicaId(0x80),
        standing: Standing::Forgotten,
        contact: Contact {
            cluster: "b:1".into(),
            http: "c:2".into(),
            zone: Some("z".into()),
        },
    };
    let b = Member {
        name: "b".into(),
        standing: Standing::Joined,
        contact: Contact {
            zone: None,
            ..a.contact.clone()
        },
        ..a
    };
    let known = "0161 02 8001 03 03623a31 03633a32 01017a  0162 02 8001 00 03623a31 03633a32 00";
    let members = vec![a, b];
    assert_eq!(
        encode_roster(&members)[..],
        bytes_of(&format!("0105 {known}"))
    );
    check(
        Frame::Membership(membership::Message::Roster(members)),
        &format!("0101 02 {known}"),
    );
}

#[test]
fn hits() {
    let gcra = Limit::new(Algorithm::Gcra, 100, Nanos::from_secs(1)).unwrap();
    let bursty = gcra.with_burst(300).unwrap();
    let hit = |sequence, limit, operation| ForwardedHit {
        sequence,
        shard: ShardId(1023),
        key: KeyHash::new(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
        limit,
        operation,
    };
    let hits = vec![
        hit(1, gcra, Operation::Hit(Cost::ONE)),
        hit(128, bursty, Operation::Refund(Cost::new(2))),
        hit(u64::MAX, gcra, Operation::Reset),
    ];
    check(
        Frame::Hits(hits),
        "0103
         01 ff07 000102030405060708090a0b0c0d0e0f 00 00 00 64 e807 64 00 01
         8001 ff07 000102030405060708090a0b0c0d0e0f 01 00 00 64 e807 ac02 01 02
         ffffffffffffffffff01 ff07 000102030405060708090a0b0c0d0e0f 00 02",
    );
}

#[test]
fn limits_of_every_algorithm() {
    let hits = Algorithm::ALL.into_iter().map(|algorithm| {
        let limit = Limit::new(algorithm, 5, Nanos::from_millis(7)).unwrap();
        ForwardedHit {
            sequence: 1,
            shard: ShardId(2),
            key: KeyHash::new(0),
            limit: limit.with_anchor(quota::Anchor::FirstHit).unwrap_or(limit),
            operation: Operation::Reset,
        }
    });
    check(
        Frame::Hits(hits.collect()),
        "0103
         01 02 00000000000000000000000000000000 00 00 00 05 07 05 02
         01 02 00000000000000000000000000000000 01 01 00 05 07 05 02
         01 02 00000000000000000000000000000000 02 02 00 05 07 05 02
         01 02 00000000000000000000000000000000 03 03 01 05 07 05 02
         01 02 00000000000000000000000000000000 04 04 00 05 07 05 02",
    );
}

/// A frame with one is for peers of protocol 4: others would ignore it whole.
#[test]
fn a_limit_of_a_calendar() {
    let limit = |unit, zone: &str| {
        let zone = zone.parse().unwrap();
        Limit::of_calendar(5, Calendar { unit, zone }).unwrap()
    };
    let ending = Limit::ending(5, UnixNanos::new(300), Nanos::from_millis(7)).unwrap();
    let limits = [
        limit(CalendarUnit::Day, "UTC"),
        limit(CalendarUnit::Year, "GMT"),
        ending,
    ];
    let hits = (1..).zip(limits).map(|(sequence, limit)| ForwardedHit {
        sequence,
        shard: ShardId(2),
        key: KeyHash::new(0),
        limit,
        operation: Operation::Reset,
    });
    check(
        Frame::Hits(hits.collect()),
        "0103
         01 02 00000000000000000000000000000000 00 03 02 00 03555443 05 80b89929 05 02
         02 02 00000000000000000000000000000000 01 03 02 03 03474d54 05 8090dee675 05 02
         03 02 00000000000000000000000000000000 02 03 03 ac02 05 07 05 02",
    );
    assert!(!knows_calendars(3) && knows_calendars(4));
    assert!(!knows_accounts(4) && knows_accounts(5));
    assert!(!knows_top_keys(4) && knows_top_keys(5));
}

/// A newer database may have zones that this one has not: who else is in the frame is answered.
#[test]
fn a_hit_in_an_unknown_zone_keeps_no_other_back() {
    let known = bytes_of(
        "0103
         01 02 00000000000000000000000000000000 00 03 02 00 035a5a5a 05 80b89929 05 02
         02 02 00000000000000000000000000000000 01 00 00 64 e807 64 02
         03 02 00000000000000000000000000000000 00 02",
    );
    let Ok(Frame::Hits(hits)) = decode(&known) else {
        panic!("{:?}", decode(&known));
    };
    let sequences: Vec<u64> = hits.iter().map(|hit| hit.sequence).collect();
    assert_eq!(sequences, [2]);
}

/// The version before knows no verdicts 7 and 8; a frame that holds one it would ignore whole, with all the others.
#[test]
fn verdicts_as_the_version_before_knows_them() {
    let verdicts = [
        (1, Said::Unsure),
        (2, Said::Elsewhere(None)),
        (3, Said::Unreached),
        (4, Said::Busy),
    ];
    let known = bytes_of("0104 01 05 02 03 03 05 04 05");
    assert_eq!(encode_verdicts(VERSION_BEFORE, &verdicts)[..], known);
    let known = bytes_of("0104 01 07 02 03 03 08 04 05");
    assert_eq!(encode_verdicts(VERSION, &verdicts)[..], known);
    assert!(!knows_relays(VERSION_BEFORE) && knows_relays(VERSION));
}

#[test]
fn verdicts() {
    let decided = |verdict| {
        Said::Decided(Decision {
            verdict,
            remaining: 1,
            grows_after: Nanos::new(2),
            reset_after: Nanos::new(300),
        })
    };
    let retry_after = Nanos::new(128);
    let verdicts = vec![
        (1, decided(Verdict::Allow)),
        (2, decided(Verdict::Deny { retry_after })),
        (3, decided(Verdict::NeverConforms)),
        (4, Said::Elsewhere(None)),
        (5, Said::Elsewhere(Some(ReplicaId(128)))),
        (6, Said::Busy),
        (7, Said::Unsure),
        (300, Said::Unreached),
    ];
    check(
        Frame::Verdicts(verdicts),
        "0104  01 00 01 02 ac02  02 01 8001 01 02 ac02  03 02 01 02 ac02
         04 03  05 04 8001  06 05  07 07  ac02 08",
    );
}

#[test]
fn hits_that_are_passed_on() {
    let hit = ForwardedHit {
        sequence: 128,
        shard: ShardId(1023),
        key: KeyHash::new(0),
        limit: Limit::new(Algorithm::Gcra, 100, Nanos::from_secs(1)).unwrap(),
        operation: Operation::Hit(Cost::ONE),
    };
    let bytes = "8001 ff07 00000000000000000000000000000000 00 00 00 64 e807 64 00 01";
    check(Frame::Relay(hit), &format!("010d {bytes}"));
    let id = HitId {
        origin: ReplicaId(129),
        sequence: 3,
    };
    check(Frame::Relayed { id, hit }, &format!("010e 8101 03 {bytes}"));
    let id = HitId::of_client((129 << 64) | 3);
    let named = format!("0112 8101 83808080808080808001 {bytes}");
    check(Frame::RelayNamed { id, hit }, &named);
}

#[test]
fn the_short_messages_of_shards() {
    let (t, digest) = (
        term(1, 128),
        Digest {
            buckets: [0x0102; 16],
        },
    );
    let record = Record {
        term: t,
        epoch: 3,
        holders: vec![ReplicaId(4), ReplicaId(128)],
    };
    let messages = [
        Message::Claim {
            term: t,
            consent: Some(term(2, 3)),
            promised_by: vec![ReplicaId(3)],
            record: Some(record.clone()),
        },
        Message::Promise {
            term: t,
            record: Some(record.clone()),
            digest: Some(digest.clone()),
            answered: vec![300],
        },
        Message::Refuse {
            term: t,
            promised: term(2, 3),
            record: None,
            wait: true,
        },
        Message::Release { term: t },
        Message::Announce {
            record,
            through: 300,
            digest: None,
        },
        Message::Have {
            term: t,
            through: 300,
            gap: false,
        },
        Message::Offer { term: t, digest },
        Message::Pull {
            term: t,
            buckets: 0x8001,
            number: 0,
        },
        Message::Synced { term: t },
        Message::Handoff { term: t },
        Message::Known {
            term: t,
            epoch: 300,
        },
        Message::Recall,
        Message::Recalled {
            record: None,
            remembers: true,
        },
    ];
    let digest = "0201000000000000".repeat(16);
    let messages = messages.map(|message| (ShardId(128), message));
    check_before(
        messages.into(),
        &format!(
            "0102
             8001 00 018001 01 0203 01 03 01 018001 03 02 04 8001
             8001 01 018001 01 018001 03 02 04 8001 01 {digest} 01 ac02
             8001 02 018001 0203 00 01
             8001 03 018001
             8001 04 018001 03 02 04 8001 ac02 00
             8001 06 018001 ac02 00
             8001 07 018001 {digest}
             8001 08 018001 818002
             8001 0a 018001
             8001 0b 018001
             8001 0c 018001 ac02
             8001 0d
             8001 0e 00 01"
        ),
    );
}

#[test]
fn cells_of_every_algorithm() {
    let (period, end) = (Nanos::from_millis(7), UnixNanos::new(300));
    let entry = |at, seq| LogEntry {
        at: UnixNanos::new(at),
        cost: 1,
        stamp: Stamp { term: 1 << 32, seq },
    };
    let log = Log::from_entries(period, [entry(300, 1), entry(428, 2)]).unwrap();
    let tat = Tat::new(end, 2, 5, period).unwrap();
    let counts = [
        Count::Gcra(tat),
        Count::LeakyBucket(tat),
        Count::FixedWindow(FixedWindow::new(end, 5, period).unwrap()),
        Count::SlidingCounter(SlidingCounter::new(end, 5, 6, period).unwrap()),
        Count::SlidingLog(Box::new(log)),
        Count::Reset { until: end },
    ];
    let slot = |term, seq, added| Slot {
        term,
        seq,
        added: Added::new(added),
    };
    let mut cells: Vec<_> = counts
        .into_iter()
        .map(|count| Version::new(count, [slot(term(1, 2), 3, 4)], []).unwrap())
        .map(|version| (KeyHash::new(1), Cell::from(version)))
        .collect();
    let fork = [
        Version::new(Count::Reset { until: end }, [slot(term(1, 2), 3, 4)], []),
        Version::new(
            Count::Reset { until: end },
            [slot(term(5, 6), 1, -1)],
            [slot(term(1, 2), 2, 2)],
        ),
    ];
    cells.push((
        KeyHash::new(2),
        Cell::new(fork.map(Option::unwrap)).unwrap(),
    ));
    let admitted = vec![HitId {
        origin: ReplicaId(128),
        sequence: 300,
    }];
    let delta = Message::Delta {
        term: term(1, 2),
        baseline: Baseline::After(300),
        through: 301,
        cells,
        admitted: admitted.clone(),
    };
    let record = Record {
        term: term(1, 2),
        epoch: 0,
        holders: vec![],
    };
    let whole = Message::Delta {
        term: term(1, 2),
        baseline: Baseline::Whole { buckets: 3, record },
        through: 4,
        cells: vec![],
        admitted: vec![],
    };
    let state = Message::State {
        term: term(1, 2),
        buckets: 3,
        cells: vec![],
        admitted,
    };
    let messages = [delta, whole, state].map(|message| (ShardId(0), message));
    check_before(
        messages.into(),
        "0102
         00 05 0102 00ac02 ad02
         07
         01000000000000000000000000000000 01  00 ac02 02 05 07  01 01020310 00
         01000000000000000000000000000000 01  01 ac02 02 05 07  01 01020310 00
         01000000000000000000000000000000 01  02 ac02 05 07     01 01020310 00
         01000000000000000000000000000000 01  03 ac02 05 06 07  01 01020310 00
         01000000000000000000000000000000 01  04 07
             02 ac02 01 8080808010 01 8001 01 8080808010 02     01 01020310 00
         01000000000000000000000000000000 01  05 ac02           01 01020310 00
         02000000000000000000000000000000 02  05 ac02           01 01020310 00
                                              05 ac02           01 05060101 01 01020208
         01 8001 ac02
         00 05 0102 01 03 0102 00 00 04 00 00
         00 09 0102 03 00 01 8001 ac02",
    );
}

#[test]
fn copies_in_pieces() {
    let t = term(1, 128);
    let piece = Piece {
        number: 7,
        index: 300,
        is_last: true,
        buckets: 0x8001,
        cells: vec![],
        admitted: vec![HitId {
            origin: ReplicaId(128),
            sequence: 300,
        }],
    };
    let record = Record {
        term: t,
        epoch: 3,
        holders: vec![ReplicaId(4)],
    };
    let messages = [
        Message::Pull {
            term: t,
            buckets: 0x8001,
            number: 300,
        },
        Message::Copy {
            term: t,
            record,
            through: 300,
            piece: piece.clone(),
        },
        Message::Answer { term: t, piece },
        Message::Received {
            term: t,
            copy: CopyId::Answer(7),
            index: 300,
            gap: true,
        },
    ];
    check(
        Frame::Shards(messages.map(|message| (ShardId(128), message)).into()),
        "0202
         8001 0f 018001 818002 ac02
         8001 10 018001 018001 03 01 04 ac02  07 ac02 01 818002 00 01 8001 ac02
         8001 11 018001                       07 ac02 01 818002 00 01 8001 ac02
         8001 12 018001 01 07 ac02 01",
    );
}

/// A limit of a minute is not kept unless that is said, and one of an hour is: who reads no such words goes by that.
#[test]
fn what_is_kept_is_said_where_no_period_tells_it() {
    let limit = |hours: u64, keep| {
        let limit = Limit::new(Algorithm::Gcra, 5, Nanos::from_secs(3_600 * hours)).unwrap();
        limit.with_keep(keep)
    };
    let hit = |limit| ForwardedHit {
        sequence: 1,
        shard: ShardId(2),
        key: KeyHash::new(0),
        limit,
        operation: Operation::Reset,
    };
    let usual = "01 02 00000000000000000000000000000000 00 00 00 05 80dddb01 05";
    check(
        Frame::Hits(vec![hit(limit(1, true))]),
        &format!("0103 {usual} 02"),
    );
    let told = Frame::Hits(vec![hit(limit(1, false))]);
    check(told.clone(), &format!("0403 {usual} 00 02"));
    let before = bytes_of(&format!("0103 {usual} 02"));
    assert_eq!(encode_for(form_for(3), &told)[..], before);

    let until = UnixNanos::new(300);
    let slot = Slot {
        term: term(1, 2),
        seq: 3,
        added: Added::new(4),
    };
    let version = Version::new(Count::Reset { until }, [slot], []).unwrap();
    let cell = Cell::new([version]).unwrap();
    let state = |is_kept| {
        let message = Message::State {
            term: term(1, 2),
            buckets: 3,
            cells: vec![(KeyHash::new(1), cell.clone().with_kept(is_kept))],
            admitted: vec![],
        };
        vec![(ShardId(0), message)]
    };
    let kept =
        "0402 00 09 0102 03 01 01000000000000000000000000000000 01 01 05ac02 01 01020310 00 00";
    check(Frame::Shards(state(true)), kept);
    let before =
        "0202 00 09 0102 03 01 01000000000000000000000000000000 01 05ac02 01 01020310 00 00";
    check(Frame::Shards(state(false)), before);
    let encoded = encode_shards_split(form_for(3), &state(true), usize::MAX);
    assert_eq!(encoded, [bytes_of(before)]);
}

#[test]
fn a_peer_is_written_to_in_the_version_that_it_reads() {
    assert_eq!([0, 1, 2, 3, 4, 300].map(form_for), [1, 1, 2, 2, 4, 4]);
}

#[test]
fn the_time_is_asked_and_told() {
    let asked = quota::BootNanos::new(300);
    check(Frame::TimeAsked(asked), "0106 ac02");
    let wall = quota::UnixNanos::new(1);
    check(Frame::TimeTold { asked, wall }, "0107 ac02 01");
}

#[test]
fn news_of_one_node_that_counts_for_itself() {
    let slot = Slot {
        term: term(1, 2),
        seq: 3,
        added: Added::new(4),
    };
    let count = Count::Reset {
        until: UnixNanos::new(5),
    };
    let version = Version::new(count, [slot], []).unwrap();
    let cell = Cell::new([version]).unwrap();
    check(
        Frame::Told(vec![(KeyHash::new(0x77), cell)]),
        "0108 77000000000000000000000000000000 01 05 05 01 01 02 03 10 00",
    );
}

#[test]
fn a_digest_and_what_is_wanted() {
    let mut digest = Digest::default();
    digest.buckets[0] = 0x0102;
    let rest = "00".repeat(8 * 15);
    check(
        Frame::Digests(vec![(9, digest)]),
        &format!("0109 09 0201000000000000 {rest}"),
    );
    check(Frame::Wanted(vec![(9, 0x8001)]), "010a 09 0180");
}

#[test]
fn a_call_and_its_return() {
    let body = Bytes::from_static(&[1, 2]);
    check(
        Frame::Call {
            id: 300,
            body: body.clone(),
        },
        "010b ac02 0102",
    );
    check(Frame::Return { id: 300, body }, "010c ac02 0102");
}
