//! What the others say: who is gone for good, and whether the group decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::{PROBE_PATIENCE, Steward, probe};
use crate::engine::{Seat, Voting};
use crate::known::{Fate, by_hearsay};
use crate::node::Node;
use crate::peers::{CallError, Member, Peers};
use crate::roster::{Roster, is_doomed};
use crate::wire::{self, FATES_MAX, Kind, Reply, Request};

/// How often a node that does not lead asks whether its group decides: six times before it says that it does not.
const ASK_DECIDED: Duration = Duration::from_millis(500);

/// A decision this young shows that whoever saw it reaches the leader: it asks twice a second, and a question may
/// take half of one.
const DECIDED_LATELY: Duration = Duration::from_millis(1_500);

/// What was heard of the group.
#[derive(Clone, Copy)]
enum Heard {
    /// The leader says that a majority followed it then.
    Leader(Instant),
    /// No leader says so. Of the others, who saw it decide last, and when.
    Others(Option<(u32, Instant)>),
}

impl Heard {
    /// By whom the leader is reached. `None`: directly, or by nobody.
    fn detour(self) -> Option<u32> {
        let Self::Others(latest) = self else {
            return None;
        };
        let lately = latest.filter(|(_, at)| at.elapsed() < DECIDED_LATELY);
        lately.map(|(id, _)| id)
    }
}

impl<P: Peers> Steward<P> {
    /// Whether most voters are gone for good. Of those that this node never met, the others are asked.
    pub(super) async fn is_doomed(&self, voting: &Voting) -> bool {
        let voters: BTreeSet<u32> = voting.configs.iter().flatten().copied().collect();
        let voters: Vec<u32> = voters.into_iter().collect();
        let mut fates: BTreeMap<u32, Fate> = {
            let told = self.node.fates(&voters);
            voters.into_iter().zip(told).collect()
        };
        let may_be = is_doomed(&voting.configs, |id| fates.get(&id) != Some(&Fate::Member));
        let unknown: Vec<u32> = fates
            .iter()
            .filter(|(_, fate)| **fate == Fate::Unknown)
            .map(|(&id, _)| id)
            .collect();
        if may_be && !unknown.is_empty() {
            fates.extend(self.hearsay(unknown).await);
        }
        is_doomed(&voting.configs, |id| fates.get(&id) == Some(&Fate::Gone))
    }

    /// What all live members together know of `ids`.
    async fn hearsay(&self, mut ids: Vec<u32>) -> Vec<(u32, Fate)> {
        ids.truncate(FATES_MAX);
        let others = self.node.live_others();
        let asked = others.len();
        let mut answers: FuturesUnordered<_> = others
            .into_iter()
            .map(|other| ask(&self.node, other, Kind::Fates, wire::encode(&ids)))
            .collect();
        let mut said: Vec<Vec<Fate>> = Vec::new();
        let mut answered = 0;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(body)) => {
                    said.extend(
                        wire::decode::<Vec<Fate>>(&body).filter(|it| it.len() == ids.len()),
                    );
                    answered += 1;
                }
                // It knows of no voter.
                Err(NotRunning) => answered += 1,
                Ok(None) => {}
            }
        }
        let fate = |place: usize| {
            let said: Vec<Fate> = said.iter().map(|said| said[place]).collect();
            by_hearsay(&said, answered == asked)
        };
        let fates = (0..ids.len()).map(fate);
        ids.iter().copied().zip(fates).collect()
    }

    /// Finds out whether the group decides, by whom its leader is reached, and whether this node has its vote.
    pub(super) async fn hear(&mut self, seat: &Seat, voting: &Voting, members: &[Member]) {
        let now = Instant::now();
        if voting.leads {
            self.node.saw_decide(now);
            self.node.detour.send_replace(None);
        } else if ASK_DECIDED <= now - self.asked_decided || self.node.decided().is_none() {
            self.asked_decided = now;
            let heard = self.ask_decided(seat, voting.leader).await;
            if self.is_seated(seat) {
                match heard {
                    Heard::Leader(at) => self.node.saw_decide(at),
                    Heard::Others(latest) => {
                        latest
                            .into_iter()
                            .for_each(|(_, at)| self.node.note_decided(at));
                    }
                }
                self.node.detour.send_replace(heard.detour());
            }
        }
        let everybody = Roster {
            configs: &voting.configs,
            nodes: &voting.nodes,
            members,
            caught_up: &voting.nodes,
            running: &voting.nodes,
        };
        if everybody.is_settled(self.node.config.me) {
            self.node.note_settled();
        }
    }

    /// Asks the leader whether it leads; if there is none that does, everybody, of whom the one who saw the latest decision
    /// reaches the leader, wherever that is.
    async fn ask_decided(&self, seat: &Seat, leader: Option<u32>) -> Heard {
        let asked_at = Instant::now();
        if let Some(leader) = leader.filter(|leader| *leader != self.node.config.me)
            && let Ok(Some(standing)) = probe(&self.node, leader).await
            && standing.leads
            && standing.group == Some(seat.group())
        {
            return Heard::Leader(asked_at);
        }
        let mut others = self.node.live_others();
        others.retain(|id| Some(*id) != leader);
        Heard::Others(self.latest_decision(others).await)
    }

    /// Who of `whom` saw the latest decision, and when that was.
    async fn latest_decision(&self, whom: BTreeSet<u32>) -> Option<(u32, Instant)> {
        let asked_at = Instant::now();
        let asked = whom.into_iter().map(|id| async move {
            let answer = ask(&self.node, id, Kind::Decided, Bytes::new()).await;
            (id, answer)
        });
        let mut answers: FuturesUnordered<_> = asked.collect();
        let mut latest: Option<(u32, Instant)> = None;
        while let Some((id, answer)) = answers.next().await {
            let Ok(Some(body)) = answer else { continue };
            let since = wire::decode::<Option<u64>>(&body).flatten();
            let at = since.and_then(|since| asked_at.checked_sub(Duration::from_millis(since)));
            let is_later = |at: &Instant| latest.is_none_or(|(_, known)| known < *at);
            if let Some(at) = at.filter(is_later) {
                latest = Some((id, at));
            }
        }
        latest
    }

    /// Whether the answers to what was asked for `seat` still concern this node.
    fn is_seated(&self, seat: &Seat) -> bool {
        let now = self.node.seat();
        now.is_some_and(|now| now.group() == seat.group())
    }
}

/// The member does not run the strategy.
pub(super) struct NotRunning;

/// One question to another node. `None`: it did not answer in time, or has no answer.
pub(super) async fn ask<P: Peers>(
    node: &Node<P>,
    id: u32,
    kind: Kind,
    body: Bytes,
) -> Result<Option<Bytes>, NotRunning> {
    let request = Request {
        group: node.seat().map(|seat| seat.group()),
        kind,
        body,
    };
    let call = node.peers.call(id, request.encode(), PROBE_PATIENCE);
    match tokio::time::timeout(PROBE_PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(match Reply::decode(&answer) {
            Some(Reply::Done(body)) => Some(body),
            _ => None,
        }),
        Ok(Err(CallError::NotRunning)) => Err(NotRunning),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}
