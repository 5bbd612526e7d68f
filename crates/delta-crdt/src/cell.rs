//! A cell in the form that is joined, sent to peers and persisted.

use std::cmp::Ordering;

use crdts::{CvRDT, VClock};
use quota::{Count, UnixNanos};
use smallvec::SmallVec;

use crate::fold::{had_drained, strictest};
use crate::term::Term;
use crate::version::Version;

/// What is known about one key: one version, or several that know of writes which the others do not.
///
/// Never empty; no version knows of everything that another knows of. Equal cells compare equal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// By context, in any fixed order.
    versions: SmallVec<[Version; 1]>,
    is_kept: bool,
}

impl Cell {
    /// The cell of these versions, in any order, less those that others include. `None` without versions.
    #[must_use]
    pub fn new(versions: impl IntoIterator<Item = Version>) -> Option<Self> {
        let mut versions = versions.into_iter();
        let mut cell = Self::from(versions.next()?);
        for version in versions {
            cell.admit(version);
        }
        Some(cell)
    }

    /// The same cell, which is to outlive all nodes or is not. It says nothing of what was counted.
    #[must_use]
    pub fn with_kept(self, is_kept: bool) -> Self {
        Self { is_kept, ..self }
    }

    /// Whether this is to outlive all nodes: its key was last written under a limit [that is
    /// kept](quota::Limit::keep), as far as is known.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The versions. Never empty; in the same order for equal cells.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Every write that any of the versions knows of.
    #[must_use]
    pub fn context(&self) -> VClock<Term> {
        let mut context = VClock::new();
        for version in &self.versions {
            context.merge(version.context());
        }
        context
    }

    /// From then on the key is full again, whatever its limit.
    ///
    /// That is when the latest of its versions is, or later where several drain: each of what the others added, too.
    #[must_use]
    pub fn expires_at(&self) -> UnixNanos {
        let together = match self.is_draining_fork() {
            true => strictest(&self.versions),
            false => None,
        };
        let ends = self.versions.iter().map(Version::count).chain(&together);
        ends.map(Count::expires_at).max().unwrap_or_default()
    }

    /// Takes in what `other` knows. Commutes, associates, and twice is once.
    pub(crate) fn join(&mut self, other: Self) {
        self.is_kept |= other.is_kept;
        for version in other.versions {
            self.admit(version);
        }
    }

    /// Leaves out versions that are expired at `now` and say nothing beside the others.
    ///
    /// In a [draining fork](Self::is_draining_fork) an expired one still may, unless it had drained before one of the others
    /// began.
    pub(crate) fn prune(&mut self, now: UnixNanos) {
        if self.versions.len() == 1 {
            return;
        }
        if self.is_draining_fork() {
            let mut place = 0;
            while place < self.versions.len() {
                let is_over = !self.versions[place].is_live(now);
                if is_over && had_drained(&self.versions, place) {
                    self.versions.remove(place);
                } else {
                    place += 1;
                }
            }
        } else if self.versions.iter().any(|v| v.is_live(now)) {
            self.versions.retain(|v| v.is_live(now));
        }
    }

    /// Whether there are several versions, which all drain, in the same way, and know of the same reset or none.
    pub(crate) fn is_draining_fork(&self) -> bool {
        let (first, others) = self.versions.split_first().expect("never empty");
        !others.is_empty() && others.iter().all(|other| first.drains_like(other))
    }

    pub(crate) fn into_versions(self) -> impl Iterator<Item = Version> {
        self.versions.into_iter()
    }

    /// The only version, or the cell back.
    pub(crate) fn into_only(mut self) -> Result<Version, Self> {
        match self.versions.len() {
            1 => Ok(self.versions.remove(0)),
            _ => Err(self),
        }
    }

    fn admit(&mut self, version: Version) {
        for known in &mut self.versions {
            match (known.dominates(&version), version.dominates(known)) {
                (true, true) => {
                    settle_tie(known, version);
                    return;
                }
                (true, false) => return,
                (false, _) => {}
            }
        }
        self.versions.retain(|known| !version.dominates(known));
        let place = self
            .versions
            .partition_point(|known| known.slots() < version.slots());
        self.versions.insert(place, version);
    }
}

impl From<Version> for Cell {
    fn from(version: Version) -> Self {
        Self {
            versions: SmallVec::from_buf([version]),
            is_kept: false,
        }
    }
}

/// Keeps one of two versions with one context.
///
/// A dot is written once, so they are equal, unless a peer is broken. Then every replica must still keep the same one.
fn settle_tie(known: &mut Version, other: Version) {
    if *known == other {
        return;
    }
    let ours = known.count().expires_at();
    let order = ours
        .cmp(&other.count().expires_at())
        .then_with(|| format!("{known:?}").cmp(&format!("{other:?}")));
    if order == Ordering::Less {
        *known = other;
    }
}
