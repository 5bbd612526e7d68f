//! What this node has counted or copied: joined, expired, forgotten.

use std::collections::HashSet;

use delta_crdt::{Cell, Cells};
use quota::{KeyHash, Now};

use super::{Have, Shard, State};
use crate::admitted::{AdmittedHits, HitId};
use crate::effect::{Effect, Note};
#[cfg(feature = "faults")]
use crate::settings::Fault;
use crate::settings::Settings;

/// Keys found forked and not asked for since, whose overshoot is still to be measured: of more, some go unmeasured, which
/// loses a measurement and no count. 4 096 are 150 KiB, and four times the keys of a shard of a million-key node.
pub(super) const UNMEASURED_MAX: usize = 4_096;

impl Shard {
    /// What this node has counted, or copied.
    #[must_use]
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Removes expired cells, looking at up to `budget` of them; how many went.
    ///
    /// None while the owner may not have all that this node holds: what is full again here may have been counted beside
    /// hits that only the owner knows, and then is not full again where both are known.
    pub fn expire(&mut self, now: Now, budget: usize) -> usize {
        self.admitted.forget_due(now.boot);
        if !self.is_synced() {
            return 0;
        }
        self.cells.expire(now.wall, budget)
    }

    pub(super) fn join_cells(&mut self, now: Now, cells: Vec<(KeyHash, Cell)>) -> Vec<KeyHash> {
        let mut changed = Vec::new();
        let (mut forks, mut unmeasured) = (0, 0);
        let decides = !matches!(self.state, State::Idle);
        self.cells.bound_stamps(now.wall + self.settings.max_skew);
        // What is full again in every way goes with the next look at it; what was evicted goes at once.
        let lets_go = self.is_synced();
        for (key, cell) in cells {
            let is_over = cell.expires_at() <= now.wall;
            let joined = self.cells.join(now.wall, key, cell);
            if is_over && lets_go {
                self.cells.expire_key(now.wall, key);
            }
            if joined.changed {
                changed.push(key);
            }
            if joined.changed && joined.forked {
                forks += 1;
                if decides && self.unmeasured.len() < UNMEASURED_MAX {
                    self.unmeasured.insert(key);
                } else if decides {
                    unmeasured += 1;
                }
            }
        }
        if 0 < forks {
            self.effects
                .push_back(Effect::Note(Note::Forked { keys: forks }));
        }
        if 0 < unmeasured {
            let note = Note::Unmeasured { keys: unmeasured };
            self.effects.push_back(Effect::Note(note));
        }
        changed
    }

    /// Remembers the ids of admitted hits; which of them are new.
    pub(super) fn remember(&mut self, now: Now, admitted: &[HitId]) -> Vec<HitId> {
        let until = now.boot + self.settings.remember_ids;
        let ids = admitted.iter().copied();
        let new = ids
            .filter(|&id| self.admitted.insert(now.boot, until, id))
            .collect();
        let ids = self.admitted.take_crowded_out();
        if 0 < ids {
            self.effects
                .push_back(Effect::Note(Note::CrowdedOut { ids }));
        }
        new
    }

    pub(super) fn forget(&mut self) {
        self.forget_counts();
        self.pieces.forget();
    }

    /// Forgets what is counted, and not which pieces of a copy have come.
    pub(super) fn forget_counts(&mut self) {
        let mut before = std::mem::replace(&mut self.cells, no_cells(self.settings));
        self.cells.replace_kept(&mut before, true);
        self.admitted = AdmittedHits::default();
        self.unmeasured = HashSet::new();
        self.has_holes = false;
        self.have = Have::NOTHING;
    }
}

#[cfg_attr(
    not(feature = "faults"),
    expect(unused_variables, reason = "for a bug to switch on")
)]
pub(super) fn no_cells(settings: Settings) -> Cells {
    #[cfg(feature = "faults")]
    if settings.has(Fault::CommonPastTwice) {
        return Cells::with_fault(delta_crdt::Fault::FoldCountsPastTwice);
    }
    Cells::new()
}
