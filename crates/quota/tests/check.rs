//! Limits told as stories: when, what happens, what is answered.

use quota::{
    Algorithm, Anchor, Calendar, CalendarUnit, Cost, Count, FixedWindow, Limit, Nanos, Stamp,
    Taken, UnixNanos, Verdict, Zone,
};

/// Plays `story` on one key of a limit.
///
/// A limit is an algorithm, units/period, and maybe `burst N` or `first_hit`. A line of a story is an instant since
/// midnight, what happens (`hit N`, `peek`, `refund N`, `reset`, or `limit` and another limit to go on with), and,
/// after a colon, what must be so of the answer, comma separated.
fn check(limit: &str, story: &str) {
    let mut limit = parsed_limit(limit);
    let mut count = None;
    for (seq, line) in story.lines().map(str::trim).enumerate() {
        let (event, expected) = line.split_once(':').unwrap_or((line, ""));
        let mut words = event.split_whitespace();
        let (Some(at), Some(what)) = (words.next(), words.next()) else {
            continue;
        };
        let now = MIDNIGHT + span(at);
        let rest: Vec<_> = words.collect();
        let cost = || Cost::new(rest[0].parse().expect("a cost"));
        let stamp = Stamp {
            term: 1,
            seq: seq as u64,
        };
        let taken = match what {
            "hit" => limit.hit(now, &mut count, cost(), stamp),
            "peek" => limit.hit(now, &mut count, Cost::PEEK, stamp),
            "refund" => limit.refund(now, &mut count, cost()),
            "reset" => limit.reset(now, &mut count),
            "limit" => {
                limit = parsed_limit(&rest.join(" "));
                limit.hit(now, &mut count, Cost::PEEK, stamp)
            }
            other => panic!("{other:?} in {line:?}"),
        };
        for clause in expected.split(',').map(str::trim).filter(|c| !c.is_empty()) {
            holds(clause, &taken, now, count.as_ref()).unwrap_or_else(|actual| {
                panic!("{line}\n  {clause:?}: {actual}\n  {taken:?}\n  {count:?}")
            });
        }
    }
}

const MIDNIGHT: UnixNanos = UnixNanos::new(20_833 * 86_400 * 1_000_000_000);

fn holds(clause: &str, taken: &Taken, now: UnixNanos, count: Option<&Count>) -> Result<(), String> {
    let decision = &taken.decision;
    let told = match clause.split_whitespace().collect::<Vec<_>>()[..] {
        ["allow" | "deny" | "never", ..] => match decision.verdict {
            Verdict::Allow => "allow".into(),
            Verdict::Deny { .. } => "deny".into(),
            Verdict::NeverConforms => "never conforms".into(),
        },
        [_, "left"] => format!("{} left", decision.remaining),
        ["added", _] => format!("added {}", taken.added),
        ["retry", "after", wait] => match decision.verdict {
            Verdict::Deny { retry_after } if retry_after == span(wait) => clause.into(),
            other => format!("{other:?}"),
        },
        ["grows", "after", wait] if decision.grows_after == span(wait) => clause.into(),
        ["grows", ..] => format!("grows after {}", decision.grows_after),
        ["full", "after", wait] if decision.reset_after == span(wait) => clause.into(),
        ["full", ..] => format!("full after {}", decision.reset_after),
        ["expires", "after", wait] => match count.map(|count| count.expires_at() - now) {
            Some(left) if left == span(wait) => clause.into(),
            other => format!("expires after {other:?}"),
        },
        _ => panic!("{clause:?} is nothing to check"),
    };
    if told == clause { Ok(()) } else { Err(told) }
}

fn parsed_limit(text: &str) -> Limit {
    let words: Vec<_> = text.split_whitespace().collect();
    let (units, period) = words[1].split_once('/').expect("units/period");
    let algorithm = words[0].parse().expect("an algorithm");
    let limit = Limit::new(algorithm, units.parse().expect("units"), span(period)).expect(text);
    match words[2..] {
        [] => limit,
        ["burst", burst] => limit.with_burst(burst.parse().unwrap()).expect(text),
        ["first_hit"] => limit.with_anchor(Anchor::FirstHit).expect(text),
        _ => panic!("{text:?} is no limit"),
    }
}

/// A number and a unit; the number is 1 if it is left out.
fn span(text: &str) -> Nanos {
    let digits = text.find(|c: char| !c.is_ascii_digit()).expect("a unit");
    let number: u64 = if digits == 0 {
        1
    } else {
        text[..digits].parse().unwrap()
    };
    let unit = match &text[digits..] {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        other => panic!("{other:?} is no unit of time"),
    };
    Nanos::new(number * unit)
}

#[test]
fn a_spent_burst_comes_back_one_emission_interval_at_a_time() {
    for algorithm in ["gcra", "token_bucket", "leaky_bucket"] {
        check(
            &format!("{algorithm} 10/s burst 2"),
            "
              0ms  peek   : allow, 2 left, added 0, grows after 0s, full after 0s
              0ms  hit 1  : allow, 1 left, added 1, grows after 100ms, full after 100ms
              0ms  hit 1  : allow, 0 left, added 1, grows after 100ms, full after 200ms
              0ms  hit 1  : deny, retry after 100ms, 0 left, added 0
             40ms  hit 1  : deny, retry after 60ms, 0 left, grows after 60ms, full after 160ms
             99ms  peek   : deny, retry after 1ms
            100ms  hit 1  : allow, 0 left, expires after 200ms
            300ms  peek   : allow, 2 left
            ",
        );
    }
}

#[test]
fn a_cost_above_the_burst_never_conforms() {
    check(
        "gcra 10/s burst 2",
        "
        0ms  hit 3 : never conforms, 2 left, added 0
        0ms  hit 2 : allow, 0 left
        0ms  hit 3 : never conforms, 0 left
        ",
    );
    for limit in ["fixed_window 5/s", "sliding_counter 5/s", "sliding_log 5/s"] {
        check(limit, "0ms hit 6 : never conforms, 5 left, added 0");
    }
}

#[test]
fn units_that_do_not_divide_the_period_are_granted_to_the_nanosecond() {
    check(
        "gcra 7/s",
        "
              0ns  hit 7 : allow, 0 left, full after 1s, grows after 142857143ns
      142857142ns  hit 1 : deny, retry after 1ns
      142857143ns  hit 1 : allow, 0 left
             1s    peek  : 6 left
     1142857142ns  peek  : 6 left, full after 1ns
     1142857143ns  peek  : 7 left
        ",
    );
    // The interval is under half a nanosecond here.
    check(
        "gcra 2147483647/s",
        "
        0s  hit 2147483647 : allow, 0 left, full after 1s
      500ms peek           : 1073741823 left
        1s  peek           : 2147483647 left
        ",
    );
}

#[test]
fn an_epoch_window_ends_for_everyone_at_once() {
    check(
        "fixed_window 5/m",
        "
         50s  hit 3 : allow, 2 left, grows after 10s, full after 10s
         59s  hit 3 : deny, retry after 1s, 2 left
         59s  hit 2 : allow, 0 left
         60s  hit 5 : allow, 0 left, full after 60s
        ",
    );
}

#[test]
fn a_first_hit_window_begins_with_the_hit() {
    check(
        "fixed_window 5/m first_hit",
        "
         50s  hit 5 : allow, 0 left, full after 1m
        109s  hit 1 : deny, retry after 1s
        110s  peek  : allow, 5 left, full after 0s
        130s  hit 1 : allow, 4 left, full after 1m
        ",
    );
}

#[test]
fn a_sliding_counter_weighs_the_window_before() {
    check(
        "sliding_counter 10/m",
        "
         30s  hit 10 : allow, 0 left, grows after 36s, full after 90s
         30s  hit 1  : deny, retry after 36s
         60s  hit 1  : deny, retry after 6s
         66s  hit 1  : allow, 0 left, grows after 6s
         90s  peek   : allow, 4 left
         90s  hit 4  : allow, 0 left
        120s  peek   : 5 left
        180s  peek   : 10 left
        ",
    );
}

#[test]
fn a_sliding_counter_gives_back_whole_units_of_the_window_before() {
    check(
        "sliding_counter 10/m",
        "
         30s  hit 10   : allow, 0 left
         90s  peek     : 5 left
         90s  refund 4 : 7 left, added -4
         90s  reset    : 10 left, added -6
        ",
    );
}

#[test]
fn a_sliding_log_forgets_each_hit_after_one_period() {
    check(
        "sliding_log 3/m",
        "
          0s  hit 1 : allow, 2 left, grows after 1m, full after 1m
         20s  hit 2 : allow, 0 left, grows after 40s, full after 1m
         20s  hit 2 : deny, retry after 1m
         59s  hit 1 : deny, retry after 1s
         60s  hit 1 : allow, 0 left, grows after 20s
         80s  peek  : 2 left, expires after 40s
        120s  peek  : 3 left
        ",
    );
}

#[test]
fn a_refund_stops_at_the_full_key() {
    for limit in [
        "gcra 5/m",
        "leaky_bucket 5/m",
        "fixed_window 5/m",
        "sliding_counter 5/m",
        "sliding_log 5/m",
    ] {
        check(
            limit,
            "
              0s  refund 1 : 5 left, added 0
              0s  hit 4    : 1 left
              0s  refund 3 : 4 left, added -3
              0s  refund 3 : 5 left, added -1, full after 0s
              0s  hit 5    : allow, 0 left
              0s  reset    : 5 left, added -5, full after 0s
              0s  hit 5    : allow, 0 left
            ",
        );
    }
}

#[test]
fn a_reset_is_remembered_while_what_it_overrode_could_come_back() {
    check(
        "gcra 10/m",
        "
          0s  hit 10 : 0 left, expires after 1m
         12s  reset  : 10 left, added -8, expires after 48s
         13s  reset  : 10 left, added 0, expires after 47s
        ",
    );
}

#[test]
fn a_changed_limit_keeps_the_units() {
    for algorithm in [
        "gcra",
        "leaky_bucket",
        "fixed_window",
        "sliding_counter",
        "sliding_log",
    ] {
        check(
            &format!("{algorithm} 10/m"),
            &format!(
                "
                0s  hit 5                     : 5 left
                0s  limit {algorithm} 1000/m  : allow, 995 left
                0s  hit 1                     : allow, 994 left
                0s  limit {algorithm} 6/m     : deny, 0 left
                0s  limit {algorithm} 3/m     : deny, 0 left
                0s  refund 4                  : allow, 1 left
                "
            ),
        );
    }
}

#[test]
fn what_was_counted_drains_as_it_was_until_the_next_admitted_hit() {
    check(
        "gcra 10/m",
        "
        0s  hit 5              : 5 left, full after 30s
        0s  limit gcra 1000/m  : 995 left, grows after 6s, full after 30s
        6s  hit 1              : 995 left, grows after 60ms, full after 300ms
        ",
    );
    check(
        "fixed_window 10/m",
        "
        0s  hit 5                  : 5 left
        1s  limit fixed_window 6/h : 1 left, full after 59s
        2s  hit 1                  : allow, 0 left, full after 3598s
        ",
    );
}

#[test]
fn a_sliding_log_sees_at_once_what_a_shorter_period_holds() {
    check(
        "sliding_log 10/h",
        "
         0m  hit 6                 : 4 left
         5m  hit 4                 : 0 left
         5m  limit sliding_log 9/m : 5 left, full after 1m
         6m  peek                  : 9 left
         6m  limit sliding_log 9/h : 0 left, retry after 54m
        ",
    );
}

#[test]
fn a_sliding_log_keeps_for_a_longer_period_what_it_holds_at_the_next_hit() {
    check(
        "sliding_log 10/m",
        "
          0s  hit 1                  : 9 left
         30s  hit 4                  : 5 left
         60s  limit sliding_log 10/h : 6 left, full after 30s
         60s  hit 1                  : 5 left, grows after 3570s, full after 1h
        ",
    );
}

#[test]
fn a_changed_algorithm_starts_from_the_units_used() {
    check(
        "gcra 10/m",
        "
          0s  hit 4                      : 6 left
          6s  limit sliding_log 10/m     : 7 left
          6s  hit 1                      : 6 left, full after 1m
          6s  limit fixed_window 10/m    : 6 left, full after 1m
          6s  hit 1                      : 5 left, full after 54s
          6s  limit sliding_counter 10/m : 5 left
          6s  hit 1                      : 4 left, grows after 64s
          6s  limit leaky_bucket 10/m    : 4 left
          6s  hit 1                      : 3 left, full after 42s
          6s  limit gcra 10/m burst 20   : 13 left, full after 42s
        ",
    );
}

#[test]
fn hits_at_an_earlier_time_meet_what_was_counted() {
    for limit in [
        "gcra 2/m",
        "fixed_window 2/m first_hit",
        "sliding_log 2/m",
        "leaky_bucket 2/m",
    ] {
        check(
            limit,
            "
            300s  hit 2 : allow, 0 left
            100s  hit 1 : deny, 0 left, added 0
              0s  hit 1 : deny, 0 left, added 0
            ",
        );
    }
    check(
        "fixed_window 2/m",
        "
         60s  hit 2 : allow, 0 left
         59s  hit 1 : deny, retry after 61s
        ",
    );
    check(
        "sliding_counter 2/m",
        "
         60s  hit 2 : allow, 0 left
         59s  hit 1 : deny, retry after 91s
        ",
    );
}

/// Names of algorithms are those of files and of the wire.
#[test]
fn an_algorithm_is_known_by_its_name() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
    }
    assert_eq!("token_bucket".parse(), Ok(Algorithm::Gcra));
    let error = "GCRA".parse::<Algorithm>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "algorithm is \"GCRA\", accepted: gcra, token_bucket, sliding_log, sliding_counter, fixed_window, leaky_bucket"
    );
}

#[test]
fn a_limit_that_cannot_be_says_what_could() {
    use Algorithm::{FixedWindow, Gcra, SlidingLog};
    let day = span("d");
    let error = |limit: Result<Limit, quota::LimitError>| limit.unwrap_err().to_string();
    let cases = [
        (
            Limit::new(Gcra, 0, day),
            "limit is 0, accepted: 1 to 2147483647",
        ),
        (
            Limit::new(Gcra, u32::MAX, day),
            "limit is 4294967295, accepted: 1 to 2147483647",
        ),
        (
            Limit::new(SlidingLog, 10_001, day),
            "limit is 10001, accepted: 1 to 10000",
        ),
        (
            Limit::new(Gcra, 1, Nanos::ZERO),
            "per is 0ns, accepted: 1ms to 366d, in whole milliseconds",
        ),
        (
            Limit::new(Gcra, 1, span("1500us")),
            "per is 1.5ms, accepted: 1ms to 366d, in whole milliseconds",
        ),
        (
            Limit::new(Gcra, 1, span("367d")),
            "per is 31708800s, accepted: 1ms to 366d, in whole milliseconds",
        ),
    ];
    for (limit, expected) in cases {
        assert_eq!(error(limit), expected);
    }
    let gcra = Limit::new(Gcra, 1, day).unwrap();
    let window = Limit::new(FixedWindow, 1, day).unwrap();
    assert_eq!(
        error(gcra.with_burst(0)),
        "burst is 0, accepted: 1 to 2147483647"
    );
    assert_eq!(
        error(gcra.with_burst(36_501)),
        "burst is 36501, accepted: 1 to 36500, so that it is back within 100 years"
    );
    let ten = Limit::new(Gcra, 10, day).unwrap();
    assert_eq!(
        error(ten.with_burst(365_001)),
        "burst is 365001, accepted: 1 to 365000, so that it is back within 100 years"
    );
    assert_eq!(
        error(window.with_burst(2)),
        "burst is 2, accepted: none, fixed_window has no burst"
    );
    assert_eq!(
        error(gcra.with_anchor(Anchor::FirstHit)),
        "anchor is first_hit, accepted: none, gcra has no anchor"
    );
    assert_eq!(
        gcra.with_burst(36_500).map(|limit| limit.burst()),
        Ok(36_500)
    );
    assert!(Limit::new(Gcra, i32::MAX as u32, span("366d")).is_ok());
}

#[test]
fn a_window_lasts_whole_milliseconds_up_to_368_days() {
    let end = MIDNIGHT + span("368d");
    let lasts = |period: Nanos| {
        let window = FixedWindow::new(end, 7, period);
        let limit = Limit::ending(7, end, period);
        assert_eq!(window.is_some(), limit.is_some(), "{period}");
        if let (Some(window), Some(limit)) = (window, limit) {
            assert_eq!((window.period(), limit.period()), (period, period));
            assert_eq!((window.used(), limit.units()), (7, 7));
            assert_eq!((window.end(), limit.anchor()), (end, Anchor::Ending(end)));
        }
        window.is_some()
    };
    for period in ["1ms", "999ms", "366d", "367d", "368d"] {
        assert!(lasts(span(period)), "{period}");
    }
    for period in [
        Nanos::ZERO,
        span("999999ns"),
        span("1500us"),
        span("368d") + span("1ns"),
        span("368d") + span("1ms"),
    ] {
        assert!(!lasts(period), "{period}");
    }
    assert_eq!(Limit::ending(0, end, span("1h")), None);
}

#[test]
fn what_is_counted_under_an_hour_or_more_is_kept_unless_told_otherwise() {
    let window = |period| Limit::new(Algorithm::FixedWindow, 9, period).expect("within bounds");
    let day = Anchor::Calendar(Calendar {
        unit: CalendarUnit::Day,
        zone: Zone::utc(),
    });
    let end = MIDNIGHT + span("1h");
    let hour = span("1h");
    for (period, keeps) in [(hour - span("1ms"), false), (hour, true), (span("d"), true)] {
        let limit = window(period);
        assert_eq!((limit.keep(), limit.keeps_as_usual()), (keeps, true));
        let ending = Limit::ending(9, end, period).expect("within bounds");
        assert_eq!((ending.keep(), ending.keeps_as_usual()), (keeps, true));
        let told = limit.with_keep(!keeps);
        assert_eq!((told.keep(), told.keeps_as_usual()), (!keeps, false));
        // A day has a length of its own.
        let daily = limit.with_anchor(day).expect("windows have anchors");
        assert_eq!((daily.keep(), daily.keeps_as_usual()), (true, true));
        assert!(daily.at(MIDNIGHT).keep());
        let told = told.with_anchor(day).expect("windows have anchors");
        assert_eq!((told.keep(), told.at(MIDNIGHT).keep()), (!keeps, !keeps));
    }
}

#[test]
fn a_limit_that_cannot_have_an_anchor_says_which() {
    let gcra = Limit::new(Algorithm::Gcra, 1, span("d")).unwrap();
    for (anchor, given) in [
        (Anchor::Epoch, "epoch"),
        (Anchor::FirstHit, "first_hit"),
        (Anchor::Ending(UnixNanos::new(5)), "ending 5"),
    ] {
        let refused = gcra.with_anchor(anchor).unwrap_err();
        assert_eq!(
            (refused.field(), refused.given().as_str()),
            ("anchor", given)
        );
    }
}

/// A client that comes back when it was told to is not denied again.
#[test]
fn waits_are_told_no_shorter_than_they_are() {
    for (wait, millis, secs) in [
        ("0ns", 0, 0),
        ("1ns", 1, 1),
        ("1ms", 1, 1),
        ("1000001ns", 2, 1),
        ("2s", 2_000, 2),
        ("2001ms", 2_001, 3),
    ] {
        let wait = span(wait);
        assert_eq!((wait.ceil_millis(), wait.ceil_secs()), (millis, secs));
    }
}
