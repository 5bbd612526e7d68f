//! What is to happen in a world, in its order.

use std::collections::BTreeMap;

use crate::oracle::SimTime;

/// Events by time; those of one instant in the order in which they were planned.
pub(crate) struct Events<E> {
    /// Boxed: they are large, and a map moves what it holds.
    planned: BTreeMap<(SimTime, u64), Box<E>>,
    sequence: u64,
}

impl<E> Events<E> {
    pub(crate) fn new() -> Self {
        Self {
            planned: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn plan(&mut self, at: SimTime, event: E) {
        self.sequence += 1;
        self.planned.insert((at, self.sequence), Box::new(event));
    }

    /// When the next one is. `None`: nothing is planned.
    pub(crate) fn next_at(&self) -> Option<SimTime> {
        self.planned.keys().next().map(|&(at, _)| at)
    }

    /// Takes the next one, and when it is. `None`: nothing is planned up to `end`.
    pub(crate) fn next_until(&mut self, end: SimTime) -> Option<(SimTime, E)> {
        let first = self.planned.first_entry()?;
        let (at, _) = *first.key();
        (at <= end).then(|| (at, *first.remove()))
    }
}
