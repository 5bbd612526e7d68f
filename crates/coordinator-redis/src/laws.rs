//! Hit for hit the same as `quota`: generated histories, played on a real Redis and on a pure count.

#[path = "../tests/redis/server.rs"]
mod server;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quota::{Algorithm, Anchor, Cost, Count, Limit, Nanos, Stamp};

use crate::config::{RedisConfig, Servers};
use crate::counting::{Clock, Operation, Subject, decide};
use crate::link::Link;
use crate::scripts::Scripts;
use crate::state::instant;
use server::Server;

/// Where histories begin, in microseconds: a day, and some, so that windows are met in the middle.
const START: u64 = 1_800_000_000_123_457;

/// States must outlast the test, in which an hour can pass in a moment or a moment can take long.
const GRACE_MS: u32 = 3_600_000;

#[derive(Clone, Debug)]
enum Event {
    Hit(u32),
    Refund(u32),
    Reset,
    /// Microseconds.
    Wait(u64),
    /// The clock steps back by microseconds.
    Back(u64),
    Change(Limit),
}

fn periods() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => prop::sample::select(vec![1, 7, 1_000, 60_000, 86_400_000, 366 * 86_400_000]),
        1 => 1..10_000u64,
    ]
}

fn units() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 1..30u32, 1 => 1..10_000u32, 1 => (i32::MAX as u32 - 9)..=(i32::MAX as u32)]
}

fn limits() -> impl Strategy<Value = Limit> {
    let algorithms = prop::sample::select(Algorithm::ALL.to_vec());
    (algorithms, units(), periods(), units(), any::<bool>()).prop_map(
        |(algorithm, units, period, burst, variant)| {
            let units = match algorithm {
                Algorithm::SlidingLog => units.min(10_000),
                _ => units,
            };
            let limit = Limit::new(algorithm, units, Nanos::from_millis(period)).unwrap();
            let varied = match algorithm {
                Algorithm::FixedWindow => limit.with_anchor(Anchor::FirstHit),
                _ => limit.with_burst(burst),
            };
            if variant {
                varied.unwrap_or(limit)
            } else {
                limit
            }
        },
    )
}

/// Events of the size that matters to `limit`: costs up to its burst and waits up to its period.
fn events(limit: Limit, changes: u32) -> impl Strategy<Value = Event> {
    let period = limit.period().get() / 1_000;
    let interval = (period / u64::from(limit.units())).max(1);
    let costs =
        prop_oneof![4 => 1..4u32, 1 => Just(0), 1 => 0..=limit.burst(), 1 => Just(limit.burst())];
    let waits = prop_oneof![
        0..=3u64,
        0..=2 * interval,
        0..=period,
        period - 1..=2 * period + 1
    ];
    prop_oneof![
        12 => costs.clone().prop_map(Event::Hit),
        2 => costs.prop_map(Event::Refund),
        1 => Just(Event::Reset),
        8 => waits.prop_map(Event::Wait),
        1 => (0..=2 * interval).prop_map(Event::Back),
        changes => limits().prop_map(Event::Change),
    ]
}

fn histories(changes: u32) -> impl Strategy<Value = (Limit, Vec<Event>)> {
    limits().prop_flat_map(move |limit| {
        let events = prop::collection::vec(events(limit, changes), 1..60);
        (Just(limit), events)
    })
}

/// Plays `cases` histories, each on a key of its own.
fn check(cases: u32, changes: u32) {
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = RedisConfig::new(Servers::One(server.url()), [7; 16]).unwrap();
    let link = Link::new(&config).unwrap();
    runtime.block_on(link.connect()).unwrap();
    let scripts = Scripts::new();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let played = runner.run(&histories(changes), |(limit, events)| {
        runtime.block_on(async {
            link.delete(b"k").await.unwrap();
            play(&link, &scripts, limit, &events).await
        })
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}

async fn play(
    link: &Link,
    scripts: &Scripts,
    mut limit: Limit,
    events: &[Event],
) -> Result<(), TestCaseError> {
    let mut count: Option<Count> = None;
    let mut at = START;
    for (seq, event) in (1..).zip(events) {
        let stamp = Stamp { term: 1, seq };
        let now = instant(at);
        let (operation, expected) = match *event {
            Event::Wait(micros) => {
                at += micros;
                continue;
            }
            Event::Back(micros) => {
                at -= micros;
                continue;
            }
            Event::Change(changed) => {
                limit = changed;
                continue;
            }
            Event::Reset => {
                // The library leaves a count that has just drained, which a clock that steps back finds again.
                count = None;
                link.delete(b"k").await.unwrap();
                continue;
            }
            Event::Hit(cost) => {
                let cost = Cost::new(cost);
                let taken = limit.hit(now, &mut count, cost, stamp);
                (Operation::Hit(cost), taken.decision)
            }
            Event::Refund(cost) => {
                let cost = Cost::new(cost);
                let taken = limit.refund(now, &mut count, cost);
                (Operation::Refund(cost), taken.decision)
            }
        };
        let subject = Subject {
            key: b"k",
            limit: &limit,
            operation,
        };
        let clock = Clock {
            at: Some(at),
            grace_ms: GRACE_MS,
        };
        let told = decide(link, scripts, subject, clock).await.unwrap();
        prop_assert_eq!(told, expected, "{:?} at {} under {:?}", event, at, limit);
    }
    Ok(())
}

#[test]
fn scripts_decide_as_the_pure_limit_does() {
    check(1_000, 0);
}

#[test]
fn changed_limits_keep_what_the_pure_limit_keeps() {
    check(500, 2);
}
