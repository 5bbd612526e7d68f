//! The strategy `local`: decides on this node's own counts, and tells the others.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coordinator::{Answer, Coordinator, Hit, NoDecision, Policy, Tally};
use delta_crdt::{Cell, Digest, ReplicaId};
use metrics::{Counter, Histogram, counter, histogram};
use quota::{Cost, Decision, KeyHash, Limit, Nanos, UnixNanos};
use tokio::sync::{Notify, watch};

use super::memory::{Excess, Held, Part};
use super::{Cluster, keys};
use crate::wire::{self, Frame};
use transport::Lane;

/// Locks that the keys are spread over, so that two cores seldom meet.
const STRIPES: u16 = 64;

/// How long hits gather before the others hear of them: the overshoot is what they admit meanwhile, and what the
/// network takes. Shorter makes a frame to every member cost more than the hits in it.
const TELL_EVERY: Duration = Duration::from_millis(5);

/// How often members that may have missed something are asked, and keys are looked through that may have expired.
const UPKEEP_EVERY: Duration = Duration::from_millis(250);

/// Every so many upkeeps one member is asked that should have missed nothing: what is not expected is found within
/// five seconds for each member.
const CHECK_EVERY: u32 = 20;

/// One key of this many is looked at for expiry at each upkeep, so that all have been after 16 s.
const EXPIRY_SHARE: usize = 64;

/// A frame of news is cut at this size, as frames of shards are: 8 ms at 1 Gbit/s.
const FRAME_MAX: usize = 1024 * 1024;

/// How long a node that starts waits for what one other knows, before it decides on its own.
const FIRST_NEWS: Duration = Duration::from_secs(1);

/// The counts of this node, for limits with the strategy `local`.
pub(crate) struct Local {
    stripes: Box<[Mutex<Tally>]>,
    has_untold: Notify,
    /// A flush is due: whoever sets it wakes the teller.
    is_flush_due: AtomicBool,
    /// Members that may have missed something: newly connected, or slow.
    behind: Mutex<BTreeSet<ReplicaId>>,
    /// There was more than there is room for: what was evicted is not to be brought back, so nobody is asked.
    is_full: AtomicBool,
    /// Whether somebody has told all it knew.
    has_news: watch::Sender<bool>,
    told: Counter,
    heard: Counter,
    untaken: Counter,
    overshoot: Histogram,
}

impl Local {
    fn new(me: ReplicaId) -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::new(Tally::new(me))).collect(),
            has_untold: Notify::new(),
            is_flush_due: AtomicBool::new(false),
            behind: Mutex::default(),
            is_full: AtomicBool::new(false),
            has_news: watch::Sender::new(false),
            told: counter!("weir_local_told_cells_total"),
            heard: counter!("weir_local_heard_cells_total"),
            untaken: counter!("weir_local_untaken_frames_total"),
            overshoot: histogram!("weir_local_overshoot_units"),
        }
    }

    fn stripe(&self, key: KeyHash) -> MutexGuard<'_, Tally> {
        self.lock(key.shard(STRIPES))
    }

    fn lock(&self, stripe: u16) -> MutexGuard<'_, Tally> {
        // A decision that panicked has written nothing: a cell is replaced as a whole.
        self.stripes[usize::from(stripe)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn behind(&self) -> MutexGuard<'_, BTreeSet<ReplicaId>> {
        self.behind.lock().expect("nothing panics under this lock")
    }

    /// The stripe of that number, if a peer may ask for it.
    fn known(&self, stripe: u8) -> Option<MutexGuard<'_, Tally>> {
        (u16::from(stripe) < STRIPES).then(|| self.lock(stripe.into()))
    }

    /// Something was counted. The first since the last flush wakes the teller.
    fn note_untold(&self) {
        if !self.is_flush_due.load(Ordering::Relaxed)
            && !self.is_flush_due.swap(true, Ordering::AcqRel)
        {
            self.has_untold.notify_one();
        }
    }

    /// Lets every stripe give up its part of what is too much; how many keys that is.
    fn evict(&self, now: UnixNanos, mut excess: Excess) -> usize {
        let mut evicted = 0;
        let stripes = excess.largest_first((0..STRIPES).map(|stripe| {
            let tally = self.lock(stripe);
            (stripe, tally.len(), tally.held_bytes())
        }));
        for stripe in stripes {
            let mut tally = self.lock(stripe);
            let (keys, bytes) = (tally.len(), tally.held_bytes());
            let room = excess.room(keys, bytes);
            let (too_many, too_large) = (
                keys.saturating_sub(room.keys),
                bytes.saturating_sub(room.bytes),
            );
            if too_many != 0 || too_large != 0 {
                evicted += tally.evict(now, too_many, too_large);
                excess.give_up(keys - tally.len(), bytes - tally.held_bytes());
            }
        }
        evicted
    }

    fn digests(&self) -> Vec<(u8, Digest)> {
        let stripes = (0..STRIPES).map(|stripe| (stripe as u8, self.lock(stripe).digest()));
        stripes.collect()
    }
}

/// Counts hits on this node, for limits with the strategy `local`. Clones share the counts.
///
/// Never waits: no hop, no quorum. Each node admits what conforms with all hits that it knows of, so a key overshoots
/// by what other nodes admit before this one hears of it: within 5 ms and one trip of the network while the cluster is
/// well, and up to the limit on each side of a partition.
#[derive(Clone)]
pub struct LocalCoordinator {
    cluster: Cluster,
}

impl Cluster {
    /// Starts to count for limits with the strategy `local`, after one other node has told what it knows, or nobody
    /// has for a second. Costs nothing before.
    pub async fn start_local(&self) -> LocalCoordinator {
        let local = self.inner.local.get_or_init(|| Local::new(self.inner.me));
        let others = self.other_members();
        local.behind().extend(&others);
        self.repair_local(local);
        if !others.is_empty() {
            let mut has_news = local.has_news.subscribe();
            let news = has_news.wait_for(|&has| has);
            let _late = tokio::time::timeout(FIRST_NEWS, news).await;
        }
        self.run("local-tell", Self::tell_forever);
        self.run("local-upkeep", Self::look_after_local);
        LocalCoordinator {
            cluster: self.clone(),
        }
    }

    async fn tell_forever(self) {
        let local = self.local();
        while !self.inner.is_stopped() {
            local.has_untold.notified().await;
            tokio::time::sleep(TELL_EVERY).await;
            self.tell_local();
        }
    }

    /// Tells every member what was counted here since the last time.
    pub(crate) fn tell_local(&self) {
        let Some(local) = self.inner.local.get() else {
            return;
        };
        local.is_flush_due.store(false, Ordering::Release);
        let mut news = Vec::new();
        for stripe in 0..STRIPES {
            let mut tally = local.lock(stripe);
            if tally.has_untold() {
                news.append(&mut tally.untold());
            }
        }
        let members = self.other_members();
        if news.is_empty() || members.is_empty() {
            return;
        }
        local.told.increment(news.len() as u64);
        for frame in wire::encode_told_split(news, FRAME_MAX) {
            for &member in &members {
                if self
                    .inner
                    .transport
                    .send(member, Lane::Bulk, frame.clone())
                    .is_err()
                {
                    local.untaken.increment(1);
                    local.behind().insert(member);
                }
            }
        }
    }

    async fn look_after_local(self) {
        let local = self.local();
        let mut timer = tokio::time::interval(UPKEEP_EVERY);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for round in 0_u32.. {
            timer.tick().await;
            if self.inner.is_stopped() {
                return;
            }
            if round.is_multiple_of(CHECK_EVERY) {
                let members = self.other_members();
                let turn = (round / CHECK_EVERY) as usize;
                if let Some(&member) = members.get(turn % members.len().max(1)) {
                    local.behind().insert(member);
                }
            }
            self.repair_local(local);
            self.expire_local(local);
        }
    }

    /// Tells each member that may have missed something what is known here, in short.
    fn repair_local(&self, local: &Local) {
        if local.is_full.load(Ordering::Relaxed) {
            return;
        }
        let behind = std::mem::take(&mut *local.behind());
        if behind.is_empty() {
            return;
        }
        let members = self.other_members();
        let digests = wire::encode(&Frame::Digests(local.digests()));
        for member in behind.into_iter().filter(|member| members.contains(member)) {
            if self
                .inner
                .transport
                .send(member, Lane::Bulk, digests.clone())
                .is_err()
            {
                local.behind().insert(member);
            }
        }
    }

    fn expire_local(&self, local: &Local) {
        let now = self.inner.clock.now().wall;
        let mut held = Held::default();
        for stripe in 0..STRIPES {
            let mut tally = local.lock(stripe);
            let keys = tally.len();
            tally.expire(now, 1 + keys / EXPIRY_SHARE);
            held.add(tally.len(), tally.held_bytes());
        }
        self.inner.metrics.local_keys.set(held.keys as f64);
        let excess = self.inner.memory.note(Part::Local, held);
        if self.inner.memory.is_roomy() {
            local.is_full.store(false, Ordering::Relaxed);
        }
        if let Some(excess) = excess {
            local.is_full.store(true, Ordering::Relaxed);
            let evicted = local.evict(now, excess);
            self.inner.metrics.evicted.increment(evicted as u64);
        }
    }

    /// A member tells what it counted. Of a strategy that no limit here names, nothing is kept.
    pub(crate) fn on_told(&self, cells: Vec<(KeyHash, Cell)>) {
        let Some(local) = self.inner.local.get() else {
            return;
        };
        let now = self.inner.clock.now().wall;
        local.heard.increment(cells.len() as u64);
        for (key, cell) in cells {
            local.stripe(key).on_told(now, key, cell);
        }
    }

    /// A member tells what it knows, in short: it is told what it may lack, and asked for the same.
    pub(crate) fn on_digests(&self, from: ReplicaId, digests: Vec<(u8, Digest)>) {
        let Some(local) = self.inner.local.get() else {
            // Nothing is known here: it need not wait for it.
            let nothing = wire::encode(&Frame::Wanted(Vec::new()));
            let _lost = self.inner.transport.send(from, Lane::Bulk, nothing);
            return;
        };
        let differing = |(stripe, theirs): (u8, Digest)| {
            let ours = local.known(stripe)?.digest();
            Some((stripe, ours.differing(&theirs))).filter(|&(_, buckets)| buckets != 0)
        };
        let mut wanted: Vec<(u8, u16)> = digests.into_iter().filter_map(differing).collect();
        self.tell_buckets(local, from, &wanted);
        if local.is_full.load(Ordering::Relaxed) {
            wanted.clear();
        }
        // After the news, on the same lane: who reads it has read them.
        let wanted = wire::encode(&Frame::Wanted(wanted));
        if self.inner.transport.send(from, Lane::Bulk, wanted).is_err() {
            local.behind().insert(from);
        }
    }

    /// A member has told what it knows, and wants to know what is known here.
    pub(crate) fn on_wanted(&self, from: ReplicaId, wanted: &[(u8, u16)]) {
        let Some(local) = self.inner.local.get() else {
            return;
        };
        local.has_news.send_replace(true);
        self.tell_buckets(local, from, wanted);
    }

    fn tell_buckets(&self, local: &Local, to: ReplicaId, wanted: &[(u8, u16)]) {
        for &(stripe, buckets) in wanted {
            let Some(tally) = local.known(stripe) else {
                continue;
            };
            let cells: Vec<(KeyHash, Cell)> = tally.buckets(buckets).collect();
            drop(tally);
            local.told.increment(cells.len() as u64);
            for frame in wire::encode_told_split(cells, FRAME_MAX) {
                if self.inner.transport.send(to, Lane::Bulk, frame).is_err() {
                    local.untaken.increment(1);
                    local.behind().insert(to);
                    return;
                }
            }
        }
    }

    /// A member is connected, perhaps again: it may have missed something.
    pub(crate) fn on_local_connected(&self, member: ReplicaId) {
        if let Some(local) = self.inner.local.get() {
            local.behind().insert(member);
        }
    }

    fn local(&self) -> &Local {
        let started = self.inner.local.get();
        started.expect("its tasks are started after it")
    }

    /// The live members but this node.
    pub(super) fn other_members(&self) -> Vec<ReplicaId> {
        let world = self.inner.slots.world.load();
        let members = world.view.members().iter().map(|seen| seen.replica);
        members.filter(|&member| member != self.inner.me).collect()
    }
}

impl LocalCoordinator {
    /// One operation on the counts of this node.
    #[inline]
    fn decide<R>(
        &self,
        policy: &Policy,
        key: &str,
        decide: impl FnOnce(&mut Tally, quota::UnixNanos, KeyHash, &Limit) -> R,
    ) -> Result<R, NoDecision> {
        let inner = &self.cluster.inner;
        if inner.is_stopped() {
            let retry_after = Nanos::from_secs(1);
            return Err(NoDecision::Draining { retry_after });
        }
        let local = self.cluster.local();
        let key = keys::hash(&inner.keys, policy, key);
        let now = inner.clock.now().wall;
        let mut tally = local.stripe(key);
        let decided = decide(&mut tally, now, key, &policy.limit);
        if tally.has_untold() {
            local.note_untold();
        }
        Ok(decided)
    }

    fn hit_now(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        let local = self.cluster.local();
        let tallied = self.decide(policy, key, |tally, now, key, limit| {
            tally.hit(now, key, limit, cost)
        })?;
        if tallied.overshoot != 0 {
            local.overshoot.record(tallied.overshoot as f64);
        }
        Ok(tallied.decision.into())
    }
}

impl Coordinator for LocalCoordinator {
    #[inline]
    fn try_hit(&self, hit: Hit<'_>) -> Option<Result<Answer, NoDecision>> {
        Some(self.hit_now(hit.policy, hit.key, hit.cost))
    }

    async fn hit(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.hit_now(policy, key, cost)
    }

    async fn hits(&self, hits: &[Hit<'_>]) -> Vec<Result<Answer, NoDecision>> {
        hits.iter()
            .map(|hit| self.hit_now(hit.policy, hit.key, hit.cost))
            .collect()
    }

    async fn refund(&self, policy: &Policy, key: &str, cost: Cost) -> Result<Answer, NoDecision> {
        self.decide(policy, key, |tally, now, key, limit| {
            tally.refund(now, key, limit, cost)
        })
        .map(Answer::from)
    }

    async fn reset(&self, policy: &Policy, key: &str) -> Result<(), NoDecision> {
        self.decide(policy, key, |tally, now, key, limit| {
            let _full: Decision = tally.reset(now, key, limit);
        })
    }
}
