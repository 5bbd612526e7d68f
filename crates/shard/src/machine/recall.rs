//! What a node that has just joined must hear before it has a vote, under `quorum`.
//!
//! A majority knows the newest record of every shard. A node that started again has forgotten what it knew: with two of
//! three such nodes a majority would know nothing, and open the shard anew while the third has the counts. So a newcomer
//! promises nothing and claims nothing before it has heard from a majority that remembers, as in Viewstamped Replication
//! (Liskov and Cowling, 2012, section 4.3). When so many started again that no such majority is left, it waits until it has
//! heard everybody who belongs: then there is nobody left who could know more. Whoever is gone for good must be forgotten
//! by an operator for that.

use std::collections::BTreeMap;

use delta_crdt::ReplicaId;
use membership::CouncilId;
use quota::BootNanos;

use super::Shard;
use crate::effect::Effect;
use crate::message::Message;
use crate::settings::{Fault, Partition};
use crate::surroundings::Surroundings;

#[derive(Default, Debug)]
pub(super) struct Recall {
    /// Who has answered, and whether it remembers.
    heard: BTreeMap<ReplicaId, bool>,
    ask_at: BootNanos,
    is_done: bool,
    /// Who counted when this began.
    council: CouncilId,
}

impl Recall {
    pub(super) fn on_heard(&mut self, from: ReplicaId, remembers: bool) {
        self.heard.insert(from, remembers);
    }
}

impl Shard {
    /// Whether this node knows what a majority knew when it joined.
    pub(super) fn has_recalled(&self, around: Surroundings<'_>) -> bool {
        let quorum = self.settings.partition == Partition::Quorum;
        !quorum
            || self.recall.is_done
            || !around.leases.is_newcomer()
            || self.settings.has(Fault::VotesUnheard)
    }

    /// Whether this node has what it needs to count towards a majority: a newcomer has when it has heard what those know
    /// who count.
    #[must_use]
    pub fn may_count(&self, around: Surroundings<'_>) -> bool {
        self.has_recalled(around) && self.recall_is_of(around)
    }

    /// Whether this node counts towards a majority for the shard.
    #[must_use]
    pub fn has_vote(&self, around: Surroundings<'_>) -> bool {
        self.has_recalled(around) && around.view.counts(self.me)
    }

    /// Whether the recall was among those who count now, or this node is one of them.
    fn recall_is_of(&self, around: Surroundings<'_>) -> bool {
        let view = around.view;
        !around.leases.is_newcomer()
            || view.counts(self.me)
            || self.recall.council == view.council()
    }

    /// Asks the others until enough have answered.
    pub(super) fn step_recall(&mut self, around: Surroundings<'_>) {
        let now = around.now.boot;
        if !self.recall_is_of(around) {
            // What was written since may be known to those alone who have come to count.
            self.recall = Recall {
                council: around.view.council(),
                ..Recall::default()
            };
        }
        // Before that an owner may yet count on what an earlier incarnation of this node had taken note of.
        if self.has_recalled(around) || !around.leases.has_settled(now) {
            return;
        }
        let me = self.me;
        let belonging = around.view.belonging();
        let heard = &self.recall.heard;
        let remembers = |member: ReplicaId| heard.get(&member) == Some(&true);
        let enough = around.view.is_majority(remembers);
        let all = belonging
            .iter()
            .all(|member| *member == me || heard.contains_key(member));
        if enough || all {
            self.recall.is_done = true;
            self.recall.heard = BTreeMap::new();
            return self.effects.push_back(Effect::Changed);
        }
        if now < self.recall.ask_at {
            return;
        }
        self.recall.ask_at = now + self.settings.resend_after;
        let unsure = |member: &ReplicaId| self.recall.heard.get(member) != Some(&true);
        let asked: Vec<ReplicaId> = around.view.others(me).filter(unsure).collect();
        for other in asked {
            self.send(other, Message::Recall);
        }
    }

    pub(super) fn on_recall(&mut self, around: Surroundings<'_>, from: ReplicaId) {
        let remembers = self.has_recalled(around);
        let record = self.record.clone();
        self.send(from, Message::Recalled { record, remembers });
    }
}
