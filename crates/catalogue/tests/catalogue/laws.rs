//! Records join in any order, and of two writes in sequence the later stays.

use accounts::{
    DayTally, EmailClaim, MeterEvent, MonthUsage, Role, Seat, Status, Subscription, Tenant,
    UnixSecs, User, UserId,
};
use catalogue::{Catalogue, Clock, Content, Kind, Message, Record, Rule, Urgency, Write};
use delta_crdt::ReplicaId;
use proptest::prelude::*;
use quota::{KeyHasher, Now, UnixNanos};

use crate::net::{content, key};

/// What happens to the replicas of one record.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// This node writes that, or removes, at a wall clock that may be anything.
    Write(usize, Option<u32>, u64),
    /// This node hears what that one has.
    Hear(usize, usize),
}

const NODES: usize = 4;
/// Between two readings of a wall clock, so that some writes are old enough to be forgotten.
const APART: u64 = 12 * 24 * 60 * 60 * 1_000_000_000;

fn histories() -> impl Strategy<Value = Vec<Act>> {
    let units = prop::option::of(1..100_u32);
    let write =
        (0..NODES, units, 0..5_u64).prop_map(|(node, units, at)| Act::Write(node, units, at));
    let hear = (0..NODES, 0..NODES).prop_map(|(node, from)| Act::Hear(node, from));
    prop::collection::vec(prop_oneof![write, hear], 1..40)
}

/// A kind of each rule, and of each way in which two writes are one.
fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::KeyLimit),
        Just(Kind::Tenant),
        Just(Kind::User),
        Just(Kind::Email),
        Just(Kind::Seat),
        Just(Kind::Operator),
        Just(Kind::Usage),
        Just(Kind::Subscription),
        Just(Kind::MeterEvent),
    ]
}

fn status(units: u32) -> Status {
    Status::ALL[units as usize % Status::ALL.len()]
}

fn content_of(kind: Kind, units: u32) -> Content {
    let at = UnixSecs::new(u64::from(units));
    match kind {
        Kind::Tenant => {
            let mut tenant = Tenant::new(at, units.to_string().parse().unwrap());
            tenant.status = status(units);
            Content::Tenant(tenant.into())
        }
        Kind::User => {
            let mut user = User::new(at, format!("{units}@b").parse().unwrap());
            user.epoch = u64::from(units % 3);
            user.is_disabled = units.is_multiple_of(2);
            Content::User(user.into())
        }
        Kind::Email => {
            let holder = UserId::new([units as u8; 10]);
            let generation = u64::from(units % 3);
            Content::Email(EmailClaim::of_parts(generation, at, Some(holder)))
        }
        Kind::Seat => {
            let role = Role::ALL[units as usize % Role::ALL.len()];
            Content::Seat(Seat::new(at, role))
        }
        Kind::Operator => Content::Operator(at),
        Kind::Usage => {
            let (mut month, denied) = (MonthUsage::of_day(0), units % 3);
            let requests = units;
            month.raise((units % 2).into(), DayTally { requests, denied });
            Content::Usage(month.into())
        }
        Kind::Subscription => {
            let subscription = Subscription {
                asked_at: (units % 3).into(),
                customer: Some(units.to_string().into()),
                bought: None,
                has_conflict: false,
                bases: [].into(),
            };
            Content::Subscription(subscription.into())
        }
        Kind::MeterEvent => Content::MeterEvent(MeterEvent {
            number: 1 + units % 3,
            requests: units,
            at,
            made_at: at,
            is_accepted: units.is_multiple_of(2),
            was_told_twice: false,
        }),
        _ => content(units),
    }
}

/// Plays a history of a record of that kind; every version of it that there ever was.
fn play(kind: Kind, history: &[Act]) -> Vec<Record> {
    let mut clocks: Vec<Clock> = (0..NODES)
        .map(|node| Clock::new(ReplicaId(node as u32)))
        .collect();
    let mut replicas: Vec<Option<Record>> = vec![None; NODES];
    let mut versions = Vec::new();
    for act in history {
        match *act {
            Act::Write(node, units, at) => {
                let stamp = clocks[node].stamp(UnixNanos::new(at * APART));
                let content = units.map(|units| content_of(kind, units));
                let written = Record::after(replicas[node].as_ref(), content, stamp);
                if let Some(before) = &replicas[node] {
                    assert!(written.knows(before.stamp()) && !before.knows(stamp));
                }
                replicas[node] = Some(written);
            }
            Act::Hear(node, from) => {
                let Some(heard) = replicas[from].clone() else {
                    continue;
                };
                clocks[node].on_seen(heard.stamp());
                replicas[node] = Some(match replicas[node].take() {
                    Some(known) => joined(kind, known, &heard),
                    None => heard,
                });
            }
        }
        versions.extend(replicas.iter().flatten().cloned());
    }
    versions
}

fn joined(kind: Kind, mut one: Record, other: &Record) -> Record {
    one.join(kind, other.clone());
    one
}

proptest! {
    #[test]
    fn joins_commute_associate_and_are_idempotent(
        kind in kinds(), history in histories(), picks in any::<[prop::sample::Index; 3]>()
    ) {
        let versions = play(kind, &history);
        prop_assume!(!versions.is_empty());
        let [a, b, c] = picks.map(|pick| pick.get(&versions).clone());
        let joined = |one: Record, other: &Record| joined(kind, one, other);
        prop_assert_eq!(joined(a.clone(), &a), a.clone());
        prop_assert_eq!(joined(a.clone(), &b), joined(b.clone(), &a));
        prop_assert_eq!(joined(joined(a.clone(), &b), &c), joined(a, &joined(b, &c)));
    }

    /// Whatever the wall clocks say: what a write had seen never comes back over it.
    #[test]
    fn of_two_in_sequence_the_later_stays(
        kind in kinds(), history in histories(), picks in any::<[prop::sample::Index; 2]>()
    ) {
        let versions = play(kind, &history);
        prop_assume!(!versions.is_empty());
        let [earlier, later] = picks.map(|pick| pick.get(&versions).clone());
        if earlier.writes().all(|write| later.knows(write.stamp)) {
            let both = joined(kind, earlier, &later);
            prop_assert_eq!((both.content(), both.stamp()), (later.content(), later.stamp()));
        }
    }

    /// Two writes of which neither had seen the other, on whatever sides: no more is granted than by either.
    #[test]
    fn writes_that_did_not_see_each_other_grant_no_more_than_either(
        history in histories(), picks in any::<[prop::sample::Index; 2]>()
    ) {
        let versions = play(Kind::Tenant, &history);
        prop_assume!(!versions.is_empty());
        let [one, other] = picks.map(|pick| pick.get(&versions).clone());
        let both = joined(Kind::Tenant, one.clone(), &other);
        let strictness = |content: Option<&Content>| {
            content.and_then(Content::tenant).map_or(u8::MAX, |tenant| tenant.status as u8)
        };
        let unseen = |one: &Record, other: &Record| {
            let writes = one.writes().filter(|write| !other.knows(write.stamp));
            writes.collect::<Vec<Write>>()
        };
        for write in unseen(&one, &other).into_iter().chain(unseen(&other, &one)) {
            if both.writes().any(|held| held.stamp == write.stamp) {
                prop_assert!(strictness(write.content.as_ref()) <= strictness(both.content()));
            } else {
                prop_assert!(both.knows(write.stamp), "forgotten: it is a month older");
            }
        }
    }

    /// As they travel and lie on a disk.
    #[test]
    fn a_record_is_made_of_its_writes(kind in kinds(), history in histories(), pick: prop::sample::Index) {
        let versions = play(kind, &history);
        prop_assume!(!versions.is_empty());
        let record = pick.get(&versions);
        let again = Record::of_writes(record.writes().collect(), record.seen().clone());
        prop_assert_eq!(again.as_ref(), Some(record));
    }
}

/// *Revoked* on one side, *active* on the other, *active again* by somebody who saw the first: to choose at once would come
/// to another end in each order.
#[test]
fn three_writes_come_to_the_same_in_any_order() {
    assert_eq!(Kind::Tenant.rule(), Rule::GrantsLess);
    let write = |before: Option<&Record>, node: u32, units: u32| {
        let stamp = Clock::new(ReplicaId(node)).stamp(UnixNanos::new(u64::from(node) * 1_000_000));
        Record::after(before, Some(content_of(Kind::Tenant, units)), stamp)
    };
    let suspended = write(None, 1, 1);
    let active = write(None, 2, 0);
    let active_again = write(Some(&suspended), 3, 3);
    let join = |one: &Record, other: &Record| joined(Kind::Tenant, one.clone(), other);
    let first = join(&join(&suspended, &active), &active_again);
    let second = join(&suspended, &join(&active, &active_again));
    assert_eq!(first, second);
    let status_of = |record: &Record| record.content().unwrap().tenant().unwrap().status;
    assert_eq!(status_of(&join(&suspended, &active)), Status::Suspended);
    assert_eq!(
        status_of(&first),
        Status::Active,
        "who suspended it was seen"
    );
    // A third who has seen both says what it is from then on.
    let both = join(&suspended, &active);
    let closed = write(Some(&both), 4, 2);
    assert_eq!(join(&closed, &both), closed);
    assert_eq!(closed.writes().count(), 1);
}

#[test]
fn a_write_whose_clock_has_gone_back_stays_over_what_it_had_seen() {
    let mut ahead = Clock::new(ReplicaId(1));
    let mut behind = Clock::new(ReplicaId(2));
    let first = Record::after(
        None,
        Some(content(100)),
        ahead.stamp(UnixNanos::new(9_000_000_000)),
    );
    behind.on_seen(first.stamp());
    let second = Record::after(
        Some(&first),
        Some(content(1)),
        behind.stamp(UnixNanos::ZERO),
    );
    let joined = |one: &Record, other| joined(Kind::KeyLimit, one.clone(), other);
    assert_eq!(joined(&first, &second), second);
    assert_eq!(joined(&second, &first), second);
}

#[test]
fn writes_that_did_not_see_each_other_are_told_of() {
    let write = |node: u32, at: u64, units: u32| {
        let stamp = Clock::new(ReplicaId(node)).stamp(UnixNanos::new(at));
        Record::after(None, Some(content(units)), stamp)
    };
    let (mut older, newer) = (write(1, 1_000_000, 5), write(2, 2_000_000, 7));
    let join = older.join(Kind::KeyLimit, newer.clone());
    assert!(join.changed && join.conflict);
    assert_eq!(older.content(), newer.content());
    assert!(
        !older.join(Kind::KeyLimit, newer).conflict,
        "it has seen both now"
    );
}

#[test]
fn of_more_writers_than_a_record_remembers_the_newest_are_left_in_any_order() {
    let write = |node: u32| {
        let stamp = Clock::new(ReplicaId(node)).stamp(UnixNanos::new(u64::from(node) * 1_000_000));
        Record::after(None, Some(content(node)), stamp)
    };
    let all = |one: Record, other: u32| joined(Kind::KeyLimit, one, &write(other));
    let upwards = (2..=100).fold(write(1), all);
    let downwards = (1..=99).rev().fold(write(100), all);
    assert_eq!(upwards, downwards);
    assert_eq!(joined(Kind::KeyLimit, upwards.clone(), &upwards), upwards);
    assert_eq!(upwards.seen().iter().len(), 64);
    assert!(upwards.knows(write(36).stamp()) && !upwards.knows(write(35).stamp()));
}

#[test]
fn what_was_seen_longer_ago_than_tombstones_live_is_forgotten() {
    let at = |day: u64| Now {
        wall: UnixNanos::new((100 + day) * 24 * 60 * 60 * 1_000_000_000),
        ..Now::default()
    };
    let mut here = Catalogue::new(ReplicaId(1), KeyHasher::new([7; 16]));
    let other = Clock::new(ReplicaId(2)).stamp(at(0).wall);
    here.on_message(
        at(0),
        ReplicaId(2),
        Message::Piece {
            number: 1,
            urgency: Urgency::Change,
            records: vec![(key("u1"), Record::after(None, Some(content(1)), other))],
        },
    );
    let mut seen_on = |day: u64| {
        here.set(at(day), "default".into(), "u1".into(), content(2))
            .unwrap();
        let record = here.record(Kind::KeyLimit, "default", "u1").unwrap();
        record.seen().iter().collect::<Vec<_>>()
    };
    assert_eq!(seen_on(29), [other]);
    assert_eq!(seen_on(31), []);
}

/// Two who registered one address on two sides of a split: the earlier has it, whichever side is heard first.
#[test]
fn of_two_claims_on_an_address_the_earlier_stays() {
    let write = |node: u32, claimed_at: u64| {
        let claim = EmailClaim::new(UnixSecs::new(claimed_at), UserId::new([node as u8; 10]));
        let stamp = Clock::new(ReplicaId(node)).stamp(UnixNanos::new(1 << 60));
        Record::after(None, Some(Content::Email(claim)), stamp)
    };
    let (earlier, later) = (write(1, 100), write(2, 101));
    let holder = |record: &Record| record.content().unwrap().email().unwrap().holder();
    for (one, other) in [(&earlier, &later), (&later, &earlier)] {
        let both = joined(Kind::Email, one.clone(), other);
        assert_eq!(holder(&both), Some(UserId::new([1; 10])));
    }
}

/// Of two changes of a seat that did not see each other the one that grants less, and a removal before all.
#[test]
fn a_seat_grants_what_both_sides_of_a_split_grant() {
    let write = |node: u32, role: Option<Role>| {
        let seat = role.map(|role| Content::Seat(Seat::new(UnixSecs::new(1), role)));
        let stamp = Clock::new(ReplicaId(node)).stamp(UnixNanos::new(u64::from(node) << 50));
        Record::after(None, seat, stamp)
    };
    let role = |record: &Record| {
        record
            .content()
            .and_then(Content::seat)
            .and_then(|it| it.role)
    };
    let (lowered, raised) = (write(1, Some(Role::Viewer)), write(2, Some(Role::Owner)));
    let removed = write(1, None);
    let both = joined(Kind::Seat, raised.clone(), &lowered);
    assert_eq!(role(&both), Some(Role::Viewer));
    assert_eq!(role(&joined(Kind::Seat, raised, &removed)), None);
}
