//! What an owner tells its followers, and what it believes of them.

use delta_crdt::{Dot, Term};
use membership::{Contact, Member, Membership, Standing};
use quota::{Algorithm, Cost, Limit, UnixNanos};

use super::*;

const TERM: Term = Term {
    number: 3,
    replica: ReplicaId(1),
};
const A: ReplicaId = ReplicaId(2);
const B: ReplicaId = ReplicaId(3);
const C: ReplicaId = ReplicaId(4);
const RESEND_AFTER: Nanos = Nanos::from_millis(250);
const WALL: UnixNanos = UnixNanos::new(1_700_000_000_000_000_000);

fn at(millis: u64) -> BootNanos {
    BootNanos::new(millis * 1_000_000)
}

fn key(number: u128) -> KeyHash {
    KeyHash::new(number << 64 | number << 60)
}

/// The owner, and three others that have not been heard.
fn view() -> View {
    let member = |replica: ReplicaId| Member {
        name: format!("node-{}", replica.0),
        incarnation: 1,
        replica,
        standing: Standing::Joined,
        contact: Contact::default(),
    };
    let settings = membership::Settings::lan();
    let mut nodes = Membership::new(at(0), member(TERM.replica), settings, false);
    for other in [A, B, C] {
        nodes.on_introduced(at(0), &member(other));
    }
    nodes.view().clone()
}

struct Owner {
    reign: Reign,
    cells: Cells,
    record: Record,
}

/// What a delta connects to, what it goes through, and how many cells it has.
type Sent = (ReplicaId, u64, u64, usize);

impl Owner {
    /// An owner that wrote ten times under earlier terms.
    fn with(replicas: &[ReplicaId]) -> Self {
        let owner = [TERM.replica].iter().chain(replicas);
        Self {
            reign: Reign::new(at(0), TERM.replica, Vec::new(), &view(), 10),
            cells: Cells::new(),
            record: Record {
                term: TERM,
                epoch: 0,
                holders: owner.copied().collect(),
            },
        }
    }

    /// The same, and these have a copy.
    fn followed_by(peers: &[ReplicaId]) -> Self {
        let mut owner = Self::with(peers);
        for &peer in peers {
            owner.reign.follow(peer, ALL_BUCKETS);
            owner.is_copied_to(peer);
        }
        owner
    }

    fn writes(&mut self, millis: u64, number: u128) {
        let limit = Limit::new(Algorithm::Gcra, 10, Nanos::from_secs(60));
        let limit = limit.expect("within bounds");
        let dot = Dot::new(TERM, self.reign.written() + 1);
        let written = self.cells.hit(WALL, key(number), &limit, Cost::ONE, dot);
        assert!(written.changed);
        self.reign.wrote(at(millis), key(number), None);
    }

    fn piece_for(&mut self, peer: ReplicaId) -> Option<(u64, crate::message::Piece)> {
        let ids = AdmittedHits::default();
        let piece = self
            .reign
            .piece_for(peer, &self.record, &self.cells, &ids)?;
        let (Message::Copy { through, piece, .. }, _) = piece else {
            panic!("{piece:?}");
        };
        Some((through, piece))
    }

    /// It confirms what it needs, which goes through this write.
    fn is_copied_to(&mut self, peer: ReplicaId) -> u64 {
        let (through, piece) = self.piece_for(peer).expect("it needs a copy");
        let id = CopyId::Base(piece.number);
        let received = self.reign.on_received(peer, id, piece.index, false);
        assert_eq!((received, piece.is_last), (Some(true), true));
        assert_eq!(self.acked(peer), Some(through));
        through
    }

    fn acked(&self, peer: ReplicaId) -> Option<u64> {
        self.reign.progress(peer).and_then(Progress::acked)
    }

    fn flush(&mut self, millis: u64) -> Vec<Sent> {
        let (now, record) = (at(millis), &self.record);
        let out = self.reign.flush(now, RESEND_AFTER, record, &self.cells);
        let sent = out.into_iter().map(|(to, message)| match message {
            Message::Delta {
                baseline: Baseline::After(after),
                through,
                cells,
                ..
            } => (to, after, through, cells.len()),
            other => panic!("{other:?}"),
        });
        sent.collect()
    }
}

#[test]
fn writes_are_numbered_on_from_those_of_earlier_terms() {
    let mut owner = Owner::with(&[]);
    let numbers = |reign: &Reign| (reign.seq(), reign.written());
    assert_eq!(numbers(&owner.reign), (1, 11), "the state at the start");
    owner.writes(0, 1);
    assert_eq!(numbers(&owner.reign), (2, 12));
    owner.reign.remembered(at(0), Vec::new());
    assert_eq!(numbers(&owner.reign), (2, 12), "nothing");
    let has_written = [10, 11, 12, 13].map(|number| owner.reign.has_written(number));
    assert_eq!(has_written, [false, true, true, false]);
}

#[test]
fn a_follower_has_its_copy_and_then_one_delta_after_another() {
    let mut owner = Owner::with(&[A]);
    owner.reign.follow(A, ALL_BUCKETS);
    owner.reign.follow(A, 0);
    owner.writes(0, 1);
    assert_eq!((owner.acked(A), owner.flush(0)), (None, vec![]));
    assert!(!owner.reign.wants_flush(), "its copy has all of it");
    assert_eq!(owner.is_copied_to(A), 2);
    assert!(owner.piece_for(A).is_none(), "it needs no more");
    assert!(!owner.reign.wants_flush());
    assert_eq!(owner.flush(0), []);
    owner.writes(0, 2);
    owner.writes(0, 3);
    assert!(owner.reign.wants_flush());
    assert_eq!(owner.flush(0), [(A, 2, 4, 2)]);
    assert!(!owner.reign.wants_flush(), "it is under way");
    owner.writes(10, 4);
    assert!(!owner.reign.wants_flush());
    assert_eq!(owner.flush(10), []);
    assert!(owner.reign.on_have(A, 4, false));
    assert!(owner.reign.wants_flush());
    assert_eq!(owner.flush(10), [(A, 4, 5, 1)]);
    assert!(owner.reign.on_have(A, 5, false));
    assert_eq!((owner.acked(A), owner.flush(10)), (Some(5), vec![]));
}

#[test]
fn what_is_not_confirmed_is_sent_again_and_the_next_time_twice_as_late() {
    let mut owner = Owner::followed_by(&[A]);
    owner.writes(0, 1);
    let sent_at = |owner: &mut Owner, from: u64, until: u64| {
        let sent = |millis: &u64| !owner.flush(*millis).is_empty();
        (from..until).filter(sent).collect::<Vec<_>>()
    };
    let times = sent_at(&mut owner, 0, 2_000);
    assert_eq!(times, [0, 250, 750, 1_250, 1_750]);
    owner.reign.on_have(A, 2, false);
    owner.writes(2_000, 2);
    assert_eq!(sent_at(&mut owner, 2_000, 3_000), [2_000, 2_250, 2_750]);
}

#[test]
fn a_follower_confirms_what_it_was_sent_and_nothing_else() {
    let mut owner = Owner::followed_by(&[A]);
    owner.writes(0, 1);
    owner.writes(0, 2);
    assert_eq!(owner.flush(0).len(), 1);
    for (from, through) in [(A, 1), (A, 4), (B, 2)] {
        assert!(!owner.reign.on_have(from, through, false));
    }
    assert_eq!(owner.acked(A), Some(1));
    assert!(owner.reign.on_have(A, 2, false), "a part of it");
    assert_eq!(owner.flush(0), [], "the rest is under way");
    assert!(!owner.reign.on_have(A, 2, true), "it did not connect");
    assert_eq!(owner.flush(0), [(A, 2, 3, 1)]);
    assert!(owner.reign.on_have(A, 3, true));
    assert_eq!(owner.acked(A), Some(3));
    assert!(!owner.reign.on_have(A, 0, true), "it has lost everything");
    assert_eq!(owner.acked(A), None);
    assert!(!owner.reign.on_have(A, 3, false), "before its copy");
    let (through, piece) = owner.piece_for(A).expect("it needs a copy");
    assert_eq!(
        (through, piece.buckets, piece.cells.len()),
        (3, ALL_BUCKETS, 2)
    );
}

#[test]
fn a_copy_of_some_buckets_is_of_the_write_at_which_it_was_wanted() {
    let mut owner = Owner::with(&[A]);
    owner.writes(0, 1);
    owner.reign.follow(A, 1 << 2);
    owner.writes(0, 2);
    owner.writes(0, 3);
    let (through, piece) = owner.piece_for(A).expect("it needs a copy");
    assert_eq!((through, piece.buckets), (2, 1 << 2));
    assert_eq!(piece.cells.len(), 1);
    for wrong in [
        (B, CopyId::Base(piece.number), 0),
        (A, CopyId::Base(piece.number + 1), 0),
        (A, CopyId::Answer(piece.number), 0),
        (A, CopyId::Base(piece.number), 1),
    ] {
        let received = owner.reign.on_received(wrong.0, wrong.1, wrong.2, false);
        assert_eq!(received, None, "{wrong:?}");
    }
    let id = CopyId::Base(piece.number);
    assert_eq!(owner.reign.on_received(A, id, 0, false), Some(true));
    assert_eq!(owner.reign.on_received(A, id, 0, false), None, "once");
    assert_eq!(owner.flush(0), [(A, 2, 4, 2)], "what came since follows");
}

#[test]
fn a_copy_whose_first_pieces_are_missing_is_begun_anew() {
    let mut owner = Owner::with(&[A]);
    owner.writes(0, 1);
    owner.reign.follow(A, 1 << 1);
    let (_, piece) = owner.piece_for(A).expect("it needs a copy");
    let id = CopyId::Base(piece.number);
    assert_eq!(owner.reign.on_received(A, id, 0, true), Some(false));
    let (_, again) = owner.piece_for(A).expect("it needs a copy");
    assert_ne!(again.number, piece.number);
    assert_eq!((again.index, again.buckets), (0, ALL_BUCKETS));
}

#[test]
fn writes_are_kept_for_the_slowest_follower() {
    let mut owner = Owner::followed_by(&[A, B]);
    owner.writes(0, 1);
    owner.writes(0, 2);
    owner.flush(0);
    owner.reign.on_have(A, 3, false);
    assert_eq!(owner.reign.recent.len(), 2, "B has none of them");
    owner.reign.on_have(B, 2, false);
    assert_eq!((owner.reign.recent.len(), owner.reign.trimmed), (1, 2));
    owner.reign.unfollow(B);
    assert_eq!((owner.reign.recent.len(), owner.reign.trimmed), (0, 3));
    assert!(owner.reign.progress(B).is_none() && owner.acked(A) == Some(3));
    owner.reign.unfollow(A);
    owner.writes(0, 3);
    assert_eq!((owner.reign.recent.len(), owner.reign.trimmed), (0, 4));
}

#[test]
fn a_follower_that_is_too_far_behind_gets_everything_anew() {
    let behind = |writes: usize, buckets: Buckets| {
        let mut owner = Owner::followed_by(&[A]);
        if buckets != ALL_BUCKETS {
            owner.reign.unfollow(A);
            owner.reign.follow(A, buckets);
        }
        for _ in 0..writes {
            owner.reign.wrote(at(0), key(1), None);
        }
        owner
    };
    let (fits, too_many) = (RECENT_MAX, RECENT_MAX + 1);
    let through = fits as u64 + 1;
    assert_eq!(behind(fits, ALL_BUCKETS).flush(0), [(A, 1, through, 0)]);
    let mut owner = behind(too_many, ALL_BUCKETS);
    assert_eq!((owner.flush(0), owner.acked(A)), (vec![], None));
    let buckets = |owner: &mut Owner| owner.piece_for(A).map(|(_, piece)| piece.buckets);
    assert_eq!(buckets(&mut owner), Some(ALL_BUCKETS));
    assert_eq!(buckets(&mut behind(fits, 1)), Some(1));
    assert_eq!(buckets(&mut behind(too_many, 1)), Some(ALL_BUCKETS));
}

#[test]
fn what_nobody_has_confirmed_ages_from_its_write() {
    let mut owner = Owner::followed_by(&[A, B]);
    owner.writes(100, 1);
    owner.writes(200, 2);
    owner.flush(200);
    let lag = |owner: &Owner, partition| {
        let lag = owner.reign.lag(at(1_000), &owner.record, partition);
        lag.get() / 1_000_000
    };
    let behind = |owner: &Owner, known: u64| {
        let mut behind = BTreeMap::from([(A, Nanos::from_millis(known))]);
        owner.reign.behind(at(1_000), &owner.record, &mut behind);
        let behind = behind.into_iter();
        let behind = behind.map(|(peer, age)| (peer, age.get() / 1_000_000));
        behind.collect::<Vec<_>>()
    };
    assert_eq!(lag(&owner, Partition::Available), 900);
    assert_eq!(behind(&owner, 850), [(A, 900), (B, 900)]);
    owner.reign.on_have(A, 2, false);
    assert_eq!(lag(&owner, Partition::Available), 800);
    assert_eq!(lag(&owner, Partition::Quorum), 900);
    assert_eq!(behind(&owner, 850), [(A, 850), (B, 900)]);
    owner.reign.on_have(A, 3, false);
    assert_eq!(lag(&owner, Partition::Available), 0);
    owner.record.holders = vec![TERM.replica, A];
    assert_eq!(behind(&owner, 7), [(A, 7)], "B holds nothing");
}

#[test]
fn one_replica_confirms_and_under_quorum_all_once_a_majority_knows_of_them() {
    let mut owner = Owner::followed_by(&[A, B]);
    let confirmed = |owner: &Owner| {
        [Partition::Available, Partition::Quorum]
            .map(|partition| owner.reign.confirmed(&owner.record, partition))
    };
    owner.writes(0, 1);
    owner.flush(0);
    owner.reign.on_have(A, 2, false);
    assert_eq!(confirmed(&owner), [2, 0]);
    // Three of four are a majority.
    let lease = Lease::default();
    owner.reign.knows(at(0), A, lease);
    owner.reign.knows(at(0), A, lease);
    assert_eq!((owner.reign.is_known(), confirmed(&owner)), (false, [2, 0]));
    owner.reign.knows(at(0), C, lease);
    assert_eq!((owner.reign.is_known(), confirmed(&owner)), (true, [2, 1]));
    owner.reign.on_have(B, 2, false);
    assert_eq!(confirmed(&owner), [2, 2]);
    owner.record.holders = vec![TERM.replica];
    assert_eq!(confirmed(&owner), [0, 2], "nobody is waited for");
    // None of them is seen alive.
    owner.reign.on_view(&view());
    assert!(!owner.reign.is_known());
}

#[test]
fn a_lease_counts_that_ran_from_when_the_record_was_told_until_it_was_noted() {
    let lease = |millis, epoch| Lease {
        until: at(millis),
        epoch,
    };
    let counts = |told: Lease, noted: Lease| {
        let mut reign = Owner::with(&[]).reign;
        reign.tells(at(100), A, told);
        reign.tells(at(100), A, lease(500, 9));
        reign.knows(at(200), A, noted);
        assert_eq!(reign.known_by, [A], "it has noted it in any case");
        reign.lease_epochs == [(A, noted.epoch)]
    };
    assert!(counts(lease(101, 1), lease(201, 1)));
    assert!(!counts(lease(100, 1), lease(201, 1)), "it had run out");
    assert!(!counts(lease(101, 1), lease(200, 1)), "it has run out");
    assert!(!counts(lease(101, 1), lease(201, 2)), "it ran out between");
    let mut reign = Owner::with(&[]).reign;
    reign.meet(A, lease(500, 1));
    reign.meet(A, lease(500, 2));
    assert_eq!(reign.lease_epochs, [(A, 1)]);
}

#[test]
fn whose_state_was_joined_is_told_once_a_replica_has_it() {
    let mut owner = Owner::followed_by(&[A]);
    let told = |owner: &mut Owner| owner.reign.take_synced(&owner.record);
    owner.writes(0, 1);
    owner.reign.owe_synced(B);
    owner.flush(0);
    owner.writes(0, 2);
    owner.reign.owe_synced(B);
    owner.reign.owe_synced(C);
    assert_eq!(told(&mut owner), []);
    owner.reign.on_have(A, 2, false);
    assert_eq!(told(&mut owner), [B], "its state was joined by then");
    assert_eq!(told(&mut owner), [], "once");
    owner.reign.owe_nothing(C);
    owner.flush(0);
    owner.reign.on_have(A, 3, false);
    assert_eq!(told(&mut owner), [], "C has sent more");
    owner.record.holders = vec![TERM.replica];
    owner.writes(0, 3);
    owner.reign.owe_synced(C);
    assert_eq!(told(&mut owner), [C], "there is no replica");
}

#[test]
fn who_lacks_nothing_or_has_a_part_gets_its_piece_first() {
    let mut owner = Owner::with(&[A, B, C]);
    for (peer, buckets) in [(A, ALL_BUCKETS), (B, 0), (C, ALL_BUCKETS)] {
        owner.reign.follow(peer, buckets);
    }
    owner.is_copied_to(C);
    assert_eq!(owner.reign.untold(), [(A, false), (B, true)]);
    assert_eq!(owner.reign.untold(), [], "each once");
    owner.reign.tell_again();
    assert_eq!(owner.reign.untold(), [(A, false), (B, true)]);
}

#[test]
fn whole_buckets_have_all_of_their_keys() {
    let mut owner = Owner::with(&[]);
    for number in 1..=5 {
        owner.writes(0, number);
    }
    let keys = |buckets| {
        let mut keys: Vec<KeyHash> = whole(&owner.cells, buckets)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        keys.sort_unstable();
        keys
    };
    let of = |key: KeyHash| 1 << Digest::bucket_of(key);
    assert_eq!(keys(0), []);
    assert_eq!(keys(of(key(2))), [key(2)]);
    assert_eq!(keys(ALL_BUCKETS).len(), 5);
}
