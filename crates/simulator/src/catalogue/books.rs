//! The books of every write, and the checks against them.

use std::collections::BTreeSet;

use accounts::DayTally;
use catalogue::{ChangeId, Content, Record, Stamp};
use delta_crdt::ReplicaId;

use super::rights::{Granted, called_by};
use super::{FIRST_API_KEY, NAMES, Node, SECOND, SimTime, World, address, used};

/// After a split, what each side did has come to the other within this time.
const HEALED_AFTER: SimTime = 4 * SECOND;

/// One write.
struct Write {
    name: usize,
    stamp: Stamp,
    /// The writes that had come to its node before its author read there.
    seen: BTreeSet<usize>,
    /// What it grants by itself. `None`: it is not about rights.
    granted: Option<Granted>,
    /// The write that gave what it is about the name that it has. `None`: it has none.
    called_by: Option<usize>,
    /// What it says was used. `None`: it is not about that.
    used: Option<DayTally>,
    /// Who had it when it was answered. Empty: it was not.
    holders: Vec<ReplicaId>,
    /// Whom the answer named.
    named: Vec<ReplicaId>,
}

/// Every write that there was.
#[derive(Default)]
pub(super) struct Books {
    writes: Vec<Write>,
    /// The names that were ever written.
    made: BTreeSet<usize>,
}

impl Books {
    /// Notes a write of `name`, whose author had seen `seen`.
    pub(super) fn write(
        &mut self,
        name: usize,
        stamp: Stamp,
        seen: BTreeSet<usize>,
        content: Option<&Content>,
    ) -> usize {
        self.made.insert(name);
        self.writes.push(Write {
            name,
            stamp,
            seen,
            granted: content.and_then(Granted::of),
            called_by: content.and_then(called_by),
            used: content.and_then(used::told),
            holders: Vec::new(),
            named: Vec::new(),
        });
        self.writes.len() - 1
    }

    /// The number of the write that comes next.
    pub(super) const fn next(&self) -> usize {
        self.writes.len()
    }

    /// Whether this was ever written.
    pub(super) fn is_made(&self, name: usize) -> bool {
        self.made.contains(&name)
    }

    /// How many API keys were made.
    pub(super) fn api_keys(&self) -> usize {
        self.made.range(FIRST_API_KEY..).count()
    }

    /// Of the writes that came to a node, those that no other of them has seen.
    fn standing(&self, known: &BTreeSet<usize>) -> Vec<&Write> {
        let is_seen = |write: &usize| known.iter().any(|&it| self.writes[it].seen.contains(write));
        let standing = known.iter().filter(|&write| !is_seen(write));
        standing.map(|&write| &self.writes[write]).collect()
    }

    /// C8 of what a node says, to which these writes have come.
    fn miscounted(
        &self,
        content: &Content,
        known: &BTreeSet<usize>,
    ) -> Option<(&'static str, String)> {
        let told = used::told(content)?;
        let each = known.iter().filter_map(|&write| self.writes[write].used);
        let largest = each.reduce(DayTally::max)?;
        (told != largest).then(|| ("C8", format!("{told:?}, where {largest:?} was used")))
    }

    /// C3 and C6 of what a node says of rights, where these writes stand.
    fn misstated(&self, content: &Content, standing: &[&Write]) -> Option<(&'static str, String)> {
        let granted = Granted::of(content)?;
        let each = || standing.iter().filter_map(|write| write.granted);
        if let Some(less) = each().find(|less| granted.exceeds(*less)) {
            let story =
                format!("{granted:?}, where a write that no other has seen grants {less:?}");
            return Some(("C6", story));
        }
        let together = each().reduce(Granted::least)?;
        if together.exceeds(granted) {
            let story = format!("{granted:?}, where all that stand grant {together:?}");
            return Some(("C3", story));
        }
        let by = called_by(content)?;
        let mut others = standing.iter().filter_map(|write| write.called_by);
        let later = others.find(|&other| self.writes[other].seen.contains(&by))?;
        Some((
            "C3",
            format!("the name {by}, where {later} was its name after that"),
        ))
    }
}

impl Write {
    /// Whether its API key is revoked by what it says.
    fn revokes(&self) -> bool {
        FIRST_API_KEY <= self.name && self.granted.is_some_and(Granted::is_revoked)
    }
}

impl Node {
    pub(super) fn record(&self, name: usize) -> Option<&Record> {
        let address = address(name);
        self.catalogue
            .record(address.kind, &address.namespace, &address.name)
    }

    /// Whether it says that this API key was revoked.
    fn has_revoked(&self, name: usize) -> bool {
        let content = self.record(name).and_then(Record::content);
        let key = content.and_then(Content::api_key);
        key.is_some_and(|key| key.revoked_at.is_some())
    }

    fn knows(&self, write: &Write) -> bool {
        self.record(write.name)
            .is_some_and(|record| record.knows(write.stamp))
    }
}

impl World {
    /// C1 and C7, when a change is answered; and who had it then.
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
        self.report.revocations += u64::from(write.revokes());
        let members = || nodes().filter(is_member);
        let mut unnamed = members().filter(|node| !named.contains(&node.me));
        let missing = unnamed.clone().find(|node| !node.knows(write));
        let missing = missing.map(|node| node.me);
        let serves = |node: &&Node| write.revokes() && !node.has_revoked(write.name);
        let serving = unnamed.find(serves).map(|node| node.me);
        let holders = nodes().filter(|node| node.knows(write));
        let holders: Vec<ReplicaId> = holders.map(|node| node.me).collect();
        if let Some(missing) = missing {
            let story = format!("node {host} answers a change that {missing:?} does not have");
            self.violate("C1", story);
        }
        if let Some(serving) = serving {
            let story = format!("node {host} answers a revocation, and {serving:?} has it valid");
            self.violate("C7", story);
        }
        let write = &mut self.books.writes[place];
        write.holders = holders;
        write.named = named.to_vec();
    }

    /// C2 and C3, of rights C6 and C7, and C8, of one record of one node.
    pub(super) fn check_stands(&mut self, host: usize, name: usize) {
        let Some(node) = &self.nodes[host] else {
            return;
        };
        let record = node.record(name);
        let stands = record.map(Record::stamp);
        let standing = self.books.standing(&node.known[name]);
        let must_stand = standing.iter().map(|write| write.stamp).max();
        let content = record.and_then(Record::content);
        let misstated = content.and_then(|content| {
            let miscounted = self.books.miscounted(content, &node.known[name]);
            miscounted.or_else(|| self.books.misstated(content, &standing))
        });
        if stands != must_stand {
            let story = format!(
                "on node {host} the write {stands:?} stands of {name}, where {must_stand:?} must"
            );
            self.violate("C3", story);
        }
        if let Some((promise, story)) = misstated {
            self.violate(promise, format!("node {host} says of {name}: {story}"));
        }
        self.check_revoked(host, name);
    }

    /// C7: what a node has said is revoked it says for good.
    fn check_revoked(&mut self, host: usize, name: usize) {
        let Some(node) = &mut self.nodes[host] else {
            return;
        };
        if node.has_revoked(name) {
            node.revoked.insert(name);
        } else if node.revoked.contains(&name) {
            let story = format!("on node {host} the API key {name} was revoked, and is valid");
            self.violate("C7", story);
        }
    }

    /// C4 and C7: what was answered, and is known to a ready node that the newcomer reaches.
    pub(super) fn check_newcomer(&mut self, host: usize) {
        if self.network.is_split() || self.now < self.last_split + HEALED_AFTER {
            return;
        }
        let Some(newcomer) = &self.nodes[host] else {
            return;
        };
        let others = || self.nodes.iter().flatten().filter(|node| node.is_ready);
        let is_due = |write: &&Write| {
            let had_it = |node: &Node| write.holders.contains(&node.me);
            others().any(had_it) && !write.named.contains(&newcomer.me)
        };
        let mut due = self.books.writes.iter().filter(is_due);
        let lost = due.clone().find(|write| !newcomer.knows(write));
        let lost = lost.map(|write| (write.name, write.stamp));
        let valid = due.find(|write| write.revokes() && !newcomer.has_revoked(write.name));
        let valid = valid.map(|write| write.name);
        if let Some((name, stamp)) = lost {
            let story = format!("node {host} is ready without the write {stamp:?} of {name}");
            self.violate("C4", story);
        }
        if let Some(name) = valid {
            let story = format!("node {host} is ready, and has the API key {name} not revoked");
            self.violate("C7", story);
        }
    }

    /// C2, C5 and C7, at the end.
    pub(super) fn check_converged(&mut self) {
        let unready = |node: &Option<Node>| node.as_ref().is_none_or(|node| !node.is_ready);
        if let Some(host) = self.nodes.iter().position(unready) {
            self.violate("C5", format!("node {host} is not ready"));
        }
        for name in 0..NAMES {
            let stand = self.nodes.iter().flatten().map(|node| {
                let record = node.record(name);
                // All that it holds, of which what it says is made.
                record.map(|record| record.writes().collect::<Vec<_>>())
            });
            let stand: Vec<_> = stand.collect();
            if stand.iter().any(|it| *it != stand[0]) {
                self.violate("C5", format!("nodes differ in {name}: {stand:?}"));
            }
        }
        let nodes = || self.nodes.iter().flatten();
        let is_kept = |write: &&Write| {
            let lives = |replica: &ReplicaId| nodes().any(|node| node.me == *replica);
            write.holders.iter().any(lives)
        };
        let mut kept = self.books.writes.iter().filter(is_kept);
        let is_lost = |write: &&Write| !nodes().all(|node| node.knows(write));
        let lost = kept.clone().find(is_lost);
        let lost = lost.map(|write| (write.name, write.stamp));
        let is_valid =
            |write: &&Write| write.revokes() && !nodes().all(|node| node.has_revoked(write.name));
        let valid = kept.find(is_valid).map(|write| write.name);
        if let Some((name, stamp)) = lost {
            let story = format!("the answered write {stamp:?} of {name} is lost");
            self.violate("C2", story);
        }
        if let Some(name) = valid {
            let story = format!("the API key {name} is not revoked everywhere in the end");
            self.violate("C7", story);
        }
    }
}
