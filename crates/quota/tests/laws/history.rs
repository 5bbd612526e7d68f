//! Generated histories: what happens to one key under one limit.

use proptest::prelude::*;
use quota::{
    Algorithm, Anchor, Calendar, CalendarUnit, Cost, Count, Decision, Limit, Nanos, Stamp, Taken,
    UnixNanos,
};

/// Midnight of some day, far from both ends of time.
pub(crate) const START: UnixNanos = UnixNanos::new(20_833 * 86_400 * 1_000_000_000);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Hit(u32),
    Peek,
    Refund(u32),
    Reset,
}

/// Time that passes before an operation, told so that the interesting instants are met.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gap {
    None,
    Nanos(u64),
    /// So many emission intervals.
    Units(u64),
    /// So many 65 536ths of two periods.
    Part(u64),
    /// Until remaining grows, give or take a nanosecond.
    Grows(i64),
    /// Until the key is full, give or take a nanosecond.
    Full(i64),
}

/// A cost, told relative to the burst.
#[derive(Clone, Copy, Debug)]
enum Price {
    Units(u32),
    Part(u32),
    Burst,
    Above,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    gap: Gap,
    operation: Operation,
}

/// One step as it went.
#[derive(Clone, Debug)]
pub(crate) struct Transition {
    pub(crate) now: UnixNanos,
    pub(crate) operation: Operation,
    pub(crate) before: Option<Count>,
    pub(crate) taken: Taken,
    pub(crate) after: Option<Count>,
}

pub(crate) fn any_limit() -> impl Strategy<Value = Limit> {
    prop::sample::select(Algorithm::ALL.to_vec()).prop_flat_map(limit_of)
}

pub(crate) fn limit_of(algorithm: Algorithm) -> impl Strategy<Value = Limit> {
    let units = prop_oneof![
        1..=12_u32,
        1..=2_000_u32,
        Just(7_000_001),
        Just(i32::MAX as u32)
    ];
    let period = prop::sample::select(vec![1_u64, 7, 1_000, 60_000, 86_400_000]);
    let burst = prop_oneof![Just(None), (1..=20_u32).prop_map(Some), Just(Some(3_000))];
    let anchor = prop_oneof![
        Just(Anchor::Epoch),
        Just(Anchor::FirstHit),
        any_calendar().prop_map(Anchor::Calendar),
    ];
    (units, period, burst, anchor).prop_map(move |(units, period, burst, anchor)| {
        let units = if algorithm == Algorithm::SlidingLog {
            units.min(10_000)
        } else {
            units
        };
        let limit = Limit::new(algorithm, units, Nanos::from_millis(period)).unwrap();
        match (algorithm, burst) {
            (Algorithm::FixedWindow, _) => limit.with_anchor(anchor).unwrap(),
            (Algorithm::Gcra | Algorithm::LeakyBucket, Some(burst)) => {
                limit.with_burst(burst).unwrap()
            }
            _ => limit,
        }
    })
}

/// Of zones whose clocks change at other hours, by other spans, or never.
pub(crate) fn any_calendar() -> impl Strategy<Value = Calendar> {
    let zones = [
        "UTC",
        "Europe/Vienna",
        "America/New_York",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
    ];
    let unit = prop::sample::select(CalendarUnit::ALL.to_vec());
    let zone = prop::sample::select(zones.to_vec());
    (unit, zone).prop_map(|(unit, zone)| Calendar {
        unit,
        zone: zone.parse().unwrap(),
    })
}

fn any_gap() -> impl Strategy<Value = Gap> {
    prop_oneof![
        3 => Just(Gap::None),
        1 => (1..=3_u64).prop_map(Gap::Nanos),
        3 => (1..=3_u64).prop_map(Gap::Units),
        3 => (0..65_536_u64).prop_map(Gap::Part),
        2 => (-1..=1_i64).prop_map(Gap::Grows),
        1 => (-1..=1_i64).prop_map(Gap::Full),
    ]
}

fn any_price() -> impl Strategy<Value = Price> {
    prop_oneof![
        4 => (1..=3_u32).prop_map(Price::Units),
        3 => (0..=8_u32).prop_map(Price::Part),
        2 => Just(Price::Burst),
        1 => Just(Price::Above),
    ]
}

/// Histories with refunds and resets.
pub(crate) fn any_history() -> impl Strategy<Value = (Limit, Vec<Step>)> {
    history(1)
}

/// Histories of hits and peeks alone, so that what was admitted is what counts.
pub(crate) fn hits_only() -> impl Strategy<Value = (Limit, Vec<Step>)> {
    history(0)
}

fn history(corrections: u32) -> impl Strategy<Value = (Limit, Vec<Step>)> {
    any_limit().prop_flat_map(move |limit| {
        let operation = prop_oneof![
            12 => any_price().prop_map(move |price| Operation::Hit(price.units(limit))),
            1 => Just(Operation::Peek),
            2 * corrections => any_price().prop_map(move |price| Operation::Refund(price.units(limit))),
            corrections => Just(Operation::Reset),
        ];
        let step = (any_gap(), operation).prop_map(|(gap, operation)| Step { gap, operation });
        (Just(limit), prop::collection::vec(step, 1..40))
    })
}

impl Price {
    fn units(self, limit: Limit) -> u32 {
        match self {
            Self::Units(units) => units,
            Self::Part(eighths) => (u64::from(limit.burst()) * u64::from(eighths) / 8) as u32,
            Self::Burst => limit.burst(),
            Self::Above => limit.burst() + 1,
        }
    }
}

impl Gap {
    fn nanos(self, limit: &Limit, last: &Decision) -> u64 {
        let period = limit.period().get();
        match self {
            Self::None => 0,
            Self::Nanos(nanos) => nanos,
            Self::Units(units) => units * (period / u64::from(limit.units())),
            Self::Part(part) => (u128::from(period) * 2 * u128::from(part) / 65_536) as u64,
            Self::Grows(off) => last.grows_after.get().saturating_add_signed(off),
            Self::Full(off) => last.reset_after.get().saturating_add_signed(off),
        }
    }
}

/// Plays `steps` from [`START`] on an empty key, every write stamped with `term`.
pub(crate) fn run(term: u64, limit: &Limit, steps: &[Step]) -> Vec<Transition> {
    let (mut now, mut count) = (START, None);
    let mut last = limit.peek(now, None);
    let mut transitions = Vec::new();
    for (seq, step) in steps.iter().enumerate() {
        now = now + Nanos::new(step.gap.nanos(limit, &last));
        let before = count.clone();
        let stamp = Stamp {
            term,
            seq: seq as u64 + 1,
        };
        let taken = operate(limit, now, &mut count, step.operation, stamp);
        last = taken.decision;
        transitions.push(Transition {
            now,
            operation: step.operation,
            before,
            taken,
            after: count.clone(),
        });
    }
    transitions
}

pub(crate) fn operate(
    limit: &Limit,
    now: UnixNanos,
    count: &mut Option<Count>,
    operation: Operation,
    stamp: Stamp,
) -> Taken {
    match operation {
        Operation::Hit(cost) => limit.hit(now, count, Cost::new(cost), stamp),
        Operation::Peek => limit.hit(now, count, Cost::PEEK, stamp),
        Operation::Refund(cost) => limit.refund(now, count, Cost::new(cost)),
        Operation::Reset => limit.reset(now, count),
    }
}
