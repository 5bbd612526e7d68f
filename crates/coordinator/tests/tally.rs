//! Nodes that each count for themselves and tell each other.

use coordinator::Tally;
use delta_crdt::{Cell, ReplicaId};
use proptest::prelude::*;
use quota::{Algorithm, Cost, Count, KeyHash, Limit, Nanos, Stamp, UnixNanos, Verdict};

const KEY: KeyHash = KeyHash::new(7);
const NODES: usize = 3;
const START: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

/// What happens next, `after` milliseconds after what happened before.
#[derive(Clone, Debug)]
struct Step {
    after: u64,
    event: Event,
}

#[derive(Clone, Debug)]
enum Event {
    Hit {
        node: usize,
        units: u32,
    },
    /// What this node has not told yet reaches those nodes whose bit is set; the others lose it.
    Tell {
        node: usize,
        reaches: u8,
    },
    /// One node learns all that another knows, as anti-entropy does.
    Repair {
        from: usize,
        to: usize,
    },
}

fn steps(pause_max: u64) -> impl Strategy<Value = Vec<Step>> {
    let event = prop_oneof![
        4 => (0..NODES, 0..4_u32).prop_map(|(node, units)| Event::Hit { node, units }),
        2 => (0..NODES, any::<u8>()).prop_map(|(node, reaches)| Event::Tell { node, reaches }),
        1 => (0..NODES, 0..NODES).prop_map(|(from, to)| Event::Repair { from, to }),
    ];
    let step = (0..=pause_max, event).prop_map(|(after, event)| Step { after, event });
    prop::collection::vec(step, 0..120)
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(vec![
        Algorithm::Gcra,
        Algorithm::SlidingLog,
        Algorithm::SlidingCounter,
        Algorithm::FixedWindow,
        Algorithm::LeakyBucket,
    ])
}

fn limit(algorithm: Algorithm, units: u32, period_ms: u64) -> Limit {
    Limit::new(algorithm, units, Nanos::from_millis(period_ms)).unwrap()
}

/// One admitted hit, by whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Admitted {
    at: UnixNanos,
    units: u32,
}

/// The nodes, and beside each the hits that it has heard of, told in another way: as a set.
struct Nodes {
    limit: Limit,
    now: UnixNanos,
    tallies: Vec<Tally>,
    admitted: Vec<Admitted>,
    /// Places in `admitted`.
    known: Vec<Vec<usize>>,
    /// What each node's next telling holds, as a set.
    untold: Vec<Vec<usize>>,
}

impl Nodes {
    fn new(limit: Limit) -> Self {
        Self {
            limit,
            now: START,
            tallies: (1..)
                .take(NODES)
                .map(|id| Tally::new(ReplicaId(id)))
                .collect(),
            admitted: Vec::new(),
            known: vec![Vec::new(); NODES],
            untold: vec![Vec::new(); NODES],
        }
    }

    fn hit(&mut self, node: usize, units: u32) -> Verdict {
        let tallied = self.tallies[node].hit(self.now, KEY, &self.limit, Cost::new(units));
        let verdict = tallied.decision.verdict;
        if verdict == Verdict::Allow && units != 0 {
            let place = self.admitted.len();
            self.admitted.push(Admitted {
                at: self.now,
                units,
            });
            self.known[node].push(place);
            // A delta says all that its writer knew.
            self.untold[node] = self.known[node].clone();
        }
        verdict
    }

    fn tell(&mut self, node: usize, reaches: impl Fn(usize) -> bool) {
        let cells = self.tallies[node].untold();
        let told = std::mem::take(&mut self.untold[node]);
        for other in (0..NODES).filter(|&other| other != node && reaches(other)) {
            self.hear(other, &cells, &told);
        }
    }

    fn repair(&mut self, from: usize, to: usize) {
        let differing = self.tallies[from]
            .digest()
            .differing(&self.tallies[to].digest());
        let cells: Vec<_> = self.tallies[from].buckets(differing).collect();
        if !cells.is_empty() {
            let told = self.known[from].clone();
            self.hear(to, &cells, &told);
        }
    }

    fn hear(&mut self, node: usize, cells: &[(KeyHash, Cell)], told: &[usize]) {
        for (key, cell) in cells {
            self.tallies[node].on_told(self.now, *key, cell.clone());
        }
        let known = &mut self.known[node];
        known.extend(told);
        known.sort_unstable();
        known.dedup();
        if self.untold[node].is_empty() {
            return;
        }
        self.untold[node] = known.clone();
    }

    fn play(&mut self, step: &Step) {
        self.now = self.now + Nanos::from_millis(step.after);
        match step.event {
            Event::Hit { node, units } => drop(self.hit(node, units)),
            Event::Tell { node, reaches } => self.tell(node, |other| reaches & 1 << other != 0),
            Event::Repair { from, to } => self.repair(from, to),
        }
    }

    /// Everybody learns everything.
    fn converge(&mut self) {
        for _ in 0..2 {
            for (from, to) in (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to))) {
                self.repair(from, to);
            }
        }
    }

    /// What one node would count that had admitted these hits, in the order of their times.
    fn counted(&self, places: &[usize]) -> u64 {
        // A limit so wide that it admits what the others overshot, with the same rate and window.
        let mut count: Option<Count> = None;
        for (seq, &place) in (1..).zip(places) {
            let Admitted { at, units } = self.admitted[place];
            let stamp = Stamp { term: 9, seq };
            let before = count.clone();
            let taken = self.limit.hit(at, &mut count, Cost::new(units), stamp);
            if taken.added == 0 {
                count = before.map(|count| count.plus(&self.limit, at, i64::from(units)));
            }
        }
        count.map_or(0, |count| count.used(&self.limit, self.now))
    }
}

proptest! {
    /// Told at once, three nodes are one: each hit is decided as by the algorithm alone.
    #[test]
    fn without_delay_the_nodes_count_as_one(
        algorithm in algorithms(),
        hits in prop::collection::vec((0..NODES, 0..4_u32, 0..700_u64), 0..150),
    ) {
        let limit = limit(algorithm, 5, 1_000);
        let mut nodes = Nodes::new(limit);
        let mut alone = None;
        for (seq, (node, units, after)) in (1..).zip(hits) {
            nodes.now = nodes.now + Nanos::from_millis(after);
            let tallied = nodes.tallies[node].hit(nodes.now, KEY, &limit, Cost::new(units));
            let taken = limit.hit(nodes.now, &mut alone, Cost::new(units), Stamp { term: 9, seq });
            prop_assert_eq!(tallied.decision, taken.decision, "hit {}", seq);
            prop_assert_eq!(tallied.overshoot, 0);
            nodes.tell(node, |_| true);
        }
    }

    /// However deltas are lost and reordered: what repairs exchange makes all nodes know and answer the same.
    #[test]
    fn nodes_converge(algorithm in algorithms(), steps in steps(40)) {
        let mut nodes = Nodes::new(limit(algorithm, 8, 2_000));
        for step in &steps {
            nodes.play(step);
        }
        nodes.converge();
        let first = nodes.tallies[0].digest();
        let peeks: Vec<_> = (0..NODES)
            .map(|node| nodes.tallies[node].hit(nodes.now, KEY, &nodes.limit, Cost::PEEK).decision)
            .collect();
        for node in 1..NODES {
            prop_assert_eq!(nodes.tallies[node].digest(), first.clone());
            prop_assert_eq!(peeks[node], peeks[0]);
        }
    }

    /// A hit passes only if it conforms with all hits that its node knows of. So what a key overshoots was unknown.
    #[test]
    fn what_a_node_knows_it_counts(algorithm in algorithms(), steps in steps(0)) {
        let mut nodes = Nodes::new(limit(algorithm, 8, 3_600_000));
        for step in &steps {
            if let Event::Hit { node, units } = step.event && units != 0 {
                let known: u32 = nodes.known[node].iter().map(|&place| nodes.admitted[place].units).sum();
                let conforms = known + units <= 8;
                prop_assert_eq!(nodes.hit(node, units) == Verdict::Allow, conforms, "knows {}", known);
            } else {
                nodes.play(step);
            }
        }
    }

    /// Keys that are now and then full again at one node and not yet at another: what was told before is not
    /// counted again, and what is told late is not forgotten.
    #[test]
    fn a_fill_ends_where_its_hits_end(
        algorithm in prop::sample::select(vec![
            Algorithm::Gcra,
            Algorithm::LeakyBucket,
            Algorithm::FixedWindow,
            Algorithm::SlidingCounter,
            Algorithm::SlidingLog,
        ]),
        rounds in prop::collection::vec((1..150_u64, prop::collection::vec((0..NODES, 1..3_u32), 0..3)), 1..100),
    ) {
        let mut nodes = Nodes::new(limit(algorithm, 20, 1_000));
        let mut in_flight_max = 0;
        for (pause, hits) in rounds {
            nodes.now = nodes.now + Nanos::from_millis(pause);
            let mut units_of_round = 0;
            for (node, units) in hits {
                if nodes.hit(node, units) == Verdict::Allow {
                    units_of_round += u64::from(units);
                }
                nodes.now = nodes.now + Nanos::from_millis(1);
            }
            in_flight_max = in_flight_max.max(units_of_round);
            for node in 0..NODES {
                nodes.tell(node, |_| true);
            }
            let everything: Vec<usize> = (0..nodes.admitted.len()).collect();
            let counted = nodes.counted(&everything);
            let tallied = 20_u64.saturating_sub(u64::from(
                nodes.tallies[0].hit(nodes.now, KEY, &nodes.limit, Cost::PEEK).decision.remaining,
            ));
            prop_assert!(counted.min(20) <= tallied + in_flight_max, "forgotten: {counted} of {tallied}");
            prop_assert!(tallied <= counted + in_flight_max, "counted twice: {tallied} for {counted}");
        }
    }
}

#[test]
fn a_key_that_has_been_full_for_long_is_forgotten() {
    let limit = limit(Algorithm::Gcra, 1, 100);
    let mut tally = Tally::new(ReplicaId(1));
    let _counted = tally.hit(START, KEY, &limit, Cost::ONE);
    tally.expire(START + Nanos::from_secs(5), usize::MAX);
    assert_eq!(tally.len(), 1, "its context lingers");
    tally.expire(START + Nanos::from_secs(11), usize::MAX);
    assert!(tally.is_empty());
}

#[test]
fn overshoot_is_found_at_the_first_hit_after_the_news() {
    let limit = limit(Algorithm::FixedWindow, 5, 3_600_000);
    let mut tallies = [Tally::new(ReplicaId(1)), Tally::new(ReplicaId(2))];
    for tally in &mut tallies {
        let tallied = tally.hit(START, KEY, &limit, Cost::new(4));
        assert_eq!(tallied.decision.verdict, Verdict::Allow);
    }
    let [one, two] = &mut tallies;
    for (key, cell) in one.untold() {
        assert!(two.on_told(START, key, cell.clone()));
        assert!(!two.on_told(START, key, cell), "nothing new");
    }
    let found: Vec<u64> = (0..2)
        .map(|_| two.hit(START, KEY, &limit, Cost::ONE).overshoot)
        .collect();
    assert_eq!(found, [3, 0]);
}

#[test]
fn a_refund_and_a_reset_are_told_too() {
    let limit = limit(Algorithm::FixedWindow, 5, 3_600_000);
    let mut one = Tally::new(ReplicaId(1));
    let mut two = Tally::new(ReplicaId(2));
    let _counted = one.hit(START, KEY, &limit, Cost::new(5));
    for (what, remaining) in [("refund", 2), ("reset", 5)] {
        match what {
            "refund" => drop(one.refund(START, KEY, &limit, Cost::new(2))),
            _ => drop(one.reset(START, KEY, &limit)),
        }
        for (key, cell) in one.untold() {
            two.on_told(START, key, cell);
        }
        let peeked = two.hit(START, KEY, &limit, Cost::PEEK).decision;
        assert_eq!(peeked.remaining, remaining, "{what}");
    }
}

/// Each restart of a node is another writer. Past sixteen, a node's own hits were taken for known by those that had
/// dropped its slot, or had never heard of it, and were forgotten.
#[test]
fn many_restarts_forget_nothing() {
    let tell = |from: &mut Tally, to: &mut Tally| {
        for (key, cell) in from.untold() {
            to.on_told(START, key, cell);
        }
    };
    // The eldest is in the middle of the ids, so that others come before it and after it.
    let ascending: Vec<u32> = (0..60).filter(|&id| id != 30).collect();
    let descending: Vec<u32> = ascending.iter().rev().copied().collect();
    for (algorithm, ids) in [
        (Algorithm::FixedWindow, &ascending),
        (Algorithm::FixedWindow, &descending),
        (Algorithm::Gcra, &ascending),
        (Algorithm::Gcra, &descending),
    ] {
        let limit = limit(algorithm, 1_000, 86_400_000);
        let mut eldest = Tally::new(ReplicaId(30));
        let mut counted = 0;
        for &id in ids {
            let mut other = Tally::new(ReplicaId(id));
            let hit = |tally: &mut Tally| tally.hit(START, KEY, &limit, Cost::ONE);
            assert_eq!(hit(&mut eldest).decision.verdict, Verdict::Allow);
            tell(&mut eldest, &mut other);
            assert_eq!(hit(&mut other).decision.verdict, Verdict::Allow);
            assert_eq!(hit(&mut eldest).decision.verdict, Verdict::Allow);
            tell(&mut other, &mut eldest);
            tell(&mut eldest, &mut other);
            counted += 3;
            for tally in [&mut eldest, &mut other] {
                let seen = tally.hit(START, KEY, &limit, Cost::PEEK).decision;
                assert_eq!(seen.remaining, 1_000 - counted, "{algorithm:?}, id {id}");
            }
        }
    }
}
