//! A shard in which something panicked: what it held is not believed, and comes back from those who hold it.

use delta_crdt::{Cells, ReplicaId, Term};

#[cfg(feature = "faults")]
use super::no_cells;
use super::{Shard, State};
use crate::effect::Effect;
use crate::message::Message;
use crate::record::Record;
use crate::settings::Fault;
use crate::surroundings::Surroundings;

impl Shard {
    /// Something panicked in this shard: nothing that it counted is believed any more.
    ///
    /// An owner claims the shard anew, from its replicas. A replica asks the owner for a copy, again and again until it has
    /// one: by itself the owner would find out with the next write only, and until then a copy would be missing that the
    /// record promises. What was promised stays: others rely on it, and it was written in one step.
    pub fn on_poisoned(&mut self, around: Surroundings<'_>) {
        // Receipts among them would confirm what is gone.
        self.effects.clear();
        let lists_changes = self.cells.lists_kept_changes();
        self.cells = Cells::new();
        self.forget();
        if lists_changes {
            // The disk goes on with what it has: it was written before.
            self.cells.list_kept_changes();
        }
        self.synced = None;
        self.told = None;
        self.offered_at = None;
        self.unreached = Vec::new();
        self.copy_wanted = Some(around.now.boot);
        self.state = State::Idle;
        self.effects.push_back(Effect::Changed);
        self.step(around);
    }

    /// What a panic in the middle of a write may leave: nothing of what was counted. For the simulator alone.
    #[doc(hidden)]
    #[cfg(feature = "faults")]
    pub fn break_counts(&mut self) {
        let mut before = std::mem::replace(&mut self.cells, no_cells(self.settings));
        self.cells.replace_kept(&mut before, false);
    }

    /// Whether a holder can have the copy that the record promises: this node has none after a panic.
    pub(super) fn has_copy_of(&self, holder: ReplicaId) -> bool {
        holder != self.me || self.copy_wanted.is_none()
    }

    /// Whether this node holds what `record` says that its holders hold.
    pub(super) fn holds(&self, record: &Record) -> bool {
        record.held_by(self.me) && self.has_copy_of(self.me)
    }

    /// Tells the owner that nothing is left of the copy that it had confirmed.
    pub(super) fn ask_for_copy(&mut self, around: Surroundings<'_>, owner: ReplicaId, term: Term) {
        let now = around.now.boot;
        let is_held = |record: &Record| record.held_by(self.me);
        if self.copy_wanted.is_none_or(|ask_at| now < ask_at)
            || !self.record.as_ref().is_some_and(is_held)
            || self.is_being_copied_to(now)
            || self.settings.has(Fault::PoisonedAsksNobody)
        {
            return;
        }
        self.copy_wanted = Some(now + self.settings.resend_after);
        let nothing = Message::Have {
            term,
            through: 0,
            gap: true,
        };
        self.send(owner, nothing);
    }
}
