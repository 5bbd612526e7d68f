//! Catalogues joined by a network without faults: everything said is heard, in order, at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use catalogue::{
    Address, Catalogue, Change, ChangeId, Content, Effect, KeyLimit, Kind, Message, Place, Record,
    Urgency,
};
use delta_crdt::ReplicaId;
use quota::{Algorithm, BootNanos, KeyHasher, Limit, Nanos, Now, UnixNanos};

pub(crate) const MILLISECOND: Nanos = Nanos::from_millis(1);
const START: u64 = 1_800_000_000_000_000_000;

pub(crate) fn id(node: u32) -> ReplicaId {
    ReplicaId(node)
}

pub(crate) fn content(units: u32) -> Content {
    let limit = Limit::new(Algorithm::Gcra, units, Nanos::from_secs(60)).unwrap();
    Content::KeyLimit(KeyLimit {
        limit,
        as_token_bucket: false,
    })
}

pub(crate) fn key(name: &str) -> Address {
    Address {
        kind: Kind::KeyLimit,
        namespace: "default".into(),
        name: name.into(),
    }
}

pub(crate) struct Net {
    pub(crate) nodes: BTreeMap<ReplicaId, Catalogue>,
    /// Of each node, how far its wall clock is off.
    pub(crate) offset: BTreeMap<ReplicaId, i64>,
    pub(crate) cut: BTreeSet<(ReplicaId, ReplicaId)>,
    /// The next such message, from whom, is lost.
    pub(crate) loses: Option<fn(ReplicaId, &Message) -> bool>,
    pub(crate) settled: BTreeMap<(ReplicaId, ChangeId), Vec<ReplicaId>>,
    /// What each node was told to keep.
    pub(crate) disks: BTreeMap<ReplicaId, BTreeMap<Place, (Address, Record)>>,
    under_way: VecDeque<(ReplicaId, ReplicaId, Message)>,
    time: u64,
    /// Bytes of names in the largest piece, and of those under way at once.
    pub(crate) largest: usize,
    pub(crate) most_under_way: usize,
    pub(crate) pieces: usize,
}

impl Net {
    /// That many nodes which know each other.
    pub(crate) fn of(nodes: u32) -> Self {
        let mut net = Self {
            nodes: BTreeMap::new(),
            offset: BTreeMap::new(),
            cut: BTreeSet::new(),
            loses: None,
            settled: BTreeMap::new(),
            disks: BTreeMap::new(),
            under_way: VecDeque::new(),
            time: 0,
            largest: 0,
            most_under_way: 0,
            pieces: 0,
        };
        for node in 1..=nodes {
            net.join(id(node));
        }
        net
    }

    /// A node comes, is connected with all, and becomes a member.
    pub(crate) fn join(&mut self, node: ReplicaId) {
        self.connect(node);
        self.see_members();
        self.run();
    }

    /// A node comes, and is connected with all.
    pub(crate) fn connect(&mut self, node: ReplicaId) {
        self.connect_with(node, BTreeMap::new());
    }

    /// A node comes with what is on its disk, and is connected with all.
    pub(crate) fn connect_with(
        &mut self,
        node: ReplicaId,
        disk: BTreeMap<Place, (Address, Record)>,
    ) {
        let others: Vec<ReplicaId> = self.nodes.keys().copied().collect();
        let fresh = Catalogue::new(node, KeyHasher::new([7; 16]));
        self.nodes.insert(node, fresh);
        self.disks.insert(node, disk.clone());
        self.with(node, |catalogue, now| {
            for (address, record) in disk.into_values() {
                catalogue.load(now, address, record);
            }
        });
        for other in others {
            self.link(node, other);
        }
    }

    pub(crate) fn link(&mut self, a: ReplicaId, b: ReplicaId) {
        for (one, other) in [(a, b), (b, a)] {
            self.cut.remove(&(one, other));
            self.with(one, |catalogue, now| catalogue.on_connected(now, other));
        }
    }

    pub(crate) fn unlink(&mut self, a: ReplicaId, b: ReplicaId) {
        for (one, other) in [(a, b), (b, a)] {
            self.cut.insert((one, other));
            self.with(one, |catalogue, now| catalogue.on_disconnected(now, other));
        }
    }

    /// Everybody believes everybody alive whom nobody has cut off.
    pub(crate) fn see_members(&mut self) {
        let all: Vec<ReplicaId> = self.nodes.keys().copied().collect();
        for &node in &all {
            let mut seen = all.clone();
            seen.retain(|other| !self.cut.contains(&(node, *other)));
            self.with(node, |catalogue, now| catalogue.on_members(now, &seen));
        }
    }

    pub(crate) fn now(&self, node: ReplicaId) -> Now {
        let offset = self.offset.get(&node).copied().unwrap_or(0);
        Now {
            boot: BootNanos::new(self.time),
            wall: UnixNanos::new((START + self.time).saturating_add_signed(offset)),
        }
    }

    pub(crate) fn with<R>(
        &mut self,
        node: ReplicaId,
        act: impl FnOnce(&mut Catalogue, Now) -> R,
    ) -> R {
        let now = self.now(node);
        let result = act(self.nodes.get_mut(&node).unwrap(), now);
        while let Some(effect) = self.nodes.get_mut(&node).unwrap().next_effect() {
            match effect {
                Effect::Keep { place } => {
                    let kept = self.nodes[&node].record_at(place).cloned();
                    let disk = self.disks.entry(node).or_default();
                    match kept {
                        Some(kept) => disk.insert(place, kept),
                        None => disk.remove(&place),
                    };
                }
                Effect::Send { to, message } => self.under_way.push_back((node, to, message)),
                Effect::Settled {
                    change,
                    unconfirmed,
                } => {
                    self.settled.insert((node, change), unconfirmed);
                }
            }
        }
        result
    }

    pub(crate) fn set(&mut self, node: ReplicaId, name: &str, units: u32) -> Change {
        let name: Arc<str> = name.into();
        self.with(node, |catalogue, now| {
            catalogue.set(now, "default".into(), name, content(units))
        })
        .unwrap()
    }

    pub(crate) fn remove(&mut self, node: ReplicaId, name: &str) -> Option<Change> {
        self.with(node, |catalogue, now| catalogue.remove(now, key(name)))
            .unwrap()
    }

    pub(crate) fn units(&self, node: ReplicaId, name: &str) -> Option<u32> {
        let content = self.nodes[&node].get(Kind::KeyLimit, "default", name)?;
        Some(content.key_limit()?.limit.units())
    }

    /// Delivers all that is under way, and what comes of it.
    pub(crate) fn run(&mut self) {
        while let Some((from, to, message)) = self.under_way.pop_front() {
            if self.cut.contains(&(from, to)) || !self.nodes.contains_key(&to) {
                continue;
            }
            if self.loses.is_some_and(|is_lost| is_lost(from, &message)) {
                self.loses = None;
                continue;
            }
            self.measure(&message);
            self.with(to, |catalogue, now| {
                catalogue.on_message(now, from, message)
            });
        }
    }

    fn measure(&mut self, message: &Message) {
        let bytes = |message: &Message| match message {
            Message::Piece {
                urgency: Urgency::Repair,
                records,
                ..
            } => records.iter().map(|(address, _)| address.name.len()).sum(),
            _ => 0,
        };
        self.pieces += usize::from(matches!(message, Message::Piece { .. }));
        self.largest = self.largest.max(bytes(message));
        let others = self.under_way.iter().map(|(_, _, message)| bytes(message));
        self.most_under_way = self
            .most_under_way
            .max(bytes(message) + others.sum::<usize>());
    }

    /// Lets time pass in ticks of 50 ms, with everything delivered in between.
    pub(crate) fn pass(&mut self, span: Nanos) {
        let tick = MILLISECOND.times(50).get();
        for _ in 0..span.get().div_ceil(tick) {
            self.time += tick;
            let nodes: Vec<ReplicaId> = self.nodes.keys().copied().collect();
            for node in nodes {
                self.with(node, Catalogue::on_tick);
            }
            self.run();
        }
    }

    /// Lets time pass in which nothing is done.
    pub(crate) fn skip(&mut self, span: Nanos) {
        self.time += span.get();
    }
}
