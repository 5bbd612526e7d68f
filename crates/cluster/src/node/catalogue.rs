//! What people change at run time, as this node has it: drives the catalogue.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use ::catalogue::{
    Address, Catalogue, ChangeId, Changed, Content, Effect, Kind, Message, NotChanged, Place,
    Record, Rule, Urgency,
};
use bytes::Bytes;
use coordinator::Strategy;
use delta_crdt::ReplicaId;
use metrics::{Counter, counter, gauge};
use quota::{KeyHasher, Now};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use transport::Lane;

use super::Cluster;
use super::disk::Word;
use crate::wire::{self, Frame};

/// Between two ticks: how late a change may be answered that somebody does not confirm.
const TICK: Duration = Duration::from_millis(50);

/// A newcomer goes on without what others have to tell when for so long no exchange has brought anything: ten times as long
/// as it takes to begin anew with somebody who is silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks of a newcomer at what it has.
const PAUSE: Duration = Duration::from_millis(10);

/// Longer than any change waits, which its deadline is for.
const LATEST_ANSWER: Duration = Duration::from_secs(5);

/// The records of this node, and who waits for a change of them.
pub(crate) struct Records {
    /// Hits of limits that are not the file's read it, beside each other.
    state: RwLock<State>,
    /// The strategies that limits have named, since this node started.
    named: watch::Sender<Vec<Strategy>>,
    changes: Counter,
    pending_changes: Counter,
    restarts: Counter,
}

pub(super) struct State {
    pub(super) catalogue: Catalogue,
    waiting: HashMap<ChangeId, oneshot::Sender<Vec<ReplicaId>>>,
}

impl Records {
    pub(super) fn new(me: ReplicaId, keys: KeyHasher) -> Self {
        let state = State {
            catalogue: Catalogue::new(me, keys),
            waiting: HashMap::new(),
        };
        Self {
            state: RwLock::new(state),
            named: watch::Sender::default(),
            changes: counter!("weir_catalogue_changes_total"),
            pending_changes: counter!("weir_catalogue_pending_changes_total"),
            restarts: counter!("weir_catalogue_restarts_total"),
        }
    }

    /// A limit names its strategy.
    pub(super) fn on_limit(&self, content: Option<&Content>) {
        let Some(limit) = content.and_then(Content::named_limit) else {
            return;
        };
        self.named.send_if_modified(|named| {
            let is_news = !named.contains(&limit.strategy);
            if is_news {
                named.push(limit.strategy);
            }
            is_news
        });
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        if let Ok(state) = self.state.read() {
            return state;
        }
        drop(self.write());
        // If it is poisoned again already, what it holds can be read, and the next who writes starts it again.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(|poisoned| {
            self.state.clear_poison();
            self.restarts.increment(1);
            tracing::error!("the catalogue panicked, starting it again with its records");
            let mut state = poisoned.into_inner();
            state.catalogue.restart();
            state
        })
    }
}

impl Cluster {
    /// What people made at run time under `name`.
    #[must_use]
    pub fn record(&self, kind: Kind, namespace: &str, name: &str) -> Option<Content> {
        let place = Place::of(&self.inner.keys, kind, kind.namespace(namespace), name);
        let state = self.inner.records.read();
        state.catalogue.get_at(place).cloned()
    }

    /// Up to `count` of what people made at run time, in an order of their own, after the name `after`.
    #[must_use]
    pub fn records(
        &self,
        kind: Kind,
        namespace: &str,
        after: Option<&str>,
        count: usize,
    ) -> Vec<(Arc<str>, Content)> {
        let state = self.inner.records.read();
        let listed = state.catalogue.list(kind, namespace, after);
        let listed = listed.map(|(name, content)| (name.clone(), content.clone()));
        listed.take(count).collect()
    }

    /// How much people made at run time.
    #[must_use]
    pub fn count_records(&self, kind: Kind, namespace: &str) -> usize {
        self.inner.records.read().catalogue.count(kind, namespace)
    }

    /// The strategies that limits made at run time name, or have named since this node started.
    #[must_use]
    pub fn strategies_named(&self) -> watch::Receiver<Vec<Strategy>> {
        self.inner.records.named.subscribe()
    }

    /// Sets what stands at an address to what `edit` makes of it, and returns when every live member has it, or after a second
    /// with those who have not. No other change of this node comes in between: `edit` is called under a lock, and is to wait
    /// for nothing.
    ///
    /// # Errors
    ///
    /// What `edit` refuses, and [`NotChanged`]: nothing was changed, anywhere.
    pub async fn edit_record<E: From<NotChanged>>(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(Option<&Content>) -> Result<Content, E>,
    ) -> Result<Changed, E> {
        let versions = self.versions();
        let namespace = kind.namespace(namespace);
        let change = |catalogue: &mut Catalogue, now| -> Result<_, E> {
            let content = edit(catalogue.get(kind, namespace, name))?;
            let mut versions = versions.into_iter();
            if !versions.all(|version| is_read(version, kind, Some(&content))) {
                return Err(NotChanged::Older.into());
            }
            let change = catalogue.set(now, namespace.into(), name.into(), content);
            Ok(Some(change.map_err(NotChanged::NoRoom)?))
        };
        let changed = self.change(change).await?;
        Ok(changed.expect("what is set stands"))
    }

    /// Removes what stands at an address, as [`Self::edit_record`] sets it. `None`: nothing does.
    ///
    /// # Errors
    ///
    /// [`NotChanged`]: nothing was changed, anywhere.
    pub async fn remove_record(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Changed>, NotChanged> {
        let address = Address {
            kind,
            namespace: kind.namespace(namespace).into(),
            name: name.into(),
        };
        self.change(|catalogue, now| catalogue.remove(now, address).map_err(NotChanged::NoRoom))
            .await
    }

    /// Up to `count` records of all kinds behind a place, tombstones included, each with its place and as its bytes for a data
    /// directory.
    #[must_use]
    pub fn export_records(
        &self,
        after: Option<Place>,
        count: usize,
    ) -> Vec<(Place, Address, Bytes)> {
        let state = self.inner.records.read();
        let records = state.catalogue.records_after(after).take(count);
        let exported = records.map(|(place, (address, record))| {
            (place, address.clone(), wire::encode_record(address, record))
        });
        exported.collect()
    }

    /// Takes in a record that [`Self::export_records`] gave away, as [`Self::edit_record`] makes one. `None`: it says nothing
    /// that was not known.
    ///
    /// # Errors
    ///
    /// [`NotChanged`]: nothing was changed, anywhere.
    pub async fn import_record(
        &self,
        address: Address,
        record: Record,
    ) -> Result<Option<Changed>, NotChanged> {
        let versions = self.versions();
        let writes = || record.writes().map(|write| write.content);
        let is_read = |version| writes().all(|it| is_read(version, address.kind, it.as_ref()));
        if !versions.into_iter().all(is_read) {
            return Err(NotChanged::Older);
        }
        let import = |catalogue: &mut Catalogue, now| {
            let imported = catalogue.import(now, address, record);
            imported.map_err(NotChanged::NoRoom)
        };
        self.change(import).await
    }

    async fn change<E: From<NotChanged>>(
        &self,
        change: impl FnOnce(&mut Catalogue, Now) -> Result<Option<::catalogue::Change>, E>,
    ) -> Result<Option<Changed>, E> {
        if self.inner.is_stopped() {
            return Err(NotChanged::Draining.into());
        }
        if self.no_quorum().is_some() {
            return Err(NotChanged::NoQuorum.into());
        }
        let (answer, answered) = oneshot::channel();
        let change = self.with_records(|state, now| -> Result<_, E> {
            let change = change(&mut state.catalogue, now)?;
            if let Some(change) = &change {
                state.waiting.insert(change.id, answer);
            }
            Ok(change)
        });
        let Some(change) = change? else {
            return Ok(None);
        };
        self.inner.records.changes.increment(1);
        let unconfirmed = match tokio::time::timeout(LATEST_ANSWER, answered).await {
            Ok(Ok(unconfirmed)) => unconfirmed,
            // The catalogue was started again meanwhile, or the disk answers nothing: nobody knows who has confirmed.
            _ => self.everybody(),
        };
        let mut pending = self.names(&unconfirmed);
        if !pending.is_empty() {
            pending.sort_unstable();
            self.inner.records.pending_changes.increment(1);
            tracing::warn!(nodes = %pending.join(", "), "a change is not confirmed by every member yet");
        }
        Ok(Some(Changed {
            replaced: change.replaced,
            pending,
        }))
    }

    /// Whoever a change may be missing at: others, and the disk of this node.
    fn everybody(&self) -> Vec<ReplicaId> {
        let mut all = self.other_members();
        all.extend(
            self.inner
                .config
                .data_dir
                .is_some()
                .then_some(self.inner.me),
        );
        all
    }

    fn names(&self, replicas: &[ReplicaId]) -> Vec<String> {
        if replicas.is_empty() {
            return Vec::new();
        }
        let named = self.with_membership(|membership, _| {
            let roster = membership.roster();
            let members = replicas.iter().filter_map(|it| roster.by_replica(*it));
            // Who has left, or was started again, reads what it missed before it serves. This node is one of them when its disk
            // does not take a change.
            let members = members.filter(|member| member.belongs());
            members.map(|member| member.name.clone()).collect()
        });
        // While nobody can be told by name, somebody is missing all the same.
        named.unwrap_or_else(|| replicas.iter().map(ReplicaId::to_string).collect())
    }

    /// Lets the catalogue take something in, and carries out what it leaves.
    pub(super) fn with_records<R>(&self, act: impl FnOnce(&mut State, Now) -> R) -> R {
        let mut state = self.inner.records.write();
        // Read under the lock: its time must not go back from one call to the next.
        let now = self.inner.clock.now();
        let result = act(&mut state, now);
        let (mut places, mut words, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(effect) = state.catalogue.next_effect() {
            match effect {
                Effect::Keep { place } => places.push(place),
                Effect::Send {
                    to,
                    message: message @ Message::Receipt { .. },
                } => words.push(Word::Receipt { to, message }),
                Effect::Send { to, message } => messages.push((to, message)),
                Effect::Settled {
                    change,
                    unconfirmed,
                } => {
                    if let Some(waiting) = state.waiting.remove(&change) {
                        words.push(Word::Answer {
                            waiting,
                            unconfirmed,
                        });
                    }
                }
            }
        }
        for &place in &places {
            self.inner.records.on_limit(state.catalogue.get_at(place));
        }
        // Under the lock: what is confirmed by a later call may rest on what this one has changed.
        let words = self.inner.disk.keep(places, words);
        drop(state);
        for (to, message) in messages {
            self.send_catalogue(to, message);
        }
        self.confirm(words);
        result
    }

    /// Sends receipts and answers that rest on nothing which is still to be written.
    pub(super) fn confirm(&self, words: Vec<Word>) {
        for word in words {
            match word {
                Word::Receipt { to, message } => self.send_catalogue(to, message),
                Word::Answer {
                    waiting,
                    unconfirmed,
                } => {
                    // An error means that whoever changed something has left.
                    let _left = waiting.send(unconfirmed);
                }
            }
        }
    }

    /// Whether everybody who is connected reads limits whose windows follow a calendar.
    #[must_use]
    pub fn all_read_calendars(&self) -> bool {
        self.versions().into_iter().all(wire::knows_calendars)
    }

    /// The protocols that are spoken with everybody who is connected.
    fn versions(&self) -> Vec<u16> {
        let members = self.other_members().into_iter();
        let versions = members.filter_map(|member| self.inner.transport.version(member));
        versions.collect()
    }

    fn send_catalogue(&self, to: ReplicaId, mut message: Message) {
        if let Message::Piece { records, .. } = &mut message
            && let Some(version) = self.inner.transport.version(to)
        {
            // It would lose the whole piece for one that it does not read. It has them when it is upgraded, which starts it
            // again.
            records.retain(|(address, record)| is_read(version, address.kind, record.content()));
        }
        let lane = match message.urgency() {
            Urgency::Change => Lane::Bulk,
            Urgency::Repair => Lane::Copies,
        };
        // What is lost is said again.
        let version = self.inner.transport.version(to);
        let form = version.map_or(wire::VERSION, wire::form_for);
        let frame = wire::encode_for(form, &Frame::Catalogue(message));
        let _lost = self.inner.transport.send(to, lane, frame);
    }

    /// A peer's catalogue says something.
    pub(crate) fn on_catalogue(&self, from: ReplicaId, message: Message) {
        self.with_records(|state, now| state.catalogue.on_message(now, from, message));
    }

    pub(crate) fn on_catalogue_connected(&self, peer: ReplicaId) {
        if self.has_catalogue(peer) {
            self.with_records(|state, now| state.catalogue.on_connected(now, peer));
        } else {
            // It may have been waited for.
            self.tell_members();
        }
    }

    pub(crate) fn on_catalogue_disconnected(&self, peer: ReplicaId) {
        self.with_records(|state, now| state.catalogue.on_disconnected(now, peer));
    }

    /// Tells the catalogue who is alive: by what is known once it has the lock, so that of two views the later is told last.
    pub(crate) fn tell_members(&self) {
        self.with_records(|state, now| {
            let mut members = self.other_members();
            members.retain(|member| self.has_catalogue(*member));
            state.catalogue.on_members(now, &members);
        });
    }

    /// Whether a peer has a catalogue, or may have: it is not connected. Who has none is told nothing and waited for by nobody.
    fn has_catalogue(&self, peer: ReplicaId) -> bool {
        let version = self.inner.transport.version(peer);
        version.is_none_or(wire::knows_catalogue)
    }

    pub(super) async fn look_after_catalogue(self) {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.inner.is_stopped() {
            timer.tick().await;
            self.with_records(|state, now| state.catalogue.on_tick(now));
        }
    }

    /// A newcomer waits until it has what the others have: for as long as exchanges bring more.
    pub(super) async fn catch_up(&self) {
        let mut last_news = (0, Instant::now());
        loop {
            let (has_all, exchanged, size) = self.with_records(|state, _| {
                let catalogue = &state.catalogue;
                let (_, size) = catalogue.size();
                (catalogue.has_caught_up(), catalogue.exchanged(), size)
            });
            if has_all {
                return;
            }
            if exchanged != last_news.0 {
                last_news = (exchanged, Instant::now());
            }
            if PATIENCE < last_news.1.elapsed() {
                tracing::warn!(
                    records = size,
                    "some member does not tell what was set at run time, serving without it"
                );
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Brings the gauges up to date.
    pub(super) fn measure_catalogue(&self) {
        let (live, all, conflicts) = {
            let state = self.inner.records.read();
            for (kind, count) in state.catalogue.standing() {
                gauge!("weir_catalogue_records", "kind" => kind.name()).set(count as f64);
            }
            let unconfirmed = state.catalogue.unconfirmed_members();
            gauge!("weir_catalogue_pending_members").set(unconfirmed as f64);
            let (live, all) = state.catalogue.size();
            (live, all, state.catalogue.conflicts())
        };
        gauge!("weir_catalogue_tombstones").set((all - live) as f64);
        counter!("weir_catalogue_conflicts_total").absolute(conflicts);
    }
}

/// Whether a peer of this protocol, which has a catalogue, reads such a record.
fn is_read(version: u16, kind: Kind, content: Option<&Content>) -> bool {
    match (kind.rule(), content) {
        (Rule::GrantsLess, _) => wire::knows_accounts(version),
        (Rule::Newer, Some(content)) => {
            let tells_top_keys = content.named_limit().is_some_and(|named| named.top_keys);
            (!follows_calendar(content) || wire::knows_calendars(version))
                && (!tells_top_keys || wire::knows_top_keys(version))
        }
        (Rule::Newer, None) => true,
    }
}

fn follows_calendar(content: &Content) -> bool {
    let named = content.named_limit().map(|named| named.limit);
    let limit = named.or_else(|| content.key_limit().map(|of_key| of_key.limit));
    limit.is_some_and(|limit| limit.anchor().calendar().is_some())
}
