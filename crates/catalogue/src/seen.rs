//! Which writes a record has seen: a version vector.

use delta_crdt::ReplicaId;

use crate::clock::Stamp;

/// For each incarnation, the newest of its writes to one record that the record has seen. Ordered by incarnation.
///
/// The write that the record holds is not listed, so that a record which one node alone has written takes no room here:
/// of a million limits nearly all are. (A map by incarnation, such as `VClock` of the crate `crdts`, takes 150 bytes for
/// its first entry.)
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Seen(Vec<Stamp>);

/// Most incarnations that one record remembers; beyond, the oldest writes are forgotten. One record in a cluster of
/// nine nodes that all write it and restart daily has 270 within 30 days, 4 KiB, which nobody does: 64 are 1 KiB.
const SEEN_MAX: usize = 64;

impl Seen {
    /// Those writes, of which of each incarnation the newest counts.
    #[must_use]
    pub fn of(stamps: impl IntoIterator<Item = Stamp>) -> Self {
        let mut seen = Self::default();
        for stamp in stamps {
            seen.add(stamp);
        }
        seen
    }

    /// Whether this write, or a later one of its incarnation, is among them.
    #[must_use]
    pub fn contains(&self, stamp: Stamp) -> bool {
        let place = self.place(stamp.incarnation());
        place.is_ok_and(|place| stamp <= self.0[place])
    }

    /// Adds a write.
    pub fn add(&mut self, stamp: Stamp) {
        match self.place(stamp.incarnation()) {
            Ok(place) => self.0[place] = self.0[place].max(stamp),
            Err(place) => self.0.insert(place, stamp),
        }
        if SEEN_MAX < self.0.len() {
            let oldest = self.0.iter().copied().min();
            self.0.retain(|stamp| Some(*stamp) != oldest);
        }
    }

    /// Adds all that another has.
    pub fn join(&mut self, other: &Self) {
        for stamp in &other.0 {
            self.add(*stamp);
        }
    }

    /// Leaves out what `held`, which stands elsewhere, says as well.
    pub(crate) fn take_out(&mut self, held: Stamp) {
        self.0
            .retain(|stamp| stamp.incarnation() != held.incarnation() || held < *stamp);
    }

    /// Forgets what was written before `millis`.
    pub(crate) fn forget_before(&mut self, millis: u64) {
        self.0.retain(|stamp| millis <= stamp.millis());
    }

    /// The newest write of each incarnation.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Stamp> + '_ {
        self.0.iter().copied()
    }

    fn place(&self, incarnation: ReplicaId) -> Result<usize, usize> {
        self.0
            .binary_search_by_key(&incarnation, |stamp| stamp.incarnation())
    }
}
