//! Who counts towards a majority under `quorum`, and how that changes one name at a time.
//!
//! Members of two compositions must not decide past each other: any majority of the one and any of the other have a
//! member in common. That is so where they differ by one name. So a composition changes by one name at a time, and next
//! only when a majority of it has gone by it for a lease: by then nobody holds leases any more that were given under the
//! one before. Whoever goes by an older composition is given no lease ([`CouncilId`] tells them apart) but the newer one.
//!
//! One node at a time changes it: the owner of one certain shard, which is the only one of its term. As a leader of Raft
//! does (Ongaro, 2014, section 4.1, with the correction of 2015), it first makes the composition that a majority knows
//! its own, under its term, and then adds.

use std::collections::BTreeSet;

use delta_crdt::{ReplicaId, Term};
use quota::{BootNanos, Nanos};

/// Tells compositions apart: the later overrides the earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CouncilId {
    /// Under which the node that composed it owned the shard that goes with it.
    pub term: Term,
    /// Counts the changes within the term.
    pub change: u32,
}

impl Default for CouncilId {
    fn default() -> Self {
        Self::NONE
    }
}

impl CouncilId {
    /// Below every composition: all members count.
    pub const NONE: Self = Self {
        term: Term {
            number: 0,
            replica: ReplicaId(0),
        },
        change: 0,
    };
}

/// The names that count. A name that has left or was forgotten counts no more, wherever that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Council {
    /// Which composition.
    pub id: CouncilId,
    /// Of nodes, each once, whether or not they have been met.
    pub names: BTreeSet<String>,
}

impl Council {
    /// The first of a cluster that is founded by these.
    #[must_use]
    pub fn founded_by(me: ReplicaId, names: impl IntoIterator<Item = String>) -> Self {
        let term = Term {
            number: 0,
            replica: me,
        };
        Self {
            id: CouncilId { term, change: 0 },
            names: names.into_iter().collect(),
        }
    }
}

/// The right to change the council, held by the owner of the shard that goes with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chair {
    term: Term,
    /// Since when a majority has gone by the composition as it is now.
    steady_since: Option<BootNanos>,
}

impl Chair {
    pub(crate) fn new(term: Term) -> Self {
        Self {
            term,
            steady_since: None,
        }
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// The composition changed, or who goes by it is to be counted anew.
    pub(crate) fn unsettle(&mut self) {
        self.steady_since = None;
    }

    /// Whether a majority has gone by the composition for `span`, `agrees` being whether it does now.
    pub(crate) fn is_steady(&mut self, now: BootNanos, agrees: bool, span: Nanos) -> bool {
        if !agrees {
            self.steady_since = None;
            return false;
        }
        span <= now - *self.steady_since.get_or_insert(now)
    }

    /// What follows `council`, given whose names are `gone` and which newcomer has what it needs to count.
    ///
    /// `None`: nothing is to be changed.
    pub(crate) fn next(
        &self,
        council: &Council,
        gone: impl Fn(&str) -> bool,
        newcomer: Option<&str>,
    ) -> Option<Council> {
        if council.id.term != self.term {
            let id = CouncilId {
                term: self.term,
                change: 0,
            };
            let names = council.names.clone();
            return Some(Council { id, names });
        }
        // Whoever is gone counts already for nobody who knows it.
        let mut names = council.names.clone();
        names.retain(|name| !gone(name));
        if names == council.names {
            names.extend(newcomer.map(str::to_owned));
        }
        let id = CouncilId {
            change: council.id.change + 1,
            ..council.id
        };
        (names != council.names).then_some(Council { id, names })
    }
}

#[cfg(test)]
mod tests {
    use delta_crdt::ReplicaId;

    use super::*;

    #[test]
    fn a_majority_has_to_go_by_the_composition_for_the_whole_span_anew_after_each_change() {
        let at = |millis: u64| BootNanos::new(millis * 1_000_000);
        let span = Nanos::from_secs(1);
        let mut chair = Chair::new(Term {
            number: 1,
            replica: ReplicaId(1),
        });
        assert!(!chair.is_steady(at(0), true, span));
        assert!(!chair.is_steady(at(999), true, span));
        assert!(chair.is_steady(at(1_000), true, span));
        chair.unsettle();
        assert!(!chair.is_steady(at(1_001), true, span), "a change");
        assert!(!chair.is_steady(at(1_500), false, span), "nobody agrees");
        assert!(!chair.is_steady(at(2_100), true, span), "they agree anew");
        assert!(chair.is_steady(at(3_100), true, span));
    }
}
