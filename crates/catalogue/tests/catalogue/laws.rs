//! Records join in any order, and of two writes in sequence the later stays.

use catalogue::{Catalogue, Clock, Kind, Message, Record, Urgency};
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

/// Plays a history; every version of the record that there ever was.
fn play(history: &[Act]) -> Vec<Record> {
    let mut clocks: Vec<Clock> = (0..NODES)
        .map(|node| Clock::new(ReplicaId(node as u32)))
        .collect();
    let mut replicas: Vec<Option<Record>> = vec![None; NODES];
    let mut versions = Vec::new();
    for act in history {
        match *act {
            Act::Write(node, units, at) => {
                let stamp = clocks[node].stamp(UnixNanos::new(at * APART));
                let written = Record::after(replicas[node].as_ref(), units.map(content), stamp);
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
                    Some(known) => joined(known, &heard),
                    None => heard,
                });
            }
        }
        versions.extend(replicas.iter().flatten().cloned());
    }
    versions
}

fn joined(mut one: Record, other: &Record) -> Record {
    one.join(other.clone());
    one
}

proptest! {
    #[test]
    fn joins_commute_associate_and_are_idempotent(history in histories(), picks in any::<[prop::sample::Index; 3]>()) {
        let versions = play(&history);
        prop_assume!(!versions.is_empty());
        let [a, b, c] = picks.map(|pick| pick.get(&versions).clone());
        prop_assert_eq!(joined(a.clone(), &a), a.clone());
        prop_assert_eq!(joined(a.clone(), &b), joined(b.clone(), &a));
        prop_assert_eq!(joined(joined(a.clone(), &b), &c), joined(a, &joined(b, &c)));
    }

    /// Whatever the wall clocks say: what a write had seen never comes back over it.
    #[test]
    fn of_two_in_sequence_the_later_stays(history in histories(), picks in any::<[prop::sample::Index; 2]>()) {
        let versions = play(&history);
        prop_assume!(!versions.is_empty());
        let [earlier, later] = picks.map(|pick| pick.get(&versions).clone());
        if later.knows(earlier.stamp()) {
            let both = joined(earlier, &later);
            prop_assert_eq!((both.content(), both.stamp()), (later.content(), later.stamp()));
        }
    }
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
    assert_eq!(joined(first.clone(), &second), second);
    assert_eq!(joined(second.clone(), &first), second);
}

#[test]
fn writes_that_did_not_see_each_other_are_told_of() {
    let write = |node: u32, at: u64, units: u32| {
        let stamp = Clock::new(ReplicaId(node)).stamp(UnixNanos::new(at));
        Record::after(None, Some(content(units)), stamp)
    };
    let (mut older, newer) = (write(1, 1_000_000, 5), write(2, 2_000_000, 7));
    let join = older.join(newer.clone());
    assert!(join.changed && join.conflict);
    assert_eq!(older.content(), newer.content());
    assert!(!older.join(newer).conflict, "it has seen both now");
}

#[test]
fn of_more_writers_than_a_record_remembers_the_newest_are_left_in_any_order() {
    let write = |node: u32| {
        let stamp = Clock::new(ReplicaId(node)).stamp(UnixNanos::new(u64::from(node) * 1_000_000));
        Record::after(None, Some(content(node)), stamp)
    };
    let all = |one: Record, other: u32| joined(one, &write(other));
    let upwards = (2..=100).fold(write(1), all);
    let downwards = (1..=99).rev().fold(write(100), all);
    assert_eq!(upwards, downwards);
    assert_eq!(joined(upwards.clone(), &upwards), upwards);
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
