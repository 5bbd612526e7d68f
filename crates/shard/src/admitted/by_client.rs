//! The ids that clients gave their hits.

use std::collections::{HashSet, VecDeque};

use quota::BootNanos;

use super::HitId;

/// Most ids of clients that one shard remembers; the oldest go first. 32 768 take 2 MiB, and are eight seconds of 4 000 hits
/// a second on this one shard.
const REMEMBERED_MAX: usize = 32_768;

/// The ids that clients gave their hits, by age: they come in no order that would tell which are asked again no more.
#[derive(Default, Debug)]
pub(crate) struct ClientHits {
    known: HashSet<HitId>,
    /// Each once, until when it is remembered, in that order.
    by_age: VecDeque<(BootNanos, HitId)>,
}

/// What came of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inserted {
    /// It was not remembered before.
    pub(crate) is_new: bool,
    /// Another one was forgotten for it, which might have been asked again.
    pub(crate) is_crowded: bool,
}

impl ClientHits {
    pub(crate) fn contains(&self, id: HitId) -> bool {
        self.known.contains(&id)
    }

    /// Remembers `id` until `until`; earlier ids that are due, or too many, are forgotten.
    pub(crate) fn insert(&mut self, now: BootNanos, until: BootNanos, id: HitId) -> Inserted {
        self.forget_due(now);
        let is_new = self.known.insert(id);
        let is_crowded = is_new && REMEMBERED_MAX <= self.by_age.len();
        if is_crowded {
            self.forget_oldest();
        }
        if is_new {
            self.by_age.push_back((until, id));
        }
        Inserted { is_new, is_crowded }
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = HitId> {
        self.by_age.iter().map(|&(_, id)| id)
    }

    pub(crate) fn forget_due(&mut self, now: BootNanos) {
        while self.by_age.front().is_some_and(|&(until, _)| until <= now) {
            self.forget_oldest();
        }
        // What a flood took is given back.
        if self.by_age.is_empty() && self.by_age.capacity() != 0 {
            *self = Self::default();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.by_age.pop_front() {
            self.known.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use quota::Nanos;

    use super::*;

    const KEPT: Nanos = Nanos::from_secs(8);

    fn at(millis: u64) -> BootNanos {
        BootNanos::new(0) + Nanos::from_millis(millis)
    }

    fn insert(hits: &mut ClientHits, millis: u64, hash: u128) -> bool {
        let id = HitId::of_client(hash);
        hits.insert(at(millis), at(millis) + KEPT, id).is_new
    }

    /// Unlike those of a node, whose numbers ascend.
    #[test]
    fn each_is_remembered_for_as_long_as_it_may_be_asked_again_whatever_its_number() {
        let mut hits = ClientHits::default();
        for (millis, hash) in [(0, 9), (1_000, 3), (2_000, 7)] {
            assert!(insert(&mut hits, millis, hash));
        }
        assert!(!insert(&mut hits, 3_000, 3));
        hits.forget_due(at(7_999));
        assert_eq!(hits.iter().count(), 3);
        hits.forget_due(at(9_000));
        assert_eq!(hits.iter().collect::<Vec<_>>(), [HitId::of_client(7)]);
        assert!(insert(&mut hits, 9_000, 3));
        hits.forget_due(at(17_000));
        assert_eq!((hits.iter().count(), hits.by_age.capacity()), (0, 0));
    }

    #[test]
    fn of_a_flood_the_newest_are_remembered_in_two_mebibytes() {
        let mut hits = ClientHits::default();
        for hash in 0..2 * REMEMBERED_MAX as u128 {
            let id = HitId::of_client(hash);
            let is_crowded = REMEMBERED_MAX as u128 <= hash;
            let expected = Inserted {
                is_new: true,
                is_crowded,
            };
            assert_eq!(hits.insert(at(1), at(1) + KEPT, id), expected);
        }
        assert_eq!(hits.iter().count(), REMEMBERED_MAX);
        assert!(!hits.contains(HitId::of_client(REMEMBERED_MAX as u128 - 1)));
        assert!(hits.contains(HitId::of_client(REMEMBERED_MAX as u128)));
        let set = hits.known.capacity() * 8 / 7 * (size_of::<HitId>() + 1);
        let bytes = set + hits.by_age.capacity() * size_of::<(BootNanos, HitId)>();
        assert!(bytes <= 2 * 1024 * 1024, "{bytes}");
    }
}
