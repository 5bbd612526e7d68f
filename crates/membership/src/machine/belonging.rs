//! Who belongs: joining, leaving, and being let go of.

use std::collections::BTreeMap;

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

use super::{Effect, Membership, Message, Peer};
use crate::roster::{Member, Standing};
use crate::view::Status;

/// Members that belong no longer and are still listed: at most so many, beyond them the oldest go untimely.
///
/// One that left goes when all others know it, so that many are there only while somebody is dead who cannot say. A
/// listed one takes some 150 bytes, in memory and in each roster that is sent. Who goes untimely may come back as a dead
/// member by the word of one who was away, and is let go of again, or has to be forgotten.
const DEPARTED_MAX: usize = 256;

/// Members that were let go of and are still looked for: at most so many, beyond them the oldest are not.
///
/// Six times what a full mesh of heartbeats carries; looked at one by one every ten seconds, each every eleven minutes.
const LET_GO_MAX: usize = 64;

/// How long those who were let go of are looked for. A partition of more than a day is mended by hand.
const LET_GO_FOR: Nanos = Nanos::from_secs(24 * 60 * 60);

/// Members that were dead for long. They are met again if they come back; what others still say of them is ignored.
#[derive(Debug)]
pub(super) struct LetGo {
    members: BTreeMap<String, Gone>,
    looked_at: BootNanos,
    /// After this name the next look is.
    last: String,
}

#[derive(Debug)]
struct Gone {
    replica: ReplicaId,
    address: String,
    since: BootNanos,
}

impl LetGo {
    pub(super) fn new(now: BootNanos) -> Self {
        Self {
            members: BTreeMap::new(),
            looked_at: now,
            last: String::new(),
        }
    }

    fn add(&mut self, now: BootNanos, member: &Member) {
        let gone = Gone {
            replica: member.replica,
            address: member.contact.cluster.clone(),
            since: now,
        };
        self.members.insert(member.name.clone(), gone);
        if LET_GO_MAX < self.members.len() {
            let oldest = self.members.iter().min_by_key(|(_, gone)| gone.since);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.map(|name| self.members.remove(&name));
        }
    }

    /// `member` itself is here, or whoever has its name now.
    pub(super) fn forgive(&mut self, member: &Member) {
        self.members.remove(&member.name);
    }

    fn ignores(&self, member: &Member) -> bool {
        let gone = self.members.get(&member.name);
        gone.is_some_and(|gone| gone.replica == member.replica)
    }

    /// Where to look next, if it is time.
    fn next_look(&mut self, now: BootNanos, every: Nanos) -> Option<String> {
        self.members.retain(|_, gone| now - gone.since < LET_GO_FOR);
        if now - self.looked_at < every {
            return None;
        }
        self.looked_at = now;
        let mut after = self.members.iter().filter(|(name, _)| self.last < **name);
        let (name, gone) = after.next().or(self.members.first_key_value())?;
        self.last = name.clone();
        Some(gone.address.clone())
    }
}

impl Membership {
    /// Where to find the others: every member that belongs, and replaced incarnations that may still hold a lease of
    /// this node, since a refusal there spares the wait.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, ReplicaId)> {
        let members = self.roster.iter().filter(|member| member.belongs());
        let others = members.filter(|member| member.replica != self.me.replica);
        let others = others.map(|member| (member.contact.cluster.as_str(), member.replica));
        let replaced = self.replaced.iter();
        others.chain(replaced.map(|(&replica, address)| (address.as_str(), replica)))
    }

    /// How many things are kept about others, those that went included: the measure of the memory that this takes.
    #[must_use]
    pub fn entries(&self) -> usize {
        let of_members = self.peers.len() + self.leases.peers.len() + self.replaced.len();
        let of_names = self.departed.len() + self.names_asked.len() + self.let_go.members.len();
        self.roster.iter().count() + of_members + of_names
    }

    /// This node will hand everything off and go.
    pub fn on_leave(&mut self, now: BootNanos) {
        self.change_standing(now, Standing::Leaving);
    }

    /// This node owns nothing any more and goes.
    pub fn on_left(&mut self, now: BootNanos) {
        self.change_standing(now, Standing::Left);
    }

    /// An operator says that a dead member will not come back. Whether there was such a member;
    /// one that is alive is not forgotten.
    pub fn on_forget(&mut self, now: BootNanos, name: &str) -> bool {
        let Some(member) = self.roster.get(name) else {
            return false;
        };
        if self.status(member.replica) != Some(Status::Dead) {
            return false;
        }
        let forgotten = Member {
            standing: Standing::Forgotten,
            ..member.clone()
        };
        self.join_fact(now, &forgotten);
        true
    }

    /// Whom to let go of: the members that have been dead for longer than [`forget_after`](super::Settings), here or in the
    /// eyes of a live member that lists them no longer. Answer with [`Self::on_unnamed`] for each that no shard's record
    /// names: a shard that does may need what it holds.
    #[must_use]
    pub fn long_dead(&self, now: BootNanos) -> Vec<ReplicaId> {
        let Some(forget_after) = self.settings.forget_after else {
            return Vec::new();
        };
        let is_due = |peer: &Peer| {
            let dead_for = now - peer.alive_at;
            let unlisted = peer.is_unlisted && self.settings.remember_left <= dead_for;
            peer.status == Status::Dead && (forget_after <= dead_for || unlisted)
        };
        let peers = self.peers.iter().filter(|(_, peer)| is_due(peer));
        peers.map(|(&replica, _)| replica).collect()
    }

    /// From now on the dead have a vote until they are [forgotten](Self::on_forget): nobody is let go of for having been dead
    /// for long.
    pub fn on_votes(&mut self) {
        self.settings.forget_after = None;
    }

    /// No shard's record names this long dead member: let go of it. Without a word to others, each of whom has evidence of
    /// its own: what was said could not be taken back if both sides of a long partition said it of each other.
    pub fn on_unnamed(&mut self, now: BootNanos, replica: ReplicaId) {
        let dead = self.peers.get(&replica);
        if dead.is_none_or(|peer| peer.status != Status::Dead) {
            return;
        }
        let Some(member) = self.roster.by_replica(replica).cloned() else {
            return;
        };
        self.let_go.add(now, &member);
        self.roster.retire(&member.name);
        self.peers.remove(&replica);
        self.effects.push_back(Effect::RosterChanged);
        self.refresh_view();
    }

    /// All that another member knows.
    pub(super) fn on_roster(&mut self, now: BootNanos, from: ReplicaId, facts: &[Member]) {
        for fact in facts {
            if !self.let_go.ignores(fact) {
                self.join_fact(now, fact);
            }
        }
        if !self.status(from).is_some_and(Status::in_view) {
            return;
        }
        for (&replica, peer) in &mut self.peers {
            let is_listed = facts.iter().any(|fact| fact.replica == replica);
            peer.is_unlisted = peer.status == Status::Dead && !is_listed;
        }
    }

    fn change_standing(&mut self, now: BootNanos, standing: Standing) {
        self.me.standing = standing;
        let me = self.me.clone();
        self.join_fact(now, &me);
        let peers: Vec<ReplicaId> = self.peers.keys().copied().collect();
        for to in peers {
            self.send(to, Message::Roster(self.roster.facts()));
        }
    }

    pub(super) fn join_fact(&mut self, now: BootNanos, member: &Member) {
        let before = self.roster.get(&member.name).cloned();
        if !self.roster.join(member) {
            if member.name == self.me.name && member.replica != self.me.replica {
                self.leases.predecessor = Some(member.replica);
            }
            return;
        }
        self.effects.push_back(Effect::RosterChanged);
        if member.name == self.me.name
            && (member.replica != self.me.replica || member.standing == Standing::Forgotten)
        {
            self.effects.push_back(Effect::Fenced);
            return;
        }
        if member.name.is_empty() || member.replica == self.me.replica {
            return self.refresh_view();
        }
        if let Some(before) = before.filter(|before| before.replica != member.replica) {
            self.replace(&before, member);
        }
        if member.belongs() {
            self.departed.remove(&member.name);
            self.let_go.forgive(member);
            let met = self.peers.entry(member.replica);
            met.or_insert_with(|| Peer::met(now));
        } else {
            // It said itself that it decides nothing any more, or an operator said so: what it was granted is void.
            self.departed.insert(member.name.clone(), now);
            self.peers.remove(&member.replica);
            self.leases.peers.remove(&member.replica);
        }
        self.refresh_view();
    }

    /// A newer incarnation has the name of `old`. If it listens where `old` did, the process of `old` is gone.
    fn replace(&mut self, old: &Member, new: &Member) {
        self.peers.remove(&old.replica);
        let address = &old.contact.cluster;
        let Some(exchange) = self.leases.peers.get_mut(&old.replica) else {
            return;
        };
        exchange.gone |= !address.is_empty() && *address == new.contact.cluster;
        if !exchange.gone {
            self.replaced.insert(old.replica, address.clone());
        }
        self.effects.push_back(Effect::ViewChanged);
    }

    /// With each heartbeat round: drops what nobody needs any more.
    pub(super) fn tidy(&mut self, now: BootNanos) {
        self.drop_old_questions(now);
        let peers = &self.peers;
        // Without an exchange a promise is as free as after one that has run out.
        self.leases.peers.retain(|replica, exchange| {
            peers.contains_key(replica) || !exchange.gone && now < exchange.granted_until
        });
        let before = self.replaced.len();
        let exchanges = &self.leases.peers;
        self.replaced
            .retain(|replica, _| exchanges.contains_key(replica));
        if self.replaced.len() != before {
            self.effects.push_back(Effect::RosterChanged);
        }
        self.retire_departed(now);
        if let Some(address) = self.let_go.next_look(now, self.settings.look_every) {
            self.effects.push_back(Effect::LookAt { address });
        }
    }

    /// Lists no longer who left, once every other member has said that it does not take it for a member either.
    ///
    /// Who was forgotten stays listed, within the bound: it may live, and come back to be told.
    fn retire_departed(&mut self, now: BootNanos) {
        let digest = self.roster.digest();
        // Each of the others has known it since it said the oldest of these.
        let agrees = |peer: &Peer| peer.said.filter(|said| said.roster == digest);
        let agreements = self
            .peers
            .values()
            .map(|peer| agrees(peer).map(|said| said.at));
        let agreed = agreements.fold(Some(now), Option::min);
        let is_known = |since: BootNanos| {
            agreed.is_some_and(|agreed| since < agreed)
                && self.settings.remember_left <= now - since
        };
        // Without its fact a name of the council would count again.
        let counts = |name: &str| {
            self.council
                .as_ref()
                .is_some_and(|it| it.names.contains(name))
        };
        let has_left = |name: &str| {
            let member = self.roster.get(name);
            member.is_some_and(|member| member.standing == Standing::Left && !counts(name))
        };
        let departed = self.departed.iter();
        let known = departed.filter(|&(name, &since)| has_left(name) && is_known(since));
        let mut retired: Vec<String> = known.map(|(name, _)| name.clone()).collect();
        self.departed.retain(|name, _| !retired.contains(name));
        while DEPARTED_MAX < self.departed.len() {
            let departed = self.departed.iter().filter(|(name, _)| !counts(name));
            let oldest = departed.min_by_key(|(_, since)| **since);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            self.departed.remove(&oldest);
            retired.push(oldest);
        }
        for name in retired {
            self.roster.retire(&name);
        }
    }
}
