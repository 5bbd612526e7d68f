//! The shards of this node behind their locks, and what their machines leave to be done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use arc_swap::ArcSwap;
use delta_crdt::ReplicaId;
use membership::{Leases, View};
use quota::{BootNanos, Nanos, Now};
use request::{Acknowledge, Heard, Held, Said, Subject};
use shard::{Effect, HitId, Note, Shard, ShardId, Surroundings};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, oneshot};

use super::metrics::ShardMetrics;
use crate::clock::Clock;

/// Shards of a cluster, fixed for its life: a key's shard is its hash modulo this.
///
/// 1 024 shards on the ten nodes that a full mesh of heartbeats carries leave a hundred for each, so that
/// balance is a matter of the ring; and a takeover copies a thousandth of the keys at a time.
pub const SHARDS: u16 = 1_024;

/// What every shard must know of the world, replaced as a whole when any of it changes.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) view: View,
    pub(crate) leases: Leases,
    /// For each shard, the live members that take shards in the ring's order. Empty before joining.
    pub(crate) orders: Arc<Vec<Vec<ReplicaId>>>,
}

impl World {
    pub(crate) fn around(&self, now: Now, shard: ShardId) -> Surroundings<'_> {
        let order = self
            .orders
            .get(usize::from(shard.0))
            .map_or(&[][..], Vec::as_slice);
        Surroundings {
            now,
            view: &self.view,
            leases: &self.leases,
            order,
        }
    }
}

/// Where the answer of a hit goes that waits for a replica.
pub(crate) enum Reply {
    /// A hit without an id, whose answer never waits.
    Nobody,
    /// A front of this node.
    Local(oneshot::Sender<Said>),
    /// Another node, under its sequence number.
    Remote(ReplicaId, u64),
}

#[repr(C)] // What every hit looks at comes first, as in the shard.
struct State {
    /// The edition of the world at which the shard has looked for the hits to come.
    looked_at: u64,
    shard: Shard,
    held: Held<Reply>,
}

/// Aligned, so that what every hit looks at takes as few lines of a cache as it can.
#[repr(C, align(64))]
struct Slot {
    /// The owner as far as is known here; 0: nobody.
    owner: AtomicU32,
    /// Listed for the next flush.
    dirty: AtomicBool,
    state: Mutex<State>,
    /// The owner, the role or the confirmed writes changed.
    changed: Notify,
}

/// What machines leave behind, collected under a lock and sent after it.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) shards: BTreeMap<ReplicaId, Vec<(ShardId, shard::Message)>>,
    pub(crate) verdicts: BTreeMap<ReplicaId, Vec<(u64, Said)>>,
    /// News of pieces of copies, in order.
    pub(crate) pieces: Vec<(ReplicaId, ShardId, PieceNews)>,
}

/// What happened to a piece of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PieceNews {
    /// It waits for its turn; `true`: before those that nobody waits for.
    Waits(bool),
    /// It has arrived.
    Arrived,
}

/// Every shard of this node.
pub(crate) struct Slots {
    me: ReplicaId,
    clock: Arc<Clock>,
    slots: Box<[Slot]>,
    /// Whoever replaces it counts on: [`Self::publish`].
    pub(crate) world: ArcSwap<World>,
    /// How often the world was replaced. Read by every hit, which reads the world where this has changed.
    edition: AtomicU64,
    acknowledge: Acknowledge,
    quorum: bool,
    /// Whether this node has recalled what a majority knew of every shard, and counts.
    has_counted: AtomicBool,
    dirty: Mutex<Vec<ShardId>>,
    pub(crate) has_dirty: Notify,
    metrics: ShardMetrics,
}

impl Slots {
    pub(crate) fn new(
        me: ReplicaId,
        clock: Arc<Clock>,
        settings: shard::Settings,
        acknowledge: Acknowledge,
    ) -> Self {
        let quorum = settings.partition == shard::Partition::Quorum;
        let slot = |id| Slot {
            owner: AtomicU32::new(0),
            dirty: AtomicBool::new(false),
            state: Mutex::new(State {
                looked_at: 0,
                shard: Shard::new(ShardId(id), me, settings),
                held: Held::default(),
            }),
            changed: Notify::new(),
        };
        Self {
            me,
            clock,
            slots: (0..SHARDS).map(slot).collect(),
            world: ArcSwap::default(),
            edition: AtomicU64::new(0),
            // Under `quorum` answers always wait: a majority must be able to go on without this node.
            acknowledge: match quorum {
                true => Acknowledge::Replicated,
                false => acknowledge,
            },
            quorum,
            has_counted: AtomicBool::new(false),
            dirty: Mutex::new(Vec::new()),
            has_dirty: Notify::new(),
            metrics: ShardMetrics::new(),
        }
    }

    /// Replaces the world: the next hit of every shard looks at it.
    pub(crate) fn publish(&self, world: World) {
        self.world.store(Arc::new(world));
        self.edition.fetch_add(1, Ordering::Release);
    }

    /// Who owns the shard, as far as is known here. A table lookup: no lock.
    pub(crate) fn owner(&self, shard: ShardId) -> Option<ReplicaId> {
        let raw = self.slots[usize::from(shard.0)]
            .owner
            .load(Ordering::Acquire);
        (raw != 0).then_some(ReplicaId(raw))
    }

    /// Resolves when the shard's owner, role or confirmed writes change after this call.
    pub(crate) fn changed(&self, shard: ShardId) -> Notified<'_> {
        self.slots[usize::from(shard.0)].changed.notified()
    }

    /// Whether only a majority decides.
    pub(crate) fn needs_majority(&self) -> bool {
        self.quorum
    }

    /// Whether this node has what it needs to count towards a majority. Looks at every shard until it has, and counts.
    ///
    /// Not before, by its name alone: a node that starts again counts at once, since its name did, and cannot promise
    /// anything before it has recalled. Said too early, every claim waits for it.
    pub(crate) fn may_count(&self, now: Now) -> bool {
        if self.has_counted.load(Ordering::Relaxed) {
            return true;
        }
        let world = self.world.load();
        let may_count = |id| {
            let around = world.around(now, ShardId(id));
            self.read(ShardId(id), |shard| shard.may_count(around))
        };
        let has_recalled = (0..SHARDS).all(|id| may_count(id) == Some(true));
        if has_recalled && world.view.counts(self.me) {
            self.has_counted.store(true, Ordering::Relaxed);
        }
        has_recalled
    }

    /// Since when nobody within reach may decide anything, because no majority is. `None`: somebody may, or it is not
    /// known yet. No lock.
    pub(crate) fn no_quorum_since(&self, now: BootNanos) -> Option<BootNanos> {
        match self.quorum {
            true => self.world.load().leases.no_quorum_since(now),
            false => None,
        }
    }

    /// Whether answers are held until a replica has them, whatever its lag.
    pub(crate) fn holds_answers(&self) -> bool {
        self.acknowledge == Acknowledge::Replicated
    }

    pub(crate) fn acknowledge(&self) -> Acknowledge {
        self.acknowledge
    }

    /// Puts one attempt to the shard. `reply` is called where the answer waits for a replica: then [`Outbox`] or the
    /// receiver has it, sooner or later.
    #[inline]
    pub(crate) fn decide(
        &self,
        subject: &Subject,
        id: Option<HitId>,
        reply: impl FnOnce() -> Reply,
    ) -> Heard {
        let shard = subject.shard;
        let slot = &self.slots[usize::from(shard.0)];
        let Some(mut state) = self.lock(slot) else {
            return Heard::Said(Said::Busy);
        };
        // Under the lock: a lease that ran out while this hit waited for it must be seen to have run out.
        let now = self.clock.now();
        let State {
            shard: machine,
            held,
            looked_at,
        } = &mut *state;
        // Before the world itself, which may be newer then: at the next hit it is looked at once more.
        let edition = self.edition.load(Ordering::Acquire);
        if *looked_at != edition || machine.must_look(now.boot) {
            machine.look(self.world.load().around(now, shard));
            *looked_at = edition;
        }
        let heard = request::decide(machine, held, now, self.acknowledge, subject, id, reply);
        // A write is seen by whoever takes this shard from the list and locks it after this.
        drop(state);
        match heard {
            Heard::Written(_) | Heard::Held => {
                if !slot.dirty.swap(true, Ordering::AcqRel) {
                    self.list_dirty(shard);
                }
            }
            Heard::Said(Said::Decided(decision)) => {
                self.metrics.count_unwritten(subject.operation, &decision);
            }
            Heard::Said(_) => {}
        }
        heard
    }

    /// Runs `act` on one shard and collects what it leaves behind. `None`: the shard is poisoned.
    pub(crate) fn with<R>(
        &self,
        shard: ShardId,
        out: &mut Outbox,
        act: impl FnOnce(&mut Shard, Surroundings<'_>) -> R,
    ) -> Option<R> {
        let world = self.world.load();
        if world.orders.is_empty() {
            return None;
        }
        let slot = &self.slots[usize::from(shard.0)];
        let mut state = self.lock(slot)?;
        // Under the lock, as for a hit. And time never goes back for a shard, whoever waited longest for it.
        let now = self.clock.now();
        let result = act(&mut state.shard, world.around(now, shard));
        self.settle(slot, &mut state, out);
        Some(result)
    }

    /// Works with what one shard counts, which leaves nothing to be done. `None`: the shard is poisoned.
    pub(crate) fn with_counts<R>(
        &self,
        shard: ShardId,
        act: impl FnOnce(&mut Shard, Now) -> R,
    ) -> Option<R> {
        let mut state = self.lock(&self.slots[usize::from(shard.0)])?;
        let now = self.clock.now();
        Some(act(&mut state.shard, now))
    }

    /// A decision of this shard panicked: nothing of it is believed, a replica is asked.
    pub(crate) fn recover_if_poisoned(&self, shard: ShardId, out: &mut Outbox) -> bool {
        let slot = &self.slots[usize::from(shard.0)];
        if !slot.state.is_poisoned() {
            return false;
        }
        let world = self.world.load();
        slot.state.clear_poison();
        let Some(mut state) = self.lock(slot) else {
            return false;
        };
        let now = self.clock.now();
        state.shard.on_poisoned(world.around(now, shard));
        self.settle(slot, &mut state, out);
        true
    }

    /// The shards written since the last call.
    pub(crate) fn take_dirty(&self) -> Vec<ShardId> {
        let listed =
            std::mem::take(&mut *self.dirty.lock().expect("nothing panics under this lock"));
        for shard in &listed {
            self.slots[usize::from(shard.0)]
                .dirty
                .store(false, Ordering::Release);
        }
        listed
    }

    /// Reads one shard, waiting for its lock.
    pub(crate) fn read<R>(&self, shard: ShardId, read: impl FnOnce(&Shard) -> R) -> Option<R> {
        self.lock(&self.slots[usize::from(shard.0)])
            .map(|state| read(&state.shard))
    }

    /// Who holds the shard, as far as is known here.
    pub(crate) fn holders(&self, shard: ShardId) -> Option<Vec<ReplicaId>> {
        let holders = |shard: &Shard| shard.record().map(|record| record.holders.clone());
        self.read(shard, holders).flatten()
    }

    /// A hit that this node forwarded under `sequence` was admitted, and its client is told.
    pub(crate) fn on_answered(&self, now: BootNanos, shard: ShardId, sequence: u64) {
        if let Some(mut state) = self.lock(&self.slots[usize::from(shard.0)]) {
            state.shard.on_answered(now, sequence);
        }
    }

    /// For each replica of this node's shards, the age of the oldest write that it has not confirmed.
    pub(crate) fn behind(&self, now: BootNanos) -> BTreeMap<ReplicaId, Nanos> {
        let mut behind = BTreeMap::new();
        for shard in (0..SHARDS).map(ShardId) {
            if self.owner(shard) == Some(self.me) {
                self.read(shard, |shard| shard.behind(now, &mut behind));
            }
        }
        behind
    }

    /// Lets everybody look again, for instance because the node stops.
    pub(crate) fn wake_all(&self) {
        for slot in &self.slots {
            slot.changed.notify_waiters();
        }
    }

    fn list_dirty(&self, shard: ShardId) {
        let mut listed = self.dirty.lock().expect("nothing panics under this lock");
        listed.push(shard);
        if listed.len() == 1 {
            self.has_dirty.notify_one();
        }
    }

    /// Takes the effects of a shard, and answers whoever waited for them.
    fn settle(&self, slot: &Slot, state: &mut State, out: &mut Outbox) {
        let mut changed = false;
        while let Some(effect) = state.shard.next_effect() {
            match effect {
                Effect::Send { to, message } => out
                    .shards
                    .entry(to)
                    .or_default()
                    .push((state.shard.id(), message)),
                Effect::PieceWaits { to, first } => {
                    let news = PieceNews::Waits(first);
                    out.pieces.push((to, state.shard.id(), news));
                }
                Effect::PieceArrived { at } => {
                    out.pieces.push((at, state.shard.id(), PieceNews::Arrived));
                }
                Effect::Changed => changed = true,
                Effect::Note(note) => self.note(&state.shard, note),
            }
        }
        if !changed {
            return;
        }
        let State { shard, held, .. } = state;
        let owner = shard.record().map_or(0, |record| record.owner().0);
        slot.owner.store(owner, Ordering::Release);
        held.settle(shard, |reply, said| match reply {
            Reply::Local(sender) => {
                let _gone = sender.send(said);
            }
            Reply::Remote(peer, sequence) => {
                let verdicts = out.verdicts.entry(peer).or_default();
                verdicts.push((sequence, said));
            }
            Reply::Nobody => {}
        });
        slot.changed.notify_waiters();
    }

    fn note(&self, shard: &Shard, note: Note) {
        let id = shard.id();
        self.metrics.count(note);
        match note {
            Note::Opened {
                term,
                after,
                handed_over,
                taken_over,
            } => {
                let after_ms = after.ceil_millis();
                tracing::debug!(shard = %id, term = term.number, after_ms, handed_over, taken_over, "shard opened");
            }
            Note::SteppedDown { by } => {
                tracing::debug!(shard = %id, term = by.number, "higher term, stepping down")
            }
            Note::LeaseLapsed => tracing::debug!(shard = %id, "lease ran out, claiming again"),
            Note::OutOfReach => {
                tracing::debug!(shard = %id, "no holder can be reached, counting without what they have")
            }
            Note::StateLost => {
                tracing::warn!(shard = %id, "no holder is alive, counts of this shard are lost")
            }
            Note::Overshoot { units } => {
                tracing::warn!(shard = %id, units, "sides that counted apart had admitted more than the limit")
            }
            Note::Forgotten { hits } => {
                tracing::warn!(shard = %id, hits, "the last owner had admitted hits that no replica had yet, they are forgotten")
            }
            // A broken peer says it with every message: at a higher level it would fill the log.
            Note::TermLeapt { from, number } => {
                tracing::debug!(shard = %id, replica = %from, term = number, "a term that nobody can have reached, ignored")
            }
            Note::Unmeasured { keys } => {
                tracing::debug!(shard = %id, keys, "too many keys were found forked to measure all of them")
            }
            Note::CrowdedOut { ids } => {
                tracing::debug!(shard = %id, ids, "no room for ids of admitted hits, the oldest are forgotten early")
            }
            Note::Forked { keys } => {
                tracing::info!(shard = %id, keys, "sides that counted apart were joined")
            }
        }
    }

    fn lock<'a>(&self, slot: &'a Slot) -> Option<MutexGuard<'a, State>> {
        // The usual case first: nobody else is at this shard.
        match slot.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(_)) => None,
            Err(TryLockError::WouldBlock) => slot.state.lock().ok(),
        }
    }
}
