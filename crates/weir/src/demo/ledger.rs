//! What was admitted, key by key, against what the cluster says was used.

use rehearsal::Account;

use super::keys::KEYS;

/// Books of every key. Counts only what clients were told.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Entry {
    /// What it says is counted is of the last audit.
    account: Account,
    /// The most that any audit missed.
    forgotten: u64,
}

/// What one node said of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Peek {
    /// Index into [`KEYS`].
    pub(crate) key: usize,
    /// Hits whose admission was known before the node was asked: it must know them all.
    pub(crate) admitted_before: u64,
    /// Units left.
    pub(crate) remaining: u64,
}

/// The books, summed up over all keys. In hits, all of which cost 1.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Totals {
    pub(crate) admitted: u64,
    pub(crate) denied: u64,
    pub(crate) unanswered: u64,
    /// Admitted, and not known to the cluster when it was asked later.
    pub(crate) forgotten: u64,
    /// Admitted beyond the limit.
    pub(crate) over_admitted: u64,
    /// Used, and not explained by an answer: at most `unanswered`, and hits in flight.
    pub(crate) counted_unanswered: u64,
}

impl Ledger {
    /// Books without a hit.
    pub(crate) fn new() -> Self {
        Self {
            entries: vec![Entry::default(); KEYS.len()],
        }
    }

    /// A hit was answered.
    pub(crate) fn answered(&mut self, key: usize, admitted: bool) {
        let account = &mut self.entries[key].account;
        match admitted {
            true => account.admitted += 1,
            false => account.denied += 1,
        }
    }

    /// A hit was not answered.
    pub(crate) fn unanswered(&mut self, key: usize) {
        self.entries[key].account.unknown += 1;
    }

    /// Admitted hits of each key, to be compared with what the cluster says from now on.
    pub(crate) fn admitted(&self) -> Vec<u64> {
        let entries = self.entries.iter();
        entries.map(|entry| entry.account.admitted).collect()
    }

    /// A node was asked. What is found missing once stays so: the hit may expire, its admission does not.
    pub(crate) fn audited(&mut self, peek: Peek) {
        let entry = &mut self.entries[peek.key];
        entry.account.counted = KEYS[peek.key].limit.saturating_sub(peek.remaining);
        // It must know what was admitted before it was asked.
        let before = Account {
            admitted: peek.admitted_before,
            ..entry.account
        };
        entry.forgotten = entry.forgotten.max(before.forgotten());
    }

    /// All keys together.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (entry, key) in self.entries.iter().zip(KEYS.iter()) {
            let account = entry.account;
            totals.admitted += account.admitted;
            totals.denied += account.denied;
            totals.unanswered += account.unknown;
            totals.forgotten += entry.forgotten;
            totals.over_admitted += account.over(key.limit);
            totals.counted_unanswered += account.untold();
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_with_limit(limit: u64) -> usize {
        KEYS.iter().position(|key| key.limit == limit).unwrap()
    }

    fn admit(ledger: &mut Ledger, key: usize, hits: u64) {
        (0..hits).for_each(|_| ledger.answered(key, true));
    }

    fn audit(ledger: &mut Ledger, key: usize, used: u64) {
        let peek = Peek {
            key,
            admitted_before: ledger.admitted()[key],
            remaining: KEYS[key].limit - used,
        };
        ledger.audited(peek);
    }

    #[test]
    fn what_the_cluster_does_not_know_is_forgotten() {
        let (mut ledger, key) = (Ledger::new(), key_with_limit(100_000));
        admit(&mut ledger, key, 10);
        audit(&mut ledger, key, 10);
        assert_eq!(ledger.totals().forgotten, 0);
        audit(&mut ledger, key, 7);
        assert_eq!(ledger.totals().forgotten, 3);
        audit(&mut ledger, key, 10);
        assert_eq!(
            ledger.totals().forgotten,
            3,
            "another answer does not undo it"
        );
    }

    #[test]
    fn keys_do_not_make_up_for_each_other() {
        let mut ledger = Ledger::new();
        admit(&mut ledger, 0, 5);
        admit(&mut ledger, 1, 5);
        audit(&mut ledger, 0, 4);
        audit(&mut ledger, 1, 6);
        let totals = ledger.totals();
        assert_eq!((totals.forgotten, totals.counted_unanswered), (1, 1));
    }

    #[test]
    fn hits_admitted_after_the_question_are_not_missed() {
        let (mut ledger, key) = (Ledger::new(), key_with_limit(100_000));
        admit(&mut ledger, key, 5);
        let before = ledger.admitted()[key];
        admit(&mut ledger, key, 5);
        ledger.audited(Peek {
            key,
            admitted_before: before,
            remaining: 100_000 - 6,
        });
        assert_eq!(ledger.totals().forgotten, 0);
    }

    #[test]
    fn admitted_beyond_the_limit_is_over_admitted() {
        let (mut ledger, key) = (Ledger::new(), key_with_limit(20));
        admit(&mut ledger, key, 20);
        ledger.answered(key, false);
        assert_eq!(ledger.totals().over_admitted, 0);
        admit(&mut ledger, key, 2);
        assert_eq!(ledger.totals().over_admitted, 2);
        assert_eq!(ledger.totals().denied, 1);
    }
}
