//! How this node's knowledge of who counts changes.

use quota::BootNanos;

use super::{Membership, Message};
use crate::council::{Chair, Council, CouncilId};
use crate::roster::{Member, Standing};

impl Membership {
    /// Whether a member that belongs counts towards a majority.
    pub(super) fn counts(&self, member: &Member) -> bool {
        let council = self.council.as_ref();
        council.is_none_or(|council| council.names.contains(&member.name))
    }

    /// Whether whoever had that name has left, or was forgotten.
    pub(super) fn is_gone(&self, name: &str) -> bool {
        self.roster
            .get(name)
            .is_some_and(|member| !member.belongs())
    }

    /// Goes by another composition if it is a later one.
    pub(super) fn adopt(&mut self, council: Council) {
        let is_later = self.settings.quorum && self.view.council() < council.id;
        if !is_later {
            return;
        }
        self.council = Some(council);
        if let Some(chair) = &mut self.chair {
            chair.unsettle();
        }
        self.refresh_view();
    }

    /// Changes who counts, if that is this node's to do and a majority has long gone by what is.
    pub(super) fn step_council(&mut self, now: BootNanos) {
        let Some(mut chair) = self.chair.take() else {
            return;
        };
        let span = self.settings.lease + self.settings.drift;
        let agrees = self.settings.quorum && self.is_agreed(now);
        if chair.is_steady(now, agrees, span)
            && let Some(next) = self.next_council(now, &chair)
        {
            chair.unsettle();
            self.adopt(next.clone());
            let peers: Vec<_> = self.peers.keys().copied().collect();
            for to in peers {
                self.send(to, Message::Council(next.clone()));
            }
        }
        self.chair = Some(chair);
    }

    /// Whether a majority says that it goes by the composition that this node goes by. Before the first one, everybody
    /// in view has to know of such a thing.
    fn is_agreed(&self, now: BootNanos) -> bool {
        let known = self.view.council();
        let agrees = |replica| {
            let said = self.peers.get(&replica).and_then(|peer| peer.said);
            let fresh = said.filter(|said| now - said.at < self.settings.suspect_after);
            replica == self.me.replica || fresh.is_some_and(|said| said.council == Some(known))
        };
        let others = || self.view.others(self.me.replica);
        let is_first = known == CouncilId::NONE;
        self.view.is_majority(agrees) && (!is_first || others().all(agrees))
    }

    fn next_council(&self, now: BootNanos, chair: &Chair) -> Option<Council> {
        let all = || {
            let members = self.roster.iter().filter(|member| member.belongs());
            Council {
                id: CouncilId::NONE,
                names: members.map(|member| member.name.clone()).collect(),
            }
        };
        let council = self.council.clone().unwrap_or_else(all);
        let is_ready = |member: &&Member| {
            let peer = self.peers.get(&member.replica);
            let said = peer.filter(|peer| peer.status.in_view());
            let said = said.and_then(|peer| peer.said);
            member.standing == Standing::Joined
                && !council.names.contains(&member.name)
                && said.is_some_and(|said| {
                    let is_fresh = now - said.at < self.settings.suspect_after;
                    is_fresh && said.recalled && said.council == Some(council.id)
                })
        };
        let newcomer = self.roster.iter().find(is_ready);
        let newcomer = newcomer.map(|member| member.name.as_str());
        chair.next(&council, |name| self.is_gone(name), newcomer)
    }
}
