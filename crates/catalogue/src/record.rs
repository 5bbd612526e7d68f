//! One record, and how two versions of it become one.

use std::sync::Arc;

use crate::clock::Stamp;
use crate::content::{Content, Kind, Rule};
use crate::records::TOMBSTONES_LIVE;
use crate::seen::Seen;

/// What names a record. One that comes from outside is made by [`Self::new`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// What it is about.
    pub kind: Kind,
    /// Whose it is.
    pub namespace: Arc<str>,
    /// Unique in its namespace and kind.
    pub name: Arc<str>,
}

/// Why there is no such address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// The namespace is longer than any is.
    #[error("the namespace is longer than {} bytes", Address::NAMESPACE_BYTES_MAX)]
    Namespace,
    /// The name is longer than any is.
    #[error("the name is longer than {} bytes", Address::NAME_BYTES_MAX)]
    Name,
}

impl Address {
    /// Longest name of a record: a key, as fronts take it.
    pub const NAME_BYTES_MAX: usize = 1_024;

    /// Longest namespace.
    pub const NAMESPACE_BYTES_MAX: usize = 512;

    /// The address with these parts.
    ///
    /// # Errors
    ///
    /// [`AddressError`]: every node refuses it, so that it must not come into being.
    pub fn new(kind: Kind, namespace: Arc<str>, name: Arc<str>) -> Result<Self, AddressError> {
        if Self::NAMESPACE_BYTES_MAX < namespace.len() {
            return Err(AddressError::Namespace);
        }
        if Self::NAME_BYTES_MAX < name.len() {
            return Err(AddressError::Name);
        }
        Ok(Self {
            kind,
            namespace,
            name,
        })
    }
}

/// What is known of one address: what it says, and which writes it has seen.
///
/// Records of one address join, in any order and however often. Of two writes in sequence (the later had seen the
/// earlier) the later stays. Of two that did not see each other the [rule of the kind](Kind::rule) tells:
///
/// - [`Rule::Newer`]: the one with the greater stamp stays. Since a write's stamp is greater than all that its node saw, a
///   chain of such choices comes to the same record in any order.
/// - [`Rule::GrantsLess`]: both are kept until a third has seen them, and the record says what they say together. To choose
///   at once would depend on the order in which three writes meet (decision 0039).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What it says. `None`: removed. The tombstone is kept until nobody has an older version any more.
    content: Option<Content>,
    /// Of the newest write that it holds.
    stamp: Stamp,
    /// The writes that it has seen beside those that it holds.
    seen: Seen,
    /// The writes that it holds, the newest first, where they are more than one.
    writes: Option<Box<[Write]>>,
}

/// One write of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// When and by whom.
    pub stamp: Stamp,
    /// What was written. `None`: it was removed.
    pub content: Option<Content>,
}

/// What came of a join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The record says something else, or holds another write.
    pub changed: bool,
    /// Neither of the two writes had seen the other: the kind's rule told what becomes of them.
    pub conflict: bool,
}

impl Record {
    /// What was read from a peer, of one write.
    #[must_use]
    pub fn new(content: Option<Content>, stamp: Stamp, seen: Seen) -> Self {
        let mut record = Self {
            content,
            stamp,
            seen,
            writes: None,
        };
        record.trim();
        record
    }

    /// What was read from a peer, of writes that did not see each other. `None`: there is no write.
    #[must_use]
    pub fn of_writes(writes: Vec<Write>, seen: Seen) -> Option<Self> {
        let newest = writes.iter().map(|write| write.stamp).max()?;
        let mut record = Self::new(None, newest, seen);
        record.hold(writes);
        Some(record)
    }

    /// A write that has seen `before`.
    #[must_use]
    pub fn after(before: Option<&Self>, content: Option<Content>, stamp: Stamp) -> Self {
        let mut seen = before.map_or_else(Seen::default, |before| before.seen.clone());
        for write in before.into_iter().flat_map(Self::writes) {
            seen.add(write.stamp);
        }
        Self::new(content, stamp, seen)
    }

    /// What it says. `None`: it has been removed.
    #[must_use]
    pub const fn content(&self) -> Option<&Content> {
        self.content.as_ref()
    }

    /// Of the newest write that it holds.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The writes that it has seen beside those that it holds.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The writes that it holds, the newest first.
    pub fn writes(&self) -> impl Iterator<Item = Write> + '_ {
        let one = self.writes.is_none().then(|| Write {
            stamp: self.stamp,
            content: self.content.clone(),
        });
        let more = self.writes.iter().flatten().cloned();
        one.into_iter().chain(more)
    }

    /// The stamps of the writes that it holds, the newest first.
    pub(crate) fn stamps(&self) -> impl Iterator<Item = Stamp> + '_ {
        let others = self.writes.iter().flatten().map(|write| write.stamp);
        std::iter::once(self.stamp).chain(others.skip(1))
    }

    /// Whether that write is one that it holds, one that it has seen, or so much older that it would have been forgotten.
    #[must_use]
    pub fn knows(&self, stamp: Stamp) -> bool {
        let is_held = |held: Stamp| held.incarnation() == stamp.incarnation() && stamp <= held;
        let is_forgotten = stamp.millis() < forgotten_before(self.stamp);
        is_forgotten || self.stamps().any(is_held) || self.seen.contains(stamp)
    }

    /// Takes in another version of the same record, which is of `kind`.
    pub fn join(&mut self, kind: Kind, other: Self) -> Joined {
        match kind.rule() {
            Rule::Newer => self.join_newer(other),
            Rule::GrantsLess => self.join_all(other),
        }
    }

    fn join_newer(&mut self, other: Self) -> Joined {
        let (theirs_is_later, ours_is_later) = (other.knows(self.stamp), self.knows(other.stamp));
        let is_same = self.stamp == other.stamp;
        let takes_theirs = match (theirs_is_later, ours_is_later) {
            _ if is_same => false,
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => self.stamp < other.stamp,
        };
        self.seen.join(&other.seen);
        self.seen.add(self.stamp);
        self.seen.add(other.stamp);
        if takes_theirs {
            self.content = other.content;
            self.stamp = other.stamp;
        }
        self.trim();
        Joined {
            changed: takes_theirs,
            conflict: !is_same && theirs_is_later == ours_is_later,
        }
    }

    /// Holds the writes of both but for those that the other has seen and does not hold any more.
    fn join_all(&mut self, other: Self) -> Joined {
        let before: Vec<Stamp> = self.stamps().collect();
        let theirs: Vec<Stamp> = other.stamps().collect();
        let stays = |write: &Write| theirs.contains(&write.stamp) || !other.knows(write.stamp);
        let mut writes: Vec<Write> = self.writes().filter(stays).collect();
        let ours = writes.len();
        let is_news = |write: &Write| !before.contains(&write.stamp) && !self.knows(write.stamp);
        writes.extend(other.writes().filter(is_news));
        let (kept, brought) = (ours, writes.len() - ours);
        for stamp in before.iter().chain(&theirs) {
            self.seen.add(*stamp);
        }
        self.seen.join(&other.seen);
        let is_shared = before.iter().any(|stamp| theirs.contains(stamp));
        self.hold(writes);
        Joined {
            changed: !self.stamps().eq(before),
            conflict: 0 < brought && 0 < kept && !is_shared,
        }
    }

    /// Holds these writes, of which there is one, and says what they say together.
    fn hold(&mut self, mut writes: Vec<Write>) {
        writes.sort_unstable_by_key(|write| std::cmp::Reverse(write.stamp));
        writes.dedup_by_key(|write| write.stamp);
        self.stamp = writes[0].stamp;
        let forgotten = forgotten_before(self.stamp);
        writes.retain(|write| forgotten <= write.stamp.millis());
        writes.truncate(Self::WRITES_MAX);
        let contents = writes.iter().map(|write| write.content.clone());
        self.content = contents.reduce(Content::together).flatten();
        self.writes = (1 < writes.len()).then(|| writes.into());
        self.trim();
    }

    /// Most writes that it holds: one for each side of a network that is split into as many. Beyond, the oldest are
    /// forgotten.
    pub const WRITES_MAX: usize = 16;

    fn trim(&mut self) {
        let mut seen = std::mem::take(&mut self.seen);
        for held in self.stamps() {
            seen.leave_out(held);
        }
        seen.trim(forgotten_before(self.stamp));
        self.seen = seen;
    }

    /// About how many bytes it takes in a message beside its name: no less than it does.
    pub(crate) fn weight(&self) -> usize {
        let contents = match &self.writes {
            Some(writes) => writes
                .iter()
                .map(|write| weight(write.content.as_ref()))
                .sum(),
            None => weight(self.content.as_ref()),
        };
        STAMP_BYTES * (self.stamps().count() + self.seen.iter().len()) + contents
    }
}

fn weight(content: Option<&Content>) -> usize {
    content.map_or(0, Content::weight)
}

/// A record does not list having seen what was written before that, in milliseconds since the epoch.
///
/// A node that was away for so long takes the others' records for its own, so nothing that old meets this one again. It is
/// counted from the write and not from a node's clock, so that two nodes which have heard the same hold the same record,
/// and find by their sums that they do.
fn forgotten_before(held: Stamp) -> u64 {
    held.millis()
        .saturating_sub(TOMBSTONES_LIVE.get() / 1_000_000)
}

/// A stamp as varints: at most 10 and 5 bytes.
const STAMP_BYTES: usize = 16;
