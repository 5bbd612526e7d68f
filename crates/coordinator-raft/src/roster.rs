//! Who votes, who learns, and whether the group can go on: functions of what a node sees.

use std::collections::{BTreeMap, BTreeSet};

use crate::peers::Member;

/// Most voters. Five bear the loss of two; more would slow every decision for a case that is rarer than a mistake.
const VOTERS_MAX: usize = 5;

/// What a leader sees.
pub(crate) struct Roster<'a> {
    /// The voters; two sets while one is being exchanged for the other.
    pub(crate) configs: &'a [BTreeSet<u32>],
    /// Voters and learners.
    pub(crate) nodes: &'a BTreeSet<u32>,
    pub(crate) members: &'a [Member],
    /// Those that have nearly all of the log.
    pub(crate) caught_up: &'a BTreeSet<u32>,
    /// Those that run the strategy.
    pub(crate) running: &'a BTreeSet<u32>,
}

/// What a leader changes about its group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Learn(BTreeSet<u32>),
    Vote(BTreeSet<u32>),
    Remove(BTreeSet<u32>),
}

impl Roster<'_> {
    /// The next change, one at a time.
    ///
    /// Live members learn. Of those that have caught up and may vote, the lowest names come to vote, until there are one, three or
    /// five: an even number bears no more losses than the odd one below. Voters that are dead or leaving go as soon as a
    /// majority remains, also if that leaves an even number: fewer than are alive would hold less than there is.
    pub(crate) fn next_change(&self) -> Option<Change> {
        if let [_, next] = self.configs {
            return Some(Change::Vote(next.clone()));
        }
        let voters = self.configs.first()?;
        let live = self.live();
        let may_stay: BTreeSet<_> = live.keys().copied().collect();
        let new: BTreeSet<_> = may_stay
            .iter()
            .filter(|id| self.running.contains(id) && !self.nodes.contains(id))
            .copied()
            .collect();
        if !new.is_empty() {
            return Some(Change::Learn(new));
        }
        let next = self.next_voters(voters, &live);
        if next != *voters && !next.is_empty() && self.can_commit(voters) {
            return Some(Change::Vote(next));
        }
        let alive: BTreeSet<_> = self.alive().collect();
        let gone: BTreeSet<_> = self.nodes - voters;
        let gone = &gone - &alive;
        (!gone.is_empty()).then_some(Change::Remove(gone))
    }

    fn next_voters(&self, voters: &BTreeSet<u32>, live: &BTreeMap<u32, &str>) -> BTreeSet<u32> {
        let mut next: BTreeSet<_> = voters
            .iter()
            .filter(|id| live.contains_key(id))
            .copied()
            .collect();
        let mut candidates: Vec<_> = live
            .iter()
            .filter(|(id, _)| {
                self.nodes.contains(id) && !voters.contains(id) && self.caught_up.contains(id)
            })
            .filter(|(id, _)| self.may_vote(**id))
            .map(|(&id, &name)| (name, id))
            .collect();
        candidates.sort_unstable();
        let most = VOTERS_MAX.min(next.len() + candidates.len());
        let odd = most.saturating_sub(usize::from(most.is_multiple_of(2)));
        let missing = odd.saturating_sub(next.len());
        next.extend(candidates.into_iter().take(missing).map(|(_, id)| id));
        next
    }

    /// Whether `me` votes, or the group wants no vote of it: more voters would bear no more losses.
    pub(crate) fn is_settled(&self, me: u32) -> bool {
        if self.configs.iter().all(|voters| voters.contains(&me)) {
            return true;
        }
        let is_wanted =
            matches!(self.next_change(), Some(Change::Vote(voters)) if voters.contains(&me));
        self.nodes.contains(&me) && !is_wanted
    }

    fn can_commit(&self, voters: &BTreeSet<u32>) -> bool {
        let alive = self.alive().filter(|id| voters.contains(id)).count();
        voters.len() / 2 < alive
    }

    fn may_vote(&self, id: u32) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.id == id && member.votes)
    }

    fn alive(&self) -> impl Iterator<Item = u32> {
        let alive = self.members.iter().filter(|member| member.is_alive);
        alive.map(|member| member.id)
    }

    /// Those that may learn, by id.
    fn live(&self) -> BTreeMap<u32, &str> {
        self.members
            .iter()
            .filter(|member| member.is_alive && !member.is_leaving)
            .map(|member| (member.id, member.name.as_str()))
            .collect()
    }
}

/// Whether so many voters are gone for good that there is no majority of what is left. Who is merely silent may come
/// back with its log.
pub(crate) fn is_doomed(configs: &[BTreeSet<u32>], is_gone: impl Fn(u32) -> bool) -> bool {
    configs.iter().any(|voters| {
        let left = voters.iter().filter(|&&id| !is_gone(id)).count();
        left <= voters.len() / 2
    })
}

#[cfg(test)]
mod tests;
