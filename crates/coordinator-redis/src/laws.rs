//! Hit for hit the same as `quota`: generated histories, played on a real Redis and on a pure count.

#[path = "../tests/redis/server.rs"]
pub(crate) mod server;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quota::{
    Algorithm, Anchor, Calendar, CalendarUnit, Cost, Count, Decision, FixedWindow, Limit, Nanos,
    Stamp, Tat, UnixNanos, Verdict,
};

use crate::config::{RedisConfig, Servers};
use crate::counting::{Clock, Operation, Subject, decide};
use crate::failure::Reason;
use crate::link::Link;
use crate::scripts::Scripts;
use crate::state::instant;
use server::Server;

/// Where histories begin, in microseconds: a day, and some, so that windows are met in the middle.
const START: u64 = 1_800_000_000_123_457;

/// No clock goes back beyond it.
const EARLIEST: u64 = START / 2;

/// States must outlast the test, in which an hour can pass in a moment or a moment can take long.
const GRACE_MS: u32 = 3_600_000;

#[derive(Clone, Debug)]
enum Event {
    Hit(u32),
    Refund(u32),
    Reset,
    /// Microseconds.
    Wait(u64),
    /// To the next window of this many microseconds.
    WaitForWindow(u64),
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

/// Of zones whose clocks change by an hour, by half of one, or never.
const CALENDARS: [(CalendarUnit, &str); 6] = [
    (CalendarUnit::Day, "Europe/Vienna"),
    (CalendarUnit::Day, "UTC"),
    (CalendarUnit::Day, "Australia/Lord_Howe"),
    (CalendarUnit::Week, "America/New_York"),
    (CalendarUnit::Month, "Europe/Vienna"),
    (CalendarUnit::Year, "Asia/Kathmandu"),
];

fn calendar(unit: CalendarUnit, zone: &str) -> Anchor {
    let zone = zone.parse().unwrap();
    Anchor::Calendar(Calendar { unit, zone })
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
                Algorithm::FixedWindow => match CALENDARS.get(burst as usize % 12) {
                    Some(&(unit, zone)) => limit.with_anchor(calendar(unit, zone)),
                    None => limit.with_anchor(Anchor::FirstHit),
                },
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
        2 => costs.prop_map(|cost| Event::Refund(cost.max(1))),
        1 => Just(Event::Reset),
        8 => waits.prop_map(Event::Wait),
        2 => Just(Event::WaitForWindow(period)),
        1 => prop_oneof![0..=2 * interval, 0..=3 * period].prop_map(Event::Back),
        changes => limits().prop_map(Event::Change),
    ]
}

/// Logs of more entries than a script looks at first, and enough hits to fill them.
fn long_logs() -> impl Strategy<Value = (Limit, Vec<Event>)> {
    (50..300u32).prop_flat_map(|units| {
        let limit = Limit::new(Algorithm::SlidingLog, units, Nanos::from_secs(1)).unwrap();
        let events = prop_oneof![
            20 => (1..4u32).prop_map(Event::Hit),
            20 => (0..20_000u64).prop_map(Event::Wait),
            2 => (0..=units).prop_map(Event::Hit),
            2 => (1..units).prop_map(Event::Refund),
            1 => (0..1_000_000u64).prop_map(Event::Wait),
        ];
        (Just(limit), prop::collection::vec(events, 500..900))
    })
}

fn histories(changes: u32) -> impl Strategy<Value = (Limit, Vec<Event>)> {
    limits().prop_flat_map(move |limit| {
        let events = prop::collection::vec(events(limit, changes), 1..60);
        (Just(limit), events)
    })
}

/// Plays `cases` histories, one after the other on a key that is forgotten in between.
fn check(cases: u32, histories: impl Strategy<Value = (Limit, Vec<Event>)>) {
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let link = runtime.block_on(connected(&server));
    let scripts = Scripts::new();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let played = runner.run(&histories, |(limit, events)| {
        runtime.block_on(async {
            link.delete(b"k").await.unwrap();
            play(&link, &scripts, limit, &events).await
        })
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}

async fn connected(server: &Server) -> Link {
    let config = RedisConfig::new(Servers::One(server.url()), [7; 16]).unwrap();
    let link = Link::new(&config).unwrap();
    link.connect().await.unwrap();
    link
}

async fn play(
    link: &Link,
    scripts: &Scripts,
    mut limit: Limit,
    events: &[Event],
) -> Result<(), TestCaseError> {
    let mut count: Option<Count> = None;
    let mut written_at = instant(START);
    let mut at = START;
    for (seq, event) in (1..).zip(events) {
        let stamp = Stamp { term: 1, seq };
        let now = instant(at);
        let before = count.clone();
        let (operation, expected) = match *event {
            Event::Wait(micros) => {
                at += micros;
                continue;
            }
            Event::WaitForWindow(period) => {
                at = match limit.anchor() {
                    Anchor::Calendar(calendar) => calendar.window(now).end.get() / 1_000,
                    _ => at + period - at % period,
                };
                continue;
            }
            Event::Back(micros) => {
                at = at.saturating_sub(micros).max(EARLIEST);
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
                count = count.map(|count| as_of(count, &limit, now, written_at));
                let cost = Cost::new(cost);
                let taken = limit.hit(now, &mut count, cost, stamp);
                (Operation::Hit(cost), taken.decision)
            }
            Event::Refund(cost) => {
                count = count.map(|count| as_of(count, &limit, now, written_at));
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
            believed: Some(START),
            grace_ms: GRACE_MS,
        };
        let (told, _) = decide(link, scripts, subject, clock).await.unwrap();
        prop_assert_eq!(told, expected, "{:?} at {} under {:?}", event, at, limit);
        if count != before {
            written_at = now;
        }
    }
    Ok(())
}

/// `count`, which was written at `written_at`, as it is kept when it is from a time that has not come yet.
fn as_of(count: Count, limit: &Limit, now: UnixNanos, written_at: UnixNanos) -> Count {
    let drains_by = |tat: &Tat| tat.units() == limit.units() && tat.period() == limit.period();
    match &count {
        Count::Gcra(_) | Count::LeakyBucket(_) if written_at <= now => count,
        Count::Gcra(tat) | Count::LeakyBucket(tat) if drains_by(tat) && is_of(&count, limit) => {
            // As much as was owed when it was written, or a spent key owes.
            let most = u64::from(limit.burst()).max(count.used(limit, written_at));
            let excess = owed(tat, now).saturating_sub(u128::from(most));
            earlier(&count, tat, excess * u128::from(tat.period().get()))
        }
        Count::Gcra(tat) | Count::LeakyBucket(tat) => {
            let ahead = u128::from((written_at - now).get());
            earlier(&count, tat, ahead * u128::from(tat.units()))
        }
        Count::FixedWindow(window) if window.end() <= now + window.period() => count,
        Count::FixedWindow(window) if limit.algorithm() != Algorithm::FixedWindow => {
            // Whether its windows were anchored is not known any more.
            let end = now + window.period();
            let kept = FixedWindow::new(end, window.used(), window.period());
            Count::FixedWindow(kept.unwrap())
        }
        _ => count.no_later_than(limit, now, now, 1),
    }
}

fn is_of(count: &Count, limit: &Limit) -> bool {
    match count {
        Count::Gcra(_) => limit.algorithm() == Algorithm::Gcra,
        Count::LeakyBucket(_) => limit.algorithm() == Algorithm::LeakyBucket,
        _ => false,
    }
}

/// Units of `tat` that have not drained by `now`. [`Count::used`] ends at `u64::MAX`, and years of a fast rate do not.
fn owed(tat: &Tat, now: UnixNanos) -> u128 {
    let units = u128::from(tat.units());
    let drains_at = u128::from(tat.at().get()) * units + u128::from(tat.fraction());
    let parts = drains_at.saturating_sub(u128::from(now.get()) * units);
    parts.div_ceil(u128::from(tat.period().get()))
}

/// `tat`, which is that of `count`, by so many of its parts of a nanosecond earlier.
fn earlier(count: &Count, tat: &Tat, parts: u128) -> Count {
    let units = u128::from(tat.units());
    let all = u128::from(tat.at().get()) * units + u128::from(tat.fraction()) - parts;
    let at = UnixNanos::new((all / units) as u64);
    let tat = Tat::new(at, (all % units) as u32, tat.units(), tat.period()).unwrap();
    match count {
        Count::Gcra(_) => Count::Gcra(tat),
        _ => Count::LeakyBucket(tat),
    }
}

#[test]
fn scripts_decide_as_the_pure_limit_does() {
    check(1_000, histories(0));
}

/// Once such a window ended with the one in which all others of the new limit do, hours too early.
#[test]
fn a_day_of_a_calendar_lasts_as_long_under_a_limit_of_24_hours() {
    let day = Nanos::from_secs(24 * 60 * 60);
    let anchored = Limit::new(Algorithm::FixedWindow, 1, day).unwrap();
    let calendar = calendar(CalendarUnit::Day, "Australia/Lord_Howe");
    let of_calendar = Limit::new(Algorithm::FixedWindow, 4, day).unwrap();
    let of_calendar = of_calendar.with_anchor(calendar).unwrap();
    // Midnight there, and 13:00 UTC.
    let events = vec![
        Event::Wait(17_999_876_543),
        Event::Hit(1),
        Event::Change(anchored),
        Event::Hit(1),
    ];
    check(1, Just((of_calendar, events)));
}

#[test]
fn changed_limits_keep_what_the_pure_limit_keeps() {
    check(500, histories(2));
}

/// More units than 64 bits hold stand in a clock's step of 99 days back, at 2^31 units a millisecond.
#[tokio::test]
async fn a_clock_that_steps_back_by_more_units_than_64_bits_hold_owes_a_spent_key() {
    let server = Server::start();
    let link = connected(&server).await;
    let limit = Limit::new(Algorithm::Gcra, (1 << 31) - 10, Nanos::from_millis(1)).unwrap();
    let events = [Event::Hit(1), Event::Back(8_589_934_632_001), Event::Hit(1)];
    play(&link, &Scripts::new(), limit, &events).await.unwrap();
}

#[test]
fn long_logs_decide_as_the_pure_limit_does() {
    check(20, long_logs());
}

#[tokio::test]
async fn dropped_entries_of_a_log_take_no_more_room_than_those_that_count() {
    let server = Server::start();
    let (link, scripts) = (connected(&server).await, Scripts::new());
    let limit = Limit::new(Algorithm::SlidingLog, 10, Nanos::from_millis(10)).unwrap();
    let subject = Subject {
        key: b"k",
        limit: &limit,
        operation: Operation::Hit(Cost::ONE),
    };
    for millis in 0..300 {
        let clock = Clock {
            at: Some(START + millis * 1_000),
            believed: Some(START),
            grace_ms: GRACE_MS,
        };
        let (told, _) = decide(&link, &scripts, subject, clock).await.unwrap();
        assert!(told.is_allowed());
    }
    let length: usize = server.cli(&["STRLEN", "k"]).parse().unwrap();
    assert!(length <= 29 + 21 * 16, "{length} bytes");
}

/// A Redis whose clock was ahead by a day, and was set right: what was counted meanwhile denied for a day.
#[tokio::test]
async fn what_was_written_while_the_clock_was_ahead_waits_no_longer_than_a_spent_key() {
    let server = Server::start();
    let (link, scripts) = (connected(&server).await, Scripts::new());
    let day = Nanos::from_secs(86_400).get() / 1_000;
    let variants = [Anchor::Epoch, Anchor::FirstHit].map(|anchor| {
        let limit = Limit::new(Algorithm::FixedWindow, 5, Nanos::from_secs(60)).unwrap();
        limit.with_anchor(anchor).unwrap()
    });
    let limits = Algorithm::ALL.map(|it| Limit::new(it, 5, Nanos::from_secs(60)).unwrap());
    for (number, limit) in limits.iter().chain(&variants).enumerate() {
        let hit = async |key: &str, at: u64| {
            let subject = Subject {
                key: key.as_bytes(),
                limit,
                operation: Operation::Hit(Cost::ONE),
            };
            let clock = Clock {
                at: Some(at),
                believed: Some(START),
                grace_ms: GRACE_MS,
            };
            let (told, _) = decide(&link, &scripts, subject, clock).await.unwrap();
            told
        };
        let (ahead, spent) = (format!("ahead {number}"), format!("spent {number}"));
        for _ in 0..5 {
            assert!(hit(&ahead, START + day).await.is_allowed());
            assert!(hit(&spent, START).await.is_allowed());
        }
        let longest = wait(hit(&spent, START).await);
        let told = wait(hit(&ahead, START).await);
        assert!(told <= longest, "{limit:?}: {told:?}");
        // And it drains: the denial above was not the first of many.
        let later = START + longest.get().div_ceil(1_000);
        assert!(hit(&ahead, later).await.is_allowed(), "{limit:?}");
        let left: u64 = server.cli(&["PTTL", &ahead]).parse().unwrap();
        assert!(
            left < 2 * 60_000 + u64::from(GRACE_MS),
            "{limit:?}: {left} ms"
        );
    }
}

fn wait(told: Decision) -> Nanos {
    match told.verdict {
        Verdict::Deny { retry_after } => retry_after,
        other => panic!("{other:?}"),
    }
}

/// Once a script stumbled over these, and five of them opened the breaker for everybody.
#[tokio::test]
async fn a_value_of_somebody_else_is_the_trouble_of_its_counter_alone() {
    let server = Server::start();
    let (link, scripts) = (connected(&server).await, Scripts::new());
    for algorithm in Algorithm::ALL {
        let limit = Limit::new(algorithm, 5, Nanos::from_secs(60)).unwrap();
        let subject = Subject {
            key: b"k",
            limit: &limit,
            operation: Operation::Hit(Cost::ONE),
        };
        decide(&link, &scripts, subject, Clock::SERVER)
            .await
            .unwrap();
        let foreign: [&[&str]; 5] = [
            &["APPEND", "k", "x"],
            &[
                "SETRANGE",
                "k",
                "13",
                "\u{7}\u{7}\u{7}\u{7}\u{7}\u{7}\u{7}\u{7}",
            ],
            &["SET", "k", ""],
            &["SET", "k", "hello"],
            &["HSET", "k", "field", "value"],
        ];
        for command in foreign {
            if command[0] == "HSET" {
                server.cli(&["DEL", "k"]);
            }
            server.cli(command);
            let told = decide(&link, &scripts, subject, Clock::SERVER).await;
            if let Err(failure) = told {
                assert_eq!(
                    failure.reason,
                    Reason::Counter,
                    "{algorithm:?} {command:?}: {failure}"
                );
                assert!(failure.uncounted);
            }
        }
        link.delete(b"k").await.unwrap();
        let (told, _) = decide(&link, &scripts, subject, Clock::SERVER)
            .await
            .unwrap();
        assert!(told.is_allowed(), "a reset mends it");
        link.delete(b"k").await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_weighs_the_window_before_no_more_than_whole() {
    let server = Server::start();
    let (link, scripts) = (connected(&server).await, Scripts::new());
    let limit = Limit::new(Algorithm::SlidingCounter, 3, Nanos::from_secs(1)).unwrap();
    let events = [
        Event::Hit(1),
        Event::WaitForWindow(1_000_000),
        Event::Hit(1),
        Event::Back(1),
        Event::Hit(1),
        Event::Hit(1),
    ];
    play(&link, &scripts, limit, &events).await.unwrap();
}
