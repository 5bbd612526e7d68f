//! What clients ask, and a record of what they were told.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use coordinator::{Coordinator as _, FailMode, NoDecision, Policy, Strategy};
use quota::{Algorithm, Cost, Limit, Nanos};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::RaftBug;
use super::linear::{Event, Op, Told};
use super::network::Node;
use crate::oracle::SimTime;

/// Keys of the limit that no time passes for.
pub(super) const KEYS: usize = 8;
/// Units of each of them: few, so that they are used up, and refunds and resets matter.
pub(super) const UNITS: u32 = 30;
/// Units a second of the one key of the other limit.
pub(super) const UNITS_A_SECOND: u32 = 20;
/// Its period.
pub(super) const SECOND: Nanos = Nanos::from_secs(1);

/// Long enough that nothing comes back during a run.
const DAY: Nanos = Nanos::from_secs(24 * 60 * 60);

/// Most of what a client waits before it asks again.
const PAUSE_MAX: u64 = 100;

/// A limit of so many units a day, which ends during no run.
///
/// # Panics
///
/// If there is no such limit.
#[must_use]
pub fn limit(algorithm: Algorithm, units: u32) -> Limit {
    Limit::new(algorithm, units, DAY).expect("a valid limit")
}

/// A limit counted by raft.
#[must_use]
pub fn policy(limit: Limit, on_failure: FailMode) -> Policy {
    Policy {
        namespace: "default".into(),
        name: "login".into(),
        limit,
        strategy: Strategy::Raft,
        on_failure,
        top_keys: false,
    }
}

/// A hit of the limit of a second that passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Passed {
    pub(super) units: u32,
    pub(super) invoked: SimTime,
    pub(super) returned: SimTime,
}

/// What all clients together have seen.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    /// Of each key of the limit of a day.
    pub(super) histories: [Vec<Event>; KEYS],
    /// Of the limit of a second.
    pub(super) passed: Vec<Passed>,
    /// Operations that were answered, or may have happened.
    pub(super) operations: u64,
    pub(super) unknown: u64,
    /// The longest that a client waited.
    pub(super) longest: Duration,
}

/// What the clients share.
#[derive(Clone)]
pub(super) struct Crowd {
    pub(super) began: Instant,
    pub(super) until: Instant,
    pub(super) bug: Option<RaftBug>,
    /// Those that can be asked.
    pub(super) nodes: Arc<Mutex<Vec<Node>>>,
    pub(super) seen: Arc<Mutex<Seen>>,
}

impl Crowd {
    pub(super) fn now(&self) -> SimTime {
        self.began.elapsed().as_nanos() as SimTime
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no client panics under this lock")
    }

    pub(super) fn set_nodes(&self, nodes: Vec<Node>) {
        let mut reachable = self.nodes.lock().expect("nothing panics under this lock");
        *reachable = nodes;
    }

    fn node(&self, rng: &mut SmallRng) -> Node {
        let nodes = self.nodes.lock().expect("nothing panics under this lock");
        nodes[rng.random_range(0..nodes.len())].clone()
    }

    /// A client that asks one node after another about the limit of a day.
    pub(super) async fn ask(self, seed: u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let policy = policy(limit(Algorithm::FixedWindow, UNITS), FailMode::Deny);
        let mut remembered = [None; KEYS];
        while Instant::now() < self.until {
            let node = self.node(&mut rng);
            let key = rng.random_range(0..KEYS);
            let op = match rng.random_range(0..20) {
                0 => Op::Reset,
                1..=3 => Op::Refund(rng.random_range(1..=3)),
                4..=7 => Op::Peek,
                _ => Op::Hit(rng.random_range(1..=2)),
            };
            let invoked = self.now();
            let mut told = self.tell(&node, &policy, key, op).await;
            if self.bug == Some(RaftBug::CountsRetryAgain) && told == Some(Told::Unknown) {
                told = self.tell(&node, &policy, key, op).await.or(told);
            }
            if self.bug == Some(RaftBug::AnswersFromMemory) && op == Op::Peek {
                told = *remembered[key].get_or_insert(told);
            }
            if let Some(told) = told {
                self.note(key, op, told, invoked);
            }
            pause(&mut rng).await;
        }
    }

    /// What came of one operation. `None`: it certainly did not happen.
    pub(super) async fn tell(
        &self,
        node: &Node,
        policy: &Policy,
        key: usize,
        op: Op,
    ) -> Option<Told> {
        let began = Instant::now();
        let name = key.to_string();
        let told = match op {
            Op::Hit(cost) => node.hit(policy, &name, Cost::new(cost)).await.map(Some),
            Op::Peek => node.hit(policy, &name, Cost::PEEK).await.map(Some),
            Op::Refund(cost) => node.refund(policy, &name, Cost::new(cost)).await.map(Some),
            Op::Reset => node.reset(policy, &name).await.map(|()| None),
        };
        let mut seen = self.seen();
        seen.longest = seen.longest.max(began.elapsed());
        match told {
            Ok(Some(answer)) => Some(Told::Answer(
                answer.decision.is_allowed(),
                answer.decision.remaining,
            )),
            Ok(None) => Some(Told::Done),
            Err(NoDecision::Unknown { .. }) => Some(Told::Unknown),
            Err(_) => None,
        }
    }

    pub(super) fn note(&self, key: usize, op: Op, told: Told, invoked: SimTime) {
        let returned = (told != Told::Unknown).then(|| self.now());
        let mut seen = self.seen();
        seen.operations += 1;
        seen.unknown += u64::from(returned.is_none());
        seen.histories[key].push(Event {
            op,
            told,
            invoked,
            returned,
        });
    }

    /// A client that hits the limit of a second as fast as its answers come.
    pub(super) async fn press(self, seed: u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let second = Limit::new(Algorithm::SlidingLog, UNITS_A_SECOND, SECOND);
        let policy = policy(second.expect("a valid limit"), FailMode::Deny);
        while Instant::now() < self.until {
            let node = self.node(&mut rng);
            let units = rng.random_range(1..=2);
            let invoked = self.now();
            let told = self.tell(&node, &policy, KEYS, Op::Hit(units)).await;
            if let Some(Told::Answer(true, _)) = told {
                let returned = self.now();
                self.seen().passed.push(Passed {
                    units,
                    invoked,
                    returned,
                });
            }
            pause(&mut rng).await;
        }
    }
}

async fn pause(rng: &mut SmallRng) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(1..=PAUSE_MAX))).await;
}
