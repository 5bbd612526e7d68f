//! The books of every write, and the checks against them.

use std::collections::BTreeSet;

use catalogue::{ChangeId, Record, Stamp};
use delta_crdt::ReplicaId;

use super::{NAMES, NAMESPACE, Node, SECOND, SimTime, World, address};

/// After a split, what each side did has come to the other within this time.
const HEALED_AFTER: SimTime = 4 * SECOND;

/// One write.
struct Write {
    name: usize,
    stamp: Stamp,
    /// The writes that had come to its node before.
    seen: BTreeSet<usize>,
    /// Who had it when it was answered. Empty: it was not.
    holders: Vec<ReplicaId>,
    /// Whom the answer named.
    named: Vec<ReplicaId>,
}

/// Every write that there was.
#[derive(Default)]
pub(super) struct Books {
    writes: Vec<Write>,
}

impl Books {
    /// Notes a write of `name`, which `seen` had come to its node before.
    pub(super) fn write(&mut self, name: usize, stamp: Stamp, seen: BTreeSet<usize>) -> usize {
        self.writes.push(Write {
            name,
            stamp,
            seen,
            holders: Vec::new(),
            named: Vec::new(),
        });
        self.writes.len() - 1
    }

    /// Of the writes that came to a node, the one that must stand: of those that no other has seen, the newest.
    fn standing(&self, known: &BTreeSet<usize>) -> Option<usize> {
        let is_seen = |write: usize| {
            known
                .iter()
                .any(|&it| self.writes[it].seen.contains(&write))
        };
        let latest = known.iter().copied().filter(|&write| !is_seen(write));
        latest.max_by_key(|&write| self.writes[write].stamp)
    }
}

impl Node {
    fn record(&self, name: usize) -> Option<&Record> {
        let address = address(name);
        self.catalogue
            .record(address.kind, NAMESPACE, &address.name)
    }

    fn knows(&self, write: &Write) -> bool {
        self.record(write.name)
            .is_some_and(|record| record.knows(write.stamp))
    }
}

impl World {
    /// C1, when a change is answered; and who had it then.
    pub(super) fn on_settled(&mut self, host: usize, change: ChangeId, named: &[ReplicaId]) {
        let Some(answering) = &mut self.nodes[host] else {
            return;
        };
        let Some(place) = answering.waiting.remove(&change) else {
            return;
        };
        let Some(answering) = &self.nodes[host] else {
            return;
        };
        self.report.changes += 1;
        self.report.pending += u64::from(!named.is_empty());
        let write = &self.books.writes[place];
        let nodes = || self.nodes.iter().flatten().filter(|node| node.is_ready);
        let is_member = |node: &&Node| {
            let is_new =
                answering.links.contains_key(&node.me) && !answering.met.contains(&node.me);
            answering.view.contains(&node.me) || is_new
        };
        let lacks = |node: &&Node| !named.contains(&node.me) && !node.knows(write);
        let missing = nodes().filter(is_member).find(lacks).map(|node| node.me);
        let holders = nodes().filter(|node| node.knows(write));
        let holders: Vec<ReplicaId> = holders.map(|node| node.me).collect();
        if let Some(missing) = missing {
            let story = format!("node {host} answers a change that {missing:?} does not have");
            self.violate("C1", story);
        }
        let write = &mut self.books.writes[place];
        write.holders = holders;
        write.named = named.to_vec();
    }

    /// C2 and C3 of one record of one node.
    pub(super) fn check_stands(&mut self, host: usize, name: usize) {
        let Some(node) = &self.nodes[host] else {
            return;
        };
        let stands = node.record(name).map(Record::stamp);
        let must_stand = self.books.standing(&node.known[name]);
        let must_stand = must_stand.map(|write| self.books.writes[write].stamp);
        if stands != must_stand {
            let story = format!(
                "on node {host} the write {stands:?} stands of {name}, where {must_stand:?} must"
            );
            self.violate("C3", story);
        }
    }

    /// C4: what was answered, and is known to a ready node that the newcomer reaches.
    pub(super) fn check_newcomer(&mut self, host: usize) {
        if self.network.is_split() || self.now < self.last_split + HEALED_AFTER {
            return;
        }
        let Some(newcomer) = &self.nodes[host] else {
            return;
        };
        let others = || self.nodes.iter().flatten().filter(|node| node.is_ready);
        let is_lost = |write: &&Write| {
            let had_it = |node: &Node| write.holders.contains(&node.me);
            let is_named = write.named.contains(&newcomer.me);
            others().any(had_it) && !is_named && !newcomer.knows(write)
        };
        if let Some(write) = self.books.writes.iter().find(is_lost) {
            let (name, stamp) = (write.name, write.stamp);
            let story = format!("node {host} is ready without the write {stamp:?} of {name}");
            self.violate("C4", story);
        }
    }

    /// C2 and C5, at the end.
    pub(super) fn check_converged(&mut self) {
        let unready = |node: &Option<Node>| node.as_ref().is_none_or(|node| !node.is_ready);
        if let Some(host) = self.nodes.iter().position(unready) {
            self.violate("C5", format!("node {host} is not ready"));
        }
        for name in 0..NAMES {
            let stand = self.nodes.iter().flatten().map(|node| {
                let record = node.record(name);
                record.map(|record| (record.content().cloned(), record.stamp()))
            });
            let stand: Vec<_> = stand.collect();
            if stand.iter().any(|it| *it != stand[0]) {
                self.violate("C5", format!("nodes differ in {name}: {stand:?}"));
            }
        }
        let is_lost = |write: &&Write| {
            let nodes = || self.nodes.iter().flatten();
            let lives = |replica: &ReplicaId| nodes().any(|node| node.me == *replica);
            write.holders.iter().any(lives) && !nodes().all(|node| node.knows(write))
        };
        let lost = self.books.writes.iter().find(is_lost);
        if let Some((name, stamp)) = lost.map(|write| (write.name, write.stamp)) {
            self.violate(
                "C2",
                format!("the answered write {stamp:?} of {name} is lost"),
            );
        }
    }
}
