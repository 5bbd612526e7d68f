//! The laws of limits, over generated histories.

mod folding;
mod history;
mod model;

use history::{Operation, START, any_history, any_limit, hits_only, operate, run};
use model::{Model, first_day};
use proptest::prelude::*;
use quota::{Algorithm, Anchor, Cost, Count, Limit, Nanos, Stamp, UnixNanos, Verdict};

const NANO: Nanos = Nanos::new(1);

/// A thousand cases a law, in a second for all of them; more when `PROPTEST_CASES` says so.
fn cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(1_000),
    }
}

proptest! {
    #![proptest_config(cases())]

    /// Every answer is that of a model which keeps all hits in a list.
    #[test]
    fn decisions_are_those_of_the_list((limit, steps) in any_history()) {
        let mut model = Model::new(limit);
        for step in run(1, &limit, &steps) {
            let verdict = step.taken.decision.verdict;
            match step.operation {
                Operation::Hit(0) | Operation::Peek => {
                    let passes = model.used(step.now) < i128::from(limit.burst());
                    prop_assert_eq!(verdict == Verdict::Allow, passes, "{:?}", step);
                }
                Operation::Hit(cost) => {
                    let passes = model.hit(step.now, cost);
                    prop_assert_eq!(verdict == Verdict::Allow, passes, "{:?}", step);
                    prop_assert_eq!(verdict == Verdict::NeverConforms, limit.burst() < cost);
                    prop_assert_eq!(step.taken.added, if passes { i64::from(cost) } else { 0 });
                }
                Operation::Refund(cost) => model.refund(step.now, cost),
                Operation::Reset => model.reset(),
            }
            let left = i128::from(limit.burst()) - model.used(step.now);
            prop_assert_eq!(i128::from(step.taken.decision.remaining), left, "{:?}", step);
        }
    }

    /// Told from the admitted hits alone, by what each algorithm promises.
    #[test]
    fn no_more_is_admitted_than_promised((limit, steps) in hits_only()) {
        let admitted: Vec<_> = run(1, &limit, &steps)
            .iter()
            .filter(|step| step.taken.added != 0)
            .map(|step| (u128::from(step.now.get()), step.taken.added as u128))
            .collect();
        keeps_its_promise(&limit, &admitted)?;
    }

    /// As above when clocks step back: then an earlier `now` stands for that of the latest admitted hit.
    #[test]
    fn a_clock_that_goes_back_grants_nothing_extra(
        limit in any_limit(),
        steps in prop::collection::vec((-90_000_i64..100_000, 0..4_u32), 1..40),
    ) {
        let (mut now, mut latest, mut count) = (START, UnixNanos::ZERO, None);
        let mut admitted = Vec::new();
        for (seq, (part, eighths)) in steps.into_iter().enumerate() {
            let step = i128::from(limit.period().get()) * i128::from(part) / 65_536;
            now = UnixNanos::new((i128::from(now.get()) + step) as u64);
            let cost = 1 + limit.burst() / 8 * eighths;
            let taken = operate(&limit, now, &mut count, Operation::Hit(cost), Stamp { term: 1, seq: seq as u64 + 1 });
            if taken.added != 0 {
                latest = latest.max(now);
                admitted.push((u128::from(latest.get()), taken.added as u128));
            }
            waits_are_exact(&limit, now, count.as_ref(), cost)?;
        }
        keeps_its_promise(&limit, &admitted)?;
    }

    /// A denied hit passes after its wait, and not a nanosecond earlier; the same of all other waits.
    #[test]
    fn waits_are_exact_after_any_history((limit, steps) in any_history(), cost in 1..20_u32) {
        for step in run(1, &limit, &steps) {
            waits_are_exact(&limit, step.now, step.after.as_ref(), cost)?;
            waits_are_exact(&limit, step.now, step.after.as_ref(), limit.burst())?;
        }
    }

    /// Only what is told as added changes a count.
    #[test]
    fn a_denied_hit_or_a_peek_changes_nothing((limit, steps) in any_history()) {
        for step in run(1, &limit, &steps) {
            let is_hit = matches!(step.operation, Operation::Hit(_) | Operation::Peek);
            if is_hit && step.taken.added == 0 {
                prop_assert_eq!(&step.before, &step.after);
            }
            let verdict_is_told = limit.peek(step.now, step.after.as_ref());
            prop_assert_eq!(step.taken.decision.remaining, verdict_is_told.remaining);
            prop_assert_eq!(step.taken.decision.grows_after, verdict_is_told.grows_after);
            prop_assert_eq!(step.taken.decision.reset_after, verdict_is_told.reset_after);
        }
    }

    /// A hit given back leaves the units of before; everything given back leaves a full key.
    #[test]
    fn a_refund_undoes_a_hit((limit, steps) in any_history()) {
        for step in run(1, &limit, &steps) {
            let (now, mut count) = (step.now, step.after);
            let before = limit.peek(now, count.as_ref());
            let hit = limit.hit(now, &mut count, Cost::ONE, Stamp { term: 2, seq: 1 });
            if hit.added != 0 {
                let refund = limit.refund(now, &mut count, Cost::ONE);
                prop_assert_eq!(refund.added, -1);
                prop_assert_eq!(refund.decision, before);
            }
            // A sliding counter keeps more units than it counts: those of the previous window weigh less.
            let all = Cost::new(u32::MAX);
            let used = used(&limit, now, count.as_ref());
            let refund = limit.refund(now, &mut count, all);
            prop_assert_eq!(refund.decision, limit.peek(now, None));
            prop_assert!(-refund.added <= used.into() || limit.algorithm() == Algorithm::SlidingCounter);
            let is_reset = matches!(count, Some(Count::Reset { .. }));
            prop_assert!(used == 0 || is_reset);
        }
    }

    /// A reset key is full, and says for how long it has to be remembered.
    #[test]
    fn a_reset_leaves_a_full_key((limit, steps) in any_history()) {
        for step in run(1, &limit, &steps) {
            let mut count = step.after.clone();
            let reset = limit.reset(step.now, &mut count);
            prop_assert_eq!(reset.decision, limit.peek(step.now, None));
            prop_assert!(reset.added <= 0);
            if used(&limit, step.now, step.after.as_ref()) != 0 {
                let until = step.after.unwrap().expires_at();
                prop_assert_eq!(count, Some(Count::Reset { until }));
            } else {
                prop_assert_eq!(count, step.after);
            }
        }
    }

    /// From the expiry on a count is the same as none, for hits too, and not before.
    #[test]
    fn an_expired_count_is_no_count((limit, steps) in any_history(), later in 0..100_u64) {
        for step in run(1, &limit, &steps) {
            let Some(count) = step.after else { continue };
            let expiry = count.expires_at();
            for now in [expiry, expiry + Nanos::new(later)] {
                let stamp = Stamp { term: 2, seq: 1 };
                let (mut old, mut none) = (Some(count.clone()), None);
                prop_assert_eq!(limit.peek(now, old.as_ref()), limit.peek(now, None));
                let expected = limit.hit(now, &mut none, Cost::ONE, stamp);
                prop_assert_eq!(limit.hit(now, &mut old, Cost::ONE, stamp), expected);
                prop_assert_eq!(old, none);
            }
            let is_reset = matches!(count, Count::Reset { .. });
            prop_assert!(is_reset || limit.peek(expiry - NANO, Some(&count)).remaining < limit.burst());
        }
    }

    /// Whatever becomes of a limit, the units used stay, until a hit adds its own.
    #[test]
    fn a_changed_limit_keeps_the_units((old, steps) in any_history(), new in any_limit()) {
        for step in run(1, &old, &steps) {
            let Some(mut count) = step.after else { continue };
            let forgets = matches!(count, Count::SlidingLog(_)) && new.period() < old.period();
            if forgets {
                continue;
            }
            let (now, used) = (step.now, count.used(&old, step.now));
            prop_assert_eq!(count.used(&new, now), used);
            let left = u64::from(new.burst()).saturating_sub(used);
            prop_assert_eq!(u64::from(new.peek(now, Some(&count)).remaining), left);
            waits_are_exact(&new, now, Some(&count), 1)?;

            let mut kept = Some(count.clone());
            let hit = new.hit(now, &mut kept, Cost::ONE, Stamp { term: 2, seq: 1 });
            prop_assert_eq!(hit.added, i64::from(left != 0));
            prop_assert_eq!(u64::from(hit.decision.remaining), left.saturating_sub(1));
            if hit.added != 0 {
                count = kept.unwrap();
                prop_assert_eq!(count.used(&new, now), used + 1);
                waits_are_exact(&new, now, Some(&count), 1)?;
                prop_assert_eq!(
                    new.peek(count.expires_at(), Some(&count)),
                    new.peek(count.expires_at(), None)
                );
            }
        }
    }
}

fn used(limit: &Limit, now: UnixNanos, count: Option<&Count>) -> u32 {
    limit.burst() - limit.peek(now, count).remaining
}

/// Checks every wait that a decision on a hit of `cost` tells.
fn waits_are_exact(
    limit: &Limit,
    now: UnixNanos,
    count: Option<&Count>,
    cost: u32,
) -> Result<(), TestCaseError> {
    let verdict_at = |now| {
        let stamp = Stamp { term: 9, seq: 9 };
        limit
            .hit(now, &mut count.cloned(), Cost::new(cost), stamp)
            .decision
            .verdict
    };
    if let Verdict::Deny { retry_after } = verdict_at(now) {
        prop_assert_ne!(retry_after, Nanos::ZERO);
        prop_assert_eq!(verdict_at(now + retry_after), Verdict::Allow);
        let early = verdict_at(now + (retry_after - NANO));
        prop_assert_eq!(early, Verdict::Deny { retry_after: NANO });
    }
    let decision = limit.peek(now, count);
    let remaining_after = |wait| limit.peek(now + wait, count).remaining;
    if decision.remaining == limit.burst() {
        prop_assert_eq!(
            (decision.grows_after, decision.reset_after),
            (Nanos::ZERO, Nanos::ZERO)
        );
    } else {
        prop_assert!(decision.remaining < remaining_after(decision.grows_after));
        prop_assert_eq!(
            decision.remaining,
            remaining_after(decision.grows_after - NANO)
        );
        prop_assert_eq!(limit.burst(), remaining_after(decision.reset_after));
        prop_assert!(remaining_after(decision.reset_after - NANO) < limit.burst());
    }
    Ok(())
}

/// Checks what a limit's algorithm promises of the hits it admitted: instants, in order, and units.
fn keeps_its_promise(limit: &Limit, admitted: &[(u128, u128)]) -> Result<(), TestCaseError> {
    let (units, period) = (u128::from(limit.units()), u128::from(limit.period().get()));
    let burst = u128::from(limit.burst());
    let mut window_start = 0;
    for (first, &(start, _)) in admitted.iter().enumerate() {
        let within = |end: u128| -> u128 {
            let hits = admitted[first..].iter().take_while(|(at, _)| *at < end);
            hits.map(|(_, units)| units).sum()
        };
        match limit.algorithm() {
            Algorithm::Gcra | Algorithm::LeakyBucket => {
                for (last, &(end, _)) in admitted.iter().enumerate().skip(first) {
                    let sum: u128 = admitted[first..=last].iter().map(|(_, units)| units).sum();
                    prop_assert!(sum * period <= burst * period + (end - start) * units);
                }
            }
            Algorithm::SlidingLog => prop_assert!(within(start + period) <= units),
            Algorithm::SlidingCounter => {
                prop_assert!(within(start / period * period + period) <= units);
                prop_assert!(within(start + period) < 2 * units.max(1));
            }
            Algorithm::FixedWindow if limit.anchor() == Anchor::Epoch => {
                prop_assert!(within(start / period * period + period) <= units);
            }
            Algorithm::FixedWindow if let Some(calendar) = limit.anchor().calendar() => {
                let day = first_day(calendar, start);
                let hits = admitted[first..].iter();
                let hits = hits.take_while(|(at, _)| first_day(calendar, *at) == day);
                prop_assert!(hits.map(|(_, units)| units).sum::<u128>() <= units);
            }
            Algorithm::FixedWindow => {
                if window_start + period <= start {
                    window_start = start;
                    prop_assert!(within(start + period) <= units);
                }
            }
        }
    }
    Ok(())
}
