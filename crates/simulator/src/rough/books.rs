//! What clients were told, against what the cluster counts.

use std::collections::BTreeMap;

use quota::{Algorithm, Count, Limit, UnixNanos, Verdict};

use crate::oracle::{RequestId, force};

/// One key's books, in units.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    /// Clients were told that they are counted.
    pub(super) admitted: u64,
    /// Clients were told that nobody knows.
    pub(super) unknown: u64,
    /// Counted by a second owner, too, that knew nothing of the first; or counted by one and denied by another.
    pub(super) twice: u64,
}

/// A hit as its client knows it.
#[derive(Clone, Copy, Debug)]
struct Hit {
    key: usize,
    cost: u32,
    /// When an owner counted it first, by its clock, and which host that was.
    admitted: Option<(UnixNanos, usize)>,
    /// Its client was told for certain that it is not counted.
    is_told_uncounted: bool,
}

/// The books of all keys.
#[derive(Debug)]
pub(super) struct Books {
    accounts: Vec<Account>,
    hits: BTreeMap<RequestId, Hit>,
    /// Those that have no answer yet.
    open: usize,
    /// Those of which clients were told that they are counted, of keys that drain.
    drained: Vec<(usize, UnixNanos, u32, RequestId)>,
    draining_from: usize,
}

impl Books {
    pub(super) fn new(keys: usize, draining_from: usize) -> Self {
        Self {
            accounts: vec![Account::default(); keys],
            hits: BTreeMap::new(),
            open: 0,
            drained: Vec::new(),
            draining_from,
        }
    }

    /// A client asks.
    pub(super) fn on_asked(&mut self, request: RequestId, key: usize, cost: u32) {
        let hit = Hit {
            key,
            cost,
            admitted: None,
            is_told_uncounted: false,
        };
        self.hits.insert(request, hit);
        self.open += 1;
    }

    /// An owner has counted it. Whether that is as its client was told, if it was.
    #[must_use]
    pub(super) fn on_counted(&mut self, request: RequestId, by: usize, wall: UnixNanos) -> bool {
        let Some(hit) = self.hits.get_mut(&request) else {
            return true;
        };
        let &mut (_, first) = hit.admitted.get_or_insert((wall, by));
        // One that has counted it knows of it, whatever came between.
        if first != by {
            self.accounts[hit.key].twice += u64::from(hit.cost);
        }
        !hit.is_told_uncounted
    }

    /// A client is told what was decided.
    pub(super) fn on_answered(&mut self, request: RequestId, verdict: Verdict) {
        self.open -= 1;
        let hit = self.hits[&request];
        if verdict != Verdict::Allow {
            if hit.admitted.is_some() {
                self.accounts[hit.key].twice += u64::from(hit.cost);
            }
            return;
        }
        self.accounts[hit.key].admitted += u64::from(hit.cost);
        if let Some((wall, _)) = hit.admitted
            && self.draining_from <= hit.key
        {
            self.drained.push((hit.key, wall, hit.cost, request));
        }
    }

    /// A client is told that there is no decision, and whether it is certain that its hit is not counted. Whether that is so.
    #[must_use]
    pub(super) fn on_given_up(&mut self, request: RequestId, is_uncounted: bool) -> bool {
        self.open -= 1;
        let Some(hit) = self.hits.get_mut(&request) else {
            return true;
        };
        hit.is_told_uncounted = is_uncounted;
        if !is_uncounted {
            self.accounts[hit.key].unknown += u64::from(hit.cost);
        }
        !is_uncounted || hit.admitted.is_none()
    }

    /// Whether every client has its answer.
    pub(super) fn are_closed(&self) -> bool {
        self.open == 0
    }

    pub(super) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// What one node would have counted for `key` that had decided every hit of which clients were told that it is counted.
    pub(super) fn count_of_one_node(&self, key: usize, limit: &Limit) -> Option<Count> {
        let of_key = self.drained.iter().filter(|drained| drained.0 == key);
        let mut hits: Vec<_> = of_key.collect();
        hits.sort_unstable_by_key(|&&(_, wall, _, request)| (wall, request));
        let mut count = None;
        for &&(_, wall, cost, request) in &hits {
            force(limit, wall, &mut count, cost, request);
        }
        count
    }
}

/// Whether more may be counted than was admitted: sides that drained at once are folded to a bound.
pub(super) fn may_be_stricter(limit: &Limit) -> bool {
    matches!(limit.algorithm(), Algorithm::Gcra | Algorithm::LeakyBucket)
}
