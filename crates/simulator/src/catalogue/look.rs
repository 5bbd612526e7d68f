//! Who is connected with whom, who believes whom alive, and when a newcomer is ready: as `cluster` has it, in short.

use std::collections::BTreeSet;

use delta_crdt::ReplicaId;

use super::{CatalogueBug, Event, MILLISECOND, Node, SECOND, SimTime, World};

/// Between two looks of a node at the others.
const LOOK_EVERY: SimTime = 100 * MILLISECOND;
/// A connection over which nothing comes is closed after so long.
const CLOSED_AFTER: SimTime = SECOND;
/// And its other end is held for dead.
const DEAD_AFTER: SimTime = 2 * SECOND;
/// A newcomer that has met nobody for so long is alone.
const ALONE_AFTER: SimTime = 5 * SECOND;

impl World {
    /// A node looks at its connections, and at who lives.
    pub(super) fn on_look(&mut self, host: usize) {
        if self.nodes[host].is_none() {
            return;
        }
        self.after(LOOK_EVERY, Event::Look(host));
        let reached: Vec<ReplicaId> = (0..self.nodes.len())
            .filter(|&other| other != host && self.network.connects(host, other))
            .filter_map(|other| Some(self.nodes[other].as_ref()?.me))
            .collect();
        let Some(node) = &self.nodes[host] else {
            return;
        };
        let is_gone = |replica: &ReplicaId| self.host_of(*replica).is_none();
        let closed = |(replica, seen): (&ReplicaId, &SimTime)| {
            let is_silent = !reached.contains(replica) && seen + CLOSED_AFTER < self.now;
            (is_gone(replica) || is_silent).then_some(*replica)
        };
        let closed: Vec<ReplicaId> = node.links.iter().filter_map(closed).collect();
        let opened = reached.iter().filter(|it| !node.links.contains_key(it));
        let opened: Vec<ReplicaId> = opened.copied().collect();

        for &replica in &closed {
            self.on_closed(host, replica);
        }
        for &replica in &opened {
            // Both ends of a connection hear of it, one of them a little later.
            let other = self.host_of(replica);
            self.open(host, replica);
            if let (Some(other), Some(me)) = (other, self.nodes[host].as_ref().map(|it| it.me)) {
                self.open(other, me);
            }
        }
        self.see(host, &reached);
        self.become_ready(host, &reached);
    }

    fn open(&mut self, host: usize, replica: ReplicaId) {
        let now = self.now;
        if let Some(node) = &mut self.nodes[host]
            && node.links.insert(replica, now).is_none()
        {
            self.with(host, |catalogue, now| catalogue.on_connected(now, replica));
        }
    }

    fn on_closed(&mut self, host: usize, replica: ReplicaId) {
        if let Some(node) = &mut self.nodes[host]
            && node.links.remove(&replica).is_some()
        {
            self.with(host, |catalogue, now| {
                catalogue.on_disconnected(now, replica)
            });
        }
    }

    /// Brings a node's view up to date.
    fn see(&mut self, host: usize, reached: &[ReplicaId]) {
        let now = self.now;
        let all: BTreeSet<ReplicaId> = self.nodes.iter().flatten().map(|node| node.me).collect();
        let Some(node) = &mut self.nodes[host] else {
            return;
        };
        for replica in reached {
            if let Some(seen) = node.links.get_mut(replica) {
                *seen = now;
            }
        }
        let mut view = node.view.clone();
        // A process that is gone refuses connections, which is seen at once.
        view.retain(|replica| all.contains(replica));
        let is_silent = |replica: &ReplicaId| {
            let seen = node.links.get(replica);
            !reached.contains(replica) && seen.is_none_or(|seen| seen + DEAD_AFTER < now)
        };
        view.retain(|replica| !is_silent(replica));
        let members = reached.iter().filter(|it| node.links.contains_key(it));
        view.extend(members);
        let is_alone = view.is_empty() && node.started + ALONE_AFTER < now;
        let is_news = view != node.view || (is_alone && !node.is_ready);
        if !is_news || (view.is_empty() && !is_alone && !node.is_ready) {
            return;
        }
        node.met.extend(&view);
        node.view.clone_from(&view);
        let members: Vec<ReplicaId> = view.into_iter().collect();
        self.with(host, |catalogue, now| catalogue.on_members(now, &members));
    }

    fn become_ready(&mut self, host: usize, reached: &[ReplicaId]) {
        let bug = self.bug;
        let Some(node) = self.nodes[host].as_mut().filter(|node| !node.is_ready) else {
            return;
        };
        let has_met = |node: &Node| reached.iter().all(|replica| node.view.contains(replica));
        let is_too_soon = bug == Some(CatalogueBug::ReadyTooSoon) && !node.view.is_empty();
        if is_too_soon || (has_met(node) && node.catalogue.has_caught_up()) {
            node.is_ready = true;
            self.check_newcomer(host);
        }
    }
}
