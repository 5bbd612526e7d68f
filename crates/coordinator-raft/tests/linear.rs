//! Histories of concurrent clients, recorded while leaders are killed and the network is cut, are linearizable.
//!
//! The checker is our own, after Wing and Gong with Lowe's memory of what was tried, as Porcupine has it: `stateright`'s
//! tester tries every order anew, which takes too long for hundreds of operations of which some never returned. It is
//! shown to refuse histories with a mistake in them.

mod world;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coordinator::{Coordinator as _, FailMode, NoDecision, Policy};
use quota::{Algorithm, Cost};
use tokio::time::Instant;
use world::{Node, Weather, World, limit, policy};

/// What a client did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Hit(u32),
    Peek,
    Refund(u32),
    Reset,
}

/// What it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// Whether it was admitted, and the units left after it.
    Answer(bool, u32),
    Done,
    /// It may have happened, also later.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Event {
    op: Op,
    told: Told,
    invoked: Instant,
    /// Before anything that was invoked later took effect; never for one that is unknown.
    returned: Option<Instant>,
}

/// A counter up to `limit`: what a fixed window of a day is while no day passes.
#[derive(Clone, Copy)]
struct Model {
    limit: u32,
}

impl Model {
    /// The units used after `op`, if that may be told when `used` were before.
    fn step(self, used: u32, op: Op, told: Told) -> Option<u32> {
        let (after, admitted) = match op {
            Op::Hit(cost) if used + cost <= self.limit => (used + cost, true),
            Op::Hit(_) => (used, false),
            Op::Peek => (used, used < self.limit),
            Op::Refund(cost) => {
                let after = used.saturating_sub(cost);
                (after, after < self.limit)
            }
            Op::Reset => (0, true),
        };
        let is_told = match told {
            Told::Answer(said, left) => said == admitted && left == self.limit - after,
            Told::Done | Told::Unknown => true,
        };
        is_told.then_some(after)
    }

    /// Whether there is an order of the events that the model can follow, in which none comes before one that had
    /// returned when it was invoked. Events that are unknown may come anywhere after their invocation, or not at all.
    fn accepts(self, history: &[Event]) -> bool {
        let mut events = history.to_vec();
        events.sort_by_key(|event| event.invoked);
        let mut search = Search {
            model: self,
            done: vec![false; events.len()],
            left: events
                .iter()
                .filter(|event| event.returned.is_some())
                .count(),
            tried: HashSet::new(),
            events,
        };
        search.from(0)
    }
}

struct Search {
    model: Model,
    events: Vec<Event>,
    done: Vec<bool>,
    /// Events that returned and have no place yet.
    left: usize,
    tried: HashSet<(Vec<bool>, u32)>,
}

impl Search {
    fn from(&mut self, used: u32) -> bool {
        if self.left == 0 {
            return true;
        }
        if !self.tried.insert((self.done.clone(), used)) {
            return false;
        }
        // The next one must have been invoked before the first of the others returned.
        let open = self
            .events
            .iter()
            .zip(&self.done)
            .filter(|(_, done)| !**done);
        let first_return = open.filter_map(|(event, _)| event.returned).min();
        for place in 0..self.events.len() {
            let event = self.events[place];
            if first_return.is_some_and(|first| first < event.invoked) {
                break;
            }
            if self.done[place] {
                continue;
            }
            let Some(after) = self.model.step(used, event.op, event.told) else {
                continue;
            };
            let counts = usize::from(event.returned.is_some());
            self.done[place] = true;
            self.left -= counts;
            if self.from(after) {
                return true;
            }
            self.done[place] = false;
            self.left += counts;
        }
        false
    }
}

type Histories = Arc<Mutex<BTreeMap<usize, Vec<Event>>>>;

/// A client that asks one node after another until `until`.
async fn client(
    seed: u64,
    nodes: Arc<Mutex<Vec<Node>>>,
    policy: Policy,
    keys: usize,
    until: Instant,
    histories: Histories,
) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize % below
    };
    while Instant::now() < until {
        let node = {
            let nodes = nodes.lock().unwrap();
            nodes[next(nodes.len())].clone()
        };
        let key = next(keys);
        let name = key.to_string();
        let op = match next(20) {
            0 => Op::Reset,
            1..=3 => Op::Refund(1 + next(3) as u32),
            4..=7 => Op::Peek,
            _ => Op::Hit(1 + next(2) as u32),
        };
        let invoked = Instant::now();
        let told = match op {
            Op::Hit(cost) => node.hit(&policy, &name, Cost::new(cost)).await.map(Some),
            Op::Peek => node.hit(&policy, &name, Cost::PEEK).await.map(Some),
            Op::Refund(cost) => node.refund(&policy, &name, Cost::new(cost)).await.map(Some),
            Op::Reset => node.reset(&policy, &name).await.map(|()| None),
        };
        let (told, returned) = match told {
            Ok(Some(answer)) => {
                assert!(!answer.by_fail_mode);
                let decision = answer.decision;
                let told = Told::Answer(decision.is_allowed(), decision.remaining);
                (told, Some(Instant::now()))
            }
            Ok(None) => (Told::Done, Some(Instant::now())),
            Err(NoDecision::Unknown { .. }) => (Told::Unknown, None),
            // Certainly not counted: it did not happen.
            Err(_) => continue,
        };
        let event = Event {
            op,
            told,
            invoked,
            returned,
        };
        histories
            .lock()
            .unwrap()
            .entry(key)
            .or_default()
            .push(event);
        tokio::time::sleep(Duration::from_millis(next(60) as u64)).await;
    }
}

/// Seconds of trouble under load, and what the clients saw.
async fn trouble(seed: u64) -> BTreeMap<usize, Vec<Event>> {
    const SECONDS: u64 = 20;
    const KEYS: usize = 8;
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    let mut world = World::of(&NAMES).await;
    world.weather(Weather {
        lost_percent: 1,
        delay_max: Duration::from_millis(8),
    });
    let policy = policy(limit(Algorithm::FixedWindow, 30), FailMode::Deny);
    let histories = Histories::default();
    let until = Instant::now() + Duration::from_secs(SECONDS);
    let reachable = Arc::new(Mutex::new(world.nodes()));
    let clients: tokio::task::JoinSet<_> = (0..12)
        .map(|id| {
            let seed = seed * 1_000 + id;
            client(
                seed,
                reachable.clone(),
                policy.clone(),
                KEYS,
                until,
                histories.clone(),
            )
        })
        .collect();
    let mut round = seed;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let Some(leader) = world.leader() else {
            continue;
        };
        if round.is_multiple_of(2) {
            world.kill(&leader).await;
            *reachable.lock().unwrap() = world.nodes();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            world.start(&leader);
        } else {
            let other = NAMES.iter().find(|name| **name != leader).unwrap();
            let rest: Vec<_> = NAMES
                .into_iter()
                .filter(|it| *it != leader && it != other)
                .collect();
            world.split(&[&[&leader, other], &rest]);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            world.heal();
        }
        *reachable.lock().unwrap() = world.nodes();
        round += 1;
    }
    clients.join_all().await;
    let mut histories = histories.lock().unwrap();
    std::mem::take(&mut *histories)
}

#[tokio::test(start_paused = true)]
async fn what_clients_see_under_kills_and_cuts_is_linearizable_for_each_key() {
    let (mut events, mut unknown) = (0, 0);
    for seed in 0..4 {
        for (key, history) in trouble(seed).await {
            events += history.len();
            unknown += history.iter().filter(|it| it.told == Told::Unknown).count();
            assert!(
                Model { limit: 30 }.accepts(&history),
                "seed {seed}, key {key}: {history:#?}"
            );
        }
    }
    println!("{events} operations, of which {unknown} unknown");
    assert!(
        2_000 < events && unknown < events / 10,
        "{events} operations, {unknown} unknown"
    );
}

#[tokio::test(start_paused = true)]
async fn the_checker_refuses_a_real_history_with_one_answer_changed() {
    let histories = trouble(1).await;
    let model = Model { limit: 30 };
    let (mut planted, mut refused) = (0, 0);
    for history in histories.values() {
        for place in (0..history.len()).step_by(history.len() / 10) {
            let mut bad = history.clone();
            // A unit that nobody counted, or one that was counted twice.
            let Told::Answer(admitted, left) = bad[place].told else {
                continue;
            };
            bad[place].told = Told::Answer(admitted, if left < 30 { left + 1 } else { left - 1 });
            planted += 1;
            refused += u32::from(!model.accepts(&bad));
        }
    }
    // Where operations overlap, a wrong answer is sometimes one that could have been given.
    println!("{refused} of {planted} refused");
    assert!(
        20 < planted && planted * 3 / 4 < refused,
        "{refused} of {planted}"
    );
}

#[test]
fn the_checker_knows_what_may_have_happened() {
    let began = std::time::Instant::now();
    let at = |millis| Instant::from_std(began + Duration::from_millis(millis));
    let event = |op, told, invoked, returned: u64| Event {
        op,
        told,
        invoked: at(invoked),
        returned: (told != Told::Unknown).then(|| at(returned)),
    };
    let model = Model { limit: 1 };
    let (yes, no) = (Told::Answer(true, 0), Told::Answer(false, 0));
    let hit = Op::Hit(1);
    // Two at once: either may be the one.
    assert!(model.accepts(&[event(hit, no, 0, 10), event(hit, yes, 5, 15)]));
    // One after the other: the first must be.
    assert!(!model.accepts(&[event(hit, no, 0, 10), event(hit, yes, 11, 15)]));
    // Both admitted.
    assert!(!model.accepts(&[event(hit, yes, 0, 10), event(hit, yes, 5, 15)]));
    // A stale read after the answer.
    assert!(!model.accepts(&[
        event(hit, yes, 0, 10),
        event(Op::Peek, Told::Answer(true, 1), 11, 12)
    ]));
    // One that is unknown may have happened, or not, or later, but not before it was asked.
    let lost = event(hit, Told::Unknown, 0, 0);
    assert!(model.accepts(&[lost, event(hit, no, 5, 10)]));
    assert!(model.accepts(&[lost, event(hit, yes, 5, 10)]));
    assert!(model.accepts(&[
        lost,
        event(Op::Peek, Told::Answer(true, 1), 5, 6),
        event(hit, no, 7, 9)
    ]));
    let later = event(hit, Told::Unknown, 20, 0);
    assert!(!model.accepts(&[event(hit, no, 5, 10), later]));
}
