//! All records of a node, by the hash of their address.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use accounts::UnixSecs;
use quota::{KeyHash, KeyHasher, Nanos, UnixNanos};

use crate::bucket::{Bucket, Sums};
use crate::content::Kind;
use crate::record::{Address, Joined, Record};

/// How long a tombstone is kept. A node that was away for longer takes the others' records for its own.
pub const TOMBSTONES_LIVE: Nanos = Nanos::from_secs(30 * 24 * 60 * 60);

/// Records looked at for expiry at a time: at 20 times a second a million in 50 s, for 0.1 % of a core.
const SWEPT_AT_ONCE: usize = 1_024;

/// Where a record lies: the same on every node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub(crate) kind: Kind,
    /// Of the address, the kind included.
    pub(crate) hash: KeyHash,
}

impl Place {
    /// Where the record of that address lies in the cluster that `keys` is the hash of. Worked out by whoever asks, before
    /// it takes the catalogue's lock.
    #[must_use]
    pub fn of(keys: &KeyHasher, kind: Kind, namespace: &str, name: &str) -> Self {
        let hash = keys.hash(namespace, kind.name(), name);
        Self { kind, hash }
    }

    /// All that tells it from others, in 17 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[0] = self.kind.number();
        bytes[1..].copy_from_slice(&self.hash.get().to_be_bytes());
        bytes
    }
}

/// [`Place::to_bytes`] in hexadecimal digits.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |byte: u8| write!(f, "{byte:02x}");
        self.to_bytes().into_iter().try_for_each(digits)
    }
}

/// A text names no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no place of a record")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let is_digits = text.len() == 34 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let (kind, hash) = text
            .split_at_checked(2)
            .filter(|_| is_digits)
            .ok_or(NoPlace)?;
        let number = |digits| u128::from_str_radix(digits, 16).map_err(|_| NoPlace);
        let kind = u8::try_from(number(kind)?).ok();
        Ok(Self {
            kind: kind.and_then(Kind::of_number).ok_or(NoPlace)?,
            hash: KeyHash::new(number(hash)?),
        })
    }
}

/// The records, ordered by place: a kind is a range of them, and a bucket one within each kind.
pub(crate) struct Records {
    hasher: KeyHasher,
    by_place: BTreeMap<Place, (Address, Record)>,
    listed: Listed,
    sums: Sums,
    standing: Standing,
    /// Where the next sweep begins.
    swept: Bound<Place>,
}

impl Records {
    pub(crate) fn new(hasher: KeyHasher) -> Self {
        Self {
            hasher,
            by_place: BTreeMap::new(),
            listed: Listed::default(),
            sums: Sums::new(),
            standing: Standing::default(),
            swept: Bound::Unbounded,
        }
    }

    pub(crate) fn place(&self, kind: Kind, namespace: &str, name: &str) -> Place {
        Place::of(&self.hasher, kind, namespace, name)
    }

    pub(crate) fn place_of(&self, address: &Address) -> Place {
        self.place(address.kind, &address.namespace, &address.name)
    }

    pub(crate) fn get(&self, place: Place) -> Option<&(Address, Record)> {
        self.by_place.get(&place)
    }

    /// All of them behind a place, in order.
    pub(crate) fn after(
        &self,
        after: Option<Place>,
    ) -> impl Iterator<Item = (Place, &(Address, Record))> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let records = self.by_place.range((from, Bound::Unbounded));
        records.map(|(&place, record)| (place, record))
    }

    /// Where all of them lie.
    pub(crate) fn all(&self) -> impl Iterator<Item = Place> + '_ {
        self.by_place.keys().copied()
    }

    /// Records, tombstones included.
    pub(crate) fn len(&self) -> usize {
        self.by_place.len()
    }

    /// How many of each kind stand.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (Kind, usize)> + '_ {
        let standing = |kind| self.standing.0.get(&kind).copied().unwrap_or_default();
        Kind::ALL
            .into_iter()
            .map(move |kind| (kind, standing(kind)))
    }

    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// The places of a bucket.
    pub(crate) fn places(&self, bucket: Bucket) -> impl Iterator<Item = Place> + '_ {
        let ranges = bucket.places().into_iter();
        let records = ranges.flat_map(|range| self.by_place.range(range));
        records.map(|(place, _)| *place)
    }

    /// What stands in a namespace, of one kind: behind `after`, or all.
    pub(crate) fn listed(
        &self,
        kind: Kind,
        namespace: &str,
        after: Option<Place>,
    ) -> impl Iterator<Item = &(Address, Record)> + '_ {
        let hashes = self.listed.of(kind, namespace).into_iter();
        let from = after.map_or(Bound::Unbounded, |place| Bound::Excluded(place.hash));
        let hashes = hashes.flat_map(move |hashes| hashes.range((from, Bound::Unbounded)));
        hashes.filter_map(move |&hash| self.by_place.get(&Place { kind, hash }))
    }

    /// How much stands in a namespace, of one kind.
    pub(crate) fn count(&self, kind: Kind, namespace: &str) -> usize {
        self.listed.of(kind, namespace).map_or(0, BTreeSet::len)
    }

    /// Takes in a version of a record.
    pub(crate) fn join(&mut self, now: UnixNanos, address: Address, theirs: Record) -> Joined {
        let place = self.place_of(&address);
        let unchanged = Joined {
            changed: false,
            conflict: false,
        };
        if let Some((address, record)) = self.by_place.get_mut(&place) {
            let was_listed = listed_in(address, record);
            self.sums.subtract(place, record);
            let joined = record.join(address.kind, theirs);
            self.sums.add(place, record);
            let is_listed = listed_in(address, record);
            self.standing.leave(place.kind, &was_listed);
            self.standing.enter(place.kind, &is_listed);
            if was_listed != is_listed {
                self.listed.remove(place, &was_listed);
                self.listed.add(place, &is_listed);
            }
            return joined;
        }
        if is_over(now, &theirs) {
            // Whoever sends it has not come to sweeping it.
            return unchanged;
        }
        self.sums.add(place, &theirs);
        let is_listed = listed_in(&address, &theirs);
        self.listed.add(place, &is_listed);
        self.standing.enter(place.kind, &is_listed);
        self.by_place.insert(place, (address, theirs));
        Joined {
            changed: true,
            ..unchanged
        }
    }

    /// Works out anew what follows from the records.
    pub(crate) fn rebuild(&mut self) {
        self.sums = Sums::new();
        self.standing = Standing::default();
        self.listed = Listed::default();
        for (place, (address, record)) in &self.by_place {
            self.sums.add(*place, record);
            let is_listed = listed_in(address, record);
            self.listed.add(*place, &is_listed);
            self.standing.enter(place.kind, &is_listed);
        }
    }

    /// Lets go of tombstones and records whose time is over, among the next few records: these.
    pub(crate) fn sweep(&mut self, now: UnixNanos) -> Vec<Place> {
        let mut over = Vec::new();
        let mut last = None;
        let range = (self.swept, Bound::Unbounded);
        for (place, (_, record)) in self.by_place.range(range).take(SWEPT_AT_ONCE) {
            last = Some(*place);
            if is_over(now, record) {
                over.push(*place);
            }
        }
        for place in &over {
            if let Some((address, record)) = self.by_place.remove(place) {
                self.sums.subtract(*place, &record);
                let was_listed = listed_in(&address, &record);
                self.listed.remove(*place, &was_listed);
                self.standing.leave(place.kind, &was_listed);
            }
        }
        self.swept = last.map_or(Bound::Unbounded, Bound::Excluded);
        over
    }
}

/// How many of each kind stand: are listed somewhere, and no tombstones.
#[derive(Default)]
struct Standing(BTreeMap<Kind, usize>);

impl Standing {
    fn enter(&mut self, kind: Kind, listed: &[Arc<str>]) {
        *self.0.entry(kind).or_default() += usize::from(!listed.is_empty());
    }

    fn leave(&mut self, kind: Kind, listed: &[Arc<str>]) {
        *self.0.entry(kind).or_default() -= usize::from(!listed.is_empty());
    }
}

/// Of each kind and namespace, what stands in it: so that a page of one namespace costs nothing for what lies in others, and
/// nothing for tombstones. 16 bytes a record and what a tree adds, some 24 MiB for a million.
#[derive(Default)]
struct Listed(BTreeMap<Kind, BTreeMap<Arc<str>, BTreeSet<KeyHash>>>);

impl Listed {
    fn of(&self, kind: Kind, namespace: &str) -> Option<&BTreeSet<KeyHash>> {
        self.0.get(&kind)?.get(namespace)
    }

    fn add(&mut self, place: Place, namespaces: &[Arc<str>]) {
        for namespace in namespaces {
            let listed = self.0.entry(place.kind).or_default();
            match listed.get_mut(namespace) {
                Some(hashes) => hashes.insert(place.hash),
                None => listed
                    .entry(Arc::clone(namespace))
                    .or_default()
                    .insert(place.hash),
            };
        }
    }

    fn remove(&mut self, place: Place, namespaces: &[Arc<str>]) {
        let Some(listed) = self.0.get_mut(&place.kind) else {
            return;
        };
        for namespace in namespaces {
            if let Some(hashes) = listed.get_mut(namespace) {
                hashes.remove(&place.hash);
                if hashes.is_empty() {
                    listed.remove(namespace);
                }
            }
        }
    }
}

/// The namespaces in which a record is listed. None: it is a tombstone.
fn listed_in(address: &Address, record: &Record) -> Vec<Arc<str>> {
    let content = record.content();
    content.map_or_else(Vec::new, |content| content.listed_in(address))
}

fn is_over(now: UnixNanos, record: &Record) -> bool {
    match record.content() {
        None => record.stamp().millis() < over_before(now),
        Some(content) => {
            let now = UnixSecs::new(now.get() / 1_000_000_000);
            content.over_at().is_some_and(|over_at| over_at <= now)
        }
    }
}

/// In milliseconds since the epoch.
fn over_before(now: UnixNanos) -> u64 {
    (now - TOMBSTONES_LIVE).get() / 1_000_000
}
