//! What a count says of itself, and how it is shifted: what a fold of the sides of a fork is made of.

use std::cmp::Ordering;

use quota::{Algorithm, Anchor, Cost, Count, Limit, LogEntry, Nanos, Stamp, UnixNanos};

/// At which windows of a minute begin, since the epoch.
const T0: UnixNanos = UnixNanos::new(1_700_000_040_000_000_000);

const DRAINING: [Algorithm; 2] = [Algorithm::Gcra, Algorithm::LeakyBucket];

fn after(seconds: u64) -> UnixNanos {
    T0 + Nanos::from_secs(seconds)
}

fn limit(algorithm: Algorithm, units: u32, seconds: u64) -> Limit {
    Limit::new(algorithm, units, Nanos::from_secs(seconds)).expect("within bounds")
}

/// What is counted after `hits` hits of one unit at `at`.
fn counted(limit: &Limit, at: UnixNanos, hits: u64) -> Count {
    let mut count = None;
    for seq in 1..=hits {
        let taken = limit.hit(at, &mut count, Cost::ONE, Stamp { term: 1, seq });
        assert!(taken.decision.is_allowed(), "{limit:?}: hit {seq}");
    }
    count.expect("something is counted")
}

/// Of 60 a minute, 5 counted. A minute's limit that forgets them by another rate still gives away five at first.
#[test]
fn what_is_owed_goes_by_the_rate_it_was_counted_under() {
    for (algorithm, ten_seconds_on) in [
        (Algorithm::Gcra, 0),
        (Algorithm::LeakyBucket, 0),
        (Algorithm::FixedWindow, 5),
        (Algorithm::SlidingCounter, 5),
        (Algorithm::SlidingLog, 5),
    ] {
        let count = counted(&limit(algorithm, 60, 60), T0, 5);
        assert_eq!(count.owed(T0), 5, "{algorithm:?}");
        assert_eq!(count.owed(after(10)), ten_seconds_on, "{algorithm:?}");
        assert_eq!(count.owed(after(180)), 0, "{algorithm:?}");
    }
    let reset = Count::Reset { until: after(60) };
    assert_eq!(reset.owed(T0), 0);
}

/// Under a limit with a shorter period a log uses less than it owes: three of five are older than ten seconds.
#[test]
fn a_log_owes_what_a_shorter_period_forgets() {
    let mut count = None;
    let long = limit(Algorithm::SlidingLog, 60, 60);
    for (seq, second) in [0, 1, 2, 15, 16].into_iter().enumerate() {
        let stamp = Stamp {
            term: 1,
            seq: seq as u64 + 1,
        };
        let _taken = long.hit(after(second), &mut count, Cost::ONE, stamp);
    }
    let count = count.expect("counted");
    let short = limit(Algorithm::SlidingLog, 60, 10);
    assert_eq!(count.used(&short, after(17)), 2);
    assert_eq!(count.owed(after(17)), 5);
}

#[test]
fn logs_alone_take_memory_of_their_own_and_more_with_each_hit() {
    for algorithm in Algorithm::ALL {
        let few = counted(&limit(algorithm, 600, 60), T0, 1).heap_bytes();
        let many = counted(&limit(algorithm, 600, 60), T0, 500).heap_bytes();
        match algorithm {
            Algorithm::SlidingLog => {
                assert!(size_of::<LogEntry>() <= few, "{few}");
                assert!(500 * size_of::<LogEntry>() <= many, "{many}");
            }
            _ => assert_eq!((few, many), (0, 0), "{algorithm:?}"),
        }
    }
}

/// Ten a minute drain one in six seconds. Two put upon a key that drained a while ago do not count now; upon one that
/// has five to drain they do.
#[test]
fn units_are_put_upon_what_drains_where_it_stands() {
    for algorithm in DRAINING {
        let limit = limit(algorithm, 10, 60);
        let five = counted(&limit, T0, 5);
        let upon = |units| five.put_upon(units).expect("it drains");
        assert_eq!(upon(2).used(&limit, T0), 7, "{algorithm:?}");
        assert_eq!(upon(-2).used(&limit, T0), 3, "{algorithm:?}");
        assert_eq!(upon(2).expires_at(), after(42), "{algorithm:?}");
        // Since second 30 it is drained: from second 36 on one unit more does not show.
        assert_eq!(upon(1).used(&limit, after(36)), 0, "{algorithm:?}");
        assert_eq!(upon(2).used(&limit, after(36)), 1, "{algorithm:?}");
        let kind = std::mem::discriminant(&five);
        assert_eq!(std::mem::discriminant(&upon(1)), kind, "{algorithm:?}");
    }
    for algorithm in Algorithm::ALL {
        let drains = DRAINING.contains(&algorithm);
        let count = counted(&limit(algorithm, 10, 60), T0, 1);
        assert_eq!(count.put_upon(1).is_some(), drains, "{algorithm:?}");
    }
}

#[test]
fn of_two_that_drain_alike_the_emptier_drains_first() {
    for algorithm in DRAINING {
        let ten = limit(algorithm, 10, 60);
        let (one, two) = (counted(&ten, T0, 1), counted(&ten, T0, 2));
        assert_eq!(one.cmp_drained(&two), Some(Ordering::Less), "{algorithm:?}");
        assert_eq!(two.cmp_drained(&one), Some(Ordering::Greater));
        assert_eq!(one.cmp_drained(&one), Some(Ordering::Equal));
        let other_rate = counted(&limit(algorithm, 20, 60), T0, 2);
        assert_eq!(one.cmp_drained(&other_rate), None, "{algorithm:?}");
    }
    let gcra = counted(&limit(Algorithm::Gcra, 10, 60), T0, 1);
    let bucket = counted(&limit(Algorithm::LeakyBucket, 10, 60), T0, 1);
    let window = counted(&limit(Algorithm::FixedWindow, 10, 60), T0, 1);
    assert_eq!(gcra.cmp_drained(&bucket), None);
    assert_eq!(window.cmp_drained(&window), None);
}

#[test]
fn a_window_ended_before_another_that_began_no_earlier() {
    let first_hit = limit(Algorithm::FixedWindow, 10, 60)
        .with_anchor(Anchor::FirstHit)
        .expect("fixed windows have anchors");
    let window = |at| counted(&first_hit, at, 1);
    let first = window(T0);
    assert!(first.ended_before(&window(after(60))), "the next one");
    assert!(first.ended_before(&window(after(200))));
    assert!(!first.ended_before(&window(after(59))), "they overlap");
    assert!(!first.ended_before(&first));
    assert!(!window(after(60)).ended_before(&first), "the later one");
    let longer = counted(&limit(Algorithm::FixedWindow, 10, 90), after(600), 1);
    assert!(first.ended_before(&longer), "of another length");
    let overlapping = counted(&limit(Algorithm::FixedWindow, 10, 90), after(30), 1);
    assert!(!first.ended_before(&overlapping), "of another length");
    let drains = counted(&limit(Algorithm::Gcra, 10, 60), after(600), 1);
    assert!(!first.ended_before(&drains) && !drains.ended_before(&first));
}

/// Units added to nothing are a fresh count; added to something they stay in its window. A removal of more than there
/// is leaves nothing, until what it overrode would have expired.
#[test]
fn units_are_added_and_taken_whatever_the_limit() {
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 10, 60);
        let three = counted(&limit, T0, 3);
        assert_eq!(three.plus(&limit, T0, 0), three, "{algorithm:?}");
        let fewer = three.plus(&limit, T0, -2);
        assert_eq!(fewer.used(&limit, T0), 1, "{algorithm:?}");
        let none = three.plus(&limit, T0, -5);
        let until = three.expires_at();
        assert_eq!(none, Count::Reset { until }, "{algorithm:?}");
        let more = three.plus(&limit, T0, 15).used(&limit, T0);
        let from_none = none.plus(&limit, T0, 4).used(&limit, T0);
        match algorithm {
            // Entries need stamps, which units alone do not have.
            Algorithm::SlidingLog => assert_eq!((more, from_none), (3, 0)),
            _ => assert_eq!((more, from_none), (18, 4), "{algorithm:?}"),
        }
    }
}

/// A clock an hour ahead; the bound is now. Each case names the instant at which its window would begin had it been
/// counted now.
#[test]
fn a_window_from_a_clock_ahead_begins_as_if_it_were_counted_now() {
    let epoch = limit(Algorithm::FixedWindow, 10, 60);
    let first_hit = epoch.with_anchor(Anchor::FirstHit).expect("it has anchors");
    // 20 s into the window since the epoch.
    let now = after(20);
    let ahead = now + Nanos::from_secs(3_600);
    let clamped = |written: &Limit, read: &Limit| {
        let count = counted(written, ahead, 4);
        count.no_later_than(read, now, now, 1)
    };
    assert_eq!(clamped(&epoch, &epoch).expires_at(), after(60));
    assert_eq!(clamped(&first_hit, &first_hit).expires_at(), after(80));
    // Written under a period that the limit has no longer: nobody knows where its windows began.
    let longer = limit(Algorithm::FixedWindow, 10, 120);
    assert_eq!(clamped(&longer, &epoch).expires_at(), after(140));
    for (written, read) in [(&epoch, &epoch), (&first_hit, &first_hit)] {
        assert_eq!(
            clamped(written, read).used(read, now),
            4,
            "nothing is let off"
        );
    }
}

/// At most two bursts are owed by two sides: of 30 units an hour ahead, 20 stay; of a rate that is no longer the
/// limit's, all do, and so does what the bound explains.
#[test]
fn what_drains_from_a_clock_ahead_owes_a_burst_for_each_side() {
    for algorithm in DRAINING {
        let ten = limit(algorithm, 10, 60);
        let owing = counted(&ten, T0, 10).plus(&ten, T0, 20);
        assert_eq!(owing.used(&ten, T0), 30, "{algorithm:?}");
        let bounded = |sides| {
            let count = owing.clone().no_later_than(&ten, T0, T0, sides);
            count.used(&ten, T0)
        };
        assert_eq!((bounded(1), bounded(2), bounded(3)), (10, 20, 30));
        let other = limit(algorithm, 5, 60);
        let kept = owing.clone().no_later_than(&other, T0, T0, 1);
        assert_eq!(kept, owing, "{algorithm:?}: another rate");
    }
}
