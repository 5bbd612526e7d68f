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
    /// Counted by a second owner, too, that knew nothing of the first; or denied by one, as their clients were told, and
    /// counted by another, before or after.
    pub(super) twice: u64,
}

/// A hit as its client knows it.
#[derive(Clone, Copy, Debug)]
struct Hit {
    key: usize,
    cost: u32,
    /// When an owner counted it first, by its clock.
    admitted: Option<UnixNanos>,
    counted_by: Hosts,
    denied_by: Hosts,
    told: Told,
}

/// Bit n for host n.
type Hosts = u16;

/// What a client was told of its hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// Nothing, yet.
    Nothing,
    /// It is counted.
    Counted,
    /// It is denied.
    Denied,
    /// Nobody knows.
    Unknown,
    /// It is not counted, for certain.
    Uncounted,
}

impl Hit {
    /// How many owners counted it beside what its client was told, each on a side of its own.
    ///
    /// Each host once: one that has counted it knows of it, whatever came between. So it is not excused by its own denial.
    fn owners_too_many(&self) -> u32 {
        match self.told {
            // What was under way to one when the link went arrives when it is back, long after another has denied it.
            Told::Denied if self.denied_by.is_power_of_two() => {
                (self.counted_by & !self.denied_by).count_ones()
            }
            Told::Denied => self.counted_by.count_ones(),
            _ => self.counted_by.count_ones().saturating_sub(1),
        }
    }
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
            counted_by: 0,
            denied_by: 0,
            told: Told::Nothing,
        };
        self.hits.insert(request, hit);
        self.open += 1;
    }

    /// What it costs.
    pub(super) fn units(&self, request: RequestId) -> i64 {
        self.hits.get(&request).map_or(0, |hit| i64::from(hit.cost))
    }

    /// An owner has counted it. Whether that is as its client was told, if it was.
    #[must_use]
    pub(super) fn on_counted(&mut self, request: RequestId, by: usize, wall: UnixNanos) -> bool {
        let Some(hit) = self.hits.get_mut(&request) else {
            return true;
        };
        hit.admitted.get_or_insert(wall);
        hit.counted_by |= 1 << by;
        hit.told != Told::Uncounted
    }

    /// An owner has denied it.
    pub(super) fn on_denied(&mut self, request: RequestId, by: usize) {
        if let Some(hit) = self.hits.get_mut(&request) {
            hit.denied_by |= 1 << by;
        }
    }

    /// A client is told what was decided.
    pub(super) fn on_answered(&mut self, request: RequestId, verdict: Verdict) {
        self.open -= 1;
        let Some(hit) = self.hits.get_mut(&request) else {
            return;
        };
        if verdict != Verdict::Allow {
            hit.told = Told::Denied;
            return;
        }
        hit.told = Told::Counted;
        self.accounts[hit.key].admitted += u64::from(hit.cost);
        if let Some(wall) = hit.admitted
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
        hit.told = match is_uncounted {
            true => Told::Uncounted,
            false => Told::Unknown,
        };
        if !is_uncounted {
            self.accounts[hit.key].unknown += u64::from(hit.cost);
        }
        !is_uncounted || hit.admitted.is_none()
    }

    /// Whether every client has its answer.
    pub(super) fn are_closed(&self) -> bool {
        self.open == 0
    }

    pub(super) fn accounts(&self) -> Vec<Account> {
        let mut accounts = self.accounts.clone();
        for hit in self.hits.values() {
            accounts[hit.key].twice += u64::from(hit.cost * hit.owners_too_many());
        }
        accounts
    }

    /// What one node would have counted for `key` that had decided every hit of which clients were told that it is counted,
    /// and that `is_known`.
    pub(super) fn count_of_one_node(
        &self,
        key: usize,
        limit: &Limit,
        is_known: impl Fn(RequestId) -> bool,
    ) -> Option<Count> {
        let of_key = self.drained.iter();
        let of_key = of_key.filter(|drained| drained.0 == key && is_known(drained.3));
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
pub(crate) fn may_be_stricter(limit: &Limit) -> bool {
    matches!(limit.algorithm(), Algorithm::Gcra | Algorithm::LeakyBucket)
}

#[cfg(test)]
mod tests {
    use quota::Nanos;

    use super::*;

    const AT: UnixNanos = UnixNanos::new(1);

    const DENIED: Verdict = Verdict::Deny {
        retry_after: Nanos::from_secs(1),
    };

    fn books() -> Books {
        let mut books = Books::new(1, 1);
        books.on_asked(7, 0, 2);
        books
    }

    fn twice(books: &Books) -> u64 {
        books.accounts()[0].twice
    }

    #[test]
    fn each_owner_is_excused_once_and_the_first_never() {
        let mut books = books();
        for (by, excused) in [(1, 0), (1, 0), (2, 2), (2, 2), (1, 2)] {
            assert!(books.on_counted(7, by, AT));
            assert_eq!(twice(&books), excused, "{by}");
        }
        books.on_answered(7, Verdict::Allow);
        assert_eq!(twice(&books), 2);
    }

    #[test]
    fn a_denial_excuses_what_another_owner_counts_before_or_after() {
        let mut late = books();
        late.on_denied(7, 1);
        late.on_answered(7, DENIED);
        assert!(late.on_counted(7, 3, AT));
        assert_eq!(twice(&late), 2);

        let mut early = books();
        assert!(early.on_counted(7, 3, AT));
        early.on_denied(7, 1);
        early.on_answered(7, DENIED);
        assert_eq!(twice(&early), 2);
    }

    #[test]
    fn a_denial_does_not_excuse_what_the_same_owner_counts() {
        let mut books = books();
        books.on_denied(7, 1);
        books.on_answered(7, DENIED);
        assert!(books.on_counted(7, 1, AT));
        assert_eq!(twice(&books), 0);
    }
}
