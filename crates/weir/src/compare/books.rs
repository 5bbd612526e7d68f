//! What was sent and admitted, key by key, against what the limit allows and what the nodes know of.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What clients sent and were told, by rank of the key. Shared by all of them.
#[derive(Debug)]
pub(crate) struct Books {
    limit: u64,
    entries: Vec<Entry>,
}

#[derive(Default, Debug)]
struct Entry {
    sent: AtomicU64,
    admitted: AtomicU64,
}

/// The books, summed up over keys. None makes up for another. In hits, all of which cost 1.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) admitted: u64,
    /// What one counter that never fails would have admitted: of each key what was sent, up to the limit.
    pub(crate) ideal: u64,
    /// Admitted beyond the limit.
    pub(crate) over: u64,
    /// Not admitted, though within the limit.
    pub(crate) under: u64,
    /// Admitted within the limit, and in the end not known to some node that was asked. What was forgotten and then
    /// admitted again is in `over`. `None` when no node could be asked.
    pub(crate) forgotten: Option<u64>,
}

impl Books {
    /// Books without a hit.
    pub(crate) fn new(keys: usize, limit: u64) -> Self {
        let entries = std::iter::repeat_with(Entry::default).take(keys).collect();
        Self { limit, entries }
    }

    /// A hit was sent.
    pub(crate) fn sent(&self, key: usize) {
        self.entries[key].sent.fetch_add(1, Relaxed);
    }

    /// A client was told that its hit is admitted.
    pub(crate) fn admitted(&self, key: usize) {
        self.entries[key].admitted.fetch_add(1, Relaxed);
    }

    /// Hits that should be known of, and are not, if this is what some node has left of each key.
    pub(crate) fn forgotten(&self, remaining: &[u64]) -> u64 {
        let keys = self.entries.iter().zip(remaining);
        keys.map(|(entry, &remaining)| {
            let used = self.limit.saturating_sub(remaining);
            let known = entry.admitted.load(Relaxed).min(self.limit);
            known.saturating_sub(used)
        })
        .sum()
    }

    /// All keys together.
    pub(crate) fn totals(&self, forgotten: Option<u64>) -> Totals {
        let mut totals = Totals {
            forgotten,
            ..Totals::default()
        };
        for entry in &self.entries {
            let (sent, admitted) = (entry.sent.load(Relaxed), entry.admitted.load(Relaxed));
            let ideal = sent.min(self.limit);
            totals.sent += sent;
            totals.admitted += admitted;
            totals.ideal += ideal;
            totals.over += admitted.saturating_sub(self.limit);
            totals.under += ideal.saturating_sub(admitted);
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books with that many hits sent and admitted of each key.
    fn books(limit: u64, keys: &[(u64, u64)]) -> Books {
        let books = Books::new(keys.len(), limit);
        for (key, &(sent, admitted)) in keys.iter().enumerate() {
            (0..sent).for_each(|_| books.sent(key));
            (0..admitted).for_each(|_| books.admitted(key));
        }
        books
    }

    #[test]
    fn the_ideal_is_what_was_sent_up_to_the_limit_of_each_key() {
        let totals = books(10, &[(25, 10), (4, 4), (0, 0)]).totals(None);
        let expected = Totals {
            sent: 29,
            admitted: 14,
            ideal: 14,
            ..Totals::default()
        };
        assert_eq!(totals, expected);
    }

    #[test]
    fn over_and_under_of_two_keys_do_not_cancel_out() {
        let totals = books(10, &[(25, 13), (8, 5)]).totals(None);
        assert_eq!((totals.over, totals.under), (3, 3));
        assert_eq!((totals.admitted, totals.ideal), (18, 18));
    }

    #[test]
    fn what_a_node_does_not_know_of_is_forgotten() {
        let books = books(10, &[(9, 7), (9, 9), (30, 13)]);
        assert_eq!(books.forgotten(&[3, 1, 0]), 0);
        assert_eq!(books.forgotten(&[5, 1, 0]), 2, "of the first key");
        assert_eq!(
            books.forgotten(&[0, 3, 1]),
            3,
            "more known makes up for none"
        );
        assert_eq!(books.forgotten(&[10, 10, 10]), 26, "none beyond the limit");
    }
}
