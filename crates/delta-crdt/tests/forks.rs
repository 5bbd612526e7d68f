//! What a fork costs: each side counts on alone, and when they meet nothing is lost and the past counts once.

mod world;

use delta_crdt::{Cells, Dot, Fault, ReplicaId, Term};
use proptest::prelude::*;
use quota::{
    Algorithm, Anchor, Cost, Count, Decision, KeyHash, Limit, Nanos, Stamp, UnixNanos, Verdict,
};
use world::{START, config};

const REGRESSIONS: &str = "tests/forks.proptest-regressions";
const KEY: KeyHash = KeyHash::new(7);

#[derive(Clone, Copy, Debug)]
enum Op {
    Hit(u32),
    Refund(u32),
    Reset,
}

/// Something that one side does, some time after what was done before.
type Act = (u64, usize, Op);

/// What the sides do each for itself, and which two meet then, of which the second counts on.
type Round = (Vec<Act>, usize, usize);

/// One key, one past, and sides that went their own ways from there.
struct Fork {
    limit: Limit,
    now: UnixNanos,
    sides: Vec<Cells>,
    terms: Vec<Term>,
    seqs: Vec<u64>,
    /// Whether some side was full again by itself: what it counted is forgotten then, and that is no fault.
    drained: bool,
    /// Admitted hits, of all sides.
    admitted: Vec<(UnixNanos, u32)>,
}

/// What a side added beyond the past.
#[derive(Clone, Copy, Default)]
struct Net {
    units: i64,
    has_reset: bool,
}

fn term(number: u32, replica: usize) -> Term {
    let replica = ReplicaId(replica as u32);
    Term { number, replica }
}

impl Fork {
    /// Runs `past` on one node, whatever side it names, and copies what is there to `sides` sides.
    fn after(limit: Limit, past: &[Act], sides: usize) -> Self {
        let mut fork = Self {
            limit,
            now: START,
            sides: vec![Cells::new()],
            terms: vec![term(1, 0)],
            seqs: vec![0],
            drained: false,
            admitted: Vec::new(),
        };
        for &(wait, _, op) in past {
            fork.act((wait, 0, op));
        }
        fork.drained = false;
        let common = fork.sides[0].get(KEY);
        fork.sides = (0..sides)
            .map(|_| {
                let mut cells = Cells::new();
                if let Some(cell) = common.clone() {
                    let _ = cells.join(fork.now, KEY, cell);
                }
                cells
            })
            .collect();
        fork.terms = (0..sides).map(|side| term(2 + side as u32, side)).collect();
        fork.seqs = vec![0; sides];
        fork
    }

    fn act(&mut self, (wait, side, op): Act) -> Decision {
        self.now = self.now + Nanos::from_millis(wait);
        let side = side % self.sides.len();
        self.drained |= (0..self.sides.len()).any(|side| self.is_full(side));
        let dot = Dot::new(self.terms[side], self.seqs[side] + 1);
        let (cells, now, limit) = (&mut self.sides[side], self.now, &self.limit);
        let written = match op {
            Op::Hit(cost) => cells.hit(now, KEY, limit, Cost::new(cost), dot),
            Op::Refund(cost) => cells.refund(now, KEY, limit, Cost::new(cost), dot),
            Op::Reset => cells.reset(now, KEY, limit, dot),
        };
        self.seqs[side] += u64::from(written.changed);
        if let (Op::Hit(cost), true) = (op, written.changed) {
            self.admitted.push((now, cost));
        }
        written.decision
    }

    /// Whether `side` is full again by itself.
    fn is_full(&self, side: usize) -> bool {
        let cell = self.sides[side].get(KEY);
        cell.is_some_and(|cell| cell.expires_at() <= self.now)
    }

    /// Runs `acts`, and says what each side added. Exact where nothing drains meanwhile.
    fn part(&mut self, acts: &[Act]) -> Vec<Net> {
        let mut nets = vec![Net::default(); self.sides.len()];
        for &(wait, side, op) in acts {
            let side = side % self.sides.len();
            let before = i64::from(self.used(side));
            self.act((wait, side, op));
            let after = i64::from(self.used(side));
            let net = &mut nets[side];
            match op {
                Op::Reset => {
                    *net = Net {
                        units: 0,
                        has_reset: true,
                    }
                }
                _ => net.units += after - before,
            }
        }
        nets
    }

    /// Everybody hears everything.
    fn heal(&mut self) {
        for to in 0..self.sides.len() {
            for from in 0..self.sides.len() {
                if let Some(cell) = self.sides[from].get(KEY) {
                    let _ = self.sides[to].join(self.now, KEY, cell);
                }
            }
        }
    }

    /// The fork, healed, and the units that one node would have left that was asked for every hit admitted by any side.
    fn beside_whole(limit: Limit, past: &[Act], acts: &[Act], sides: usize) -> (Self, u32) {
        let mut whole = Self::after(limit, past, 1);
        let mut fork = Self::after(limit, past, sides);
        for &(wait, side, op) in acts {
            let admitted = fork.admitted.len();
            fork.act((wait, side, op));
            let was_admitted = !matches!(op, Op::Hit(_)) || admitted < fork.admitted.len();
            let asked = if was_admitted { op } else { Op::Hit(0) };
            whole.act((wait, 0, asked));
        }
        fork.heal();
        let left = whole.peek(0).remaining;
        (fork, left)
    }

    /// `side` comes to own the key once more.
    fn take_over(&mut self, side: usize) {
        let newest = self.terms.iter().map(|term| term.number).max();
        self.terms[side] = term(1 + newest.unwrap_or_default(), side);
    }

    /// The two hear everything from each other.
    fn meet(&mut self, a: usize, b: usize) {
        for (to, from) in [(a, b), (b, a)] {
            if let Some(cell) = self.sides[from].get(KEY) {
                let _ = self.sides[to].join(self.now, KEY, cell);
            }
        }
    }

    /// Sides part and meet in pairs, again and again: after each meeting one of the two counts on, under a new term.
    fn part_and_meet(limit: Limit, sides: usize, rounds: &[Round]) -> Self {
        let mut fork = Self::after(limit, &[], sides);
        for (acts, with, by) in rounds {
            for &act in acts {
                fork.act(act);
            }
            let (with, by) = (with % sides, by % sides);
            fork.meet(with, by);
            fork.take_over(by);
        }
        fork.heal();
        fork
    }

    fn peek(&self, side: usize) -> Decision {
        self.sides[side].peek(self.now, KEY, &self.limit)
    }

    fn used(&self, side: usize) -> u32 {
        self.limit.burst() - self.peek(side).remaining
    }

    /// The units left are what one node would have left that knew all hits, at once and after the next write.
    fn check_exact(&mut self, common: u32, nets: &[Net]) -> Result<(), TestCaseError> {
        self.heal();
        let forgiven = nets.iter().any(|net| net.has_reset);
        let past = if forgiven { 0 } else { i64::from(common) };
        // After a reset, what another side gave back may be what the reset forgave.
        let floor = if forgiven { 0 } else { i64::MIN };
        let used: i64 = past + nets.iter().map(|net| net.units.max(floor)).sum::<i64>();
        let left = i64::from(self.limit.burst()) - used.max(0);
        for side in 0..self.sides.len() {
            prop_assert_eq!(i64::from(self.peek(side).remaining), left.max(0));
        }
        self.write_once(0)?;
        prop_assert_eq!(i64::from(self.peek(0).remaining), (left - 1).max(0));
        Ok(())
    }

    /// One hit by the next owner, if there is room: it ends the fork.
    fn write_once(&mut self, side: usize) -> Result<(), TestCaseError> {
        self.terms[side] = term(100, side);
        let before = self.peek(side);
        let decision = self.act((0, side, Op::Hit(1)));
        prop_assert_eq!(decision.is_allowed(), 0 < before.remaining);
        if decision.is_allowed() {
            prop_assert_eq!(self.sides[side].get(KEY).unwrap().versions().len(), 1);
        }
        Ok(())
    }
}

fn limit(algorithm: Algorithm, units: u32) -> Limit {
    Limit::new(algorithm, units, Nanos::from_secs(100)).unwrap()
}

fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(&Algorithm::ALL[..])
}

fn hits() -> BoxedStrategy<Op> {
    (1..5_u32).prop_map(Op::Hit).boxed()
}

fn hits_refunds_and_resets() -> BoxedStrategy<Op> {
    prop_oneof![8 => hits(), 2 => (1..5_u32).prop_map(Op::Refund), 1 => Just(Op::Reset)].boxed()
}

fn acts(op: BoxedStrategy<Op>, wait_ms: u64) -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec((0..=wait_ms, 0..3_usize, op), 0..12)
}

fn rounds(wait_ms: u64) -> impl Strategy<Value = Vec<Round>> {
    let acts = prop::collection::vec((0..=wait_ms, 0..4_usize, hits()), 0..4);
    prop::collection::vec((acts, 0..4_usize, 0..4_usize), 0..60)
}

proptest! {
    #![proptest_config(config(REGRESSIONS, 256))]

    /// However often, and in whatever pairs: every unit admitted by anybody is counted once, none twice, none not.
    #[test]
    fn any_number_of_forks_heals_exactly(
        algorithm in any_algorithm(),
        units in prop::sample::select(&[30_u32, 2_000][..]),
        rounds in rounds(0),
        sides in 2..5_usize,
    ) {
        let mut fork = Fork::part_and_meet(limit(algorithm, units), sides, &rounds);
        let all: u32 = fork.admitted.iter().map(|hit| hit.1).sum();
        for side in 0..sides {
            prop_assert_eq!(fork.peek(side).remaining, units.saturating_sub(all), "{}", algorithm);
        }
        fork.write_once(0)?;
        prop_assert_eq!(fork.peek(0).remaining, units.saturating_sub(all).saturating_sub(1));
    }

    /// The same while time passes, for those that count units to the end of a window longer than all of it.
    #[test]
    fn any_number_of_forks_of_a_long_window_heals_exactly(
        algorithm in prop::sample::select(&[Algorithm::FixedWindow, Algorithm::SlidingLog][..]),
        rounds in rounds(300),
        sides in 2..5_usize,
    ) {
        let limit = limit(algorithm, 2_000);
        let fork = Fork::part_and_meet(limit, sides, &rounds);
        let all: u32 = fork.admitted.iter().map(|hit| hit.1).sum();
        for side in 0..sides {
            prop_assert_eq!(fork.peek(side).remaining, 2_000 - all, "{}", algorithm);
        }
    }

    /// A key that drains owes no less than one node would that had been asked for every hit, and no more than all of them.
    #[test]
    fn a_bucket_that_was_split_many_times_is_no_fuller_than_one_that_never_was(
        algorithm in prop::sample::select(&[Algorithm::Gcra, Algorithm::LeakyBucket][..]),
        rounds in rounds(300),
        sides in 2..5_usize,
    ) {
        // Emptied in 2 000 s: no side is full again by itself.
        let limit = Limit::new(algorithm, 2_000, Nanos::from_secs(2_000)).unwrap();
        let fork = Fork::part_and_meet(limit, sides, &rounds);
        let mut whole = Fork::after(limit, &[], 1);
        for &(at, cost) in &fork.admitted {
            whole.now = at;
            whole.act((0, 0, Op::Hit(cost)));
        }
        whole.now = fork.now;
        let all: u32 = fork.admitted.iter().map(|hit| hit.1).sum();
        for side in 0..sides {
            let found = fork.peek(side).remaining;
            prop_assert!(fork.drained || found <= whole.peek(0).remaining, "{found}");
            prop_assert!(2_000 - all <= found, "{found}");
        }
    }
}

proptest! {
    #![proptest_config(config(REGRESSIONS, 512))]

    /// With the clock at rest every algorithm counts units: remaining = max(0, limit − past − a − b), and stays so.
    #[test]
    fn at_one_instant_every_fork_heals_exactly(
        algorithm in any_algorithm(),
        units in 5..40_u32,
        past in acts(hits_refunds_and_resets(), 0),
        acts in acts(hits(), 0),
        sides in 2..4_usize,
    ) {
        let mut fork = Fork::after(limit(algorithm, units), &past, sides);
        let common = fork.used(0);
        let nets = fork.part(&acts);
        fork.check_exact(common, &nets)?;
    }

    /// Refunds and resets during the fork: within one window the same, for windows, whatever the clock does in it.
    #[test]
    fn within_a_window_forks_heal_exactly(
        algorithm in prop::sample::select(&[Algorithm::FixedWindow, Algorithm::SlidingCounter][..]),
        units in 5..40_u32,
        past in acts(hits_refunds_and_resets(), 1_000),
        acts in acts(hits_refunds_and_resets(), 1_000),
        sides in 2..4_usize,
    ) {
        let mut fork = Fork::after(limit(algorithm, units), &past, sides);
        let common = fork.used(0);
        let nets = fork.part(&acts);
        fork.check_exact(common, &nets)?;
    }

    /// A limit that was changed before one side heard of it: not exact, but nothing is left out.
    #[test]
    fn sides_that_counted_by_different_algorithms_leave_nothing_out(
        algorithms in prop::collection::vec(any_algorithm(), 4),
        past in acts(hits(), 0),
        acts in acts(hits(), 0),
        sides in 2..4_usize,
    ) {
        let mut fork = Fork::after(limit(algorithms[3], 40), &past, sides);
        for &(wait, side, op) in &acts {
            fork.limit = limit(algorithms[side % sides], 40);
            fork.act((wait, side, op));
        }
        let all: u32 = fork.admitted.iter().map(|hit| hit.1).sum();
        fork.heal();
        for algorithm in Algorithm::ALL {
            fork.limit = limit(algorithm, 40);
            prop_assert!(fork.peek(0).remaining <= 40_u32.saturating_sub(all), "{}", algorithm);
        }
    }

    /// An entry that one side gave back stays given back; one that both gave back in part counts for the smaller rest.
    #[test]
    fn logs_heal_exactly(
        units in 5..40_u32,
        past in acts(hits_refunds_and_resets(), 1_000),
        acts in acts(hits_refunds_and_resets(), 1_000),
        sides in 2..4_usize,
    ) {
        let mut fork = Fork::after(limit(Algorithm::SlidingLog, units), &past, sides);
        let mut entries: Vec<Vec<(Stamp, u32)>> = Vec::new();
        let of = |cells: &Cells| -> Vec<(Stamp, u32)> {
            let cell = cells.get(KEY);
            let versions = cell.iter().flat_map(|cell| cell.versions());
            let logs = versions.filter_map(|version| match version.count() {
                Count::SlidingLog(log) => Some(log.entries().iter().map(|e| (e.stamp, e.cost)).collect::<Vec<_>>()),
                _ => None,
            });
            logs.flatten().collect()
        };
        let before = of(&fork.sides[0]);
        fork.part(&acts);
        entries.extend(fork.sides.iter().map(of));
        // A model by sets: of the past what every side still has, the rest of it that is smallest; of the sides all.
        let kept = before.iter().filter_map(|(stamp, _)| {
            let rests: Option<Vec<u32>> = entries.iter()
                .map(|side| side.iter().find(|entry| entry.0 == *stamp).map(|entry| entry.1))
                .collect();
            rests?.into_iter().min()
        });
        let new = entries.iter().flatten().filter(|entry| before.iter().all(|past| past.0 != entry.0));
        let used: u32 = kept.sum::<u32>() + new.map(|entry| entry.1).sum::<u32>();
        fork.heal();
        for side in 0..sides {
            prop_assert_eq!(fork.peek(side).remaining, units.saturating_sub(used));
        }
        fork.write_once(0)?;
        prop_assert_eq!(fork.peek(0).remaining, units.saturating_sub(used).saturating_sub(1));
    }

    /// Through any number of windows, as one node would count that was told every hit, up to the end of the second.
    #[test]
    fn sliding_counters_heal_exactly_across_windows(
        past in acts(hits(), 30_000),
        acts in acts(hits(), 30_000),
        sides in 2..4_usize,
    ) {
        let limit = limit(Algorithm::SlidingCounter, 30);
        let mut fork = Fork::after(limit, &past, sides);
        for act in acts {
            fork.act(act);
        }
        let mut model: Option<Count> = None;
        for &(at, cost) in &fork.admitted {
            let stamp = Stamp::CARRIED;
            model = match model {
                None => { let _ = limit.hit(at, &mut model, Cost::new(cost), stamp); model }
                Some(count) => Some(count.plus(&limit, at, i64::from(cost))),
            };
        }
        let was_drained = fork.drained;
        fork.heal();
        let expected = limit.peek(fork.now, model.as_ref()).remaining;
        for side in 0..sides {
            let found = fork.peek(side).remaining;
            prop_assert!(was_drained || found == expected, "{} left, expected {}", found, expected);
        }
    }

    /// Draining algorithms: never more left than one node would have left that was asked for every hit admitted by any
    /// side, refunds and resets on one of them included, as long as no side was full again by itself.
    #[test]
    fn a_healed_bucket_is_no_fuller_than_one_that_was_never_split(
        algorithm in prop::sample::select(&[Algorithm::Gcra, Algorithm::LeakyBucket][..]),
        units in 5..40_u32,
        past in acts(hits_refunds_and_resets(), 3_000),
        mut acts in acts(hits_refunds_and_resets(), 3_000),
        sides in 2..4_usize,
    ) {
        let limit = limit(algorithm, units);
        for act in &mut acts {
            if !matches!(act.2, Op::Hit(_)) {
                act.1 = 0;
            }
        }
        let (mut fork, expected) = Fork::beside_whole(limit, &past, &acts, sides);
        for side in 0..sides {
            let found = fork.peek(side).remaining;
            prop_assert!(fork.drained || found <= expected, "{} left, expected at most {}", found, expected);
        }
        fork.write_once(0)?;
    }

    /// With hits alone, what a side counted still counts when it is full again by itself, unless it then went on. And
    /// tidying up changes no answer. (To one that has no such key, an expired cell says nothing.)
    #[test]
    fn a_side_that_is_full_again_is_not_forgotten(
        algorithm in prop::sample::select(&[Algorithm::Gcra, Algorithm::LeakyBucket][..]),
        units in 5..40_u32,
        past in acts(hits(), 3_000),
        acts in acts(hits(), 9_000),
        later in 0..60_000_u64,
    ) {
        let limit = limit(algorithm, units);
        let mut whole = Fork::after(limit, &past, 1);
        let mut fork = Fork::after(limit, &past, 2);
        let mut known: Vec<(UnixNanos, usize, u32)> = Vec::new();
        for &(wait, side, op) in &acts {
            let admitted = fork.admitted.len();
            fork.act((wait, side, Op::Hit(0)));
            let (side, starts_over) = (side % 2, fork.is_full(side % 2));
            fork.act((0, side, op));
            if let Some(&(at, cost)) = fork.admitted.get(admitted) {
                known.retain(|&(_, by, _)| by != side || !starts_over);
                known.push((at, side, cost));
            }
        }
        for (at, _, cost) in known {
            whole.now = at;
            whole.act((0, 0, Op::Hit(cost)));
        }
        fork.heal();
        fork.now = fork.now + Nanos::from_millis(later);
        whole.now = fork.now;
        for side in (0..2).filter(|&side| fork.seqs[side] != 0) {
            let (found, expected) = (fork.peek(side), whole.peek(0).remaining);
            prop_assert!(found.remaining <= expected, "{} left, expected at most {}", found.remaining, expected);
            fork.sides[side].expire(fork.now, usize::MAX);
            prop_assert_eq!(fork.peek(side), found);
        }
        fork.write_once(0)?;
    }
}

/// The bound on the debt of a bucket: one burst for each further side, not the length of the partition.
#[test]
fn a_long_partition_does_not_lock_a_key_for_as_long() {
    for algorithm in [Algorithm::Gcra, Algorithm::LeakyBucket] {
        let limit = Limit::new(algorithm, 10, Nanos::from_secs(10)).unwrap();
        let mut fork = Fork::after(limit, &[(0, 0, Op::Hit(10))], 2);
        for _ in 0..3_600 {
            fork.act((1_000, 0, Op::Hit(1)));
            fork.act((0, 1, Op::Hit(1)));
        }
        assert!(!fork.drained);
        fork.heal();
        let Verdict::Deny { retry_after } = fork.peek(0).verdict else {
            panic!("both sides were spent");
        };
        assert_eq!(retry_after, Nanos::from_secs(11));
    }
}

/// A sliding counter forgets what is older than its two windows, in a fork too.
#[test]
fn a_long_partition_counts_two_windows_of_a_sliding_counter() {
    let limit = Limit::new(Algorithm::SlidingCounter, 10, Nanos::from_secs(10)).unwrap();
    let mut fork = Fork::after(limit, &[(0, 0, Op::Hit(1))], 2);
    for _ in 0..3_600 {
        fork.act((1_000, 0, Op::Hit(1)));
        fork.act((0, 1, Op::Hit(1)));
    }
    fork.heal();
    assert!(fork.peek(0).reset_after <= Nanos::from_secs(20));
}

#[test]
fn a_reset_forgives_what_it_knew_and_not_what_it_could_not_know() {
    let limit = limit(Algorithm::FixedWindow, 20);
    let mut fork = Fork::after(limit, &[(0, 0, Op::Hit(5))], 2);
    fork.act((0, 1, Op::Hit(3)));
    fork.act((0, 0, Op::Reset));
    fork.act((0, 0, Op::Hit(1)));
    fork.heal();
    assert_eq!(fork.peek(0).remaining, 20 - 3 - 1);
    assert_eq!(fork.peek(1).remaining, 20 - 3 - 1);
}

/// An operator who resets a key on both sides must not have the past given back twice.
#[test]
fn a_past_that_both_sides_reset_is_forgiven_once() {
    for algorithm in Algorithm::ALL {
        let mut fork = Fork::after(limit(algorithm, 20), &[(0, 0, Op::Hit(15))], 2);
        for side in [0, 1] {
            fork.act((0, side, Op::Reset));
            fork.act((0, side, Op::Hit(4)));
        }
        fork.heal();
        assert_eq!(fork.peek(0).remaining, 20 - 8, "{algorithm}");
    }
}

/// Without its tombstone, a reset would be undone by any replica that missed it.
#[test]
fn a_reset_is_kept_until_what_it_overrode_has_expired() {
    for algorithm in Algorithm::ALL {
        for undo in [Op::Reset, Op::Refund(10)] {
            let mut fork = Fork::after(limit(algorithm, 20), &[(0, 0, Op::Hit(10))], 2);
            let stale = fork.sides[1].get(KEY).unwrap();
            fork.act((0, 0, undo));
            let just_before = stale.expires_at() - Nanos::new(1);
            fork.sides[0].expire(just_before, usize::MAX);
            let _ = fork.sides[0].join(just_before, KEY, stale);
            assert_eq!(fork.sides[0].len(), 1, "{algorithm}");
            assert_eq!(fork.peek(0).remaining, 20, "{algorithm}, {undo:?}");
        }
    }
}

#[test]
fn nothing_to_reset_or_refund_writes_nothing() {
    let limit = limit(Algorithm::Gcra, 10);
    let mut cells = Cells::new();
    let dot = Dot::new(term(1, 0), 1);
    assert!(!cells.reset(START, KEY, &limit, dot).changed);
    assert!(!cells.refund(START, KEY, &limit, Cost::ONE, dot).changed);
    assert!(cells.is_empty());
}

/// More writers, one after another, than a key has slots, and never full: its context is bounded.
#[test]
fn slots_are_bounded_and_an_ancient_copy_only_makes_a_key_stricter() {
    let limit = limit(Algorithm::FixedWindow, 2_000);
    let mut cells = Cells::new();
    let mut copies = Vec::new();
    for number in 1..=300 {
        let term = |number: u32| term(number, number as usize);
        let dot = Dot::new(term(number), 1);
        assert!(cells.hit(START, KEY, &limit, Cost::new(2), dot).changed);
        if number == 3 {
            let reset = cells.reset(START, KEY, &limit, Dot::new(term(number), 2));
            assert!(reset.changed);
        }
        if number % 5 == 0 {
            let dot = Dot::new(term(number), 2);
            assert!(cells.refund(START, KEY, &limit, Cost::new(3), dot).changed);
        }
        let cell = cells.get(KEY).unwrap();
        assert!(cell.versions()[0].slots().len() <= 256);
        assert!(cell.versions()[0].forgiven().len() <= 3);
        copies.push(cell);
    }
    let remaining = cells.peek(START, KEY, &limit).remaining;
    assert_eq!(remaining, 2_000 - 600 + 6 + 180);
    assert!(cells.get(KEY).unwrap().versions()[0].forgiven().is_empty());
    for (age, ancient) in copies.into_iter().rev().enumerate() {
        let mut replica = Cells::new();
        let _ = replica.join(START, KEY, cells.get(KEY).unwrap());
        let joined = replica.join(START, KEY, ancient);
        assert_eq!(joined.forked, 256 <= age, "{age} terms old");
        let found = replica.peek(START, KEY, &limit).remaining;
        assert!(found <= remaining, "{age} terms old: {found}");
    }
}

/// Two nodes that take a key from each other a hundred times, as over a link that comes and goes, have two slots in it.
#[test]
fn a_key_has_a_slot_for_each_node_and_not_for_each_change_of_its_owner() {
    for algorithm in Algorithm::ALL {
        let mut fork = Fork::after(limit(algorithm, 1_000), &[], 2);
        for change in 0..100 {
            fork.take_over(change % 2);
            fork.act((0, change % 2, Op::Hit(1)));
            fork.act((0, change % 2, Op::Hit(2)));
            fork.meet(0, 1);
        }
        let cell = fork.sides[0].get(KEY).unwrap();
        let slots = cell.versions()[0].slots();
        assert_eq!((cell.versions().len(), slots.len()), (1, 2), "{algorithm}");
        assert_eq!(
            slots.iter().map(|slot| slot.added.units()).sum::<i64>(),
            300
        );
        assert_eq!(fork.peek(1).remaining, 1_000 - 300, "{algorithm}");
        assert_eq!(fork.sides[0].digest(), fork.sides[1].digest());
    }
}

/// A node that dropped its copy does not have what it wrote: in its old slot the next write would claim to.
#[test]
fn a_node_that_dropped_its_copy_takes_a_new_slot() {
    for algorithm in Algorithm::ALL {
        let mut fork = Fork::after(limit(algorithm, 20), &[], 2);
        fork.act((0, 0, Op::Hit(3)));
        fork.meet(0, 1);
        fork.act((0, 0, Op::Hit(4)));
        let unheard = fork.sides[0].get(KEY).unwrap();
        fork.sides[0] = Cells::new();
        fork.meet(0, 1);
        fork.take_over(0);
        fork.act((0, 0, Op::Hit(2)));
        assert_eq!(fork.peek(0).remaining, 20 - 5, "{algorithm}");
        let _ = fork.sides[0].join(fork.now, KEY, unheard);
        assert_eq!(fork.peek(0).remaining, 20 - 9, "{algorithm}");
    }
}

/// One side is full again by itself and starts over, while the other, which knows what it had, goes on: what it counts
/// then is not part of that.
#[test]
fn what_is_counted_after_starting_over_is_not_taken_for_known() {
    for algorithm in [Algorithm::Gcra, Algorithm::LeakyBucket] {
        let limit = Limit::new(algorithm, 10, Nanos::from_secs(10)).unwrap();
        let mut fork = Fork::after(limit, &[], 2);
        fork.act((0, 0, Op::Hit(3)));
        fork.meet(0, 1);
        fork.act((2_000, 1, Op::Hit(6)));
        fork.act((1_500, 0, Op::Hit(2)));
        fork.heal();
        // One node would have drained at 3 + 6 + 2 s, which is 7.5 s from then.
        assert_eq!(fork.peek(0).remaining, 10 - 8, "{algorithm}");
    }
}

/// What one side counted is over with that side's window. Until somebody tidies up it stands beside the other.
#[test]
fn an_expired_side_counts_no_more() {
    let limit = limit(Algorithm::FixedWindow, 20)
        .with_anchor(Anchor::FirstHit)
        .unwrap();
    let mut fork = Fork::after(limit, &[], 2);
    fork.act((0, 0, Op::Hit(5)));
    fork.act((10_000, 1, Op::Hit(3)));
    fork.heal();
    assert_eq!(fork.peek(0).remaining, 20 - 8);
    fork.now = START + Nanos::from_secs(100);
    assert_eq!(fork.peek(0).remaining, 20 - 3);

    let versions = |cells: &Cells| cells.get(KEY).map(|cell| cell.versions().len());
    let siblings = fork.sides[1].get(KEY).unwrap();
    assert_eq!(versions(&fork.sides[0]), Some(2));
    assert_eq!(fork.sides[0].expire(fork.now, usize::MAX), 0);
    assert_eq!(versions(&fork.sides[0]), Some(1));
    assert!(!fork.sides[0].join(fork.now, KEY, siblings.clone()).changed);
    assert!(!Cells::new().join(fork.now, KEY, siblings).forked);
}

/// Four units in ten seconds, so that a unit drains in 2.5 s. The simulator, seeds 5951 and 7104.
#[test]
fn a_side_that_is_full_again_counts_only_beside_what_was_added_to_it() {
    for algorithm in [Algorithm::Gcra, Algorithm::LeakyBucket] {
        let limit = Limit::new(algorithm, 4, Nanos::from_secs(10)).unwrap();
        // Side 1 adds two units while the first of side 0 drains: together three, of which 1.2 have drained at 3 s.
        let mut fork = Fork::after(limit, &[], 2);
        fork.act((0, 0, Op::Hit(1)));
        fork.act((1_000, 1, Op::Hit(2)));
        fork.now = START + Nanos::from_secs(3);
        fork.heal();
        assert_eq!(fork.peek(0).reset_after, Nanos::from_millis(4_500));
        assert_eq!(fork.sides[0].expire(fork.now, usize::MAX), 0);
        assert_eq!(fork.peek(0).reset_after, Nanos::from_millis(4_500));
        fork.write_once(0).unwrap();
        assert_eq!(fork.peek(0).reset_after, Nanos::from_millis(7_000));

        // It does so afterwards, and the first unit is of the past, even for a node by whose clock it is not.
        let mut fork = Fork::after(limit, &[], 2);
        fork.act((0, 0, Op::Hit(1)));
        fork.act((2_500, 1, Op::Hit(2)));
        fork.now = START + Nanos::from_millis(2_400);
        fork.heal();
        assert_eq!(fork.peek(0).reset_after, Nanos::from_millis(5_100));
    }
}

/// The simulator, seed 2678: one node had begun the next window by its clock, and the next owner, by whose clock the last one
/// still ran, counted both in it and denied until its end.
#[test]
fn a_window_is_over_when_the_next_one_has_begun_elsewhere() {
    for anchor in [Anchor::Epoch, Anchor::FirstHit] {
        let limit = limit(Algorithm::FixedWindow, 20)
            .with_anchor(anchor)
            .unwrap();
        let mut fork = Fork::after(limit, &[], 2);
        fork.act((0, 0, Op::Hit(20)));
        let ends = fork.sides[0].get(KEY).unwrap().expires_at();
        fork.now = ends + Nanos::from_millis(10);
        fork.act((0, 1, Op::Hit(3)));
        fork.now = ends - Nanos::from_millis(10);
        fork.heal();
        assert_eq!(fork.peek(0).remaining, 20 - 3, "{anchor:?}");
        fork.write_once(0).unwrap();
        assert_eq!(fork.peek(0).remaining, 20 - 4, "{anchor:?}");
    }
}

/// Four units of the past given back and four others counted: the slot tells of none, and yet they came last.
#[test]
fn what_was_given_back_and_counted_again_is_not_taken_for_older_than_it_is() {
    let limit = Limit::new(Algorithm::Gcra, 10, Nanos::from_secs(10)).unwrap();
    let mut fork = Fork::after(limit, &[(0, 0, Op::Hit(4))], 2);
    fork.act((0, 0, Op::Refund(4)));
    fork.act((3_000, 1, Op::Hit(1)));
    fork.act((0, 0, Op::Hit(4)));
    fork.heal();
    assert_eq!(fork.peek(0).remaining, 10 - 5);
}

#[test]
fn what_one_side_gave_back_of_the_past_is_given_back_after_the_heal() {
    for algorithm in [Algorithm::Gcra, Algorithm::LeakyBucket] {
        let mut fork = Fork::after(limit(algorithm, 20), &[(0, 0, Op::Hit(10))], 2);
        fork.act((0, 0, Op::Refund(5)));
        fork.act((0, 1, Op::Hit(1)));
        fork.heal();
        assert_eq!(fork.peek(0).remaining, 20 - 6, "{algorithm:?}");
    }
}

/// The past's owner goes on for a moment beside its successor, gives back what it had counted and counts as much again.
#[test]
fn what_an_owner_counted_again_is_not_taken_for_known() {
    let limit = Limit::new(Algorithm::Gcra, 10, Nanos::from_secs(10)).unwrap();
    let mut fork = Fork::after(limit, &[(0, 0, Op::Hit(5))], 2);
    (fork.terms[0], fork.seqs[0]) = (term(1, 0), 1);
    fork.act((0, 0, Op::Refund(5)));
    fork.act((900, 0, Op::Hit(5)));
    fork.act((100, 1, Op::Hit(5)));
    fork.heal();
    // One node would have five at 0.9 s, and five more at 1 s.
    let least = Nanos::from_millis(9_900);
    assert!(least <= fork.peek(0).reset_after, "{:?}", fork.peek(0));
}

/// A replica has what expired, and was not removed yet, when the next owner starts the key over: no fork.
#[test]
fn a_key_that_starts_over_under_the_next_owner_is_no_fork() {
    for algorithm in Algorithm::ALL {
        let limit = Limit::new(algorithm, 10, Nanos::from_secs(10)).unwrap();
        let mut replicas = Fork::after(limit, &[(0, 0, Op::Hit(10))], 2);
        replicas.now = START + Nanos::from_secs(60);
        replicas.act((0, 0, Op::Hit(3)));
        let cell = replicas.sides[0].get(KEY).unwrap();
        let joined = replicas.sides[1].join(replicas.now, KEY, cell);
        assert!(joined.changed && !joined.forked, "{algorithm:?}");
        assert_eq!(
            replicas.sides[0].digest(),
            replicas.sides[1].digest(),
            "{algorithm:?}"
        );
    }
}

/// The switch by which the simulator shows that its checkers see such a mistake.
#[test]
fn the_fault_counts_the_past_twice() {
    for algorithm in Algorithm::ALL {
        if algorithm == Algorithm::SlidingLog {
            continue; // Its entries have names, by which a copy is known.
        }
        let limit = limit(algorithm, 20);
        let mut fork = Fork::after(limit, &[(0, 0, Op::Hit(5))], 2);
        fork.act((0, 0, Op::Hit(1)));
        fork.act((0, 1, Op::Hit(1)));
        fork.sides
            .push(Cells::with_fault(Fault::FoldCountsPastTwice));
        fork.heal();
        assert_eq!(fork.peek(0).remaining, 20 - 7, "{algorithm:?}");
        assert_eq!(fork.peek(2).remaining, 20 - 12, "{algorithm:?}");
    }
}
