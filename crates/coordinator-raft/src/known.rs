//! Who was ever a member: only so can anybody say that a voter is gone for good.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::peers::Member;

/// Incarnations remembered; of more, those that have been met first are forgotten. At some 100 bytes each 400 kB. A cluster
/// whose nodes start again every minute fills it in three days, and what was a voter three days ago is no voter today.
const KNOWN_MAX: usize = 4_096;

/// Everybody who was ever a member, as far as this node has seen.
#[derive(Default)]
pub(crate) struct Known {
    names: BTreeMap<u32, String>,
    /// In the order in which they were met.
    met: VecDeque<u32>,
}

/// What a node can say about an incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// A member. It may be silent, and come back with its log.
    Member,
    /// Was a member and is none, or has started again as another incarnation. Its log is lost.
    Gone,
    /// Was never met.
    Unknown,
}

impl Known {
    /// Remembers who is a member now.
    pub(crate) fn note(&mut self, members: &[Member]) {
        for member in members {
            if self.names.contains_key(&member.id) {
                continue;
            }
            self.names.insert(member.id, member.name.clone());
            self.met.push_back(member.id);
            if KNOWN_MAX < self.met.len()
                && let Some(first) = self.met.pop_front()
            {
                self.names.remove(&first);
            }
        }
    }

    /// What became of `id`, by the members that there are.
    pub(crate) fn fate(&self, id: u32, members: &[Member]) -> Fate {
        match members.iter().find(|member| member.id == id) {
            Some(member) if member.is_alive || !is_succeeded(members, &member.name, id) => {
                Fate::Member
            }
            Some(_) => Fate::Gone,
            None if self.names.contains_key(&id) => Fate::Gone,
            None => Fate::Unknown,
        }
    }
}

fn is_succeeded(members: &[Member], name: &str, id: u32) -> bool {
    let mut namesakes = members.iter().filter(|member| member.name == name);
    namesakes.any(|member| member.id != id && member.is_alive)
}

/// What became of an incarnation that this node never met, by what the others say of it. `everybody`: no live member is
/// missing among them.
///
/// One that started again meets only those that live: of a voter that its own start replaced, it can only hear. And
/// when all who had met that voter have started again themselves, nobody has: then nobody being left who calls it a
/// member is what there is to know.
pub(crate) fn by_hearsay(said: &[Fate], everybody: bool) -> Fate {
    if said.contains(&Fate::Member) {
        Fate::Member
    } else if said.contains(&Fate::Gone) || everybody {
        Fate::Gone
    } else {
        Fate::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u32, name: &str, is_alive: bool) -> Member {
        Member {
            id,
            name: name.to_owned(),
            is_alive,
            is_leaving: false,
            votes: true,
        }
    }

    #[test]
    fn gone_is_who_was_a_member_and_is_none_or_has_started_again() {
        let mut known = Known::default();
        known.note(&[member(1, "a", true), member(2, "b", true)]);
        let now = [
            member(2, "b", false),
            member(3, "c", false),
            member(13, "c", true),
        ];
        known.note(&now);
        let fates = [1, 2, 3, 13, 4].map(|id| known.fate(id, &now));
        let (here, gone) = (Fate::Member, Fate::Gone);
        assert_eq!(fates, [gone, here, gone, here, Fate::Unknown]);
    }

    #[test]
    fn names_that_come_and_go_take_no_more_than_their_room() {
        let mut known = Known::default();
        for id in 0..3 * KNOWN_MAX as u32 {
            known.note(&[member(id, "a", true)]);
        }
        assert_eq!(known.names.len(), KNOWN_MAX);
        let last = 3 * KNOWN_MAX as u32 - 1;
        assert_eq!(known.fate(last, &[]), Fate::Gone);
    }

    #[test]
    fn hearsay_counts_who_is_called_a_member_as_one() {
        use Fate::{Gone, Member, Unknown};
        assert_eq!(by_hearsay(&[Unknown, Gone], false), Gone);
        assert_eq!(by_hearsay(&[Member, Gone], true), Member);
        assert_eq!(by_hearsay(&[Unknown], false), Unknown);
        assert_eq!(by_hearsay(&[Unknown], true), Gone);
        assert_eq!(by_hearsay(&[], true), Gone, "alone");
    }
}
