//! One record, and how two versions of it become one.

use std::sync::Arc;

use crate::clock::Stamp;
use crate::content::{Content, Kind};
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

/// What is known of one address: what was last written, and which writes it has seen.
///
/// Records of one address join, in any order and however often. Of two writes in sequence (the later had seen the
/// earlier) the later stays. Of two that did not see each other the kind's rule takes one; for every kind of today that
/// is the one with the greater stamp. Since a write's stamp is greater than all that its node saw, a chain of such
/// choices comes to the same record in any order.
///
/// A kind that is to choose otherwise ("the one that grants less") must keep both writes until a third has seen them: to
/// choose at once depends on the order in which three writes meet (decision 0039).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// `None`: removed. The tombstone is kept until nobody has an older version any more.
    content: Option<Content>,
    stamp: Stamp,
    seen: Seen,
}

/// What came of a join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Another write stands here now.
    pub changed: bool,
    /// Neither of the two writes had seen the other: one of them is lost, by the kind's rule.
    pub conflict: bool,
}

impl Record {
    /// What was read from a peer.
    #[must_use]
    pub fn new(content: Option<Content>, stamp: Stamp, mut seen: Seen) -> Self {
        seen.trim(stamp, forgotten_before(stamp));
        Self {
            content,
            stamp,
            seen,
        }
    }

    /// A write that has seen `before`.
    #[must_use]
    pub fn after(before: Option<&Self>, content: Option<Content>, stamp: Stamp) -> Self {
        let mut seen = before.map_or_else(Seen::default, |before| before.seen.clone());
        if let Some(before) = before {
            seen.add(before.stamp);
        }
        Self::new(content, stamp, seen)
    }

    /// What it says. `None`: it has been removed.
    #[must_use]
    pub const fn content(&self) -> Option<&Content> {
        self.content.as_ref()
    }

    /// Of the write that it holds.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The other writes that it has seen.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Whether that write is this one, one that it has seen, or so much older that it would have been forgotten.
    #[must_use]
    pub fn knows(&self, stamp: Stamp) -> bool {
        let is_by_the_same = self.stamp.incarnation() == stamp.incarnation();
        let is_forgotten = stamp.millis() < forgotten_before(self.stamp);
        is_forgotten || (is_by_the_same && stamp <= self.stamp) || self.seen.contains(stamp)
    }

    /// Takes in another version of the same record.
    pub fn join(&mut self, other: Self) -> Joined {
        let (theirs_is_later, ours_is_later) = (other.knows(self.stamp), self.knows(other.stamp));
        let is_same = self.stamp == other.stamp;
        let takes_theirs = match (theirs_is_later, ours_is_later) {
            _ if is_same => false,
            (true, false) => true,
            (false, true) => false,
            // The rule of every kind so far.
            (true, true) | (false, false) => self.stamp < other.stamp,
        };
        let mut seen = std::mem::take(&mut self.seen);
        seen.join(&other.seen);
        seen.add(self.stamp);
        seen.add(other.stamp);
        if takes_theirs {
            self.content = other.content;
            self.stamp = other.stamp;
        }
        seen.trim(self.stamp, forgotten_before(self.stamp));
        self.seen = seen;
        Joined {
            changed: takes_theirs,
            conflict: !is_same && theirs_is_later == ours_is_later,
        }
    }

    /// About how many bytes it takes in a message beside its name: no less than it does.
    pub(crate) fn weight(&self) -> usize {
        let content = match &self.content {
            Some(_) => CONTENT_BYTES,
            None => 0,
        };
        STAMP_BYTES * (1 + self.seen.iter().len()) + content
    }
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
/// A limit with everything that belongs to it: at most some 40 bytes.
const CONTENT_BYTES: usize = 64;
