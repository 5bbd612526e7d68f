//! One run: nodes form a group, one thing after another goes wrong while clients ask, and all is checked in the end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coordinator::FailMode;
use quota::Algorithm;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::clients::{Crowd, KEYS, SECOND, Seen, UNITS, UNITS_A_SECOND, limit, policy};
use super::linear::{Model, Op};
use super::network::{FAIR, Weather};
use super::world::{World, voters_of};
use super::{RaftBug, RaftReport};
use crate::oracle::{SimTime, Violation};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// How long faults happen.
const PLAYED: Duration = Duration::from_secs(30);
/// How long nothing happens between two faults.
const CALM: Duration = Duration::from_millis(1_500);
/// The least and the most milliseconds that a fault lasts: some are longer than a hit may wait.
const FAULT: (u64, u64) = (500, 4_500);
/// How long the nodes may take to become a group, and to become one again after the last fault.
const SETTLES: Duration = Duration::from_secs(15);
/// How long a hit may wait for its answer.
const DEADLINE: Duration = Duration::from_millis(3_100);
/// No clock is further ahead of another: what is left when they slew towards each other.
const SPREAD: Duration = Duration::from_millis(20);
/// Clients that ask about the limit of a day, and that press on the limit of a second.
const CLIENTS: (u64, u64) = (12, 3);

/// A run, and what its checkers know.
pub(super) struct Run {
    rng: SmallRng,
    world: World,
    names: Vec<&'static str>,
    crowd: Crowd,
    groups: BTreeSet<String>,
    report: RaftReport,
}

impl Run {
    pub(super) fn new(seed: u64, bug: Option<RaftBug>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let began = Instant::now();
        let nodes = rng.random_range(3..=NAMES.len());
        Self {
            world: World::new(seed),
            names: NAMES[..nodes].to_vec(),
            crowd: Crowd {
                began,
                until: began,
                bug,
                nodes: Arc::default(),
                seen: Arc::new(Mutex::new(Seen::default())),
            },
            groups: BTreeSet::new(),
            report: RaftReport::default(),
            rng,
        }
    }

    /// Starts the nodes; whether they become a group.
    pub(super) async fn form(&mut self) -> bool {
        self.world.is_blind = self.crowd.bug == Some(RaftBug::FoundsAlone);
        for name in self.names.clone() {
            self.start(name);
        }
        if self.world.is_blind {
            let alone = |world: &World| world.statuses().iter().all(|it| it.leads);
            let _ = self.world.comes_true(SETTLES, alone).await;
            self.note_groups();
            self.world.is_blind = false;
            self.world.tell_members();
        }
        let voters = voters_of(self.names.len());
        let agree = |world: &World| world.agree_on(voters);
        let formed = self.world.comes_true(SETTLES, agree).await;
        if !formed {
            self.violate("R4", format!("no group: {:?}", self.world.statuses()));
        }
        formed
    }

    fn start(&mut self, name: &str) {
        self.world.ahead = SPREAD.mul_f64(self.rng.random());
        self.world.start(name);
    }

    /// Clients ask while one thing after another goes wrong.
    pub(super) async fn trouble(&mut self) {
        self.crowd.until = Instant::now() + PLAYED;
        self.crowd.set_nodes(self.world.nodes());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS.0 {
            clients.spawn(self.crowd.clone().ask(self.rng.random()));
        }
        for _ in 0..CLIENTS.1 {
            clients.spawn(self.crowd.clone().press(self.rng.random()));
        }
        while Instant::now() < self.crowd.until {
            tokio::time::sleep(CALM).await;
            self.note_groups();
            self.fault().await;
            self.crowd.set_nodes(self.world.nodes());
        }
        clients.join_all().await;
    }

    /// One thing goes wrong, and is over. Never is a majority of the voters gone for good: that forgets, as is documented.
    async fn fault(&mut self) {
        self.report.faults += 1;
        let voters = voters_of(self.names.len());
        let is_whole = self.world.agree_on(voters);
        let victim = self.victim();
        match self.rng.random_range(0..6) {
            0 | 1 if is_whole => {
                self.world.kill(victim).await;
                self.crowd.set_nodes(self.world.nodes());
                self.wait().await;
                self.restart(victim);
            }
            2 if is_whole => {
                self.world.leave(victim).await;
                self.crowd.set_nodes(self.world.nodes());
                self.wait().await;
                self.start(victim);
            }
            3 => {
                let others = self.names.iter().copied().filter(|name| *name != victim);
                let mut others: Vec<_> = others.collect();
                others.shuffle(&mut self.rng);
                let mut lost = others.split_off(self.names.len() / 2 + 1);
                lost.push(victim);
                self.world.split(&[&lost, &others]);
                self.wait().await;
                self.world.heal();
            }
            4 => {
                self.world.stall(Some(victim));
                self.wait().await;
                self.world.stall(None);
            }
            _ => {
                self.world.weather(Weather {
                    lost_percent: self.rng.random_range(0..10),
                    repeated_percent: 20,
                    delay_max: Duration::from_millis(self.rng.random_range(1..40)),
                });
                self.wait().await;
                self.world.weather(FAIR);
            }
        }
    }

    /// The leader, more often than not.
    fn victim(&mut self) -> &'static str {
        let leader = self.world.leader().filter(|_| self.rng.random_bool(0.6));
        let leads = |name: &&&str| leader.as_deref() == Some(**name);
        let leading = self.names.iter().find(leads).copied();
        leading.unwrap_or_else(|| self.names.choose(&mut self.rng).expect("nodes"))
    }

    async fn wait(&mut self) {
        let millis = self.rng.random_range(FAULT.0..FAULT.1);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    fn restart(&mut self, name: &str) {
        match self.crowd.bug {
            Some(RaftBug::ReusesId) => self.world.restart_under_old_id(name),
            Some(RaftBug::LeapsAhead) => {
                self.world.ahead = Duration::from_secs(10);
                self.world.start(name);
            }
            _ => self.start(name),
        }
    }

    fn note_groups(&mut self) {
        let statuses = self.world.statuses();
        self.groups
            .extend(statuses.into_iter().filter_map(|status| status.group));
    }

    /// R4, and a last look at every key through every node.
    pub(super) async fn settle(&mut self) {
        let voters = voters_of(self.names.len());
        let agree = |world: &World| world.agree_on(voters);
        if !self.world.comes_true(SETTLES, agree).await {
            self.violate("R4", format!("not settled: {:?}", self.world.statuses()));
            return;
        }
        self.note_groups();
        let policy = policy(limit(Algorithm::FixedWindow, UNITS), FailMode::Deny);
        for key in 0..KEYS {
            let mut told = BTreeSet::new();
            for node in self.world.nodes() {
                let invoked = self.crowd.now();
                let answer = self.crowd.tell(&node, &policy, key, Op::Peek).await;
                told.insert(format!("{answer:?}"));
                if let Some(answer) = answer {
                    self.crowd.note(key, Op::Peek, answer, invoked);
                }
            }
            if told.len() != 1 {
                self.violate("R4", format!("key {key}: nodes answer {told:?}"));
            }
        }
    }

    /// What is checked of all that was seen.
    pub(super) fn judge(mut self) -> RaftReport {
        let seen = std::mem::take(&mut *self.crowd.seen());
        for (key, history) in seen.histories.iter().enumerate() {
            if let Err(refusal) = (Model { limit: UNITS }).check(history) {
                let story = format!("key {key}, {} operations: {refusal:?}", history.len());
                self.violate("R1", story);
            }
        }
        self.check_second(&seen);
        if DEADLINE < seen.longest {
            let story = format!("somebody waited {:?}", seen.longest);
            self.violate("R3", story);
        }
        if 1 < self.groups.len() {
            self.violate("R5", format!("groups were formed: {:?}", self.groups));
        }
        self.report.operations = seen.operations;
        self.report.unknown = seen.unknown;
        self.report.digest = digest(&seen);
        self.report
    }

    /// R2: hits that all took effect within one second of the log's time, wherever in it, are no more than its limit.
    fn check_second(&mut self, seen: &Seen) {
        // The log's time is within the spread of the clocks of the time that passed.
        let surely = SECOND.get() - 2 * SPREAD.as_nanos() as SimTime;
        for first in &seen.passed {
            let within = seen.passed.iter().filter(|hit| {
                first.invoked <= hit.invoked && hit.returned <= first.invoked + surely
            });
            let units: u32 = within.map(|hit| hit.units).sum();
            if UNITS_A_SECOND < units {
                let at = first.invoked as f64 / 1e9;
                self.violate("R2", format!("{units} units in the second from {at:.3} s"));
            }
        }
    }

    fn violate(&mut self, promise: &'static str, story: String) {
        let at = self.crowd.now();
        Violation::first_of(&mut self.report.violations, promise, at, story);
    }
}

fn digest(seen: &Seen) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    format!("{seen:?}").hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::linear::Told;
    use crate::raft::{run_raft, runtime};

    #[test]
    fn a_seed_tests_something_and_another_one_something_else() {
        let (one, other) = (run_raft(3, None), run_raft(4, None));
        for report in [&one, &other] {
            assert!(1_000 < report.operations && 3 < report.faults);
            assert_eq!(report.violations, []);
        }
        assert_ne!(one.digest, other.digest);
    }

    #[test]
    fn a_real_history_with_one_answer_changed_is_refused() {
        let seen = runtime(1).block_on(async {
            let mut run = Run::new(1, None);
            assert!(run.form().await);
            run.trouble().await;
            std::mem::take(&mut *run.crowd.seen())
        });
        let model = Model { limit: UNITS };
        let (mut planted, mut refused) = (0, 0);
        for history in &seen.histories {
            for place in (0..history.len()).step_by(history.len() / 10) {
                let mut bad = history.clone();
                // A unit that nobody counted, or one that was counted twice.
                let Told::Answer(admitted, left) = bad[place].told else {
                    continue;
                };
                let wrong = if left < UNITS { left + 1 } else { left - 1 };
                bad[place].told = Told::Answer(admitted, wrong);
                planted += 1;
                refused += u32::from(model.check(&bad).is_err());
            }
        }
        // Where operations overlap, a wrong answer is sometimes one that could have been given.
        assert!(
            20 < planted && planted * 3 / 4 < refused,
            "{refused} of {planted}"
        );
    }
}
