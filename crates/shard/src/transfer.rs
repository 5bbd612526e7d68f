//! Whole buckets on their way to another node: a piece at a time, each confirmed by its name.

use std::collections::BTreeSet;

use delta_crdt::{Cell, Cells, Digest, ReplicaId, Term};
use quota::{BootNanos, Count, KeyHash, Nanos};

use crate::admitted::{AdmittedHits, HitId};
use crate::message::{Buckets, CopyId, Piece};

/// Bytes of one piece, as far as they can be told before it is encoded.
///
/// 64 KiB are some 1 500 counters, and hold a link of 50 Mbit/s for 10 ms. A key that takes more alone, a full
/// `sliding_log`, is a piece by itself.
const PIECE_BYTES: usize = 64 * 1024;

/// After so long without a piece a copy is no longer counted on: its owner has better to do, or is gone. The pieces of one
/// copy follow each other, at a link's worst with the patience of some seconds in between.
const COPY_SILENCE_MAX: Nanos = Nanos::from_secs(5);

/// Bytes of a key, a version and a slot on the wire, and of an entry of a log.
const KEY_BYTES: usize = 17;
const VERSION_BYTES: usize = 16;
const SLOT_BYTES: usize = 12;
const ENTRY_BYTES: usize = 16;
/// Bytes of the id of an admitted hit.
pub(crate) const HIT_ID_BYTES: usize = 8;

/// About how many bytes a cell takes on the wire.
pub(crate) fn bytes_of(cell: &Cell) -> usize {
    let versions = cell.versions().iter().map(|version| {
        let slots = version.slots().len() + version.forgiven().len();
        let entries = match version.count() {
            Count::SlidingLog(log) => log.entries().len(),
            _ => 0,
        };
        VERSION_BYTES + slots * SLOT_BYTES + entries * ENTRY_BYTES
    });
    KEY_BYTES + versions.sum::<usize>()
}

/// What of a piece is fixed while it is under way, so that it is the same when it is sent again.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    /// The last key of this one and those before. `None`: there was none.
    last: Option<KeyHash>,
    /// Nothing follows it: it goes on to the last key there is.
    is_last: bool,
    ids: usize,
}

/// The sending end of a copy.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) id: CopyId,
    pub(crate) buckets: Buckets,
    /// How many pieces are confirmed.
    index: u32,
    /// The last key of those.
    after: Option<KeyHash>,
    /// Of the hits remembered when the first piece left, those that are not confirmed.
    ids: Option<Vec<HitId>>,
    under_way: Option<UnderWay>,
    is_done: bool,
    /// Whether the driver knows that a piece waits.
    is_told: bool,
}

impl Transfer {
    pub(crate) fn new(id: CopyId, buckets: Buckets) -> Self {
        Self {
            id,
            buckets,
            index: 0,
            after: None,
            ids: None,
            under_way: None,
            is_done: false,
            is_told: false,
        }
    }

    /// Whether nothing of it has left.
    pub(crate) fn is_fresh(&self) -> bool {
        self.ids.is_none()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether the receiver has a part of it already.
    pub(crate) fn is_begun(&self) -> bool {
        self.index != 0
    }

    /// Whether the driver has to be told that a piece waits; asked once for each.
    pub(crate) fn must_tell(&mut self) -> bool {
        !self.is_done && !std::mem::replace(&mut self.is_told, true)
    }

    /// Tells the driver again, in case it has lost count.
    pub(crate) fn tell_again(&mut self) {
        self.is_told = false;
    }

    /// Leaves out these ids of those that are remembered. Comes before the first piece.
    pub(crate) fn leave_out(&mut self, ids: &BTreeSet<HitId>, remembered: &AdmittedHits) {
        if !ids.is_empty() {
            let others = remembered.iter().filter(|id| !ids.contains(id));
            self.ids = Some(others.collect());
        }
    }

    /// The piece that is under way, once more; or else the next one. And about how many bytes it takes.
    pub(crate) fn piece(&mut self, cells: &Cells, remembered: &AdmittedHits) -> (Piece, usize) {
        let ids = self.ids.get_or_insert_with(|| remembered.iter().collect());
        let mut cut = Cut::after(self.after, self.buckets, cells);
        match self.under_way {
            Some(under_way) => cut.again(cells, under_way),
            None => {
                let ids_sent = ids.len().min(PIECE_BYTES / HIT_ID_BYTES);
                cut.next(cells, ids_sent * HIT_ID_BYTES);
                self.under_way = Some(UnderWay {
                    last: cut.sent.last().map(|&(key, _)| key).or(self.after),
                    is_last: cut.is_complete && ids_sent == ids.len(),
                    ids: ids_sent,
                });
            }
        }
        let under_way = self.under_way.expect("set in either case");
        let admitted = ids[..under_way.ids].to_vec();
        let bytes = cut.bytes + admitted.len() * HIT_ID_BYTES;
        let piece = Piece {
            number: self.id.number(),
            index: self.index,
            is_last: under_way.is_last,
            buckets: self.buckets,
            cells: cut.sent,
            admitted,
        };
        (piece, bytes)
    }

    /// The receiver has the piece of that index. Whether that is the one under way.
    pub(crate) fn on_received(&mut self, index: u32) -> bool {
        if index != self.index {
            return false;
        }
        let Some(under_way) = self.under_way.take() else {
            return false;
        };
        if let Some(ids) = &mut self.ids {
            ids.drain(..under_way.ids);
        }
        self.index += 1;
        self.after = under_way.last;
        self.is_done = under_way.is_last;
        self.is_told = false;
        true
    }
}

/// The cells of one piece.
struct Cut {
    /// The keys that are not confirmed, in order.
    keys: Vec<KeyHash>,
    sent: Vec<(KeyHash, Cell)>,
    bytes: usize,
    /// No key is left over.
    is_complete: bool,
}

impl Cut {
    fn after(after: Option<KeyHash>, buckets: Buckets, cells: &Cells) -> Self {
        let mut keys: Vec<KeyHash> = cells
            .keys()
            .filter(|&key| after.is_none_or(|after| after < key) && is_in(buckets, key))
            .collect();
        keys.sort_unstable();
        Self {
            keys,
            sent: Vec::new(),
            bytes: 0,
            is_complete: true,
        }
    }

    /// As many as fit beside `others` bytes. A key that is longer than any piece still makes one.
    fn next(&mut self, cells: &Cells, others: usize) {
        for key in std::mem::take(&mut self.keys) {
            let Some(cell) = cells.get(key) else { continue };
            let bytes = bytes_of(&cell);
            if PIECE_BYTES < others + self.bytes + bytes && others + self.bytes != 0 {
                self.is_complete = false;
                return;
            }
            self.push(key, cell, bytes);
        }
    }

    /// Those of a piece that has been sent before, as they are now.
    fn again(&mut self, cells: &Cells, sent: UnderWay) {
        let keys = std::mem::take(&mut self.keys).into_iter();
        for key in keys.take_while(|&key| sent.is_last || Some(key) <= sent.last) {
            if let Some(cell) = cells.get(key) {
                let bytes = bytes_of(&cell);
                self.push(key, cell, bytes);
            }
        }
    }

    fn push(&mut self, key: KeyHash, cell: Cell, bytes: usize) {
        self.bytes += bytes;
        self.sent.push((key, cell));
    }
}

/// The receiving end of a copy.
#[derive(Debug)]
pub(crate) struct Intake {
    from: ReplicaId,
    term: Term,
    id: CopyId,
    /// The index of the piece that comes next.
    next: u32,
    is_complete: bool,
    /// The receiver has evicted for itself alone since it began.
    has_holes: bool,
    /// When a piece came last.
    at: BootNanos,
    /// Cells that are not joined before the last piece is there.
    staged: Vec<(KeyHash, Cell)>,
    ids: Vec<HitId>,
}

/// What a piece is to its receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// The first of a copy.
    First,
    /// The one that was to come.
    Next,
    /// It is there already.
    Repeated,
    /// Those before it are not there.
    Gap,
}

/// The copies that come in: at most one of the owner and one answer from each node.
#[derive(Debug, Default)]
pub(crate) struct Intakes {
    intakes: Vec<Intake>,
}

impl Intakes {
    /// Takes note of a piece that came in.
    pub(crate) fn on_piece(
        &mut self,
        now: BootNanos,
        from: ReplicaId,
        term: Term,
        id: CopyId,
        piece: &Piece,
    ) -> Arrival {
        let is_it =
            |intake: &&mut Intake| (intake.from, intake.term, intake.id) == (from, term, id);
        let arrival = match self.intakes.iter_mut().find(is_it) {
            Some(intake) if piece.index == intake.next => {
                intake.next += 1;
                intake.is_complete = piece.is_last;
                Arrival::Next
            }
            Some(intake) if piece.index < intake.next => Arrival::Repeated,
            Some(_) => Arrival::Gap,
            None if piece.index == 0 => {
                self.drop_kind(from, id);
                self.intakes.push(Intake {
                    from,
                    term,
                    id,
                    next: 1,
                    is_complete: piece.is_last,
                    has_holes: false,
                    at: now,
                    staged: Vec::new(),
                    ids: Vec::new(),
                });
                Arrival::First
            }
            None => Arrival::Gap,
        };
        if let Some(intake) = self.find(from, id) {
            intake.at = now;
        }
        arrival
    }

    /// The receiver has evicted for itself alone: what has come of a copy may be gone again.
    pub(crate) fn on_evicted(&mut self) {
        for intake in &mut self.intakes {
            intake.has_holes = true;
        }
    }

    /// Whether the receiver has evicted for itself alone since this copy began.
    pub(crate) fn has_holes(&mut self, from: ReplicaId, id: CopyId) -> bool {
        self.find(from, id).is_some_and(|intake| intake.has_holes)
    }

    /// Whether a copy of the owner of `term` is coming in, and not there.
    pub(crate) fn is_copying(&self, now: BootNanos, term: Term) -> bool {
        let is_base = |intake: &Intake| matches!(intake.id, CopyId::Base(_));
        self.intakes.iter().any(|intake| {
            (intake.from, intake.term) == (term.replica, term)
                && is_base(intake)
                && !intake.is_complete
                && now - intake.at < COPY_SILENCE_MAX
        })
    }

    /// Keeps what a piece held until the last of its copy is there. Ids always: who knows an id without what was counted
    /// answers its hit, asked again, as if it were counted.
    pub(crate) fn stage(
        &mut self,
        from: ReplicaId,
        id: CopyId,
        cells: Vec<(KeyHash, Cell)>,
        ids: &[HitId],
    ) {
        if let Some(intake) = self.find(from, id) {
            intake.staged.extend(cells);
            intake.ids.extend(ids);
        }
    }

    /// What was staged of a copy.
    pub(crate) fn take_staged(
        &mut self,
        from: ReplicaId,
        id: CopyId,
    ) -> (Vec<(KeyHash, Cell)>, Vec<HitId>) {
        let taken = |intake: &mut Intake| {
            (
                std::mem::take(&mut intake.staged),
                std::mem::take(&mut intake.ids),
            )
        };
        self.find(from, id).map(taken).unwrap_or_default()
    }

    /// Forgets the copies of whoever is not one of these.
    pub(crate) fn retain(&mut self, is_member: impl Fn(ReplicaId) -> bool) {
        self.intakes.retain(|intake| is_member(intake.from));
    }

    fn find(&mut self, from: ReplicaId, id: CopyId) -> Option<&mut Intake> {
        let is_it = |intake: &&mut Intake| (intake.from, intake.id) == (from, id);
        self.intakes.iter_mut().find(is_it)
    }

    fn drop_kind(&mut self, from: ReplicaId, id: CopyId) {
        self.intakes
            .retain(|intake| intake.from != from || !intake.id.is_of_kind(id));
    }
}

pub(crate) fn is_in(buckets: Buckets, key: KeyHash) -> bool {
    buckets & (1 << Digest::bucket_of(key)) != 0
}

#[cfg(test)]
mod tests;
