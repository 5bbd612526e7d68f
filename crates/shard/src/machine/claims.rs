//! How a node comes to own a shard: it claims a higher term, and others promise it.

use delta_crdt::{Digest, ReplicaId, Term};
use quota::{BootNanos, Nanos, Now};

use super::pledges::Pledge;
use super::{Shard, State, owner_term};
use crate::admitted::HitId;
use crate::answered::KEPT_FOR;
use crate::claim::{Asked, Claim, worth_pulling, worth_sending};
use crate::effect::{Effect, Note};
use crate::message::Message;
use crate::record::Record;
use crate::reign::Reign;
use crate::settings::{Fault, Partition};
use crate::surroundings::Surroundings;

/// How long a promise that another node asked for keeps us from claiming ourselves.
const YIELD_TO_PLEDGE: Nanos = Nanos::from_millis(300);

/// How long the preferred claimant has before the next in line claims as well. Longer than a claim.
const CLAIM_TURN: Nanos = Nanos::from_millis(400);

impl Shard {
    pub(super) fn on_claim(
        &mut self,
        around: Surroundings<'_>,
        from: ReplicaId,
        term: Term,
        consent: Option<Term>,
        promised_by: &[ReplicaId],
    ) {
        let now = around.now.boot;
        if term < self.promised {
            return self.refuse(from, term, false);
        }
        if !self.has_recalled(around) {
            return self.refuse(from, term, true);
        }
        if term > self.promised {
            let consents = |owner_term: Term| consent == Some(owner_term);
            let free = |shard: &Self, owner: Term| {
                owner.replica == from
                    || consents(owner)
                    || promised_by.contains(&owner.replica)
                    || shard.is_over(around, owner)
            };
            if let State::Open(reign) = &self.state {
                let mine = owner_term(self.record.as_ref());
                let handing = reign
                    .handoff
                    .is_some_and(|handoff| handoff.successor == from);
                if !(handing && consents(mine)) {
                    return self.refuse(from, term, false);
                }
                if self.settings.has(Fault::HandoffForgets) {
                    self.forget();
                }
                self.step_down(term);
            }
            let owner = owner_term(self.record.as_ref());
            // A claimant that already has our promise may raise it: the old owner was looked at then.
            let is_free = match self.pledged {
                Some(pledge) if pledge.is_for(from) => true,
                Some(pledge) => free(self, pledge.term) && free(self, owner),
                None => free(self, owner),
            };
            if !is_free {
                return self.refuse(from, term, true);
            }
            if matches!(self.state, State::Claiming(..)) {
                self.abandon(now);
            }
            self.promised = term;
            self.pledged = Some(Pledge::new(term, now));
        }
        let record = self.record.as_ref();
        let is_takeover = consent.is_none() && record.is_some_and(|r| r.owner() != from);
        let answered = match is_takeover {
            true => self.answered.recent(now),
            false => Vec::new(),
        };
        self.say_promise(term, answered);
        // The claimant knows of what this node holds, and does not have it yet: it may lose sight of this node and open
        // without. Whatever comes from elsewhere before it opens is refused.
        self.synced = self.settings.has(Fault::PromiseIsReceipt).then_some(term);
        self.told = Some(term);
    }

    pub(super) fn on_promise(
        &mut self,
        now: BootNanos,
        from: ReplicaId,
        term: Term,
        record: Option<Record>,
        digest: Option<Digest>,
        answered: &[u64],
    ) {
        let claim = match &mut self.state {
            State::Claiming(claim, _) if claim.term == term => claim,
            State::Open(_) if owner_term(self.record.as_ref()) == term => return,
            // Given up: whoever still holds itself bound by it may not have heard that.
            _ => return self.send(from, Message::Release { term }),
        };
        let Some(asked) = claim.asked.get_mut(&from) else {
            return;
        };
        if !matches!(asked, Asked::Waiting) {
            return;
        }
        let ids = answered.iter().map(|&sequence| {
            let origin = from;
            (now, HitId { origin, sequence })
        });
        claim.answered.extend(ids);
        if self.settings.partition == Partition::Quorum {
            *asked = Asked::Promised { digest };
            return self.learn(record);
        }
        let buckets = digest
            .as_ref()
            .map_or(0, |theirs| worth_pulling(&self.cells.digest(), theirs));
        *asked = match digest {
            Some(digest) if buckets != 0 => Asked::Pulling { digest, buckets },
            digest => Asked::Ready { digest },
        };
        if buckets != 0 {
            self.pull(from, term, buckets);
        }
        self.learn(record);
    }

    pub(super) fn on_refuse(
        &mut self,
        now: Now,
        term: Term,
        promised: Term,
        record: Option<Record>,
        wait: bool,
    ) {
        self.learn(record);
        match &mut self.state {
            State::Claiming(claim, _) if claim.term == term && !wait => {
                // The promise went to a higher term, or the owner lives and decides.
                self.promised = self.promised.max(promised);
                self.abandon(now.boot);
            }
            State::Open(_) if owner_term(self.record.as_ref()) == term && term < promised => {
                // A holder is fenced off by a claim that has not come to an end: claim above it.
                self.promised = self.promised.max(promised);
                self.step_down(promised);
            }
            _ => {}
        }
    }

    pub(super) fn step_idle(&mut self, around: Surroundings<'_>) {
        let now = around.now.boot;
        let owner = self.record.as_ref().map(Record::owner);
        if let (Some(owner), Some(term)) = (owner, self.record.as_ref().map(|record| record.term))
            && owner != self.me
            && around.view.contains(owner)
            && self.released != Some(term)
        {
            self.ownerless_since = None;
            self.ask_for_copy(around, owner, term);
            self.offer(around, owner, term);
            return;
        }
        let since = *self.ownerless_since.get_or_insert(now);
        self.say_released(around, since);
        let yields = self.pledged.is_some_and(|pledge| {
            !pledge.is_for(self.me)
                && around.view.contains(pledge.term.replica)
                && now - pledge.given_at < YIELD_TO_PLEDGE
        });
        if now < self.claim_not_before || yields {
            return;
        }
        let holders = self
            .record
            .as_ref()
            .map_or(&[][..], |record| &record.holders);
        let is_candidate =
            |replica: &&ReplicaId| holders.contains(replica) && around.view.may_open(**replica);
        let first_holder = around.order.iter().find(is_candidate);
        let live_holder = holders.iter().find(|&&it| around.view.may_open(it));
        let first = first_holder
            .or(live_holder)
            .or(around.order.first())
            .copied();
        // When the first in line does not claim, views differ: the others take their turns.
        let rank = around
            .order
            .iter()
            .position(|&replica| replica == self.me)
            .unwrap_or(around.order.len());
        let turn = CLAIM_TURN.times(1 + rank as u64);
        let is_first = first == Some(self.me) || turn <= now - since;
        // The others wait for whom they take for the owner, and see alive. It says that it is none under `quorum` alone.
        let is_awaited = owner == Some(self.me) && self.settings.partition == Partition::Available;
        let stands_aside = self.is_aside(around) && !is_awaited;
        if is_first && self.may_own(around) && !stands_aside {
            self.start_claim(around, None);
        }
    }

    pub(super) fn start_claim(&mut self, around: Surroundings<'_>, consent: Option<Term>) {
        let now = around.now.boot;
        let known = self.promised.max(owner_term(self.record.as_ref()));
        let owner = owner_term(self.record.as_ref());
        let free = consent == Some(owner) || self.is_over(around, owner);
        let pledge = self.pledged.map(|pledge| pledge.term);
        let pledge_is_free = pledge.is_none_or(|pledge| self.is_over(around, pledge));
        let settled = consent.is_some() || around.leases.has_settled(now);
        let settled = settled && self.has_recalled(around);
        if !settled || !free || !pledge_is_free || !self.may_be_leased(around) {
            return;
        }
        let Some(number) = known.number.checked_add(1) else {
            return;
        };
        let term = Term {
            number,
            replica: self.me,
        };
        self.promised = term;
        self.pledged = Some(Pledge::new(term, now));
        self.synced = None;
        let lease_epoch = |other| (other, around.leases.from_holder(other).epoch);
        let claim = Claim {
            term,
            consent,
            asked: self
                .to_ask(around)
                .map(|other| (other, Asked::Waiting))
                .collect(),
            lease_epochs: self.to_ask(around).map(lease_epoch).collect(),
            ask_again_at: now,
            pull_again_at: now + self.settings.resend_after,
            gathers_for: None,
            gathered: None,
            answered: Vec::new(),
        };
        self.state = State::Claiming(claim, now);
        self.effects.push_back(Effect::Changed);
        self.step_claiming(around);
    }

    pub(super) fn step_claiming(&mut self, around: Surroundings<'_>) {
        let now = around.now.boot;
        let known = owner_term(self.record.as_ref());
        let State::Claiming(claim, _) = &mut self.state else {
            return;
        };
        if claim.term < known {
            return self.abandon(now);
        }
        let to_ask: Vec<ReplicaId> = self.to_ask(around).collect();
        let State::Claiming(claim, _) = &mut self.state else {
            return;
        };
        claim.asked.retain(|other, asked| {
            let has_promised = !matches!(asked, Asked::Waiting);
            to_ask.contains(other) || has_promised && around.view.contains(*other)
        });
        for other in to_ask {
            claim.asked.entry(other).or_insert(Asked::Waiting);
        }
        if self.settings.partition == Partition::Quorum {
            self.gather(around);
        }
        let may_open = self.is_held_or_gone(around);
        let State::Claiming(claim, _) = &mut self.state else {
            return;
        };
        let one_is_enough = self.settings.has(Fault::AsksOneHolder) && 0 < claim.ready();
        let enough = match self.settings.partition {
            Partition::Available => true,
            // The counts must be there, too: an answered hit is on every holder.
            Partition::Quorum => {
                let agrees = |voter| voter == self.me || claim.is_ready_with(voter);
                around.view.is_majority(agrees) && may_open
            }
        };
        if (claim.is_ready() && enough) || one_is_enough {
            let State::Claiming(claim, started) = std::mem::replace(&mut self.state, State::Idle)
            else {
                return;
            };
            return self.open(around, claim, started);
        }
        if now < claim.ask_again_at {
            return;
        }
        claim.ask_again_at = now + self.settings.ask_again_after;
        let (term, consent) = (claim.term, claim.consent);
        let promised_by = claim.promised_by();
        let mut claims = Vec::new();
        let mut pulls = Vec::new();
        let pulls_again = claim.pull_again_at <= now;
        if pulls_again {
            claim.pull_again_at = now + self.settings.resend_after;
        }
        for (&to, asked) in &claim.asked {
            match asked {
                Asked::Waiting => claims.push(to),
                // The pull or its answer may have been lost; one that is being answered is not answered twice.
                Asked::Pulling { buckets, .. } if pulls_again => pulls.push((to, *buckets)),
                Asked::Promised { .. } | Asked::Pulling { .. } | Asked::Ready { .. } => {}
            }
        }
        for to in claims {
            let message = Message::Claim {
                term,
                consent,
                promised_by: promised_by.clone(),
                record: self.record.clone(),
            };
            self.send(to, message);
        }
        for (to, buckets) in pulls {
            self.pull(to, term, buckets);
        }
    }

    pub(super) fn open(&mut self, around: Surroundings<'_>, mut claim: Claim, started: BootNanos) {
        let now = around.now.boot;
        let term = claim.term;
        if let Some(gathered) = claim.gathered.take() {
            self.forget();
            self.join_cells(around.now, gathered.cells);
            self.remember(around.now, &gathered.admitted);
        }
        let is_minority = !around.view.is_majority(|voter| around.view.contains(voter));
        if is_minority && self.settings.has(Fault::MinorityForgets) {
            self.forget();
        }
        let mut reign = Reign::new(now, self.me, claim.lease_epochs, around.view, self.written);
        reign.tells_ids_ahead = self.settings.has(Fault::IdsAheadOfCounts);
        let mut holders = vec![self.me];
        // What nobody brought is nowhere.
        self.has_holes = false;
        let old = self.record.take();
        let mine = self.cells.digest();
        for (other, asked) in claim.asked {
            let Asked::Ready { digest } = asked else {
                continue;
            };
            if self.settings.partition == Partition::Available {
                reign.owe_synced(other);
            }
            if old.as_ref().is_some_and(|old| old.held_by(other)) {
                holders.push(other);
                reign.follow(other, worth_sending(&mine, digest.as_ref()));
            }
        }
        let lacks_all = |old: &&Record| !self.holds(old) && holders.len() == 1;
        if let Some(old) = old.as_ref().filter(lacks_all) {
            let others = old.holders.iter().filter(|&&holder| holder != self.me);
            self.unreached = others.copied().collect();
            match self.unreached.is_empty() {
                // What this node alone held went with a panic.
                true => self.effects.push_back(Effect::Note(Note::StateLost)),
                false => self.step_unreached(around),
            }
            if !self.unreached.is_empty() {
                self.effects.push_back(Effect::Note(Note::OutOfReach));
            }
        }
        self.copy_wanted = None;
        let taken_over = old.as_ref().is_some_and(|old| old.owner() != self.me);
        // Whoever holds a hit remembers its id for `remember_ids` after it was answered, and that was up to `KEPT_FOR`
        // before the report. A claim can last longer, with the others out of reach: then a missing id says nothing.
        let may_tell = self.settings.remember_ids - KEPT_FOR;
        let reported = claim.answered.into_iter();
        let reported = reported.filter_map(|(at, id)| (now - at <= may_tell).then_some(id));
        let answered = reported.chain(self.own_answers(now, claim.consent));
        let forgotten = answered.filter(|&id| !self.admitted.contains(id)).count();
        if 0 < forgotten {
            let note = Note::Forgotten { hits: forgotten };
            self.effects.push_back(Effect::Note(note));
        }
        self.answered.clear();
        self.cells
            .bound_stamps(around.now.wall + self.settings.max_skew);
        let note = Note::Opened {
            term,
            after: now - started,
            handed_over: claim.consent.is_some(),
            taken_over,
        };
        self.effects.push_back(Effect::Note(note));
        self.release_said_at = None;
        self.record = Some(Record {
            term,
            epoch: 0,
            holders,
        });
        self.pledged = None;
        self.ownerless_since = None;
        self.state = State::Open(reign);
        self.effects.push_back(Effect::Changed);
        self.announce(around);
        self.step_open(around);
    }

    /// The hits that this node forwarded to the last owner.
    fn own_answers(&mut self, now: BootNanos, consent: Option<Term>) -> Vec<HitId> {
        if consent.is_some() {
            return Vec::new();
        }
        let origin = self.me;
        let recent = self.answered.recent(now).into_iter();
        recent.map(|sequence| HitId { origin, sequence }).collect()
    }

    /// Gives the claim up, and lets those who promised promise to another.
    pub(super) fn abandon(&mut self, now: BootNanos) {
        let State::Claiming(claim, _) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        if self.pledged.is_some_and(|pledge| pledge.term == claim.term) {
            self.pledged = None;
        }
        // Two claimants who met wait for different spans before they try again.
        self.claim_not_before = now + Nanos::from_millis(25 + u64::from(self.me.0 % 64) * 4);
        for &other in claim.asked.keys() {
            self.send(other, Message::Release { term: claim.term });
        }
    }
}
