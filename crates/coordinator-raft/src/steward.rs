//! Looks after the group: forms it, keeps it in step with the cluster's members, and has its log cut.

mod hearsay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use self::hearsay::{NotRunning, ask};
use crate::ask::Command;
use crate::engine::{Seat, Voting};
use crate::machine::Machine;
use crate::node::Node;
use crate::peers::{Member, Peers};
use crate::roster::{Change, Roster};
use crate::wire::{self, Kind, Standing};

/// How often the steward looks. Members die and join within seconds; a tenth of one is soon enough, and costs nothing.
const LOOK: Duration = Duration::from_millis(100);

/// How long a leader that no majority answers hopes on: who has just been elected needs a moment for the first answers.
const DOUBT: Duration = Duration::from_millis(300);

/// How long a probe waits: a node that takes longer is asked again.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Steward<P> {
    node: Arc<Node<P>>,
    /// The live members, and since when there are just these.
    lately: (BTreeSet<u32>, Instant),
    /// Those that answered a probe, so that they run the strategy.
    running: BTreeSet<u32>,
    mourning_since: Option<Instant>,
    /// Since when this node leads, and no majority answers.
    unheard_since: Option<Instant>,
    saved_at: Instant,
    /// When the others were last asked whether the group decides.
    asked_decided: Instant,
    is_degraded: bool,
}

/// What the live members said about where they stand.
struct Census {
    standings: BTreeMap<u32, Standing>,
    /// Whether everybody answered who runs the strategy.
    is_complete: bool,
}

impl<P: Peers> Steward<P> {
    pub(crate) fn new(node: Arc<Node<P>>) -> Self {
        let now = Instant::now();
        Self {
            node,
            lately: (BTreeSet::new(), now),
            running: BTreeSet::new(),
            mourning_since: None,
            unheard_since: None,
            saved_at: now,
            asked_decided: now,
            is_degraded: false,
        }
    }

    /// Looks after the group, for ever.
    pub(crate) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let members = self.node.members.borrow().clone();
        {
            let known = &self.node.known;
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.note(&members);
        }
        let live = self.node.live_others();
        let me = self.node.config.me;
        self.running.retain(|id| *id == me || live.contains(id));
        if live != self.lately.0 {
            self.lately = (live, Instant::now());
        }
        match self.node.seat() {
            None => self.form(&members).await,
            Some(seat) => {
                let voting = seat.voting();
                self.tend(&seat, &voting, &members).await;
                self.keep_still(&seat, &voting);
                if voting.is_leader {
                    self.lead(&seat, &voting, &members).await;
                }
                self.mourn(&seat, &voting, &members).await;
                self.hear(&seat, &voting, &members).await;
            }
        }
    }

    /// Forms the first group, if there is none and it is up to this node: it holds the latest snapshot of all, or, as
    /// with none, has the lowest name.
    async fn form(&mut self, members: &[Member]) {
        if self.lately.1.elapsed() < self.node.config.timings.settle {
            return;
        }
        let census = self.census(None).await;
        let is_first = census.is_complete
            && census
                .standings
                .values()
                .all(|standing| standing.group.is_none())
            && self.is_first(members, &census, |standing| standing.saved);
        if !is_first {
            return;
        }
        let saved = {
            let saved = self.node.saved.lock();
            saved.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let (epoch, parts) = saved.map_or((0, Vec::new()), |saved| (saved.epoch, saved.parts));
        self.node.found(epoch + 1, parts, None).await;
    }

    /// Whether this node is the furthest of those that may vote, and of those the one with the lowest name.
    fn is_first<T: Ord>(
        &self,
        members: &[Member],
        census: &Census,
        far: impl Fn(&Standing) -> T,
    ) -> bool {
        let member = |id: u32| members.iter().find(|member| member.id == id);
        let rank = |id: u32, standing: &Standing| {
            let name = member(id).map_or("", |member| member.name.as_str());
            (std::cmp::Reverse(far(standing)), name.to_owned(), id)
        };
        let votes = |id: u32| member(id).is_none_or(|member| member.votes);
        let me = self.node.config.me;
        let mine = (
            std::cmp::Reverse(far(&self.node.standing())),
            self.node.config.name.clone(),
            me,
        );
        let mut others = census.standings.iter().filter(|&(&id, _)| votes(id));
        votes(me) && others.all(|(&id, it)| mine <= rank(id, it))
    }

    /// What every member does.
    async fn tend(&mut self, seat: &Seat, voting: &Voting, members: &[Member]) {
        let timings = &self.node.config.timings;
        seat.compact(timings.log_bytes).await;
        if self.node.config.data_dir.is_some() && timings.save_every <= self.saved_at.elapsed() {
            self.saved_at = Instant::now();
            seat.renew_snapshot().await;
        }
        self.warn_of_a_pair(voting, members);
        self.report(seat, voting);
    }

    /// Two voters need each other.
    fn warn_of_a_pair(&mut self, voting: &Voting, members: &[Member]) {
        let alive = members.iter().filter(|member| member.is_alive).count();
        let is_degraded = alive == 2 && voting.is_leader;
        if is_degraded && !self.is_degraded {
            tracing::warn!(
                voters = voting.configs.first().map_or(0, BTreeSet::len),
                "raft on two nodes bears no loss: without its voters it decides nothing until they are back or gone for good"
            );
        }
        self.is_degraded = is_degraded;
    }

    fn report(&self, seat: &Seat, voting: &Voting) {
        let meter = &self.node.meter;
        let voters: BTreeSet<_> = voting.configs.iter().flatten().collect();
        meter.term.set(voting.term as f64);
        meter.is_leader.set(f64::from(u8::from(voting.leads)));
        meter.voters.set(voters.len() as f64);
        meter
            .learners
            .set((voting.nodes.len() - voters.len().min(voting.nodes.len())) as f64);
        meter.applied_index.set(voting.applied as f64);
        let (entries, bytes, _) = seat.log_size();
        meter.log_entries.set(entries as f64);
        meter.log_bytes.set(bytes as f64);
        meter.keys.set(seat.applied().machine.keys() as f64);
    }

    /// A leader that is not answered may still be heard, where links carry one way: then nobody stands for election, and nothing
    /// is decided for as long as that lasts. So it keeps still for as long as an election takes, and, should there be
    /// none, speaks as long again.
    fn keep_still(&mut self, seat: &Seat, voting: &Voting) {
        if voting.leads || !voting.is_leader {
            self.unheard_since = None;
            return seat.keep_still(false);
        }
        let since = *self.unheard_since.get_or_insert_with(Instant::now);
        // What followers wait before they doubt, and then before they stand.
        let election = 2 * self.node.config.timings.election_max;
        let doubted_for = since.elapsed().checked_sub(DOUBT);
        let phase = doubted_for.map(|it| it.as_millis() / election.as_millis());
        seat.keep_still(phase.is_some_and(|phase| phase.is_multiple_of(2)));
    }

    /// What a leader does.
    async fn lead(&mut self, seat: &Seat, voting: &Voting, members: &[Member]) {
        if !voting.leads {
            return;
        }
        let now = (self.node.config.clock)();
        let is_due = seat.applied().machine.is_due(now);
        if is_due {
            // Full keys go with the next entry; without hits there is none.
            let parcels = Vec::new();
            seat.propose(Command::Decide { now, parcels }.encode())
                .await;
        }
        self.running.insert(self.node.config.me);
        let strangers: BTreeSet<_> = self.lately.0.difference(&voting.nodes).copied().collect();
        if !strangers.is_empty() {
            self.census(Some(strangers)).await;
        }
        let change = Roster {
            configs: &voting.configs,
            nodes: &voting.nodes,
            members,
            caught_up: &voting.caught_up,
            running: &self.running,
        }
        .next_change();
        match change {
            Some(Change::Learn(nodes)) => seat.add_learners(nodes).await,
            Some(Change::Vote(voters)) => seat.set_voters(voters).await,
            Some(Change::Remove(nodes)) => seat.remove(nodes).await,
            None => {}
        }
    }

    /// Goes on without voters that are gone for good.
    ///
    /// The group cannot: it has no majority any more. So the survivor with the longest log forms a new one, of the
    /// next epoch, with all that it knows: what was decided, and what may have been. What only the lost voters had
    /// decided is admitted again.
    async fn mourn(&mut self, seat: &Seat, voting: &Voting, members: &[Member]) {
        if voting.leads || !self.is_doomed(voting).await {
            self.mourning_since = None;
            return;
        }
        let since = *self.mourning_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.node.config.timings.mourn {
            return;
        }
        let census = self.census(None).await;
        let group = seat.group();
        let led = census.standings.values().find(|standing| standing.leads);
        if led.is_some_and(|standing| standing.group != Some(group)) {
            // There is one that lives; ours would never let its leader in.
            self.node.leave(group).await;
            return;
        }
        if led.is_some() || !census.is_complete {
            return;
        }
        let ours = |standing: &Standing| (standing.group == Some(group)).then_some(standing.log);
        if self.is_first(members, &census, ours) {
            tracing::warn!(%group, "most voters of the raft group are gone for good, forming it anew");
            if let Some(parts) = last_will(seat).await {
                self.node.found(group.epoch + 1, parts, Some(group)).await;
            }
        }
    }

    /// Asks `whom`, or all live members, where they stand.
    async fn census(&mut self, whom: Option<BTreeSet<u32>>) -> Census {
        let whom = whom.unwrap_or_else(|| self.node.live_others());
        let asked = whom.len();
        let mut answers: FuturesUnordered<_> = whom
            .into_iter()
            .map(|id| {
                let node = &self.node;
                async move { (id, probe(node, id).await) }
            })
            .collect();
        let mut standings = BTreeMap::new();
        let mut not_running = 0;
        let mut absent = BTreeSet::new();
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(Some(standing)) => {
                    standings.insert(id, standing);
                }
                Ok(None) => {}
                Err(_) => {
                    not_running += 1;
                    absent.insert(id);
                }
            }
        }
        drop(answers);
        self.running.extend(standings.keys());
        self.running = &self.running - &absent;
        Census {
            is_complete: standings.len() + not_running == asked,
            standings,
        }
    }
}

async fn probe<P: Peers>(node: &Node<P>, id: u32) -> Result<Option<Standing>, NotRunning> {
    let answer = ask(node, id, Kind::Probe, Bytes::new()).await?;
    Ok(answer.and_then(|body| wire::decode(&body)))
}

/// The state of `seat`, with the entries that may have been decided.
async fn last_will(seat: &Seat) -> Option<Vec<Bytes>> {
    let (frozen, applied) = {
        let applied = seat.applied();
        (applied.machine.freeze(), applied.index())
    };
    let mut machine = Machine::restored(&frozen.parts().await).ok()?;
    for bytes in seat.undecided(applied) {
        let command = Command::decode(&bytes).ok()?;
        machine.apply(&command).ok()?;
    }
    Some(machine.freeze().parts().await)
}
