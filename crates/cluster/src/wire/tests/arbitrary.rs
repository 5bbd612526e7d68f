//! Any frame that a node could send.

use delta_crdt::{Added, Cell, Digest, ReplicaId, Slot, Term, Version};
use membership::{Contact, CouncilId, Member, Standing};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use quota::{
    Algorithm, Anchor, BootNanos, Calendar, CalendarUnit, Cost, Count, Decision, FixedWindow,
    KeyHash, Limit, Nanos, SlidingCounter, Stamp, Tat, UnixNanos, Verdict, Zone,
};
use request::Said;
use shard::{Baseline, CopyId, HitId, Message, Operation, Piece, Record, ShardId};

use super::super::{ForwardedHit, Frame, SHARDS};

pub(super) fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        membership_message().prop_map(Frame::Membership),
        shard_messages().prop_map(Frame::Shards),
        hits().prop_map(Frame::Hits),
        vec((any::<u64>(), verdict()), 0..20).prop_map(Frame::Verdicts),
        hit().prop_map(Frame::Relay),
        (hit(), replica(), any::<u64>()).prop_map(|(hit, origin, sequence)| Frame::Relayed {
            id: HitId { origin, sequence },
            hit,
        }),
        (hit(), replica(), any::<u64>()).prop_map(|(hit, origin, sequence)| Frame::RelayNamed {
            id: HitId { origin, sequence },
            hit,
        }),
        any::<u64>().prop_map(|asked| Frame::TimeAsked(quota::BootNanos::new(asked))),
        (any::<u64>(), any::<u64>()).prop_map(|(asked, wall)| Frame::TimeTold {
            asked: quota::BootNanos::new(asked),
            wall: quota::UnixNanos::new(wall),
        }),
        told().prop_map(Frame::Told),
        vec((any::<u8>(), digest()), 0..5).prop_map(Frame::Digests),
        vec(any::<(u8, u16)>(), 0..9).prop_map(Frame::Wanted),
        (any::<u64>(), vec(any::<u8>(), 0..40)).prop_map(|(id, body)| Frame::Call {
            id,
            body: body.into()
        }),
        (any::<u64>(), vec(any::<u8>(), 0..40)).prop_map(|(id, body)| Frame::Return {
            id,
            body: body.into()
        }),
        super::catalogue::message().prop_map(Frame::Catalogue),
    ]
}

pub(super) fn told() -> impl Strategy<Value = Vec<(KeyHash, Cell)>> {
    // Nothing of it is kept.
    let cell = cell().prop_map(|cell| cell.with_kept(false));
    vec((key(), cell), 0..6)
}

fn membership_message() -> impl Strategy<Value = membership::Message> {
    use membership::{Council, Message};
    prop_oneof![
        (
            any::<(u64, u64, bool, u64, u64, bool)>(),
            option::of(council_id())
        )
            .prop_map(|((sent, roster, aside, behind, left, recalled), council)| {
                Message::Heartbeat {
                    sent: BootNanos::new(sent),
                    roster,
                    aside,
                    behind: Nanos::new(behind),
                    quorum_left: Nanos::new(left),
                    council,
                    recalled,
                }
            }),
        any::<(u64, bool)>().prop_map(|(sent, granted)| Message::Answer {
            sent: BootNanos::new(sent),
            granted
        }),
        vec(member(), 0..5).prop_map(Message::Roster),
        (council_id(), btree_set("[a-z]{1,9}", 0..5))
            .prop_map(|(id, names)| Message::Council(Council { id, names })),
    ]
}

fn council_id() -> impl Strategy<Value = CouncilId> {
    (term(), any::<u32>()).prop_map(|(term, change)| CouncilId { term, change })
}

pub(super) fn member() -> impl Strategy<Value = Member> {
    let standing = prop_oneof![
        Just(Standing::Joined),
        Just(Standing::Leaving),
        Just(Standing::Left),
        Just(Standing::Forgotten)
    ];
    let texts = (
        "[a-zé]{0,9}",
        "[0-9.:]{0,9}",
        "[0-9.:]{0,9}",
        option::of("[a-z]{0,9}"),
    );
    (texts, any::<u64>(), replica(), standing).prop_map(
        |((name, cluster, http, zone), incarnation, replica, standing)| Member {
            name,
            incarnation,
            replica,
            standing,
            contact: Contact {
                cluster,
                http,
                zone,
            },
        },
    )
}

fn hit() -> impl Strategy<Value = ForwardedHit> {
    hits_of(1..2).prop_map(|hits| hits[0])
}

fn hits() -> impl Strategy<Value = Vec<ForwardedHit>> {
    hits_of(0..20)
}

fn hits_of(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<ForwardedHit>> {
    let operation = prop_oneof![
        any::<u32>().prop_map(|units| Operation::Hit(Cost::new(units))),
        any::<u32>().prop_map(|units| Operation::Refund(Cost::new(units))),
        Just(Operation::Reset),
    ];
    let hit = (
        any::<u64>(),
        shard(),
        key(),
        any::<prop::sample::Index>(),
        operation,
    );
    // Few limits, so that they come again.
    (vec(limit(), 1..5), vec(hit, count)).prop_map(|(limits, hits)| {
        let hits = hits.into_iter();
        hits.map(|(sequence, shard, key, limit, operation)| ForwardedHit {
            sequence,
            shard,
            key,
            limit: *limit.get(&limits),
            operation,
        })
        .collect()
    })
}

fn verdict() -> impl Strategy<Value = Said> {
    let verdict = prop_oneof![
        Just(Verdict::Allow),
        nanos().prop_map(|retry_after| Verdict::Deny { retry_after }),
        Just(Verdict::NeverConforms),
    ];
    let decision = (verdict, any::<u32>(), nanos(), nanos()).prop_map(
        |(verdict, remaining, grows_after, reset_after)| Decision {
            verdict,
            remaining,
            grows_after,
            reset_after,
        },
    );
    prop_oneof![
        decision.prop_map(Said::Decided),
        option::of(replica()).prop_map(Said::Elsewhere),
        Just(Said::Busy),
        Just(Said::Unsure),
        Just(Said::Unreached),
    ]
}

pub(super) fn shard_messages() -> impl Strategy<Value = Vec<(ShardId, Message)>> {
    vec((shard(), shard_message()), 0..9)
}

fn shard_message() -> impl Strategy<Value = Message> {
    let through = any::<u64>;
    prop_oneof![
        (
            term(),
            option::of(term()),
            vec(any::<u32>().prop_map(ReplicaId), 0..4),
            option::of(record())
        )
            .prop_map(|(term, consent, promised_by, record)| Message::Claim {
                term,
                consent,
                promised_by,
                record,
            }),
        (
            term(),
            option::of(record()),
            option::of(digest()),
            vec(any::<u64>(), 0..4)
        )
            .prop_map(|(term, record, digest, answered)| Message::Promise {
                term,
                record,
                digest,
                answered,
            }),
        (term(), term(), option::of(record()), any::<bool>()).prop_map(
            |(term, promised, record, wait)| Message::Refuse {
                term,
                promised,
                record,
                wait
            }
        ),
        term().prop_map(|term| Message::Release { term }),
        (record(), through(), option::of(digest())).prop_map(|(record, through, digest)| {
            Message::Announce {
                record,
                through,
                digest,
            }
        }),
        (term(), baseline(), through(), cells(), admitted()).prop_map(
            |(term, baseline, through, cells, admitted)| Message::Delta {
                term,
                baseline,
                through,
                cells,
                admitted
            }
        ),
        (term(), through(), any::<bool>()).prop_map(|(term, through, gap)| Message::Have {
            term,
            through,
            gap
        }),
        (term(), digest()).prop_map(|(term, digest)| Message::Offer { term, digest }),
        (term(), any::<u16>(), any::<u32>()).prop_map(|(term, buckets, number)| {
            Message::Pull {
                term,
                buckets,
                number,
            }
        }),
        (term(), record(), through(), piece()).prop_map(|(term, record, through, piece)| {
            Message::Copy {
                term,
                record,
                through,
                piece,
            }
        }),
        (term(), piece()).prop_map(|(term, piece)| Message::Answer { term, piece }),
        (term(), any::<bool>(), any::<[u32; 2]>(), any::<bool>()).prop_map(
            |(term, is_answer, [number, index], gap)| Message::Received {
                term,
                copy: match is_answer {
                    true => CopyId::Answer(number),
                    false => CopyId::Base(number),
                },
                index,
                gap,
            }
        ),
        (term(), any::<u16>(), cells(), admitted()).prop_map(|(term, buckets, cells, admitted)| {
            Message::State {
                term,
                buckets,
                cells,
                admitted,
            }
        }),
        term().prop_map(|term| Message::Synced { term }),
        term().prop_map(|term| Message::Handoff { term }),
        (term(), any::<u32>()).prop_map(|(term, epoch)| Message::Known { term, epoch }),
        Just(Message::Recall),
        (option::of(record()), any::<bool>())
            .prop_map(|(record, remembers)| Message::Recalled { record, remembers }),
    ]
}

fn admitted() -> impl Strategy<Value = Vec<HitId>> {
    vec((replica(), any::<u64>()), 0..4).prop_map(hit_ids)
}

fn cells() -> impl Strategy<Value = Vec<(KeyHash, Cell)>> {
    vec((key(), cell()), 0..4)
}

fn piece() -> impl Strategy<Value = Piece> {
    let fixed = (any::<[u32; 2]>(), any::<bool>(), any::<u16>());
    (fixed, cells(), admitted()).prop_map(
        |(([number, index], is_last, buckets), cells, admitted)| Piece {
            number,
            index,
            is_last,
            buckets,
            cells,
            admitted,
        },
    )
}

fn hit_ids(ids: Vec<(ReplicaId, u64)>) -> Vec<HitId> {
    let ids = ids.into_iter();
    ids.map(|(origin, sequence)| HitId { origin, sequence })
        .collect()
}

fn baseline() -> impl Strategy<Value = Baseline> {
    prop_oneof![
        any::<u64>().prop_map(Baseline::After),
        (any::<u16>(), record()).prop_map(|(buckets, record)| Baseline::Whole { buckets, record }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (term(), any::<u32>(), vec(replica(), 0..4)).prop_map(|(term, epoch, holders)| Record {
        term,
        epoch,
        holders,
    })
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u64; Digest::BUCKETS]>().prop_map(|buckets| Digest { buckets })
}

fn cell() -> impl Strategy<Value = Cell> {
    (vec(version(), 1..4), any::<bool>()).prop_map(|(versions, is_kept)| {
        let cell = Cell::new(versions).expect("there is a version");
        cell.with_kept(is_kept)
    })
}

fn version() -> impl Strategy<Value = Version> {
    (count(), slots(1), slots(0)).prop_map(|(count, slots, forgiven)| {
        Version::new(count, slots, forgiven).expect("the slots are of different terms")
    })
}

fn slots(len_min: usize) -> impl Strategy<Value = Vec<Slot>> {
    // Few terms, so that versions of one cell know of each other's writes.
    let term = prop_oneof![term(), (1..4u32, 0..2u32).prop_map(term_of)];
    let written = (prop_oneof![1..5u64, 1..delta_crdt::SEQ_END], any::<i64>());
    btree_map(term, written, len_min..4).prop_map(|slots| {
        let slots = slots.into_iter();
        slots
            .map(|(term, (seq, added))| Slot {
                term,
                seq,
                added: Added::from_bits(added),
            })
            .collect()
    })
}

/// What some operations leave behind, or any parts that fit together.
fn count() -> impl Strategy<Value = Count> {
    let operations = vec((0..2_000_000_000u64, 0..5u8, 0..9u32), 0..9);
    let lived = (limit(), any::<u32>(), operations).prop_map(|(limit, start, operations)| {
        let mut now = UnixNanos::new(u64::from(start) << 30);
        let stamp = |seq| Stamp { term: 1 << 32, seq };
        let mut count = None;
        let _ = limit.hit(now, &mut count, Cost::ONE, stamp(1));
        for ((after, what, units), seq) in operations.into_iter().zip(2..) {
            now = now + Nanos::new(after);
            let cost = Cost::new(units);
            let _ = match what {
                0 => limit.reset(now, &mut count),
                1 => limit.refund(now, &mut count, cost),
                _ => limit.hit(now, &mut count, cost, stamp(seq)),
            };
        }
        count.expect("one unit fits every limit")
    });
    let tat = || {
        (instant(), 1..=i32::MAX as u32, any::<u32>(), period()).prop_map(
            |(at, units, fraction, period)| {
                Tat::new(at, fraction % units, units, period).expect("the parts are in range")
            },
        )
    };
    let window = (instant(), any::<u32>(), period())
        .prop_map(|(end, used, period)| FixedWindow::new(end, used, period).expect("in range"));
    let counter = (instant(), any::<u32>(), any::<u32>(), period()).prop_map(
        |(end, current, previous, period)| {
            SlidingCounter::new(end, current, previous, period).expect("in range")
        },
    );
    prop_oneof![
        4 => lived,
        1 => tat().prop_map(Count::Gcra),
        1 => tat().prop_map(Count::LeakyBucket),
        1 => window.prop_map(Count::FixedWindow),
        1 => counter.prop_map(Count::SlidingCounter),
        1 => instant().prop_map(|until| Count::Reset { until }),
    ]
}

pub(super) fn limit() -> impl Strategy<Value = Limit> {
    let algorithm = proptest::sample::select(&Algorithm::ALL[..]);
    let burst = option::of(prop_oneof![1..99u32, any::<u32>()]);
    let units = prop_oneof![1..=10_000u32, 1..=i32::MAX as u32];
    let anchor = prop_oneof![
        Just(Anchor::Epoch),
        Just(Anchor::FirstHit),
        calendar().prop_map(Anchor::Calendar),
        instant().prop_map(Anchor::Ending),
    ];
    (algorithm, units, period(), burst, anchor, any::<bool>()).prop_map(
        |(algorithm, units, period, burst, anchor, keep)| {
            let limit = Limit::new(algorithm, units, period)
                .or_else(|_| Limit::new(algorithm, units % 10_000 + 1, period))
                .expect("units and period are in range");
            // Where the algorithm has no burst, or no anchor, the limit stays as it is.
            let limit = limit.with_keep(keep);
            let limit = burst.map_or(limit, |burst| limit.with_burst(burst).unwrap_or(limit));
            match anchor {
                Anchor::Ending(end) if algorithm == Algorithm::FixedWindow => {
                    let ending = Limit::ending(limit.units(), end, period).expect("in range");
                    ending.with_keep(keep)
                }
                anchor => limit.with_anchor(anchor).unwrap_or(limit),
            }
        },
    )
}

fn calendar() -> impl Strategy<Value = Calendar> {
    let names: Vec<&'static str> = Zone::names().collect();
    let unit = proptest::sample::select(&CalendarUnit::ALL[..]);
    (unit, proptest::sample::select(names)).prop_map(|(unit, name)| Calendar {
        unit,
        zone: name.parse().expect("it is of the database"),
    })
}

fn period() -> impl Strategy<Value = Nanos> {
    prop_oneof![1..=100_000u64, 1..=366 * 24 * 3_600_000u64].prop_map(Nanos::from_millis)
}

fn nanos() -> impl Strategy<Value = Nanos> {
    any::<u64>().prop_map(Nanos::new)
}

fn instant() -> impl Strategy<Value = UnixNanos> {
    any::<u64>().prop_map(UnixNanos::new)
}

fn key() -> impl Strategy<Value = KeyHash> {
    any::<u128>().prop_map(KeyHash::new)
}

fn shard() -> impl Strategy<Value = ShardId> {
    (0..SHARDS).prop_map(ShardId)
}

fn replica() -> impl Strategy<Value = ReplicaId> {
    any::<u32>().prop_map(ReplicaId)
}

fn term() -> impl Strategy<Value = Term> {
    any::<(u32, u32)>().prop_map(term_of)
}

fn term_of((number, replica): (u32, u32)) -> Term {
    Term {
        number,
        replica: ReplicaId(replica),
    }
}
