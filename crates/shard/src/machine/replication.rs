//! How the holders of a shard come to hold the same: deltas, copies, announcements and offers.

use delta_crdt::{Cell, Digest, Evicted, ReplicaId, Term};
use quota::{BootNanos, KeyHash, Nanos, Now};

use super::{Have, Shard, State, owner_term};
use crate::admitted::HitId;
use crate::claim::{Asked, worth_pulling};
use crate::effect::Effect;
use crate::message::{Baseline, Buckets, Message};
use crate::record::Record;
use crate::reign::ALL_BUCKETS;
use crate::settings::{Fault, Partition};
use crate::surroundings::Surroundings;

impl Shard {
    pub(super) fn on_announce(
        &mut self,
        now: Now,
        from: ReplicaId,
        record: Record,
        through: u64,
        digest: Option<Digest>,
    ) {
        // Not even a change of the holders: the claimant that has our promise must not find an older record
        // with us than one that the owner believes known.
        if record.term < self.promised {
            return self.refuse(from, record.term, false);
        }
        let (term, epoch) = (record.term, record.epoch);
        let is_left_out = digest.is_none() && !record.held_by(self.me);
        self.learn(Some(record));
        self.send(from, Message::Known { term, epoch });
        if is_left_out && self.have.term == term && self.have.through < through {
            self.on_left_out(now.boot);
        }
        // What the owner may lack was offered already.
        let comparable = self.have.term == term
            && self.have.through == through
            && self.is_synced()
            && !self.has_holes;
        let Some(theirs) = digest.filter(|_| comparable) else {
            return;
        };
        self.expire(now, usize::MAX);
        let mine = self.cells.digest();
        if mine == theirs {
            return;
        }
        // Something was missed.
        match self.settings.partition {
            Partition::Available => {
                self.synced = None;
                self.offered_at = None;
            }
            // Only the owner is right.
            Partition::Quorum => match worth_pulling(&mine, &theirs) {
                0 => {}
                buckets => self.pull(from, term, buckets),
            },
        }
    }

    /// The owner, which had copied the shard to this node, said after later writes that it does not follow it: the copy was
    /// begun for a holder that another took the place of. Nothing else lets go of it.
    ///
    /// Nodes of the format before say so of each that they do not hold for a holder yet. Those go on sending, so that
    /// it counts when said twice with nothing in between.
    fn on_left_out(&mut self, now: BootNanos) {
        let has = self.have.through;
        if self.left_out_with.replace(has) == Some(has) {
            self.left_out_with = None;
            self.have = Have::NOTHING;
            self.drop_if_outside(now);
        }
    }

    pub(super) fn on_known(
        &mut self,
        around: Surroundings<'_>,
        from: ReplicaId,
        term: Term,
        epoch: u32,
    ) {
        if let (State::Open(reign), Some(record)) = (&mut self.state, &self.record)
            && (record.term, record.epoch) == (term, epoch)
            && !reign.known_by.contains(&from)
        {
            reign.knows(around.now.boot, from, around.leases.from_holder(from));
            self.effects.push_back(Effect::Changed);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn on_delta(
        &mut self,
        now: Now,
        from: ReplicaId,
        term: Term,
        baseline: Baseline,
        through: u64,
        cells: Vec<(KeyHash, Cell)>,
        admitted: &[HitId],
    ) {
        if term < self.promised || term.replica != from {
            return self.refuse(from, term, false);
        }
        if let Baseline::Whole { record, .. } = &baseline {
            self.learn(Some(record.clone()));
        }
        if owner_term(self.record.as_ref()) != term {
            // Its announcement has not come yet; the owner sends this again.
            return self.send(
                from,
                Message::Have {
                    term,
                    through: 0,
                    gap: true,
                },
            );
        }
        let is_whole = matches!(baseline, Baseline::Whole { .. });
        let is_newer = self.have.term != term || self.have.through < through;
        let (connects, is_copy) = match baseline {
            Baseline::Whole { buckets, .. } => (true, buckets == ALL_BUCKETS),
            Baseline::After(after) => (self.have.term == term && after <= self.have.through, false),
        };
        if is_copy && is_newer {
            self.has_holes = false;
            self.copy_wanted = None;
        }
        if self.settings.partition == Partition::Quorum && is_copy && is_newer {
            // What this node wrote or copied outside this line of owners was never answered.
            self.forget();
        }
        // Writes that are known may tell of what has been evicted since, or has expired.
        let is_old = !is_newer && !is_whole;
        if !is_old && (connects || self.settings.partition == Partition::Available) {
            self.join_cells(now, cells);
            self.remember(now, admitted);
        }
        if connects {
            let known = if self.have.term == term {
                self.have.through
            } else {
                0
            };
            self.have = Have {
                term,
                through: through.max(known),
            };
        }
        let through = if self.have.term == term {
            self.have.through
        } else {
            0
        };
        self.send(
            from,
            Message::Have {
                term,
                through,
                gap: !connects,
            },
        );
    }

    pub(super) fn on_have(
        &mut self,
        now: Now,
        from: ReplicaId,
        term: Term,
        through: u64,
        gap: bool,
    ) {
        let State::Open(reign) = &mut self.state else {
            return;
        };
        if owner_term(self.record.as_ref()) != term {
            return;
        }
        let was_copying = reign
            .progress(from)
            .is_some_and(|progress| progress.acked().is_none());
        if reign.on_have(from, through, gap) {
            self.effects.push_back(Effect::Changed);
            if was_copying {
                self.effects.push_back(Effect::PieceArrived { at: from });
            }
        }
        // What was written while the delta was under way.
        self.flush(now.boot);
    }

    pub(super) fn on_offer(&mut self, from: ReplicaId, term: Term, digest: &Digest) {
        if !matches!(self.state, State::Open(_)) || owner_term(self.record.as_ref()) != term {
            return self.refuse(from, term, false);
        }
        // An offer is repeated while its answer is under way: what was asked for has not changed by that.
        let open = self.open_pull(from, term);
        let buckets = open.unwrap_or_else(|| worth_pulling(&self.cells.digest(), digest));
        if buckets != 0 {
            self.pull(from, term, buckets);
        }
        let State::Open(reign) = &mut self.state else {
            return;
        };
        if buckets == 0 {
            reign.owe_synced(from);
            self.say_synced();
        } else {
            reign.owe_nothing(from);
        }
    }

    pub(super) fn on_state(
        &mut self,
        now: Now,
        from: ReplicaId,
        term: Term,
        buckets: Buckets,
        cells: Vec<(KeyHash, Cell)>,
        admitted: &[HitId],
    ) {
        if self.takes_state(from, term) {
            self.close_pull(from);
            self.join_state(now, from, cells, admitted);
            self.on_state_complete(from, buckets);
        }
    }

    /// Whether this node has use for what `from` holds, as of `term`.
    pub(super) fn takes_state(&self, from: ReplicaId, term: Term) -> bool {
        let owner_says = owner_term(self.record.as_ref()) == term
            && term.replica == from
            && self.promised <= term;
        match &self.state {
            State::Idle => self.settings.partition == Partition::Quorum && owner_says,
            State::Claiming(claim, _) => claim.term == term,
            State::Open(_) => owner_term(self.record.as_ref()) == term,
        }
    }

    /// Joins what `from` was asked for, or a part of it.
    pub(super) fn join_state(
        &mut self,
        now: Now,
        from: ReplicaId,
        cells: Vec<(KeyHash, Cell)>,
        admitted: &[HitId],
    ) {
        if let State::Claiming(claim, _) = &mut self.state
            && let Some(gathered) = &mut claim.gathered
        {
            gathered.cells.extend(cells);
            return gathered.admitted.extend(admitted);
        }
        let (known, cells): (Vec<_>, Vec<_>) = cells
            .into_iter()
            .partition(|(key, cell)| self.has_let_go(*key, cell));
        let changed = self.join_cells(now, cells);
        let remembered = self.remember(now, admitted);
        if let State::Open(reign) = &mut self.state {
            // What an outsider brought goes to the replicas like any other write. So do the ids: digests do not tell of
            // them, and a retry that the next owner does not know is counted again.
            for key in changed {
                reign.wrote(now.boot, key, None);
            }
            reign.remembered(now.boot, remembered);
            for (key, cell) in known {
                reign.evicted(now.boot, Evicted::new(key, &cell));
            }
            self.written = reign.written();
            // It has sent more: what it was to be told is no longer all.
            reign.owe_nothing(from);
        }
    }

    /// Everything that `from` was asked for is here.
    pub(super) fn on_state_complete(&mut self, from: ReplicaId, buckets: Buckets) {
        match &mut self.state {
            State::Idle => {}
            State::Claiming(claim, _) => {
                if let Some(asked) = claim.asked.get_mut(&from)
                    && let Asked::Pulling {
                        digest,
                        buckets: wanted,
                    } = asked
                    && *wanted == buckets
                {
                    *asked = Asked::Ready {
                        digest: Some(digest.clone()),
                    };
                }
            }
            State::Open(reign) => {
                reign.owe_synced(from);
                self.say_synced();
            }
        }
    }

    pub(super) fn announce(&mut self, around: Surroundings<'_>) {
        let now = around.now.boot;
        let (State::Open(reign), Some(record)) = (&mut self.state, &self.record) else {
            return;
        };
        if now < reign.announce_at {
            return;
        }
        // Whoever has said that it knows is told again on the slow timer only.
        let others = || around.view.others(self.me);
        let mut to: Vec<ReplicaId> = others()
            .filter(|other| !reign.known_by.contains(other))
            .collect();
        let all_know = to.is_empty();
        if all_know {
            to = others().collect();
        }
        // Spread over the shards, so that they do not all speak at once.
        let spread = Nanos::from_millis(u64::from(self.id.0) % 1_000);
        let again = match self.settings.partition {
            // No answer leaves before a majority has taken note.
            Partition::Quorum if !reign.is_known() => self.settings.ask_again_after,
            _ if !all_know => self.settings.resend_after,
            _ => self.settings.anti_entropy_every + spread,
        };
        reign.announce_at = now + again;
        let (record, through) = (record.clone(), reign.seq());
        let followed: Vec<ReplicaId> = reign.peers.iter().map(|it| it.peer).collect();
        for &other in &to {
            reign.tells(now, other, around.leases.from_holder(other));
        }
        self.expire(around.now, usize::MAX);
        let digest = self.cells.digest();
        for other in to {
            let is_followed = record.held_by(other) || followed.contains(&other);
            let digest = is_followed.then(|| digest.clone());
            self.send(
                other,
                Message::Announce {
                    record: record.clone(),
                    through,
                    digest,
                },
            );
        }
    }

    /// Tells those whose state is safe here that it is.
    ///
    /// Not before a replica has confirmed it, if there is one: whoever hears it may drop its copy, and this node may die.
    pub(super) fn say_synced(&mut self) {
        let (State::Open(reign), Some(record)) = (&mut self.state, &self.record) else {
            return;
        };
        let term = record.term;
        for to in reign.take_synced(record) {
            self.send(to, Message::Synced { term });
        }
    }

    /// Offers what this node holds to the owner, until it is known to have it.
    pub(super) fn offer(&mut self, around: Surroundings<'_>, owner: ReplicaId, term: Term) {
        let now = around.now.boot;
        let quorum = self.settings.partition == Partition::Quorum;
        if quorum || self.synced == Some(term) || self.cells.is_empty() {
            return self.drop_if_outside(now);
        }
        if self.settings.has(Fault::OffersNothing) {
            return;
        }
        // What has come of a copy is the owner's own.
        if self.is_being_copied_to(now) {
            return;
        }
        if self.told.take_if(|told| *told == term).is_some() {
            // It says by itself what it has. Asking at once would send whole buckets for the hits that came since.
            self.offered_at = Some(now);
            return;
        }
        if self
            .offered_at
            .is_some_and(|at| now - at < self.settings.resend_after)
        {
            return;
        }
        self.offered_at = Some(now);
        let digest = self.cells.digest();
        self.send(owner, Message::Offer { term, digest });
    }

    /// A node outside the holders keeps its state only until the owner has it, and whoever it has told what it holds.
    pub(super) fn drop_if_outside(&mut self, now: BootNanos) {
        let Some(record) = &self.record else { return };
        // The claimant of a higher term reckons with what it was promised. The owner of the record may have opened without
        // a majority that knows of it, and is asked by nobody.
        if record.term < self.promised && !self.settings.has(Fault::DropsWhatItTold) {
            return;
        }
        // The owner may have our confirmation and not have said yet that we are a holder.
        let is_copied_to = self.have.term == record.term || self.is_being_copied_to(now);
        let outside =
            !record.held_by(self.me) && !is_copied_to && matches!(self.state, State::Idle);
        // Under `quorum` every answered hit is with the holders, and what only an outsider has was never answered.
        let spared =
            self.settings.partition == Partition::Quorum || self.synced == Some(record.term);
        if outside && spared && !self.cells.is_empty() {
            let ids = std::mem::take(&mut self.admitted);
            self.forget();
            // The owner has what they were counted in. Should this node own the shard again, on a side of its own, it knows
            // them when they are asked again. Under `quorum` they were counted by nobody who counts.
            if self.settings.partition == Partition::Available {
                self.admitted = ids;
            }
        }
    }
}
