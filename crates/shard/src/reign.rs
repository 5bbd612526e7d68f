//! What an owner keeps while it owns: how far each peer has confirmed its writes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use delta_crdt::{Cell, Cells, Digest, Evicted, ReplicaId};
use membership::{Lease, View};
use quota::{BootNanos, KeyHash, Nanos};

use crate::admitted::{AdmittedHits, HitId};
use crate::message::{Baseline, Buckets, CopyId, Message};
use crate::record::Record;
use crate::settings::Partition;
use crate::transfer::{Transfer, bytes_of};
use crate::writes::{Delta, What, Write};

/// Every bucket of a digest.
pub(crate) const ALL_BUCKETS: Buckets = Buckets::MAX;

/// Writes kept for peers that have not confirmed them; a peer further behind gets whole buckets.
///
/// At 48 bytes a write this is 3 MiB for one shard at worst; it covers a quarter of a second (the
/// default `max_lag`, after which answers wait anyhow) of 260 000 hits a second on this one shard.
const RECENT_MAX: usize = 65_536;

/// How often the time is doubled after which a delta is sent again.
///
/// Once: every answer that waits for a replica waits for this one delta, and 3.5 s are all that a hit has. 250 ms that were
/// doubled every time let it go four times until then, which is too few where every fifth round trip is lost.
const RESEND_BACKOFF_MAX: u32 = 1;

#[derive(Debug)]
enum Stage {
    /// Needs whole buckets as they are after write `from` or later, and then every write after it.
    ///
    /// The other buckets were equal at `from`: a write in one of them must be streamed, however soon it came.
    Base {
        copy: Transfer,
        from: u64,
        /// It has left in one message, to a node that knows no pieces.
        is_whole: bool,
    },
    /// Follows the writes. What lies between `acked` and `sent` is under way.
    Streaming {
        acked: u64,
        sent: u64,
        sent_at: BootNanos,
        repeats: u32,
    },
}

/// How far one peer has confirmed.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) peer: ReplicaId,
    stage: Stage,
}

impl Progress {
    /// The newest write that it has confirmed, and all before. `None`: it has not confirmed its base.
    pub(crate) fn acked(&self) -> Option<u64> {
        match self.stage {
            Stage::Base { .. } => None,
            Stage::Streaming { acked, .. } => Some(acked),
        }
    }
}

/// A planned move of the shard to `successor`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handoff {
    pub(crate) successor: ReplicaId,
    pub(crate) since: BootNanos,
    pub(crate) said_at: Option<BootNanos>,
}

/// The state of an owner that decides, or is handing off.
#[derive(Debug)]
#[repr(C)] // What every hit looks at comes first, as in a shard.
pub(crate) struct Reign {
    pub(crate) peers: Vec<Progress>,
    /// The newest write.
    seq: u64,
    /// Writes that this node made under earlier terms, evictions among them: its dots go on from there.
    before: u64,
    /// The write before `recent`'s first.
    trimmed: u64,
    recent: VecDeque<Write>,
    /// The lease epochs under which the shard was claimed: a lease of another epoch does not count.
    pub(crate) lease_epochs: Vec<(ReplicaId, u64)>,
    /// Of this node: it knows its own record.
    owner: ReplicaId,
    /// Who counts, and how many of them are a majority.
    voters: Vec<ReplicaId>,
    majority: usize,
    pub(crate) handoff: Option<Handoff>,
    pub(crate) announce_at: BootNanos,
    /// Who has taken note of the record as it is now.
    pub(crate) known_by: Vec<ReplicaId>,
    /// Under which epoch of its lease somebody was first told of the record.
    told: Vec<(ReplicaId, u64)>,
    /// Whose state this owner has joined, and the write that had joined all of it. One for each member at most.
    joined: Vec<(ReplicaId, u64)>,
    /// How many copies were begun.
    copies: u32,
    /// A bug to switch on: [`Fault::IdsAheadOfCounts`](crate::Fault::IdsAheadOfCounts).
    pub(crate) tells_ids_ahead: bool,
}

impl Reign {
    pub(crate) fn new(
        now: BootNanos,
        owner: ReplicaId,
        lease_epochs: Vec<(ReplicaId, u64)>,
        view: &View,
        before: u64,
    ) -> Self {
        // The first position is the state at the start of the term; writes follow it.
        Self {
            seq: 1,
            before,
            trimmed: 1,
            recent: VecDeque::new(),
            peers: Vec::new(),
            lease_epochs,
            owner,
            voters: view.belonging().to_vec(),
            majority: view.majority(),
            handoff: None,
            announce_at: now,
            known_by: Vec::new(),
            told: Vec::new(),
            joined: Vec::new(),
            copies: 0,
            tells_ids_ahead: false,
        }
    }

    /// Who counts may have changed, and who is there.
    pub(crate) fn on_view(&mut self, view: &View) {
        self.voters = view.belonging().to_vec();
        self.majority = view.majority();
        // Whoever starts again has forgotten what it had taken note of, and must not count twice.
        self.known_by.retain(|&replica| view.contains(replica));
    }

    /// Whether those who agree are a majority; the owner always does.
    pub(crate) fn is_majority(&self, mut agrees: impl FnMut(ReplicaId) -> bool) -> bool {
        let agreeing = self
            .voters
            .iter()
            .filter(|&&voter| voter == self.owner || agrees(voter));
        self.majority <= agreeing.count()
    }

    /// The record is announced to `member`, which gives us `lease`.
    pub(crate) fn tells(&mut self, now: BootNanos, member: ReplicaId, lease: Lease) {
        if now < lease.until && !self.told.iter().any(|&(told, _)| told == member) {
            self.told.push((member, lease.epoch));
        }
    }

    /// `member` has taken note of the record, and gives us `lease`.
    ///
    /// If that lease has run since it was first told, it has promised the shard to nobody since it took note, nor will
    /// before the lease runs out: as good as a promise, for a member that was not there to be asked for one.
    pub(crate) fn knows(&mut self, now: BootNanos, member: ReplicaId, lease: Lease) {
        if now < lease.until && self.told.contains(&(member, lease.epoch)) {
            self.meet(member, lease);
        }
        if !self.known_by.contains(&member) {
            self.known_by.push(member);
        }
    }

    /// Takes note of a member that has come since the claim, and of its lease. It cannot have given the shard away
    /// before: whoever claims it asks the owner in its view, who refuses.
    pub(crate) fn meet(&mut self, member: ReplicaId, lease: Lease) {
        if !self.lease_epochs.iter().any(|&(met, _)| met == member) {
            self.lease_epochs.push((member, lease.epoch));
        }
    }

    /// All that `peer` holds is joined, and was by the newest write at the latest: it will be told.
    pub(crate) fn owe_synced(&mut self, peer: ReplicaId) {
        // Asked again, the answer still waits for the same write: for the newest it could wait for ever.
        if self.joined.iter().all(|&(known, _)| known != peer) {
            self.joined.push((peer, self.seq));
        }
    }

    /// `peer` has more than what was joined: it is told nothing before that is joined, too.
    pub(crate) fn owe_nothing(&mut self, peer: ReplicaId) {
        self.joined.retain(|&(known, _)| known != peer);
    }

    /// Whose state is safe: a replica has confirmed it, or there is none.
    pub(crate) fn take_synced(&mut self, record: &Record) -> Vec<ReplicaId> {
        if self.joined.is_empty() {
            return Vec::new();
        }
        let confirmed = match record.replicas().next() {
            Some(_) => self.confirmed(record, Partition::Available),
            None => self.seq,
        };
        let (safe, rest) = self.joined.iter().partition(|&&(_, seq)| seq <= confirmed);
        self.joined = rest;
        let safe: Vec<(ReplicaId, u64)> = safe;
        safe.into_iter().map(|(peer, _)| peer).collect()
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Counts a write of `key`; peers get it with the next flush.
    pub(crate) fn wrote(&mut self, at: BootNanos, key: KeyHash, admitted: Option<HitId>) {
        self.push(at, What::Counted { key, admitted });
    }

    /// Counts as a write that another node had admitted these hits: whoever takes over must know them when they are asked
    /// again. Nothing, if there are none.
    pub(crate) fn remembered(&mut self, at: BootNanos, ids: Vec<HitId>) {
        if !ids.is_empty() {
            self.push(at, What::Remembered(ids.into()));
        }
    }

    /// The number of the newest write among all that this node has made, and so of its dot.
    pub(crate) fn written(&self) -> u64 {
        self.before + self.seq
    }

    /// Whether write number `written` of this node was made in this term.
    pub(crate) fn has_written(&self, written: u64) -> bool {
        self.before < written && written <= self.written()
    }

    /// Counts the eviction of a key as a write: peers are told to let it go.
    pub(crate) fn evicted(&mut self, at: BootNanos, evicted: Evicted) {
        self.push(at, What::Evicted(Box::new(evicted)));
    }

    fn push(&mut self, at: BootNanos, what: What) {
        self.seq += 1;
        if self.peers.is_empty() {
            self.trimmed = self.seq;
            return;
        }
        if RECENT_MAX <= self.recent.len() {
            self.recent.pop_front();
            self.trimmed += 1;
        }
        self.recent.push_back(Write { what, at });
    }

    pub(crate) fn progress(&self, peer: ReplicaId) -> Option<&Progress> {
        self.peers.iter().find(|progress| progress.peer == peer)
    }

    /// Begins to copy to `peer`; `buckets` are those in which it differs.
    pub(crate) fn follow(&mut self, peer: ReplicaId, buckets: Buckets) {
        if self.progress(peer).is_none() {
            let stage = base(&mut self.copies, buckets, self.seq);
            self.peers.push(Progress { peer, stage });
        }
    }

    pub(crate) fn unfollow(&mut self, peer: ReplicaId) {
        self.peers.retain(|progress| progress.peer != peer);
        self.trim();
    }

    /// The newest write that a holder besides the owner has confirmed; where a majority can take over
    /// with any one holder, every holder.
    pub(crate) fn confirmed(&self, record: &Record, partition: Partition) -> u64 {
        let holders = self
            .peers
            .iter()
            .filter(|progress| record.held_by(progress.peer));
        let acked = holders.map(|progress| progress.acked().unwrap_or_default());
        match partition {
            Partition::Available => acked.max().unwrap_or_default(),
            // A majority that goes on without this node must know which holders to ask.
            Partition::Quorum if !self.is_known() => 0,
            Partition::Quorum => acked.min().unwrap_or(self.seq),
        }
    }

    /// Whether a majority has taken note of the record as it is now.
    pub(crate) fn is_known(&self) -> bool {
        self.is_majority(|voter| self.known_by.contains(&voter))
    }

    /// How long the oldest write has waited that no holder has confirmed.
    pub(crate) fn lag(&self, now: BootNanos, record: &Record, partition: Partition) -> Nanos {
        self.age_after(now, self.confirmed(record, partition))
    }

    /// For each replica, the age of the oldest write that it has not confirmed, where that is older than what `behind`
    /// says already.
    pub(crate) fn behind(
        &self,
        now: BootNanos,
        record: &Record,
        behind: &mut BTreeMap<ReplicaId, Nanos>,
    ) {
        for progress in self.peers.iter().filter(|p| record.held_by(p.peer)) {
            let age = self.age_after(now, progress.acked().unwrap_or_default());
            if age != Nanos::ZERO {
                let known = behind.entry(progress.peer).or_default();
                *known = age.max(*known);
            }
        }
    }

    /// The age of the oldest remembered write after `confirmed`.
    fn age_after(&self, now: BootNanos, confirmed: u64) -> Nanos {
        let index = confirmed.max(self.trimmed) - self.trimmed;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.recent
            .get(index)
            .map_or(Nanos::ZERO, |write| now - write.at)
    }

    /// Whether writes wait that can leave: a peer follows, and nothing is under way to it.
    pub(crate) fn wants_flush(&self) -> bool {
        self.peers.iter().any(|progress| match progress.stage {
            Stage::Base { .. } => false,
            Stage::Streaming { acked, sent, .. } => sent < self.seq && acked == sent,
        })
    }

    /// What `peer` said that it has. Whether anything was confirmed.
    pub(crate) fn on_have(&mut self, peer: ReplicaId, through: u64, gap: bool) -> bool {
        let seq = self.seq;
        let Some(progress) = self.peers.iter_mut().find(|progress| progress.peer == peer) else {
            return false;
        };
        let confirmed = match &mut progress.stage {
            // A node that knows no pieces confirms its copy like this.
            Stage::Base {
                from,
                is_whole: true,
                ..
            } if *from <= through && through <= seq => {
                progress.stage = streaming(through);
                true
            }
            Stage::Base { .. } => false,
            Stage::Streaming {
                acked,
                sent,
                repeats,
                ..
            } => {
                let newer = *acked < through && through <= seq;
                if newer {
                    *acked = through;
                    *sent = (*sent).max(through);
                    *repeats = 0;
                }
                if gap && through == 0 {
                    // It has lost what it had confirmed.
                    progress.stage = base(&mut self.copies, ALL_BUCKETS, seq);
                } else if gap {
                    *sent = *acked;
                }
                newer
            }
        };
        self.trim();
        confirmed
    }

    /// `peer` has a piece of a copy, or has not those before it. `None`: it is not about the piece under way.
    /// Otherwise whether that was the last one.
    pub(crate) fn on_received(
        &mut self,
        peer: ReplicaId,
        copy: CopyId,
        index: u32,
        gap: bool,
    ) -> Option<bool> {
        let progress = self
            .peers
            .iter_mut()
            .find(|progress| progress.peer == peer)?;
        let Stage::Base {
            copy: sent, from, ..
        } = &mut progress.stage
        else {
            return None;
        };
        if sent.id != copy {
            return None;
        }
        if gap {
            progress.stage = base(&mut self.copies, ALL_BUCKETS, self.seq);
            return Some(false);
        }
        if !sent.on_received(index) {
            return None;
        }
        let is_done = sent.is_done();
        if is_done {
            progress.stage = streaming(*from);
            self.trim();
        }
        Some(is_done)
    }

    /// The copy that `peer` needs, ready to be sent: begun anew where the writes that would follow it are gone.
    fn copy_to(&mut self, peer: ReplicaId) -> Option<(&mut Transfer, u64)> {
        let progress = self
            .peers
            .iter_mut()
            .find(|progress| progress.peer == peer)?;
        if let Stage::Base { from, .. } = progress.stage
            && from < self.trimmed
        {
            progress.stage = base(&mut self.copies, ALL_BUCKETS, self.seq);
        }
        let Stage::Base {
            copy,
            from,
            is_whole,
        } = &mut progress.stage
        else {
            return None;
        };
        if copy.is_fresh() && !*is_whole && copy.buckets == ALL_BUCKETS {
            *from = self.seq;
        }
        Some((copy, *from))
    }

    /// The ids that a copy of these buckets leaves out: of hits admitted after the state that `peer` has, or is copied, unless the
    /// copy holds what they were counted in. They follow with that. A hit whose id came first, and then its owner was gone,
    /// was answered when it was asked again, and counted by nobody.
    pub(crate) fn ids_ahead(&self, peer: ReplicaId, buckets: Buckets) -> BTreeSet<HitId> {
        if self.tells_ids_ahead {
            return BTreeSet::new();
        }
        let known = match self.progress(peer).map(|progress| &progress.stage) {
            Some(Stage::Base { from, .. }) => *from,
            Some(Stage::Streaming { acked, .. }) => *acked,
            None => self.trimmed,
        };
        let skip = usize::try_from(known.saturating_sub(self.trimmed)).unwrap_or(usize::MAX);
        let since = self.recent.iter().skip(skip);
        let ids = since.flat_map(|write| write.ids_beside(buckets));
        ids.copied().collect()
    }

    /// The piece of its copy that `peer` gets next, and about how many bytes it takes.
    pub(crate) fn piece_for(
        &mut self,
        peer: ReplicaId,
        record: &Record,
        cells: &Cells,
        ids: &AdmittedHits,
    ) -> Option<(Message, usize)> {
        let (copy, _) = self.copy_to(peer)?;
        if copy.is_fresh() {
            let buckets = copy.buckets;
            let ahead = self.ids_ahead(peer, buckets);
            self.copy_to(peer)?.0.leave_out(&ahead, ids);
        }
        let (copy, through) = self.copy_to(peer)?;
        let (piece, bytes) = copy.piece(cells, ids);
        let message = Message::Copy {
            term: record.term,
            record: record.clone(),
            through,
            piece,
        };
        Some((message, bytes))
    }

    /// All that `peer` gets, in one message: for nodes that know no pieces.
    pub(crate) fn whole_for(
        &mut self,
        peer: ReplicaId,
        record: &Record,
        cells: &Cells,
        ids: &AdmittedHits,
    ) -> Option<(Message, usize)> {
        let (copy, through) = self.copy_to(peer)?;
        let buckets = copy.buckets;
        let ahead = self.ids_ahead(peer, buckets);
        let progress = self
            .peers
            .iter_mut()
            .find(|progress| progress.peer == peer)?;
        if let Stage::Base { is_whole, .. } = &mut progress.stage {
            *is_whole = true;
        }
        let cells = whole(cells, buckets);
        let bytes = cells.iter().map(|(_, cell)| bytes_of(cell)).sum();
        let message = Message::Delta {
            term: record.term,
            baseline: Baseline::Whole {
                buckets,
                record: record.clone(),
            },
            through,
            cells,
            admitted: ids.iter().filter(|id| !ahead.contains(id)).collect(),
        };
        Some((message, bytes))
    }

    /// The peers that wait for a piece and were not named yet, and whether they come first: they lack nothing but being told
    /// so, or have a part already, which is of use with the rest.
    pub(crate) fn untold(&mut self) -> Vec<(ReplicaId, bool)> {
        let waits = |progress: &mut Progress| match &mut progress.stage {
            Stage::Base { copy, .. } => copy
                .must_tell()
                .then_some((progress.peer, copy.buckets == 0 || copy.is_begun())),
            Stage::Streaming { .. } => None,
        };
        self.peers.iter_mut().filter_map(waits).collect()
    }

    /// Names every peer that waits for a piece again.
    pub(crate) fn tell_again(&mut self) {
        for progress in &mut self.peers {
            if let Stage::Base { copy, .. } = &mut progress.stage {
                copy.tell_again();
            }
        }
    }

    /// Makes the deltas that are due: one to each peer that follows and has confirmed the last.
    pub(crate) fn flush(
        &mut self,
        now: BootNanos,
        resend_after: Nanos,
        record: &Record,
        cells: &Cells,
    ) -> Vec<(ReplicaId, Message)> {
        let mut out = Vec::new();
        for progress in &mut self.peers {
            let Stage::Streaming {
                acked,
                sent,
                sent_at,
                repeats,
            } = &mut progress.stage
            else {
                continue;
            };
            if *acked < *sent && resend_after.times(1 << *repeats) <= now - *sent_at {
                *sent = *acked;
                *repeats = (*repeats + 1).min(RESEND_BACKOFF_MAX);
            }
            if *sent < self.trimmed {
                progress.stage = base(&mut self.copies, ALL_BUCKETS, self.seq);
                continue;
            }
            if *acked < *sent || *sent == self.seq {
                continue;
            }
            let skip = usize::try_from(*sent - self.trimmed).unwrap_or(usize::MAX);
            let after = *sent;
            let writes = self.recent.iter().skip(skip);
            let delta = Delta::of(writes, self.before + after + 1, record.term, cells);
            (*sent, *sent_at) = (after + delta.writes, now);
            let message = Message::Delta {
                term: record.term,
                baseline: Baseline::After(after),
                through: after + delta.writes,
                cells: delta.cells,
                admitted: delta.admitted,
            };
            out.push((progress.peer, message));
        }
        out
    }

    /// Forgets the writes that every following peer has confirmed.
    fn trim(&mut self) {
        let needed = self
            .peers
            .iter()
            .filter_map(|progress| match progress.stage {
                // A copy of everything starts from the write at which it is sent.
                Stage::Base { ref copy, .. } if copy.buckets == ALL_BUCKETS && copy.is_fresh() => {
                    None
                }
                // What comes after a copy is streamed once the copy is confirmed.
                Stage::Base { from, .. } => Some(from),
                Stage::Streaming { acked, .. } => Some(acked),
            });
        let through = needed.min().unwrap_or(self.seq);
        while self.trimmed < through && self.recent.pop_front().is_some() {
            self.trimmed += 1;
        }
    }
}

fn base(copies: &mut u32, buckets: Buckets, from: u64) -> Stage {
    *copies = copies.wrapping_add(1);
    Stage::Base {
        copy: Transfer::new(CopyId::Base(*copies), buckets),
        from,
        is_whole: false,
    }
}

fn streaming(acked: u64) -> Stage {
    Stage::Streaming {
        acked,
        sent: acked,
        sent_at: BootNanos::ZERO,
        repeats: 0,
    }
}

/// All cells of some buckets.
pub(crate) fn whole(cells: &Cells, buckets: Buckets) -> Vec<(KeyHash, Cell)> {
    match buckets {
        0 => Vec::new(),
        _ => cells
            .iter()
            .filter(|&(key, _)| buckets & (1 << Digest::bucket_of(key)) != 0)
            .collect(),
    }
}

#[cfg(test)]
mod tests;
