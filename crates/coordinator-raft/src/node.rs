//! What the tasks of one node share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ask::{self, Command, Parcel};
use crate::config::RaftConfig;
use crate::engine::{Proposed, Seat, Seating};
use crate::group::GroupId;
use crate::inbox::{Filed, Inbox};
use crate::known::{Fate, Known};
use crate::meter::Meter;
use crate::outbox::Outbox;
use crate::peers::{Member, Peers};
use crate::saved::Saved;
use crate::wire::{self, FATES_MAX, Kind, Reply, Request, Standing};

/// One node of the strategy.
pub(crate) struct Node<P> {
    pub(crate) config: RaftConfig,
    pub(crate) peers: P,
    pub(crate) members: watch::Receiver<Vec<Member>>,
    pub(crate) seating: Seating<P>,
    pub(crate) saved: Mutex<Option<Saved>>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) inbox: Inbox,
    pub(crate) meter: Meter,
    pub(crate) is_stopped: AtomicBool,
    pub(crate) known: Mutex<Known>,
    /// When the group last decided, as far as this node has heard from anybody.
    decided: Mutex<Option<Instant>>,
    /// The same from the leader alone, or as the leader.
    saw_decide: Mutex<Option<Instant>>,
    /// By whom the leader is reached, while this node does not reach it.
    pub(crate) detour: watch::Sender<Option<u32>>,
    /// Whether this node has had its vote, or none was wanted of it, since it started.
    is_settled: AtomicBool,
    /// Who leads this node's group, for those that wait for it.
    pub(crate) leader: watch::Sender<Option<u32>>,
    seat: watch::Sender<Option<Arc<Seat>>>,
    /// Held while the seat changes.
    changing: tokio::sync::Mutex<()>,
}

impl<P: Peers> Node<P> {
    pub(crate) fn new(
        config: RaftConfig,
        peers: P,
        members: watch::Receiver<Vec<Member>>,
        seating: Seating<P>,
        saved: Option<Saved>,
    ) -> Self {
        Self {
            config,
            peers,
            members,
            seating,
            saved: Mutex::new(saved),
            outbox: Arc::default(),
            inbox: Inbox::default(),
            meter: Meter::new(),
            is_stopped: AtomicBool::new(false),
            known: Mutex::default(),
            decided: Mutex::default(),
            saw_decide: Mutex::default(),
            detour: watch::Sender::default(),
            is_settled: AtomicBool::new(false),
            leader: watch::Sender::default(),
            seat: watch::Sender::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn seat(&self) -> Option<Arc<Seat>> {
        self.seat.borrow().clone()
    }

    pub(crate) fn seats(&self) -> watch::Receiver<Option<Arc<Seat>>> {
        self.seat.subscribe()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Where this node stands.
    pub(crate) fn standing(&self) -> Standing {
        let seat = self.seat();
        let voting = seat.as_ref().map(|seat| seat.voting());
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        Standing {
            group: seat.map(|seat| seat.group()),
            leads: voting.as_ref().is_some_and(|voting| voting.leads),
            log: voting.map_or((0, 0), |voting| voting.log),
            saved: saved.as_ref().map_or((0, 0), |it| (it.epoch, it.index)),
        }
    }

    /// Takes a call of another node.
    pub(crate) async fn on_call(&self, from: u32, request: Bytes) -> Reply {
        let Some(request) = Request::decode(&request) else {
            return Reply::Refused;
        };
        match request.kind {
            Kind::Probe => Reply::Done(wire::encode(&self.standing())),
            Kind::Hits | Kind::Relay | Kind::Relayed => self.on_hits(from, &request).await,
            Kind::Fates => self.on_fates(&request.body),
            Kind::Decided => self.on_decided(&request),
            kind => match self.seat_for(&request).await {
                Some(seat) => seat.on_message(kind, &request.body).await,
                None => Reply::Foreign,
            },
        }
    }

    fn on_fates(&self, body: &[u8]) -> Reply {
        match wire::decode::<Vec<u32>>(body) {
            Some(ids) if ids.len() <= FATES_MAX => Reply::Done(wire::encode(&self.fates(&ids))),
            _ => Reply::Refused,
        }
    }

    /// What became of each of `ids`, as far as this node has met them.
    pub(crate) fn fates(&self, ids: &[u32]) -> Vec<Fate> {
        let members = self.members.borrow();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().map(|&id| known.fate(id, &members)).collect()
    }

    fn on_decided(&self, request: &Request) -> Reply {
        let seat = self.seat();
        if seat.is_none_or(|seat| Some(seat.group()) != request.group) {
            return Reply::Foreign;
        }
        let saw = *latest(&self.saw_decide);
        let since = saw.map(|at| at.elapsed().as_millis() as u64);
        Reply::Done(wire::encode(&since))
    }

    /// When the group last decided, as far as this node has heard. `None`: never.
    pub(crate) fn decided(&self) -> Option<Instant> {
        *latest(&self.decided)
    }

    /// Notes that somebody who saw it says that the group decided then.
    pub(crate) fn note_decided(&self, at: Instant) {
        let mut decided = latest(&self.decided);
        *decided = (*decided).max(Some(at));
    }

    /// Notes that the leader, or this node as the leader, decided then.
    pub(crate) fn saw_decide(&self, at: Instant) {
        *latest(&self.saw_decide) = Some(at);
        self.note_decided(at);
    }

    /// Whether this node has had its vote, or none was wanted of it.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }

    pub(crate) fn note_settled(&self) {
        self.is_settled.store(true, Ordering::Release);
    }

    async fn on_hits(&self, from: u32, request: &Request) -> Reply {
        let seat = self.seat();
        if seat.is_none_or(|seat| Some(seat.group()) != request.group) {
            return Reply::Foreign;
        }
        let Ok(parcel) = Parcel::decode(&request.body) else {
            return Reply::Refused;
        };
        // Ids are per origin: nobody speaks for another, but a member that hands on what it was given.
        if parcel.origin != from && request.kind != Kind::Relayed {
            return Reply::Refused;
        }
        let leader = *self.leader.borrow();
        let hands_on = leader.filter(|&leader| {
            request.kind == Kind::Relay && leader != self.config.me && leader != from
        });
        let filed = match hands_on {
            // Once: who gets it files it or refuses.
            Some(leader) => {
                self.meter.relayed.increment(parcel.asks.len() as u64);
                // Without its type: a node's answer would else be made of the answer of another.
                let handed_on: BoxFuture<'_, Filed> =
                    Box::pin(self.send(leader, Kind::Relayed, &parcel));
                handed_on.await
            }
            None => self.file(parcel).await,
        };
        match filed {
            Filed::Decided(outcomes) => Reply::Done(ask::encode_outcomes(&outcomes)),
            Filed::NotLeader(leader) => Reply::NotLeader(leader),
            Filed::Full => Reply::Full,
            Filed::Lost => Reply::Lost,
        }
    }

    /// Puts a parcel into the log, if this node leads.
    pub(crate) async fn file(&self, parcel: Parcel) -> Filed {
        let leader = *self.leader.borrow();
        if leader != Some(self.config.me) {
            return Filed::NotLeader(leader);
        }
        self.inbox.file(parcel).await
    }

    /// The seat that a message of the raft protocol is for: this node's, or one in a group that prevails over it,
    /// for which it is left. Only a leader takes a node along.
    async fn seat_for(&self, request: &Request) -> Option<Arc<Seat>> {
        let group = request.group?;
        let seat = self.seat();
        if let Some(seat) = &seat
            && seat.group() == group
        {
            return Some(Arc::clone(seat));
        }
        let is_from_leader = matches!(request.kind, Kind::Append | Kind::Snapshot);
        if !is_from_leader || seat.is_some_and(|seat| !group.prevails_over(&seat.group())) {
            return None;
        }
        self.join(group).await
    }

    async fn join(&self, group: GroupId) -> Option<Arc<Seat>> {
        let _changing = self.changing.lock().await;
        if self.is_stopped() {
            return None;
        }
        let current = self.seat();
        if let Some(seat) = &current {
            if seat.group() == group {
                return current;
            }
            if !group.prevails_over(&seat.group()) {
                return None;
            }
        }
        let seat = Arc::new(Seat::take(&self.seating, group).await?);
        self.meter.joined.increment(1);
        tracing::info!(%group, "raft group joined");
        self.replace(Some(Arc::clone(&seat)));
        Some(seat)
    }

    /// Forms a group of this node alone, starting from `parts`, unless it has a seat that is not `instead_of`.
    pub(crate) async fn found(
        &self,
        epoch: u32,
        parts: Vec<Bytes>,
        instead_of: Option<GroupId>,
    ) -> bool {
        let _changing = self.changing.lock().await;
        if self.is_stopped() || self.seat().map(|seat| seat.group()) != instead_of {
            return false;
        }
        let group = GroupId {
            epoch,
            founded: (self.config.clock)().get(),
            founder: self.config.me,
        };
        let Some(seat) = Seat::take(&self.seating, group).await else {
            return false;
        };
        let seat = Arc::new(seat);
        if !seat.found(self.config.me, parts).await {
            seat.give_up().await;
            return false;
        }
        self.meter.formed.increment(1);
        tracing::info!(%group, "raft group formed");
        self.replace(Some(seat));
        true
    }

    /// Leaves a group that cannot go on.
    pub(crate) async fn leave(&self, group: GroupId) {
        let _changing = self.changing.lock().await;
        if self.seat().is_some_and(|seat| seat.group() == group) {
            self.replace(None);
        }
    }

    /// Gives up the seat for good.
    pub(crate) async fn give_up(&self) {
        let _changing = self.changing.lock().await;
        let seat = self.seat.send_replace(None);
        self.leader.send_replace(None);
        if let Some(seat) = seat {
            seat.give_up().await;
        }
    }

    fn replace(&self, seat: Option<Arc<Seat>>) {
        // In this order: whoever follows the new seat says who leads it.
        self.leader.send_replace(None);
        self.detour.send_replace(None);
        let before = self.seat.send_replace(seat);
        let Some(before) = before else { return };
        self.meter.dissolved.increment(1);
        tracing::warn!(
            group = %before.group(),
            "raft group left for one that prevails; what it counted is forgotten here"
        );
        // In the background: whoever waits in it must be told before it is gone.
        tokio::spawn(async move { before.give_up().await });
    }

    /// Makes one entry of `parcels`.
    pub(crate) async fn propose(&self, parcels: Vec<Parcel>) -> Proposed {
        let Some(seat) = self.seat() else {
            return Proposed::NotLeader(None);
        };
        let hits: usize = parcels.iter().map(|parcel| parcel.asks.len()).sum();
        self.meter.batch_hits.record(hits as f64);
        self.meter.proposals.increment(1);
        let now = (self.config.clock)();
        seat.propose(Command::decide(now, parcels).encode()).await
    }

    /// The live members besides this one, those that leave included: they still decide.
    pub(crate) fn live_others(&self) -> BTreeSet<u32> {
        let members = self.members.borrow();
        let live = members.iter().filter(|member| member.is_alive);
        live.map(|member| member.id)
            .filter(|&id| id != self.config.me)
            .collect()
    }
}

fn latest(of: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
