//! Whole buckets on their way in and out: copies for those who follow an owner, answers to those who pull.

use std::collections::{BTreeMap, BTreeSet};

use delta_crdt::{ReplicaId, Term};
use quota::{BootNanos, Now};

use super::{Have, Shard, State, owner_term};
use crate::effect::Effect;
use crate::message::{Buckets, CopyId, Message, Piece};
use crate::record::Record;
use crate::reign::{ALL_BUCKETS, whole};
use crate::settings::Partition;
use crate::transfer::{Arrival, Intakes, Transfer};

/// Answers under way to others, and what is asked of them: at most one of each for each node that lives.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    answers: BTreeMap<ReplicaId, Answering>,
    asked: BTreeMap<ReplicaId, Pull>,
    intakes: Intakes,
    /// Counts what was pulled. Not set back when the state is forgotten: a number names one pull only.
    pulls: u32,
}

#[derive(Debug)]
struct Answering {
    term: Term,
    transfer: Transfer,
}

/// What another node was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pull {
    term: Term,
    buckets: Buckets,
    number: u32,
}

/// What a peer understands of copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyForm {
    /// Pieces, each confirmed by its name.
    Pieces,
    /// Everything in one message: a node of the format before.
    Whole,
}

impl Pieces {
    /// Begins to answer; a pull that is answered already, or being answered, changes nothing.
    pub(super) fn on_pull(&mut self, from: ReplicaId, term: Term, buckets: Buckets, number: u32) {
        let id = CopyId::Answer(number);
        let is_known =
            |answering: &Answering| answering.term == term && answering.transfer.id == id;
        if self.answers.get(&from).is_some_and(is_known) {
            return;
        }
        let transfer = Transfer::new(id, buckets);
        self.answers.insert(from, Answering { term, transfer });
    }

    pub(super) fn forget(&mut self) {
        *self = Self {
            pulls: self.pulls,
            ..Self::default()
        };
    }

    pub(super) fn retain(&mut self, is_member: impl Fn(ReplicaId) -> bool) {
        self.answers.retain(|&peer, _| is_member(peer));
        self.asked.retain(|&peer, _| is_member(peer));
        self.intakes.retain(is_member);
    }

    pub(super) fn on_evicted(&mut self) {
        self.intakes.on_evicted();
    }

    pub(super) fn tell_again(&mut self) {
        for answering in self.answers.values_mut() {
            answering.transfer.tell_again();
        }
    }
}

impl Shard {
    /// Sends the piece that `to` gets next, or once more the one that is under way. Returns about how many bytes of it
    /// are under way now; `None`: none, for nothing waits, or what waited needs no receipt.
    ///
    /// A driver calls this when [`Copies`](crate::Copies) says that it is the shard's turn.
    pub fn send_piece(&mut self, to: ReplicaId, form: CopyForm) -> Option<usize> {
        if let Some(answering) = self.pieces.answers.get_mut(&to)
            && !answering.transfer.is_done()
        {
            let term = answering.term;
            let buckets = answering.transfer.buckets;
            let ahead = match &self.state {
                State::Open(reign) if answering.transfer.is_fresh() => reign.ids_ahead(to, buckets),
                _ => BTreeSet::new(),
            };
            if form == CopyForm::Whole {
                self.pieces.answers.remove(&to);
                let cells = whole(&self.cells, buckets);
                let ids = self.admitted.iter().filter(|id| !ahead.contains(id));
                let admitted = ids.collect();
                let state = Message::State {
                    term,
                    buckets,
                    cells,
                    admitted,
                };
                self.send(to, state);
                return None;
            }
            answering.transfer.leave_out(&ahead, &self.admitted);
            let (piece, bytes) = answering.transfer.piece(&self.cells, &self.admitted);
            self.send(to, Message::Answer { term, piece });
            return Some(bytes);
        }
        let (State::Open(reign), Some(record)) = (&mut self.state, &self.record) else {
            return None;
        };
        let (message, bytes) = match form {
            CopyForm::Pieces => reign.piece_for(to, record, &self.cells, &self.admitted)?,
            CopyForm::Whole => reign.whole_for(to, record, &self.cells, &self.admitted)?,
        };
        self.send(to, message);
        Some(bytes)
    }

    /// Says once for each piece that it waits.
    pub(super) fn tell_pieces(&mut self) {
        for (&to, answering) in &mut self.pieces.answers {
            if answering.transfer.must_tell() {
                let first = true;
                self.effects.push_back(Effect::PieceWaits { to, first });
            }
        }
        if let State::Open(reign) = &mut self.state {
            for (to, first) in reign.untold() {
                self.effects.push_back(Effect::PieceWaits { to, first });
            }
        }
    }

    /// Asks `from` for buckets, under the number of the pull that is open, if it is the same.
    pub(super) fn pull(&mut self, from: ReplicaId, term: Term, buckets: Buckets) {
        let open = self.pieces.asked.get(&from).copied();
        let same = open.filter(|open| (open.term, open.buckets) == (term, buckets));
        let pull = same.unwrap_or_else(|| {
            self.pieces.pulls = self.pieces.pulls.wrapping_add(1);
            Pull {
                term,
                buckets,
                number: self.pieces.pulls,
            }
        });
        self.pieces.asked.insert(from, pull);
        let number = pull.number;
        self.send(
            from,
            Message::Pull {
                term,
                buckets,
                number,
            },
        );
    }

    /// What `from` was asked for under `term` and has not answered in full.
    pub(super) fn open_pull(&self, from: ReplicaId, term: Term) -> Option<Buckets> {
        let open = self.pieces.asked.get(&from)?;
        (open.term == term).then_some(open.buckets)
    }

    /// Whether a copy of the owner is coming in, and not there.
    pub(super) fn is_being_copied_to(&self, now: BootNanos) -> bool {
        let term = owner_term(self.record.as_ref());
        self.pieces.intakes.is_copying(now, term)
    }

    /// A pull was answered, or is wanted no more.
    pub(super) fn close_pull(&mut self, from: ReplicaId) {
        self.pieces.asked.remove(&from);
    }

    /// A piece of what the owner has came in.
    pub(super) fn on_copy(
        &mut self,
        now: Now,
        from: ReplicaId,
        term: Term,
        record: Record,
        through: u64,
        piece: Piece,
    ) {
        if term < self.promised || term.replica != from {
            return self.refuse(from, term, false);
        }
        self.learn(Some(record));
        if owner_term(self.record.as_ref()) != term {
            return;
        }
        let id = CopyId::Base(piece.number);
        let arrival = self
            .pieces
            .intakes
            .on_piece(now.boot, from, term, id, &piece);
        let is_new = matches!(arrival, Arrival::First | Arrival::Next);
        // Under `quorum` a whole copy replaces what this node wrote or copied outside this line of owners, which was
        // never answered. Not before all of it is there: this may be the one holder that is left to take over.
        let replaces = self.settings.partition == Partition::Quorum && piece.buckets == ALL_BUCKETS;
        if is_new {
            let staged = match replaces {
                true => piece.cells,
                false => {
                    self.join_cells(now, piece.cells);
                    Vec::new()
                }
            };
            let intakes = &mut self.pieces.intakes;
            intakes.stage(from, id, staged, &piece.admitted);
        }
        if is_new && piece.is_last {
            let (cells, admitted) = self.pieces.intakes.take_staged(from, id);
            let is_newer = self.have.term != term || self.have.through < through;
            if is_newer && piece.buckets == ALL_BUCKETS {
                // Of the first pieces some may be gone again. What was staged is joined as a whole now.
                self.has_holes = !replaces && self.pieces.intakes.has_holes(from, id);
                self.copy_wanted = None;
            }
            if replaces && is_newer {
                self.forget_counts();
            }
            self.join_cells(now, cells);
            self.remember(now, &admitted);
            let known = match self.have.term == term {
                true => self.have.through,
                false => 0,
            };
            let through = through.max(known);
            self.have = Have { term, through };
        }
        self.confirm(from, term, id, piece.index, arrival);
    }

    /// A piece of what was pulled came in.
    pub(super) fn on_answer(&mut self, now: Now, from: ReplicaId, term: Term, piece: Piece) {
        let id = CopyId::Answer(piece.number);
        let open = self.pieces.asked.get(&from);
        let is_asked = open.is_some_and(|open| (open.term, open.number) == (term, piece.number));
        // The end of an answer whose receipt was lost, or an answer that nobody waits for any more.
        if !is_asked || !self.takes_state(from, term) {
            let arrival = self
                .pieces
                .intakes
                .on_piece(now.boot, from, term, id, &piece);
            let arrival = match arrival {
                Arrival::Repeated => Arrival::Repeated,
                _ => Arrival::Gap,
            };
            return self.confirm(from, term, id, piece.index, arrival);
        }
        let arrival = self
            .pieces
            .intakes
            .on_piece(now.boot, from, term, id, &piece);
        // What came before is known, and may have been evicted or have expired since.
        if matches!(arrival, Arrival::First | Arrival::Next) {
            let intakes = &mut self.pieces.intakes;
            intakes.stage(from, id, Vec::new(), &piece.admitted);
            let ids = match piece.is_last {
                true => intakes.take_staged(from, id).1,
                false => Vec::new(),
            };
            self.join_state(now, from, piece.cells, &ids);
        }
        self.confirm(from, term, id, piece.index, arrival);
        if piece.is_last && arrival != Arrival::Gap {
            self.close_pull(from);
            self.on_state_complete(from, piece.buckets);
        }
    }

    fn confirm(&mut self, to: ReplicaId, term: Term, copy: CopyId, index: u32, arrival: Arrival) {
        self.send(
            to,
            Message::Received {
                term,
                copy,
                index,
                gap: arrival == Arrival::Gap,
            },
        );
    }

    /// What this node sent in pieces has arrived, or has to be sent again from the start.
    pub(super) fn on_received(
        &mut self,
        now: Now,
        from: ReplicaId,
        term: Term,
        copy: CopyId,
        index: u32,
        gap: bool,
    ) {
        match copy {
            CopyId::Answer(_) => {
                let answers = &mut self.pieces.answers;
                let it = |answering: &&mut Answering| {
                    answering.term == term && answering.transfer.id == copy
                };
                let Some(answering) = answers.get_mut(&from).filter(it) else {
                    return;
                };
                if gap {
                    // Whoever still wants it pulls again.
                    answers.remove(&from);
                } else if !answering.transfer.on_received(index) {
                    return;
                }
            }
            CopyId::Base(_) => {
                let State::Open(reign) = &mut self.state else {
                    return;
                };
                if owner_term(self.record.as_ref()) != term {
                    return;
                }
                match reign.on_received(from, copy, index, gap) {
                    None => return,
                    Some(true) => self.effects.push_back(Effect::Changed),
                    Some(false) => {}
                }
            }
        }
        self.effects.push_back(Effect::PieceArrived { at: from });
        self.flush(now.boot);
    }
}
