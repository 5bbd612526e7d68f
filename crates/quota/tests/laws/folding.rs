//! What replication does with counts: take them apart, put them together, fold the sides of a fork.

use crate::history::{Step, Transition, any_history, any_limit, run};
use proptest::prelude::*;
use quota::{
    Algorithm, Cost, Count, FixedWindow, Limit, Log, LogEntry, Nanos, SlidingCounter, Stamp, Tat,
    UnixNanos,
};

/// A count put together again from all that can be read from it.
fn rebuilt(count: &Count) -> Count {
    let tat = |tat: &Tat| Tat::new(tat.at(), tat.fraction(), tat.units(), tat.period()).unwrap();
    match count {
        Count::Gcra(theirs) => Count::Gcra(tat(theirs)),
        Count::LeakyBucket(theirs) => Count::LeakyBucket(tat(theirs)),
        Count::FixedWindow(w) => {
            Count::FixedWindow(FixedWindow::new(w.end(), w.used(), w.period()).unwrap())
        }
        Count::SlidingCounter(c) => Count::SlidingCounter(
            SlidingCounter::new(c.end(), c.current(), c.previous(), c.period()).unwrap(),
        ),
        Count::SlidingLog(log) => {
            let reversed = log.entries().iter().rev().copied();
            Count::SlidingLog(Box::new(Log::from_entries(log.period(), reversed).unwrap()))
        }
        Count::Reset { until } => Count::Reset { until: *until },
    }
}

fn last(term: u64, limit: &Limit, steps: &[Step]) -> Transition {
    run(term, limit, steps)
        .pop()
        .expect("a history is never empty")
}

/// Any instant, with those at the ends of time likely.
fn any_instant() -> impl Strategy<Value = UnixNanos> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        (u64::MAX - 1_000_000_000..=u64::MAX),
        any::<u64>(),
    ]
    .prop_map(UnixNanos::new)
}

fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![0..3_u32, Just(u32::MAX), any::<u32>()]
}

/// Any count that a peer could send, however mad.
fn any_count() -> impl Strategy<Value = Count> {
    let period =
        prop_oneof![Just(1_u64), Just(60_000), Just(366 * 86_400_000)].prop_map(Nanos::from_millis);
    let stamp = (0..3_u64, 0..3_u64).prop_map(|(term, seq)| Stamp { term, seq });
    let entry = (any_instant(), any_number(), stamp).prop_map(|(at, cost, stamp)| LogEntry {
        at,
        cost,
        stamp,
    });
    let entries = prop::collection::vec(entry, 0..6);
    (
        0..6,
        any_instant(),
        any_number(),
        any_number(),
        period,
        entries,
    )
        .prop_map(|(kind, at, a, b, period, entries)| {
            let units = a.clamp(1, i32::MAX as u32);
            let tat = Tat::new(at, b % units, units, period).unwrap();
            match kind {
                0 => Count::Gcra(tat),
                1 => Count::LeakyBucket(tat),
                2 => Count::FixedWindow(FixedWindow::new(at, a, period).unwrap()),
                3 => Count::SlidingCounter(SlidingCounter::new(at, a, b, period).unwrap()),
                4 => Count::SlidingLog(Box::new(Log::from_entries(period, entries).unwrap())),
                _ => Count::Reset { until: at },
            }
        })
}

proptest! {
    #![proptest_config(crate::cases())]

    #[test]
    fn a_count_is_what_can_be_read_from_it((limit, steps) in any_history(), mad in any_count()) {
        if let Some(count) = last(1, &limit, &steps).after {
            prop_assert_eq!(rebuilt(&count), count);
        }
        prop_assert_eq!(rebuilt(&mad), mad);
    }

    /// Neither the ends of time nor a peer's nonsense makes anything panic.
    #[test]
    fn nothing_panics(
        limit in any_limit(),
        (now, later) in (any_instant(), any_instant()),
        (mine, theirs) in (any_count(), any_count()),
        (cost, units) in (any_number(), any::<i64>()),
    ) {
        let stamp = Stamp { term: 1, seq: 1 };
        let mut count = Some(mine.clone());
        let _ = limit.hit(now, &mut count, Cost::new(cost), stamp);
        let _ = limit.hit(later, &mut count, Cost::ONE, stamp);
        let _ = limit.refund(now, &mut count, Cost::new(cost));
        let _ = limit.reset(later, &mut count);
        let _ = mine.plus(&limit, now, units);
        let _ = mine.plus(&limit, now, i64::MIN);
        let _ = limit.peek(now, Some(&mine.stricter(theirs, &limit, now)));
    }

    #[test]
    fn the_stricter_of_two_is_one_of_no_order(
        limit in any_limit(),
        now in any_instant(),
        (a, b) in (any_count(), any_count()),
    ) {
        let joined = a.clone().stricter(b.clone(), &limit, now);
        prop_assert_eq!(&joined, &b.stricter(a, &limit, now));
        let again = joined.clone().stricter(joined.clone(), &limit, now);
        prop_assert_eq!(again.used(&limit, now), joined.used(&limit, now));
    }

    /// Two sides that have gone on from one past, at most some periods apart.
    #[test]
    fn the_stricter_of_two_leaves_no_more_than_either_and_not_sooner(
        (limit, mine) in any_history(),
        (other, theirs) in any_history(),
        same in any::<bool>(),
    ) {
        let other = if same { limit } else { other };
        let (a, b) = (last(1, &limit, &mine), last(2, &other, &theirs));
        let (Some(mine), Some(theirs)) = (a.after, b.after) else { return Ok(()) };
        for now in [a.now, b.now] {
            let used = mine.used(&limit, now).max(theirs.used(&limit, now));
            let joined = mine.clone().stricter(theirs.clone(), &limit, now);
            prop_assert!(used <= joined.used(&limit, now), "{:?}", joined);
            if same {
                let full_after = |count| limit.peek(now, Some(count)).reset_after;
                let longest = full_after(&mine).max(full_after(&theirs));
                prop_assert!(longest <= full_after(&joined), "{:?}", joined);
            }
        }
    }

    /// Units added are units used, beyond the limit too; units taken away are not, down to none.
    #[test]
    fn plus_counts_units((limit, steps) in any_history(), units in -40..40_i64) {
        let step = last(1, &limit, &steps);
        let Some(count) = step.after else { return Ok(()) };
        let used = count.used(&limit, step.now);
        let sum = count.plus(&limit, step.now, units).used(&limit, step.now);
        match limit.algorithm() {
            Algorithm::SlidingLog if 0 < units => prop_assert_eq!(sum, used),
            // Units of the previous window weigh less.
            Algorithm::SlidingCounter if units < 0 => {
                prop_assert!(sum <= used && used.saturating_add_signed(units) <= sum);
            }
            _ => prop_assert_eq!(sum, used.saturating_add_signed(units)),
        }
    }

    /// After a heal of sides that admitted a and b, what is left is the limit less the past, a and b.
    #[test]
    fn the_fold_of_a_fork_counts_the_past_once(
        (limit, steps) in any_history(),
        (a, b) in (1..20_u32, 1..20_u32),
    ) {
        let step = last(1, &limit, &steps);
        let (now, past) = (step.now, step.after);
        let (mut left, mut right) = (past.clone(), past.clone());
        let a = limit.hit(now, &mut left, Cost::new(a), Stamp { term: 2, seq: 1 }).added;
        let b = limit.hit(now, &mut right, Cost::new(b), Stamp { term: 3, seq: 1 }).added;
        let (Some(left), Some(right)) = (left, right) else { return Ok(()) };
        let folded = match limit.algorithm() {
            Algorithm::SlidingLog => left.stricter(right, &limit, now),
            _ => left.plus(&limit, now, b).stricter(right.plus(&limit, now, a), &limit, now),
        };
        let past = past.map_or(0, |past| past.used(&limit, now)) as i64;
        prop_assert_eq!(folded.used(&limit, now) as i64, past + a + b);
    }
}
