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

impl Seen {
    /// Most incarnations that one record remembers; beyond, the oldest writes are forgotten. One record in a cluster of
    /// nine nodes that all write it and restart daily has 270 within 30 days, 4 KiB, which nobody does: 64 are 1 KiB.
    pub const MAX: usize = 64;

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
    }

    /// Adds all that another has.
    pub fn join(&mut self, other: &Self) {
        for stamp in &other.0 {
            self.add(*stamp);
        }
    }

    /// Leaves out what the record says as well by holding `held`.
    pub(crate) fn leave_out(&mut self, held: Stamp) {
        let says_more = |stamp: &Stamp| stamp.incarnation() != held.incarnation() || held < *stamp;
        self.0.retain(says_more);
    }

    /// Leaves out what was written before `millis`, and the oldest beyond as many as a record remembers. The last comes
    /// last, or what is left would depend on the order of joins.
    pub(crate) fn trim(&mut self, millis: u64) {
        self.0.retain(|stamp| millis <= stamp.millis());
        if let Some(beyond) = self.0.len().checked_sub(Self::MAX + 1) {
            let mut oldest_first = self.0.clone();
            oldest_first.sort_unstable();
            let newest_beyond = oldest_first[beyond];
            self.0.retain(|stamp| newest_beyond < *stamp);
        }
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
