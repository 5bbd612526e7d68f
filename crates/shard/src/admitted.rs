//! The ids of admitted hits, remembered as long as whoever gave them may ask again.

mod by_client;

use std::collections::{BTreeMap, VecDeque};

use delta_crdt::ReplicaId;
use quota::{BootNanos, Nanos};

use self::by_client::{ClientHits, Inserted};

/// Names one hit. Asked again, it has the same id.
///
/// A node that forwards a hit names it by its incarnation and the number of the hit. A client names it as it likes, and the
/// id is a hash of that: [`HitId::of_client`]. The two never meet: no node ever counts to 2^63.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HitId {
    /// The incarnation of the node that forwards; of a client's id, 32 bits of the hash.
    pub origin: ReplicaId,
    /// Counts that node's forwarded hits. From 2^63 on: 63 bits of the hash.
    pub sequence: u64,
}

/// The bit of a sequence that is set in the ids of clients.
const OF_CLIENT: u64 = 1 << 63;

impl HitId {
    /// The id of a hit that its client named. `hash` is one of 128 bits over that name, the key and what is asked, of which
    /// 95 are used: of a million ids that are remembered at once, two are the same once in 10^17 times.
    #[must_use]
    pub const fn of_client(hash: u128) -> Self {
        Self {
            origin: ReplicaId((hash >> 64) as u32),
            sequence: hash as u64 | OF_CLIENT,
        }
    }

    /// Whether its client named the hit.
    #[must_use]
    pub const fn is_of_client(self) -> bool {
        OF_CLIENT <= self.sequence
    }
}

/// Most ids remembered by one shard; the oldest go first. 65 536 ids are 512 KiB, 1 MiB while their rooms grow, and eight
/// seconds of 8 000 forwarded hits a second on this one shard: eight million on all of them.
const REMEMBERED_MAX: usize = 65_536;

/// Between two notes of how far an origin had come. What is remembered for 8 s is so for up to 8.25 s, by 33 notes.
const NOTE_EVERY: Nanos = Nanos::from_millis(250);

/// The ids of admitted hits: those of nodes for each origin in the order of their sequences, those of clients by age.
///
/// A node numbers its hits when they are asked and retries each for a few seconds at the most. So whatever is numbered
/// below a hit that was admitted long ago is not retried any more, whenever it was admitted itself: ages are noted every
/// now and then for all of an origin, not for each id.
#[derive(Default, Debug)]
pub(crate) struct AdmittedHits {
    by_origin: BTreeMap<ReplicaId, Sequences>,
    /// Of those.
    len: usize,
    by_client: ClientHits,
    /// Of all that were forgotten, those for which there was no room.
    crowded_out: usize,
}

#[derive(Default, Debug)]
struct Sequences {
    /// Ascending, each once.
    known: VecDeque<u64>,
    /// The highest sequence at some moments, and until when what is up to it is remembered.
    notes: VecDeque<(BootNanos, u64)>,
    noted_at: BootNanos,
}

impl AdmittedHits {
    pub(crate) fn contains(&self, id: HitId) -> bool {
        if id.is_of_client() {
            return self.by_client.contains(id);
        }
        let sequences = self.by_origin.get(&id.origin);
        sequences.is_some_and(|sequences| sequences.known.binary_search(&id.sequence).is_ok())
    }

    /// Remembers `id` until `until`, or a little longer; earlier ids that are due, or too many, are forgotten. Whether it
    /// was new.
    pub(crate) fn insert(&mut self, now: BootNanos, until: BootNanos, id: HitId) -> bool {
        if id.is_of_client() {
            let Inserted { is_new, is_crowded } = self.by_client.insert(now, until, id);
            self.crowded_out += usize::from(is_crowded);
            return is_new;
        }
        let sequences = self.by_origin.entry(id.origin).or_default();
        if !sequences.insert(id.sequence) {
            return false;
        }
        self.len += 1;
        if sequences.notes.is_empty() || NOTE_EVERY <= now - sequences.noted_at {
            sequences.note(now, until);
            self.forget_nodes(now);
        }
        while REMEMBERED_MAX < self.len {
            let mut origins = self.by_origin.values_mut();
            let Some(mut most) = origins.next() else {
                return true;
            };
            for origin in origins {
                if most.known.len() < origin.known.len() {
                    most = origin;
                }
            }
            most.known.pop_front();
            self.len -= 1;
            self.crowded_out += 1;
        }
        true
    }

    /// How many were forgotten since this was asked last that might have been asked again, for want of room.
    pub(crate) fn take_crowded_out(&mut self) -> usize {
        std::mem::take(&mut self.crowded_out)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = HitId> {
        let of_nodes = self.by_origin.iter().flat_map(|(&origin, sequences)| {
            let known = sequences.known.iter();
            known.map(move |&sequence| HitId { origin, sequence })
        });
        of_nodes.chain(self.by_client.iter())
    }

    /// Forgets what is due, of origins that have fallen silent, too.
    pub(crate) fn forget_due(&mut self, now: BootNanos) {
        self.by_client.forget_due(now);
        self.forget_nodes(now);
    }

    fn forget_nodes(&mut self, now: BootNanos) {
        let mut forgotten = 0;
        self.by_origin.retain(|_, sequences| {
            forgotten += sequences.forget_due(now);
            !sequences.known.is_empty()
        });
        self.len -= forgotten;
    }
}

impl Sequences {
    /// Whether it is new.
    fn insert(&mut self, sequence: u64) -> bool {
        // The usual case: numbered after all that came before.
        if self.known.back().is_none_or(|&last| last < sequence) {
            self.known.push_back(sequence);
            return true;
        }
        match self.known.binary_search(&sequence) {
            Ok(_) => false,
            Err(place) => {
                self.known.insert(place, sequence);
                true
            }
        }
    }

    fn note(&mut self, now: BootNanos, until: BootNanos) {
        self.noted_at = now;
        if let Some(&highest) = self.known.back() {
            self.notes.push_back((until, highest));
        }
    }

    /// How many are forgotten that are due.
    fn forget_due(&mut self, now: BootNanos) -> usize {
        let before = self.known.len();
        // What came after the last note is up to a note younger than that.
        while let Some(&(until, highest)) = self.notes.front()
            && (until + NOTE_EVERY <= now || until <= now && 1 < self.notes.len())
        {
            self.notes.pop_front();
            let kept = self.known.partition_point(|&sequence| sequence <= highest);
            self.known.drain(..kept);
        }
        if self.notes.is_empty() {
            self.known = VecDeque::new();
        }
        before - self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Nanos = Nanos::from_secs(8);

    fn at(millis: u64) -> BootNanos {
        BootNanos::new(0) + Nanos::from_millis(millis)
    }

    fn id(origin: u32, sequence: u64) -> HitId {
        HitId {
            origin: ReplicaId(origin),
            sequence,
        }
    }

    fn insert(hits: &mut AdmittedHits, millis: u64, id: HitId) {
        hits.insert(at(millis), at(millis) + KEPT, id);
    }

    /// An origin retries for 3.5 s after it has numbered a hit.
    #[test]
    fn an_id_is_remembered_for_as_long_as_it_may_be_retried_and_no_more_than_a_note_longer() {
        let mut hits = AdmittedHits::default();
        insert(&mut hits, 0, id(1, 5));
        insert(&mut hits, 3_000, id(1, 3));
        for millis in (3_100..7_999).step_by(100) {
            insert(&mut hits, millis, id(1, millis));
            assert!(
                hits.contains(id(1, 3)) && hits.contains(id(1, 5)),
                "{millis}"
            );
        }
        insert(&mut hits, 8_300, id(2, 1));
        assert!(!hits.contains(id(1, 3)) && !hits.contains(id(1, 5)));
        assert!(hits.contains(id(1, 3_100)) && hits.contains(id(2, 1)));
        // What an origin that fell silent left behind goes with the notes of others.
        insert(&mut hits, 20_000, id(2, 2));
        assert_eq!(hits.iter().collect::<Vec<_>>(), [id(2, 2)]);
    }

    #[test]
    fn what_came_after_the_last_note_of_an_origin_that_fell_silent_is_remembered_as_long() {
        let mut hits = AdmittedHits::default();
        insert(&mut hits, 0, id(1, 1));
        insert(&mut hits, 249, id(1, 2));
        hits.forget_due(at(8_249));
        assert!(hits.contains(id(1, 2)));
        hits.forget_due(at(8_250));
        assert_eq!(hits.iter().count(), 0);
    }

    #[test]
    fn ids_that_come_in_any_order_are_each_remembered_once() {
        let mut hits = AdmittedHits::default();
        for sequence in [4, 2, 9, 2, 4, 1, 9] {
            insert(&mut hits, 1, id(1, sequence));
        }
        let known: Vec<_> = hits.iter().map(|id| id.sequence).collect();
        assert_eq!((known, hits.len), (vec![1, 2, 4, 9], 4));
    }

    /// Whoever guesses a node's incarnation and its next number cannot make a hit of it pass uncounted, or be forgotten early.
    #[test]
    fn ids_of_clients_never_meet_those_of_nodes() {
        let mut hits = AdmittedHits::default();
        let (of_node, hash) = (id(7, 1), (7 << 64) | 1);
        let of_client = HitId::of_client(hash);
        assert_eq!(of_client.origin, of_node.origin);
        insert(&mut hits, 0, of_client);
        assert!(hits.contains(of_client) && !hits.contains(of_node));
        insert(&mut hits, 7_900, of_node);
        insert(&mut hits, 8_300, id(7, 2));
        hits.forget_due(at(8_300));
        assert_eq!(hits.iter().collect::<Vec<_>>(), [of_node, id(7, 2)]);
    }

    #[test]
    fn a_flood_is_remembered_in_a_mebibyte_and_takes_from_the_origin_that_floods() {
        let mut hits = AdmittedHits::default();
        insert(&mut hits, 0, id(7, 1));
        for sequence in 0..3 * REMEMBERED_MAX as u64 {
            insert(&mut hits, 1, id(1, sequence));
        }
        assert_eq!(hits.iter().count(), REMEMBERED_MAX);
        assert!(hits.contains(id(7, 1)));
        assert_eq!(hits.take_crowded_out(), 2 * REMEMBERED_MAX + 1);
        assert_eq!(hits.take_crowded_out(), 0, "each is told once");
        let room = |sequences: &Sequences| sequences.known.capacity() * size_of::<u64>();
        let bytes: usize = hits.by_origin.values().map(room).sum();
        assert!(bytes <= 1024 * 1024 + 64, "{bytes}");
    }
}
