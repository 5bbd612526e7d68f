//! The state machine of one shard on one node.

mod claims;
mod counts;
mod eligible;
mod eviction;
mod hits;
mod holders;
mod kept;
mod pieces;
mod pledges;
mod poisoned;
mod recall;
mod replication;
mod standing;
mod tenure;

use std::collections::{HashSet, VecDeque};

use delta_crdt::{Cells, ReplicaId, Term};
use quota::{BootNanos, KeyHash};

use crate::admitted::AdmittedHits;
use crate::answered::AnsweredHits;
use crate::claim::Claim;
use crate::effect::{Effect, Note};
use crate::message::Message;
use crate::record::{Record, ShardId};
use crate::reign::Reign;
use crate::settings::Settings;
use crate::surroundings::Surroundings;

use counts::no_cells;
pub use eviction::Room;
pub use hits::{Operation, Outcome};
pub use pieces::CopyForm;
use pieces::Pieces;
use pledges::Pledge;
use recall::Recall;
pub use standing::Role;

/// By how much a term that a message names may be above what is known here. A term is one above the last, so that this
/// takes 77 days of forty claims a second. The numbers end at sixteen times as much: one message of a peer gone mad that
/// named the last of them would leave none to claim by, on all nodes and for ever.
const TERM_LEAP_MAX: u32 = 1 << 28;

/// One node's part in one shard.
///
/// Call order: any `on_*` at any time with a `now` that never goes back; [`Shard::flush`] when
/// [`Shard::wants_flush`] says so, a few milliseconds later; [`Shard::on_view`] when the view changed;
/// [`Shard::on_tick`] every few tens of milliseconds. Drain [`Shard::next_effect`] after each. Before a hit comes
/// [`Shard::look`], where [`Shard::must_look`] says so or the surroundings are not those of the last look.
#[derive(Debug)]
#[repr(C)] // What every hit looks at comes first, in few lines of a cache: of a thousand shards each hit meets another.
pub struct Shard {
    /// Hits are decided until then, exclusive, as of the last [`Shard::look`]. Zero: they are not, or another look must say.
    decides_until: BootNanos,
    /// How many writes this node has made, under whatever terms.
    written: u64,
    /// Keys that this node found forked, and has not been asked for since. At most [`counts::UNMEASURED_MAX`].
    unmeasured: HashSet<KeyHash>,
    record: Option<Record>,
    state: State,
    admitted: AdmittedHits,
    cells: Cells,
    id: ShardId,
    me: ReplicaId,
    settings: Settings,
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
    answered: AnsweredHits,
    /// This node has evicted what its owner has not: its copy is not compared, and not filled again, until it is sent whole.
    has_holes: bool,
    recall: Recall,
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
            decides_until: BootNanos::ZERO,
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
        self.decides_until = BootNanos::ZERO;
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

fn owner_term(record: Option<&Record>) -> Term {
    record.map_or(Record::NO_TERM, |record| record.term)
}
