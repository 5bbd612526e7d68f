//! A node's part in one group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{
    ChangeMembers, Config, EmptyNode, Instant as _, Raft, RaftMetrics, ServerState, SnapshotPolicy,
};

use super::log::LogStore;
use super::network::{About, Network};
use super::snapshot::Shelf;
use super::state::{Applied, StateMachine};
use super::types::{Proposal, Runtime, Snapshot, Types};
use crate::ask::Outcome;
use crate::config::Timings;
use crate::group::GroupId;
use crate::meter::SnapshotMeter;
use crate::peers::Peers;
use crate::saved::Saver;
use crate::wire::{self, Kind, Part, Reply};

/// Entries kept besides those that no snapshot has: a follower that was away for a moment catches up from them
/// and needs no snapshot. At 100 kB for the largest, 6 MB.
const KEPT_ENTRIES: u64 = 64;

/// Entries in one append request at most; most are cut by size before.
const APPEND_ENTRIES_MAX: u64 = 256;

/// A learner this near to the end of the log may vote: it has all but what came in the last moment.
const CAUGHT_UP: u64 = 128;

/// How long a proposal waits for its majority. Longer than an election, so that what a new leader commits after all is
/// answered; shorter than a hit's deadline, so that a leader that lost its majority does not hold up the next.
const PROPOSAL_PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait for a change of voters, which may need a learner's answers; it goes on by itself after that.
const CHANGE_PATIENCE: Duration = Duration::from_secs(2);

/// A leader that a majority last answered this long ago does not say that it leads.
const MAJORITY_SILENT: Duration = Duration::from_secs(1);

/// What a seat is made of.
pub(crate) struct Seating<P> {
    pub(crate) me: u32,
    pub(crate) peers: P,
    pub(crate) timings: Timings,
    pub(crate) saver: Option<Saver>,
    pub(crate) snapshots: SnapshotMeter,
}

/// One node in one group: its log, its state, its vote.
pub(crate) struct Seat {
    group: GroupId,
    raft: Raft<Types, StateMachine>,
    log: LogStore,
    state: StateMachine,
    incoming: Mutex<Option<Incoming>>,
    is_open: AtomicBool,
    keeps_still: Arc<AtomicBool>,
}

/// A snapshot of which some parts have arrived.
struct Incoming {
    about: About,
    parts: Vec<Bytes>,
}

/// What became of a proposal.
pub(crate) enum Proposed {
    /// A majority has it. An outcome for each hit.
    Done(Vec<Outcome>),
    /// Not in the log.
    NotLeader(Option<u32>),
    /// It may be in the log, and may yet be decided.
    Lost,
}

/// How the group looks from here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Voting {
    pub(crate) term: u64,
    pub(crate) leader: Option<u32>,
    /// Whether this node leads, whether or not a majority still knows.
    pub(crate) is_leader: bool,
    /// Whether this node leads, and a majority has lately answered it.
    pub(crate) leads: bool,
    /// The voters; two sets while one is being exchanged for the other.
    pub(crate) configs: Vec<BTreeSet<u32>>,
    /// Voters and learners.
    pub(crate) nodes: BTreeSet<u32>,
    /// Term and index of the last entry.
    pub(crate) log: (u64, u64),
    pub(crate) applied: u64,
    /// Only a leader knows: the nodes that have nearly all of the log.
    pub(crate) caught_up: BTreeSet<u32>,
}

impl Seat {
    /// Takes a seat in `group` with an empty log, to be filled by a leader, or [founded](Self::found).
    pub(crate) async fn take<P: Peers>(seating: &Seating<P>, group: GroupId) -> Option<Self> {
        let config = config(&seating.timings).validate();
        let config = Arc::new(config.expect("the timings were checked at the start"));
        let keeps_still = Arc::default();
        let network = Network {
            peers: seating.peers.clone(),
            group,
            keeps_still: Arc::clone(&keeps_still),
        };
        let log = LogStore::default();
        let saver = seating
            .saver
            .clone()
            .map(|saver| saver.of_epoch(group.epoch));
        let state = StateMachine::new(Shelf::new(saver, seating.snapshots.clone()));
        // Ids are drawn at random, so nodes differ; and what is random here can be played again.
        let seed = u64::from(group.epoch) << 32 | u64::from(seating.me);
        let raft = Raft::new(seating.me, config, network, log.clone(), state.clone());
        let raft = Runtime::scope(seed, raft)
            .await
            .inspect_err(|error| tracing::error!(%error, %group, "raft did not start"))
            .ok()?;
        Some(Self {
            group,
            raft,
            log,
            state,
            incoming: Mutex::default(),
            is_open: AtomicBool::new(true),
            keeps_still,
        })
    }

    /// Becomes the only voter of a new group that starts from `parts`.
    ///
    /// The state goes through the log, as any other entry: whoever joins later gets it from there or from a snapshot.
    /// No hit is decided before it is complete.
    pub(crate) async fn found(&self, me: u32, parts: Vec<Bytes>) -> bool {
        self.is_open.store(false, Ordering::Release);
        if let Err(error) = self.raft.initialize(BTreeSet::from([me])).await {
            tracing::error!(%error, group = %self.group, "raft group not formed");
            return false;
        }
        let mut metrics = self.raft.metrics();
        while !metrics.borrow_watched().state.is_leader() {
            if metrics.changed().await.is_err() {
                return false;
            }
        }
        for part in parts {
            let bytes = crate::ask::Command::Restore(part).encode();
            if !matches!(self.propose_always(bytes).await, Proposed::Done(_)) {
                return false;
            }
        }
        self.is_open.store(true, Ordering::Release);
        true
    }

    pub(crate) const fn group(&self) -> GroupId {
        self.group
    }

    /// Puts an entry into the log, and waits until a majority has it.
    pub(crate) async fn propose(&self, bytes: Bytes) -> Proposed {
        if !self.is_open.load(Ordering::Acquire) {
            return Proposed::NotLeader(None);
        }
        self.propose_always(bytes).await
    }

    async fn propose_always(&self, bytes: Bytes) -> Proposed {
        let write = self.raft.client_write(Proposal(bytes));
        match tokio::time::timeout(PROPOSAL_PATIENCE, write).await {
            Ok(Ok(done)) => Proposed::Done(done.data.all),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                Proposed::NotLeader(to.leader_id)
            }
            Ok(Err(_)) | Err(_) => Proposed::Lost,
        }
    }

    /// Takes a message of the raft protocol from another node of the group.
    pub(crate) async fn on_message(&self, kind: Kind, body: &[u8]) -> Reply {
        let raft = &self.raft;
        let done = match kind {
            Kind::Append => {
                let Some(request) = wire::decode(body) else {
                    return Reply::Refused;
                };
                raft.append_entries(request)
                    .await
                    .ok()
                    .map(|it| wire::encode(&it))
            }
            Kind::Vote => {
                let Some(request) = wire::decode(body) else {
                    return Reply::Refused;
                };
                raft.vote(request).await.ok().map(|it| wire::encode(&it))
            }
            Kind::PreVote => {
                let Some(request) = wire::decode(body) else {
                    return Reply::Refused;
                };
                raft.pre_vote(request)
                    .await
                    .ok()
                    .map(|it| wire::encode(&it))
            }
            Kind::TransferLeader => {
                let Some(request) = wire::decode(body) else {
                    return Reply::Refused;
                };
                let taken = raft.handle_transfer_leader(request).await;
                taken.ok().map(|it| wire::encode(&it))
            }
            Kind::Snapshot => return self.on_part(body).await,
            Kind::Probe
            | Kind::Hits
            | Kind::Fates
            | Kind::Decided
            | Kind::Relay
            | Kind::Relayed => None,
        };
        done.map_or(Reply::Lost, Reply::Done)
    }

    async fn on_part(&self, body: &[u8]) -> Reply {
        let Some(part) = wire::decode::<Part<About>>(body) else {
            return Reply::Refused;
        };
        let (about, whole) = {
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            match take_part(&mut incoming, part) {
                Ok(taken) => taken,
                Err(reply) => return reply,
            }
        };
        let response = match whole {
            None => openraft::raft::SnapshotResponse::new(about.vote),
            Some(snapshot) => {
                let meta = about.meta;
                let snapshot = Snapshot { meta, snapshot };
                match self.raft.install_full_snapshot(about.vote, snapshot).await {
                    Ok(response) => response,
                    Err(_) => return Reply::Lost,
                }
            }
        };
        Reply::Done(wire::encode(&response))
    }

    pub(crate) fn voting(&self) -> Voting {
        let mut voting = voting(&self.raft.metrics().borrow_watched());
        voting.log = self.log.last();
        voting
    }

    /// Tells when [`Self::voting`] may have changed.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.raft.metrics())
    }

    pub(crate) fn applied(&self) -> std::sync::MutexGuard<'_, Applied> {
        self.state.lock()
    }

    /// The entries that are in the log and not in the state. They may or may not have been decided.
    pub(crate) fn undecided(&self, applied: Option<u64>) -> Vec<Bytes> {
        self.log.proposals_after(applied)
    }

    /// Has a new snapshot made if the log has grown by as much as the last one holds, and by `bytes_min`: so that making
    /// them costs no more than writing the log does, and the log takes no more memory than the state.
    pub(crate) async fn compact(&self, bytes_min: usize) {
        let (size, index) = self.state.shelf().size();
        if bytes_min.max(size) <= self.log.bytes_after(index) {
            self.make_snapshot().await;
        }
    }

    /// Has a new snapshot made if anything was applied since the last one.
    pub(crate) async fn renew_snapshot(&self) {
        let (_, index) = self.state.shelf().size();
        if self
            .state
            .lock()
            .index()
            .is_some_and(|applied| index < applied)
        {
            self.make_snapshot().await;
        }
    }

    async fn make_snapshot(&self) {
        if let Err(error) = self.raft.trigger().snapshot().await {
            tracing::debug!(%error, "no snapshot");
        }
    }

    /// Waits until the latest snapshot is in its file.
    pub(crate) async fn saved(&self) {
        self.state.shelf().saved().await;
    }

    /// Entries and bytes of the log, and the last index in the latest snapshot.
    pub(crate) fn log_size(&self) -> (usize, usize, u64) {
        (
            self.log.entries(),
            self.log.bytes(),
            self.state.shelf().size().1,
        )
    }

    pub(crate) async fn add_learners(&self, nodes: BTreeSet<u32>) {
        let nodes: BTreeMap<_, _> = nodes.into_iter().map(|id| (id, EmptyNode::new())).collect();
        self.change(ChangeMembers::AddNodes(nodes)).await;
    }

    pub(crate) async fn set_voters(&self, voters: BTreeSet<u32>) {
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await;
    }

    pub(crate) async fn remove(&self, nodes: BTreeSet<u32>) {
        self.change(ChangeMembers::RemoveNodes(nodes)).await;
    }

    async fn change(&self, change: ChangeMembers<u32, EmptyNode>) {
        tracing::info!(group = %self.group, ?change, "raft group changes");
        // Those that vote no more go on learning until they are removed: they still ask the leader.
        let change = self.raft.change_membership(change, true);
        match tokio::time::timeout(CHANGE_PATIENCE, change).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "raft group did not change"),
            Err(_) => tracing::warn!("raft group has not changed yet"),
        }
    }

    /// Has this node, which leads, say nothing to those that follow it, so that they may follow another.
    pub(crate) fn keep_still(&self, keeps_still: bool) {
        self.keeps_still.store(keeps_still, Ordering::Relaxed);
    }

    /// Asks `to` to lead at once, without waiting for an election timeout.
    pub(crate) async fn hand_over(&self, to: u32) {
        if let Err(error) = self.raft.trigger().transfer_leader(to).await {
            tracing::warn!(%error, to, "raft leadership not handed over");
        }
    }

    pub(crate) async fn give_up(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, group = %self.group, "raft did not stop");
        }
    }
}

/// Parts come in order, since one is sent after the answer to the one before; a first part starts anew.
fn take_part(
    incoming: &mut Option<Incoming>,
    part: Part<About>,
) -> Result<(About, Option<Vec<Bytes>>), Reply> {
    let Part {
        about,
        number,
        of,
        bytes,
    } = part;
    if number == 0 {
        *incoming = Some(Incoming {
            about: about.clone(),
            parts: Vec::new(),
        });
    }
    let Some(open) = incoming.as_mut().filter(|open| open.about == about) else {
        return Err(Reply::Lost);
    };
    match (number as usize).cmp(&open.parts.len()) {
        std::cmp::Ordering::Equal => open.parts.push(bytes),
        // Repeated: it is there.
        std::cmp::Ordering::Less => {}
        std::cmp::Ordering::Greater => return Err(Reply::Lost),
    }
    let is_whole = open.parts.len() == of as usize;
    let whole = if is_whole { incoming.take() } else { None };
    Ok((about, whole.map(|whole| whole.parts)))
}

/// Tells when something about the group changed.
pub(crate) struct Watch(openraft::type_config::alias::WatchReceiverOf<Types, RaftMetrics<Types>>);

impl Watch {
    /// False when the seat is given up.
    pub(crate) async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

fn voting(metrics: &RaftMetrics<Types>) -> Voting {
    let membership = metrics.membership_config.membership();
    let last = metrics.last_log_index.unwrap_or(0);
    let is_leader = metrics.state == ServerState::Leader;
    let configs = membership.get_joint_config().clone();
    let is_alone = configs.iter().all(|voters| voters.len() == 1);
    let is_heard = metrics
        .last_quorum_acked
        .as_ref()
        .is_some_and(|at| at.elapsed() < MAJORITY_SILENT);
    let replication = metrics.replication.iter().flatten();
    let caught_up = replication
        .filter(|(_, matched)| matched.is_some_and(|id| last <= id.index + CAUGHT_UP))
        .map(|(&id, _)| id)
        .collect();
    Voting {
        term: metrics.current_term,
        leader: metrics.current_leader,
        is_leader,
        leads: is_leader && (is_alone || is_heard),
        configs,
        nodes: membership.nodes().map(|(&id, _)| id).collect(),
        log: (0, last),
        applied: metrics.last_applied.map_or(0, |id| id.index),
        caught_up,
    }
}

fn config(timings: &Timings) -> Config {
    let ms = |span: Duration| span.as_millis() as u64;
    Config {
        cluster_name: "weir".to_owned(),
        heartbeat_interval: ms(timings.heartbeat),
        election_timeout_min: ms(timings.election_min),
        election_timeout_max: ms(timings.election_max),
        // A node that was cut off does not depose the leader when it is back.
        enable_pre_vote: Some(true),
        // The log's bytes decide, see `Seat::compact`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: KEPT_ENTRIES,
        purge_batch_size: 16,
        max_payload_entries: APPEND_ENTRIES_MAX,
        // A node that is away is tried again twice a second.
        backoff: "50ms 100ms ...500ms".to_owned(),
        install_snapshot_timeout: 60_000,
        ..Config::default()
    }
}
