use bytes::Bytes;
use proptest::prelude::*;
use quota::{
    Algorithm, Anchor, Calendar, CalendarUnit, Cost, Count, Decision, KeyHash, Limit, Nanos, Stamp,
    UnixNanos, Verdict,
};

use super::*;

const START: u64 = 1_800_000_000_000_000_000;

fn at(millis: u64) -> UnixNanos {
    UnixNanos::new(START) + Nanos::from_millis(millis)
}

fn parts(frozen: &Frozen) -> Vec<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(frozen.parts())
}

fn ask(sequence: u64, key: u128, limit: Limit, operation: Operation) -> Ask {
    Ask {
        sequence,
        key: KeyHash::new(key),
        limit,
        operation,
    }
}

fn entry(millis: u64, settled: u64, asks: &[Ask]) -> Command {
    Command::Decide {
        now: at(millis),
        parcels: vec![Parcel {
            origin: 7,
            settled,
            asks: asks.to_vec(),
        }],
    }
}

fn apply(machine: &mut Machine, command: &Command) -> Vec<Outcome> {
    machine.apply(command).unwrap()
}

fn left(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Decided(Decision { remaining, .. }) => remaining,
        Outcome::TooLate => panic!("too late"),
    }
}

fn ten_a_second() -> Limit {
    Limit::new(Algorithm::Gcra, 10, Nanos::from_secs(1)).unwrap()
}

const ONE: Operation = Operation::Hit(Cost::ONE);

#[test]
fn the_same_id_counts_once_and_gets_the_same_decision_until_it_is_settled() {
    let mut machine = Machine::default();
    let hit = ask(5, 1, ten_a_second(), ONE);
    let first = apply(&mut machine, &entry(0, 1, &[hit]));
    let other = ask(6, 1, ten_a_second(), ONE);
    assert_eq!(left(apply(&mut machine, &entry(0, 1, &[other]))[0]), 8);
    assert_eq!(apply(&mut machine, &entry(50, 1, &[hit])), first);
    assert_eq!(machine.remembered(), 2);
    // Another node's hit of the same number is another hit.
    let Command::Decide { now, mut parcels } = entry(0, 1, &[hit]) else {
        unreachable!()
    };
    parcels[0].origin = 8;
    let theirs = apply(&mut machine, &Command::Decide { now, parcels });
    assert_eq!(left(theirs[0]), 7);
    // All below 6 is settled: 5 comes too late, 6 is still remembered.
    let outcomes = apply(&mut machine, &entry(60, 6, &[hit, other]));
    assert_eq!(outcomes[0], Outcome::TooLate);
    assert_eq!(left(outcomes[1]), 8);
    assert_eq!(machine.remembered(), 2);
}

/// Seed 119 of the simulator: a hit was asked again of a new leader, its denial arrived, a refund made room, and the second
/// asking was admitted: counted, although its client had been told that it was denied.
#[test]
fn what_was_denied_is_not_admitted_when_it_is_asked_again() {
    let mut machine = Machine::default();
    let spend = ask(1, 1, ten_a_second(), Operation::Hit(Cost::new(10)));
    let denied = ask(2, 1, ten_a_second(), ONE);
    let told = apply(&mut machine, &entry(0, 1, &[spend, denied]));
    let refund = ask(3, 1, ten_a_second(), Operation::Refund(Cost::new(5)));
    assert_eq!(left(apply(&mut machine, &entry(0, 1, &[refund]))[0]), 5);
    assert_eq!(apply(&mut machine, &entry(0, 1, &[denied])), told[1..]);
    // As with a reset of a key that was full: asked again, it takes away nothing that was counted since.
    let reset = ask(4, 2, ten_a_second(), Operation::Reset);
    apply(
        &mut machine,
        &entry(0, 1, &[reset, ask(5, 2, ten_a_second(), ONE)]),
    );
    apply(&mut machine, &entry(0, 1, &[reset]));
    let peek = ask(6, 2, ten_a_second(), Operation::Hit(Cost::new(0)));
    assert_eq!(left(apply(&mut machine, &entry(0, 1, &[peek]))[0]), 9);
}

#[test]
fn a_node_that_says_nothing_for_a_minute_is_forgotten() {
    let mut machine = Machine::default();
    apply(
        &mut machine,
        &entry(0, 1, &[ask(1, 1, ten_a_second(), ONE)]),
    );
    let later = |millis| Command::Decide {
        now: at(millis),
        parcels: Vec::new(),
    };
    apply(&mut machine, &later(59_999));
    assert_eq!(machine.remembered(), 1);
    apply(&mut machine, &later(60_000));
    assert_eq!(machine.remembered(), 0);
}

#[test]
fn time_does_not_go_back() {
    let mut machine = Machine::default();
    let spend = ask(1, 1, ten_a_second(), Operation::Hit(Cost::new(10)));
    apply(&mut machine, &entry(1_000, 1, &[spend]));
    // A new leader, half a second behind: nothing has come back, and the wait is told from the log's time.
    let told = apply(
        &mut machine,
        &entry(500, 1, &[ask(2, 1, ten_a_second(), ONE)]),
    );
    let Outcome::Decided(decision) = told[0] else {
        panic!()
    };
    let retry_after = Nanos::from_millis(100);
    assert_eq!(decision.verdict, Verdict::Deny { retry_after });
}

#[test]
fn keys_that_are_full_again_go_with_the_entries_that_follow() {
    let mut machine = Machine::default();
    let asks: Vec<_> = (0..1_000)
        .map(|key| ask(key + 1, u128::from(key), ten_a_second(), ONE))
        .collect();
    apply(&mut machine, &entry(0, 1, &asks));
    assert_eq!(machine.keys(), 1_000);
    assert!(!machine.is_due(at(0)) && machine.is_due(at(2_000)));
    // One is hit again, and so is not full when the others are.
    let again = ask(2_000, 3, ten_a_second(), Operation::Hit(Cost::new(10)));
    apply(&mut machine, &entry(999, 1, &[again]));
    for round in 0..5 {
        apply(
            &mut machine,
            &entry(1_000, 1, &[ask(3_000 + round, 3, ten_a_second(), ONE)]),
        );
    }
    assert_eq!(machine.keys(), 1);
    let parcels = Vec::new();
    let now = at(4_000);
    apply(&mut machine, &Command::Decide { now, parcels });
    assert_eq!(machine.keys(), 0);
}

#[test]
fn a_snapshot_does_not_see_what_comes_after_it() {
    let mut machine = Machine::default();
    apply(
        &mut machine,
        &entry(0, 1, &[ask(1, 1, ten_a_second(), ONE)]),
    );
    let frozen = machine.freeze();
    apply(
        &mut machine,
        &entry(0, 1, &[ask(2, 1, ten_a_second(), ONE)]),
    );
    let mut restored = Machine::restored(&parts(&frozen)).unwrap();
    let peek = ask(3, 1, ten_a_second(), Operation::Hit(Cost::PEEK));
    assert_eq!(left(apply(&mut restored, &entry(0, 1, &[peek]))[0]), 9);
    assert_eq!(left(apply(&mut machine, &entry(0, 1, &[peek]))[0]), 8);
}

#[test]
fn parts_stay_below_what_a_call_may_carry_also_with_the_longest_logs() {
    let mut machine = Machine::default();
    let limit = Limit::new(Algorithm::SlidingLog, 10_000, Nanos::from_secs(86_400)).unwrap();
    let mut sequence = 0;
    for key in 0..6 {
        for _ in 0..10 {
            let asks: Vec<_> = (0..1_000)
                .map(|_| {
                    sequence += 1;
                    ask(sequence, key, limit, ONE)
                })
                .collect();
            apply(&mut machine, &entry(sequence, 1, &asks));
        }
    }
    let parts = parts(&machine.freeze());
    let sizes: Vec<_> = parts.iter().map(Bytes::len).collect();
    assert!(
        2 < sizes.len() && sizes.iter().all(|&bytes| bytes < 1_000_000),
        "{sizes:?}"
    );
}

fn limits() -> impl Strategy<Value = Limit> {
    (
        prop::sample::select(Algorithm::ALL.to_vec()),
        1..20_u32,
        1..3_000_u64,
    )
        .prop_map(|(algorithm, units, millis)| {
            let limit = Limit::new(algorithm, units, Nanos::from_millis(millis)).unwrap();
            match (algorithm, units % 4) {
                (Algorithm::FixedWindow, 1) => limit.with_anchor(Anchor::FirstHit).unwrap(),
                (Algorithm::FixedWindow, 2) => day_in_vienna(units),
                (Algorithm::FixedWindow, 3) => day_in_vienna(units).at(at(millis)),
                _ => limit,
            }
        })
}

fn day_in_vienna(units: u32) -> Limit {
    let calendar = Calendar {
        unit: CalendarUnit::Day,
        zone: "Europe/Vienna".parse().unwrap(),
    };
    Limit::of_calendar(units, calendar).unwrap()
}

/// Nodes whose time zone databases differ compute the same from it.
#[test]
fn the_log_holds_windows_and_no_calendars() {
    let limit = day_in_vienna(1);
    let hit = |sequence, now: UnixNanos| {
        let parcel = Parcel {
            origin: 7,
            settled: 1,
            asks: vec![ask(sequence, 1, limit, ONE)],
        };
        let written = Command::decide(now, vec![parcel]).encode();
        assert!(!written.windows(6).any(|bytes| bytes == b"Vienna"));
        Command::decode(&written).unwrap()
    };
    let midnight = limit.anchor().calendar().unwrap().window(at(0)).end;
    let mut machine = Machine::default();
    let mut decided = |sequence, now| match apply(&mut machine, &hit(sequence, now))[..] {
        [Outcome::Decided(decision)] => decision,
        ref other => panic!("{other:?}"),
    };
    let first = decided(2, at(0));
    assert_eq!(at(0) + first.reset_after, midnight);
    let nano = Nanos::new(1);
    let denied = decided(3, midnight - nano);
    assert_eq!(denied.verdict, Verdict::Deny { retry_after: nano });
    let tomorrow = decided(4, midnight);
    assert!(tomorrow.is_allowed());
    let next = limit.anchor().calendar().unwrap().window(midnight).end;
    assert_eq!(midnight + tomorrow.reset_after, next);
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..4_u32).prop_map(|units| Operation::Hit(Cost::new(units))),
        1 => (0..4_u32).prop_map(|units| Operation::Refund(Cost::new(units))),
        1 => Just(Operation::Reset),
    ]
}

/// Entries as a leader might propose them, of two nodes that ask again now and then.
fn histories() -> impl Strategy<Value = Vec<Command>> {
    let key = (0..4_usize, operations(), 0..10_u8);
    let parcel = (7..9_u32, prop::collection::vec(key, 0..6));
    let entry = (0..500_u64, prop::collection::vec(parcel, 0..3));
    let limits = prop::collection::vec(limits(), 4);
    (limits, prop::collection::vec(entry, 1..20)).prop_map(|(limits, entries)| {
        let (mut millis, mut sequence) = (0, 0);
        entries
            .into_iter()
            .map(|(later, parcels)| {
                // Leaders' clocks differ: time may step back.
                millis = (millis + later).saturating_sub(100);
                let parcels = parcels.into_iter().map(|(origin, asks)| Parcel {
                    origin,
                    settled: (sequence + 1_u64).saturating_sub(20),
                    asks: asks
                        .into_iter()
                        .map(|(key, operation, again)| {
                            let back = if again == 0 { 3 } else { 0 };
                            sequence += 1;
                            let limit = limits[key];
                            ask(
                                (sequence + 20).saturating_sub(back),
                                key as u128,
                                limit,
                                operation,
                            )
                        })
                        .collect(),
                });
                Command::Decide {
                    now: at(millis),
                    parcels: parcels.collect(),
                }
            })
            .collect()
    })
}

proptest! {
    /// What travels and what is kept comes back as it was.
    #[test]
    fn entries_are_read_as_they_were_written(history in histories()) {
        for command in history {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
            let Command::Decide { parcels, .. } = command else { continue };
            for parcel in parcels {
                prop_assert_eq!(Parcel::decode(&parcel.encode()), Ok(parcel));
            }
        }
    }

    /// A node that starts from a snapshot decides as those do that saw everything.
    #[test]
    fn a_snapshot_is_as_good_as_the_entries_before_it(history in histories(), cut in 0..20_usize) {
        let cut = cut.min(history.len());
        let mut whole = Machine::default();
        for command in &history[..cut] {
            apply(&mut whole, command);
        }
        let mut restored = Machine::restored(&parts(&whole.freeze())).unwrap();
        for command in &history[cut..] {
            let outcomes = apply(&mut whole, command);
            let encoded = crate::ask::encode_outcomes(&outcomes);
            prop_assert_eq!(crate::ask::decode_outcomes(&encoded), Ok(outcomes.clone()));
            prop_assert_eq!(apply(&mut restored, command), outcomes);
            prop_assert_eq!(restored.keys(), whole.keys());
            prop_assert_eq!(restored.remembered(), whole.remembered());
        }
    }

    /// Sweeping changes no decision: each key is decided as by its algorithm alone.
    #[test]
    fn keys_are_decided_as_by_their_algorithm(history in histories()) {
        let mut machine = Machine::default();
        let mut counts = std::collections::HashMap::<KeyHash, Option<Count>>::new();
        let mut now = UnixNanos::ZERO;
        let mut sequence = 0;
        for command in history {
            let Command::Decide { now: proposed, parcels } = command else { continue };
            now = now.max(proposed);
            for ask in parcels.into_iter().flat_map(|parcel| parcel.asks) {
                sequence += 1;
                let ask = Ask { sequence, ..ask };
                let count = counts.entry(ask.key).or_default();
                let stamp = Stamp { term: 7, seq: sequence };
                let expected = match ask.operation {
                    Operation::Hit(cost) => ask.limit.hit(now, count, cost, stamp),
                    Operation::Refund(cost) => ask.limit.refund(now, count, cost),
                    Operation::Reset => ask.limit.reset(now, count),
                };
                let parcels = vec![Parcel { origin: 7, settled: sequence, asks: vec![ask] }];
                let told = apply(&mut machine, &Command::Decide { now, parcels });
                prop_assert_eq!(told, [Outcome::Decided(expected.decision)]);
            }
        }
    }

    /// Bytes of strangers are refused and do no harm.
    #[test]
    fn any_bytes_are_an_entry_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        if let Ok(command) = Command::decode(&bytes) {
            let _outcomes = Machine::default().apply(&command);
        }
        let _parcel = Parcel::decode(&bytes);
        let _outcomes = crate::ask::decode_outcomes(&bytes);
        let _machine = Machine::restored(&[bytes]);
    }
}
