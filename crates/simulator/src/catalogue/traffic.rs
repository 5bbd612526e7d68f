//! What is changed, and what nodes say to each other of it.

use std::collections::BTreeSet;

use catalogue::{Address, Content, Kind, Message, Record, Seen, Stamp, Urgency};
use delta_crdt::ReplicaId;
use quota::{BootNanos, Now, UnixNanos};
use rand::Rng;

use super::{
    API_KEYS, CHANGES_PER_SECOND, CatalogueBug, EPOCH, Event, FIRST_API_KEY, KEY_LIMITS,
    MILLISECOND, MONTHS, Node, OFTEN, PLAYED, SEATS, SECOND, TENANTS, World, address, content,
    kind, place,
};

impl World {
    pub(super) fn send(&mut self, from: usize, to: ReplicaId, mut message: Message) {
        if self.bug == Some(CatalogueBug::NeverAsks) && matches!(message, Message::Ask { .. }) {
            let Message::Ask { exchange, .. } = message else {
                return;
            };
            // Whoever waits for the answer gets it.
            self.with(from, |catalogue, now| {
                catalogue.on_message(now, to, Message::Done { exchange });
            });
            return;
        }
        let (Some(target), Some(node)) = (self.host_of(to), self.nodes[from].as_ref()) else {
            return;
        };
        let mut writes = Vec::new();
        if let Message::Piece { records, .. } = &mut message {
            if self.bug == Some(CatalogueBug::RemovalsUntold) {
                records.retain(|(_, record)| record.content().is_some());
            }
            let known = |(address, _): &(Address, Record)| node.known[place(address)].clone();
            writes = records.iter().map(known).collect();
        }
        let me = node.me;
        for at in self
            .network
            .deliveries(&mut self.rng, self.now, from, target)
        {
            let event = Event::Deliver {
                from: me,
                to: target,
                message: message.clone(),
                writes: writes.clone(),
            };
            self.at(at, event);
        }
    }

    pub(super) fn on_delivery(
        &mut self,
        from: ReplicaId,
        to: usize,
        mut message: Message,
        writes: &[BTreeSet<usize>],
    ) {
        // A connection that is closed delivers nothing.
        let is_linked = |node: &Node| node.links.contains_key(&from);
        if !self.nodes[to].as_ref().is_some_and(is_linked) {
            return;
        }
        let mut touched = Vec::new();
        if let Message::Piece { records, .. } = &mut message {
            for ((address, record), writes) in records.iter_mut().zip(writes) {
                let name = place(address);
                touched.push(name);
                if let Some(node) = &mut self.nodes[to] {
                    if let Some(bug) = self.bug {
                        node.mistake(bug, name, record, writes);
                    }
                    node.known[name].extend(writes);
                }
            }
            if self.bug == Some(CatalogueBug::ConfirmsUnread) && self.rng.random_bool(0.05) {
                // The books take it for read: that it is not is the bug.
                records.clear();
            }
        }
        self.with(to, |catalogue, now| {
            catalogue.on_message(now, from, message)
        });
        for name in touched {
            self.check_stands(to, name);
        }
    }

    /// What is changed next.
    fn pick(&mut self) -> usize {
        let made = self.books.api_keys();
        match self.rng.random_range(0..4) {
            // Most limits are changed so rarely that nothing hides what was missed, and so are most API keys.
            0 | 1 => match self.rng.random_bool(0.95) {
                true => self.rng.random_range(0..OFTEN),
                false => self.rng.random_range(OFTEN..KEY_LIMITS),
            },
            2 => KEY_LIMITS + self.rng.random_range(0..TENANTS + SEATS + MONTHS),
            _ if made == 0 || (made < API_KEYS && self.rng.random_bool(0.15)) => {
                FIRST_API_KEY + made
            }
            _ => match self.rng.random_bool(0.9) {
                true => FIRST_API_KEY + self.rng.random_range(made.saturating_sub(OFTEN)..made),
                false => FIRST_API_KEY + self.rng.random_range(0..made),
            },
        }
    }

    /// What somebody makes of it at this node, and the writes that whoever does had seen. `None`: nothing.
    fn edit(&mut self, host: usize, name: usize) -> Option<(Option<Content>, BTreeSet<usize>)> {
        let edited = match kind(name) {
            Kind::KeyLimit => None,
            Kind::Usage => Some(self.edit_used(host, name)?),
            _ => Some(self.edit_rights(host, name)?),
        };
        if let Some((content, seen)) = edited {
            return Some((Some(content), seen));
        }
        let units = self.rng.random_range(1..1_000);
        let is_removal = self.rng.random_bool(0.25);
        let seen = self.nodes[host].as_ref()?.known[name].clone();
        Some(((!is_removal).then(|| content(units)), seen))
    }

    /// Somebody changes something at a node that is ready.
    pub(super) fn on_change(&mut self) {
        if PLAYED < self.now {
            return;
        }
        self.after(SECOND / CHANGES_PER_SECOND, Event::Change);
        let host = self.rng.random_range(0..self.nodes.len());
        let name = self.pick();
        if !self.nodes[host].as_ref().is_some_and(|node| node.is_ready) {
            return;
        }
        let Some((content, seen)) = self.edit(host, name) else {
            return;
        };
        let Some(node) = &mut self.nodes[host] else {
            return;
        };
        if self.bug == Some(CatalogueBug::WallClockAlone) {
            let millis = (EPOCH + self.now + node.ahead) / MILLISECOND;
            let Some(stamp) = Stamp::new(millis << 16, node.me) else {
                return;
            };
            let write = self.books.write(name, stamp, seen, content.as_ref());
            node.known[name].insert(write);
            let record = Record::new(content, stamp, Seen::default());
            let piece = Message::Piece {
                number: 0,
                urgency: Urgency::Change,
                records: vec![(address(name), record)],
            };
            let me = node.me;
            self.with(host, |catalogue, now| catalogue.on_message(now, me, piece));
            self.check_stands(host, name);
            return;
        }
        let Address {
            namespace,
            name: key,
            ..
        } = address(name);
        // Its effects come after it is in the books.
        let reading = Now {
            boot: BootNanos::new(self.now),
            wall: UnixNanos::new(EPOCH + self.now + node.ahead),
        };
        let changed = match content.clone() {
            None => node.catalogue.remove(reading, address(name)),
            Some(content) => {
                let changed = node.catalogue.set(reading, namespace, key, content);
                changed.map(Some)
            }
        };
        let Ok(Some(change)) = changed else {
            return;
        };
        let write = self.books.write(name, change.stamp, seen, content.as_ref());
        node.known[name].insert(write);
        node.waiting.insert(change.id, write);
        if self.bug == Some(CatalogueBug::AnswersAtOnce) {
            self.on_settled(host, change.id, &[]);
        }
        self.with(host, |_, _| ());
        self.check_stands(host, name);
    }
}
