//! The last holders of a shard that is claimed: what they have, and whether they can come back with it.

use delta_crdt::{Digest, ReplicaId};
use quota::Nanos;

use super::{Shard, State};
use crate::claim::Gathered;
use crate::effect::{Effect, Note};
use crate::record::Record;
use crate::settings::Fault;
use crate::surroundings::Surroundings;

/// How long a claim looks for the holders of a shard before it concludes that none of them can come back: by then
/// everybody alive has told who belongs to the cluster, ten times.
const GONE_AFTER: Nanos = Nanos::from_millis(1_000);

impl Shard {
    /// Whether somebody is there who has what was counted, or nobody who had it can come back with it: then the shard is
    /// opened without, and that is said.
    pub(super) fn is_held_or_gone(&self, around: Surroundings<'_>) -> bool {
        let is_there =
            |&holder: &ReplicaId| self.has_copy_of(holder) && around.view.contains(holder);
        let is_held = |record: &Record| record.holders.iter().any(is_there);
        let is_gone = self
            .unheld_since
            .is_some_and(|since| GONE_AFTER <= around.now.boot - since);
        self.record
            .as_ref()
            .is_none_or(|record| is_held(record) || is_gone)
    }

    /// Takes note of when the last holder went that could come back with the shard.
    ///
    /// By this node's own clock and not by its claim: where two claim in turn, no claim lasts that long.
    pub(super) fn watch_holders(&mut self, around: Surroundings<'_>) {
        let can_return = |record: &Record| {
            let mut holders = record.holders.iter();
            holders.any(|&holder| self.has_copy_of(holder) && around.view.may_return(holder))
        };
        let is_unheld = self.record.as_ref().is_some_and(|it| !can_return(it));
        let since = self.unheld_since.unwrap_or(around.now.boot);
        self.unheld_since = is_unheld.then_some(since);
    }

    /// Under `quorum`, once a majority and all who live have promised: joins what the holders of the newest
    /// record have, and nothing else.
    ///
    /// Each of them has every answered hit. What others have, this node included, comes from owners that
    /// were deposed, and was never answered. It must not be joined: that would deny for hits that nobody was told of,
    /// and where the fold of a fork is not exact, for more than those.
    ///
    /// It must not be forgotten either before the shard opens. A silent owner may have made this node a holder without its
    /// having heard so yet, and counts on its copy; if the claim comes to nothing, and the owner falls silent again, it may be
    /// asked for it.
    pub(super) fn gather(&mut self, around: Surroundings<'_>) {
        let State::Claiming(claim, _) = &mut self.state else {
            return;
        };
        let promised = claim.promised_by();
        let agrees = |voter| voter == self.me || promised.contains(&voter);
        if promised.len() < claim.asked.len() || !around.view.is_majority(agrees) {
            return;
        }
        let Some(record) = &self.record else {
            if self.settings.has(Fault::IgnoresDisks) {
                return;
            }
            // Nobody has owned it since all nodes started, so that what anybody has was kept on a disk.
            let (term, mine) = (claim.term, self.cells.digest());
            for (to, buckets) in claim.gather_kept(&mine) {
                self.pull(to, term, buckets);
            }
            return;
        };
        let is_begun = claim.gathers_for == Some((record.term, record.epoch));
        if !is_begun {
            claim.gathered = (!record.held_by(self.me)).then(Gathered::default);
        }
        let mine = match claim.gathered {
            Some(_) => Digest::default(),
            None => self.cells.digest(),
        };
        let forgets = claim.gathered.is_some() && self.settings.has(Fault::ClaimantForgets);
        let term = claim.term;
        for (to, buckets) in claim.gather(record, &mine) {
            self.pull(to, term, buckets);
        }
        if forgets && !is_begun {
            self.forget_counts();
        }
    }

    /// Whether those without whom this node opened the shard are back, or will never be.
    pub(super) fn step_unreached(&mut self, around: Surroundings<'_>) {
        if self.unreached.is_empty() {
            return;
        }
        let mut unreached = self.unreached.iter();
        if unreached.any(|&holder| around.view.contains(holder)) {
            // It offers what it has.
            self.unreached = Vec::new();
        } else if !self.unreached.iter().any(|&h| around.view.may_return(h))
            || self.settings.has(Fault::SilentIsLost)
        {
            self.unreached = Vec::new();
            self.effects.push_back(Effect::Note(Note::StateLost));
        }
    }
}
