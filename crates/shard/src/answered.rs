//! The hits of this node that the owner of a shard admitted lately: what they came to is asked when another takes over.

use std::collections::VecDeque;

use quota::{BootNanos, Nanos};

/// How long an answer is kept: a replica has it within `max_lag`, and a silent owner is replaced within two seconds.
pub(crate) const KEPT_FOR: Nanos = Nanos::from_millis(2_500);

/// Most answers kept for one shard. 1 024 are 400 hits a second on this one shard, 16 KiB; of more, the newest count.
const KEPT_MAX: usize = 1_024;

#[derive(Default, Debug)]
pub(crate) struct AnsweredHits {
    by_age: VecDeque<(BootNanos, u64)>,
}

impl AnsweredHits {
    pub(crate) fn insert(&mut self, now: BootNanos, sequence: u64) {
        self.drop_old(now);
        if KEPT_MAX <= self.by_age.len() {
            self.by_age.pop_front();
        }
        self.by_age.push_back((now, sequence));
    }

    /// The sequences of those that are kept.
    pub(crate) fn recent(&mut self, now: BootNanos) -> Vec<u64> {
        self.drop_old(now);
        self.by_age.iter().map(|&(_, sequence)| sequence).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.by_age = VecDeque::new();
    }

    fn drop_old(&mut self, now: BootNanos) {
        while self
            .by_age
            .front()
            .is_some_and(|&(at, _)| KEPT_FOR < now - at)
        {
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootNanos {
        BootNanos::new(millis * 1_000_000)
    }

    #[test]
    fn an_answer_is_kept_for_two_and_a_half_seconds() {
        let mut hits = AnsweredHits::default();
        hits.insert(at(0), 7);
        hits.insert(at(1), 8);
        assert_eq!(hits.recent(at(2_500)), [7, 8]);
        assert_eq!(hits.recent(at(2_501)), [8]);
        hits.insert(at(2_501), 9);
        assert_eq!(hits.recent(at(2_501)), [8, 9]);
        hits.clear();
        assert_eq!(hits.recent(at(2_501)), [0; 0]);
    }

    #[test]
    fn of_a_flood_the_newest_1024_are_kept() {
        let mut hits = AnsweredHits::default();
        for sequence in 0..1_026 {
            hits.insert(at(0), sequence);
        }
        assert_eq!(hits.recent(at(0)), (2..1_026).collect::<Vec<_>>());
    }
}
