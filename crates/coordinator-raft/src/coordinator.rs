//! The strategy as fronts and drivers see it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use coordinator::{Answer, Coordinator, Hit, NoDecision, Policy};
use quota::{Cost, Limit};
use supervisor::Supervisor;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ask::Operation;
use crate::carry::{carry_all, propose_all};
use crate::config::{RaftConfig, StartError};
use crate::engine::{Seat, Seating};
use crate::meter::SnapshotMeter;
use crate::node::Node;
use crate::outbox::{RETRY_AFTER, Subject, Told};
use crate::peers::{Member, Peers};
use crate::saved::Saver;
use crate::status::RaftStatus;
use crate::steward::Steward;

/// How long a hit may take, all attempts together: a leader that fails is replaced within 1.2 s, and this leaves room
/// for an election that nobody wins. Shorter than clients wait, and the same for every path, so that a front's own
/// deadline need not know the strategy.
const DEADLINE: Duration = Duration::from_secs(3);

/// How long a node that stops waits for what it was asked, and for another to lead. Two heartbeats would do.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often it looks meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The strategy `raft`: a hit counts when a majority of voters has it in its log.
///
/// Every operation goes through the log, peeks too, so that all are linearizable for each key. The node that leads joins
/// what waits into one entry; others send it what they are asked. Each hit has an id that stays the same when it is asked
/// again, so that it counts once. The leader proposes the time, which never goes back.
///
/// Gives up latency, and all decisions where no majority of voters can be reached: those are answered by the limit's fail
/// mode within 3 s.
///
/// Cheap to clone; clones are the same node.
pub struct RaftCoordinator<P> {
    node: Arc<Node<P>>,
    /// Above the tasks of this node.
    supervisor: Supervisor,
}

impl<P> Clone for RaftCoordinator<P> {
    fn clone(&self) -> Self {
        Self {
            node: Arc::clone(&self.node),
            supervisor: self.supervisor.clone(),
        }
    }
}

impl<P: Peers> RaftCoordinator<P> {
    /// Starts this node's part: it joins a group that there is, or helps to form one.
    ///
    /// `members` must name this node too, and keep naming nodes that are believed dead until they have left or were
    /// forgotten. Returns before there is a leader; hits wait for one.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the timings make no sense, or what was saved cannot be used.
    pub fn start(
        config: RaftConfig,
        peers: P,
        members: watch::Receiver<Vec<Member>>,
    ) -> Result<Self, StartError> {
        let timings = config.timings;
        let rises = [
            Duration::ZERO,
            timings.heartbeat,
            timings.election_min,
            timings.election_max,
        ]
        .map(|span| span.as_millis());
        if !rises.is_sorted_by(|a, b| a < b) {
            return Err(StartError::Timings);
        }
        let (saver, saved) = match &config.data_dir {
            Some(dir) => {
                let (saver, saved) = Saver::open(dir)?;
                (Some(saver), saved)
            }
            None => (None, None),
        };
        let seating = Seating {
            me: config.me,
            peers: peers.clone(),
            timings,
            saver,
            snapshots: SnapshotMeter::new(),
        };
        let node = Arc::new(Node::new(config, peers, members, seating, saved));
        let supervisor = Supervisor::start();
        run(&supervisor, CARRY, &node, carry_all);
        run(&supervisor, PROPOSE, &node, propose_all);
        run(&supervisor, STEWARD, &node, |node| Steward::new(node).run());
        run(&supervisor, FOLLOW, &node, follow);
        Ok(Self { node, supervisor })
    }

    /// Answers a [`Peers::call`] of node `from`.
    ///
    /// May take as long as the call's deadline: run calls beside each other. Bytes that make no sense are refused in
    /// the answer. `from` must be who the connection has proven to be.
    pub async fn on_call(&self, from: u32, request: Bytes) -> Bytes {
        self.node.on_call(from, request).await.encode()
    }

    /// How this node sees its group.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let seen = self.node.seat().map(|seat| status(&seat));
        RaftStatus {
            decides: self.decides(),
            settled: self.node.is_settled(),
            ..seen.unwrap_or_default()
        }
    }

    /// Whether this node has had its vote since it started, or none was wanted of it: before, who kills another one may
    /// take the majority.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.node.is_settled()
    }

    /// Whether the group is known to have decided within the 3 s that a hit may take.
    #[must_use]
    pub fn decides(&self) -> bool {
        let decided = self.node.decided();
        decided.is_some_and(|at| at.elapsed() < DEADLINE)
    }

    /// Stops: takes no more hits, waits a moment for those that it has, has another node lead, and gives up its seat.
    /// Hits that come later are told that this node drains.
    pub async fn stop(&self) {
        self.node.outbox.close();
        let deadline = Instant::now() + LAST_WORDS;
        while self.node.outbox.open() != 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.node.is_stopped.store(true, Ordering::Release);
        if let Some(seat) = self.node.seat() {
            self.step_aside(&seat).await;
            if self.node.config.data_dir.is_some() {
                save(&seat).await;
            }
        }
        self.kill().await;
    }

    async fn step_aside(&self, seat: &Seat) {
        let me = self.node.config.me;
        let voting = seat.voting();
        let alive = self.node.live_others();
        let mut heirs = voting
            .configs
            .iter()
            .flatten()
            .filter(|id| **id != me && alive.contains(id) && voting.caught_up.contains(id));
        let Some(&heir) = heirs.next().filter(|_| voting.is_leader) else {
            return;
        };
        seat.hand_over(heir).await;
        let mut leader = self.node.leader.subscribe();
        let replaced = leader.wait_for(|leader| leader.is_some_and(|leader| leader != me));
        let _elapsed = tokio::time::timeout(LAST_WORDS, replaced).await;
    }

    /// Stops at once and says nothing to anybody, as a process that is killed does.
    pub async fn kill(&self) {
        self.node.outbox.close();
        self.node.is_stopped.store(true, Ordering::Release);
        self.supervisor.stop().await;
        self.node.give_up().await;
    }

    fn subject(&self, policy: &Policy, key: &str, operation: Operation) -> Subject {
        let hasher = &self.node.config.hasher;
        let key = hasher.hash(&policy.namespace, &policy.name, key);
        (key, policy.limit, operation)
    }

    /// Whether some node would not understand the log with hits on `limit` in it.
    fn is_unreadable(&self, limit: &Limit) -> bool {
        limit.anchor().calendar().is_some() && !self.node.peers.read_calendars()
    }

    async fn decide(&self, subject: Subject) -> Told {
        let (_, limit, _) = &subject;
        if self.is_unreadable(limit) {
            return Err(NoDecision::Unavailable {
                retry_after: RETRY_AFTER,
            });
        }
        let deadline = Instant::now() + DEADLINE;
        let agreement = Agreement::begin(1);
        let ticket = self.node.outbox.put(std::iter::once(subject)).pop();
        let retry_after = RETRY_AFTER;
        let told = match ticket.unwrap_or(Err(NoDecision::Unavailable { retry_after })) {
            Ok(ticket) => ticket.decided(deadline).await,
            Err(error) => Err(error),
        };
        agreement.note(&told);
        told
    }

    fn answer(&self, policy: &Policy, cost: Cost, told: Told) -> Result<Answer, NoDecision> {
        told.map(Answer::from).or_else(|error| {
            self.node.meter.by_fail_mode.increment(1);
            policy.on_failure.answer(&policy.limit, cost, error)
        })
    }
}

/// The span of hits on their way through the log, below that of the request that asked them.
struct Agreement(Option<traces::Span>);

impl Agreement {
    /// So many hits are put together.
    fn begin(hits: usize) -> Self {
        let span = traces::child("raft");
        if let Some(span) = &span {
            span.set("weir.hits", u32::try_from(hits).unwrap_or(u32::MAX));
        }
        Self(span)
    }

    /// One of them is told so.
    fn note(&self, told: &Told) {
        if let (Some(span), Err(error)) = (&self.0, told) {
            span.fail(error.to_string());
        }
    }
}

impl<P: Peers> Coordinator for RaftCoordinator<P> {
    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let told = self
            .decide(self.subject(policy, key, Operation::Hit(cost)))
            .await;
        self.answer(policy, cost, told)
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        if hits.iter().any(|hit| self.is_unreadable(&hit.policy.limit)) {
            let mut answers = Vec::with_capacity(hits.len());
            for hit in hits {
                answers.push(self.hit(hit.policy, hit.key, hit.cost).await);
            }
            return answers;
        }
        let deadline = Instant::now() + DEADLINE;
        let subjects = hits
            .iter()
            .map(|hit| self.subject(hit.policy, hit.key, Operation::Hit(hit.cost)));
        let agreement = Agreement::begin(hits.len());
        let tickets = self.node.outbox.put(subjects);
        let mut answers = Vec::with_capacity(hits.len());
        for (hit, ticket) in hits.iter().zip(tickets) {
            let told = match ticket {
                Ok(ticket) => ticket.decided(deadline).await,
                Err(error) => Err(error),
            };
            agreement.note(&told);
            answers.push(self.answer(hit.policy, hit.cost, told));
        }
        answers
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let subject = self.subject(policy, key, Operation::Refund(cost));
        self.decide(subject).await.map(Answer::from)
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        let subject = self.subject(policy, key, Operation::Reset);
        self.decide(subject).await.map(drop)
    }
}

/// What a node does as long as it runs, by the names that logs and metrics have for it.
const CARRY: &str = "raft-carry";
const PROPOSE: &str = "raft-propose";
const STEWARD: &str = "raft-steward";
const FOLLOW: &str = "raft-follow";

/// Starts a task of a node. What it knows it finds in the node, also when it starts again.
fn run<P: Peers, F: Future<Output = ()> + Send + 'static>(
    supervisor: &Supervisor,
    name: &'static str,
    node: &Arc<Node<P>>,
    task: impl Fn(Arc<Node<P>>) -> F + Send + Sync + 'static,
) {
    let node = Arc::clone(node);
    supervisor.run(name, move || task(Arc::clone(&node)));
}

/// Tells those that wait who leads, whatever seat this node has.
async fn follow<P: Peers>(node: Arc<Node<P>>) {
    let mut seats = node.seats();
    loop {
        let seat = seats.borrow_and_update().clone();
        let Some(seat) = seat else {
            node.leader.send_replace(None);
            if seats.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            biased;
            () = follow_seat(&node, &seat) => {
                // The seat is given up: another comes, or none.
                if seats.changed().await.is_err() {
                    return;
                }
            }
            changed = seats.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn follow_seat<P: Peers>(node: &Node<P>, seat: &Seat) {
    let mut watch = seat.watch();
    let mut was_leader = false;
    loop {
        let voting = seat.voting();
        if voting.is_leader && !was_leader {
            node.meter.elections.increment(1);
            tracing::info!(group = %seat.group(), term = voting.term, "raft leader");
        }
        was_leader = voting.is_leader;
        node.leader.send_if_modified(|leader| {
            let changed = *leader != voting.leader;
            *leader = voting.leader;
            changed
        });
        if !watch.changed().await {
            return;
        }
    }
}

fn status(seat: &Seat) -> RaftStatus {
    let voting = seat.voting();
    let voters: BTreeSet<_> = voting.configs.into_iter().flatten().collect();
    let (log_entries, log_bytes, snapshot_index) = seat.log_size();
    let applied = seat.applied();
    RaftStatus {
        group: Some(seat.group().to_string()),
        leader: voting.leader,
        term: voting.term,
        leads: voting.leads,
        decides: false,
        settled: false,
        learners: voting.nodes.difference(&voters).copied().collect(),
        voters: voters.into_iter().collect(),
        applied_index: voting.applied,
        last_index: voting.log.1,
        snapshot_index,
        log_entries,
        log_bytes,
        keys: applied.machine.keys(),
        remembered: applied.machine.remembered(),
    }
}

/// Has the state saved as it is now.
async fn save(seat: &Seat) {
    let deadline = Instant::now() + LAST_WORDS;
    seat.renew_snapshot().await;
    while seat.log_size().2 < seat.applied().index().unwrap_or(0) && Instant::now() < deadline {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    seat.saved().await;
}

#[cfg(test)]
mod tests;
