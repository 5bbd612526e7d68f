//! The state machine of one shard on one node.

mod claims;
mod eviction;
mod pieces;
mod pledges;
mod poisoned;
mod recall;
mod replication;
mod tenure;

use std::collections::{BTreeMap, HashSet, VecDeque};

use delta_crdt::{Cells, Dot, ReplicaId, Term};
use membership::{Leases, View};
use quota::{BootNanos, Cost, Decision, KeyHash, Limit, Nanos, Now, Verdict};

use crate::admitted::{AdmittedHits, HitId};
use crate::answered::AnsweredHits;
use crate::claim::Claim;
use crate::message::Message;
use crate::record::{Record, ShardId};
use crate::reign::Reign;
use crate::settings::{Fault, Partition, Settings};

pub use eviction::Room;
pub use pieces::CopyForm;
use pieces::Pieces;
use pledges::Pledge;
use recall::Recall;

/// What a shard must know of the world, read by the driver once per call.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Both clocks.
    pub now: Now,
    /// Who is alive.
    pub view: &'a View,
    /// Leases held and grants given.
    pub leases: &'a Leases,
    /// The live members that take shards, in the order in which the ring prefers them for this one.
    pub order: &'a [ReplicaId],
}

/// What a hit does to its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Decide, and count when admitted.
    Hit(Cost),
    /// Give back what an earlier hit took.
    Refund(Cost),
    /// Let the key start anew.
    Reset,
}

/// What became of a hit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Decided here.
    Decided {
        /// The answer.
        decision: Decision,
        /// The write that a replica must confirm before a `replicated` answer. `None`: nothing was
        /// written, or nobody is there to confirm it.
        written: Option<u64>,
    },
    /// Not counted: this node does not own the shard.
    NotHere {
        /// Who owns it, as far as is known here.
        owner: Option<ReplicaId>,
    },
    /// Not counted: a claim, a handoff or a lease is under way. Try again after the next effect.
    Wait,
}

/// What this node is to the shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Decides nothing; may hold a copy.
    Idle,
    /// Asks the others for their promises.
    Claiming,
    /// Owns and decides while its leases run.
    Open,
    /// Owns, and has frozen the shard to hand it over.
    HandingOff,
}

/// Something that an operator would want to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// This node began to decide.
    Opened {
        /// Its term.
        term: Term,
        /// How long the claim took.
        after: Nanos,
        /// The old owner agreed.
        handed_over: bool,
        /// Somebody had owned it before.
        taken_over: bool,
    },
    /// This node decides no longer: `by` has a higher term.
    SteppedDown {
        /// The higher term.
        by: Term,
    },
    /// A lease had run out: the shard is claimed again before it is decided again.
    LeaseLapsed,
    /// No holder of the old record can be reached, and one at least may come back: until then this node counts without
    /// what they have, and then both are joined.
    OutOfReach,
    /// No holder of the old record lives, nor can come back: what it had counted is lost.
    StateLost,
    /// Two sides had counted apart; their counts were joined.
    Forked {
        /// How many keys.
        keys: usize,
    },
    /// Of keys found forked, so many will not be measured for overshoot: too many others are.
    Unmeasured {
        /// How many keys.
        keys: usize,
    },
    /// The sides of a fork, taken together, had admitted more than the limit of a key. Found when the owner is first
    /// asked for the key after the fork.
    Overshoot {
        /// Units beyond the limit.
        units: u64,
    },
    /// A message of `from` named a term that nobody can have reached. It was ignored.
    TermLeapt {
        /// Who is broken.
        from: ReplicaId,
        /// The number of the term.
        number: u32,
    },
    /// The last owner had admitted hits, and told those who forwarded them, that no live holder knows of. Those of the
    /// owner's own clients are not among them: nobody who lives knows of these.
    Forgotten {
        /// How many hits.
        hits: usize,
    },
}

/// Work for the driver, to be done in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send to another node. May be lost.
    Send {
        /// Where to.
        to: ReplicaId,
        /// What.
        message: Message,
    },
    /// A piece of a copy waits for its turn to leave: [`Copies`](crate::Copies) says when. Repeated while one waits.
    PieceWaits {
        /// Where to.
        to: ReplicaId,
        /// Before others: a claim waits for it, a replica has everything and has to be told so, or has a part of the copy.
        first: bool,
    },
    /// The piece of a copy that was under way has arrived.
    PieceArrived {
        /// Where.
        at: ReplicaId,
    },
    /// The owner, the role or the confirmed writes changed: waiting hits and answers look again.
    Changed,
    /// For logs and metrics.
    Note(Note),
}

/// How long a promise that another node asked for keeps us from claiming ourselves.
const YIELD_TO_PLEDGE: Nanos = Nanos::from_millis(300);

/// How long the preferred claimant has before the next in line claims as well. Longer than a claim.
const CLAIM_TURN: Nanos = Nanos::from_millis(400);

/// How long a claim looks for the holders of a shard before it concludes that none of them can come back: by then
/// everybody alive has told who belongs to the cluster, ten times.
const GONE_AFTER: Nanos = Nanos::from_millis(1_000);

/// Keys found forked and not asked for since, whose overshoot is still to be measured: of more, some go unmeasured, which
/// loses a measurement and no count. 4 096 are 150 KiB, and four times the keys of a shard of a million-key node.
const UNMEASURED_MAX: usize = 4_096;

/// By how much a term that a message names may be above what is known here. A term is one above the last, so that this
/// takes 77 days of forty claims a second. The numbers end at sixteen times as much: one message of a peer gone mad that
/// named the last of them would leave none to claim by, on all nodes and for ever.
const TERM_LEAP_MAX: u32 = 1 << 28;

/// One node's part in one shard.
///
/// Call order: any `on_*` at any time with a `now` that never goes back; [`Shard::flush`] when
/// [`Shard::wants_flush`] says so, a few milliseconds later; [`Shard::on_view`] when the view changed;
/// [`Shard::on_tick`] every few tens of milliseconds. Drain [`Shard::next_effect`] after each.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    me: ReplicaId,
    settings: Settings,
    record: Option<Record>,
    /// The highest term that this node has promised or seen; whatever is lower is refused.
    promised: Term,
    /// The newest promise, until its claimant has opened.
    pledged: Option<Pledge>,
    /// The term whose owner has said that it decides no longer.
    released: Option<Term>,
    /// When this node said so of itself last.
    release_said_at: Option<BootNanos>,
    /// Since when none of the holders can come back.
    unheld_since: Option<BootNanos>,
    state: State,
    cells: Cells,
    admitted: AdmittedHits,
    answered: AnsweredHits,
    /// Keys that this node found forked, and has not been asked for since. At most [`UNMEASURED_MAX`].
    unmeasured: HashSet<KeyHash>,
    /// This node has evicted what its owner has not: its copy is not compared, and not filled again, until it is sent whole.
    has_holes: bool,
    recall: Recall,
    /// How many writes this node has made, under whatever terms.
    written: u64,
    pieces: Pieces,
    /// How far this replica follows the owner.
    have: Have,
    /// What this node had when the owner last said that it does not follow it.
    left_out_with: Option<u64>,
    /// The term whose owner is known to hold everything that this node holds.
    synced: Option<Term>,
    /// The term whose claimant was told what this node holds, and says by itself when it has all of it.
    told: Option<Term>,
    /// The last holders of the shard, none of whom could be reached when this node opened it.
    unreached: Vec<ReplicaId>,
    /// All that this node held went with a panic, and no copy of everything has come since: when to ask the owner for one.
    copy_wanted: Option<BootNanos>,
    offered_at: Option<BootNanos>,
    ownerless_since: Option<BootNanos>,
    claim_not_before: BootNanos,
    effects: VecDeque<Effect>,
}

#[derive(Debug)]
enum State {
    Idle,
    Claiming(Claim, BootNanos),
    Open(Reign),
}

#[derive(Clone, Copy, Debug)]
struct Have {
    term: Term,
    through: u64,
}

impl Have {
    const NOTHING: Self = Self {
        term: Record::NO_TERM,
        through: 0,
    };
}

impl Shard {
    /// A shard of which this node knows nothing yet.
    #[must_use]
    pub fn new(id: ShardId, me: ReplicaId, settings: Settings) -> Self {
        Self {
            id,
            me,
            settings,
            record: None,
            promised: Record::NO_TERM,
            pledged: None,
            released: None,
            release_said_at: None,
            unheld_since: None,
            state: State::Idle,
            cells: no_cells(settings),
            admitted: AdmittedHits::default(),
            answered: AnsweredHits::default(),
            unmeasured: HashSet::new(),
            has_holes: false,
            recall: Recall::default(),
            written: 0,
            pieces: Pieces::default(),
            have: Have::NOTHING,
            left_out_with: None,
            synced: None,
            told: None,
            unreached: Vec::new(),
            copy_wanted: None,
            offered_at: None,
            ownerless_since: None,
            claim_not_before: BootNanos::ZERO,
            effects: VecDeque::new(),
        }
    }

    /// Takes the next effect. Drain to `None` after every `on_*` call.
    #[must_use]
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Which shard.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The ownership, as far as this node knows.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// What this node is to the shard.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.state {
            State::Idle => Role::Idle,
            State::Claiming(..) => Role::Claiming,
            State::Open(reign) if reign.handoff.is_some() => Role::HandingOff,
            State::Open(_) => Role::Open,
        }
    }

    /// What this node has counted, or copied.
    #[must_use]
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The newest write that a replica has confirmed; under [`Partition::Quorum`], every replica.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        match (&self.state, &self.record) {
            (State::Open(reign), Some(record)) => reign.confirmed(record, self.settings.partition),
            _ => 0,
        }
    }

    /// How long the oldest write has waited that no replica has confirmed. Zero without a replica.
    #[must_use]
    pub fn lag(&self, now: BootNanos) -> Nanos {
        match (&self.state, &self.record) {
            (State::Open(reign), Some(record)) => reign.lag(now, record, self.settings.partition),
            _ => Nanos::ZERO,
        }
    }

    /// For each replica of a shard that this node owns, the age of the oldest write that it has not confirmed, where that
    /// is older than what `behind` says already. A replica that has everything is not named.
    pub fn behind(&self, now: BootNanos, behind: &mut BTreeMap<ReplicaId, Nanos>) {
        if let (State::Open(reign), Some(record)) = (&self.state, &self.record) {
            reign.behind(now, record, behind);
        }
    }

    /// Whether an answer must wait for a replica: there is one, or a majority has to know that there is none.
    ///
    /// True where the shard is not open, too: an owner whose lease ran out and that claims anew cannot say
    /// that its earlier writes need nobody, for another may be opening the shard without them.
    #[must_use]
    pub fn has_replica(&self) -> bool {
        let (State::Open(reign), Some(record)) = (&self.state, &self.record) else {
            return true;
        };
        let waits_for_majority = self.settings.partition == Partition::Quorum && !reign.is_known();
        1 < record.holders.len() || waits_for_majority
    }

    /// Whether all that this node holds is known to be with the owner, or it is the owner.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let synced = self
            .record
            .as_ref()
            .is_some_and(|record| self.synced == Some(record.term));
        let quorum = self.settings.partition == Partition::Quorum;
        quorum || matches!(self.state, State::Open(_)) || synced || self.cells.is_empty()
    }

    /// Whether this node owns the shard with fewer confirmed copies than it should have among
    /// `members` live ones.
    #[must_use]
    pub fn is_under_replicated(&self, members: usize) -> bool {
        let (State::Open(reign), Some(record)) = (&self.state, &self.record) else {
            return false;
        };
        let wanted = self.settings.replicas.min(members.saturating_sub(1));
        let copies = record
            .replicas()
            .filter(|&replica| reign.progress(replica).is_some_and(|p| p.acked().is_some()));
        copies.count() < wanted
    }

    /// Whether a leaving node may go: it neither owns the shard nor holds state that nobody else has.
    #[must_use]
    pub fn may_leave(&self) -> bool {
        let held = self
            .record
            .as_ref()
            .is_some_and(|record| record.held_by(self.me));
        matches!(self.state, State::Idle) && !held && self.is_synced()
    }

    /// Decides one hit against what this node knows now.
    ///
    /// A hit with the `id` of one that was admitted is admitted again without being counted again.
    pub fn on_hit(
        &mut self,
        around: Surroundings<'_>,
        key: KeyHash,
        limit: &Limit,
        operation: Operation,
        id: Option<HitId>,
    ) -> Outcome {
        let now = around.now;
        let owner = self.record.as_ref().map(Record::owner);
        let leased = self.is_leased(around) || self.settings.has(Fault::IgnoresLease);
        let reign = match &mut self.state {
            State::Idle => {
                return Outcome::NotHere {
                    owner: owner.filter(|&owner| owner != self.me),
                };
            }
            State::Open(reign) if reign.handoff.is_none() && leased => reign,
            State::Claiming(..) | State::Open(_) => return Outcome::Wait,
        };
        if !self.unmeasured.is_empty() && self.unmeasured.remove(&key) {
            let units = self.cells.overshoot(now.wall, key, limit);
            if 0 < units {
                let note = Note::Overshoot { units };
                self.effects.push_back(Effect::Note(note));
            }
        }
        let follows = !reign.peers.is_empty() || self.settings.partition == Partition::Quorum;
        if id.is_some_and(|id| self.admitted.contains(id))
            && !self.settings.has(Fault::RetryCountsTwice)
        {
            let mut decision = self.cells.peek(now.wall, key, limit);
            decision.verdict = Verdict::Allow;
            return Outcome::Decided {
                decision,
                written: follows.then(|| reign.seq()),
            };
        }
        let term = owner_term(self.record.as_ref());
        let dot = Dot {
            actor: term,
            counter: reign.written() + 1,
        };
        let written = match operation {
            Operation::Hit(cost) => self.cells.hit(now.wall, key, limit, cost, dot),
            Operation::Refund(cost) => self.cells.refund(now.wall, key, limit, cost, dot),
            Operation::Reset => self.cells.reset(now.wall, key, limit, dot),
        };
        if written.changed {
            reign.wrote(now.boot, key, id);
            self.written = reign.written();
            if let Some(id) = id {
                self.admitted
                    .insert(now.boot, now.boot + self.settings.remember_ids, id);
            }
        }
        let written_seq = (written.changed && follows).then(|| reign.seq());
        Outcome::Decided {
            decision: written.decision,
            written: written_seq,
        }
    }

    /// A hit of this node, which it had forwarded under `sequence`, was admitted by the shard's owner, and its client told.
    pub fn on_answered(&mut self, now: BootNanos, sequence: u64) {
        self.answered.insert(now, sequence);
    }

    /// Reads a key without changing it, wherever a copy is.
    #[must_use]
    pub fn peek(&self, now: Now, key: KeyHash, limit: &Limit) -> Decision {
        self.cells.peek(now.wall, key, limit)
    }

    /// Whether peers wait for writes.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        matches!(&self.state, State::Open(reign) if reign.wants_flush())
    }

    /// Sends what peers have not been sent, to those that have confirmed what they were.
    pub fn flush(&mut self, now: BootNanos) {
        let (State::Open(reign), Some(record)) = (&mut self.state, &self.record) else {
            return;
        };
        let out = reign.flush(now, self.settings.resend_after, record, &self.cells);
        self.effects.extend(
            out.into_iter()
                .map(|(to, message)| Effect::Send { to, message }),
        );
    }

    /// Removes expired cells, looking at up to `budget` of them; how many went.
    ///
    /// None while the owner may not have all that this node holds: what is full again here may have been counted beside
    /// hits that only the owner knows, and then is not full again where both are known.
    pub fn expire(&mut self, now: Now, budget: usize) -> usize {
        if !self.is_synced() {
            return 0;
        }
        self.cells.expire(now.wall, budget)
    }

    /// Time has passed.
    pub fn on_tick(&mut self, around: Surroundings<'_>) {
        self.pieces.tell_again();
        if let State::Open(reign) = &mut self.state {
            reign.tell_again();
        }
        self.step(around);
        self.flush(around.now.boot);
        self.tell_pieces();
    }

    /// The view changed.
    pub fn on_view(&mut self, around: Surroundings<'_>) {
        if let State::Open(reign) = &mut self.state {
            // Whoever is new learns who decides.
            reign.announce_at = around.now.boot;
            reign.on_view(around.view);
        }
        self.offered_at = None;
        self.pieces.retain(|peer| around.view.contains(peer));
        self.step(around);
    }

    /// A message of another node came in. One that names a term impossibly far ahead is ignored.
    pub fn on_message(&mut self, around: Surroundings<'_>, from: ReplicaId, message: Message) {
        let now = around.now;
        let known = self.promised.max(owner_term(self.record.as_ref())).number;
        let number = message.highest_term_number();
        if known.saturating_add(TERM_LEAP_MAX) < number {
            let note = Note::TermLeapt { from, number };
            return self.effects.push_back(Effect::Note(note));
        }
        match message {
            Message::Claim {
                term,
                consent,
                promised_by,
                record,
            } => {
                self.learn(record);
                self.on_claim(around, from, term, consent, &promised_by);
            }
            Message::Promise {
                term,
                record,
                digest,
                answered,
            } => self.on_promise(around.now.boot, from, term, record, digest, &answered),
            Message::Refuse {
                term,
                promised,
                record,
                wait,
            } => self.on_refuse(now, term, promised, record, wait),
            Message::Release { term } => self.on_release(from, term),
            Message::Announce {
                record,
                through,
                digest,
            } => self.on_announce(now, from, record, through, digest),
            Message::Known { term, epoch } => self.on_known(around, from, term, epoch),
            Message::Delta {
                term,
                baseline,
                through,
                cells,
                admitted,
            } => {
                self.on_delta(now, from, term, baseline, through, cells, &admitted);
            }
            Message::Have { term, through, gap } => self.on_have(now, from, term, through, gap),
            Message::Offer { term, digest } => self.on_offer(from, term, &digest),
            Message::Pull {
                term,
                buckets,
                number,
            } => self.pieces.on_pull(from, term, buckets, number),
            Message::Copy {
                term,
                record,
                through,
                piece,
            } => self.on_copy(now, from, term, record, through, piece),
            Message::Answer { term, piece } => self.on_answer(now, from, term, piece),
            Message::Received {
                term,
                copy,
                index,
                gap,
            } => self.on_received(now, from, term, copy, index, gap),
            Message::State {
                term,
                buckets,
                cells,
                admitted,
            } => {
                self.on_state(now, from, term, buckets, cells, &admitted);
            }
            Message::Synced { term } => {
                if owner_term(self.record.as_ref()) == term {
                    self.synced = Some(term);
                    self.drop_if_outside(now.boot);
                }
            }
            Message::Recall => self.on_recall(around, from),
            Message::Recalled { record, remembers } => {
                self.learn(record);
                self.recall.on_heard(from, remembers);
            }
            Message::Handoff { term } => {
                let agrees = self
                    .record
                    .as_ref()
                    .is_some_and(|record| record.term == term && record.owner() == from);
                if agrees && matches!(self.state, State::Idle) {
                    self.start_claim(around, Some(term));
                }
            }
        }
        self.step(around);
    }

    /// Brings role and records in line with the view, the leases and the time.
    fn step(&mut self, around: Surroundings<'_>) {
        self.step_recall(around);
        self.step_unreached(around);
        self.watch_holders(around);
        self.remind_claimant(around);
        match &self.state {
            State::Idle => self.step_idle(around),
            State::Claiming(..) => self.step_claiming(around),
            State::Open(_) => self.step_open(around),
        }
        self.tell_pieces();
    }

    /// Takes over what somebody else knows of the ownership.
    fn learn(&mut self, record: Option<Record>) {
        let Some(record) = record else { return };
        if !record.newer_than(self.record.as_ref()) {
            return;
        }
        let term = record.term;
        let outranked = owner_term(self.record.as_ref()) < term;
        if outranked && matches!(self.state, State::Open(_)) {
            self.step_down(term);
        }
        if outranked {
            self.offered_at = None;
            self.answered.clear();
        }
        let held = |record: &Record| record.held_by(self.me);
        if !outranked && self.record.as_ref().is_some_and(held) && !held(&record) {
            // Released: what comes now is a new copy.
            self.have = Have::NOTHING;
        }
        if self.pledged.is_some_and(|pledge| pledge.term <= term) {
            self.pledged = None;
        }
        self.promised = self.promised.max(term);
        self.record = Some(record);
        self.unheld_since = None;
        self.release_said_at = None;
        self.effects.push_back(Effect::Changed);
    }

    fn step_down(&mut self, by: Term) {
        self.state = State::Idle;
        self.synced = None;
        self.offered_at = None;
        self.effects
            .push_back(Effect::Note(Note::SteppedDown { by }));
        self.effects.push_back(Effect::Changed);
    }

    fn forget(&mut self) {
        self.forget_counts();
        self.pieces.forget();
    }

    /// Forgets what is counted, and not which pieces of a copy have come.
    fn forget_counts(&mut self) {
        self.cells = no_cells(self.settings);
        self.admitted = AdmittedHits::default();
        self.unmeasured = HashSet::new();
        self.has_holes = false;
        self.have = Have::NOTHING;
    }

    fn refuse(&mut self, to: ReplicaId, term: Term, wait: bool) {
        let (promised, record) = (self.promised, self.record.clone());
        self.send(
            to,
            Message::Refuse {
                term,
                promised,
                record,
                wait,
            },
        );
    }

    fn send(&mut self, to: ReplicaId, message: Message) {
        self.effects.push_back(Effect::Send { to, message });
    }
}

#[cfg_attr(
    not(feature = "faults"),
    expect(unused_variables, reason = "for a bug to switch on")
)]
fn no_cells(settings: Settings) -> Cells {
    #[cfg(feature = "faults")]
    if settings.has(Fault::CommonPastTwice) {
        return Cells::with_fault(delta_crdt::Fault::FoldCountsPastTwice);
    }
    Cells::new()
}

fn owner_term(record: Option<&Record>) -> Term {
    record.map_or(Record::NO_TERM, |record| record.term)
}
