//! What an owner keeps while it owns: its writes, and how far each peer has confirmed them.

use std::collections::{BTreeMap, VecDeque};

use delta_crdt::{Cell, Cells, Digest, Dot, Evicted, ReplicaId, Term};
use membership::{Lease, View};
use quota::{BootNanos, KeyHash, Nanos};

use crate::admitted::{AdmittedHits, HitId};
use crate::message::{Baseline, Buckets, Message};
use crate::record::Record;
use crate::settings::Partition;

/// Every bucket of a digest.
pub(crate) const ALL_BUCKETS: Buckets = Buckets::MAX;

/// Writes kept for peers that have not confirmed them; a peer further behind gets whole buckets.
///
/// At 40 bytes a write this is 2.6 MiB for one shard at worst; it covers a quarter of a second (the
/// default `max_lag`, after which answers wait anyhow) of 260 000 hits a second on this one shard.
const RECENT_MAX: usize = 65_536;

#[derive(Debug)]
struct Write {
    key: KeyHash,
    what: What,
    at: BootNanos,
}

#[derive(Debug)]
enum What {
    /// Something was counted, or given back.
    Counted { admitted: Option<HitId> },
    /// The key was let go. Boxed: hits are the usual, and this makes each write 8 bytes longer at most.
    Evicted(Box<Evicted>),
}

impl Write {
    fn admitted(&self) -> Option<HitId> {
        match self.what {
            What::Counted { admitted } => admitted,
            What::Evicted(_) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Needs these buckets whole as they are after write `from` or later, and then every write after it.
    ///
    /// The other buckets were equal at `from`: a write in one of them must be streamed, however soon it came.
    Base {
        buckets: Buckets,
        from: u64,
        sent_at: Option<BootNanos>,
    },
    /// Follows the writes.
    Streaming {
        acked: u64,
        sent: u64,
        sent_at: BootNanos,
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
pub(crate) struct Reign {
    /// The newest write.
    seq: u64,
    /// Writes that this node made under earlier terms, evictions among them: its dots go on from there.
    before: u64,
    /// The write before `recent`'s first.
    trimmed: u64,
    recent: VecDeque<Write>,
    pub(crate) peers: Vec<Progress>,
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
    pub(crate) fn is_majority(&self, agrees: impl Fn(ReplicaId) -> bool) -> bool {
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

    /// `peer` has sent more: what it was to be told is no longer all.
    pub(crate) fn owe_synced_anew(&mut self, peer: ReplicaId) {
        self.joined.retain(|&(known, _)| known != peer);
        self.owe_synced(peer);
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
        self.push(at, key, What::Counted { admitted });
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
        self.push(at, evicted.key(), What::Evicted(Box::new(evicted)));
    }

    fn push(&mut self, at: BootNanos, key: KeyHash, what: What) {
        self.seq += 1;
        if self.peers.is_empty() {
            self.trimmed = self.seq;
            return;
        }
        if RECENT_MAX <= self.recent.len() {
            self.recent.pop_front();
            self.trimmed += 1;
        }
        self.recent.push_back(Write { key, what, at });
    }

    pub(crate) fn progress(&self, peer: ReplicaId) -> Option<&Progress> {
        self.peers.iter().find(|progress| progress.peer == peer)
    }

    /// Begins to copy to `peer`; `buckets` are those in which it differs.
    pub(crate) fn follow(&mut self, peer: ReplicaId, buckets: Buckets) {
        if self.progress(peer).is_none() {
            self.peers.push(Progress {
                peer,
                stage: Stage::Base {
                    buckets,
                    from: self.seq,
                    sent_at: None,
                },
            });
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

    /// Whether a peer has not been sent everything.
    pub(crate) fn wants_flush(&self) -> bool {
        self.peers.iter().any(|progress| match progress.stage {
            Stage::Base { sent_at, .. } => sent_at.is_none(),
            Stage::Streaming { sent, .. } => sent < self.seq,
        })
    }

    /// What `peer` said that it has. Whether anything was confirmed.
    pub(crate) fn on_have(&mut self, peer: ReplicaId, through: u64, gap: bool) -> bool {
        let seq = self.seq;
        let Some(progress) = self.peers.iter_mut().find(|progress| progress.peer == peer) else {
            return false;
        };
        let confirmed = match &mut progress.stage {
            Stage::Base {
                from,
                sent_at: Some(at),
                ..
            } if *from <= through && through <= seq => {
                progress.stage = Stage::Streaming {
                    acked: through,
                    sent: through,
                    sent_at: *at,
                };
                true
            }
            Stage::Base { .. } => false,
            Stage::Streaming { acked, sent, .. } => {
                let newer = *acked < through && through <= seq;
                if newer {
                    *acked = through;
                    *sent = (*sent).max(through);
                }
                if gap && through == 0 {
                    // It has lost what it had confirmed.
                    progress.stage = Stage::Base {
                        buckets: ALL_BUCKETS,
                        from: seq,
                        sent_at: None,
                    };
                } else if gap {
                    *sent = *acked;
                }
                newer
            }
        };
        self.trim();
        confirmed
    }

    /// Makes the deltas and copies that are due.
    pub(crate) fn flush(
        &mut self,
        now: BootNanos,
        resend_after: Nanos,
        record: &Record,
        cells: &Cells,
        ids: &AdmittedHits,
    ) -> Vec<(ReplicaId, Message)> {
        let mut out = Vec::new();
        for progress in &mut self.peers {
            if let Stage::Streaming {
                acked,
                sent,
                sent_at,
            } = &mut progress.stage
            {
                if *acked < *sent && resend_after <= now - *sent_at {
                    *sent = *acked;
                }
                if *sent < self.trimmed {
                    progress.stage = Stage::Base {
                        buckets: ALL_BUCKETS,
                        from: self.seq,
                        sent_at: None,
                    };
                }
            }
            let (baseline, through, written, admitted) = match &mut progress.stage {
                Stage::Base {
                    buckets,
                    from,
                    sent_at,
                } => {
                    if sent_at.is_some_and(|at| now - at < resend_after) {
                        continue;
                    }
                    if *from < self.trimmed {
                        *buckets = ALL_BUCKETS;
                    }
                    if *buckets == ALL_BUCKETS {
                        *from = self.seq;
                    }
                    *sent_at = Some(now);
                    let cells = whole(cells, *buckets);
                    (
                        Baseline::Whole {
                            buckets: *buckets,
                            record: record.clone(),
                        },
                        *from,
                        cells,
                        ids.iter().collect(),
                    )
                }
                Stage::Streaming { sent, sent_at, .. } => {
                    if *sent == self.seq {
                        continue;
                    }
                    let skip = usize::try_from(*sent - self.trimmed).unwrap_or(usize::MAX);
                    let writes = || self.recent.iter().skip(skip);
                    let changed = changed_by(writes(), self.before + *sent + 1, record.term, cells);
                    let after = *sent;
                    (*sent, *sent_at) = (self.seq, now);
                    (
                        Baseline::After(after),
                        self.seq,
                        changed,
                        writes().filter_map(Write::admitted).collect(),
                    )
                }
            };
            let term = record.term;
            let message = Message::Delta {
                term,
                baseline,
                through,
                cells: written,
                admitted,
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
                Stage::Base {
                    buckets: ALL_BUCKETS,
                    sent_at: None,
                    ..
                } => None,
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

/// The cells that `writes`, the first of which is number `first`, changed: each as it is now, after what says that it was
/// evicted meanwhile, if it was.
///
/// An eviction is told even where the key has been counted anew: what was known before may have been written
/// under an earlier term, of which the new count says nothing.
///
/// `first` counts all writes of the owner, as its dots do.
fn changed_by<'a>(
    writes: impl Iterator<Item = &'a Write>,
    first: u64,
    term: Term,
    cells: &Cells,
) -> Vec<(KeyHash, Cell)> {
    let (mut keys, mut changed) = (Vec::new(), Vec::new());
    for (write, seq) in writes.zip(first..) {
        keys.push(write.key);
        if let What::Evicted(evicted) = &write.what {
            changed.push((write.key, evicted.cell(Dot::new(term, seq))));
        }
    }
    keys.sort_unstable();
    keys.dedup();
    changed.extend(
        keys.into_iter()
            .filter_map(|key| Some((key, cells.get(key)?))),
    );
    changed
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
