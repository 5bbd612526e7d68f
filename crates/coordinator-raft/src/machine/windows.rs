//! The decisions under each id, remembered as long as whoever asked may ask again.

use std::collections::BTreeMap;

use quota::{Decision, Nanos, UnixNanos};

/// Most ids remembered of one node; the oldest go first, and are too late then. A node has at most
/// [`crate::outbox::SPAN_MAX`] hits between its oldest open one and its newest, so this is not reached; at 64 bytes each
/// it would be 64 MiB.
const REMEMBERED_MAX: usize = crate::outbox::SPAN_MAX as usize;

/// A node that asked nothing for this long has nothing open: a hit is given up after 3 s.
const SILENCE_MAX: Nanos = Nanos::from_secs(60);

/// What was decided for each node.
#[derive(Clone, Default)]
pub(super) struct Windows {
    pub(super) by_origin: BTreeMap<u32, Window>,
}

/// What was decided for one node, above what it has settled.
#[derive(Clone, Default)]
pub(super) struct Window {
    pub(super) settled: u64,
    pub(super) heard: UnixNanos,
    pub(super) decided: BTreeMap<u64, Decision>,
}

impl Windows {
    pub(super) fn of(&mut self, origin: u32) -> &mut Window {
        self.by_origin.entry(origin).or_default()
    }

    pub(super) fn settle(&mut self, now: UnixNanos, origin: u32, settled: u64) {
        let window = self.of(origin);
        window.heard = now;
        window.settle(settled);
    }

    pub(super) fn forget_silent(&mut self, now: UnixNanos) {
        // A handful of nodes: looking at all of them is cheaper than keeping them in order.
        self.by_origin
            .retain(|_, window| now - window.heard < SILENCE_MAX);
    }

    pub(super) fn remembered(&self) -> usize {
        self.by_origin.values().map(|w| w.decided.len()).sum()
    }
}

impl Window {
    pub(super) fn is_settled(&self, sequence: u64) -> bool {
        sequence < self.settled
    }

    pub(super) fn decided(&self, sequence: u64) -> Option<Decision> {
        self.decided.get(&sequence).copied()
    }

    pub(super) fn remember(&mut self, sequence: u64, decision: Decision) {
        self.decided.insert(sequence, decision);
        if REMEMBERED_MAX < self.decided.len()
            && let Some((oldest, _)) = self.decided.pop_first()
        {
            self.settle(oldest + 1);
        }
    }

    fn settle(&mut self, settled: u64) {
        self.settled = self.settled.max(settled);
        while let Some(entry) = self.decided.first_entry()
            && *entry.key() < self.settled
        {
            entry.remove();
        }
    }
}
