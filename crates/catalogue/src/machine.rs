//! The catalogue of one node.

mod exchange;
mod pending;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use delta_crdt::ReplicaId;
use quota::{BootNanos, KeyHasher, Now};

use crate::clock::{Clock, Stamp};
use crate::content::{Content, Kind};
use crate::message::{Message, Urgency};
use crate::peer::{Peer, Standing};
use crate::record::{Address, AddressError, Record};
use crate::records::{Place, Records};

use exchange::Exchange;
use pending::Pending;

/// Most records, tombstones included, that a change may add to. A million limits, at some 300 bytes each beside their
/// names, and room for as many removed ones.
const RECORDS_MAX: usize = 2_000_000;

/// Changes that wait to be confirmed. Each waits for a second at most: 4 096 are as many a second while a member is
/// silent, and a hundred times as many while all answer.
const PENDING_MAX: usize = 4_096;

/// How far ahead of this node's clock the stamps of a record may be that is taken in from elsewhere, in milliseconds. Stamps do not go
/// back: after one of the next century every write of the cluster would be of the next century. The day is for machines whose
/// clock is wrong by their time zone.
const AHEAD_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Names one change of this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChangeId(u64);

/// A change that stands on this node, and is on its way to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Comes back with [`Effect::Settled`].
    pub id: ChangeId,
    /// Of the write.
    pub stamp: Stamp,
    /// Something stood there before.
    pub replaced: bool,
}

/// Why nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nothing was changed: there is no room for another record.
    #[error("the catalogue has {RECORDS_MAX} records, as many as it takes")]
    Full,
    /// Nothing was changed: too many changes wait to be confirmed.
    #[error("{PENDING_MAX} changes wait to be confirmed")]
    Busy,
    /// Nothing was changed: no node takes a record of that name.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nothing was changed: the record was written, or says that it has seen a write, after the day that begins now.
    #[error("it was written more than 24 h after what this node's clock shows")]
    Ahead,
}

/// Work that a catalogue leaves for its driver, to be done in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// What lies at this place has changed. A driver with a disk keeps [what lies there now](Catalogue::record_at), or that
    /// nothing does, before it sends a receipt or answers a change that is left after this.
    Keep {
        /// Where.
        place: Place,
    },
    /// Send this. It may be lost: what it was for is done again.
    Send {
        /// Who is to have it.
        to: ReplicaId,
        /// What.
        message: Message,
    },
    /// A change of this node is answered: every live member but these has it.
    Settled {
        /// Which.
        change: ChangeId,
        /// Members that were alive when it was made and have not confirmed it, within a second or before they went silent. Empty:
        /// it is in force on all.
        unconfirmed: Vec<ReplicaId>,
    },
}

/// All that people changed at run time, on one node.
///
/// Every `on_*` call takes the time, which may stand still; the boot clock must not go back, the wall clock may. Drain
/// [`Self::next_effect`] after each. Call [`Self::on_tick`] every few tens of milliseconds. Members and connections are
/// told as they change, in any order; a message of a node that was never said to be connected connects it.
pub struct Catalogue {
    me: ReplicaId,
    clock: Clock,
    records: Records,
    peers: BTreeMap<ReplicaId, Peer>,
    pending: BTreeMap<(Place, ChangeId), Pending>,
    changes: u64,
    pieces: u64,
    exchange: Exchange,
    conflicts: u64,
    effects: VecDeque<Effect>,
}

impl Catalogue {
    /// An empty one. `keys` is the hash of this cluster, the same on every node.
    #[must_use]
    pub fn new(me: ReplicaId, keys: KeyHasher) -> Self {
        Self {
            me,
            clock: Clock::new(me),
            records: Records::new(keys),
            peers: BTreeMap::new(),
            pending: BTreeMap::new(),
            changes: 0,
            pieces: 0,
            exchange: Exchange::default(),
            conflicts: 0,
            effects: VecDeque::new(),
        }
    }

    /// What stands at that address.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Content> {
        self.record(kind, namespace, name)?.content()
    }

    /// What stands at that place.
    #[must_use]
    pub fn get_at(&self, place: Place) -> Option<&Content> {
        let (_, record) = self.record_at(place)?;
        record.content()
    }

    /// The record at that place, also a tombstone.
    #[must_use]
    pub fn record_at(&self, place: Place) -> Option<&(Address, Record)> {
        self.records.get(place)
    }

    /// All records behind a place, tombstones included, in order.
    pub fn records_after(
        &self,
        after: Option<Place>,
    ) -> impl Iterator<Item = (Place, &(Address, Record))> + '_ {
        self.records.after(after)
    }

    /// Where all records lie, tombstones included.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.records.all()
    }

    /// Takes in a record that was kept on this node's disk. To be called for all of them before anything else.
    ///
    /// A node that has some answers what others ask of them from the start, and finds out what it missed as every newcomer
    /// does.
    pub fn load(&mut self, now: Now, address: Address, record: Record) {
        let place = self.records.place_of(&address);
        self.clock.on_seen(record.stamp());
        self.records.join(now.wall, address, record);
        match self.records.get(place) {
            Some(_) => self.exchange.has_loaded = true,
            // A tombstone whose time is over.
            None => self.effects.push_back(Effect::Keep { place }),
        }
    }

    /// The record at that address, also a tombstone.
    #[must_use]
    pub fn record(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Record> {
        let place = self.records.place(kind, namespace, name);
        self.records.get(place).map(|(_, record)| record)
    }

    /// Contents of one kind in a namespace, in an order of their own that stays, beginning after the name `after`, which
    /// need not exist any more. Costs as much as the caller takes, whatever else the catalogue holds.
    pub fn list(
        &self,
        kind: Kind,
        namespace: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&Arc<str>, &Content)> + '_ {
        let after = after.map(|name| self.records.place(kind, kind.namespace(namespace), name));
        let listed = self.records.listed(kind, namespace, after);
        listed.filter_map(|(address, record)| Some((&address.name, record.content()?)))
    }

    /// How many contents of one kind are in a namespace.
    #[must_use]
    pub fn count(&self, kind: Kind, namespace: &str) -> usize {
        self.records.count(kind, namespace)
    }

    /// Records held, without and then with tombstones.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let live = self.records.standing().map(|(_, count)| count).sum();
        (live, self.records.len())
    }

    /// How many records of each kind stand.
    pub fn standing(&self) -> impl Iterator<Item = (Kind, usize)> + '_ {
        self.records.standing()
    }

    /// Members that have not confirmed a change that waits for them.
    #[must_use]
    pub fn unconfirmed_members(&self) -> usize {
        let unconfirmed = self.pending.values().flat_map(Pending::unconfirmed);
        unconfirmed.collect::<BTreeSet<_>>().len()
    }

    /// How often two changes met of which neither had seen the other, so that one was lost.
    #[must_use]
    pub const fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Sets what stands at `name`, here at once, and everywhere when it is [settled](Effect::Settled).
    ///
    /// # Errors
    ///
    /// [`ChangeError`]: nothing was changed.
    pub fn set(
        &mut self,
        now: Now,
        namespace: Arc<str>,
        name: Arc<str>,
        content: Content,
    ) -> Result<Change, ChangeError> {
        let address = Address::new(content.kind(), namespace, name)?;
        self.write(now, address, Some(content))
    }

    /// Removes what stands at an address. `None`: nothing does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]: nothing was changed.
    pub fn remove(&mut self, now: Now, address: Address) -> Result<Option<Change>, ChangeError> {
        let Address {
            kind,
            namespace,
            name,
        } = &address;
        match self.get(*kind, namespace, name) {
            Some(_) => self.write(now, address, None).map(Some),
            None => Ok(None),
        }
    }

    fn write(
        &mut self,
        now: Now,
        address: Address,
        content: Option<Content>,
    ) -> Result<Change, ChangeError> {
        let place = self.records.place_of(&address);
        let before = self.records.get(place).map(|(_, record)| record);
        self.check_room(before.is_none())?;
        let replaced = before.is_some_and(|record| record.content().is_some());
        let stamp = self.clock.stamp(now.wall);
        let record = Record::after(before, content, stamp);
        self.records.join(now.wall, address, record);
        self.effects.push_back(Effect::Keep { place });
        Ok(Change {
            id: self.spread(now, place, stamp),
            stamp,
            replaced,
        })
    }

    /// Takes in a record that was kept elsewhere, of this cluster or of one that is gone: it joins what stands there. `None`:
    /// it says nothing that was not known.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]: nothing was changed.
    pub fn import(
        &mut self,
        now: Now,
        address: Address,
        record: Record,
    ) -> Result<Option<Change>, ChangeError> {
        let newest = record.seen().iter().chain([record.stamp()]).max();
        let last = now.wall.get() / 1_000_000 + AHEAD_MAX;
        if newest.is_some_and(|stamp| last < stamp.millis()) {
            return Err(ChangeError::Ahead);
        }
        let place = self.records.place_of(&address);
        let before = self.records.get(place).map(|(_, record)| record);
        self.check_room(before.is_none())?;
        let replaced = before.is_some_and(|record| record.content().is_some());
        let stamp = record.stamp();
        Ok(self.take_in(now, address, record).then(|| Change {
            id: self.spread(now, place, stamp),
            stamp,
            replaced,
        }))
    }

    /// Another member tells what it has at an address of which it was asked. Nobody else is told: whoever has it has told everybody, or
    /// exchanges do.
    pub fn on_told(&mut self, now: Now, address: Address, record: Record) {
        self.take_in(now, address, record);
    }

    fn check_room(&self, is_new: bool) -> Result<(), ChangeError> {
        if is_new && RECORDS_MAX <= self.records.len() {
            return Err(ChangeError::Full);
        }
        if PENDING_MAX <= self.pending.len() {
            return Err(ChangeError::Busy);
        }
        Ok(())
    }

    /// Sends what lies there now to everybody alive, to be confirmed.
    fn spread(&mut self, now: Now, place: Place, stamp: Stamp) -> ChangeId {
        self.changes += 1;
        let id = ChangeId(self.changes);
        let audience = self.peers.iter_mut().filter(|(_, peer)| peer.is_audience());
        let mut unconfirmed = BTreeSet::new();
        for (&replica, peer) in audience {
            unconfirmed.insert(replica);
            if peer.is_connected {
                peer.changes.owe(place);
            }
        }
        for &replica in &unconfirmed {
            self.send_pieces(now.boot, replica);
        }
        self.pending
            .insert((place, id), Pending::new(now.boot, stamp, unconfirmed));
        self.settle(now.boot);
        id
    }

    /// These are the live members now, this node among them or not. Not to be called before it has met somebody, or knows
    /// that it is alone.
    pub fn on_members(&mut self, now: Now, members: &[ReplicaId]) {
        let is_other = |replica: &&ReplicaId| **replica != self.me;
        let others: BTreeSet<ReplicaId> = members.iter().filter(is_other).copied().collect();
        for &replica in &others {
            let peer = self.peers.entry(replica);
            let peer = peer.or_insert_with(|| Peer::new(Standing::Live));
            let returns = peer.standing == Standing::Gone;
            let is_news = !peer.is_audience() || !peer.is_connected;
            peer.standing = Standing::Live;
            if returns && peer.is_connected {
                self.exchange.is_behind(replica);
            }
            if is_news {
                self.await_confirmation(now.boot, replica);
            }
        }
        for (replica, peer) in &mut self.peers {
            if peer.standing == Standing::Live && !others.contains(replica) {
                peer.standing = Standing::Gone;
                peer.forget_lanes();
            }
        }
        if others.is_empty() {
            // Whatever there is, is here.
            self.exchange.has_joined = true;
        }
        self.let_go();
        self.go_on(now.boot);
    }

    /// Messages reach this peer from now on.
    pub fn on_connected(&mut self, now: Now, replica: ReplicaId) {
        let peer = self.peers.entry(replica);
        let peer = peer.or_insert_with(|| Peer::new(Standing::New));
        peer.forget_lanes();
        peer.is_connected = true;
        self.exchange.is_behind(replica);
        self.await_confirmation(now.boot, replica);
        self.go_on(now.boot);
    }

    /// Messages do not reach this peer any more.
    pub fn on_disconnected(&mut self, now: Now, replica: ReplicaId) {
        if let Some(peer) = self.peers.get_mut(&replica) {
            peer.is_connected = false;
            peer.forget_lanes();
        }
        self.exchange.on_disconnected(replica);
        self.let_go();
        self.go_on(now.boot);
    }

    /// A peer says something.
    pub fn on_message(&mut self, now: Now, from: ReplicaId, message: Message) {
        if !self.peers.get(&from).is_some_and(|peer| peer.is_connected) {
            self.on_connected(now, from);
        }
        match message {
            Message::Piece {
                number,
                urgency,
                records,
            } => {
                let mut news = 0;
                for (address, record) in records {
                    news += u64::from(self.take_in(now, address, record));
                }
                if urgency == Urgency::Repair {
                    self.exchange.on_progress(now.boot, from);
                    self.exchange.brought += news;
                }
                self.send(from, Message::Receipt { number });
            }
            Message::Receipt { number } => self.on_receipt(from, number),
            Message::Ask { exchange, root } => self.on_asked(from, exchange, root),
            Message::Differs { exchange, sums } => {
                self.on_differs(now.boot, from, exchange, &sums);
            }
            Message::Wanted { exchange, buckets } => self.on_wanted(from, exchange, &buckets),
            Message::Done { exchange } => self.on_done(from, exchange),
        }
        self.send_pieces(now.boot, from);
        self.go_on(now.boot);
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Now) {
        for place in self.records.sweep(now.wall) {
            self.effects.push_back(Effect::Keep { place });
        }
        let replicas: Vec<ReplicaId> = self.peers.keys().copied().collect();
        for replica in replicas {
            if let Some(peer) = self.peers.get_mut(&replica) {
                peer.changes.on_tick(now.boot);
                peer.repairs.on_tick(now.boot);
            }
            self.send_pieces(now.boot, replica);
        }
        self.look_around(now.boot);
        self.go_on(now.boot);
    }

    /// Goes on after a panic: with the records and the clock that there are, and nothing else that is derived from them.
    /// Changes that wait are answered with all who have not confirmed them.
    pub fn restart(&mut self) {
        self.records.rebuild();
        for pending in self.pending.values_mut() {
            pending.expire();
        }
        for (&replica, peer) in &mut self.peers {
            peer.forget_lanes();
            self.exchange.on_disconnected(replica);
            if peer.is_connected {
                self.exchange.is_behind(replica);
            }
        }
    }

    /// Takes the next effect. Drain to `None` after every `on_*` call, [`Self::set`] and [`Self::remove`].
    #[must_use]
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Returns whether it says something new.
    fn take_in(&mut self, now: Now, address: Address, record: Record) -> bool {
        self.clock.on_seen(record.stamp());
        let place = self.records.place_of(&address);
        let before = self.records.sums().root();
        let joined = self.records.join(now.wall, address, record);
        if self.records.sums().root() != before {
            // Another write, or one more that it has seen.
            self.effects.push_back(Effect::Keep { place });
        }
        self.conflicts += u64::from(joined.conflict);
        joined.changed
    }

    /// Sends a peer what it is owed, as far as its windows go.
    fn send_pieces(&mut self, now: BootNanos, to: ReplicaId) {
        let Some(peer) = self.peers.get_mut(&to).filter(|peer| peer.is_connected) else {
            return;
        };
        for urgency in [Urgency::Change, Urgency::Repair] {
            loop {
                let number = self.pieces + 1;
                let lane = peer.lane(urgency);
                let Some(records) = lane.next_piece(now, &self.records, number) else {
                    break;
                };
                self.pieces = number;
                let message = Message::Piece {
                    number,
                    urgency,
                    records,
                };
                self.effects.push_back(Effect::Send { to, message });
            }
        }
        if peer.repairs.is_empty()
            && let Some(exchange) = peer.asked.take()
        {
            self.send(to, Message::Done { exchange });
        }
    }

    /// Forgets peers that are neither connected nor alive, and waits for nobody who is not.
    fn let_go(&mut self) {
        let stays = |peer: &Peer| peer.is_connected || peer.standing == Standing::Live;
        self.peers.retain(|_, peer| stays(peer));
        self.await_nobody_who_left();
    }

    /// After every event: answers changes, and begins the next exchange.
    fn go_on(&mut self, now: BootNanos) {
        self.begin_exchange(now);
        self.settle(now);
    }

    fn send(&mut self, to: ReplicaId, message: Message) {
        self.effects.push_back(Effect::Send { to, message });
    }
}
