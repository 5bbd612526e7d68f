//! Copies in pieces: how they are cut, and in which order they are taken.

use delta_crdt::{Added, Dot, Slot, Version};
use quota::{Algorithm, Cost, Limit, UnixNanos};

use super::*;

const NOW: UnixNanos = UnixNanos::new(1_700_000_000_000_000_000);
const FROM: ReplicaId = ReplicaId(3);
const ALL: Buckets = Buckets::MAX;

const fn term(number: u32) -> Term {
    Term {
        number,
        replica: FROM,
    }
}

fn key(number: u64) -> KeyHash {
    let low = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    KeyHash::new(u128::from(number) << 64 | u128::from(low))
}

/// One unit in each of so many keys, whose cells take 45 bytes each.
fn counters(keys: u64) -> Cells {
    let limit = Limit::new(Algorithm::Gcra, 10, Nanos::from_secs(60)).expect("within bounds");
    let mut cells = Cells::new();
    for number in 1..=keys {
        let dot = Dot::new(term(1), number);
        let _written = cells.hit(NOW, key(number), &limit, Cost::ONE, dot);
    }
    cells
}

fn remembered(ids: u64) -> AdmittedHits {
    let mut hits = AdmittedHits::default();
    for sequence in 0..ids {
        let origin = FROM;
        let id = HitId { origin, sequence };
        hits.insert(BootNanos::ZERO, BootNanos::new(1), id);
    }
    hits
}

#[test]
fn a_cell_takes_what_its_parts_take() {
    let limit = |algorithm| {
        let limit = Limit::new(algorithm, 10, Nanos::from_secs(60));
        limit.expect("within bounds")
    };
    let (mut cells, key) = (Cells::new(), key(1));
    let mut takes = |limit: &Limit, by, seq| {
        let _written = cells.hit(NOW, key, limit, Cost::ONE, Dot::new(term(by), seq));
        bytes_of(&cells.get(key).expect("counted"))
    };
    assert_eq!(takes(&limit(Algorithm::Gcra), 1, 1), 17 + 16 + 12);
    let log = limit(Algorithm::SlidingLog);
    assert_eq!(takes(&log, 1, 2), 17 + 16 + 12 + 2 * 16);
    assert_eq!(takes(&log, 1, 3), 17 + 16 + 12 + 3 * 16);
    let _reset = cells.reset(NOW, key, &log, Dot::new(term(1), 4));
    let reset = cells.get(key).expect("a tombstone");
    assert_eq!(bytes_of(&reset), 17 + 16 + 2 * 12, "and what it forgave");
    let version = |number| {
        let slot = Slot {
            term: term(number),
            seq: 1,
            added: Added::new(1),
        };
        Version::new(Count::Reset { until: NOW }, [slot], []).expect("a slot")
    };
    let forked = Cell::new([version(7), version(8)]).expect("two versions");
    assert_eq!(bytes_of(&forked), 17 + 2 * (16 + 12));
}

#[test]
fn a_piece_has_ids_first_and_keys_as_far_as_64_kib_go() {
    let (cells, ids) = (counters(3_000), remembered(10_000));
    let mut transfer = Transfer::new(CopyId::Base(5), ALL);
    assert!(transfer.is_fresh() && transfer.must_tell() && !transfer.must_tell());
    let mut sent = Vec::new();
    for (index, hits, keys) in [
        (0, 8_192, 0),
        // What the other ids leave of 65 536 bytes, 45 to a key.
        (1, 1_808, (65_536 - 1_808 * 8) / 45),
        (2, 0, 65_536 / 45),
        (3, 0, 3_000 - 1_134 - 1_456),
    ] {
        assert_eq!(transfer.is_begun(), index != 0);
        let (piece, bytes) = transfer.piece(&cells, &ids);
        assert_eq!((piece.number, piece.index), (5, index));
        assert_eq!((piece.admitted.len(), piece.cells.len()), (hits, keys));
        assert_eq!(bytes, hits * 8 + keys * 45);
        assert_eq!((piece.is_last, piece.buckets), (index == 3, ALL));
        assert_eq!(transfer.piece(&cells, &ids), (piece.clone(), bytes));
        assert!(!transfer.is_fresh() && !transfer.is_done());
        assert!(!transfer.must_tell(), "it is under way");
        transfer.tell_again();
        assert!(transfer.must_tell() && !transfer.must_tell());
        assert!(!transfer.on_received(index + 1));
        assert!(transfer.on_received(index));
        assert!(!transfer.on_received(index) && !transfer.on_received(index + 1));
        assert_eq!(transfer.must_tell(), index != 3);
        sent.extend(piece.cells.into_iter().map(|(key, _)| key));
    }
    assert!(transfer.is_done() && sent.is_sorted());
    let all: std::collections::BTreeSet<KeyHash> = cells.keys().collect();
    assert!(sent.iter().eq(&all));
}

/// What is written meanwhile is not in it: it would not be confirmed.
#[test]
fn a_piece_that_is_sent_again_has_no_more_keys_than_before() {
    let ids = remembered(0);
    let mut transfer = Transfer::new(CopyId::Base(1), ALL);
    let (cells, more) = (counters(2_000), counters(4_000));
    let (first, _) = transfer.piece(&cells, &ids);
    let last = first.cells.last().expect("it has some").0;
    let (again, bytes) = transfer.piece(&more, &ids);
    let within = more.keys().filter(|key| *key <= last).count();
    assert_eq!((again.cells.len(), bytes), (within, within * 45));
    assert!(again.cells.iter().all(|(key, _)| *key <= last));
    assert!(!again.is_last && transfer.on_received(0));
    let (rest, _) = transfer.piece(&cells, &ids);
    assert!(rest.is_last && last < rest.cells[0].0);
    let (again, _) = transfer.piece(&more, &ids);
    let beyond = more.keys().filter(|key| last < *key).count();
    assert_eq!(again.cells.len(), beyond, "nothing follows the last piece");
}

#[test]
fn a_copy_covers_its_buckets_alone() {
    let cells = counters(500);
    let buckets = 0b101;
    let mut transfer = Transfer::new(CopyId::Answer(1), buckets);
    let (piece, _) = transfer.piece(&cells, &remembered(0));
    let inside = |key: &KeyHash| [0, 2].contains(&Digest::bucket_of(*key));
    assert_eq!(piece.cells.len(), cells.keys().filter(inside).count());
    assert!(piece.cells.iter().all(|(key, _)| inside(key)));
    assert!((10..250).contains(&piece.cells.len()));
}

fn piece(number: u32, index: u32, is_last: bool) -> Piece {
    Piece {
        number,
        index,
        is_last,
        buckets: ALL,
        cells: Vec::new(),
        admitted: Vec::new(),
    }
}

fn at(millis: u64) -> BootNanos {
    BootNanos::new(millis * 1_000_000)
}

#[test]
fn pieces_are_taken_in_their_order_each_once() {
    let mut intakes = Intakes::default();
    let mut takes = |from, number, id: fn(u32) -> CopyId, index| {
        let piece = piece(number, index, false);
        intakes.on_piece(at(0), ReplicaId(from), term(1), id(number), &piece)
    };
    let base: fn(u32) -> CopyId = CopyId::Base;
    assert_eq!(takes(3, 1, base, 1), Arrival::Gap, "the first is missing");
    assert_eq!(takes(3, 1, base, 0), Arrival::First);
    assert_eq!(takes(3, 1, base, 0), Arrival::Repeated);
    assert_eq!(takes(3, 1, base, 2), Arrival::Gap);
    assert_eq!(takes(3, 1, base, 1), Arrival::Next);
    assert_eq!(takes(4, 1, base, 2), Arrival::Gap, "of another node");
    assert_eq!(takes(3, 1, CopyId::Answer, 2), Arrival::Gap);
    assert_eq!(takes(3, 1, CopyId::Answer, 0), Arrival::First);
    assert_eq!(takes(3, 1, base, 2), Arrival::Next, "it goes on beside");
    assert_eq!(takes(3, 2, base, 0), Arrival::First);
    assert_eq!(takes(3, 1, base, 3), Arrival::Gap, "another has begun");
    assert_eq!(takes(3, 1, CopyId::Answer, 1), Arrival::Next);
}

#[test]
fn a_copy_is_counted_on_until_it_is_there_or_for_five_seconds_without_a_piece() {
    let mut intakes = Intakes::default();
    let id = CopyId::Base(1);
    assert!(!intakes.is_copying(at(0), term(1)));
    intakes.on_piece(at(0), FROM, term(1), CopyId::Answer(1), &piece(1, 0, false));
    assert!(!intakes.is_copying(at(0), term(1)), "it was asked for");
    intakes.on_piece(at(0), FROM, term(1), id, &piece(1, 0, false));
    assert!(intakes.is_copying(at(4_999), term(1)));
    assert!(!intakes.is_copying(at(0), term(2)), "of an older term");
    assert!(!intakes.is_copying(at(5_000), term(1)));
    intakes.on_piece(at(5_000), FROM, term(1), id, &piece(1, 0, false));
    assert!(intakes.is_copying(at(9_999), term(1)), "it comes again");
    intakes.on_piece(at(9_999), FROM, term(1), id, &piece(1, 1, true));
    assert!(!intakes.is_copying(at(9_999), term(1)));
}

#[test]
fn what_is_staged_of_a_copy_is_taken_once_and_goes_with_its_sender() {
    let (cells, ids): (Vec<_>, Vec<_>) =
        (counters(2).iter().collect(), remembered(3).iter().collect());
    let mut intakes = Intakes::default();
    let id = CopyId::Base(1);
    intakes.stage(FROM, id, cells.clone(), &ids);
    assert_eq!(intakes.take_staged(FROM, id), (vec![], vec![]), "of none");
    intakes.on_piece(at(0), FROM, term(1), id, &piece(1, 0, false));
    assert!(!intakes.has_holes(FROM, id));
    intakes.stage(FROM, id, cells.clone(), &ids);
    intakes.on_evicted();
    assert!(intakes.has_holes(FROM, id) && !intakes.has_holes(ReplicaId(4), id));
    let other = intakes.take_staged(ReplicaId(4), id);
    assert_eq!(other, (vec![], vec![]));
    assert_eq!(intakes.take_staged(FROM, id), (cells.clone(), ids.clone()));
    assert_eq!(intakes.take_staged(FROM, id), (vec![], vec![]));
    intakes.stage(FROM, id, cells, &ids);
    intakes.retain(|peer| peer != FROM);
    assert_eq!(intakes.take_staged(FROM, id), (vec![], vec![]));
}
